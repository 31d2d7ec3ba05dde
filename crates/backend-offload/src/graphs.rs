//! Steps as graphs: captured once, replayed with what each brings to the device.
//!
//! All that a step brings is copied at once, into memory of the graph's own, and from there to its places by
//! operations that are captured with the rest. So nothing of a graph is the host's, and nothing is updated in it.

use std::sync::{Arc, Mutex, PoisonError};

use deepseek_core::{Error, Result};

use crate::driver::{Chip, Driver, Form};
use crate::limits::{BLOCK_BYTES_MIN, GRAPHS_MAX, REFUSALS_MAX};
use crate::offload::Captures;
use crate::op::Op;
use crate::staging::StagingPool;
use crate::steps::{Asked, Steps, Task, inputs};
use crate::verb::Declined;
use crate::view::{Address, View};
use crate::workspace::Workspace;

/// What callers are told of graphs.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Captures>);

impl Told {
    /// What there is to tell.
    pub(crate) fn captures(&self) -> Captures {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, note: impl FnOnce(&mut Captures)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn refused(&self, why: String) {
        self.note(|captures| {
            let refused = &mut captures.refused;
            if refused.len() < REFUSALS_MAX || refused.contains_key(&why) {
                *refused.entry(why).or_default() += 1;
            }
        });
    }
}

/// The graphs of a device, on its thread.
pub(crate) struct Graphs<D: Driver> {
    pub(crate) steps: Steps<Form<D>, Captured<D>>,
    /// Memory of the inlets of graphs that are gone: given back where something waits.
    spare: Vec<Address>,
    told: Arc<Told>,
}

/// A step that was captured.
pub(crate) struct Captured<D: Driver> {
    graph: D::Graph,
    /// Where what a step brings is copied to; nothing if it brings nothing.
    inlet: Option<Inlet>,
}

/// Memory that all copies of a step go to, one behind the other.
struct Inlet {
    at: Address,
    bytes: usize,
    /// Where each copy of the step leads to, and where its bytes lie before that.
    copies: Vec<(View, usize)>,
}

impl Inlet {
    /// What is moved to its place by the graph: from where, and where to.
    fn moves(&self) -> impl Iterator<Item = (View, View)> {
        self.copies.iter().map(|(to, place)| {
            let dims = [1, 1, to.count()];
            let from = View::new(self.at.plus(*place), to.dtype, dims);
            (from, to.shaped(dims))
        })
    }
}

impl<D: Driver> Captured<D> {
    /// Queues the step with what it brings this time.
    pub(crate) fn replay(
        &mut self,
        driver: &mut D,
        staging: &mut StagingPool<D>,
        asked: &[Asked<Form<D>>],
    ) -> Result<()> {
        if let Some(inlet) = &self.inlet {
            let mut all = vec![0; inlet.bytes];
            let copies = asked
                .iter()
                .filter(|asked| matches!(asked.task, Task::CopyIn(_)));
            for ((_, place), copy) in inlet.copies.iter().zip(copies) {
                all[*place..place + copy.bytes.len()].copy_from_slice(&copy.bytes);
            }
            staging.copy_in(driver, &all, inlet.at)?;
        }
        driver.replay(&mut self.graph)
    }
}

impl<D: Driver> Graphs<D> {
    /// None if the driver captures nothing, which is told.
    pub(crate) fn of(driver: &D, told: Arc<Told>) -> Option<Self> {
        if let Err(Declined(why)) = driver.captures() {
            told.refused(why);
            return None;
        }
        Some(Self {
            steps: Steps::default(),
            spare: Vec::new(),
            told,
        })
    }

    /// Captures a step that has just run as it was asked for, or tells why not.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn capture(
        &mut self,
        driver: &mut D,
        workspace: &mut Workspace,
        tasks: Vec<Task<Form<D>>>,
    ) -> Result<()> {
        let spare = std::mem::take(&mut self.spare);
        let freed = spare.into_iter().try_for_each(|at| driver.free(at));
        let captured = freed.and_then(|()| captured(driver, workspace, &tasks));
        match captured {
            Ok(captured) => {
                workspace.keep();
                if let Some(Captured { graph, inlet }) =
                    self.steps.keep(tasks, captured, GRAPHS_MAX)
                {
                    drop(graph);
                    self.spare.extend(inlet.map(|inlet| inlet.at));
                    self.told.note(|captures| captures.graphs -= 1);
                }
                self.told.note(|captures| captures.graphs += 1);
                Ok(())
            }
            Err(error) => {
                self.told.refused(error.to_string());
                self.steps.refuse(tasks);
                Err(error)
            }
        }
    }

