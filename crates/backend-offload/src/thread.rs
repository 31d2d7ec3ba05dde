//! The thread that a device belongs to.
//!
//! Vendors bind a device to the thread that opened it, keep the text of the last error by thread, and
//! want handles and captures used where they were made. So one thread makes all calls of a device, and
//! everybody else sends it commands over a bounded channel: their order is the order of the queue, nobody
//! waits but for an answer, and a driver needs no lock.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use deepseek_core::{Error, Result, Share};

use crate::driver::{Chip, Driver, Form};
use crate::graphs::{Graphs, Told};
use crate::limits::COMMANDS_MAX;
use crate::staging::StagingPool;
use crate::steps::{Asked, Task};
use crate::view::{Address, View};
use crate::workspace::Workspace;

/// Where an answer goes.
pub(crate) type Reply<T> = SyncSender<Result<T>>;

/// What the thread is told.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all that is told is of the large one"
)]
#[derive(Debug)]
pub(crate) enum Command<F> {
    /// Operations, and copies to the device.
    Ask(Asked<F>),
    /// Copies to the device, and tells when the bytes have left the host.
    Load {
        bytes: Vec<u8>,
        to: Address,
        reply: Reply<()>,
    },
    /// Copies from the device, after all that was queued before.
    CopyOut {
        from: Vec<View>,
        reply: Reply<Vec<Vec<u8>>>,
    },
    Allocate {
        bytes: usize,
        reply: Reply<Address>,
    },
    Free {
        at: Vec<Address>,
        reply: Reply<()>,
    },
    Synchronize {
        reply: Reply<()>,
    },
    End,
}

/// A running thread with its device.
#[derive(Debug)]
pub(crate) struct DeviceThread<F> {
    name: String,
    commands: SyncSender<Command<F>>,
    handle: Option<JoinHandle<()>>,
}

impl<F: PartialEq + Send + Sync + 'static> DeviceThread<F> {
    /// Starts a thread and opens a device on it. If there is somebody to tell, steps that come again are
    /// replayed as graphs.
    pub(crate) fn start<D>(
        told: Option<Arc<Told>>,
        open: impl FnOnce() -> Result<D> + Send + 'static,
    ) -> Result<(Self, Arc<D::Chip>, Share)>
    where
        D: Driver,
        D::Chip: Chip<Form = F>,
    {
        let (commands, queue) = sync_channel(COMMANDS_MAX);
        let (reply, opened) = sync_channel(1);
        let serve = move || match open() {
            Ok(driver) => {
                let chip = driver.chip();
                let name = chip.name().to_owned();
                answer(&reply, Ok((chip, driver.share())));
                Worker::new(driver, name, told).serve(&queue);
            }
            Err(error) => answer(&reply, Err(error)),
        };
        let no_thread = |error: std::io::Error| Error::NoThreads {
            device: "device".to_owned(),
            count: 1,
            why: error.to_string(),
        };
        let thread = thread::Builder::new().name("device".to_owned());
        let handle = thread.spawn(serve).map_err(no_thread)?;
        let opened = opened.recv();
        let (chip, share) = opened.unwrap_or_else(|_| Err(ended("device")))?;
        let started = Self {
            name: chip.name().to_owned(),
            commands,
            handle: Some(handle),
        };
        Ok((started, chip, share))
    }

    /// Queues a command, and waits where too many are queued.
    pub(crate) fn send(&self, command: Command<F>) -> Result<()> {
        let sent = self.commands.send(command);
        sent.map_err(|_| ended(&self.name))
    }

    /// Queues a command, and waits for its answer.
    pub(crate) fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command<F>) -> Result<T> {
        let (reply, answer) = sync_channel(1);
        self.send(command(reply))?;
        answer.recv().unwrap_or_else(|_| Err(ended(&self.name)))
    }

    /// The channel, for who sends without holding the thread.
    pub(crate) fn commands(&self) -> SyncSender<Command<F>> {
        self.commands.clone()
    }
}

