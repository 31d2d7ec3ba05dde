//! Structures, with the places of their fields; a field out of its place does not compile.

use std::ffi::{c_char, c_void};

use super::{
    HCCL_COMM_BUFFSIZE_CONFIG_NOT_SET, HCCL_COMM_CONFIG_MAGIC_WORD, HCCL_COMM_CONFIG_VERSION,
    HCCL_COMM_DETERMINISTIC_CONFIG_NOT_SET, HCCL_COMM_QOS_CONFIG_NOT_SET,
    HCCL_COMM_SERVICE_LEVEL_CONFIG_NOT_SET, HCCL_COMM_TRAFFIC_CLASS_CONFIG_NOT_SET,
    HCCL_DEFAULT_SYMMETRIC_MEMORY_STRIDE, HcclDataType, HcclSendRecvType, aclrtMemAllocationType,
    aclrtMemAttr, aclrtMemHandleType, aclrtMemLocationType,
};
use crate::signature::{AbiType, Type};

/// A structure as the checks see it. x86-64 and aarch64 lay it out alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Its name.
    pub name: &'static str,
    /// Its bytes.
    pub size: usize,
    /// What its address is a multiple of.
    pub align: usize,
    /// Its fields, and the byte that each begins at.
    pub fields: &'static [(&'static str, usize)],
}

