//! Steps that are asked for again: how they are known, without anybody having to say so.
//!
//! A step is what is asked for between two calls that wait. It comes again where the same operations are asked
//! for at the same addresses in the same order, whatever numbers are copied to the device; the steps of a text
//! do, because shapes change rarely and the lowest address goes first. So nothing has to be invalidated: what
//! differs in anything is not the same step.

use std::collections::VecDeque;

use crate::limits::{STEP_BYTES_MAX, STEP_OPERATIONS_MIN, STEP_TASKS_MAX, STEPS_SEEN_MAX};
use crate::op::Op;
use crate::verb::Verb;
use crate::view::View;

/// What is asked for, but for the bytes of a copy.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Task<F> {
    Run(Op<F>),
    RunVerb { verb: Verb<F>, results: Vec<View> },
    CopyIn(View),
}

/// The same with the bytes, which only a copy has.
#[derive(Debug)]
pub(crate) struct Asked<F> {
    pub(crate) task: Task<F>,
    pub(crate) bytes: Vec<u8>,
}

/// What is known of the steps of a device. `G` is what a step is replayed by.
#[derive(Debug)]
pub(crate) struct Steps<F, G> {
    /// Steps with their graphs, the one that was replayed last at the end.
    known: Vec<(Vec<Task<F>>, G)>,
    /// Those of them that begin with what is held.
    following: Vec<usize>,
    /// What was asked for in this step and not passed on, because a known one may come of it.
    held: Vec<Asked<F>>,
    /// What was passed on in this step.
    passed: Vec<Task<F>>,
    /// Whether all of this step was passed on, and well.
    is_whole: bool,
    /// Steps that were passed on before, the oldest first.
    seen: VecDeque<Vec<Task<F>>>,
    /// Those that came again and were not captured: nobody tries once more.
    refused: VecDeque<Vec<Task<F>>>,
}

impl<F, G> Default for Steps<F, G> {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            following: Vec::new(),
            held: Vec::new(),
            passed: Vec::new(),
            is_whole: true,
            seen: VecDeque::new(),
            refused: VecDeque::new(),
        }
    }
}

impl<F: PartialEq, G> Steps<F, G> {
    /// Holds what is asked for, if it goes on as a known step does. Else it comes back, and is to be passed
    /// on behind what is [`released`](Self::release).
    pub(crate) fn hold(&mut self, asked: Asked<F>) -> Option<Asked<F>> {
        let (known, at) = (&self.known, self.held.len());
        let goes_on = |index: &usize| known[*index].0.get(at) == Some(&asked.task);
        self.following.retain(goes_on);
        if self.following.is_empty() {
            return Some(asked);
        }
        self.held.push(asked);
        None
    }

    /// What is held, which no longer is.
    pub(crate) fn release(&mut self) -> Vec<Asked<F>> {
        self.following.clear();
        std::mem::take(&mut self.held)
    }

    /// Notes what was passed on.
    pub(crate) fn note(&mut self, task: Task<F>) {
        if self.passed.len() < STEP_TASKS_MAX {
            self.passed.push(task);
        } else {
            self.is_whole = false;
        }
    }

    /// Takes out the known step that is all of what is held, to be replayed with that.
    pub(crate) fn take_whole(&mut self) -> Option<(Vec<Task<F>>, G)> {
        let (known, count) = (&self.known, self.held.len());
        let is_whole = |index: &&usize| count > 0 && known[**index].0.len() == count;
        let found = self.following.iter().find(is_whole).copied()?;
        self.following.clear();
        Some(self.known.remove(found))
    }

    /// Keeps a step with its graph, between two steps. What there is no room for is given back: the one that
    /// was not replayed for longest.
    pub(crate) fn keep(&mut self, tasks: Vec<Task<F>>, graph: G, most: usize) -> Option<G> {
        self.known.push((tasks, graph));
        let gone = (self.known.len() > most).then(|| self.known.remove(0).1);
        self.following.clear();
        self.following.extend(0..self.known.len());
        gone
    }

    /// Does not try to capture a step again.
    pub(crate) fn refuse(&mut self, tasks: Vec<Task<F>>) {
        push(&mut self.refused, tasks);
    }

    /// Ends a step, and begins the next. Gives the one that ended if it was passed on for the second time.
    pub(crate) fn next(&mut self, went_well: bool) -> Option<Vec<Task<F>>> {
        let passed = std::mem::take(&mut self.passed);
        let is_whole = std::mem::replace(&mut self.is_whole, true) && went_well;
        self.held.clear();
        self.following.clear();
        self.following.extend(0..self.known.len());
        let operations = passed
            .iter()
            .filter(|task| !matches!(task, Task::CopyIn(_)));
        if !is_whole || operations.count() < STEP_OPERATIONS_MIN || self.refused.contains(&passed) {
            return None;
        }
        match self.seen.iter().position(|seen| *seen == passed) {
            Some(index) => {
                self.seen.remove(index);
                Some(passed)
            }
            None => {
                push(&mut self.seen, passed);
                None
            }
        }
    }

    /// Forgets all steps, and gives what they were replayed by: memory that they use may go.
    pub(crate) fn clear(&mut self) -> Vec<G> {
        self.following.clear();
        self.seen.clear();
        self.refused.clear();
        self.is_whole = false;
        std::mem::take(&mut self.known)
            .into_iter()
            .map(|(_, graph)| graph)
            .collect()
    }
}

