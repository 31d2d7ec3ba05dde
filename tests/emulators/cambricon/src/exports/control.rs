//! How an emulator is told apart, set up and read.

use std::ffi::c_char;

use super::export;
use crate::control;

export! {
    emulator;
    fn neuwareEmuVersion() -> *const c_char = control::version;
    fn neuwareEmuConfigure(json: *const c_char) -> u32 = control::configure;
    fn neuwareEmuReport(buffer: *mut c_char, capacity: usize) -> usize = control::report;
    fn neuwareEmuReset() -> () = control::reset;
}
