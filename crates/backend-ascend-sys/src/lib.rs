#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

pub mod abi;
pub mod contracts;
#[cfg(test)]
mod corpus;
mod custom;
mod error;
mod limits;
mod loader;
mod packages;
mod provider;
mod search;
mod status;
mod table;
pub mod types;

pub use backend_abi::{Attempt, signature};
pub use custom::{CustomOperators, CustomPackage};
pub use error::{Note, Refusal, Unavailable};
pub use loader::{Ascend, Lookup};
pub use packages::PackageFileError;
pub use provider::{CANN, EMULATOR, Library, Provider, VLLM_ASCEND_0_23_0, VLLM_ASCEND_0_30_0RC2};
pub use search::Search;
pub use status::{STATUSES, Status, status};
pub use table::{Launch, Operator, Presence, Symbol};
