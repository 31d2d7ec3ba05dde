//! CNCL: collectives.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    cnclCliqueId_t, cnclComm_t, cnclDataType_t, cnclReduceOp_t, cnclResult_t, cnrtQueue_t,
};

abi_table! {
    /// Collectives.
    pub struct Collectives: Cncl;

    #[second]
    fn cnclGetLibVersion(major: *mut i32, minor: *mut i32, patch: *mut i32) -> cnclResult_t;
    #[second]
    fn cnclGetErrorStr(ret: cnclResult_t) -> *const c_char;
    #[second]
    fn cnclGetCliqueId(clique_id: cnclCliqueId_t) -> cnclResult_t;
    #[second]
    fn cnclInitComms(
        comms: *mut cnclComm_t, num_comm: i32, dev_list: *const i32, rank_list: *const i32,
        nrank: i32, clique_id: cnclCliqueId_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclFreeComm(comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclDestroyComms(comms: *mut cnclComm_t, num_comm: i32) -> cnclResult_t;
    #[second]
    fn cnclAbortComm(comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclGetCommAsyncError(comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclGetCommCount(count: *mut i32, comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclGetCommRank(rank: *mut i32, comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclGetCommDevice(rank: *mut i32, comm: cnclComm_t) -> cnclResult_t;
    #[second]
    fn cnclBcast(
        buffer: *mut c_void, count: usize, data_type: cnclDataType_t, root: i32, comm: cnclComm_t,
        queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclBroadcast(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, root: i32, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclReduce(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, reduce_op: cnclReduceOp_t, root: i32, comm: cnclComm_t,
        queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclAllReduce(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, reduce_op: cnclReduceOp_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclReduceScatter(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, reduce_op: cnclReduceOp_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclAllGather(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclAlltoAll(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclAlltoAllv(
        send_buffers: *mut *const c_void, send_counts: *mut u32, send_types: *mut cnclDataType_t,
        recv_buffers: *mut *mut c_void, recv_counts: *mut u32, recv_types: *mut cnclDataType_t,
        comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclSend(
        buffer: *mut c_void, count: usize, data_type: cnclDataType_t, dest: i32, comm: cnclComm_t,
        queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclRecv(
        buffer: *mut c_void, count: usize, data_type: cnclDataType_t, source: i32, comm: cnclComm_t,
        queue: cnrtQueue_t,
    ) -> cnclResult_t;
    #[second]
    fn cnclGroupStart() -> cnclResult_t;
    #[second]
    fn cnclGroupEnd() -> cnclResult_t;
}
