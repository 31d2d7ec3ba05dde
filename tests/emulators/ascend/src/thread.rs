//! What belongs to a thread of the caller: its context and its last error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr::null;

use backend_ascend_sys::types::aclmdlRICaptureMode;

use crate::codes;
use crate::failure::Failure;
use crate::handles::Handle;

#[derive(Debug, Default)]
struct Thread {
    /// The context, and the run of the emulator that it belongs to.
    context: Option<(u64, Handle)>,
    /// What captures forbid it, and the run that this was set in.
    capture_mode: Option<(u64, aclmdlRICaptureMode)>,
    code: i32,
    text: Option<CString>,
    is_in_callback: bool,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

fn with<R>(act: impl FnOnce(&mut Thread) -> R) -> R {
    THREAD.with_borrow_mut(act)
}

/// Binds a context to this thread, or none.
pub(crate) fn bind(epoch: u64, context: Option<Handle>) {
    with(|thread| thread.context = context.map(|context| (epoch, context)));
}

/// The context of this thread, if it was bound in this run.
pub(crate) fn context(epoch: u64) -> Option<Handle> {
    let (of, context) = with(|thread| thread.context)?;
    (of == epoch).then_some(context)
}

/// What captures forbid this thread: as global ones do, unless it has set another mode in this run.
pub(crate) fn capture_mode(epoch: u64) -> aclmdlRICaptureMode {
    let set = with(|thread| thread.capture_mode).filter(|(of, _)| *of == epoch);
    set.map_or(
        aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_GLOBAL,
        |(_, mode)| mode,
    )
}

/// Sets the mode of this thread, and gives the one that it had.
pub(crate) fn set_capture_mode(epoch: u64, mode: aclmdlRICaptureMode) -> aclmdlRICaptureMode {
    let had = capture_mode(epoch);
    with(|thread| thread.capture_mode = Some((epoch, mode)));
    had
}

/// Remembers why a call failed.
pub(crate) fn remember(call: &str, failure: &Failure) {
    let name = backend_ascend_sys::status(failure.code).map_or("unknown", |status| status.name);
    let text = format!("{call}: {name} ({}): {}", failure.code, failure.text);
    let text = CString::new(text.replace('\0', " ")).expect("zeros were replaced");
    with(|thread| (thread.code, thread.text) = (failure.code, Some(text)));
}

/// The text of the last failure; it stays until the next one of this thread.
pub(crate) fn text() -> *const c_char {
    with(|thread| thread.text.as_ref().map_or(null(), |text| text.as_ptr()))
}

/// The code of the last failure, or success if there was none.
pub(crate) fn last_code() -> i32 {
    with(|thread| thread.code)
}

/// The same, and forgets it.
pub(crate) fn take_code() -> i32 {
    with(|thread| std::mem::replace(&mut thread.code, codes::OK))
}

/// Whether a function of the host runs on this thread for a stream.
pub(crate) fn is_in_callback() -> bool {
    with(|thread| thread.is_in_callback)
}

/// Runs a function of the host.
pub(crate) fn call_back(function: impl FnOnce()) {
    with(|thread| thread.is_in_callback = true);
    function();
    with(|thread| thread.is_in_callback = false);
}
