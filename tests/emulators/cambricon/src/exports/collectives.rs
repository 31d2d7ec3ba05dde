//! Communicators, and operations of all their ranks.

use std::ffi::{c_char, c_void};

use backend_cambricon_sys::types::{
    cnclCliqueId_t, cnclComm_t, cnclDataType_t, cnclReduceOp_t, cnclResult_t, cnrtQueue_t,
};
use emulator_support::argument::Place;

use super::argument::communicators;
use super::export;
use crate::codes::CNCL_NULL;
use crate::collectives::{self, Request, Wanted};
use crate::devices;

export! {
    collectives;
    fn cnclGetErrorStr(ret: cnclResult_t) -> *const c_char = devices::error_text;
    fn cnclGetCliqueId(clique_id: cnclCliqueId_t) -> cnclResult_t = collectives::identify;
    fn cnclInitComms(
        comms: *mut cnclComm_t, num_comm: i32, dev_list: *const i32, rank_list: *const i32,
        nrank: i32, clique_id: cnclCliqueId_t,
    ) -> cnclResult_t
        = |call, places, count, devices, ranks, world, identifier| {
        let wanted = Wanted { places, count, devices, ranks, world, identifier };
        collectives::init(call, &wanted)
    };
    fn cnclFreeComm(comm: cnclComm_t) -> cnclResult_t
        = |call, communicator| collectives::destroy(call, &[communicator]);
    fn cnclDestroyComms(comms: *mut cnclComm_t, num_comm: i32) -> cnclResult_t
        = |call, places: Place<cnclComm_t>, count| {
        let all = communicators(count, &places.some(CNCL_NULL)?);
        collectives::destroy(call, &all)
    };
    fn cnclAbortComm(comm: cnclComm_t) -> cnclResult_t = collectives::abort;
    fn cnclAllReduce(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, reduce_op: cnclReduceOp_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t
        = |call, from, to, count, dtype, op, communicator, queue| {
        let reduce = Some(op);
        collectives::queue(call, &Request { from, to, count, dtype, reduce, communicator, queue })
    };
    fn cnclAllGather(
        send_buffer: *const c_void, recv_buffer: *mut c_void, count: usize,
        data_type: cnclDataType_t, comm: cnclComm_t, queue: cnrtQueue_t,
    ) -> cnclResult_t
        = |call, from, to, count, dtype, communicator, queue| {
        let reduce = None;
        collectives::queue(call, &Request { from, to, count, dtype, reduce, communicator, queue })
    };
}
