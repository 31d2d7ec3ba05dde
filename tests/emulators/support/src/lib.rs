//! What emulators of devices share, whatever the vendor: device memory that the host cannot touch, queues
//! that run late and in a seeded order, what was found, and faults on demand. Unix only.
#![cfg(unix)]
#![deny(unsafe_code)]

mod addresses;
mod bits;
mod dice;
mod faults;
mod host;
mod library;
mod memory;
mod queues;
mod report;

pub use addresses::{Pages, Space};
pub use bits::Bits;
pub use dice::Dice;
pub use faults::{Fault, Faults};
pub use host::HostBytes;
pub use library::built_library;
pub use memory::{Full, Memory, Misuse, Place, Region, RegionMut, Snapshot};
pub use queues::{Goal, Point, QueueId, Queues, Schedule, Step};
pub use report::{Report, Violation};
