//! The macro that a table of declarations is written in, and what it makes of an entry.
//!
//! ```text
//! fn aclrtSetDevice(deviceId: i32) -> aclError;
//! #[optional]
//! fn aclrtGetSocName() -> *const c_char;
//! op RmsNorm(x, gamma: *const aclTensor; epsilon: f64; yOut, rstdOut: *const aclTensor);
//! ```
//!
//! An entry is a C function with the vendor's own names, or an operator: `op X(…)` stands for the pair
//! `aclnnXGetWorkspaceSize(…, workspaceSize, executor)`, which plans, and
//! `aclnnX(workspace, workspaceSize, executor, stream)`, which launches. Parameters of one type that stand
//! side by side share it.
//!
//! From the same tokens come the type of each function, a structure of pointers with one field for each
//! entry, and the list of symbols that checks and reports go by.

use std::ffi::c_void;
use std::ptr::NonNull;

use backend_abi::Addresses;

use crate::provider::{Library, Provider};
use crate::signature::Signature;
use crate::types::{aclOpExecutor, aclnnStatus, aclrtStream};

/// What the table says of one exported name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// Whose declaration it is. The same name of another provider may take something else.
    pub provider: Provider,
    /// What exports it.
    pub library: Library,
    /// Its name there.
    pub name: &'static str,
    /// Whether its absence is to be expected.
    pub presence: Presence,
    /// What it takes and returns.
    pub signature: Signature,
}

impl Symbol {
    /// What an emulator exports it as: with its provider's prefix, if that has one.
    #[must_use]
    pub fn emulated_name(&self) -> String {
        format!("{}{}", self.provider.emulator_prefix(), self.name)
    }
}

/// Whether the absence of a symbol is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Published binaries export it or ask for it. A table of functions is unavailable without any of its
    /// required ones; an operator is absent by itself.
    Required,
    /// Newer than the oldest release that is served, or named in no published binary.
    Optional,
}

/// The second half of every operator: runs what the first half planned, on a stream.
pub type Launch = unsafe extern "C" fn(
    workspace: *mut c_void,
    workspace_size: u64,
    executor: *mut aclOpExecutor,
    stream: aclrtStream,
) -> aclnnStatus;

/// Both halves of an operator, of the same library.
#[derive(Debug, Clone, Copy)]
pub struct Operator<Plan> {
    /// Checks the operands, says how much workspace it needs, makes an executor.
    pub plan: Plan,
    /// Runs the executor.
    pub launch: Launch,
}

/// A structure of pointers that the macro has made.
pub(crate) trait Table: Sized {
    /// Its symbols, in the order of its fields.
    const SYMBOLS: &'static [Symbol];
    /// Whether there is no such table without its required symbols. Operators are absent one by one.
    const IS_WHOLE: bool;

    /// Takes an address for each symbol.
    fn from_addresses(next: &mut Addresses) -> Self;
}

/// The addresses of a table's symbols, or the required ones that are missing.
pub(crate) fn addresses<T: Table>(
    addresses: Vec<Option<NonNull<c_void>>>,
) -> Result<Addresses, Vec<&'static str>> {
    let symbols = T::SYMBOLS;
    assert_eq!(symbols.len(), addresses.len(), "an address for each symbol");
    let missing = symbols.iter().zip(&addresses).filter(|(symbol, address)| {
        T::IS_WHOLE && symbol.presence == Presence::Required && address.is_none()
    });
    let missing: Vec<_> = missing.map(|(symbol, _)| symbol.name).collect();
    if missing.is_empty() {
        Ok(Addresses::new(addresses))
    } else {
        Err(missing)
    }
}

/// The next two addresses as the halves of an operator, if both are there.
///
/// # Safety
/// The first function has the type `Plan`, the second is a [`Launch`].
#[allow(unsafe_code)]
pub(crate) unsafe fn operator<Plan: Copy>(next: &mut Addresses) -> Option<Operator<Plan>> {
    // SAFETY: the caller's promise.
    let plan = unsafe { next.optional() };
    // SAFETY: the caller's promise.
    let launch = unsafe { next.optional() };
    Some(Operator {
        plan: plan?,
        launch: launch?,
    })
}

