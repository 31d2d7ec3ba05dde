//! Work of a stream that was captured, to be replayed.

use std::fmt;
use std::ptr::null_mut;
use std::rc::Rc;

use backend_ascend_sys::abi::capture::GraphCapture;
use backend_ascend_sys::types::{aclmdlRI, aclmdlRICaptureMode};
use deepseek_core::{Error, Result};

use super::device::Device;
use super::stream::Stream;

/// What was captured. The memory that it uses is its caller's to keep.
pub struct Graph {
    raw: aclmdlRI,
    device: Rc<Device>,
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Graph({:?})", self.device)
    }
}

/// The functions, if the release has them.
fn table(device: &Device) -> Result<&GraphCapture> {
    let table = device.ascend.capture.as_ref();
    table.map_err(|error| Error::Unsupported {
        device: device.name().to_owned(),
        what: format!("captured graphs: {error}"),
    })
}

impl Graph {
    /// Begins to capture a stream. Other threads, which may have devices of their own, are left alone.
    pub(super) fn begin(stream: &Stream) -> Result<()> {
        let begin = table(&stream.device)?.aclmdlRICaptureBegin;
        let mode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: a stream of this thread's device, which lives.
        let code = unsafe { begin(stream.raw, mode) };
        stream.device.check("aclmdlRICaptureBegin", code)
    }

    /// Ends it, and is what was captured.
    pub(super) fn end(stream: &Stream) -> Result<Self> {
        let device = &stream.device;
        let end = table(device)?.aclmdlRICaptureEnd;
        let mut raw = null_mut();
        // SAFETY: a stream of this thread's device, which lives, and a place for a handle.
        let code = unsafe { end(stream.raw, &raw mut raw) };
        let own = |raw| Self {
            raw,
            device: Rc::clone(device),
        };
        if let Err(error) = device.check("aclmdlRICaptureEnd", code) {
            // Where the call did nothing, the stream would be captured for ever.
            // SAFETY: as above.
            if unsafe { end(stream.raw, &raw mut raw) } == 0 {
                drop(own(raw));
            }
            return Err(error);
        }
        if raw.is_null() {
            return Err(device.fault("aclmdlRICaptureEnd: no graph"));
        }
        Ok(own(raw))
    }

    /// Queues all of it.
    pub(super) fn replay(&self, stream: &Stream) -> Result<()> {
        let execute = table(&self.device)?.aclmdlRIExecuteAsync;
        // SAFETY: a graph and a stream of this thread's device, which live.
        let code = unsafe { execute(self.raw, stream.raw) };
        self.device.check("aclmdlRIExecuteAsync", code)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if let Ok(table) = table(&self.device)
            && !self.raw.is_null()
        {
            // SAFETY: a graph that lives, and is destroyed once.
            let _ = unsafe { (table.aclmdlRIDestroy)(self.raw) };
        }
    }
}
