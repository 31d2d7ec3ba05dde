//! A device, bound to the thread that opened it.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::null;
use std::rc::Rc;
use std::sync::Arc;

use backend_ascend_sys::Ascend;
use backend_ascend_sys::abi::runtime::Runtime;
use backend_offload::{Failure, one_line};
use deepseek_core::{Error, Result};

use super::machine;
use crate::status::failure;

/// What `aclInit` returns when it was called before.
const INITIALISED: i32 = 100_002;

/// A device. The last owner resets it; `aclFinalize` is left to the end of the process.
pub(crate) struct Device {
    pub(super) ascend: Arc<Ascend>,
    id: i32,
    name: String,
    /// The runtime binds a device and the text of its errors to a thread.
    _thread: PhantomData<*const ()>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Device {
    /// Binds the calling thread to a device.
    pub(crate) fn open(ascend: Arc<Ascend>, id: i32) -> Result<Rc<Self>> {
        let mark = if ascend.emulator.is_some() {
            "-EMU"
        } else {
            ""
        };
        let name = format!("npu:{id}{mark}");
        let runtime = &ascend.runtime;
        initialise(runtime, &name)?;
        // SAFETY: a number is all that it takes.
        let code = unsafe { (runtime.aclrtSetDevice)(id) };
        checked(runtime, "aclrtSetDevice", code).map_err(|failure| failure.of(&name))?;
        Ok(Rc::new(Self {
            ascend,
            id,
            name,
            _thread: PhantomData,
        }))
    }

    /// What it is called in messages: one that is emulated ends in `-EMU`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The vendor's name for the chip; empty if the release does not tell.
    pub(crate) fn soc(&self) -> String {
        machine::soc(&self.ascend.runtime)
    }

    /// Why no graphs are captured, where the release has no functions for it.
    pub(crate) fn captures_none(&self) -> Option<String> {
        let error = self.ascend.capture.as_ref().err()?;
        Some(format!("no graphs: {}", one_line(&error.to_string())))
    }

    /// Why it is no rank, where the collectives are not installed.
    pub(crate) fn joins_none(&self) -> Option<String> {
        let error = self.ascend.collectives.as_ref().err()?;
        Some(one_line(&error.to_string()))
    }

    /// What a call returned.
    pub(super) fn check(&self, call: &'static str, code: i32) -> Result<()> {
        self.checked(call, code)
            .map_err(|failure| failure.of(&self.name))
    }

    /// The same, for who looks at the code.
    pub(super) fn checked(&self, call: &'static str, code: i32) -> Result<(), Failure> {
        checked(&self.ascend.runtime, call, code)
    }

    /// A failure without a code, with what the vendor says of it.
    pub(crate) fn fault(&self, what: impl fmt::Display) -> Error {
        let text = vendor_text(&self.ascend.runtime);
        Error::Device {
            device: self.name.clone(),
            why: format!("{what} [{text}]"),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: a number is all that it takes. All that was made on the device has kept it until now.
        // What a reset says nobody is left to hear.
        let _ = unsafe { (self.ascend.runtime.aclrtResetDevice)(self.id) };
    }
}

/// Begins the use of the runtime, once for the process however often it is asked for.
pub(super) fn initialise(runtime: &Runtime, device: &str) -> Result<()> {
    // SAFETY: no configuration is given.
    let code = unsafe { (runtime.aclInit)(null()) };
    if code == INITIALISED {
        return Ok(());
    }
    checked(runtime, "aclInit", code).map_err(|failure| failure.of(device))
}

/// A text of the vendor's; empty for none.
///
/// # Safety
/// Null, or a text with a zero at its end that stays until this returns.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_string_lossy().into_owned()
}

pub(super) fn checked(runtime: &Runtime, call: &'static str, code: i32) -> Result<(), Failure> {
    if code == 0 {
        return Ok(());
    }
    // At once: the text is the thread's, and the next call that fails replaces it.
    Err(failure(call, code, vendor_text(runtime)))
}

/// What the vendor says of the last call of this thread that failed, on one line.
pub(super) fn vendor_text(runtime: &Runtime) -> String {
    // SAFETY: it takes nothing.
    let said = unsafe { (runtime.aclGetRecentErrMsg)() };
    // SAFETY: the runtime gives none, or a text with a zero at its end that stays until this thread calls again.
    let text = unsafe { text(said) };
    one_line(&text)
}
