//! A queue of work, points in it, and pinned memory of the host.

use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;

use backend_cambricon_sys::types::{
    CNRT_NOTIFIER_DISABLE_TIMING_ALL, cnrtMemTransDir_t, cnrtNotifier_t, cnrtQueue_t,
};
use backend_offload::{Address, Meaning, Queue, Way};
use deepseek_core::Result;

use super::descriptor::Owned;
use super::device::Device;
use super::graph::Graph;
use super::pointer;

/// A queue: what is asked for is done in its order.
pub struct MluQueue {
    pub(super) raw: cnrtQueue_t,
    pub(super) device: Rc<Device>,
}

/// A point in a queue.
pub(super) type Notifier = Owned<cnrtNotifier_t>;

impl fmt::Debug for MluQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MluQueue({:?})", self.device)
    }
}

impl MluQueue {
    pub(crate) fn new(device: &Rc<Device>) -> Result<Rc<Self>> {
        let mut raw = cnrtQueue_t::NULL;
        // SAFETY: the place is one for a handle.
        let code = unsafe { (device.neuware.runtime.cnrtQueueCreate)(&raw mut raw) };
        device.cnrt("cnrtQueueCreate", code)?;
        Ok(Rc::new(Self {
            raw,
            device: Rc::clone(device),
        }))
    }
}

// SAFETY: pinned memory is the runtime's own and asked for anew each time; a copy is told both of its sides and their length, and has
// run once the queue has, or once a notifier behind it was passed.
unsafe impl Queue for MluQueue {
    type Point = Notifier;
    type Graph = Graph;

    fn pin(&self, bytes: usize) -> Result<NonNull<u8>> {
        let mut start = null_mut();
        // SAFETY: the place is one for a pointer.
        let code = unsafe { (self.device.neuware.runtime.cnrtHostMalloc)(&raw mut start, bytes) };
        self.device.cnrt("cnrtHostMalloc", code)?;
        let start = NonNull::new(start.cast());
        start.ok_or_else(|| self.device.fault("cnrtHostMalloc: no memory"))
    }

    unsafe fn unpin(&self, start: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let _ = unsafe { (self.device.neuware.runtime.cnrtFreeHost)(start.as_ptr().cast()) };
    }

    fn point(&self) -> Result<Notifier> {
        let runtime = &self.device.neuware.runtime;
        let (mut raw, create) = (cnrtNotifier_t::NULL, runtime.cnrtNotifierCreateWithFlags);
        // SAFETY: the place is one for a handle.
        let code = unsafe { create(&raw mut raw, CNRT_NOTIFIER_DISABLE_TIMING_ALL) };
        self.device.cnrt("cnrtNotifierCreateWithFlags", code)?;
        // SAFETY: it was just made.
        Ok(unsafe { Owned::new(&self.device, raw, runtime.cnrtNotifierDestroy) })
    }

    fn record(&self, notifier: &Notifier) -> Result<()> {
        let place = self.device.neuware.runtime.cnrtPlaceNotifier;
        // SAFETY: a notifier and a queue of this thread's device, which live.
        let code = unsafe { place(notifier.raw(), self.raw) };
        self.device.cnrt("cnrtPlaceNotifier", code)
    }

    fn is_reached(&self, notifier: &Notifier) -> Result<bool> {
        // SAFETY: a notifier that lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtQueryNotifier)(notifier.raw()) };
        match self.device.checked("cnrtQueryNotifier", code) {
            Ok(()) => Ok(true),
            Err(failure) if failure.meaning == Meaning::NotReady => Ok(false),
            Err(failure) => Err(failure.of(self.device.name())),
        }
    }

    /// What comes from the device is only good if what made it did not fail, which the queue alone tells: notifiers do not.
    fn wait(&self, notifier: &Notifier, way: Way) -> Result<()> {
        if way == Way::Out {
            return self.synchronize();
        }
        // SAFETY: a notifier of this thread's device, which lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtWaitNotifier)(notifier.raw()) };
        self.device.cnrt("cnrtWaitNotifier", code)
    }

    unsafe fn copy(
        &self,
        way: Way,
        device: Address,
        host: NonNull<u8>,
        bytes: usize,
    ) -> Result<()> {
        let (device, host) = (pointer(device), host.as_ptr().cast());
        let (to, from, direction) = match way {
            Way::In => (device, host, cnrtMemTransDir_t::cnrtMemcpyHostToDev),
            Way::Out => (host, device, cnrtMemTransDir_t::cnrtMemcpyDevToHost),
        };
        let copy = self.device.neuware.runtime.cnrtMemcpyAsync_V3;
        // SAFETY: the caller leaves the host's bytes alone until the copy has run; the other side is an address of the device,
        // which the host never follows.
        let code = unsafe { copy(to, from, bytes, self.raw, direction) };
        self.device.cnrt("cnrtMemcpyAsync_V3", code)
    }

    fn fill(&self, at: Address, byte: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let fill = self.device.neuware.runtime.cnrtMemsetAsync;
        // SAFETY: addresses of the device, which the host never follows.
        let code = unsafe { fill(pointer(at), byte.into(), bytes, self.raw) };
        self.device.cnrt("cnrtMemsetAsync", code)
    }

    fn synchronize(&self) -> Result<()> {
        // SAFETY: a queue of this thread's device, which lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtQueueSync)(self.raw) };
        self.device.cnrt("cnrtQueueSync", code)
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

impl Drop for MluQueue {
    fn drop(&mut self) {
        // Whether queued work is run or dropped differs between releases, so there is none. What it says of a failure was told to
        // who waited, or nobody waits.
        let _ = self.synchronize();
        // SAFETY: a queue that lives, and is destroyed once.
        let _ = unsafe { (self.device.neuware.runtime.cnrtQueueDestroy)(self.raw) };
    }
}
