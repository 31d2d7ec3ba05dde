//! Heads that propose tokens for the backbone to check.

mod mtp;

pub use mtp::Mtp;
