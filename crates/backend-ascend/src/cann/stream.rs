//! A queue of work, points in it, and pinned memory of the host.

use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

use backend_ascend_sys::types::{
    ACL_EVENT_SYNC, ACL_STREAM_FAST_LAUNCH, ACL_STREAM_FAST_SYNC, aclrtEvent,
    aclrtEventRecordedStatus, aclrtMemcpyKind, aclrtStream,
};
use backend_offload::{Address, Queue, Way};
use deepseek_core::Result;

use super::device::Device;
use super::graph::Graph;
use super::pointer;

/// A queue: what is asked for is done in its order.
pub struct Stream {
    pub(super) raw: aclrtStream,
    pub(super) device: Rc<Device>,
}

/// A point in a stream.
pub struct Event {
    raw: aclrtEvent,
    device: Rc<Device>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.device)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({:?})", self.device)
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
}

// SAFETY: pinned memory is the runtime's own and asked for anew each time; a copy is told both of its sides and their length, and has
// run once the stream has, or once an event behind it was passed.
unsafe impl Queue for Stream {
    type Point = Event;
    type Graph = Graph;

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>> {
        let mut start = null_mut();
        // SAFETY: the place is one for a pointer.
        let code = unsafe { (self.device.ascend.runtime.aclrtMallocHost)(&raw mut start, bytes) };
        self.device.check("aclrtMallocHost", code)?;
        let start = NonNull::new(start.cast());
        start.ok_or_else(|| self.device.fault("aclrtMallocHost: no memory"))
    }

    unsafe fn unpin(&self, start: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let _ = unsafe { (self.device.ascend.runtime.aclrtFreeHost)(start.as_ptr().cast()) };
    }

    fn point(&self) -> Result<Event> {
        Event::new(&self.device)
    }

    fn record(&self, event: &Event) -> Result<()> {
        // SAFETY: an event and a stream of this thread's device, which live.
        let code = unsafe { (self.device.ascend.runtime.aclrtRecordEvent)(event.raw, self.raw) };
        self.device.check("aclrtRecordEvent", code)
    }

    fn is_reached(&self, event: &Event) -> Result<bool> {
        let mut status = aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_NOT_READY;
        let query = self.device.ascend.runtime.aclrtQueryEventStatus;
        // SAFETY: an event that lives, and a place for the status.
        let code = unsafe { query(event.raw, &raw mut status) };
        self.device.check("aclrtQueryEventStatus", code)?;
        Ok(status == aclrtEventRecordedStatus::ACL_EVENT_RECORDED_STATUS_COMPLETE)
    }

    fn wait(&self, event: &Event, _: Way) -> Result<()> {
        // SAFETY: an event of this thread's device, which lives.
        let code = unsafe { (self.device.ascend.runtime.aclrtSynchronizeEvent)(event.raw) };
        self.device.check("aclrtSynchronizeEvent", code)
    }

    unsafe fn copy(
        &self,
        way: Way,
        device: Address,
        host: NonNull<u8>,
        bytes: usize,
    ) -> Result<()> {
        let (device, host) = (pointer(device), host.as_ptr().cast());
        let (to, from, kind) = match way {
            Way::In => (device, host, aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_DEVICE),
            Way::Out => (host, device, aclrtMemcpyKind::ACL_MEMCPY_DEVICE_TO_HOST),
        };
        let copy = self.device.ascend.runtime.aclrtMemcpyAsync;
        // SAFETY: the caller leaves the host's bytes alone until the copy has run; the other side is an address of the device,
        // which the host never follows.
        let code = unsafe { copy(to, bytes, from.cast_const(), bytes, kind, self.raw) };
        self.device.check("aclrtMemcpyAsync", code)
    }

    fn fill(&self, at: Address, byte: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let (fill, value) = (self.device.ascend.runtime.aclrtMemsetAsync, i32::from(byte));
        // SAFETY: addresses of the device, which the host never follows.
        let code = unsafe { fill(pointer(at), bytes, value, bytes, self.raw) };
        self.device.check("aclrtMemsetAsync", code)
    }

    fn synchronize(&self) -> Result<()> {
        // SAFETY: a stream of this thread's device, which lives.
        let code = unsafe { (self.device.ascend.runtime.aclrtSynchronizeStream)(self.raw) };
        self.device.check("aclrtSynchronizeStream", code)
    }

    fn begin_capture(&self) -> Result<()> {
        Graph::begin(self)
    }

    fn end_capture(&self) -> Result<Graph> {
        Graph::end(self)
    }

    fn replay(&self, graph: &Graph) -> Result<()> {
        graph.replay(self)
    }
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
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: an event that lives, and is destroyed once.
        let _ = unsafe { (self.device.ascend.runtime.aclrtDestroyEvent)(self.raw) };
    }
}
