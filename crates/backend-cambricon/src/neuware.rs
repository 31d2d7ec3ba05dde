//! The calls of Neuware, made safe: what the vendor asks of a caller is what these types let a caller do.
//!
//! A handle has one owner, which gives it back. What was made on a device keeps the device, and none of it leaves the thread that
//! opened it. Memory of the device is an address, which the host never follows; memory of the host belongs to the copy that uses it
//! until that has run (`backend_offload::Flight`). No call is made on a default queue.
#![allow(unsafe_code)]

mod communicators;
mod descriptor;
mod device;
mod graph;
mod groups;
mod machine;
mod memory;
mod operators;
mod queue;

pub(crate) use communicators::Communicator;
pub(crate) use device::Device;
pub(crate) use machine::machine;
pub(crate) use operators::Operators;
pub use queue::MluQueue;

use std::ffi::c_void;
use std::ptr::without_provenance_mut;

use backend_offload::Address;

/// A structure of functions that not every release has: all of them, or none is called.
macro_rules! release_functions {
    ($(#[$doc:meta])* $Functions:ident of $module:ident::$Table:ident: $($name:ident),+ $(,)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        #[allow(non_snake_case, reason = "the names of the C interface")]
        pub(super) struct $Functions {
            $($name: backend_cambricon_sys::abi::$module::$name,)+
        }

        impl $Functions {
            /// Those of a release.
            ///
            /// # Errors
            /// The name of one that it lacks.
            pub(super) fn of(
                all: &backend_cambricon_sys::abi::$module::$Table,
            ) -> Result<Self, &'static str> {
                Ok(Self {
                    $($name: all.$name.ok_or(stringify!($name))?,)+
                })
            }
        }
    };
}
use release_functions;

/// An address of the device as C has it.
fn pointer(at: Address) -> *mut c_void {
    without_provenance_mut(at.0 as usize)
}
