//! The macro that a table of declarations is written in, and what it makes of an entry.
//!
//! ```text
//! fn cnrtMalloc(pPtr: *mut *mut c_void, bytes: usize) -> cnrtRet_t;
//! fn cnnlCreateMatMulAlgo or cnnlMatMulAlgoCreate(algo: *mut cnnlMatMulAlgo_t) -> cnnlStatus_t;
//! #[third]
//! fn cnrtMemFreeAsync(mluAddr: *mut c_void, hqueue: cnrtQueue_t) -> cnrtRet_t;
//! ```
//!
//! An entry is a C function with the vendor's own names; behind `or` stand the names that other releases have for
//! a function of the same signature. From the same tokens come the type of each function, a structure of pointers with one
//! field for each entry, and the list of symbols that checks and reports go by.

use std::ffi::c_void;
use std::ptr::NonNull;

use backend_abi::Addresses;
use backend_abi::signature::Signature;

/// A library of Neuware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// The driver's interface.
    Cndrv,
    /// The runtime.
    Cnrt,
    /// Operators.
    Cnnl,
    /// Operators that are fused for language models.
    CnnlExtra,
    /// Collectives.
    Cncl,
    /// An emulator of all of them.
    Emulator,
}

impl Library {
    /// Its file, without a version.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Cndrv => "libcndrv.so",
            Self::Cnrt => "libcnrt.so",
            Self::Cnnl => "libcnnl.so",
            Self::CnnlExtra => "libcnnl_extra.so",
            Self::Cncl => "libcncl.so",
            Self::Emulator => "libneuware_emu.so",
        }
    }
}

/// What the absence of a symbol means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// There is no device without it.
    First,
    /// What needs it is off, and is composed of others.
    Second,
    /// The same; no release is expected to have all of these.
    Third,
}

/// What the table says of one exported name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol {
    /// What exports it.
    pub library: Library,
    /// Its name there.
    pub name: &'static str,
    /// What other releases call a function of the same signature, the likelier first.
    pub others: &'static [&'static str],
    /// What its absence means.
    pub tier: Tier,
    /// What it takes and returns.
    pub signature: Signature,
}

impl Symbol {
    /// All its names, in the order in which they are asked for.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.others.iter().copied())
    }
}

/// A structure of pointers that the macro has made.
pub(crate) trait Table: Sized {
    /// Its symbols, in the order of its fields.
    const SYMBOLS: &'static [Symbol];

    /// Takes an address for each symbol.
    fn from_addresses(next: &mut Addresses) -> Self;
}

/// The addresses of a table's symbols, or those of the first tier that are missing.
pub(crate) fn addresses<T: Table>(
    addresses: Vec<Option<NonNull<c_void>>>,
) -> Result<Addresses, Vec<&'static str>> {
    let symbols = T::SYMBOLS;
    assert_eq!(symbols.len(), addresses.len(), "an address for each symbol");
    let missing = symbols.iter().zip(&addresses);
    let missing =
        missing.filter(|(symbol, address)| symbol.tier == Tier::First && address.is_none());
    let missing: Vec<_> = missing.map(|(symbol, _)| symbol.name).collect();
    if missing.is_empty() {
        Ok(Addresses::new(addresses))
    } else {
        Err(missing)
    }
}

/// A table of functions of one library.
macro_rules! abi_table {
    (
        $(#[$doc:meta])*
        pub struct $Table:ident: $library:ident;
        $(
            $(#[$tier:ident])?
            fn $name:ident $(or $other:ident)*($($arg:ident: $ty:ty),* $(,)?) $(-> $result:ty)?;
        )+
    ) => {
        $(
            #[doc = concat!("The type of `", stringify!($name), "`.")]
            pub type $name = unsafe extern "C" fn($($arg: $ty),*) $(-> $result)?;
        )+

        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $Table {
            $(
                #[doc = concat!("[`", stringify!($name), "`](type@", stringify!($name), ").")]
                pub $name: abi_table!(@pointer $name $($tier)?),
            )+
        }

        impl $Table {
            /// What the table says of its symbols, in the order of the fields.
            pub const SYMBOLS: &'static [$crate::table::Symbol] = &[$(
                $crate::table::Symbol {
                    library: $crate::table::Library::$library,
                    name: stringify!($name),
                    others: &[$(stringify!($other)),*],
                    tier: abi_table!(@tier $($tier)?),
                    signature: ::backend_abi::signature::Signature {
                        params: &[$(::backend_abi::signature::Param {
                            name: stringify!($arg),
                            of: <$ty as ::backend_abi::signature::AbiType>::TYPE,
                        }),*],
                        result:
                            <abi_table!(@result $($result)?) as ::backend_abi::signature::AbiType>::TYPE,
                    },
                },
            )+];
        }

        impl $crate::table::Table for $Table {
            const SYMBOLS: &'static [$crate::table::Symbol] = Self::SYMBOLS;

            #[allow(unsafe_code)]
            fn from_addresses(next: &mut ::backend_abi::Addresses) -> Self {
                // Fields are evaluated in the order in which they stand here: that of the symbols.
                Self { $($name: abi_table!(@function next $($tier)?)),+ }
            }
        }
    };
    (@pointer $name:ident) => { $name };
    (@pointer $name:ident $tier:ident) => { Option<$name> };
    (@function $next:ident) => {{
        // SAFETY: the type of the field and the symbol are of one entry of the table.
        unsafe { $next.required() }
    }};
    (@function $next:ident $tier:ident) => {{
        // SAFETY: the type of the field and the symbol are of one entry of the table.
        unsafe { $next.optional() }
    }};
    (@tier) => { $crate::table::Tier::First };
    (@tier second) => { $crate::table::Tier::Second };
    (@tier third) => { $crate::table::Tier::Third };
    (@result) => { () };
    (@result $result:ty) => { $result };
}
pub(crate) use abi_table;

/// Holds an exported function against the table: a difference does not compile.
///
/// ```
/// use backend_cambricon_sys::abi::runtime;
/// use backend_cambricon_sys::assert_export;
/// use backend_cambricon_sys::types::cnrtRet_t;
///
/// unsafe extern "C" fn set_device(_ordinal: i32) -> cnrtRet_t {
///     0
/// }
/// assert_export!(runtime::cnrtSetDevice = set_device);
/// ```
///
/// ```compile_fail,E0308
/// # use backend_cambricon_sys::{abi::runtime, assert_export, types::cnrtRet_t};
/// unsafe extern "C" fn set_device(_ordinal: i64) -> cnrtRet_t {
///     0
/// }
/// assert_export!(runtime::cnrtSetDevice = set_device);
/// ```
#[macro_export]
macro_rules! assert_export {
    ($function:ty = $export:path $(,)?) => {
        const _: $function = $export;
    };
}
