//! What an emulator of these libraries exports beside their symbols: ours, not the vendor's.

use std::ffi::c_char;

use crate::table::abi_table;

abi_table! {
    /// How an emulator is told apart, set up and read.
    pub struct Emulator: Emulator;

    fn neuwareEmuVersion() -> *const c_char;
    fn neuwareEmuConfigure(json: *const c_char) -> u32;
    fn neuwareEmuReport(buffer: *mut c_char, capacity: usize) -> usize;
    fn neuwareEmuReset();
}
