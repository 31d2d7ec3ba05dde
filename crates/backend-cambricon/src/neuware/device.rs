//! A device, bound to the thread that opened it.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use backend_cambricon_sys::types::cnrtDeviceAttr_t;
use backend_cambricon_sys::{Library, Neuware};
use backend_offload::{Failure, one_line};
use deepseek_core::{Error, Result};

use crate::chip::Release;
use crate::limits::CHIP_NAME_BYTES;
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

    /// The vendor's name for the chip; empty if the driver's library does not tell.
    pub(crate) fn model(&self) -> String {
        self.model_of_driver().unwrap_or_default()
    }

    fn model_of_driver(&self) -> Option<String> {
        let driver = self.neuware.driver.as_ref().ok()?;
        let (start, find, tell) = (driver.cnInit?, driver.cnDeviceGet?, driver.cnDeviceGetName?);
        // SAFETY: no flags are given.
        let started = unsafe { start(0) };
        let mut device = 0;
        // SAFETY: the place is one for a device.
        let found = unsafe { find(&raw mut device, self.id) };
        let mut name = [0_u8; CHIP_NAME_BYTES];
        let place = name.as_mut_ptr().cast::<c_char>();
        if started != 0 || found != 0 {
            return None;
        }
        // SAFETY: a buffer of this length, and a device that was just found.
        let told = unsafe { tell(place, CHIP_NAME_BYTES as u32, device) };
        let name = CStr::from_bytes_until_nul(&name)
            .ok()
            .filter(|_| told == 0)?;
        Some(name.to_string_lossy().into_owned())
    }

    /// Whether the chip computes with BF16. Asked for by an attribute, because the structure of properties differs between releases
    /// under one name.
    pub(crate) fn has_bf16(&self) -> Result<bool> {
        let (mut value, attr) = (0, cnrtDeviceAttr_t::cnrtAttrBF16ComputingSupported);
        let ask = self.neuware.runtime.cnrtDeviceGetAttribute;
        // SAFETY: the place is one for a number.
        let code = unsafe { ask(&raw mut value, attr, self.id) };
        self.cnrt("cnrtDeviceGetAttribute", code)?;
        Ok(value != 0)
    }

    /// The releases of the runtime and of the operators.
    pub(crate) fn releases(&self) -> Result<[Release; 2]> {
        let [mut cnrt, mut cnnl] = [[0; 3]; 2];
        let [a, b, c] = &mut cnrt;
        // SAFETY: three places for numbers.
        let code = unsafe { (self.neuware.runtime.cnrtGetLibVersion)(a, b, c) };
        self.cnrt("cnrtGetLibVersion", code)?;
        let [a, b, c] = &mut cnnl;
        // SAFETY: three places for numbers.
        unsafe { (self.neuware.operators.cnnlGetLibVersion)(a, b, c) };
        let release = |library, version| Release { library, version };
        Ok([release("CNRT", cnrt), release("CNNL", cnnl)])
    }

    /// What a call of the runtime returned.
    pub(super) fn cnrt(&self, call: &'static str, code: u32) -> Result<()> {
        self.checked(call, code)
            .map_err(|failure| failure.of(&self.name))
    }

    /// The same, for who looks at the code.
    pub(super) fn checked(&self, call: &'static str, code: u32) -> Result<(), Failure> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a code is all that it takes.
        let text = unsafe { (self.neuware.runtime.cnrtGetErrorStr)(code) };
        let text = told(text);
        // The thread's last error would be told to whoever asks for it next.
        // SAFETY: it takes nothing.
        let _ = unsafe { (self.neuware.runtime.cnrtGetLastError)() };
        Err(failure(Library::Cnrt, call, code, text))
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
    pub(super) fn fault(&self, why: impl fmt::Display) -> Error {
        Error::Device {
            device: self.name.clone(),
            why: why.to_string(),
        }
    }
}

/// What the vendor says, on one line.
fn told(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library gives a text with a zero at its end that stays until this thread calls again.
    let text = unsafe { CStr::from_ptr(text) };
    one_line(&text.to_string_lossy())
}
