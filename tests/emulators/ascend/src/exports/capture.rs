//! Captures of streams, and graphs.

use backend_ascend_sys::types::{
    aclError, aclmdlRI, aclmdlRICaptureMode, aclmdlRICaptureStatus, aclrtStream,
};

use super::export;
use crate::captures;

export! {
    capture;
    fn aclmdlRICaptureBegin(stream: aclrtStream, mode: aclmdlRICaptureMode) -> aclError
        = captures::begin;
    fn aclmdlRICaptureGetInfo(
        stream: aclrtStream, status: *mut aclmdlRICaptureStatus, graph: *mut aclmdlRI,
    ) -> aclError = captures::info;
    fn aclmdlRICaptureEnd(stream: aclrtStream, graph: *mut aclmdlRI) -> aclError = captures::end;
    fn aclmdlRICaptureThreadExchangeMode(mode: *mut aclmdlRICaptureMode) -> aclError
        = captures::exchange_mode;
    fn aclmdlRIExecuteAsync(graph: aclmdlRI, stream: aclrtStream) -> aclError
        = captures::execute_async;
    fn aclmdlRIExecute(graph: aclmdlRI, timeout: i32) -> aclError = captures::execute;
    fn aclmdlRIDestroy(graph: aclmdlRI) -> aclError = captures::destroy;
}
