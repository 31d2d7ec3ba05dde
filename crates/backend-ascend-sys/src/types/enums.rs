//! Enumerations, and the values that are used.

use crate::signature::{AbiType, Type};

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
        $name:ident: $int:ty { $($value:ident = $number:literal,)+ }
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
                )+

                /// The name of a declared value.
                #[must_use]
                pub fn name(self) -> Option<&'static str> {
                    match self.0 {
                        $($number => Some(stringify!($value)),)+
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
                values: &[$((stringify!($value), $number)),+],
            },
        )+];
    };
}

enums! {
    /// Number types of operands.
    aclDataType: i32 {
        ACL_DT_UNDEFINED = -1,
        ACL_FLOAT = 0,
        ACL_FLOAT16 = 1,
        ACL_INT8 = 2,
        ACL_INT32 = 3,
        ACL_UINT8 = 4,
        ACL_INT16 = 6,
        ACL_UINT16 = 7,
        ACL_UINT32 = 8,
        ACL_INT64 = 9,
        ACL_UINT64 = 10,
        ACL_DOUBLE = 11,
        ACL_BOOL = 12,
        ACL_BF16 = 27,
        ACL_INT4 = 29,
        ACL_HIFLOAT8 = 34,
        ACL_FLOAT8_E5M2 = 35,
        ACL_FLOAT8_E4M3FN = 36,
        ACL_FLOAT8_E8M0 = 37,
        ACL_FLOAT6_E3M2 = 38,
        ACL_FLOAT6_E2M3 = 39,
        ACL_FLOAT4_E2M1 = 40,
        ACL_FLOAT4_E1M2 = 41,
    }
    /// How the numbers of an operand lie in memory.
    aclFormat: i32 {
        ACL_FORMAT_UNDEFINED = -1,
        ACL_FORMAT_NCHW = 0,
        ACL_FORMAT_NHWC = 1,
        ACL_FORMAT_ND = 2,
        ACL_FORMAT_FRACTAL_NZ = 29,
        ACL_FORMAT_FRACTAL_NZ_C0_16 = 50,
        ACL_FORMAT_FRACTAL_NZ_C0_32 = 51,
        ACL_FORMAT_FRACTAL_NZ_C0_2 = 52,
        ACL_FORMAT_FRACTAL_NZ_C0_4 = 53,
        ACL_FORMAT_FRACTAL_NZ_C0_8 = 54,
    }
    /// From where to where a copy goes.
    aclrtMemcpyKind: u32 {
        ACL_MEMCPY_HOST_TO_HOST = 0,
        ACL_MEMCPY_HOST_TO_DEVICE = 1,
        ACL_MEMCPY_DEVICE_TO_HOST = 2,
        ACL_MEMCPY_DEVICE_TO_DEVICE = 3,
        ACL_MEMCPY_DEFAULT = 4,
    }
    /// Which pages memory is made of.
    aclrtMemMallocPolicy: u32 {
        ACL_MEM_MALLOC_HUGE_FIRST = 0,
        ACL_MEM_MALLOC_HUGE_ONLY = 1,
        ACL_MEM_MALLOC_NORMAL_ONLY = 2,
        ACL_MEM_MALLOC_HUGE_FIRST_P2P = 3,
        ACL_MEM_MALLOC_HUGE_ONLY_P2P = 4,
        ACL_MEM_MALLOC_NORMAL_ONLY_P2P = 5,
    }
    /// Which memory is asked about.
    aclrtMemAttr: u32 {
        ACL_DDR_MEM = 0,
        ACL_HBM_MEM = 1,
    }
    /// What is asked of a device.
    aclrtDevAttr: u32 {
        ACL_DEV_ATTR_AICORE_CORE_NUM = 101,
        ACL_DEV_ATTR_CUBE_CORE_NUM = 102,
        ACL_DEV_ATTR_VECTOR_CORE_NUM = 201,
        ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE = 301,
        ACL_DEV_ATTR_L2_CACHE_SIZE = 302,
    }
    /// Where the program runs.
    aclrtRunMode: u32 {
        ACL_DEVICE = 0,
        ACL_HOST = 1,
    }
    /// Whether a stream is done.
    aclrtStreamStatus: u32 {
        ACL_STREAM_STATUS_COMPLETE = 0,
        ACL_STREAM_STATUS_NOT_READY = 1,
        ACL_STREAM_STATUS_RESERVED = 0xFFFF,
    }
    /// Whether a recorded event was reached. Beware: 1 means that it was, as in no other status.
    aclrtEventRecordedStatus: u32 {
        ACL_EVENT_RECORDED_STATUS_NOT_READY = 0,
        ACL_EVENT_RECORDED_STATUS_COMPLETE = 1,
    }
    /// Whether a stream waits for its callback.
    aclrtCallbackBlockType: u32 {
        ACL_CALLBACK_NO_BLOCK = 0,
        ACL_CALLBACK_BLOCK = 1,
    }
    /// What memory of the host is registered for.
    aclrtHostRegisterType: u32 {
        ACL_HOST_REGISTER_MAPPED = 0,
    }
    /// Where memory lies.
    aclrtMemLocationType: u32 {
        ACL_MEM_LOCATION_TYPE_HOST = 0,
        ACL_MEM_LOCATION_TYPE_DEVICE = 1,
        ACL_MEM_LOCATION_TYPE_UNREGISTERED = 2,
        ACL_MEM_LOCATION_TYPE_HOST_NUMA = 4,
    }
    /// Whether physical memory moves.
    aclrtMemAllocationType: u32 {
        ACL_MEM_ALLOCATION_TYPE_PINNED = 0,
    }
    /// How physical memory is shared.
    aclrtMemHandleType: u32 {
        ACL_MEM_HANDLE_TYPE_NONE = 0,
        ACL_MEM_HANDLE_TYPE_POSIX = 2,
    }
    /// Which granularity of physical memory is asked for.
    aclrtMemGranularityOptions: u32 {
        ACL_RT_MEM_ALLOC_GRANULARITY_MINIMUM = 0,
        ACL_RT_MEM_ALLOC_GRANULARITY_RECOMMENDED = 1,
    }
    /// Switches of a context or of the process.
    aclSysParamOpt: u32 {
        ACL_OPT_DETERMINISTIC = 0,
        ACL_OPT_ENABLE_DEBUG_KERNEL = 1,
        ACL_OPT_STRONG_CONSISTENCY = 2,
    }
    /// Whose last error is asked for.
    aclrtLastErrLevel: u32 {
        ACL_RT_THREAD_LEVEL = 0,
    }
    /// Whom a capture forbids what.
    aclmdlRICaptureMode: u32 {
        ACL_MODEL_RI_CAPTURE_MODE_GLOBAL = 0,
        ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL = 1,
        ACL_MODEL_RI_CAPTURE_MODE_RELAXED = 2,
    }
    /// Whether a stream is captured.
    aclmdlRICaptureStatus: u32 {
        ACL_MODEL_RI_CAPTURE_STATUS_NONE = 0,
        ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE = 1,
        ACL_MODEL_RI_CAPTURE_STATUS_INVALIDATED = 2,
    }
    /// What a collective returns.
    HcclResult: u32 {
        HCCL_SUCCESS = 0,
        HCCL_E_PARA = 1,
        HCCL_E_PTR = 2,
        HCCL_E_MEMORY = 3,
        HCCL_E_INTERNAL = 4,
        HCCL_E_NOT_SUPPORT = 5,
        HCCL_E_NOT_FOUND = 6,
        HCCL_E_UNAVAIL = 7,
        HCCL_E_SYSCALL = 8,
        HCCL_E_TIMEOUT = 9,
        HCCL_E_OPEN_FILE_FAILURE = 10,
        HCCL_E_TCP_CONNECT = 11,
        HCCL_E_ROCE_CONNECT = 12,
        HCCL_E_TCP_TRANSFER = 13,
        HCCL_E_ROCE_TRANSFER = 14,
        HCCL_E_RUNTIME = 15,
        HCCL_E_DRV = 16,
        HCCL_E_PROFILING = 17,
        HCCL_E_CCE = 18,
        HCCL_E_NETWORK = 19,
        HCCL_E_AGAIN = 20,
        HCCL_E_REMOTE = 21,
        HCCL_E_SUSPENDING = 22,
        HCCL_E_OPRETRY_FAIL = 23,
        HCCL_E_OOM = 24,
    }
    /// Number types of collectives.
    HcclDataType: u32 {
        HCCL_DATA_TYPE_INT8 = 0,
        HCCL_DATA_TYPE_INT16 = 1,
        HCCL_DATA_TYPE_INT32 = 2,
        HCCL_DATA_TYPE_FP16 = 3,
        HCCL_DATA_TYPE_FP32 = 4,
        HCCL_DATA_TYPE_INT64 = 5,
        HCCL_DATA_TYPE_UINT64 = 6,
        HCCL_DATA_TYPE_UINT8 = 7,
        HCCL_DATA_TYPE_UINT16 = 8,
        HCCL_DATA_TYPE_UINT32 = 9,
        HCCL_DATA_TYPE_FP64 = 10,
        HCCL_DATA_TYPE_BFP16 = 11,
        HCCL_DATA_TYPE_HIF8 = 14,
        HCCL_DATA_TYPE_FP8E4M3 = 15,
        HCCL_DATA_TYPE_FP8E5M2 = 16,
        HCCL_DATA_TYPE_FP8E8M0 = 17,
    }
    /// How a collective reduces.
    HcclReduceOp: u32 {
        HCCL_REDUCE_SUM = 0,
        HCCL_REDUCE_PROD = 1,
        HCCL_REDUCE_MAX = 2,
        HCCL_REDUCE_MIN = 3,
    }
    /// Which way an item goes.
    HcclSendRecvType: u32 {
        HCCL_SEND = 0,
        HCCL_RECV = 1,
    }
}
