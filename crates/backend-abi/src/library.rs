//! One opened library: the calls into the system's loader.
//!
//! A library stays open until the process ends. Those of vendors start threads and register handlers for
//! the end, and pointers of the tables lead into them.

use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::attempt::Attempt;

/// When what a library needs of others is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// When it is called: a vendor's library may lack what it never calls.
    Lazy,
    /// When the library is opened, which fails where something lacks.
    Now,
}

/// An opened library.
#[derive(Debug)]
pub struct Library {
    path: PathBuf,
    handle: system::Handle,
}

impl Library {
    /// Opens the file at `path`; a bare name is looked for where the system's loader does.
    ///
    /// # Errors
    /// What the loader said.
    pub fn open(path: &Path, binding: Binding) -> Result<Self, String> {
        let handle = system::Handle::open(path, binding)?;
        let path = path.to_path_buf();
        Ok(Self { path, handle })
    }

    /// The same; what cannot be opened joins what was tried.
    pub fn try_open(path: &Path, binding: Binding, tried: &mut Vec<Attempt>) -> Option<Self> {
        match Self::open(path, binding) {
            Ok(library) => Some(library),
            Err(why) => {
                let path = path.to_path_buf();
                tried.push(Attempt { path, why });
                None
            }
        }
    }

    /// The file, as it was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a symbol lies, in this library or in one that it needs.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<NonNull<c_void>> {
        self.handle.address(name)
    }

    /// Where a symbol lies in this library itself.
    ///
    /// The loader also answers with what a library needs, and there the same name may stand for another
    /// function: packages of custom operators need those of CANN, and give new signatures to old names.
    #[must_use]
    pub fn own_address(&self, name: &str) -> Option<NonNull<c_void>> {
        let address = self.address(name)?;
        self.handle.holds(address).then_some(address)
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod system {
    use std::error::Error;
    use std::ffi::{c_char, c_int, c_void};
    use std::path::Path;
    use std::ptr::{NonNull, null, null_mut};

    use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL, RTLD_NOW};

    use super::Binding;

    /// A library, as the loader knows it, and where it begins, if that is known.
    #[derive(Debug)]
    pub(super) struct Handle {
        library: std::mem::ManuallyDrop<Library>,
        base: Option<usize>,
    }

    /// `Dl_info` of dlfcn.h.
    #[repr(C)]
    struct Place {
        file: *const c_char,
        base: *mut c_void,
        symbol: *const c_char,
        address: *mut c_void,
    }

    /// How `struct link_map` of link.h begins.
    #[repr(C)]
    struct LinkMap {
        offset: usize,
        name: *const c_char,
        dynamic: *mut c_void,
    }

    /// Asks `dlinfo` for the link map.
    const RTLD_DI_LINKMAP: c_int = 2;

    unsafe extern "C" {
        fn dladdr(address: *const c_void, place: *mut Place) -> c_int;
        fn dlinfo(handle: *mut c_void, request: c_int, answer: *mut c_void) -> c_int;
    }

    impl Handle {
        /// Locally, so that no name of one library means a function of another.
        pub(super) fn open(path: &Path, binding: Binding) -> Result<Self, String> {
            let binding = match binding {
                Binding::Lazy => RTLD_LAZY,
                Binding::Now => RTLD_NOW,
            };
            // SAFETY: what the library runs when it is opened is its vendor's; the caller names it or
            // finds it where the vendor installs it.
            let library = unsafe { Library::open(Some(path), binding | RTLD_LOCAL) };
            let library = library.map_err(|error| reason(&error))?;
            let raw = library.into_raw();
            let base = base_of_library(raw);
            // SAFETY: the handle was taken out of such a library a moment ago.
            let library = std::mem::ManuallyDrop::new(unsafe { Library::from_raw(raw) });
            Ok(Self { library, base })
        }

        pub(super) fn address(&self, name: &str) -> Option<NonNull<c_void>> {
            // SAFETY: the symbol is taken as an address, which every symbol is.
            let symbol = unsafe { self.library.get::<*mut c_void>(name) };
            NonNull::new(symbol.ok()?.as_raw_ptr())
        }

        /// Whether an address lies in this library.
        pub(super) fn holds(&self, address: NonNull<c_void>) -> bool {
            self.base.is_some() && base_of_address(address.as_ptr()) == self.base
        }
    }

    /// Where the library that holds an address begins.
    fn base_of_address(address: *const c_void) -> Option<usize> {
        let mut place = Place {
            file: null(),
            base: null_mut(),
            symbol: null(),
            address: null_mut(),
        };
        // SAFETY: any address may be asked about, and `place` is of the type that is filled.
        let is_known = unsafe { dladdr(address, &raw mut place) };
        (is_known != 0).then_some(place.base.addr())
    }

    /// Where a library begins: its dynamic section lies in it.
    fn base_of_library(handle: *mut c_void) -> Option<usize> {
        let mut map: *const LinkMap = null();
        // SAFETY: the handle is of an open library, and this request fills a pointer to its link map.
        let failed = unsafe { dlinfo(handle, RTLD_DI_LINKMAP, (&raw mut map).cast()) };
        if failed != 0 || map.is_null() {
            return None;
        }
        // SAFETY: the loader keeps the map of a library while that is open, and it begins like this.
        let dynamic = unsafe { (*map).dynamic };
        base_of_address(dynamic)
    }

    /// The loader's own words.
    fn reason(error: &libloading::Error) -> String {
        match error.source() {
            Some(words) => words.to_string(),
            None => error.to_string(),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::c_void;
    use std::path::Path;
    use std::ptr::NonNull;

    use super::Binding;

    /// There is no such library: the vendors' are for Linux.
    #[derive(Debug)]
    pub(super) enum Handle {}

    impl Handle {
        pub(super) fn open(_path: &Path, _binding: Binding) -> Result<Self, String> {
            Err(format!(
                "vendors' libraries run on Linux, this is {}",
                std::env::consts::OS
            ))
        }

        pub(super) fn address(&self, _name: &str) -> Option<NonNull<c_void>> {
            match *self {}
        }

        pub(super) fn holds(&self, _address: NonNull<c_void>) -> bool {
            match *self {}
        }
    }
}
