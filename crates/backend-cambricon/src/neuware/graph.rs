//! Work of a queue that was captured as a topology of tasks, to be invoked again.

use std::ffi::c_char;

use backend_cambricon_sys::types::{
    cnrtQueueCaptureMode, cnrtTaskTopo_t, cnrtTaskTopoEntity_t, cnrtTaskTopoNode_t,
};
use deepseek_core::{Error, Result};

use super::descriptor::Owned;
use super::device::Device;
use super::queue::MluQueue;
use super::release_functions;
use crate::limits::LOG_BYTES;

release_functions! {
    /// Captures and topologies.
    Captures of runtime::Runtime:
    cnrtQueueBeginCapture,
    cnrtQueueEndCapture,
    cnrtTaskTopoDestroy,
    cnrtTaskTopoEntityDestroy,
    cnrtTaskTopoEntityInvoke,
    cnrtTaskTopoInstantiate,
}

/// What was captured. The memory that it uses is its caller's to keep.
#[derive(Debug)]
pub struct Graph {
    entity: Owned<cnrtTaskTopoEntity_t>,
    /// Held, not read: whether an entity may outlive it is not documented.
    _topology: Owned<cnrtTaskTopo_t>,
    captures: Captures,
}

/// The functions, if the release has them.
fn captures(device: &Device) -> Result<Captures> {
    Captures::of(&device.neuware.runtime).map_err(|lacks| Error::Unsupported {
        device: device.name().to_owned(),
        what: format!("captured graphs: no {lacks}"),
    })
}

impl Graph {
    /// Begins to capture a queue. Other threads, which may have devices of their own, are left alone.
    pub(super) fn begin(queue: &MluQueue) -> Result<()> {
        let begin = captures(&queue.device)?.cnrtQueueBeginCapture;
        let mode = cnrtQueueCaptureMode::cnrtQueueCaptureModeThreadLocal;
        // SAFETY: a queue of this thread's device, which lives.
        let code = unsafe { begin(queue.raw, mode) };
        queue.device.cnrt("cnrtQueueBeginCapture", code)
    }

    /// Ends it, and is what was captured.
    pub(super) fn end(queue: &MluQueue) -> Result<Self> {
        let (device, captures) = (&queue.device, captures(&queue.device)?);
        let (end, mut raw) = (captures.cnrtQueueEndCapture, cnrtTaskTopo_t::NULL);
        // SAFETY: a queue of this thread's device, which lives, and a place for a handle.
        let mut code = unsafe { end(queue.raw, &raw mut raw) };
        let ended = device.cnrt("cnrtQueueEndCapture", code);
        if ended.is_err() {
            // Where the call did nothing, the queue would be captured for ever.
            // SAFETY: as above.
            code = unsafe { end(queue.raw, &raw mut raw) };
        }
        // SAFETY: it was just made, if the call says so.
        let own = |raw| unsafe { Owned::new(device, raw, captures.cnrtTaskTopoDestroy) };
        let topology = (code == 0).then(|| own(raw));
        ended?;
        let topology = topology.expect("the first call has succeeded");
        let (mut raw, mut node) = (cnrtTaskTopoEntity_t::NULL, cnrtTaskTopoNode_t::NULL);
        let mut log = [0_u8; LOG_BYTES];
        let (make, log) = (
            captures.cnrtTaskTopoInstantiate,
            log.as_mut_ptr().cast::<c_char>(),
        );
        let of = topology.raw();
        // SAFETY: a topology that lives, places for handles, and a buffer of this length.
        let code = unsafe { make(&raw mut raw, of, &raw mut node, log, LOG_BYTES) };
        device.cnrt("cnrtTaskTopoInstantiate", code)?;
        Ok(Self {
            // SAFETY: it was just made.
            entity: unsafe { Owned::new(device, raw, captures.cnrtTaskTopoEntityDestroy) },
            _topology: topology,
            captures,
        })
    }

    /// Queues all of it.
    pub(super) fn replay(&self, queue: &MluQueue) -> Result<()> {
        let invoke = self.captures.cnrtTaskTopoEntityInvoke;
        // SAFETY: an entity and a queue of this thread's device, which live.
        let code = unsafe { invoke(self.entity.raw(), queue.raw) };
        queue.device.cnrt("cnrtTaskTopoEntityInvoke", code)
    }
}
