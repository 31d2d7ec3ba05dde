//! What streams hold, and what it does when its turn comes.

use std::fmt;

use emulator_support::{HostBytes, Misuse, Place, Snapshot};

use crate::collectives::Part;
use crate::emulator::Emulator;
use crate::executors::Launch;
use crate::exports::HostFunction;
use crate::failure::Fault;
use crate::handles::Handle;

/// A task and where it is from.
#[derive(Debug)]
pub(crate) struct Work {
    /// The call that queued it.
    pub(crate) call: &'static str,
    pub(crate) context: Handle,
    /// Whether it is of a graph.
    pub(crate) is_captured: bool,
    pub(crate) task: Task,
}

#[derive(Debug)]
pub(crate) enum Task {
    Copy(Copy),
    Fill(Fill),
    /// Writes down when an event was passed.
    Stamp(Handle),
    Operator(Launch),
    /// A rank's numbers, for all ranks.
    Bring(Part),
    /// What comes of those of all.
    Take(Part),
    /// A function of the host, which is called without the lock.
    Host(HostFunction),
}

/// One side of a copy.
#[derive(Debug, Clone)]
pub(crate) enum Side {
    Device { device: usize, address: u64 },
    Pinned(HostBytes, u64),
    Pageable(HostBytes),
}

#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) from: Side,
    pub(crate) to: Side,
    pub(crate) count: usize,
    /// Of the source when it was queued.
    pub(crate) checksum: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub(crate) device: usize,
    pub(crate) address: u64,
    pub(crate) count: usize,
    pub(crate) byte: u8,
}

impl Work {
    /// Captured work, to be queued again: as the host has it now.
    pub(crate) fn again(&self, pattern: u8) -> Self {
        let task = match &self.task {
            Task::Copy(copy) => {
                let mut copy = copy.clone();
                copy.queued(pattern);
                Task::Copy(copy)
            }
            Task::Fill(fill) => Task::Fill(fill.clone()),
            Task::Operator(launch) => Task::Operator(launch.clone()),
            Task::Stamp(_) | Task::Host(_) | Task::Bring(_) | Task::Take(_) => {
                unreachable!("none of them is captured")
            }
        };
        Self {
            task,
            is_captured: true,
            ..*self
        }
    }
}

impl Side {
    pub(crate) fn is_device(&self) -> bool {
        matches!(self, Self::Device { .. })
    }

    pub(crate) fn is_pageable(&self) -> bool {
        matches!(self, Self::Pageable(_))
    }

    fn address(&self) -> Option<u64> {
        match self {
            Self::Device { address, .. } | Self::Pinned(_, address) => Some(*address),
            Self::Pageable(_) => None,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device { .. } => "a device",
            Self::Pinned(..) => "pinned memory of the host",
            Self::Pageable(_) => "memory of the host",
        })
    }
}

impl Task {
    /// The memory that it uses, but for what its call copied at once.
    pub(crate) fn ranges(&self) -> Vec<(u64, usize)> {
        match self {
            Self::Copy(copy) => {
                let sides = [copy.from.address(), copy.to.address()];
                sides
                    .into_iter()
                    .flatten()
                    .map(|side| (side, copy.count))
                    .collect()
            }
            Self::Fill(fill) => vec![(fill.address, fill.count)],
            Self::Operator(launch) => launch.ranges(),
            Self::Bring(part) | Self::Take(part) => vec![part.range()],
            Self::Stamp(_) | Self::Host(_) => Vec::new(),
        }
    }

    /// Does it.
    pub(crate) fn run(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        match self {
            Self::Copy(copy) => copy.run(emulator),
            Self::Fill(fill) => {
                let place = place(emulator, fill.device, fill.address, fill.count)?;
                emulator.devices[fill.device]
                    .memory
                    .region_mut(place)
                    .fill(fill.byte);
                Ok(())
            }
            Self::Stamp(event) => {
                let time = emulator.clock;
                if let Some(event) = emulator.events.get_mut(event) {
                    event.time = Some(time);
                }
                Ok(())
            }
            Self::Operator(launch) => launch.run(emulator),
            Self::Bring(part) => part.bring(emulator),
            Self::Take(part) => part.take(emulator),
            Self::Host(_) => unreachable!("called without the lock"),
        }
    }
}

/// A range of a device, when its task runs.
fn place(emulator: &Emulator, device: usize, address: u64, count: usize) -> Result<Place, Fault> {
    let found = emulator.devices[device].memory.locate(address, count);
    found.map_err(misused)
}

/// What is wrong with an address when its task runs.
pub(crate) fn misused(misuse: Misuse) -> Fault {
    let kind = match misuse {
        Misuse::Freed(_) => "use_after_free",
        Misuse::Outside(_) | Misuse::Beyond { .. } | Misuse::Interior { .. } => "out_of_bounds",
    };
    Fault::new(kind, misuse.to_string())
}

/// Pinned memory, when its task runs.
fn pinned(emulator: &Emulator, address: u64, bytes: HostBytes) -> Result<HostBytes, Fault> {
    match emulator.owner(address) {
        crate::memory::Owner::Pinned(_) => Ok(bytes),
        _ => Err(Fault::new("use_after_free", "pinned memory that was freed")),
    }
}

/// Bytes on their way.
enum Load {
    Host(Vec<u8>),
    Device(Snapshot),
}

impl Copy {
    /// Notes what pinned memory holds when the copy is queued, and fills where it leads to with what is no number.
    pub(crate) fn queued(&mut self, pattern: u8) {
        if let Side::Pinned(bytes, _) = &self.from {
            self.checksum = Some(bytes.checksum());
        }
        if let Side::Pinned(bytes, _) = &self.to {
            bytes.fill(pattern);
        }
    }

    fn run(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        let load = self.load(emulator)?;
        match &self.to {
            Side::Device { device, address } => {
                let place = place(emulator, *device, *address, self.count)?;
                let mut region = emulator.devices[*device].memory.region_mut(place);
                match &load {
                    Load::Host(bytes) => region.write(0, bytes),
                    Load::Device(snapshot) => region.restore(snapshot),
                }
            }
            Side::Pinned(bytes, address) => {
                if let Load::Host(load) = &load {
                    pinned(emulator, *address, *bytes)?.write(load);
                }
            }
            Side::Pageable(bytes) => {
                if let Load::Host(load) = &load {
                    bytes.write(load);
                }
            }
        }
        Ok(())
    }

    /// Reads the source. The host cannot be told which bytes were never written, so it gets none of them.
    fn load(&self, emulator: &Emulator) -> Result<Load, Fault> {
        match &self.from {
            Side::Device { device, address } => {
                let place = place(emulator, *device, *address, self.count)?;
                let region = emulator.devices[*device].memory.region(place);
                if self.to.is_device() {
                    return Ok(Load::Device(region.snapshot()));
                }
                if let Some(at) = region.first_unknown(0..self.count) {
                    let text = format!("byte {at} of the source was never written");
                    return Err(Fault::new("uninitialised_read", text));
                }
                Ok(Load::Host(region.bytes().to_vec()))
            }
            Side::Pinned(bytes, address) => {
                let bytes = pinned(emulator, *address, *bytes)?;
                if self
                    .checksum
                    .is_some_and(|checksum| checksum != bytes.checksum())
                {
                    let text = "the host wrote the source of a copy that was queued";
                    return Err(Fault::new("source_mutated", text));
                }
                Ok(Load::Host(bytes.read()))
            }
            Side::Pageable(bytes) => Ok(Load::Host(bytes.read())),
        }
    }
}
