//! Memory that runs out ends the program in a sentence.
//!
//! What is large is asked for so that a refusal is an error like any other (`memory.rs`). For what is
//! small there is nobody to answer to: the standard library then ends the process with a signal.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Write};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The system's allocator, which here does not return without memory.
struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

/// Whether memory is asked for only to learn whether there is some.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether the system would give so many bytes more. To be asked before there are other threads.
pub(crate) fn would_give(bytes: u64) -> bool {
    let Ok(bytes) = usize::try_from(bytes) else {
        return false;
    };
    ASKING.store(true, Ordering::Relaxed);
    let given = Vec::<u8>::new().try_reserve_exact(bytes).is_ok();
    ASKING.store(false, Ordering::Relaxed);
    given
}

// SAFETY: every call goes to the system's allocator as it came, and what that returns is returned;
// where it returns nothing, either that is returned, which the caller must expect, or the process ends.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        some(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        some(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        some(unsafe { System.realloc(old, layout, size) }, size)
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) }
    }
}

fn some(memory: *mut u8, bytes: usize) -> *mut u8 {
    if memory.is_null() && !ASKING.load(Ordering::Relaxed) {
        leave(bytes);
    }
    memory
}

/// Says so, without asking for memory, and ends the process. The first thread that gets here does it.
#[cold]
#[allow(clippy::exit, reason = "whoever asked for memory cannot go on without")]
#[allow(
    clippy::disallowed_methods,
    reason = "a screen asks for memory, and these words are safe"
)]
fn leave(bytes: usize) -> ! {
    static LEAVING: AtomicBool = AtomicBool::new(false);

    if LEAVING.swap(true, Ordering::Relaxed) {
        loop {
            thread::yield_now();
        }
    }
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "error: out of memory: {bytes} bytes more are not given\nhint: {}",
        crate::memory::HINT
    );
    process::exit(1)
}
