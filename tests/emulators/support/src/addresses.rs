//! Ranges of addresses: without access, so that a host that follows a device's pointer stops at once, and
//! pages that the host reads and writes.
#![allow(unsafe_code)]

use std::io;
use std::ptr::{null_mut, with_exposed_provenance_mut};

use crate::host::HostBytes;

/// A mapping of this process, removed when it is dropped.
#[derive(Debug)]
struct Mapping {
    start: usize,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize, access: libc::c_int) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping at a place of the system's choice touches nothing that is there.
        let start = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            start: start.expose_provenance(),
            bytes,
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let start = with_exposed_provenance_mut(self.start);
        // SAFETY: `new` mapped this range, and its one owner goes.
        let failed = unsafe { libc::munmap(start, self.bytes) };
        debug_assert_eq!(failed, 0, "a mapping of ours");
    }
}

/// Addresses without memory: reading or writing there ends the process.
#[derive(Debug)]
pub struct Space(Mapping);

impl Space {
    /// Reserves a range.
    ///
    /// # Errors
    /// If the system has no such range left.
    pub fn reserve(bytes: usize) -> io::Result<Self> {
        Mapping::new(bytes, libc::PROT_NONE).map(Self)
    }

    /// The first address.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.0.start as u64
    }

    /// The address behind the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        (self.0.start + self.0.bytes) as u64
    }
}

/// Memory of the host, in whole pages, filled with zeros.
#[derive(Debug)]
pub struct Pages(Mapping);

impl Pages {
    /// Maps at least so many bytes.
    ///
    /// # Errors
    /// If there is no such memory.
    pub fn map(bytes: usize) -> io::Result<Self> {
        Mapping::new(bytes, libc::PROT_READ | libc::PROT_WRITE).map(Self)
    }

    /// The first address.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.0.start as u64
    }

    /// The bytes, which are there as long as these pages are.
    #[must_use]
    pub fn bytes(&self) -> HostBytes {
        let start = with_exposed_provenance_mut(self.0.start);
        // SAFETY: the range is mapped for reading and writing. Who keeps the result longer than the pages
        // is told so above, and asks the owner of the pages first.
        unsafe { HostBytes::new(start, self.0.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    /// Set in the process that is to die.
    const TOUCH: &str = "EMULATOR_SUPPORT_TOUCH";

    #[test]
    fn a_host_that_follows_a_device_pointer_dies() {
        let space = Space::reserve(1 << 30).expect("addresses");
        if env::var_os(TOUCH).is_some() {
            let pointer = with_exposed_provenance_mut::<u8>(space.start() as usize + 64);
            // SAFETY: none: this process is started to be ended by the read.
            let byte = unsafe { pointer.read_volatile() };
            assert_eq!(byte, 0, "the range was readable");
            return;
        }
        let test = "addresses::tests::a_host_that_follows_a_device_pointer_dies";
        let mut child = Command::new(env::current_exe().expect("this program"));
        let died = child.args(["--exact", test]).env(TOUCH, "1").output();
        let died = died.expect("a process").status;
        let signal = died.signal().expect("ended by a signal");
        assert!([libc::SIGSEGV, libc::SIGBUS].contains(&signal), "{died}");
    }

    #[test]
    fn pages_are_read_and_written() {
        let pages = Pages::map(100).expect("memory");
        assert!(pages.bytes().read().iter().all(|byte| *byte == 0));
        pages.bytes().write(&[1, 2, 3]);
        assert_eq!(pages.bytes().read()[..4], [1, 2, 3, 0]);
    }
}
