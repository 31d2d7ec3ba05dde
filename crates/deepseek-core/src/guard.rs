//! Readers of outside bytes that are others' work, and panic on some of them.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    /// Whether this thread is within [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// A reader panicked: a fault of its own, or of the bytes. It must not be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its decoder broke down over it")]
pub struct Panicked;

/// Runs a reader, whose panic becomes an error.
///
/// # Errors
/// [`Panicked`], if it did.
pub fn guarded<T>(read: impl FnOnce() -> T) -> Result<T, Panicked> {
    let outer = GUARDED.replace(true);
    let read = panic::catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(outer);
    read.map_err(|_| Panicked)
}

/// From now on panics within [`guarded`] print nothing; others are printed as before. The hook that
/// does it is the whole process's, so it is for a program to set, once, and for no library.
pub fn silence_guarded() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !GUARDED.get() {
            print(panic);
        }
    }));
}
