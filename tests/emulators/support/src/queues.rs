//! Queues of work that run when somebody waits, in an order that a seed decides.
//!
//! Each queue keeps its own order. A *point* is reached when the record of it is passed in its queue; a queue
//! that waits for a point stands still until then.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

use crate::dice::Dice;

/// When queued work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// As soon as it may.
    Eager,
    /// When somebody waits for it, and no more than that.
    Lazy,
    /// When somebody waits, in an order that the seed decides, and sometimes more than that.
    Random,
}

/// A queue, by the number that its owner gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// What a queue may record and others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point(u64);

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// A queue has passed so many tasks.
    Passed(QueueId, u64),
    /// A point is reached.
    Reached(Point),
}

/// What can be done next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// Work to run, after which its queue is to be told with [`Queues::finish`].
    Run(QueueId, T),
    /// A queue passed a record or a wait.
    Moved,
    /// What is needed runs already, on another thread.
    Busy,
    /// Nothing that is queued leads to the goal.
    Stuck,
}

#[derive(Debug)]
enum Task<T> {
    Work(T),
    Record(Point),
    Wait(Point),
}

#[derive(Debug)]
struct Queue<T> {
    tasks: VecDeque<Task<T>>,
    submitted: u64,
    passed: u64,
    is_running: bool,
    /// Whether work of it failed, so that it waits for nothing any more.
    has_failed: bool,
}

impl<T> Queue<T> {
    /// Whether it stands still as long as one of these points is not reached.
    fn stands_at(&self, open: &BTreeSet<Point>) -> Option<Point> {
        match self.tasks.front() {
            Some(Task::Wait(point)) if !self.has_failed && open.contains(point) => Some(*point),
            _ => None,
        }
    }
}

/// All queues of a process.
#[derive(Debug)]
pub struct Queues<T> {
    queues: BTreeMap<QueueId, Queue<T>>,
    /// Points that are not reached.
    open: BTreeSet<Point>,
    /// The queues that are to reach points.
    recorders: BTreeMap<Point, QueueId>,
    points: u64,
    schedule: Schedule,
    dice: Dice,
}

impl<T> Queues<T> {
    /// No queues.
    #[must_use]
    pub fn new(schedule: Schedule, seed: u64) -> Self {
        Self {
            queues: BTreeMap::new(),
            open: BTreeSet::new(),
            recorders: BTreeMap::new(),
            points: 0,
            schedule,
            dice: Dice::new(seed),
        }
    }

    /// Opens a queue.
    pub fn open(&mut self, id: QueueId) {
        let queue = Queue {
            tasks: VecDeque::new(),
            submitted: 0,
            passed: 0,
            is_running: false,
            has_failed: false,
        };
        self.queues.insert(id, queue);
    }