macro_rules! structs {
    ($(
        $(#[$doc:meta])*
        $name:ident: $size:literal bytes, aligned to $align:literal {
            $($(#[$field_doc:meta])* at $offset:literal $field:ident: $ty:ty,)+
        }
    )+) => {
        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy)]
            pub struct $name {
                $(
                    #[doc = concat!("At byte ", $offset, ".")]
                    $(#[$field_doc])*
                    pub $field: $ty,
                )+
            }

            #[cfg(target_pointer_width = "64")]
            const _: () = {
                assert!(size_of::<$name>() == $size);
                assert!(align_of::<$name>() == $align);
                $(assert!(std::mem::offset_of!($name, $field) == $offset);)+
            };

            impl AbiType for $name {
                const TYPE: Type = Type::Struct(stringify!($name));
            }
        )+

        /// All of them.
        pub const LAYOUTS: &[Layout] = &[$(
            Layout {
                name: stringify!($name),
                size: $size,
                align: $align,
                fields: &[$((stringify!($field), $offset)),+],
            },
        )+];
    };
}

structs! {
    /// Where memory lies.
    aclrtMemLocation: 8 bytes, aligned to 4 {
        at 0 id: u32,
        at 4 type_: aclrtMemLocationType,
    }
    /// Physical memory to be made.
    aclrtPhysicalMemProp: 32 bytes, aligned to 8 {
        at 0 handleType: aclrtMemHandleType,
        at 4 allocationType: aclrtMemAllocationType,
        at 8 memAttr: aclrtMemAttr,
        at 12 location: aclrtMemLocation,
        at 24 reserve: u64,
    }
    /// What a pointer leads to.
    aclrtPtrAttributes: 28 bytes, aligned to 4 {
        at 0 location: aclrtMemLocation,
        at 8 pageSize: u32,
        at 12 rsv: [u32; 4],
    }
    /// A device's identifier.
    aclrtUuid: 16 bytes, aligned to 1 {
        at 0 bytes: [c_char; 16],
    }
    /// What the root of a communicator gives to its other ranks.
    HcclRootInfo: 4108 bytes, aligned to 1 {
        at 0 internal: [c_char; 4108],
    }
    /// The configuration of a communicator. The default is what the vendor's own inline function sets,
    /// which no library exports.
    HcclCommConfig: 2240 bytes, aligned to 8 {
        /// Size of the whole (8 bytes), mark (4), version (4) and nothing (8).
        at 0 reserved: [c_char; 24],
        /// In MiB.
        at 24 hcclBufferSize: u32,
        at 28 hcclDeterministic: u32,
        at 32 hcclCommName: [c_char; 128],
        at 160 hcclUdi: [c_char; 128],
        /// 0 the default, 1 host, 2 AI CPU, 3 AI vector.
        at 288 hcclOpExpansionMode: u32,
        at 292 hcclRdmaTrafficClass: u32,
        at 296 hcclRdmaServiceLevel: u32,
        at 300 hcclWorldRankID: u32,
        at 304 hcclJobID: u64,
        at 312 aclGraphZeroCopyEnable: u8,
        /// In seconds; -1 where it is not set.
        at 316 hcclExecTimeOut: i32,
        at 320 hcclAlgo: [c_char; 1600],
        at 1920 hcclRetryEnable: [c_char; 50],
        at 1970 hcclRetryParams: [c_char; 128],
        at 2098 hcclBufferName: [c_char; 128],
        at 2228 hcclQos: u32,
        /// In GiB.
        at 2232 hcclSymWinMaxMemSizePerRank: u64,
    }
    /// One of several sends and receives.
    HcclSendRecvItem: 32 bytes, aligned to 8 {
        at 0 sendRecvType: HcclSendRecvType,
        at 8 buf: *mut c_void,
        at 16 count: u64,
        at 24 dataType: HcclDataType,
        at 28 remoteRank: u32,
    }
}

impl Default for HcclCommConfig {
    fn default() -> Self {
        Self {
            reserved: beginning(),
            hcclBufferSize: HCCL_COMM_BUFFSIZE_CONFIG_NOT_SET,
            hcclDeterministic: HCCL_COMM_DETERMINISTIC_CONFIG_NOT_SET,
            hcclCommName: [0; 128],
            hcclUdi: [0; 128],
            hcclOpExpansionMode: 0,
            hcclRdmaTrafficClass: HCCL_COMM_TRAFFIC_CLASS_CONFIG_NOT_SET,
            hcclRdmaServiceLevel: HCCL_COMM_SERVICE_LEVEL_CONFIG_NOT_SET,
            hcclWorldRankID: 0,
            hcclJobID: 0,
            aclGraphZeroCopyEnable: 0,
            hcclExecTimeOut: -1,
            hcclAlgo: [0; 1600],
            hcclRetryEnable: [0; 50],
            hcclRetryParams: [0; 128],
            hcclBufferName: [0; 128],
            hcclQos: HCCL_COMM_QOS_CONFIG_NOT_SET,
            hcclSymWinMaxMemSizePerRank: HCCL_DEFAULT_SYMMETRIC_MEMORY_STRIDE.into(),
        }
    }
}

/// What a configuration begins with: `{ uint64 size; uint32 mark; uint32 version; uint64 nothing; }`.
fn beginning() -> [c_char; 24] {
    let mut bytes = [0; 24];
    let size = size_of::<HcclCommConfig>() as u64;
    bytes[..8].copy_from_slice(&size.to_ne_bytes());
    bytes[8..12].copy_from_slice(&HCCL_COMM_CONFIG_MAGIC_WORD.to_ne_bytes());
    bytes[12..16].copy_from_slice(&HCCL_COMM_CONFIG_VERSION.to_ne_bytes());
    bytes.map(|byte: u8| byte as c_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_begins_as_the_library_expects() {
        let config = HcclCommConfig::default();
        let bytes = config.reserved.map(|byte| byte as u8);
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("a word"));
        assert_eq!(word(0), 2240);
        assert_eq!(word(8), 10 << 32 | 0xf0f0_f0f0);
        assert_eq!(word(16), 0);
    }

    #[test]
    fn what_is_not_set_says_so() {
        let config = HcclCommConfig::default();
        let unset = [
            config.hcclBufferSize,
            config.hcclDeterministic,
            config.hcclRdmaTrafficClass,
            config.hcclRdmaServiceLevel,
            config.hcclQos,
        ];
        assert_eq!(unset, [u32::MAX; 5]);
        assert_eq!(config.hcclExecTimeOut, -1);
        assert_eq!(config.hcclOpExpansionMode, 0);
        assert_eq!(config.hcclSymWinMaxMemSizePerRank, 16);
    }
}
