//! Memory of the device.

use std::ptr::null_mut;

use backend_ascend_sys::types::aclrtMemMallocPolicy;
use backend_offload::Address;
use deepseek_core::Result;

use super::device::Device;
use super::pointer;

impl Device {
    /// Memory of the device, aligned to 64 bytes, with whatever is in it; `bytes` are one or more.
    pub(crate) fn malloc(&self, bytes: usize) -> Result<Address> {
        let mut at = null_mut();
        let policy = aclrtMemMallocPolicy::ACL_MEM_MALLOC_HUGE_FIRST;
        // SAFETY: the place is one for a pointer.
        let code = unsafe { (self.ascend.runtime.aclrtMalloc)(&raw mut at, bytes, policy) };
        let got = self.checked("aclrtMalloc", code);
        got.map_err(|failure| failure.of_memory(self.name(), bytes))?;
        Ok(Address(at.addr() as u64))
    }

    /// Gives memory back at once, whatever is queued.
    pub(crate) fn free(&self, at: Address) -> Result<()> {
        // SAFETY: an address of the device, which the runtime looks up before it does anything.
        let code = unsafe { (self.ascend.runtime.aclrtFree)(pointer(at)) };
        self.check("aclrtFree", code)
    }
}
