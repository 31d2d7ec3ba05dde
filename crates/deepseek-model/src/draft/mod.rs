//! Heads that propose tokens for the backbone to check.

mod dspark;
mod mtp;

pub use dspark::{Ask, Details, Dspark, Proposal};
pub use mtp::Mtp;
