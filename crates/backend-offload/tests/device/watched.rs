//! A driver that does what the host's does, after someone has looked at each call.

use std::sync::Arc;

use backend_offload::host::{HostChip, HostDriver, HostFlight, HostGraph, HostStaging};
use backend_offload::{Address, Driver, Op, Verb, View, Workspace};
use deepseek_core::Result;

/// Looks at a call by its name, and may refuse it.
pub(crate) type Look = Box<dyn FnMut(&'static str) -> Result<()> + Send>;

pub(crate) struct Watched {
    inner: HostDriver,
    look: Look,
}

impl Watched {
    pub(crate) fn new(inner: HostDriver, look: Look) -> Self {
        Self { inner, look }
    }

    fn looked(&mut self, name: &'static str) -> Result<&mut HostDriver> {
        (self.look)(name)?;
        Ok(&mut self.inner)
    }
}

impl Driver for Watched {
    type Chip = HostChip;
    type Staging = HostStaging;
    type Flight = HostFlight;
    type Graph = HostGraph;

    fn chip(&self) -> Arc<HostChip> {
        self.inner.chip()
    }

    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        self.looked("allocate")?.allocate(bytes)
    }

    fn free(&mut self, at: Address) -> Result<()> {
        self.looked("free")?.free(at)
    }

    fn staging(&mut self, bytes: usize) -> Result<HostStaging> {
        self.looked("staging")?.staging(bytes)
    }

    fn copy_in(&mut self, from: HostStaging, bytes: usize, to: Address) -> Result<HostFlight> {
        self.looked("copy_in")?.copy_in(from, bytes, to)
    }

    fn copy_out(&mut self, from: Address, bytes: usize, to: HostStaging) -> Result<HostFlight> {
        self.looked("copy_out")?.copy_out(from, bytes, to)
    }

    fn has_landed(&mut self, flight: &HostFlight) -> Result<bool> {
        self.looked("has_landed")?.has_landed(flight)
    }

    fn land(&mut self, flight: HostFlight) -> Result<HostStaging> {
        self.looked("land")?.land(flight)
    }

    fn run(&mut self, op: &Op<()>, workspace: &mut Workspace) -> Result<()> {
        self.looked("run")?.run(op, workspace)
    }

    fn run_verb(
        &mut self,
        verb: &Verb<()>,
        results: &[View],
        workspace: &mut Workspace,
    ) -> Result<()> {
        self.looked("run_verb")?.run_verb(verb, results, workspace)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.looked("synchronize")?.synchronize()
    }

    fn begin_capture(&mut self) -> Result<()> {
        self.looked("begin_capture")?.begin_capture()
    }

    fn end_capture(&mut self) -> Result<HostGraph> {
        let graph = self.inner.end_capture()?;
        self.looked("end_capture")?;
        Ok(graph)
    }

    fn replay(&mut self, graph: &mut HostGraph) -> Result<()> {
        self.looked("replay")?.replay(graph)
    }
}
