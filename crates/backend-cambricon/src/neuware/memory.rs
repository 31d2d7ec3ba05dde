//! Memory of the device, and pinned memory of the host.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull, null_mut};
use std::rc::Rc;
use std::slice;

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

/// Memory of the host that the device copies to and from by itself.
pub struct Pinned {
    start: NonNull<u8>,
    bytes: usize,
    device: Rc<Device>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} bytes)", self.bytes)
    }
}

impl Pinned {
    /// So many bytes, zeros.
    pub(crate) fn new(device: &Rc<Device>, bytes: usize) -> Result<Self> {
        let mut start = null_mut();
        // SAFETY: the place is one for a pointer. No memory of no size is to be had.
        let code = unsafe { (device.neuware.runtime.cnrtHostMalloc)(&raw mut start, bytes.max(1)) };
        device.cnrt("cnrtHostMalloc", code)?;
        let start = NonNull::new(start.cast::<u8>());
        let start = start.ok_or_else(|| device.fault("cnrtHostMalloc: no memory"))?;
        // SAFETY: memory of this size that was just made, and nobody else has.
        unsafe { ptr::write_bytes(start.as_ptr(), 0, bytes) };
        Ok(Self {
            start,
            bytes,
            device: Rc::clone(device),
        })
    }

    /// Where it begins.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Never gives it back, because something may still write there.
    pub(super) fn abandon(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: memory of this size, written when it was made and given back by `drop` alone. A copy
        // that reads or writes it owns `self`, so nobody else does while this reference lives.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl AsMut<[u8]> for Pinned {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed by nobody else.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: it came from `cnrtHostMalloc`, and goes back once. Memory that the runtime does not take
        // back stays where it is.
        let _ = unsafe { (self.device.neuware.runtime.cnrtFreeHost)(self.start.as_ptr().cast()) };
    }
}
