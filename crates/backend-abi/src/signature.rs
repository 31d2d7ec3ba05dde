//! Signatures as the compiler sees them, with every alias resolved: what two sides must agree on.

use std::ffi::c_void;
use std::fmt;

/// A type as the calling convention knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Nothing: what is returned, or what a handle leads to.
    Void,
    /// `bool`, 0 or 1.
    Bool,
    /// `char`, behind a pointer.
    Char,
    /// `int8_t`.
    I8,
    /// `int32_t`, and enumerations with negative values.
    I32,
    /// `uint32_t`, and enumerations without.
    U32,
    /// `int64_t`.
    I64,
    /// `uint64_t`.
    U64,
    /// `size_t`.
    Usize,
    /// `float`.
    F32,
    /// `double`.
    F64,
    /// A structure of this name.
    Struct(&'static str),
    /// A pointer.
    Pointer {
        /// Whether what it leads to may be written.
        mutable: bool,
        /// What it leads to.
        to: &'static Type,
    },
    /// A pointer to a function, null allowed.
    Function {
        /// What it takes.
        params: &'static [Type],
        /// What it returns.
        result: &'static Type,
    },
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name, as in the vendor's header; with `_` behind what Rust has for itself.
    pub name: &'static str,
    /// Its type.
    pub of: Type,
}

/// What a function takes and returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// What it takes.
    pub params: &'static [Param],
    /// What it returns.
    pub result: Type,
}

/// A Rust type that stands for one of C.
pub trait AbiType {
    /// Passed by value.
    const TYPE: Type;
    /// Behind a pointer.
    const POINTEE: Type = Self::TYPE;
}

macro_rules! abi_types {
    ($($rust:ty => $of:ident $(, behind a pointer $pointee:ident)?;)+) => {
        $(impl AbiType for $rust {
            const TYPE: Type = Type::$of;
            $(const POINTEE: Type = Type::$pointee;)?
        })+
    };
}

// `char` is one of the bytes, which one depends on the processor. No function takes a pointer to the other.
abi_types! {
    () => Void;
    c_void => Void;
    bool => Bool;
    i8 => I8, behind a pointer Char;
    u8 => Char;
    i32 => I32;
    u32 => U32;
    i64 => I64;
    u64 => U64;
    usize => Usize;
    f32 => F32;
    f64 => F64;
}

impl<T: AbiType> AbiType for *const T {
    const TYPE: Type = Type::Pointer {
        mutable: false,
        to: &T::POINTEE,
    };
}

impl<T: AbiType> AbiType for *mut T {
    const TYPE: Type = Type::Pointer {
        mutable: true,
        to: &T::POINTEE,
    };
}

impl<A: AbiType, R: AbiType> AbiType for Option<unsafe extern "C" fn(A) -> R> {
    const TYPE: Type = Type::Function {
        params: &[A::TYPE],
        result: &R::TYPE,
    };
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Void => f.write_str("void"),
            Self::Bool => f.write_str("bool"),
            Self::Char => f.write_str("char"),
            Self::I8 => f.write_str("i8"),
            Self::I32 => f.write_str("i32"),
            Self::U32 => f.write_str("u32"),
            Self::I64 => f.write_str("i64"),
            Self::U64 => f.write_str("u64"),
            Self::Usize => f.write_str("usize"),
            Self::F32 => f.write_str("f32"),
            Self::F64 => f.write_str("f64"),
            Self::Struct(name) => f.write_str(name),
            Self::Pointer { mutable: true, to } => write!(f, "*mut {to}"),
            Self::Pointer { mutable: false, to } => write!(f, "*const {to}"),
            Self::Function { params, result } => {
                f.write_str("fn(")?;
                for (index, param) in params.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{param}")?;
                }
                write!(f, ") -> {result}")
            }
        }
    }
}

impl fmt::Display for Signature {
    /// `(devPtr: *mut *mut void, size: usize, policy: u32) -> i32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (index, param) in self.params.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}: {}", param.name, param.of)?;
        }
        write!(f, ") -> {}", self.result)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_char;

    use super::*;

    /// An enumeration, an object that is known by pointer alone, a callback.
    struct Kind;
    struct Tensor;
    type Stream = *mut c_void;
    type Callback = Option<unsafe extern "C" fn(argument: *mut c_void)>;

    impl AbiType for Kind {
        const TYPE: Type = i32::TYPE;
    }

    impl AbiType for Tensor {
        const TYPE: Type = Type::Struct("Tensor");
    }

    #[track_caller]
    fn check<T: AbiType>(want: &str) {
        assert_eq!(T::TYPE.to_string(), want);
    }

    #[test]
    fn aliases_are_resolved() {
        check::<Kind>("i32");
        check::<Stream>("*mut void");
        check::<*mut *mut Stream>("*mut *mut *mut void");
        check::<*const Tensor>("*const Tensor");
        check::<*const *const Tensor>("*const *const Tensor");
        check::<Callback>("fn(*mut void) -> void");
    }

    #[test]
    fn a_character_is_one_on_every_processor() {
        check::<*const c_char>("*const char");
        check::<*mut c_char>("*mut char");
        check::<i8>("i8");
    }

    #[test]
    fn a_signature_names_its_parameters() {
        let signature = Signature {
            params: &[
                Param {
                    name: "self_",
                    of: <*const Tensor>::TYPE,
                },
                Param {
                    name: "dim",
                    of: i64::TYPE,
                },
            ],
            result: Type::I32,
        };
        let want = "(self_: *const Tensor, dim: i64) -> i32";
        assert_eq!(signature.to_string(), want);
    }
}
