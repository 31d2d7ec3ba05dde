//! What wakes the engine's thread.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Instant;

/// A bell that stays rung until it is heard, so that no ring is lost between looking and waiting.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    sound: Condvar,
}

impl Bell {
    /// Called after whatever the engine should look at has changed.
    pub(crate) fn ring(&self) {
        *self.lock() = true;
        self.sound.notify_one();
    }

    /// Returns when the bell has been rung since the last wait, or at the deadline.
    pub(crate) fn wait(&self, deadline: Option<Instant>) {
        let mut rung = self.lock();
        while !*rung {
            rung = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
            {
                None => self.sound.wait(rung).expect(UNPOISONED),
                Some(left) if left.is_zero() => return,
                Some(left) => self.sound.wait_timeout(rung, left).expect(UNPOISONED).0,
            };
        }
        *rung = false;
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().expect(UNPOISONED)
    }
}

const UNPOISONED: &str = "nothing panics while it holds the bell";
