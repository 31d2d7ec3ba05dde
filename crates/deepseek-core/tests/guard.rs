//! Readers that panic: what their caller sees, and what is printed. One test, as the hook that prints
//! is the whole process's.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};

use deepseek_core::guard::{Panicked, guarded, silence_guarded};

static PRINTED: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_guarded_panic_is_an_error_and_prints_nothing() {
    panic::set_hook(Box::new(|_| {
        PRINTED.fetch_add(1, Ordering::Relaxed);
    }));
    silence_guarded();
    let broken = || guarded(|| -> u8 { panic!("on purpose") });
    assert_eq!(guarded(|| 7), Ok(7));
    assert_eq!(broken(), Err(Panicked));
    assert_eq!(guarded(broken), Ok(Err(Panicked)));
    // Still guarded after another guard within it has ended.
    let outer = guarded(|| {
        assert_eq!(broken(), Err(Panicked));
        panic!("on purpose")
    });
    assert_eq!(outer, Err::<(), _>(Panicked));
    assert_eq!(PRINTED.load(Ordering::Relaxed), 0);
    assert!(panic::catch_unwind(|| panic!("on purpose")).is_err());
    assert_eq!(PRINTED.load(Ordering::Relaxed), 1);
}