/// A table of functions (`fn`) or of operators (`op`).
macro_rules! abi_table {
    (
        $(#[$doc:meta])*
        pub struct $Table:ident: $provider:ident, $library:ident;
        $(
            $(#[$presence:ident])?
            fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)?;
        )+
    ) => {
        $(
            #[doc = concat!("The type of `", stringify!($name), "`.")]
            pub type $name = unsafe extern "C" fn($($arg: $ty),*) $(-> $result)?;
        )+

        abi_table! { @structure next whole: true,
            $(#[$doc])*
            $Table {
                $( $name: abi_table!(@pointer $name $($presence)?)
                    = abi_table!(@function next $($presence)?), )+
            }
            $(
                abi_table!(@symbol $provider, $library, [$($presence)?], stringify!($name),
                    [$($arg: $ty),*], [$($result)?]),
            )+
        }
    };
    (
        $(#[$doc:meta])*
        pub struct $Table:ident: $provider:ident, $library:ident;
        $(
            $(#[$presence:ident])?
            op $name:ident($($($arg:ident),+: $ty:ty);+);
        )+
    ) => {
        $(
            #[doc = concat!("The type of `aclnn", stringify!($name), "GetWorkspaceSize`.")]
            pub type $name = unsafe extern "C" fn(
                $($($arg: $ty,)+)+
                workspaceSize: *mut u64,
                executor: *mut *mut $crate::types::aclOpExecutor,
            ) -> $crate::types::aclnnStatus;
        )+

        abi_table! { @structure next whole: false,
            $(#[$doc])*
            $Table {
                $( $name: Option<$crate::table::Operator<$name>>
                    = abi_table!(@operator next), )+
            }
            $(
                abi_table!(@symbol $provider, $library, [$($presence)?],
                    concat!("aclnn", stringify!($name), "GetWorkspaceSize"),
                    [
                        $($($arg: $ty,)+)+
                        workspaceSize: *mut u64,
                        executor: *mut *mut $crate::types::aclOpExecutor
                    ],
                    [$crate::types::aclnnStatus]),
                abi_table!(@symbol $provider, $library, [$($presence)?],
                    concat!("aclnn", stringify!($name)),
                    [
                        workspace: *mut ::std::ffi::c_void,
                        workspaceSize: u64,
                        executor: *mut $crate::types::aclOpExecutor,
                        stream: $crate::types::aclrtStream
                    ],
                    [$crate::types::aclnnStatus]),
            )+
        }
    };
    (
        @structure $next:ident whole: $is_whole:literal,
        $(#[$doc:meta])*
        $Table:ident { $($field:ident: $pointer:ty = $take:expr,)+ }
        $($symbol:expr,)+
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $Table {
            $(
                #[doc = concat!("[`", stringify!($field), "`](type@", stringify!($field), ").")]
                pub $field: $pointer,
            )+
        }

        impl $Table {
            /// What the table says of its symbols, in the order of the fields.
            pub const SYMBOLS: &'static [$crate::table::Symbol] = &[$($symbol),+];
        }

        impl $crate::table::Table for $Table {
            const SYMBOLS: &'static [$crate::table::Symbol] = Self::SYMBOLS;
            const IS_WHOLE: bool = $is_whole;

            #[allow(unsafe_code)]
            fn from_addresses($next: &mut ::backend_abi::Addresses) -> Self {
                // Fields are evaluated in the order in which they stand here: that of the symbols.
                Self { $($field: $take),+ }
            }
        }
    };
    (@pointer $name:ident) => { $name };
    (@pointer $name:ident optional) => { Option<$name> };
    (@function $next:ident) => {{
        // SAFETY: the type of the field and the symbol are of one entry of the table.
        unsafe { $next.required() }
    }};
    (@function $next:ident optional) => {{
        // SAFETY: the type of the field and the symbol are of one entry of the table.
        unsafe { $next.optional() }
    }};
    (@operator $next:ident) => {{
        // SAFETY: the type of the field and the two symbols are of one entry of the table.
        unsafe { $crate::table::operator($next) }
    }};
    (
        @symbol $provider:ident, $library:ident, [$($presence:ident)?], $name:expr,
        [$($arg:ident: $ty:ty),*], [$($result:ty)?]
    ) => {
        $crate::table::Symbol {
            provider: $crate::provider::$provider,
            library: $crate::provider::Library::$library,
            name: $name,
            presence: abi_table!(@presence $($presence)?),
            signature: $crate::signature::Signature {
                params: &[$($crate::signature::Param {
                    name: stringify!($arg),
                    of: <$ty as $crate::signature::AbiType>::TYPE,
                }),*],
                result: <abi_table!(@result $($result)?) as $crate::signature::AbiType>::TYPE,
            },
        }
    };
    (@presence) => { $crate::table::Presence::Required };
    (@presence optional) => { $crate::table::Presence::Optional };
    (@result) => { () };
    (@result $result:ty) => { $result };
}
pub(crate) use abi_table;

/// Holds an exported function against the table: a difference does not compile.
///
/// ```
/// use backend_ascend_sys::abi::runtime;
/// use backend_ascend_sys::assert_export;
/// use backend_ascend_sys::types::aclError;
///
/// unsafe extern "C" fn set_device(_device: i32) -> aclError {
///     0
/// }
/// assert_export!(runtime::aclrtSetDevice = set_device);
/// ```
///
/// Both halves of an operator: `assert_export!(op operators::RmsNorm = plan, launch)`.
///
/// ```compile_fail,E0308
/// # use backend_ascend_sys::{abi::runtime, assert_export, types::aclError};
/// unsafe extern "C" fn set_device(_device: i64) -> aclError {
///     0
/// }
/// assert_export!(runtime::aclrtSetDevice = set_device);
/// ```
#[macro_export]
macro_rules! assert_export {
    (op $operator:ty = $plan:path, $launch:path $(,)?) => {
        const _: $operator = $plan;
        const _: $crate::Launch = $launch;
    };
    ($function:ty = $export:path $(,)?) => {
        const _: $function = $export;
    };
}
