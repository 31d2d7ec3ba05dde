//! Copies on their way, and the pinned memory of the host that they run from and to: what a vendor's queue promises, and what is
//! made of that.
#![allow(unsafe_code)]

use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;

use deepseek_core::Result;

use crate::view::Address;

/// Which way a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the host to the device.
    In,
    /// From the device to the host.
    Out,
}

/// A vendor's queue, with the pinned memory of its device: what is asked for is done in its order.
///
/// # Safety
/// - [`pin`](Self::pin) gives memory of the host of the size that is asked for, readable and writable, which nobody else has until
///   [`unpin`](Self::unpin).
/// - [`copy`](Self::copy) uses the `bytes` from `host` on and no other memory of the host. It no longer does once
///   [`synchronize`](Self::synchronize) has succeeded, or once [`wait`](Self::wait) has for a point that was recorded behind it.
pub unsafe trait Queue: fmt::Debug + Sized + 'static {
    /// A point in the queue. It goes with its handle when it is dropped.
    type Point;
    /// Work that was captured. It goes with its handle when it is dropped. [`Infallible`](std::convert::Infallible) where nothing
    /// is captured.
    type Graph;

    /// Pinned memory of the host, one byte or more, with whatever is in it.
    ///
    /// # Errors
    /// What the vendor says.
    fn pin(&self, bytes: usize) -> Result<NonNull<u8>>;
    /// Gives pinned memory back. Memory that the vendor does not take back stays where it is.
    ///
    /// # Safety
    /// It came from [`pin`](Self::pin) of a queue of this device, goes back once, and nothing uses it any more.
    unsafe fn unpin(&self, start: NonNull<u8>);

    /// A point that is nowhere yet.
    ///
    /// # Errors
    /// What the vendor says.
    fn point(&self) -> Result<Self::Point>;
    /// Puts a point behind all that is queued.
    ///
    /// # Errors
    /// What the vendor says.
    fn record(&self, point: &Self::Point) -> Result<()>;
    /// Whether the queue has passed a point that was recorded. Does not wait.
    ///
    /// # Errors
    /// What the vendor says.
    fn is_reached(&self, point: &Self::Point) -> Result<bool>;
    /// Waits until the queue has passed a point that was recorded behind a copy that went this way, and tells whether what the
    /// copy brought is good.
    ///
    /// # Errors
    /// What the vendor says.
    fn wait(&self, point: &Self::Point, way: Way) -> Result<()>;

    /// Queues a copy between memory of the device and pinned memory of the host; `bytes` are one or more.
    ///
    /// # Errors
    /// What the vendor says. Then nothing is queued.
    ///
    /// # Safety
    /// So many bytes from `host` on are pinned memory of this device, and nobody else uses them until the copy has run.
    unsafe fn copy(&self, way: Way, device: Address, host: NonNull<u8>, bytes: usize)
    -> Result<()>;
    /// Queues a fill of memory of the device.
    ///
    /// # Errors
    /// What the vendor says.
    fn fill(&self, at: Address, byte: u8, bytes: usize) -> Result<()>;

    /// Waits for all that is queued.
    ///
    /// # Errors
    /// What the vendor says, of this or of what was queued.
    fn synchronize(&self) -> Result<()>;

    /// From now on fills and calls of operators are captured, and do not run. Nothing else is asked for until the end.
    ///
    /// # Errors
    /// What the vendor says; [`Error::Unsupported`](deepseek_core::Error::Unsupported) where nothing is captured.
    fn begin_capture(&self) -> Result<()>;
    /// What was captured. After an error nothing is captured any more.
    ///
    /// # Errors
    /// What the vendor says.
    fn end_capture(&self) -> Result<Self::Graph>;
    /// Queues all of it once. It has run before it is replayed again, or dropped.
    ///
    /// # Errors
    /// What the vendor says.
    fn replay(&self, graph: &Self::Graph) -> Result<()>;
}

/// Memory of the host that the device copies to and from by itself.
pub struct Pinned<Q: Queue> {
    start: NonNull<u8>,
    bytes: usize,
    queue: Rc<Q>,
}

impl<Q: Queue> fmt::Debug for Pinned<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pinned({} bytes)", self.bytes)
    }
}

impl<Q: Queue> Pinned<Q> {
    /// So many bytes, zeros.
    ///
    /// # Errors
    /// What the vendor says.
    pub fn new(queue: &Rc<Q>, bytes: usize) -> Result<Self> {
        // No memory of no size is to be had.
        let start = queue.pin(bytes.max(1))?;
        // SAFETY: memory of this size that was just made, and nobody else has.
        unsafe { ptr::write_bytes(start.as_ptr(), 0, bytes) };
        Ok(Self {
            start,
            bytes,
            queue: Rc::clone(queue),
        })
    }

    /// Never gives it back, because something may still write there.
    fn abandon(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl<Q: Queue> AsRef<[u8]> for Pinned<Q> {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: memory of this size, written when it was made and given back by `drop` alone. A copy that reads or writes it
        // owns `self`, so nobody else does while this reference lives.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }
}

impl<Q: Queue> AsMut<[u8]> for Pinned<Q> {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `self` is borrowed by nobody else.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl<Q: Queue> Drop for Pinned<Q> {
    fn drop(&mut self) {
        // SAFETY: it came from `pin`, goes back once, and belongs to no copy.
        unsafe { self.queue.unpin(self.start) };
    }
}

/// A copy on its way, with its buffer. One that is dropped waits.
pub struct Flight<Q: Queue> {
    /// None once it has landed.
    buffer: Option<Pinned<Q>>,
    way: Way,
    point: Q::Point,
    queue: Rc<Q>,
}

impl<Q: Queue> fmt::Debug for Flight<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({:?}, {:?})", self.way, self.buffer)
    }
}

impl<Q: Queue> Flight<Q> {
    /// Queues a copy between memory of the device and the first bytes of a buffer.
    ///
    /// # Errors
    /// What the vendor says.
    ///
    /// # Panics
    /// If the buffer is shorter.
    pub fn start(
        queue: &Rc<Q>,
        way: Way,
        device: Address,
        buffer: Pinned<Q>,
        bytes: usize,
    ) -> Result<Self> {
        let room = buffer.bytes;
        assert!(bytes <= room, "{bytes} bytes of a buffer of {room}");
        let point = queue.point()?;
        if bytes > 0 {
            // SAFETY: bytes of the buffer, which the flight owns until the copy has run.
            unsafe { queue.copy(way, device, buffer.start, bytes)? };
        }
        let flight = Self {
            buffer: Some(buffer),
            way,
            point,
            queue: Rc::clone(queue),
        };
        queue.record(&flight.point)?;
        Ok(flight)
    }

    /// Whether the copy has run. Does not wait.
    ///
    /// # Errors
    /// What the vendor says.
    pub fn has_landed(&self) -> Result<bool> {
        self.queue.is_reached(&self.point)
    }

    /// Waits until the copy has run, and gives its buffer back.
    ///
    /// # Errors
    /// What the vendor says.
    pub fn land(mut self) -> Result<Pinned<Q>> {
        self.queue.wait(&self.point, self.way)?;
        Ok(self.buffer.take().expect("a flight lands once"))
    }
}

impl<Q: Queue> Drop for Flight<Q> {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else {
            return;
        };
        // Not for the point, which may not have been recorded.
        if self.queue.synchronize().is_err() {
            // Nobody knows whether the copy still runs.
            buffer.abandon();
        }
    }
}
