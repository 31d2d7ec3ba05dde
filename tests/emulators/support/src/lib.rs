//! What emulators of devices share, whatever the vendor: device memory that the host cannot touch, queues
//! that run late and in a seeded order, what was found, and faults on demand. Unix only.
#![cfg(unix)]
#![deny(unsafe_code)]

mod addresses;
pub mod argument;
pub mod array;
mod bits;
mod dice;
pub mod failure;
mod faults;
mod handles;
mod host;
mod library;
mod memory;
pub mod numbers;
mod products;
mod progress;
mod queues;
mod races;
pub mod ranks;
mod reply;
mod report;
mod run;

pub use addresses::{Pages, Space};
pub use bits::Bits;
pub use dice::Dice;
pub use faults::{Fault, Faults};
pub use handles::{Handle, HandleKind, Handles};
pub use host::HostBytes;
pub use library::built_library;
pub use memory::{Full, Memory, Misuse, Place, Region, RegionMut, Snapshot};
pub use products::matrix_product;
pub use progress::Progress;
pub use queues::{Goal, Point, QueueId, Queues, Schedule, Step};
pub use races::Races;
pub use reply::Reply;
pub use report::{OnViolation, Report, Violation};
pub use run::{Control, Run, SEEDS, Vendor};
