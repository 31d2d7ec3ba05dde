//! Types of the C interface: opaque objects, handles, callbacks, enumerations, structures, constants.
//!
//! An enumeration is a wrapped integer with named values, never a Rust `enum`: releases add values.
//! Names are the vendor's.
#![allow(
    non_camel_case_types,
    non_snake_case,
    reason = "the names of the C interface"
)]

mod constants;
mod enums;
mod structs;

use std::ffi::c_void;
use std::marker::{PhantomData, PhantomPinned};

pub use self::constants::*;
pub use self::enums::*;
pub use self::structs::*;
use crate::signature::{AbiType, Type};

/// What the runtime returns: 0, or a code of [`status`](crate::status()).
pub type aclError = i32;
/// What the tensor layer and the operators return: 0, or a code of [`status`](crate::status()).
pub type aclnnStatus = i32;

/// A context: a device as one thread uses it.
pub type aclrtContext = *mut c_void;
/// A queue of work.
pub type aclrtStream = *mut c_void;
/// A point in a stream.
pub type aclrtEvent = *mut c_void;
/// A captured graph.
pub type aclmdlRI = *mut c_void;
/// A group of captured tasks that may be updated.
pub type aclrtTaskGrp = *mut c_void;
/// Physical memory.
pub type aclrtDrvMemHandle = *mut c_void;
/// A communicator.
pub type HcclComm = *mut c_void;

/// Called by a stream, on a thread of the runtime's.
pub type aclrtHostFunc = Option<unsafe extern "C" fn(args: *mut c_void)>;
/// Called by a stream, on the thread that processes reports.
pub type aclrtCallback = Option<unsafe extern "C" fn(userData: *mut c_void)>;
/// Called when a task of the device failed.
pub type aclrtExceptionInfoCallback =
    Option<unsafe extern "C" fn(exceptionInfo: *mut aclrtExceptionInfo)>;

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Debug)]
            pub struct $name {
                _opaque: [u8; 0],
                _elsewhere: PhantomData<(*mut u8, PhantomPinned)>,
            }

            impl AbiType for $name {
                const TYPE: Type = Type::Struct(stringify!($name));
            }
        )+

        /// Objects that are known by pointer alone.
        pub const OPAQUE: &[&str] = &[$(stringify!($name)),+];
    };
}

opaque! {
    /// An operand: shape, strides, type, format and address.
    aclTensor;
    /// A number with its type.
    aclScalar;
    /// A list of integers.
    aclIntArray;
    /// A list of floats.
    aclFloatArray;
    /// A list of booleans.
    aclBoolArray;
    /// A list of operands, which it owns.
    aclTensorList;
    /// A list of numbers, which it owns.
    aclScalarList;
    /// An operator that was planned for its operands.
    aclOpExecutor;
    /// What is known of a task that failed.
    aclrtExceptionInfo;
}
