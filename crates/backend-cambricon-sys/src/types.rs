//! Types of the C interface: handles, enumerations, structures and constants.
//!
//! An enumeration is a wrapped integer with named values, never a Rust `enum`: releases add values. Names are the
//! vendor's.
#![allow(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    reason = "the names of the C interface"
)]

mod enums;

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;

use backend_abi::signature::{AbiType, Type};

pub use self::enums::*;

/// What the runtime returns: 0, or a code of [`status`](crate::status()).
pub type cnrtRet_t = u32;
/// What the driver's interface returns.
pub type CNresult = u32;
/// What operators return.
pub type cnnlStatus_t = u32;
/// What collectives return.
pub type cnclResult_t = u32;
/// A device, as the driver knows it.
pub type CNdev = u64;
/// Called by a queue, on a thread of the runtime's.
pub type cnrtHostFn_t = Option<unsafe extern "C" fn(userData: *mut c_void)>;
/// What ranks of several processes meet by.
pub type cnclCliqueId_t = *mut cnclCliqueId;

/// Of a notifier: it takes no time, neither by the host's clock nor by the device's.
pub const CNRT_NOTIFIER_DISABLE_TIMING_ALL: u32 = 4;

/// How many clusters and cores a kernel runs on.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct cnrtDim3_t {
    /// Cores.
    pub x: u32,
    /// The second dimension.
    pub y: u32,
    /// The third.
    pub z: u32,
}

/// What ranks of several processes meet by.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct cnclCliqueId {
    /// The name.
    pub data: [c_char; 128],
    /// What tells it from others.
    pub hash: u64,
}

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<cnrtDim3_t>() == 12);
    assert!(size_of::<cnclCliqueId>() == 136);
    assert!(align_of::<cnclCliqueId>() == 8);
};

/// Structures that cross the interface, with their bytes. There are no more, because layouts change between releases.
pub const SIZES: [(&str, usize); 2] = [
    ("cnrtDim3_t", size_of::<cnrtDim3_t>()),
    ("cnclCliqueId", size_of::<cnclCliqueId>()),
];

impl AbiType for cnrtDim3_t {
    const TYPE: Type = Type::Struct("cnrtDim3_t");
}

impl AbiType for cnclCliqueId {
    const TYPE: Type = Type::Struct("cnclCliqueId");
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $(
            $(#[$doc])*
            #[repr(transparent)]
            #[derive(Debug, Clone, Copy, PartialEq, Eq)]
            pub struct $name(pub *mut c_void);

            impl $name {
                /// None.
                pub const NULL: Self = Self(null_mut());
            }

            impl AbiType for $name {
                const TYPE: Type = Type::Struct(stringify!($name));
            }
        )+

        /// What is known by pointer alone.
        pub const HANDLES: &[&str] = &[$(stringify!($name)),+];
    };
}

handles! {
    /// A context of the driver's.
    CNcontext;
    /// A kernel of a module.
    CNkernel;
    /// A module of kernels.
    CNmodule;
    /// A queue, as the driver knows it.
    CNqueue;
    /// A communicator.
    cnclComm_t;
    /// Which activation.
    cnnlActivationDescriptor_t;
    /// Which gated activation.
    cnnlBiasActivationGluDescriptor_t;
    /// Which division.
    cnnlDivDescriptor_t;
    /// Which fused norm.
    cnnlFuseNormDescriptor_t;
    /// How grouped products are computed.
    cnnlGroupGemmAlgo_t;
    /// Which grouped product.
    cnnlGroupGemmDescriptor_t;
    /// The operands of grouped products.
    cnnlGroupGemmTensorDescriptor_t;
    /// A handle of the operators: a device and a queue.
    cnnlHandle_t;
    /// Which quantised product.
    cnnlLLMQuantMatmulDescriptor_t;
    /// How a product is computed.
    cnnlMatMulAlgo_t;
    /// Which product.
    cnnlMatMulDescriptor_t;
    /// How a product with more operands is computed.
    cnnlMatMulExAlgo_t;
    /// Which product with more operands.
    cnnlMatMulExDescriptor_t;
    /// What was found for such a product.
    cnnlMatMulExHeuristicResult_t;
    /// What is preferred for such a product.
    cnnlMatMulExPrefer_t;
    /// What was found for a product.
    cnnlMatMulHeuristicResult_t;
    /// What is preferred for a product.
    cnnlMatMulPrefer_t;
    /// Which norm.
    cnnlNormDescriptor_t;
    /// Which operation on two tensors.
    cnnlOpTensorDescriptor_t;
    /// How numbers are quantised.
    cnnlQuantizeExDescriptor_t;
    /// Which reduction.
    cnnlReduceDescriptor_t;
    /// Which rotation.
    cnnlRotaryEmbeddingDescriptor_t;
    /// Reserved: there is no function that makes one.
    cnnlScaledDotProductAttnDescriptor_t;
    /// Reserved: there is no function that makes one.
    cnnlScaledDotProductAttnQuantizeDescriptor_t;
    /// Reserved: there is no function that makes one.
    cnnlSingleQueryCachedKVAttnDescriptor_t;
    /// An operand: type, layout and shape.
    cnnlTensorDescriptor_t;
    /// Which transposition.
    cnnlTransposeDescriptor_t;
    /// Which function of an angle.
    cnnlTrigonDescriptor_t;
    /// A point in a queue.
    cnrtNotifier_t;
    /// A queue of work.
    cnrtQueue_t;
    /// Captured tasks that can be run.
    cnrtTaskTopoEntity_t;
    /// A captured task.
    cnrtTaskTopoNode_t;
    /// Captured tasks.
    cnrtTaskTopo_t;
}