    /// Keeps a step that was replayed, unless that failed: then it is asked for anew from now on.
    pub(crate) fn replayed(
        &mut self,
        tasks: Vec<Task<Form<D>>>,
        captured: Captured<D>,
        failed: Option<&Error>,
    ) {
        match failed {
            None => {
                self.told.note(|captures| captures.replays += 1);
                // It was taken out of those that there are.
                self.steps.keep(tasks, captured, GRAPHS_MAX);
            }
            Some(error) => {
                self.told.refused(error.to_string());
                self.told.note(|captures| captures.graphs -= 1);
                self.spare.extend(captured.inlet.map(|inlet| inlet.at));
                self.steps.refuse(tasks);
            }
        }
    }

    /// Forgets all graphs, none of which runs, and gives back what only they used.
    pub(crate) fn clear(&mut self, driver: &mut D, workspace: &mut Workspace) -> Result<()> {
        let captured = self.steps.clear();
        self.told.note(|captures| captures.graphs = 0);
        let mut inlets = std::mem::take(&mut self.spare);
        for Captured { graph, inlet } in captured {
            drop(graph);
            inlets.extend(inlet.map(|inlet| inlet.at));
        }
        workspace.release(driver)?;
        inlets.into_iter().try_for_each(|at| driver.free(at))
    }
}

/// A step as a graph.
fn captured<D: Driver>(
    driver: &mut D,
    workspace: &mut Workspace,
    tasks: &[Task<Form<D>>],
) -> Result<Captured<D>> {
    let (copies, bytes) = inputs(tasks, BLOCK_BYTES_MIN).map_err(|bytes| Error::Unsupported {
        device: driver.chip().name().to_owned(),
        what: format!("a graph of a step that brings {bytes} bytes to it"),
    })?;
    if copies.is_empty() {
        let graph = recorded(driver, workspace, tasks, None)?;
        return Ok(Captured { graph, inlet: None });
    }
    let at = driver.allocate(bytes)?;
    let inlet = Inlet { at, bytes, copies };
    let tried = rehearsed(driver, workspace, &inlet);
    match tried.and_then(|()| recorded(driver, workspace, tasks, Some(&inlet))) {
        Ok(graph) => Ok(Captured {
            graph,
            inlet: Some(inlet),
        }),
        Err(error) => {
            // If this fails as well, the first is what is told.
            let _ = driver.free(at);
            Err(error)
        }
    }
}

/// Runs the moves out of an inlet the other way, from where they lead to. The rest of the step has just run, so
/// after that there is the workspace that all of it asks for: a capture may not ask for more.
fn rehearsed<D: Driver>(driver: &mut D, workspace: &mut Workspace, inlet: &Inlet) -> Result<()> {
    for (part, place) in inlet.moves() {
        driver.run(&moved(place, part), workspace)?;
    }
    driver.synchronize()
}

/// Captures all of a step. What fails first is told.
fn recorded<D: Driver>(
    driver: &mut D,
    workspace: &mut Workspace,
    tasks: &[Task<Form<D>>],
    inlet: Option<&Inlet>,
) -> Result<D::Graph> {
    driver.begin_capture()?;
    let mut moves = inlet.into_iter().flat_map(Inlet::moves);
    let asked = tasks.iter().try_for_each(|task| match task {
        Task::Run(op) => driver.run(op, workspace),
        Task::RunVerb { verb, results } => driver.run_verb(verb, results, workspace),
        Task::CopyIn(_) => {
            let (from, to) = moves.next().expect("a move for each copy");
            driver.run(&moved(from, to), workspace)
        }
    });
    let graph = driver.end_capture();
    asked.and(graph)
}

fn moved<F>(from: View, out: View) -> Op<F> {
    Op::Slice {
        from,
        start: 0,
        out,
    }
}
