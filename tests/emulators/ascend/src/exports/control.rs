//! How an emulator is told apart, set up and read.

use std::ffi::c_char;

use super::export;
use crate::control;

export! {
    emulator;
    fn ascendEmuVersion() -> *const c_char = control::version;
    fn ascendEmuConfigure(json: *const c_char) -> i32 = control::configure;
    fn ascendEmuReport(buffer: *mut c_char, capacity: usize) -> usize = control::report;
    fn ascendEmuReset() -> () = control::reset;
    fn ascendEmuProvides(provider: *const c_char) -> i32 = control::provides;
}
