//! Flags, sizes and marks.

macro_rules! constants {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)+) => {
        $($(#[$doc])* pub const $name: u32 = $value;)+

        /// All of them.
        pub const CONSTANTS: &[(&str, u32)] = &[$((stringify!($name), $name)),+];
    };
}

constants! {
    /// Of an event: it is waited for.
    ACL_EVENT_SYNC = 0x1;
    /// Of an event: it may be waited for within a capture.
    ACL_EVENT_CAPTURE_STREAM_PROGRESS = 0x2;
    /// Of an event: it takes the time.
    ACL_EVENT_TIME_LINE = 0x8;
    /// Of an event: it stands outside of the graph that it is captured in.
    ACL_EVENT_EXTERNAL = 0x20;

    /// Of a stream: tasks are launched quickly, at the price of resources held.
    ACL_STREAM_FAST_LAUNCH = 0x1;
    /// Of a stream: it is waited for quickly, at the price of a busy core.
    ACL_STREAM_FAST_SYNC = 0x2;
    /// Of a stream: its tasks stay on the device.
    ACL_STREAM_PERSISTENT = 0x4;
    /// Of a stream: it holds more tasks.
    ACL_STREAM_HUGE = 0x8;

    /// Bytes of the information that a root gives to the other ranks.
    HCCL_ROOT_INFO_BYTES = 4108;
    /// Bytes of a communicator's name, the zero at its end among them.
    COMM_NAME_MAX_LENGTH = 128;
    /// Bytes of the name of a buffer.
    BUFFER_NAME_MAX_LENGTH = 128;
    /// Bytes of the description of a communicator.
    UDI_MAX_LENGTH = 128;
    /// Bytes of the choice of algorithms.
    HCCL_COMM_ALGO_MAX_LENGTH = 1600;
    /// Bytes of the switches of repetition.
    HCCL_COMM_RETRY_ENABLE_MAX_LENGTH = 50;
    /// Bytes of the numbers of repetition.
    HCCL_COMM_RETRY_PARAMS_MAX_LENGTH = 128;
    /// Bytes that a configuration of a communicator begins with.
    HCCL_COMM_CONFIG_INFO_BYTES = 24;
    /// What marks such a configuration.
    HCCL_COMM_CONFIG_MAGIC_WORD = 0xf0f0_f0f0;
    /// The version of it that is declared here.
    HCCL_COMM_CONFIG_VERSION = 10;
    /// In place of a size that is not set.
    HCCL_COMM_BUFFSIZE_CONFIG_NOT_SET = 0xffff_ffff;
    /// In place of a switch that is not set.
    HCCL_COMM_DETERMINISTIC_CONFIG_NOT_SET = 0xffff_ffff;
    /// In place of a class of traffic that is not set.
    HCCL_COMM_TRAFFIC_CLASS_CONFIG_NOT_SET = 0xffff_ffff;
    /// In place of a level of service that is not set.
    HCCL_COMM_SERVICE_LEVEL_CONFIG_NOT_SET = 0xffff_ffff;
    /// In place of a quality of service that is not set.
    HCCL_COMM_QOS_CONFIG_NOT_SET = 0xffff_ffff;
    /// GiB of addresses that symmetric memory takes for each rank.
    HCCL_DEFAULT_SYMMETRIC_MEMORY_STRIDE = 16;
}
