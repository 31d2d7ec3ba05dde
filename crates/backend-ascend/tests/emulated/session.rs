//! A run of the emulator: one at a time, because a process has one.

use std::ffi::{CStr, CString};
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backend_ascend::AscendDriver;
use backend_ascend_sys::Ascend;
use backend_ascend_sys::abi::emulator::Emulator;
use deepseek_core::Result;
use emulator_support::built_library;
use serde_json::{Value, json};

static TURN: Mutex<()> = Mutex::new(());

/// Seeds that a property of schedules is tried with.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..8;

pub(crate) struct Session {
    ascend: Arc<Ascend>,
    _turn: MutexGuard<'static, ()>,
}

impl Session {
    /// A run of this configuration.
    pub(crate) fn new(config: &Value) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let ascend = Ascend::emulator(&built_library("ascend_emu")).expect("the built library");
        let session = Self {
            ascend: Arc::new(ascend),
            _turn: turn,
        };
        let text = CString::new(config.to_string()).expect("no zeros");
        // SAFETY: a text with a zero at its end.
        let code = unsafe { (session.emulator().ascendEmuConfigure)(text.as_ptr()) };
        assert_eq!(code, 0, "{config}");
        session
    }

    /// A run in which streams go on when somebody waits, in an order by this seed.
    pub(crate) fn random(seed: u64) -> Self {
        Self::new(&json!({"schedule": "random", "seed": seed, "deadlock_ms": 20}))
    }

    /// The interface, which any thread may open the device of.
    pub(crate) fn ascend(&self) -> Arc<Ascend> {
        Arc::clone(&self.ascend)
    }

    pub(crate) fn driver(&self) -> Result<AscendDriver> {
        AscendDriver::open(self.ascend(), 0)
    }

    fn emulator(&self) -> &Emulator {
        self.ascend.emulator.as_ref().expect("an emulator")
    }

    pub(crate) fn report(&self) -> Value {
        let report = self.emulator().ascendEmuReport;
        // SAFETY: no buffer is given, so only the length is told.
        let bytes = unsafe { report(null_mut(), 0) };
        // A call is counted before it is told, so that the next report may be longer.
        let mut text = vec![0_u8; bytes + 64];
        // SAFETY: a buffer of this length.
        unsafe { report(text.as_mut_ptr().cast(), text.len()) };
        let text = CStr::from_bytes_until_nul(&text).expect("a zero");
        serde_json::from_slice(text.to_bytes()).expect("JSON")
    }

    /// How often a function was called.
    pub(crate) fn calls(&self, name: &str) -> u64 {
        self.report()["calls"][name].as_u64().unwrap_or(0)
    }

    /// Nothing was found, and nothing is left.
    #[track_caller]
    pub(crate) fn clean(self) {
        let report = self.report();
        let found = (&report["violations"], &report["leaks"]);
        assert_eq!(found, (&json!([]), &json!([])));
    }
}
