//! A run of an emulator, for tests: one at a time, because a process has one.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::library::built_library;

/// Seeds that a property of schedules is tried with.
pub const SEEDS: std::ops::Range<u64> = 0..8;

/// How long a wait goes on that nothing queued can end, in milliseconds: in tests nobody else queues what would.
const DEADLOCK_MS: u64 = 20;

static TURN: Mutex<()> = Mutex::new(());

/// What an emulator exports beside the vendor's functions.
#[derive(Debug, Clone, Copy)]
pub struct Control<C> {
    /// Begins a run with a configuration: a text with a zero at its end.
    pub configure: unsafe extern "C" fn(*const c_char) -> C,
    /// Writes the report into a buffer of this capacity, as far as it fits; returns its bytes with the zero behind it.
    pub report: unsafe extern "C" fn(*mut c_char, usize) -> usize,
}

/// A vendor whose emulator is run.
///
/// # Safety
/// [`control`](Self::control) gives the emulator's own functions, which do what [`Control`] says.
pub unsafe trait Vendor {
    /// The emulator's shared library, by the name that Cargo has for it.
    const EMULATOR: &'static str;
    /// The vendor's functions.
    type Library;
    /// What they return, of which the default means success.
    type Code: Default + fmt::Debug + PartialEq;

    /// Loads the emulator.
    ///
    /// # Panics
    /// If it was not built.
    fn load(path: &Path) -> Self::Library;
    /// What the emulator exports beside the vendor's functions.
    fn control(library: &Self::Library) -> Control<Self::Code>;
}

/// A run of a vendor's emulator.
pub struct Run<V: Vendor> {
    library: Arc<V::Library>,
    _turn: MutexGuard<'static, ()>,
}

impl<V: Vendor> fmt::Debug for Run<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({})", V::EMULATOR)
    }
}

impl<V: Vendor> Run<V> {
    /// A run of this configuration.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn new(config: &Value) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let run = Self {
            library: Arc::new(V::load(&built_library(V::EMULATOR))),
            _turn: turn,
        };
        assert_eq!(run.configure(config), V::Code::default(), "{config}");
        run
    }

    /// A run in which nothing runs before somebody waits, with more of a configuration.
    ///
    /// # Panics
    /// If that is none.
    #[must_use]
    pub fn lazy(more: &Value) -> Self {
        let mut config = json!({"schedule": "lazy", "deadlock_ms": DEADLOCK_MS});
        let map = config.as_object_mut().expect("an object");
        map.extend(more.as_object().expect("an object").clone());
        Self::new(&config)
    }

    /// A run in which queues go on when somebody waits, in an order by this seed.
    #[must_use]
    pub fn random(seed: u64) -> Self {
        Self::new(&json!({"schedule": "random", "seed": seed, "deadlock_ms": DEADLOCK_MS}))
    }

    /// The vendor's functions, which any thread may open a device of.
    #[must_use]
    pub fn library(&self) -> Arc<V::Library> {
        Arc::clone(&self.library)
    }

    /// Begins anew with another configuration.
    ///
    /// # Panics
    /// If a text in it has a zero.
    pub fn configure(&self, config: &Value) -> V::Code {
        let text = CString::new(config.to_string()).expect("no zeros");
        let configure = V::control(&self.library).configure;
        // SAFETY: a text with a zero at its end.
        unsafe { configure(text.as_ptr()) }
    }

    /// What was found, what is left and what was called.
    ///
    /// # Panics
    /// If the emulator tells no JSON.
    #[must_use]
    pub fn report(&self) -> Value {
        let report = V::control(&self.library).report;
        let mut text = Vec::<u8>::new();
        loop {
            // SAFETY: a buffer of this length.
            let bytes = unsafe { report(text.as_mut_ptr().cast(), text.len()) };
            if bytes <= text.len() {
                break;
            }
            // Others may call meanwhile, so that the next report is longer.
            text.resize(bytes + 64, 0);
        }
        let text = CStr::from_bytes_until_nul(&text).expect("a zero");
        serde_json::from_slice(text.to_bytes()).expect("JSON")
    }

    /// How often a function was called.
    #[must_use]
    pub fn calls(&self, name: &str) -> u64 {
        self.report()["calls"][name].as_u64().unwrap_or(0)
    }

    /// The kinds of the violations.
    ///
    /// # Panics
    /// If the report is none.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let report = self.report();
        let violations = report["violations"].as_array().expect("a list");
        let kinds = violations
            .iter()
            .map(|one| one["kind"].as_str().expect("a kind").to_owned());
        kinds.collect()
    }

    /// Nothing was found, and nothing is left.
    ///
    /// # Panics
    /// If something was, or is.
    #[track_caller]
    pub fn clean(self) {
        let report = self.report();
        let found = (&report["violations"], &report["leaks"]);
        assert_eq!(found, (&json!([]), &json!([])));
    }
}
