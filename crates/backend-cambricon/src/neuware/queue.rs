//! A queue of work, points in it, and copies on their way.

use std::ffi::c_void;
use std::fmt;
use std::rc::Rc;

use backend_cambricon_sys::types::{
    CNRT_NOTIFIER_DISABLE_TIMING_ALL, cnrtMemTransDir_t, cnrtNotifier_t, cnrtQueue_t,
};
use backend_offload::Address;
use deepseek_core::Result;

use super::device::Device;
use super::memory::Pinned;
use super::pointer;

/// A queue: what is asked for is done in its order.
pub(crate) struct Queue {
    pub(super) raw: cnrtQueue_t,
    pub(super) device: Rc<Device>,
}

/// A point in a queue.
struct Notifier {
    raw: cnrtNotifier_t,
    device: Rc<Device>,
}

/// A copy on its way, with its buffer. One that is dropped waits.
pub struct Flight {
    buffer: Option<Pinned>,
    way: Way,
    notifier: Notifier,
    queue: Rc<Queue>,
}

/// Which way a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Queue({:?})", self.device)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({:?}, {:?})", self.way, self.buffer)
    }
}

impl Queue {
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

    /// Waits for all that is queued. This alone tells whether it failed: notifiers do not.
    pub(crate) fn synchronize(&self) -> Result<()> {
        // SAFETY: a queue of this thread's device, which lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtQueueSync)(self.raw) };
        self.device.cnrt("cnrtQueueSync", code)
    }

    /// Queues a fill of memory of the device.
    pub(crate) fn fill(&self, at: Address, byte: u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let fill = self.device.neuware.runtime.cnrtMemsetAsync;
        // SAFETY: addresses of the device, which the host never follows.
        let code = unsafe { fill(pointer(at), byte.into(), bytes, self.raw) };
        self.device.cnrt("cnrtMemsetAsync", code)
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
        let sides = (pointer(to), held(&from, bytes));
        self.copy(from, sides, bytes, Way::In)
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
        let sides = (held(&to, bytes), pointer(from));
        self.copy(to, sides, bytes, Way::Out)
    }

    /// Queues a copy, one side of which is memory of the device and the other `buffer`, which holds `bytes`.
    fn copy(
        self: &Rc<Self>,
        buffer: Pinned,
        (to, from): (*mut c_void, *mut c_void),
        bytes: usize,
        way: Way,
    ) -> Result<Flight> {
        let notifier = Notifier::new(&self.device)?;
        let direction = match way {
            Way::In => cnrtMemTransDir_t::cnrtMemcpyHostToDev,
            Way::Out => cnrtMemTransDir_t::cnrtMemcpyDevToHost,
        };
        if bytes > 0 {
            let copy = self.device.neuware.runtime.cnrtMemcpyAsync_V3;
            // SAFETY: the flight owns the buffer until the copy has run; the other side is an address of the
            // device, which the host never follows.
            let code = unsafe { copy(to, from, bytes, self.raw, direction) };
            self.device.cnrt("cnrtMemcpyAsync_V3", code)?;
        }
        let flight = Flight {
            buffer: Some(buffer),
            way,
            notifier,
            queue: Rc::clone(self),
        };
        flight.notifier.place(self)?;
        Ok(flight)
    }
}

/// Where a buffer begins that holds so many bytes.
fn held(buffer: &Pinned, bytes: usize) -> *mut c_void {
    let room = buffer.as_ref().len();
    assert!(bytes <= room, "{bytes} bytes of a buffer of {room}");
    buffer.start().cast()
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Whether queued work is run or dropped differs between releases, so there is none. What it says of a failure was told to
        // who waited, or nobody waits.
        let _ = self.synchronize();
        // SAFETY: a queue that lives, and is destroyed once.
        let _ = unsafe { (self.device.neuware.runtime.cnrtQueueDestroy)(self.raw) };
    }
}

impl Notifier {
    fn new(device: &Rc<Device>) -> Result<Self> {
        let mut raw = cnrtNotifier_t::NULL;
        let create = device.neuware.runtime.cnrtNotifierCreateWithFlags;
        // SAFETY: the place is one for a handle.
        let code = unsafe { create(&raw mut raw, CNRT_NOTIFIER_DISABLE_TIMING_ALL) };
        device.cnrt("cnrtNotifierCreateWithFlags", code)?;
        Ok(Self {
            raw,
            device: Rc::clone(device),
        })
    }

    fn place(&self, queue: &Queue) -> Result<()> {
        // SAFETY: a notifier and a queue of this thread's device, which live.
        let code = unsafe { (self.device.neuware.runtime.cnrtPlaceNotifier)(self.raw, queue.raw) };
        self.device.cnrt("cnrtPlaceNotifier", code)
    }

    /// Whether the queue has passed it.
    fn is_reached(&self) -> Result<bool> {
        // SAFETY: a notifier that lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtQueryNotifier)(self.raw) };
        match self.device.checked("cnrtQueryNotifier", code) {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_not_ready() => Ok(false),
            Err(failure) => Err(failure.of(self.device.name())),
        }
    }

    fn wait(&self) -> Result<()> {
        // SAFETY: a notifier of this thread's device, which lives.
        let code = unsafe { (self.device.neuware.runtime.cnrtWaitNotifier)(self.raw) };
        self.device.cnrt("cnrtWaitNotifier", code)
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        // SAFETY: a notifier that lives, and is destroyed once.
        let _ = unsafe { (self.device.neuware.runtime.cnrtNotifierDestroy)(self.raw) };
    }
}

impl Flight {
    /// Whether the copy has run. Does not wait.
    pub(crate) fn has_landed(&self) -> Result<bool> {
        self.notifier.is_reached()
    }

    /// Waits until the copy has run, and gives its buffer back. What comes from the device is only good if what made it did not
    /// fail, which the queue alone tells.
    pub(crate) fn land(mut self) -> Result<Pinned> {
        match self.way {
            Way::In => self.notifier.wait()?,
            Way::Out => self.queue.synchronize()?,
        }
        Ok(self.buffer.take().expect("a flight lands once"))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else {
            return;
        };
        // Not for the notifier, which may not have been placed.
        if self.queue.synchronize().is_err() {
            // Nobody knows whether the copy still runs.
            buffer.abandon();
        }
    }
}
