//! A rank on a thread of its own.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use deepseek_core::Rendezvous;
use deepseek_model::{Decoder, Error, Result};

use crate::command::{Answer, Command};

/// A rank that is told what the first one does.
#[derive(Debug)]
pub(crate) struct Follower {
    rank: usize,
    /// None once it is to end.
    commands: Option<SyncSender<Command>>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
}

/// What a rank says of a call.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It made the call, or could not.
    Ran(Result<Answer>),
    /// It is gone, and why.
    Gone(String),
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Core`] if the system gives none.
    pub(crate) fn start<D: Decoder + 'static>(
        rank: usize,
        mut decoder: D,
        rendezvous: Arc<dyn Rendezvous>,
    ) -> Result<Self> {
        // One call at a time is on its way, there and back.
        let (commands, calls) = sync_channel::<Command>(1);
        let (reply, replies) = sync_channel(1);
        let serve = move || {
            for command in calls {
                let run = AssertUnwindSafe(|| command.run(&mut decoder));
                let ran = match catch_unwind(run) {
                    Ok(ran) => ran,
                    // What a panic left behind is not to be called again.
                    Err(panic) => {
                        let why = text_of(&*panic);
                        rendezvous.fail(rank, &why);
                        let _ = reply.send(Reply::Gone(why));
                        break;
                    }
                };
                if let Err(error) = &ran {
                    rendezvous.fail(rank, &told(error));
                }
                if reply.send(Reply::Ran(ran)).is_err() {
                    break;
                }
            }
        };
        let thread = thread::Builder::new().name(format!("rank {rank}"));
        let thread = thread.spawn(serve).map_err(|error| {
            Error::from(deepseek_core::Error::NoThreads {
                device: format!("rank {rank}"),
                count: 1,
                why: error.to_string(),
            })
        })?;
        Ok(Self {
            rank,
            commands: Some(commands),
            replies,
            thread: Some(thread),
        })
    }

    /// Which rank it is.
    pub(crate) fn rank(&self) -> usize {
        self.rank
    }

    /// Tells it what to do. One that is gone hears nothing, and says so when it is waited for.
    pub(crate) fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    /// Waits for what it says.
    pub(crate) fn reply(&self) -> Reply {
        let gone = |_| Reply::Gone("its thread has ended".to_owned());
        self.replies.recv().unwrap_or_else(gone)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The error of a rank that cannot go on.
pub(crate) fn failed(rank: usize, why: String) -> Error {
    deepseek_core::Error::Rank { rank, why }.into()
}

/// What a panic says.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panicked: {}", text.unwrap_or_default())
}

/// An error with what it comes of, in a line.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
