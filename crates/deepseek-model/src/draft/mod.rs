//! Heads that propose tokens for the backbone to check.

mod drafter;
mod dspark;
mod mtp;

pub(crate) use drafter::{Drafter, Shared};
pub use dspark::{Ask, Dspark, Proposal};
pub use mtp::Mtp;
