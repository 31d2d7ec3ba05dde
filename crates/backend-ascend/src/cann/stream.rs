//! A queue of work, points in it, and copies on their way.

use std::ffi::c_void;
use std::fmt;
use std::ptr::null_mut;
use std::rc::Rc;

use backend_ascend_sys::types::{
    ACL_EVENT_SYNC, ACL_STREAM_FAST_LAUNCH, ACL_STREAM_FAST_SYNC, aclrtEvent,
    aclrtEventRecordedStatus, aclrtMemcpyKind, aclrtStream,
};
use backend_offload::Address;
use deepseek_core::Result;

use super::device::Device;
use super::memory::Pinned;
use super::pointer;

/// A queue: what is asked for is done in its order.
pub(crate) struct Stream {
    pub(super) raw: aclrtStream,
    pub(super) device: Rc<Device>,
}

/// A point in a stream.
struct Event {
    raw: aclrtEvent,
    device: Rc<Device>,
}

/// A copy on its way, with its buffer. One that is dropped waits.
pub struct Flight {
    buffer: Option<Pinned>,
    event: Event,
    stream: Rc<Stream>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.device)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({:?})", self.buffer)
    }
}

impl Stream {
    pub(crate) fn new(device: &Rc<Device>) -> Result<Rc<Self>> {
        let mut raw = null_mut();
        let flags = ACL_STREAM_FAST_LAUNCH | ACL_STREAM_FAST_SYNC;
        let create = device.ascend.runtime.aclrtCreateStreamWithConfig;
        // SAFETY: the place is one for a handle.
        let code = unsafe { create(&raw mut raw, 0, flags) };
        device.check("aclrtCreateStreamWithConfig", code)?;
        Ok(Rc::new(Self {
            raw,
            device: Rc::clone(device),
        }))
    }

    /// Waits for all that is queued.
    pub(crate) fn synchronize(&self) -> Result<()> {
        // SAFETY: a stream of this thread's device, which lives.
        let code = unsafe { (self.device.ascend.runtime.aclrtSynchronizeStream)(self.raw) };
        self.device.check("aclrtSynchronizeStream", code)
    }

    /// Queues a fill of memory of the device.
    pub(crate) fn fill(&self, at: Address, byte: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let (fill, value) = (self.device.ascend.runtime.aclrtMemsetAsync, i32::from(byte));
        // SAFETY: addresses of the device, which the host never follows.
        let code = unsafe { fill(pointer(at), bytes, value, bytes, self.raw) };
        self.device.check("aclrtMemsetAsync", code)
    }

    /// Queues a copy of the first bytes of a buffer to the device.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub(crate) fn copy_in(
        self: &Rc<Self>,
        from: Pinned,
        bytes: usize,
        to: Address,
    ) -> Result<Flight> {
        let kind = aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_DEVICE;
        let source = held(&from, bytes).cast_const();
        self.copy(from, (pointer(to), source), bytes, kind)
    }

    /// Queues a copy from the device to the first bytes of a buffer.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub(crate) fn copy_out(
        self: &Rc<Self>,
        from: Address,
        bytes: usize,
        to: Pinned,
    ) -> Result<Flight> {
        let kind = aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_HOST;
        let target = held(&to, bytes);
        self.copy(to, (target, pointer(from).cast_const()), bytes, kind)
    }

    /// Queues a copy, one side of which is memory of the device and the other `buffer`, which holds `bytes`.
    fn copy(
        self: &Rc<Self>,
        buffer: Pinned,
        (to, from): (*mut c_void, *const c_void),
        bytes: usize,
        kind: aclrtMemcpyKind,
    ) -> Result<Flight> {
        let event = Event::new(&self.device)?;
        if bytes > 0 {
            let copy = self.device.ascend.runtime.aclrtMemcpyAsync;
            // SAFETY: the flight owns the buffer until the copy has run; the other side is an address of the
            // device, which the host never follows.
            let code = unsafe { copy(to, bytes, from, bytes, kind, self.raw) };
            self.device.check("aclrtMemcpyAsync", code)?;
        }
        let flight = Flight {
            buffer: Some(buffer),
            event,
            stream: Rc::clone(self),
        };
        flight.event.record(self)?;
        Ok(flight)
    }
}

/// Where a buffer begins that holds so many bytes.
fn held(buffer: &Pinned, bytes: usize) -> *mut c_void {
    let room = buffer.as_ref().len();
    assert!(bytes <= room, "{bytes} bytes of a buffer of {room}");
    buffer.start().cast()
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: a stream that lives, and is destroyed once. What is queued runs before; a failure of it
        // was told to who waited, or nobody waits.
        let _ = unsafe { (self.device.ascend.runtime.aclrtDestroyStream)(self.raw) };
    }
}

impl Event {
    fn new(device: &Rc<Device>) -> Result<Self> {
        let mut raw = null_mut();
        let create = device.ascend.runtime.aclrtCreateEventExWithFlag;
        // SAFETY: the place is one for a handle.
        let code = unsafe { create(&raw mut raw, ACL_EVENT_SYNC) };
        device.check("aclrtCreateEventExWithFlag", code)?;
        Ok(Self {
            raw,
            device: Rc::clone(device),
        })
    }

    fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: an event and a stream of this thread's device, which live.
        let code = unsafe { (self.device.ascend.runtime.aclrtRecordEvent)(self.raw, stream.raw) };
        self.device.check("aclrtRecordEvent", code)
    }

    /// Whether the stream has passed it.
    fn is_reached(&self) -> Result<bool> {
        let mut status = aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_NOT_READY;
        let query = self.device.ascend.runtime.aclrtQueryEventStatus;
        // SAFETY: an event that lives, and a place for the status.
        let code = unsafe { query(self.raw, &raw mut status) };
        self.device.check("aclrtQueryEventStatus", code)?;
        Ok(status == aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_COMPLETE)
    }

    fn synchronize(&self) -> Result<()> {
        // SAFETY: an event of this thread's device, which lives.
        let code = unsafe { (self.device.ascend.runtime.aclrtSynchronizeEvent)(self.raw) };
        self.device.check("aclrtSynchronizeEvent", code)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: an event that lives, and is destroyed once.
        let _ = unsafe { (self.device.ascend.runtime.aclrtDestroyEvent)(self.raw) };
    }
}

impl Flight {
    /// Whether the copy has run. Does not wait.
    pub(crate) fn has_landed(&self) -> Result<bool> {
        self.event.is_reached()
    }

    /// Waits until the copy has run, and gives its buffer back.
    pub(crate) fn land(mut self) -> Result<Pinned> {
        self.event.synchronize()?;
        Ok(self.buffer.take().expect("a flight lands once"))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else {
            return;
        };
        // Not for the event, which may not have been recorded.
        if self.stream.synchronize().is_err() {
            // Nobody knows whether the copy still runs.
            buffer.abandon();
        }
    }
}
