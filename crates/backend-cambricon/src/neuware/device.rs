//! A device, bound to the thread that opened it.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use backend_cambricon_sys::{Library, Neuware};
use backend_offload::{Failure, one_line};
use deepseek_core::{Error, Result};

use super::machine;
use crate::chip::CambriconChip;
use crate::status::failure;

/// A device.
pub(crate) struct Device {
    pub(super) neuware: Arc<Neuware>,
    id: i32,
    name: String,
    /// The runtime binds a device and its last error to a thread.
    _thread: PhantomData<*const ()>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Device {
    /// Binds the calling thread to a device.
    pub(crate) fn open(neuware: Arc<Neuware>, id: i32) -> Result<Rc<Self>> {
        let mark = if neuware.emulator.is_some() {
            "-EMU"
        } else {
            ""
        };
        let device = Self {
            name: format!("mlu:{id}{mark}"),
            neuware,
            id,
            _thread: PhantomData,
        };
        // SAFETY: a number is all that it takes.
        let code = unsafe { (device.neuware.runtime.cnrtSetDevice)(id) };
        device.cnrt("cnrtSetDevice", code)?;
        Ok(Rc::new(device))
    }

    /// What it is called in messages: one that is emulated ends in `-EMU`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What is known of its chip. Refuses one without BF16.
    pub(crate) fn chip(&self) -> Result<CambriconChip> {
        let chip = machine::chip(&self.neuware, (&self.name, self.id));
        let (chip, has_bf16) = chip.map_err(|failure| failure.of(&self.name))?;
        if has_bf16 {
            return Ok(chip);
        }
        Err(Error::Unsupported {
            device: self.name.clone(),
            what: format!(
                "the chip {:?} without BF16: the 500 series has it",
                chip.model()
            ),
        })
    }

    /// What a call of the runtime returned.
    pub(super) fn cnrt(&self, call: &'static str, code: u32) -> Result<()> {
        self.checked(call, code)
            .map_err(|failure| failure.of(&self.name))
    }

    /// The same, for who looks at the code.
    pub(super) fn checked(&self, call: &'static str, code: u32) -> Result<(), Failure> {
        checked(&self.neuware, call, code)
    }

    /// What a call of the operators returned.
    pub(super) fn cnnl(&self, call: &'static str, code: u32) -> Result<()> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a code is all that it takes.
        let text = unsafe { (self.neuware.operators.cnnlGetErrorString)(code) };
        Err(failure(Library::Cnnl, call, code, told(text)).of(&self.name))
    }

    /// A failure without a code.
    pub(crate) fn fault(&self, why: impl fmt::Display) -> Error {
        Error::Device {
            device: self.name.clone(),
            why: why.to_string(),
        }
    }
}

/// What a call of the runtime returned.
pub(super) fn checked(neuware: &Neuware, call: &'static str, code: u32) -> Result<(), Failure> {
    if code == 0 {
        return Ok(());
    }
    // SAFETY: a code is all that it takes.
    let text = unsafe { (neuware.runtime.cnrtGetErrorStr)(code) };
    let text = told(text);
    // The thread's last error would be told to whoever asks for it next.
    // SAFETY: it takes nothing.
    let _ = unsafe { (neuware.runtime.cnrtGetLastError)() };
    Err(failure(Library::Cnrt, call, code, text))
}

/// What the vendor says, on one line.
pub(super) fn told(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library gives a text with a zero at its end that stays until this thread calls again.
    let text = unsafe { CStr::from_ptr(text) };
    one_line(&text.to_string_lossy())
}
