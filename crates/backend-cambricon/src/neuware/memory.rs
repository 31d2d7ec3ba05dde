//! Memory of the device.

use std::ptr::null_mut;

use backend_offload::Address;
use deepseek_core::{Error, Result};

use super::device::Device;
use super::pointer;

impl Device {
    /// Memory of the device, with whatever is in it; `bytes` are one or more.
    pub(crate) fn malloc(&self, bytes: usize) -> Result<Address> {
        let mut at = null_mut();
        // SAFETY: the place is one for a pointer.
        let code = unsafe { (self.neuware.runtime.cnrtMalloc)(&raw mut at, bytes) };
        match self.checked("cnrtMalloc", code) {
            Ok(()) => Ok(Address(at.addr() as u64)),
            Err(failure) if failure.is_out_of_memory() => Err(Error::OutOfMemory {
                device: self.name().to_owned(),
                bytes,
            }),
            Err(failure) => Err(failure.of(self.name())),
        }
    }

    /// Gives memory back at once, whatever is queued.
    pub(crate) fn free(&self, at: Address) -> Result<()> {
        // SAFETY: an address of the device, which the runtime looks up before it does anything.
        let code = unsafe { (self.neuware.runtime.cnrtFree)(pointer(at)) };
        self.cnrt("cnrtFree", code)
    }
}