impl<F> Drop for DeviceThread<F> {
    fn drop(&mut self) {
        // A thread that is gone hears nothing, and has told of its panic itself.
        let _ = self.commands.send(Command::End);
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn ended(name: &str) -> Error {
    Error::Lost {
        device: name.to_owned(),
        why: "its thread has ended".to_owned(),
    }
}

/// Whoever asked may have gone: then nobody hears.
fn answer<T>(reply: &Reply<T>, result: Result<T>) {
    let _ = reply.send(result);
}

/// A device on its own thread.
struct Worker<D: Driver> {
    driver: D,
    name: String,
    workspace: Workspace,
    staging: StagingPool<D>,
    graphs: Option<Graphs<D>>,
    allocations: BTreeSet<Address>,
    /// What failed since the last call that waits. Until that call nothing more is queued, because it may
    /// need what was not made.
    failed: Option<Error>,
    /// Why the device is gone.
    lost: Option<String>,
}

impl<D: Driver> Worker<D> {
    fn new(driver: D, name: String, told: Option<Arc<Told>>) -> Self {
        let graphs = told.and_then(|told| Graphs::of(&driver, told));
        Self {
            driver,
            name,
            workspace: Workspace::default(),
            staging: StagingPool::new(),
            graphs,
            allocations: BTreeSet::new(),
            failed: None,
            lost: None,
        }
    }

    fn serve(mut self, queue: &Receiver<Command<Form<D>>>) {
        while let Ok(command) = queue.recv() {
            match command {
                Command::End => break,
                command => self.handle(command),
            }
        }
        self.close();
    }

    fn handle(&mut self, command: Command<Form<D>>) {
        match command {
            Command::Ask(asked) => self.ask(asked),
            Command::Load { bytes, to, reply } => {
                self.settle();
                self.queue(|own| own.staging.copy_in(&mut own.driver, &bytes, to));
                self.wait(&reply, |_| Ok(()));
            }
            Command::CopyOut { from, reply } => {
                self.wait(&reply, |own| own.staging.copy_out(&mut own.driver, &from));
            }
            Command::Allocate { bytes, reply } => answer(&reply, self.allocate(bytes)),
            Command::Free { at, reply } => self.wait(&reply, |own| own.free(&at)),
            Command::Synchronize { reply } => self.wait(&reply, |own| own.driver.synchronize()),
            Command::End => {}
        }
    }

    /// Queues what is asked for, unless it may become a step that is replayed.
    fn ask(&mut self, asked: Asked<Form<D>>) {
        if self.failed.is_some() || self.lost.is_some() {
            return;
        }
        let Some(graphs) = &mut self.graphs else {
            return self.pass(asked);
        };
        let Some(asked) = graphs.steps.hold(asked) else {
            return;
        };
        for held in graphs.steps.release() {
            self.pass(held);
        }
        self.pass(asked);
    }

    /// Queues one operation or copy.
    fn pass(&mut self, Asked { task, bytes }: Asked<Form<D>>) {
        self.queue(|own| match &task {
            Task::Run(op) => own.driver.run(op, &mut own.workspace),
            Task::RunVerb { verb, results } => {
                own.driver.run_verb(verb, results, &mut own.workspace)
            }
            Task::CopyIn(to) => own.staging.copy_in(&mut own.driver, &bytes, to.at),
        });
        if let Some(graphs) = &mut self.graphs {
            graphs.steps.note(task);
        }
    }

    /// Queues what is held: as one, if it is a known step.
    fn settle(&mut self) {
        let Some(graphs) = &mut self.graphs else {
            return;
        };
        let whole = graphs.steps.take_whole();
        let held = graphs.steps.release();
        let Some((tasks, mut captured)) = whole else {
            return held.into_iter().for_each(|asked| self.pass(asked));
        };
        self.queue(|own| captured.replay(&mut own.driver, &mut own.staging, &held));
        if let Some(graphs) = &mut self.graphs {
            graphs.replayed(tasks, captured, self.failed.as_ref());
        }
    }

    /// Queues work, unless some before it failed.
    fn queue(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        if self.failed.is_none() && self.lost.is_none() {
            self.failed = work(self).err();
            self.note_loss();
        }
    }

    /// Waits, answers, and begins the next step.
    fn wait<T>(&mut self, reply: &Reply<T>, work: impl FnOnce(&mut Self) -> Result<T>) {
        self.settle();
        let result = self.waited(work);
        let went_well = result.is_ok();
        answer(reply, result);
        // What was asked for is done: nobody waits for a capture.
        if let Some(graphs) = &mut self.graphs
            && let Some(tasks) = graphs.steps.next(went_well)
        {
            self.capture(tasks);
        }
    }

    /// Waits, and tells what failed since the last time.
    fn waited<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let result = match self.failed.take() {
            None if self.lost.is_none() => work(self),
            None => Err(self.gone()),
            Some(first) => {
                // What was queued before it must not run into what comes next. If it fails as well, the
                // first is what is told.
                let _ = self.driver.synchronize();
                Err(first)
            }
        };
        result.map_err(|error| {
            self.failed = Some(error);
            self.note_loss();
            self.failed.take().unwrap_or_else(|| self.gone())
        })
    }

    /// Captures a step that came again. Where that fails it is asked for anew each time, which is told.
    fn capture(&mut self, tasks: Vec<Task<Form<D>>>) {
        let Some(graphs) = &mut self.graphs else {
            return;
        };
        let made = graphs.capture(&mut self.driver, &mut self.workspace, tasks);
        // Failures of what nobody asked for are told by what is asked for next, if they are for good.
        if let Err(Error::Lost { why, .. }) = made {
            self.lost = Some(why);
        }
    }

    /// Remembers a failure that is for good.
    fn note_loss(&mut self) {
        if let Some(Error::Lost { why, .. }) = &self.failed {
            self.lost = Some(why.clone());
            self.failed = None;
        }
    }

    fn gone(&self) -> Error {
        Error::Lost {
            device: self.name.clone(),
            why: self.lost.clone().unwrap_or_default(),
        }
    }

    /// Memory is needed now or not at all, so what failed before is not told here.
    fn allocate(&mut self, bytes: usize) -> Result<Address> {
        if self.lost.is_some() {
            return Err(self.gone());
        }
        let at = self.driver.allocate(bytes)?;
        self.allocations.insert(at);
        Ok(at)
    }

    /// Gives memory back, and the graphs before it, which may use it.
    fn free(&mut self, at: &[Address]) -> Result<()> {
        self.driver.synchronize()?;
        if let Some(graphs) = &mut self.graphs {
            graphs.clear(&mut self.driver, &mut self.workspace)?;
        }
        for at in at {
            self.allocations.remove(at);
            self.driver.free(*at)?;
        }
        Ok(())
    }

    /// Gives everything back. A device that fails at that has told of it, or nobody waits for it.
    fn close(mut self) {
        let _ = self.staging.land_all(&mut self.driver);
        let all: Vec<_> = self.allocations.iter().copied().collect();
        let _ = self.free(&all);
        let _ = self.workspace.clear(&mut self.driver);
    }
}
