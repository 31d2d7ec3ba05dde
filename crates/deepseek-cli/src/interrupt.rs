//! What Ctrl-C does: it ends what is being done, at a place where that can be left in order.

use std::ops::ControlFlow;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard};

use deepseek_engine::Canceller;

use crate::fault::{Fault, Result};

/// What a second Ctrl-C does while the first is still taking effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    /// Ends the program on the spot.
    Leaves,
    /// Nothing while an answer is being stopped; else as above.
    WaitsForAnswer,
}

/// Listens for Ctrl-C.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    raised: bool,
    answer: Option<Canceller>,
}

/// While it lives, Ctrl-C stops one answer.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    interrupt: &'a Interrupt,
}

impl Interrupt {
    /// Listens from now on. To be called once.
    pub(crate) fn listen(second: Second) -> Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let interrupt = Self { state };
        let listener = interrupt.clone();
        ctrlc::set_handler(move || listener.raise(second))
            .map_err(|error| Fault::machine(error).at("listening for Ctrl-C"))?;
        Ok(interrupt)
    }

    fn raise(&self, second: Second) {
        let mut state = self.lock();
        match &state.answer {
            Some(answer) if !state.raised || second == Second::WaitsForAnswer => answer.cancel(),
            None if !state.raised => {}
            Some(_) | None => leave(),
        }
        state.raised = true;
    }

    /// Whether Ctrl-C has been pressed, in the words of those who report progress.
    pub(crate) fn poll(&self) -> ControlFlow<()> {
        match self.lock().raised {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Forgets that Ctrl-C has been pressed.
    pub(crate) fn lower(&self) {
        self.lock().raised = false;
    }

    /// Lets Ctrl-C stop an answer. If it has been pressed already, that stops it too.
    pub(crate) fn watch(&self, answer: Canceller) -> Watch<'_> {
        let mut state = self.lock();
        if state.raised {
            answer.cancel();
        }
        state.answer = Some(answer);
        Watch { interrupt: self }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the state")
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.interrupt.lock().answer = None;
    }
}

#[allow(
    clippy::exit,
    reason = "this thread cannot return from main, and the user has asked twice"
)]
fn leave() -> ! {
    process::exit(130)
}
