//! A device from outside: its thread, its memory, its failures, and its lists.

mod faults;
mod graphs;
mod lists;
mod memory;
mod thread;
mod watched;

use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Offload, Options};
use deepseek_core::{Backend, HostTensor, Result};

use crate::watched::{Look, Watched};

/// Bytes of the device's memory.
const MEMORY: usize = 64 << 20;

/// A device with these options, whose calls someone looks at.
fn watched(options: Options, look: Look) -> Result<Offload<Watched>> {
    Offload::start(options, move || {
        let host = HostDriver::new(HostChip::Composed, MEMORY);
        Ok(Watched::new(host, look))
    })
}

/// A device that shows whatever uses memory after its owner let go of it.
fn device() -> Result<Offload<HostDriver>> {
    let options = Options {
        poison: true,
        ..Options::default()
    };
    Offload::start(options, || Ok(HostDriver::new(HostChip::Composed, MEMORY)))
}

fn numbers<B: Backend>(be: &B, values: &[f32]) -> Result<B::Tensor> {
    be.upload(&HostTensor::new(&[values.len()], values.to_vec()))
}
