//! The driver over the emulator of CANN: the calls that it makes are those that the vendor documents.
//! Linux only, as the emulator's loader is.
#![cfg(target_os = "linux")]

mod operations;
mod runtime;
mod session;
