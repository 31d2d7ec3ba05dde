//! What an emulator of these libraries exports beside their symbols: ours, not the vendor's.

use std::ffi::c_char;

use crate::table::abi_table;

abi_table! {
    /// How an emulator is told apart, set up and read.
    pub struct Emulator: EMULATOR, Emulator;

    fn ascendEmuVersion() -> *const c_char;
    fn ascendEmuConfigure(json: *const c_char) -> i32;
    fn ascendEmuReport(buffer: *mut c_char, capacity: usize) -> usize;
    fn ascendEmuReset();
    fn ascendEmuProvides(provider: *const c_char) -> i32;
}