    /// Lets a queue, work of which has failed, wait for nothing any more.
    pub fn fail(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.has_failed = true;
        }
    }

    /// Closes a queue, with what is still in it.
    pub fn close(&mut self, id: QueueId) {
        self.queues.remove(&id);
        self.recorders.retain(|_, queue| *queue != id);
    }

    /// A new point, which is not reached.
    pub fn point(&mut self) -> Point {
        self.points += 1;
        let point = Point(self.points);
        self.open.insert(point);
        point
    }

    /// Work of a queue is to reach a point, with [`reach`](Self::reach).
    pub fn promise(&mut self, id: QueueId, point: Point) {
        self.recorders.insert(point, id);
    }

    /// A point is reached, by work or by force.
    pub fn reach(&mut self, point: Point) {
        self.open.remove(&point);
        self.recorders.remove(&point);
    }

    /// Queues work.
    pub fn submit(&mut self, id: QueueId, work: T) {
        self.push(id, Task::Work(work));
    }

    /// Queues the record of a point.
    pub fn record(&mut self, id: QueueId, point: Point) {
        self.recorders.insert(point, id);
        self.push(id, Task::Record(point));
    }

    /// Queues a wait for a point.
    pub fn wait(&mut self, id: QueueId, point: Point) {
        self.push(id, Task::Wait(point));
    }

    fn push(&mut self, id: QueueId, task: Task<T>) {
        let queue = self.queues.get_mut(&id).expect("an open queue");
        queue.submitted += 1;
        queue.tasks.push_back(task);
    }

    /// That a queue has passed all that it holds now.
    #[must_use]
    pub fn now(&self, id: QueueId) -> Goal {
        Goal::Passed(id, self.queues.get(&id).map_or(0, |queue| queue.submitted))
    }

    /// Whether a goal is met; a queue that was closed has passed everything.
    #[must_use]
    pub fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::Passed(id, count) => {
                let queue = self.queues.get(&id);
                queue.is_none_or(|queue| queue.passed >= count)
            }
            Goal::Reached(point) => !self.open.contains(&point),
        }
    }

    /// The next step towards a goal that is not met.
    pub fn step(&mut self, goal: Goal) -> Step<T> {
        let next = match self.schedule {
            Schedule::Lazy => self.needed(goal),
            Schedule::Eager => self.runnable().first().copied(),
            Schedule::Random => self.any(),
        };
        match next {
            Some(id) if self.queues[&id].is_running => Step::Busy,
            Some(id) => self.advance(id),
            None if self.queues.values().any(|queue| queue.is_running) => Step::Busy,
            None => Step::Stuck,
        }
    }

    /// A step that nobody waits for: every one that is possible if the schedule is eager, as many as a
    /// coin says if it is random.
    pub fn stray(&mut self) -> Option<Step<T>> {
        let next = match self.schedule {
            Schedule::Lazy => None,
            Schedule::Eager => self.runnable().first().copied(),
            Schedule::Random => self.dice.coin().then(|| self.any()).flatten(),
        };
        next.map(|id| self.advance(id))
    }

    /// Tells a queue that its work is done.
    pub fn finish(&mut self, id: QueueId) {
        if let Some(queue) = self.queues.get_mut(&id) {
            queue.is_running = false;
            queue.passed += 1;
        }
    }

    /// Work that is queued and has not begun.
    pub fn pending(&self) -> impl Iterator<Item = (QueueId, &T)> {
        self.queues.iter().flat_map(|(id, queue)| {
            queue.tasks.iter().filter_map(|task| match task {
                Task::Work(work) => Some((*id, work)),
                Task::Record(_) | Task::Wait(_) => None,
            })
        })
    }

    /// The same, but for one queue's.
    pub fn pending_beside(&self, id: QueueId) -> impl Iterator<Item = &T> {
        let others = self.queues.iter().filter(move |(other, _)| **other != id);
        others.flat_map(|(_, queue)| {
            queue.tasks.iter().filter_map(|task| match task {
                Task::Work(work) => Some(work),
                Task::Record(_) | Task::Wait(_) => None,
            })
        })
    }

    /// Which queues stand still, and what for.
    #[must_use]
    pub fn waits(&self) -> Vec<String> {
        let waits = self.queues.iter().filter_map(|(id, queue)| {
            let Some(Task::Wait(point)) = queue.tasks.front() else {
                return None;
            };
            let recorder = match self.recorder(*point) {
                Some(other) => format!("which queue {:#x} records", other.0),
                None => "which no queue records".to_owned(),
            };
            Some(format!(
                "queue {:#x} waits for point {}, {recorder}",
                id.0, point.0
            ))
        });
        waits.collect()
    }

    /// The queue whose next task leads to a goal.
    fn needed(&self, goal: Goal) -> Option<QueueId> {
        let mut at = match goal {
            Goal::Passed(id, _) => id,
            Goal::Reached(point) => self.recorder(point)?,
        };
        let mut seen = BTreeSet::new();
        while seen.insert(at) {
            let queue = self.queues.get(&at)?;
            match queue.stands_at(&self.open) {
                _ if queue.is_running => return Some(at),
                Some(point) => at = self.recorder(point)?,
                None => return queue.tasks.front().map(|_| at),
            }
        }
        None
    }

    /// The queue that holds the record of a point.
    fn recorder(&self, point: Point) -> Option<QueueId> {
        self.recorders.get(&point).copied()
    }

    /// The queues that can take a step.
    fn runnable(&self) -> Vec<QueueId> {
        let queues = self.queues.iter().filter(|(_, queue)| {
            let stands = queue.stands_at(&self.open).is_some();
            !queue.is_running && !queue.tasks.is_empty() && !stands
        });
        queues.map(|(id, _)| *id).collect()
    }

    /// One of them.
    fn any(&mut self) -> Option<QueueId> {
        let runnable = self.runnable();
        (!runnable.is_empty()).then(|| runnable[self.dice.below(runnable.len())])
    }

    fn advance(&mut self, id: QueueId) -> Step<T> {
        let queue = self
            .queues
            .get_mut(&id)
            .expect("a queue that can take a step");
        let task = queue.tasks.pop_front().expect("a task to step over");
        match task {
            Task::Work(work) => {
                queue.is_running = true;
                return Step::Run(id, work);
            }
            Task::Record(point) => {
                self.open.remove(&point);
                self.recorders.remove(&point);
            }
            Task::Wait(_) => {}
        }
        queue.passed += 1;
        Step::Moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: QueueId = QueueId(1);
    const B: QueueId = QueueId(2);

    /// Two queues: `b` waits for the middle of `a`.
    fn two(schedule: Schedule, seed: u64) -> Queues<&'static str> {
        let mut queues = Queues::new(schedule, seed);
        queues.open(A);
        queues.open(B);
        let point = queues.point();
        queues.wait(B, point);
        queues.submit(B, "b1");
        queues.submit(A, "a1");
        queues.record(A, point);
        queues.submit(A, "a2");
        queues
    }

    /// Runs towards a goal, then as far as the schedule likes.
    fn run(queues: &mut Queues<&'static str>, goal: Goal) -> Vec<&'static str> {
        let mut ran = Vec::new();
        while !queues.is_met(goal) {
            match queues.step(goal) {
                Step::Run(id, work) => {
                    ran.push(work);
                    queues.finish(id);
                }
                Step::Moved => {}
                stop => panic!("{stop:?}"),
            }
        }
        while let Some(step) = queues.stray() {
            if let Step::Run(id, work) = step {
                ran.push(work);
                queues.finish(id);
            }
        }
        ran
    }

    #[test]
    fn a_lazy_schedule_runs_what_is_needed() {
        let mut queues = two(Schedule::Lazy, 0);
        let goal = queues.now(B);
        assert_eq!(run(&mut queues, goal), ["a1", "b1"]);
        let pending: Vec<_> = queues.pending().collect();
        assert_eq!(pending, [(A, &"a2")]);
        let beside = |id| queues.pending_beside(id).count();
        assert_eq!([beside(A), beside(B)], [0, 1]);
    }

    #[test]
    fn an_eager_schedule_leaves_nothing() {
        let mut queues = two(Schedule::Eager, 0);
        let goal = queues.now(B);
        assert_eq!(run(&mut queues, goal).len(), 3);
    }

    #[test]
    fn a_random_schedule_keeps_to_queues_and_points_and_differs_by_seed() {
        let mut seen = BTreeSet::new();
        for seed in 0..32 {
            let mut queues = two(Schedule::Random, seed);
            let goal = queues.now(B);
            let ran = run(&mut queues, goal);
            let at = |work| ran.iter().position(|other| *other == work);
            assert!(at("a1") < at("b1"), "{ran:?}");
            assert!(at("a2").is_none_or(|a2| Some(a2) > at("a1")), "{ran:?}");
            seen.insert(ran);
        }
        assert!(seen.len() > 2, "{seen:?}");
    }

    #[test]
    fn a_wait_for_what_nobody_records_is_stuck_and_told() {
        for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::Random] {
            let mut queues = Queues::new(schedule, 1);
            queues.open(A);
            let point = queues.point();
            queues.wait(A, point);
            queues.submit(A, "a1");
            let goal = queues.now(A);
            assert_eq!(queues.step(goal), Step::Stuck);
            assert_eq!(
                queues.waits(),
                ["queue 0x1 waits for point 1, which no queue records"]
            );
            queues.open(B);
            queues.record(B, point);
            assert_eq!(run(&mut queues, goal), ["a1"]);
        }
    }

    #[test]
    fn queues_that_wait_for_each_other_are_stuck() {
        for schedule in [Schedule::Lazy, Schedule::Random] {
            let mut queues = Queues::<()>::new(schedule, 1);
            queues.open(A);
            queues.open(B);
            let (a, b) = (queues.point(), queues.point());
            queues.wait(A, b);
            queues.record(A, a);
            queues.wait(B, a);
            queues.record(B, b);
            assert_eq!(queues.step(queues.now(A)), Step::Stuck);
            assert_eq!(queues.waits().len(), 2);
        }
    }

    #[test]
    fn a_queue_that_failed_waits_for_nothing() {
        for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::Random] {
            let mut queues = Queues::new(schedule, 1);
            queues.open(A);
            let point = queues.point();
            queues.wait(A, point);
            queues.submit(A, "a1");
            let goal = queues.now(A);
            assert_eq!(queues.step(goal), Step::Stuck);
            queues.fail(A);
            assert_eq!(run(&mut queues, goal), ["a1"]);
        }
    }

    #[test]
    fn a_queue_that_runs_is_busy() {
        let mut queues = two(Schedule::Lazy, 0);
        let goal = queues.now(A);
        assert_eq!(queues.step(goal), Step::Run(A, "a1"));
        assert_eq!(queues.step(goal), Step::Busy);
        queues.finish(A);
        assert_eq!(queues.step(goal), Step::Moved);
        queues.close(A);
        assert!(queues.is_met(goal));
    }
}
