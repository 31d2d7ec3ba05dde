//! Communicators, and operations of all their ranks.

use std::ffi::{c_char, c_void};

use backend_ascend_sys::types::{
    HcclComm, HcclCommConfig, HcclDataType, HcclReduceOp, HcclResult, HcclRootInfo, aclrtStream,
};

use crate::collectives::{self, Request};

/// Exports functions of collectives: what they return is a number in a type of its own.
macro_rules! export {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:expr;)+) => {$(
        // The name is the vendor's; nothing else of ours exports it.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> HcclResult {
            // SAFETY: the caller promises of every pointer what the vendor's documentation asks.
            $(let $arg = unsafe { $crate::exports::argument::Argument::take($arg) };)*
            let body = move |call: &mut $crate::call::Call| ($body)(call, $($arg),*);
            HcclResult($crate::call::enter(stringify!($name), body))
        }
        backend_ascend_sys::assert_export!(backend_ascend_sys::abi::collectives::$name = $name);
    )+};
}

export! {
    fn HcclGetRootInfo(root: *mut HcclRootInfo) = collectives::root_info;
    fn HcclCommInitRootInfo(
        count: u32, root: *const HcclRootInfo, rank: u32, comm: *mut HcclComm,
    ) = |call, count, root, rank, comm| collectives::init(call, (count, root, rank), comm);
    fn HcclCommInitRootInfoConfig(
        count: u32, root: *const HcclRootInfo, rank: u32, config: *const HcclCommConfig,
        comm: *mut HcclComm,
    ) = |call, count, root, rank, config, comm| {
        collectives::init_with(call, (count, root, rank), config, comm)
    };
    fn HcclCommDestroy(comm: HcclComm) = collectives::destroy;
    fn HcclAllReduce(
        from: *mut c_void, to: *mut c_void, count: u64, dtype: HcclDataType,
        op: HcclReduceOp, comm: HcclComm, stream: aclrtStream,
    ) = |call, from, to, count, dtype, op, communicator, stream| {
        let reduce = Some(op);
        collectives::queue(call, &Request { from, to, count, dtype, reduce, communicator, stream })
    };
    fn HcclAllGather(
        from: *mut c_void, to: *mut c_void, count: u64, dtype: HcclDataType,
        comm: HcclComm, stream: aclrtStream,
    ) = |call, from, to, count, dtype, communicator, stream| {
        let reduce = None;
        collectives::queue(call, &Request { from, to, count, dtype, reduce, communicator, stream })
    };
}

/// Exports functions that are not emulated: without them no loader takes the table.
macro_rules! absent {
    ($(fn $name:ident($($ty:ty),* $(,)?);)+) => {$(
        // The name is the vendor's; nothing else of ours exports it.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($(_: $ty),*) -> HcclResult {
            HcclResult($crate::call::enter(stringify!($name), collectives::unimplemented))
        }
        backend_ascend_sys::assert_export!(backend_ascend_sys::abi::collectives::$name = $name);
    )+};
}

absent! {
    fn HcclGetCommName(HcclComm, *mut c_char);
    fn HcclBroadcast(*mut c_void, u64, HcclDataType, u32, HcclComm, aclrtStream);
    fn HcclReduceScatter(
        *mut c_void, *mut c_void, u64, HcclDataType, HcclReduceOp, HcclComm, aclrtStream,
    );
    fn HcclSend(*mut c_void, u64, HcclDataType, u32, HcclComm, aclrtStream);
    fn HcclRecv(*mut c_void, u64, HcclDataType, u32, HcclComm, aclrtStream);
    fn HcclAlltoAllV(
        *const c_void, *const c_void, *const c_void, HcclDataType, *const c_void, *const c_void,
        *const c_void, HcclDataType, HcclComm, aclrtStream,
    );
    fn HcclCommInitAll(u32, *mut i32, *mut HcclComm);
    fn HcclGetCommAsyncError(HcclComm, *mut HcclResult);
}
