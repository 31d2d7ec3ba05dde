//! Why a call fails, or queued work does.

pub(crate) use emulator_support::failure::{Failure, Fault, Outcome};
