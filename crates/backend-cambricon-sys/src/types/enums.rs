//! Enumerations, and the values that are known.

use backend_abi::signature::{AbiType, Type};

/// An enumeration as the checks see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enumeration {
    /// Its name.
    pub name: &'static str,
    /// The integer that it is.
    pub of: Type,
    /// The values that are declared.
    pub values: &'static [(&'static str, i64)],
}

macro_rules! enums {
    ($(
        $(#[$doc:meta])*
        $name:ident: $int:ty { $($value:ident = $number:literal,)* }
    )+) => {
        $(
            $(#[$doc])*
            #[repr(transparent)]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
            pub struct $name(pub $int);

            impl $name {
                $(
                    #[doc = concat!("`", stringify!($value), "`.")]
                    pub const $value: Self = Self($number);
                )*

                /// The name of a declared value.
                #[must_use]
                pub fn name(self) -> Option<&'static str> {
                    match self.0 {
                        $($number => Some(stringify!($value)),)*
                        _ => None,
                    }
                }
            }

            impl AbiType for $name {
                const TYPE: Type = <$int as AbiType>::TYPE;
            }
        )+

        /// All of them.
        pub const ENUMERATIONS: &[Enumeration] = &[$(
            Enumeration {
                name: stringify!($name),
                of: <$int as AbiType>::TYPE,
                values: &[$((stringify!($value), $number)),*],
            },
        )+];
    };
}

enums! {
    /// How many clusters a kernel runs on, to the driver.
    KernelClass: u32 {
        CN_KERNEL_CLASS_BLOCK = 1,
        CN_KERNEL_CLASS_UNION = 4,
        CN_KERNEL_CLASS_UNION2 = 8,
        CN_KERNEL_CLASS_UNION4 = 16,
        CN_KERNEL_CLASS_UNION8 = 32,
        CN_KERNEL_CLASS_UNION16 = 64,
    }
    /// Which way a copy goes.
    cnrtMemTransDir_t: u32 {
        cnrtMemcpyHostToDev = 0,
        cnrtMemcpyDevToDev = 1,
        cnrtMemcpyDevToHost = 2,
        cnrtMemcpyHostToHost = 3,
        cnrtMemcpyPeerToPeer = 4,
        cnrtMemcpyNoDirection = 5,
    }
    /// How many clusters a kernel runs on.
    cnrtFunctionType_t: i32 {
        cnrtFuncTypeBlock = 1,
        cnrtFuncTypeUnion1 = 4,
        cnrtFuncTypeUnion2 = 8,
        cnrtFuncTypeUnion4 = 16,
        cnrtFuncTypeUnion8 = 32,
        cnrtFuncTypeUnion16 = 64,
        cnrtFuncTypeMutable = -1,
    }
    /// What is asked of a device.
    cnrtDeviceAttr_t: u32 {
        cnrtAttrComputeCapabilityMajor = 1,
        cnrtAttrComputeCapabilityMinor = 2,
        cnrtAttrFP16ComputingSupported = 4,
        cnrtAttrINT4ComputingSupported = 5,
        cnrtAttrINT8ComputingSupported = 6,
        cnrtAttrBF16ComputingSupported = 7,
        cnrtAttrTF32ComputingSupported = 8,
        cnrtAttrMaxClusterCountPerUnionTask = 516,
        cnrtAttrClusterCount = 517,
        cnrtAttrMcorePerCluster = 518,
        cnrtAttrISAVersion = 522,
        cnrtAttrMaxL2CacheSize = 769,
        cnrtAttrNramSizePerMcore = 770,
        cnrtAttrWramSizePerMcore = 771,
        cnrtAttrSramSizePerMcore = 774,
        cnrtAttrIpuClockRate = 1026,
        cnrtAttrMemClockRate = 1027,
        cnrtAttrGmemBusWidth = 1028,
        cnrtAttrTotalMemSize = 1029,
    }
    /// Which calls a capture forbids, and of which threads.
    cnrtQueueCaptureMode: u32 {
        cnrtQueueCaptureModeGlobal = 0,
        cnrtQueueCaptureModeThreadLocal = 1,
        cnrtQueueCaptureModeRelaxed = 2,
    }
    /// How far a capture is.
    cnrtQueueCaptureStatus: u32 {
        cnrtQueueCaptureStatusNone = 0,
        cnrtQueueCaptureStatusActive = 1,
        cnrtQueueCaptureStatusInvalidated = 2,
    }
    /// Number types.
    cnnlDataType_t: u32 {
        CNNL_DTYPE_INVALID = 0,
        CNNL_DTYPE_HALF = 1,
        CNNL_DTYPE_FLOAT = 2,
        CNNL_DTYPE_INT8 = 3,
        CNNL_DTYPE_INT16 = 4,
        CNNL_DTYPE_INT31 = 5,
        CNNL_DTYPE_INT32 = 6,
        CNNL_DTYPE_UINT8 = 7,
        CNNL_DTYPE_BOOL = 8,
        CNNL_DTYPE_INT64 = 9,
        CNNL_DTYPE_UINT32 = 11,
        CNNL_DTYPE_UINT64 = 12,
        CNNL_DTYPE_UINT16 = 13,
        CNNL_DTYPE_DOUBLE = 14,
        CNNL_DTYPE_COMPLEX_HALF = 15,
        CNNL_DTYPE_COMPLEX_FLOAT = 16,
        CNNL_DTYPE_BFLOAT16 = 17,
        CNNL_DTYPE_COMPLEX_DOUBLE = 18,
        CNNL_DTYPE_INT4X2 = 19,
        CNNL_DTYPE_FLOAT8_E4M3FN = 20,
        CNNL_DTYPE_FLOAT8_E5M2 = 21,
    }
    /// What the dimensions mean.
    cnnlTensorLayout_t: u32 {
        CNNL_LAYOUT_NCHW = 0,
        CNNL_LAYOUT_NHWC = 1,
        CNNL_LAYOUT_HWCN = 2,
        CNNL_LAYOUT_NDHWC = 3,
        CNNL_LAYOUT_ARRAY = 4,
        CNNL_LAYOUT_NCDHW = 5,
        CNNL_LAYOUT_TNC = 6,
        CNNL_LAYOUT_NTC = 7,
        CNNL_LAYOUT_NC = 8,
        CNNL_LAYOUT_NLC = 9,
        CNNL_LAYOUT_NCL = 10,
        CNNL_LAYOUT_GNC = 11,
        CNNL_LAYOUT_NGC = 12,
    }
    /// On which side a number lies.
    cnnlPointerMode_t: u32 {
        CNNL_POINTER_MODE_HOST = 0,
        CNNL_POINTER_MODE_DEVICE = 1,
    }
    /// Whether sums may be taken in any order.
    cnnlAtomicsMode_t: u32 {
        CNNL_ATOMICS_NOT_ALLOWED = 1,
        CNNL_ATOMICS_ALLOWED = 2,
    }
    /// How quantising rounds.
    cnnlQuantizeRoundMode_t: u32 {
        CNNL_ROUND_HALF_TO_EVEN = 0,
        CNNL_ROUND_HALF_UP = 1,
        CNNL_ROUND_HALF_OFF_ZERO = 2,
    }
    /// What becomes of what is no number.
    cnnlNanPropagation_t: u32 {
        CNNL_NOT_PROPAGATE_NAN = 0,
        CNNL_PROPAGATE_NAN = 1,
    }
    /// Speed or precision.
    cnnlComputationPreference_t: u32 {
        CNNL_COMPUTATION_FAST = 0,
        CNNL_COMPUTATION_HIGH_PRECISION = 1,
        CNNL_COMPUTATION_ULTRAHIGH_PRECISION = 2,
    }
    /// An operation on two tensors.
    cnnlOpTensorDesc_t: u32 {
        CNNL_OP_TENSOR_ADD = 0,
        CNNL_OP_TENSOR_SUB = 1,
        CNNL_OP_TENSOR_MUL = 2,
    }
    /// What a division is set up with.
    cnnlDivDescAttribute_t: u32 {
        CNNL_DIV_MODE = 0,
    }
    /// A comparison.
    cnnlLogicOp_t: u32 {
        CNNL_LOGIC_OP_EQ = 0,
        CNNL_LOGIC_OP_NE = 1,
        CNNL_LOGIC_OP_GT = 2,
        CNNL_LOGIC_OP_GE = 3,
        CNNL_LOGIC_OP_LT = 4,
        CNNL_LOGIC_OP_LE = 5,
        CNNL_LOGIC_OP_AND = 6,
        CNNL_LOGIC_OP_OR = 7,
        CNNL_LOGIC_OP_XOR = 8,
        CNNL_LOGIC_OP_NOT = 9,
    }
    /// The base of a logarithm.
    cnnlLogBase_t: u32 {
        CNNL_LOG_E = 0,
        CNNL_LOG_2 = 1,
        CNNL_LOG_10 = 2,
    }
    /// How a softmax is computed.
    cnnlSoftmaxAlgorithm_t: u32 {
        CNNL_SOFTMAX_FAST = 0,
        CNNL_SOFTMAX_ACCURATE = 1,
        CNNL_SOFTMAX_LOG = 2,
    }
    /// Over which of three dimensions.
    cnnlSoftmaxMode_t: u32 {
        CNNL_SOFTMAX_MODE_HIGH_DIMENSION = 0,
        CNNL_SOFTMAX_MODE_MEDIUM_DIMENSION = 1,
        CNNL_SOFTMAX_MODE_LOW_DIMENSION = 2,
    }
    /// A reduction.
    cnnlReduceOp_t: u32 {
        CNNL_REDUCE_ADD = 0,
        CNNL_REDUCE_AVG = 1,
        CNNL_REDUCE_MUL = 2,
        CNNL_REDUCE_MAX = 3,
        CNNL_REDUCE_MIN = 4,
        CNNL_REDUCE_AND = 5,
        CNNL_REDUCE_OR = 6,
        CNNL_REDUCE_NORM1 = 7,
        CNNL_REDUCE_NORM2 = 8,
    }
    /// Whether a reduction gives places.
    cnnlReduceIndices_t: u32 {
        CNNL_REDUCE_NO_INDICES = 0,
        CNNL_REDUCE_FLATTENED_INDICES = 1,
        CNNL_REDUCE_ONLY_INDICES = 2,
    }
    /// The type of such places.
    cnnlIndicesType_t: u32 {
        CNNL_32BIT_INDICES = 0,
        CNNL_16BIT_INDICES = 1,
        CNNL_64BIT_INDICES = 2,
    }
    /// An activation.
    cnnlActivationMode_t: u32 {
        CNNL_ACTIVATION_SIGMOID = 0,
        CNNL_ACTIVATION_RELU = 1,
        CNNL_ACTIVATION_TANH = 3,
        CNNL_ACTIVATION_IDENTITY = 6,
        CNNL_ACTIVATION_GELU = 8,
        CNNL_ACTIVATION_SWISH = 13,
        CNNL_ACTIVATION_SILU = 14,
        CNNL_ACTIVATION_LOGSIGMOID = 18,
    }
    /// What an activation is set up with.
    cnnlActivationDescAttribute_t: u32 {
        CNNL_ACTIVATION_MODE = 0,
        CNNL_ACTIVATION_PREFERENCE = 1,
        CNNL_ACTIVATION_NAN_PROP = 2,
        CNNL_ACTIVATION_COEF = 3,
        CNNL_ACTIVATION_SLICED_DIM = 4,
        CNNL_ACTIVATION_GAMMA = 5,
        CNNL_ACTIVATION_SCALE = 6,
        CNNL_ACTIVATION_IS_RESULT = 7,
        CNNL_ACTIVATION_APPROXIMATE = 8,
    }
    /// What a product is set up with.
    cnnlMatMulDescAttribute_t: u32 {
        CNNL_MATMUL_DESC_COMPUTE_TYPE = 0,
        CNNL_MATMUL_DESC_SCALE_TYPE = 1,
        CNNL_MATMUL_DESC_TRANSA = 3,
        CNNL_MATMUL_DESC_TRANSB = 4,
        CNNL_MATMUL_DESC_TRANSC = 5,
        CNNL_MATMUL_ALLOW_TF32 = 10,
        CNNL_MATMUL_USE_BETA = 11,
        CNNL_MATMUL_USE_STRIDE = 13,
        CNNL_MATMUL_DESC_LDA = 14,
        CNNL_MATMUL_DESC_LDB = 15,
        CNNL_MATMUL_DESC_LDC = 16,
        CNNL_MATMUL_DESC_A_SCALE_POINTER = 17,
        CNNL_MATMUL_DESC_B_SCALE_POINTER = 18,
        CNNL_MATMUL_DESC_C_SCALE_POINTER = 19,
        CNNL_MATMUL_DESC_D_SCALE_POINTER = 20,
        CNNL_MATMUL_DESC_A_QUANT = 21,
        CNNL_MATMUL_DESC_B_QUANT = 22,
        CNNL_MATMUL_DESC_D_QUANT = 23,
        CNNL_MATMUL_DESC_B_QUANT_FLAG_POINTER = 24,
        CNNL_MATMUL_GROUP_M_MAX = 96,
        CNNL_MATMUL_GROUP_N_MAX = 97,
        CNNL_MATMUL_GROUP_K_MAX = 98,
    }
    /// What a product with more operands is set up with.
    cnnlMatMulExDescAttribute_t: u32 {
        CNNL_MATMUL_EX_DESC_COMPUTE_TYPE = 0,
        CNNL_MATMUL_EX_DESC_TRANSA = 3,
        CNNL_MATMUL_EX_DESC_TRANSB = 4,
        CNNL_MATMUL_EX_DESC_EPILOGUE_TYPE = 8,
        CNNL_MATMUL_EX_ALLOW_TF32 = 10,
        CNNL_MATMUL_EX_USE_BETA = 11,
        CNNL_MATMUL_EX_DESC_LDA = 14,
        CNNL_MATMUL_EX_DESC_LDB = 15,
        CNNL_MATMUL_EX_DESC_LDC = 16,
        CNNL_MATMUL_EX_DESC_A_QUANT = 17,
        CNNL_MATMUL_EX_DESC_B_QUANT = 18,
        CNNL_MATMUL_EX_DESC_D_QUANT = 19,
    }
    /// How the operands of grouped products are named.
    cnnlGroupGemmTensorMode_t: u32 {
        CNNL_GROUP_GEMM_TENSOR_DOUBLE_POINTER = 0,
        CNNL_GROUP_GEMM_TENSOR_GATHER_IDX = 1,
        CNNL_GROUP_GEMM_TENSOR_OFFSETS = 2,
        CNNL_GROUP_GEMM_TENSOR_3D_TENSOR = 3,
    }
    /// What shares a scale.
    cnnlQuantizeScheme_t: u32 {
        CNNL_QUANTIZE_NONE = 0,
        CNNL_QUANTIZE_PER_TENSOR = 1,
        CNNL_QUANTIZE_PER_CHANNEL = 2,
        CNNL_QUANTIZE_PER_TOKEN = 3,
        CNNL_QUANTIZE_GROUP_WISE = 4,
    }
    /// What a scale is made of.
    cnnlQuantizeMode_t: u32 {
        CNNL_QUANTIZE_POSITION = 0,
        CNNL_QUANTIZE_POSITION_SCALE = 1,
        CNNL_QUANTIZE_POSITION_SCALE_OFFSET = 2,
        CNNL_QUANTIZE_SCALE = 3,
        CNNL_QUANTIZE_PARAM_NONE = 255,
    }
    /// What becomes of what was there.
    cnnlScatterMode_t: u32 {
        CNNL_SCATTER = 0,
        CNNL_SCATTER_ADD = 1,
        CNNL_SCATTER_MAX = 2,
        CNNL_SCATTER_MIN = 3,
    }
    /// The same, of rows.
    cnnlScatterNdMode_t: u32 {
        CNNL_SCATTERND_ADD = 0,
        CNNL_SCATTERND_SUB = 1,
        CNNL_SCATTERND_MUL = 2,
        CNNL_SCATTERND_UPDATE = 3,
    }
    /// Which numbers come first.
    cnnlSortType_t: u32 {
        CNNL_SORT_ASCENDING = 0,
        CNNL_SORT_DESCENDING = 1,
    }
    /// A function of an angle.
    cnnlTrigonFunctionMode_t: u32 {
        CNNL_TRIGON_SIN = 0,
        CNNL_TRIGON_COS = 1,
        CNNL_TRIGON_TAN = 2,
    }
    /// What a norm is set up with.
    cnnlNormDescAttribute_t: u32 {
        CNNL_NORM_DESC_ALLOW_REDUCED_PRECISION = 0,
        CNNL_NORM_DESC_OUTPUT_TYPE_SAME_AS_WEIGHT = 1,
        CNNL_NORM_DESC_EPS = 5,
    }
    /// From which type to which.
    cnnlCastDataType_t: u32 {
        CNNL_CAST_FLOAT_TO_HALF = 210,
        CNNL_CAST_FLOAT_TO_INT32 = 260,
        CNNL_CAST_FLOAT_TO_INT8 = 230,
        CNNL_CAST_FLOAT_TO_INT64 = 290,
        CNNL_CAST_FLOAT_TO_BFLOAT16 = 272,
        CNNL_CAST_FLOAT_TO_BOOL = 280,
        CNNL_CAST_HALF_TO_FLOAT = 120,
        CNNL_CAST_BFLOAT16_TO_FLOAT = 721,
        CNNL_CAST_BFLOAT16_TO_INT32 = 176,
        CNNL_CAST_INT32_TO_FLOAT = 620,
        CNNL_CAST_INT32_TO_BFLOAT16 = 617,
        CNNL_CAST_INT32_TO_INT64 = 690,
        CNNL_CAST_INT64_TO_INT32 = 960,
        CNNL_CAST_INT64_TO_FLOAT = 920,
        CNNL_CAST_INT8_TO_FLOAT = 320,
        CNNL_CAST_INT8_TO_BFLOAT16 = 317,
        CNNL_CAST_BOOL_TO_FLOAT = 820,
        CNNL_CAST_BOOL_TO_INT32 = 860,
        CNNL_CAST_UINT8_TO_FLOAT = 720,
        CNNL_CAST_UINT8_TO_INT32 = 760,
    }
    /// A norm of a transformer.
    cnnlTransformerNormType_t: u32 {
        CNNL_TRANSFORMER_LAYERNORM = 0,
        CNNL_TRANSFORMER_RMSNORM = 1,
        CNNL_TRANSFORMER_SCALENORM = 2,
    }
    /// How a product is quantised.
    cnnlLLMQuantAlgo_t: u32 {
        CNNL_NO_QUANT = 0,
        CNNL_WEIGHT_ONLY = 1,
        CNNL_SMOOTH_QUANT = 2,
    }
    /// How a gated activation is computed.
    cnnlBiasActivationGluAlgo_t: u32 {
        CNNL_BIAS_ACTIVATION_GLU_ALGO_V1 = 0,
        CNNL_BIAS_ACTIVATION_GLU_ALGO_V2 = 1,
    }
    /// How sequences lie.
    cnnlSeqDataLayout_t: u32 {
        CNNL_SEQDATA_TNC = 0,
        CNNL_SEQDATA_TNC_PACKED = 1,
        CNNL_SEQDATA_NTC = 2,
        CNNL_SEQDATA_NC = 3,
    }
    /// Number types of collectives.
    cnclDataType_t: u32 {
        cnclFloat16 = 0x10,
        cnclBfloat16 = 0x11,
        cnclFloat32 = 0x12,
        cnclInt8 = 0x20,
        cnclInt16 = 0x21,
        cnclInt32 = 0x22,
        cnclInt64 = 0x23,
        cnclUint8 = 0x30,
        cnclUint16 = 0x31,
        cnclUint32 = 0x32,
        cnclUint64 = 0x33,
    }
    /// How a collective reduces.
    cnclReduceOp_t: u32 {
        cnclSum = 0,
        cnclProd = 1,
        cnclMax = 2,
        cnclMin = 3,
    }
}
