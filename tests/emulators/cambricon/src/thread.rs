//! What belongs to a thread of the caller: its device and its last error.

use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::ptr::null;

use backend_cambricon_sys::{Library, status};
use emulator_support::failure::Failure;

use crate::codes;

#[derive(Debug, Default)]
struct Thread {
    /// The device, and the run of the emulator that it was set in.
    device: Option<(u64, usize)>,
    code: i32,
    text: Option<CString>,
}

thread_local! {
    static THREAD: RefCell<Thread> = RefCell::default();
}

fn with<R>(act: impl FnOnce(&mut Thread) -> R) -> R {
    THREAD.with_borrow_mut(act)
}

/// Binds a device to this thread.
pub(crate) fn bind(epoch: u64, device: usize) {
    with(|thread| thread.device = Some((epoch, device)));
}

/// The device of this thread: the first, if none was set in this run.
pub(crate) fn device(epoch: u64) -> usize {
    let device = with(|thread| thread.device);
    device
        .filter(|(of, _)| *of == epoch)
        .map_or(0, |(_, device)| device)
}

/// Remembers why a call failed.
pub(crate) fn remember(call: &str, failure: &Failure) {
    let library = match call.get(..4) {
        Some("cnnl") => Library::Cnnl,
        Some("cncl") => Library::Cncl,
        _ => Library::Cnrt,
    };
    let name = status(library, failure.code as u32).map_or("unknown", |status| status.name);
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
