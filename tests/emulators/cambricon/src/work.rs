//! What queues hold, and what it does when its turn comes.

use std::fmt;

use emulator_support::failure::Fault;
use emulator_support::{HostBytes, Misuse, Place, Snapshot};

use crate::collectives::Part;
use crate::emulator::Emulator;
use crate::handles::Handle;
use crate::launch::Launch;
use crate::memory::{Owner, check_of};

/// Ranges of addresses: starts and lengths.
pub(crate) type Ranges = Vec<(u64, usize)>;

/// A task and where it is from.
#[derive(Debug)]
pub(crate) struct Work {
    /// The call that queued it.
    pub(crate) call: &'static str,
    pub(crate) queue: Handle,
    pub(crate) task: Task,
}

#[derive(Debug, Clone)]
pub(crate) enum Task {
    Copy(Copy),
    Fill(Fill),
    Operator(Launch),
    /// A rank's numbers, for all ranks.
    Bring(Part),
    /// What comes of those of all.
    Take(Part),
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
    pub(crate) bytes: usize,
    /// Of the source when it was queued.
    pub(crate) checksum: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Fill {
    pub(crate) device: usize,
    pub(crate) address: u64,
    pub(crate) bytes: usize,
    pub(crate) byte: u8,
}

impl Side {
    pub(crate) fn is_device(&self) -> bool {
        matches!(self, Self::Device { .. })
    }

    pub(crate) fn is_pageable(&self) -> bool {
        matches!(self, Self::Pageable(_))
    }

    fn range(&self, bytes: usize) -> Ranges {
        match self {
            Self::Device { address, .. } | Self::Pinned(_, address) => vec![(*address, bytes)],
            Self::Pageable(_) => Vec::new(),
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
    /// The memory that it reads and writes, but for what its call copied at once.
    pub(crate) fn ranges(&self) -> (Ranges, Ranges) {
        match self {
            Self::Copy(copy) => (copy.from.range(copy.bytes), copy.to.range(copy.bytes)),
            Self::Fill(fill) => (Vec::new(), vec![(fill.address, fill.bytes)]),
            Self::Operator(launch) => launch.ranges(),
            Self::Bring(part) => (vec![part.range()], Vec::new()),
            Self::Take(part) => (Vec::new(), vec![part.range()]),
        }
    }

    /// Does it.
    pub(crate) fn run(&self, emulator: &mut Emulator) -> Result<(), Fault> {
        match self {
            Self::Copy(copy) => copy.run(emulator),
            Self::Fill(fill) => {
                let place = place(emulator, fill.device, fill.address, fill.bytes)?;
                let mut region = emulator.devices[fill.device].region_mut(place);
                region.fill(fill.byte);
                Ok(())
            }
            Self::Operator(launch) => launch.run(emulator),
            Self::Bring(part) => part.bring(emulator),
            Self::Take(part) => part.take(emulator),
        }
    }
}

/// A range of a device, when its task runs.
fn place(emulator: &Emulator, device: usize, address: u64, bytes: usize) -> Result<Place, Fault> {
    let found = emulator.devices[device].locate(address, bytes);
    found.map_err(misused)
}

/// What is wrong with an address when its task runs.
pub(crate) fn misused(misuse: Misuse) -> Fault {
    Fault::new(check_of(misuse), misuse.to_string())
}

/// Pinned memory, when its task runs.
fn pinned(emulator: &Emulator, address: u64, bytes: HostBytes) -> Result<HostBytes, Fault> {
    match emulator.owner(address) {
        Owner::Pinned(_) => Ok(bytes),
        Owner::Device(_) | Owner::Host => {
            Err(Fault::new("E-HOSTLIFE", "pinned memory that was freed"))
        }
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
        match (&self.to, &load) {
            (Side::Device { device, address }, load) => {
                let place = place(emulator, *device, *address, self.bytes)?;
                let mut region = emulator.devices[*device].region_mut(place);
                match load {
                    Load::Host(bytes) => region.write(0, bytes),
                    Load::Device(snapshot) => region.restore(snapshot),
                }
            }
            (Side::Pinned(bytes, address), Load::Host(load)) => {
                pinned(emulator, *address, *bytes)?.write(load);
            }
            (Side::Pageable(bytes), Load::Host(load)) => bytes.write(load),
            (Side::Pinned(..) | Side::Pageable(_), Load::Device(_)) => {
                unreachable!("to the host go bytes")
            }
        }
        Ok(())
    }

    /// Reads the source. The host cannot be told which bytes were never written, so it gets none of them.
    fn load(&self, emulator: &Emulator) -> Result<Load, Fault> {
        match &self.from {
            Side::Device { device, address } => {
                let place = place(emulator, *device, *address, self.bytes)?;
                let region = emulator.devices[*device].region(place);
                if self.to.is_device() {
                    return Ok(Load::Device(region.snapshot()));
                }
                if let Some(at) = region.first_unknown(0..self.bytes) {
                    let text = format!("byte {at} of the source was never written");
                    return Err(Fault::new("E-POISON", text));
                }
                Ok(Load::Host(region.bytes().to_vec()))
            }
            Side::Pinned(bytes, address) => {
                let bytes = pinned(emulator, *address, *bytes)?;
                let is_changed = |checksum| checksum != bytes.checksum();
                if self.checksum.is_some_and(is_changed) {
                    let text = "the host wrote the source of a copy that was queued";
                    return Err(Fault::new("E-HOSTLIFE", text));
                }
                Ok(Load::Host(bytes.read()))
            }
            Side::Pageable(bytes) => Ok(Load::Host(bytes.read())),
        }
    }
}
