//! Memory of the device.

use std::ptr::null_mut;

use backend_offload::Address;
use deepseek_core::Result;

use super::device::Device;
use super::pointer;

impl Device {
    /// Memory of the device, with whatever is in it; `bytes` are one or more.
    pub(crate) fn malloc(&self, bytes: usize) -> Result<Address> {
        let mut at = null_mut();
        // SAFETY: the place is one for a pointer.
        let code = unsafe { (self.neuware.runtime.cnrtMalloc)(&raw mut at, bytes) };
        let got = self.checked("cnrtMalloc", code);
        got.map_err(|failure| failure.of_memory(self.name(), bytes))?;
        Ok(Address(at.addr() as u64))
    }

    /// Gives memory back at once, whatever is queued.
    pub(crate) fn free(&self, at: Address) -> Result<()> {
        // SAFETY: an address of the device, which the runtime looks up before it does anything.
        let code = unsafe { (self.neuware.runtime.cnrtFree)(pointer(at)) };
        self.cnrt("cnrtFree", code)
    }
}
