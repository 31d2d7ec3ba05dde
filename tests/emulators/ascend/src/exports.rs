//! What the library exports. One line is one function: its name and types as C has them, held against the
//! table, and the function that does it.
//!
//! All `unsafe` of the package is in this folder: arguments of C become values that are safe to use, by
//! the promise that every caller of these functions makes, the vendor's documentation.
#![allow(unsafe_code)]

mod argument;
mod capture;
mod collectives;
mod control;
pub(crate) mod custom;
pub(crate) mod operators;
mod runtime;
mod tensors;

pub(crate) use argument::{HostFunction, Place, Pointer, Text, given};

/// Exports functions of one table.
macro_rules! export {
    ($table:ident; $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $result:ty = $body:expr;)+) => {$(
        // The name is the vendor's or begins with `ascendEmu`; nothing else of ours exports it.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $result {
            // SAFETY: the caller promises of every pointer what the vendor's documentation asks.
            $(let $arg = unsafe { $crate::exports::argument::Argument::take($arg) };)*
            $crate::call::enter(stringify!($name), move |call| ($body)(call, $($arg),*))
        }
        backend_ascend_sys::assert_export!(backend_ascend_sys::abi::$table::$name = $name);
    )+};
}
use export;
