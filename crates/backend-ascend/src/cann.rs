//! The calls of CANN, made safe: what the vendor asks of a caller is what these types let a caller do.
//!
//! A handle has one owner, which gives it back. What was made on a device keeps the device, and none of it
//! leaves the thread that opened it. Memory of the device is an address, which the host never follows;
//! memory of the host belongs to the copy that uses it until that has run (`backend_offload::Flight`).
#![allow(unsafe_code)]

mod communicator;
mod custom;
mod descriptor;
mod device;
mod graph;
mod machine;
mod memory;
mod operators;
mod stream;

pub(crate) use communicator::Communicator;
pub(crate) use device::Device;
pub(crate) use machine::machine;
pub(crate) use operators::Operators;
pub use stream::Stream;

use std::ffi::c_void;
use std::ptr::without_provenance_mut;

use backend_offload::Address;

/// An address of the device as C has it.
fn pointer(at: Address) -> *mut c_void {
    without_provenance_mut(at.0 as usize)
}
