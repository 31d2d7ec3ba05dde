//! Graph capture, which the runtime's library exports, too.

use crate::table::abi_table;
use crate::types::{
    aclError, aclmdlRI, aclmdlRICaptureMode, aclmdlRICaptureStatus, aclrtStream, aclrtTaskGrp,
};

abi_table! {
    /// A stream's work, recorded once and replayed.
    pub struct GraphCapture: CANN, Ascendcl;

    // Between begin and end, on one thread.
    fn aclmdlRICaptureBegin(stream: aclrtStream, mode: aclmdlRICaptureMode) -> aclError;
    fn aclmdlRICaptureGetInfo(
        stream: aclrtStream, status: *mut aclmdlRICaptureStatus, modelRI: *mut aclmdlRI,
    ) -> aclError;
    fn aclmdlRICaptureEnd(stream: aclrtStream, modelRI: *mut aclmdlRI) -> aclError;
    fn aclmdlRICaptureThreadExchangeMode(mode: *mut aclmdlRICaptureMode) -> aclError;

    // What was captured.
    fn aclmdlRIExecuteAsync(modelRI: aclmdlRI, stream: aclrtStream) -> aclError;
    #[optional]
    fn aclmdlRIExecute(modelRI: aclmdlRI, timeout: i32) -> aclError;
    fn aclmdlRIDestroy(modelRI: aclmdlRI) -> aclError;

    // Tasks whose arguments change between replays.
    #[optional]
    fn aclmdlRICaptureTaskGrpBegin(stream: aclrtStream) -> aclError;
    #[optional]
    fn aclmdlRICaptureTaskGrpEnd(stream: aclrtStream, handle: *mut aclrtTaskGrp) -> aclError;
    #[optional]
    fn aclmdlRICaptureTaskUpdateBegin(stream: aclrtStream, handle: aclrtTaskGrp) -> aclError;
    #[optional]
    fn aclmdlRICaptureTaskUpdateEnd(stream: aclrtStream) -> aclError;

    // For people.
    #[optional]
    fn aclmdlRIDebugPrint(modelRI: aclmdlRI) -> aclError;
}
