//! Collectives: communicators, and operations of all their ranks.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    HcclComm, HcclCommConfig, HcclDataType, HcclReduceOp, HcclResult, HcclRootInfo,
    HcclSendRecvItem, aclrtStream,
};

abi_table! {
    /// Communicators, and operations of all their ranks.
    pub struct Collectives: CANN, Hccl;

    // Communicators by a table of ranks.
    #[optional]
    fn HcclCommInitClusterInfo(
        clusterInfo: *const c_char, rank: u32, comm: *mut HcclComm,
    ) -> HcclResult;
    #[optional]
    fn HcclCommInitClusterInfoConfig(
        clusterInfo: *const c_char, rank: u32, config: *mut HcclCommConfig, comm: *mut HcclComm,
    ) -> HcclResult;
    #[optional]
    fn HcclCreateSubCommConfig(
        comm: *mut HcclComm, rankNum: u32, rankIds: *mut u32, subCommId: u64, subCommRankId: u32,
        config: *mut HcclCommConfig, subComm: *mut HcclComm,
    ) -> HcclResult;

    // Communicators by the root's information.
    fn HcclGetRootInfo(rootInfo: *mut HcclRootInfo) -> HcclResult;
    #[optional]
    fn HcclGetRootInfoScalable(rootInfo: *mut HcclRootInfo) -> HcclResult;
    #[optional]
    fn HcclCommInitRootInfo(
        nRanks: u32, rootInfo: *const HcclRootInfo, rank: u32, comm: *mut HcclComm,
    ) -> HcclResult;
    fn HcclCommInitRootInfoConfig(
        nRanks: u32, rootInfo: *const HcclRootInfo, rank: u32, config: *const HcclCommConfig,
        comm: *mut HcclComm,
    ) -> HcclResult;
    #[optional]
    fn HcclCommInitRootInfoScalable(
        nRanks: u32, nRoot: u32, rootInfoList: *const HcclRootInfo, rank: u32, nExtRoot: u32,
        config: *const HcclCommConfig, comm: *mut HcclComm,
    ) -> HcclResult;

    // What a communicator is.
    fn HcclGetCommName(comm: HcclComm, commName: *mut c_char) -> HcclResult;

    // Operations. All ranks call them in the same order.
    fn HcclAllReduce(
        sendBuf: *mut c_void, recvBuf: *mut c_void, count: u64, dataType: HcclDataType,
        op: HcclReduceOp, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    fn HcclBroadcast(
        buf: *mut c_void, count: u64, dataType: HcclDataType, root: u32, comm: HcclComm,
        stream: aclrtStream,
    ) -> HcclResult;
    fn HcclReduceScatter(
        sendBuf: *mut c_void, recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType,
        op: HcclReduceOp, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclReduceScatterV(
        sendBuf: *mut c_void, sendCounts: *const c_void, sendDispls: *const c_void,
        recvBuf: *mut c_void, recvCount: u64, dataType: HcclDataType, op: HcclReduceOp,
        comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    fn HcclAllGather(
        sendBuf: *mut c_void, recvBuf: *mut c_void, sendCount: u64, dataType: HcclDataType,
        comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclAllGatherV(
        sendBuf: *mut c_void, sendCount: u64, recvBuf: *mut c_void, recvCounts: *const c_void,
        recvDispls: *const c_void, dataType: HcclDataType, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclGetRankSize(comm: HcclComm, rankSize: *mut u32) -> HcclResult;
    #[optional]
    fn HcclGetRankId(comm: HcclComm, rank: *mut u32) -> HcclResult;
    #[optional]
    fn HcclBarrier(comm: HcclComm, stream: aclrtStream) -> HcclResult;
    fn HcclSend(
        sendBuf: *mut c_void, count: u64, dataType: HcclDataType, destRank: u32, comm: HcclComm,
        stream: aclrtStream,
    ) -> HcclResult;
    fn HcclRecv(
        recvBuf: *mut c_void, count: u64, dataType: HcclDataType, srcRank: u32, comm: HcclComm,
        stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclAlltoAllVC(
        sendBuf: *const c_void, sendCountMatrix: *const c_void, sendType: HcclDataType,
        recvBuf: *const c_void, recvType: HcclDataType, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    fn HcclAlltoAllV(
        sendBuf: *const c_void, sendCounts: *const c_void, sdispls: *const c_void,
        sendType: HcclDataType, recvBuf: *const c_void, recvCounts: *const c_void,
        rdispls: *const c_void, recvType: HcclDataType, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclAlltoAll(
        sendBuf: *const c_void, sendCount: u64, sendType: HcclDataType, recvBuf: *const c_void,
        recvCount: u64, recvType: HcclDataType, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;

    // The rest.
    fn HcclCommDestroy(comm: HcclComm) -> HcclResult;
    fn HcclCommInitAll(ndev: u32, devices: *mut i32, comms: *mut HcclComm) -> HcclResult;
    fn HcclGetCommAsyncError(comm: HcclComm, asyncError: *mut HcclResult) -> HcclResult;
    #[optional]
    fn HcclGetErrorString(code: HcclResult) -> *const c_char;
    #[optional]
    fn HcclBatchSendRecv(
        sendRecvInfo: *mut HcclSendRecvItem, itemNum: u32, comm: HcclComm, stream: aclrtStream,
    ) -> HcclResult;
    #[optional]
    fn HcclGetCommConfigCapability() -> u32;
    #[optional]
    fn HcclGroupStart() -> HcclResult;
    #[optional]
    fn HcclGroupEnd() -> HcclResult;
}
