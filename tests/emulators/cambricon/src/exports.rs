//! What the library exports. One line is one function: its name and types as C has them, held against the
//! table, and the function that does it.
//!
//! All `unsafe` of the package is in this folder: arguments of C become values that are safe to use, by
//! the promise that every caller of these functions makes, the vendor's documentation.
#![allow(unsafe_code)]
#![allow(non_snake_case, reason = "the names of the C interface")]

mod argument;
mod collectives;
mod control;
mod operators;
mod runtime;

/// Exports functions of one table.
macro_rules! export {
    ($table:ident; $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty = $body:expr;)+) => {$(
        // The name is the vendor's or begins with `neuwareEmu`; nothing else of ours exports it.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $result {
            // SAFETY: the caller promises of every pointer what the vendor's documentation asks.
            $(let $arg = unsafe { $crate::exports::argument::Argument::take($arg) };)*
            $crate::call::enter(stringify!($name), move |call| ($body)(call, $($arg),*))
        }
        backend_cambricon_sys::assert_export!(backend_cambricon_sys::abi::$table::$name = $name);
    )+};
}
use export;

/// Exports functions of the first tier that are not emulated: without them no loader takes the library.
macro_rules! absent {
    ($table:ident; $(fn $name:ident($($ty:ty),* $(,)?) -> $result:ty;)+) => {$(
        // The name is the vendor's; nothing else of ours exports it.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($(_: $ty),*) -> $result {
            $crate::call::enter(stringify!($name), $crate::launch::unimplemented)
        }
        backend_cambricon_sys::assert_export!(backend_cambricon_sys::abi::$table::$name = $name);
    )+};
}
use absent;
