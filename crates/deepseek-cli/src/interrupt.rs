//! What signals do. Ctrl-C ends what is being done, at a place where that can be left in order; those
//! that end a program otherwise end this one at once, without half a file left behind.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard};

use deepseek_engine::Canceller;

use crate::fault::{Fault, Result};
use crate::output::{Output, OutputError, Place};

/// The number of the signal that Ctrl-C sends, everywhere.
const SIGINT: i32 = 2;

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
    /// Whether anybody has asked: before that, nobody would notice.
    polled: bool,
    answer: Option<Canceller>,
    /// The file that is not to be left behind.
    partial: Option<PathBuf>,
}

/// While it lives, half a file is removed by whatever ends the program.
#[derive(Debug)]
pub(crate) struct Litter<'a> {
    interrupt: &'a Interrupt,
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
        listen(move |signal| listener.raise(signal, second))
            .map_err(|error| Fault::machine(error).at("listening for signals"))?;
        Ok(interrupt)
    }

    fn raise(&self, signal: i32, second: Second) {
        let mut state = self.lock();
        match &state.answer {
            _ if signal != SIGINT => leave(&state, signal),
            Some(answer) if !state.raised || second == Second::WaitsForAnswer => answer.cancel(),
            None if !state.raised && state.polled => {}
            Some(_) | None => leave(&state, signal),
        }
        state.raised = true;
    }

    /// Opens what is to be written. Half of it is not left behind.
    pub(crate) fn open(&self, place: Place) -> Result<(Output, Litter<'_>), OutputError> {
        // From the beginning of a new file on; but a FIFO may wait for its reader, and must let go.
        let mut state = place.makes_file().then(|| self.lock());
        let output = place.open()?;
        if let Some(state) = &mut state {
            state.partial = output.partial().map(Path::to_owned);
        }
        Ok((output, Litter { interrupt: self }))
    }

    /// Writes a file at once.
    pub(crate) fn write(&self, place: Place, bytes: &[u8]) -> Result<(), OutputError> {
        let (mut output, _litter) = self.open(place)?;
        output.push(bytes)?;
        output.finish()
    }

    /// Whether Ctrl-C has been pressed, in the words of those who report progress.
    pub(crate) fn poll(&self) -> ControlFlow<()> {
        let mut state = self.lock();
        state.polled = true;
        if state.raised {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
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

impl Drop for Litter<'_> {
    fn drop(&mut self) {
        self.interrupt.lock().partial = None;
    }
}

/// Ends the program as a shell reports it: 128 and the number of the signal.
#[allow(
    clippy::exit,
    reason = "this thread cannot return from main, which may never come back"
)]
fn leave(state: &State, signal: i32) -> ! {
    if let Some(partial) = &state.partial {
        // It may have got to its place just now.
        let _ = std::fs::remove_file(partial);
    }
    process::exit(128 + signal)
}

/// Hands on the signals that end a program, but those that it was started to ignore (as `nohup` does).
/// Ctrl-C always counts.
#[cfg(unix)]
fn listen(mut raise: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGQUIT, SIGTERM};
    use signal_hook::iterator::Signals;

    let ignored = crate::stats::ignored_signals();
    let others = [SIGHUP, SIGQUIT, SIGTERM].into_iter();
    let others = others.filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let mut signals = Signals::new(others.chain([SIGINT]))?;
    let listener = std::thread::Builder::new().name("signals".to_owned());
    listener.spawn(move || signals.forever().for_each(&mut raise))?;
    Ok(())
}

/// Hands on Ctrl-C.
#[cfg(not(unix))]
fn listen(mut raise: impl FnMut(i32) + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(move || raise(SIGINT)).map_err(io::Error::other)
}

/// Makes a file that may not grow any further (`ulimit -f`) an error of who writes it, as a full disk
/// is, and not the end of the program.
#[cfg(unix)]
pub(crate) fn outlive_file_limit() -> io::Result<()> {
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map(drop)
}
