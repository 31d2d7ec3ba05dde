//! Arguments of C as values.
//!
//! A pointer becomes a value that keeps its caller's promise: null, or what the vendor's documentation asks of this
//! argument. Its methods do one thing within that promise.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::ptr::with_exposed_provenance_mut;

use crate::failure::{Failure, Outcome};
use crate::handles::Handle;
use crate::host::HostBytes;

/// A place for a result, or a list that is read.
#[derive(Debug, Clone, Copy)]
pub struct Place<T>(*mut T);

impl<T: Copy> Place<T> {
    /// Takes a pointer.
    ///
    /// # Safety
    /// It is null, a place for a result of this type, or the first of the list that it is read as, as long as the result
    /// is used.
    #[must_use]
    pub unsafe fn new(pointer: *mut T) -> Self {
        Self(pointer)
    }

    /// Whether it is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The place, if it is one.
    ///
    /// # Errors
    /// With `code`, if it is null.
    pub fn some(self, code: i32) -> Outcome<Self> {
        if self.is_null() {
            return Err(Failure::new(code, "a place for a result is null"));
        }
        Ok(self)
    }

    /// Writes a result.
    ///
    /// # Panics
    /// If the place is null.
    pub fn put(&self, value: T) {
        assert!(!self.is_null(), "a place that was looked at");
        // SAFETY: the caller gave the place for one result of this type.
        unsafe { self.0.write_unaligned(value) };
    }

    /// Writes results one behind the other.
    ///
    /// # Panics
    /// If the place is null.
    pub fn put_all(&self, values: &[T]) {
        for (index, value) in values.iter().enumerate() {
            assert!(!self.is_null(), "a place that was looked at");
            // SAFETY: the caller gave places for so many results.
            let place = unsafe { self.0.add(index) };
            // SAFETY: the same.
            unsafe { place.write_unaligned(*value) };
        }
    }

    /// The first `count` of a list; nothing if it is null though it has members.
    #[must_use]
    pub fn list(&self, count: u64) -> Option<Vec<T>> {
        if self.is_null() {
            return (count == 0).then(Vec::new);
        }
        let items = (0..count as usize).map(|index| {
            // SAFETY: the caller gave a list of so many.
            let item = unsafe { self.0.add(index) };
            // SAFETY: the same.
            unsafe { item.read_unaligned() }
        });
        Some(items.collect())
    }
}

/// A handle, or an address of the host or of a device.
#[derive(Debug, Clone, Copy)]
pub struct Pointer(usize);

impl Pointer {
    /// Takes a pointer.
    ///
    /// # Safety
    /// It is null, a handle, an address of a device, or bytes of the host that are there as long as the result is used.
    #[must_use]
    pub unsafe fn new(pointer: *mut c_void) -> Self {
        Self(pointer.expose_provenance())
    }

    /// As a number.
    #[must_use]
    pub fn address(self) -> u64 {
        self.0 as u64
    }

    /// As a handle.
    #[must_use]
    pub fn handle(self) -> Handle {
        Handle(self.0 as u64)
    }

    /// Bytes of the host that begin here.
    #[must_use]
    pub fn bytes(self, count: usize) -> HostBytes {
        let start = with_exposed_provenance_mut(self.0);
        // SAFETY: the caller named these bytes; for work that is queued they stay until it is done.
        unsafe { HostBytes::new(start, count) }
    }
}

/// A text that ends with a zero, or a buffer for one.
#[derive(Debug, Clone, Copy)]
pub struct Text(*mut c_char);

impl Text {
    /// Takes a pointer.
    ///
    /// # Safety
    /// It is null, a text that ends with a zero, or a buffer of the capacity that it is written with, as long as the
    /// result is used.
    #[must_use]
    pub unsafe fn new(pointer: *mut c_char) -> Self {
        Self(pointer)
    }

    /// The text; nothing if it is null or no UTF-8.
    #[must_use]
    pub fn read(&self) -> Option<String> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: the caller gave a text that ends with a zero.
        let text = unsafe { CStr::from_ptr(self.0) };
        text.to_str().ok().map(str::to_owned)
    }

    /// Writes as much of a text as fits into a buffer, and a zero behind it. Nothing if it is null.
    pub fn write(&self, text: &str, capacity: usize) {
        if self.0.is_null() || capacity == 0 {
            return;
        }
        let mut bytes = text.as_bytes()[..text.len().min(capacity - 1)].to_vec();
        bytes.push(0);
        // SAFETY: the caller gave a buffer of this capacity.
        let buffer = unsafe { HostBytes::new(self.0.cast(), capacity) };
        buffer.write(&bytes);
    }
}

/// A function of the host with its argument.
#[derive(Debug)]
pub struct HostFunction {
    function: unsafe extern "C" fn(*mut c_void),
    argument: Pointer,
}

impl HostFunction {
    /// A function that may be called with this argument on any thread.
    #[must_use]
    pub fn new(function: unsafe extern "C" fn(*mut c_void), argument: Pointer) -> Self {
        Self { function, argument }
    }

    /// Calls it.
    pub fn call(&self) {
        let argument = with_exposed_provenance_mut(self.argument.0);
        // SAFETY: the caller gave the function to be called with this argument.
        unsafe { (self.function)(argument) };
    }
}
