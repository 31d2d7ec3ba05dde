//! What functions of a C interface return.

use std::ffi::c_char;
use std::ptr::{null, null_mut};

use crate::handles::Handle;

/// What a function returns: a code, of which 0 means success, or a value, of which nothing means none.
pub trait Reply {
    /// What it is made of.
    type Value;

    /// Of a call that succeeds.
    fn of(value: Self::Value) -> Self;
    /// Of a call that fails with a code.
    fn refused(code: i32) -> Self;
}

impl Reply for i32 {
    type Value = ();

    fn of((): ()) -> Self {
        0
    }

    fn refused(code: i32) -> Self {
        code
    }
}

impl Reply for u32 {
    type Value = ();

    fn of((): ()) -> Self {
        0
    }

    fn refused(code: i32) -> Self {
        code as Self
    }
}

impl Reply for () {
    type Value = ();

    fn of((): ()) {}

    fn refused(_code: i32) {}
}

impl Reply for usize {
    type Value = Self;

    fn of(value: Self) -> Self {
        value
    }

    fn refused(_code: i32) -> Self {
        0
    }
}

impl Reply for *const c_char {
    type Value = Self;

    fn of(value: Self) -> Self {
        value
    }

    fn refused(_code: i32) -> Self {
        null()
    }
}

impl<T> Reply for *mut T {
    type Value = Handle;

    fn of(handle: Handle) -> Self {
        handle.pointer()
    }

    fn refused(_code: i32) -> Self {
        null_mut()
    }
}