/// Remembers one more, in place of the oldest.
fn push<F>(steps: &mut VecDeque<Vec<Task<F>>>, tasks: Vec<Task<F>>) {
    if steps.len() == STEPS_SEEN_MAX {
        steps.pop_front();
    }
    steps.push_back(tasks);
}

/// The copies of a step as one: where each leads to and where its bytes lie in that one, and how many bytes it has.
///
/// # Errors
/// The number of bytes if it is more than a step may bring.
pub(crate) fn inputs<F>(
    tasks: &[Task<F>],
    align: usize,
) -> Result<(Vec<(View, usize)>, usize), usize> {
    let (mut copies, mut end) = (Vec::new(), 0_usize);
    for task in tasks {
        if let Task::CopyIn(to) = task {
            let at = end.next_multiple_of(align);
            copies.push((*to, at));
            end = at + to.bytes();
        }
    }
    if end > STEP_BYTES_MAX {
        return Err(end);
    }
    Ok((copies, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Address, DType};

    type Known = Steps<(), &'static str>;

    /// A step of operations at these addresses, behind a copy.
    fn step(addresses: &[u64]) -> Vec<Task<()>> {
        let view = |at: u64| View::new(Address(at), DType::F32, [4]);
        let fill = |at: &u64| {
            Task::Run(Op::Fill {
                out: view(*at),
                byte: 0,
            })
        };
        let copy = Task::CopyIn(view(0));
        std::iter::once(copy)
            .chain(addresses.iter().map(fill))
            .collect()
    }

    fn long(last: u64) -> Vec<Task<()>> {
        step(&[1, 2, 3, 4, 5, 6, 7, last])
    }

    /// Asks for a step: how many of its tasks are held at its end, and whether it is one to be captured.
    fn ask(steps: &mut Known, tasks: &[Task<()>]) -> (usize, bool) {
        for task in tasks {
            let bytes = Vec::new();
            let task = task.clone();
            if let Some(asked) = steps.hold(Asked { task, bytes }) {
                for held in steps.release() {
                    steps.note(held.task);
                }
                steps.note(asked.task);
            }
        }
        let held = steps.held.len();
        if let Some((tasks, graph)) = steps.take_whole() {
            steps.release();
            assert!(steps.keep(tasks, graph, 8).is_none());
        }
        for held in steps.release() {
            steps.note(held.task);
        }
        let again = steps.next(true);
        let is_again = again.is_some();
        if let Some(again) = again {
            assert!(steps.keep(again, "graph", 8).is_none());
        }
        (held, is_again)
    }

    #[test]
    fn a_step_is_captured_when_it_comes_again_and_held_from_then_on() {
        let mut steps = Known::default();
        assert_eq!(ask(&mut steps, &long(8)), (0, false));
        assert_eq!(ask(&mut steps, &long(9)), (0, false));
        assert_eq!(ask(&mut steps, &long(8)), (0, true));
        assert_eq!(ask(&mut steps, &long(8)), (9, false));
        // Another that begins alike is passed on from where it parts, and is known of its own in the end.
        assert_eq!(ask(&mut steps, &long(9)), (0, true));
        assert_eq!(ask(&mut steps, &long(9)), (9, false));
        assert_eq!(ask(&mut steps, &long(8)), (9, false));
        assert_eq!(ask(&mut steps, &long(8)[..5]), (5, false), "a part of it");
        let longer = [long(8), long(8)].concat();
        assert_eq!(ask(&mut steps, &longer), (0, false));
        assert_eq!(ask(&mut steps, &long(8)), (9, false));
    }

    #[test]
    fn what_is_short_or_failed_or_refused_is_not_captured() {
        let mut steps = Known::default();
        for _ in 0..3 {
            assert_eq!(ask(&mut steps, &step(&[1, 2, 3])), (0, false));
        }
        for went_well in [false, true, false] {
            long(8).into_iter().for_each(|task| steps.note(task));
            assert!(steps.next(went_well).is_none());
        }
        long(8).into_iter().for_each(|task| steps.note(task));
        let again = steps.next(true).expect("a second time");
        steps.refuse(again);
        for _ in 0..3 {
            assert_eq!(ask(&mut steps, &long(8)), (0, false));
        }
    }

    #[test]
    fn the_graph_that_was_not_replayed_for_longest_makes_room() {
        let mut steps = Known::default();
        assert_eq!(steps.keep(long(8), "a", 2), None);
        assert_eq!(steps.keep(long(9), "b", 2), None);
        steps.next(true);
        assert_eq!(ask(&mut steps, &long(8)), (9, false));
        assert_eq!(steps.keep(long(10), "c", 2), Some("b"));
        assert_eq!(steps.clear(), ["a", "c"]);
        steps.next(true);
        assert_eq!(ask(&mut steps, &long(8)), (0, false));
    }

    #[test]
    fn the_inputs_of_a_step_lie_apart_in_one_copy() {
        let tasks = [long(1), long(2), long(3)].concat();
        let to = View::new(Address(0), DType::F32, [4]);
        let want = vec![(to, 0), (to, 512), (to, 1024)];
        assert_eq!(inputs(&tasks, 512), Ok((want, 1040)));
        assert_eq!(inputs::<()>(&[], 512), Ok((Vec::new(), 0)));
        let large = View::new(Address(0), DType::F32, [STEP_BYTES_MAX / 4 + 1]);
        let tasks = [Task::<()>::CopyIn(large)];
        assert_eq!(inputs(&tasks, 512), Err(STEP_BYTES_MAX + 4));
    }
}
