//! Where the symbols of a table lie, taken as functions.

use std::ffi::c_void;
use std::ptr::NonNull;

/// Where the symbols of one table lie, in its order. Those of required functions are there.
#[derive(Debug)]
pub struct Addresses(std::vec::IntoIter<Option<NonNull<c_void>>>);

impl Addresses {
    /// The addresses of a table's symbols. Whoever makes them has seen that the required ones are there.
    #[must_use]
    pub fn new(addresses: Vec<Option<NonNull<c_void>>>) -> Self {
        Self(addresses.into_iter())
    }

    /// The next address as a function.
    ///
    /// # Safety
    /// The function that lies there, if any, has the type `F`.
    ///
    /// # Panics
    /// If all addresses were taken.
    #[allow(unsafe_code)]
    pub unsafe fn optional<F: Copy>(&mut self) -> Option<F> {
        const { assert!(size_of::<F>() == size_of::<NonNull<c_void>>()) };
        let address = self.0.next().expect("an address for each symbol")?;
        // SAFETY: both are one pointer wide, and the caller says that a function of this type lies there.
        Some(unsafe { std::mem::transmute_copy::<NonNull<c_void>, F>(&address) })
    }

    /// The next address as a function that is there.
    ///
    /// # Safety
    /// The function that lies there has the type `F`.
    ///
    /// # Panics
    /// If none does, or all addresses were taken.
    #[allow(unsafe_code)]
    pub unsafe fn required<F: Copy>(&mut self) -> F {
        // SAFETY: the caller's promise.
        let function = unsafe { self.optional() };
        function.expect("required functions are there, or there is no table")
    }
}
