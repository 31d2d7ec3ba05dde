//! Accesses of memory that no order keeps apart, found by vector clocks.
//!
//! Every queue and the host has a clock with a component for each of them. What is queued comes behind what its queue holds and
//! behind what the host has waited for; a point carries the clock of where it was recorded to whoever waits for it. All of that
//! is known when work is queued, so a missing wait is found whatever the schedule made of it.

use std::collections::BTreeMap;

use crate::queues::{Point, QueueId};

/// How far each queue is known to have come.
type Clock = BTreeMap<QueueId, u64>;

/// An access that something later may be in conflict with.
#[derive(Debug)]
struct Access {
    start: u64,
    end: u64,
    time: u64,
    writes: bool,
    call: &'static str,
}

/// The clocks, and the accesses that not everybody has waited for.
#[derive(Debug, Default)]
pub struct Races {
    host: Clock,
    queues: BTreeMap<QueueId, Clock>,
    points: BTreeMap<Point, Clock>,
    /// Of each queue, in their order.
    accesses: BTreeMap<QueueId, Vec<Access>>,
}

fn join(into: &mut Clock, other: &Clock) {
    for (queue, time) in other {
        let known = into.entry(*queue).or_default();
        *known = (*known).max(*time);
    }
}

impl Races {
    /// Queues work that reads and writes ranges of addresses, each a start and a length. Tells the first conflict.
    pub fn queued(
        &mut self,
        queue: QueueId,
        call: &'static str,
        reads: &[(u64, usize)],
        writes: &[(u64, usize)],
    ) -> Option<String> {
        let clock = self.queues.entry(queue).or_default();
        join(clock, &self.host);
        let time = clock.entry(queue).or_default();
        *time += 1;
        let time = *time;
        let found = conflict(&self.accesses, clock, call, reads, writes);
        let accesses = self.accesses.entry(queue).or_default();
        for (ranges, writes) in [(reads, false), (writes, true)] {
            let ranges = ranges.iter().map(|(start, bytes)| Access {
                start: *start,
                end: start + *bytes as u64,
                time,
                writes,
                call,
            });
            accesses.extend(ranges);
        }
        found
    }

    /// What the host does at once, with memory of a device. Tells the first conflict.
    #[must_use]
    pub fn at_once(
        &self,
        call: &'static str,
        reads: &[(u64, usize)],
        writes: &[(u64, usize)],
    ) -> Option<String> {
        conflict(&self.accesses, &self.host, call, reads, writes)
    }

    /// A queue records a point.
    pub fn recorded(&mut self, queue: QueueId, point: Point) {
        let clock = self.queues.entry(queue).or_default();
        join(clock, &self.host);
        self.points.insert(point, clock.clone());
    }

    /// A queue waits for a point, if that was recorded.
    pub fn waits(&mut self, queue: QueueId, point: Point) {
        if let Some(other) = self.points.get(&point) {
            join(self.queues.entry(queue).or_default(), other);
        }
    }

    /// The host has seen that a point was reached.
    pub fn reached(&mut self, point: Point) {
        if let Some(other) = self.points.get(&point) {
            join(&mut self.host, other);
            self.settle();
        }
    }

    /// The host has seen that a queue is done with all that it held.
    pub fn passed(&mut self, queue: QueueId) {
        if let Some(other) = self.queues.get(&queue) {
            join(&mut self.host, other);
            self.settle();
        }
    }

    /// What the host has waited for is before all that is still to come.
    fn settle(&mut self) {
        for (queue, accesses) in &mut self.accesses {
            let known = known(accesses, &self.host, *queue);
            accesses.drain(..known);
        }
    }
}

/// How many accesses of a queue are before whoever has this clock.
fn known(accesses: &[Access], clock: &Clock, queue: QueueId) -> usize {
    let time = clock.get(&queue).copied().unwrap_or(0);
    accesses.partition_point(|access| access.time <= time)
}

fn conflict(
    all: &BTreeMap<QueueId, Vec<Access>>,
    clock: &Clock,
    call: &str,
    reads: &[(u64, usize)],
    writes: &[(u64, usize)],
) -> Option<String> {
    let meets = |access: &Access, ranges: &[(u64, usize)]| {
        let mut ranges = ranges.iter();
        ranges.any(|(start, bytes)| access.start < start + *bytes as u64 && *start < access.end)
    };
    let (queue, found) = all.iter().find_map(|(queue, accesses)| {
        let mut open = accesses[known(accesses, clock, *queue)..].iter();
        let found =
            open.find(|access| meets(access, writes) || access.writes && meets(access, reads))?;
        Some((queue, found))
    })?;
    let verb = if found.writes { "written" } else { "read" };
    Some(format!(
        "{call} comes in no order with {}, by which queue {:#x} has {verb} the same bytes",
        found.call, queue.0
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::{Queues, Schedule};

    const A: QueueId = QueueId(1);
    const B: QueueId = QueueId(2);
    const BYTES: [(u64, usize); 1] = [(100, 10)];

    /// A point of some queues.
    fn point() -> Point {
        Queues::<()>::new(Schedule::Lazy, 0).point()
    }

    #[test]
    fn one_queue_is_an_order() {
        let mut races = Races::default();
        for _ in 0..3 {
            assert_eq!(races.queued(A, "w", &BYTES, &BYTES), None);
        }
    }

    #[test]
    fn two_queues_are_none_and_reads_alone_need_none() {
        let mut races = Races::default();
        assert_eq!(races.queued(A, "one", &BYTES, &[]), None);
        assert_eq!(races.queued(B, "two", &BYTES, &[]), None);
        let found = races
            .queued(B, "three", &[], &[(109, 1)])
            .expect("a conflict");
        assert!(found.contains("three") && found.contains("one"), "{found}");
        assert_eq!(races.queued(B, "four", &[], &[(110, 1)]), None, "beside it");
    }

    #[test]
    fn a_point_that_is_waited_for_is_an_order() {
        let mut races = Races::default();
        races.queued(A, "w", &[], &BYTES);
        let middle = point();
        races.recorded(A, middle);
        races.waits(B, middle);
        assert_eq!(races.queued(B, "r", &BYTES, &[]), None);
        races.queued(A, "later", &[], &[(0, 4)]);
        assert!(
            races.queued(B, "r", &[(0, 4)], &[]).is_some(),
            "behind the point"
        );
    }

    #[test]
    fn the_host_orders_what_it_waits_for_with_what_it_queues_then() {
        let mut races = Races::default();
        races.queued(A, "w", &[], &BYTES);
        assert!(races.at_once("copy", &BYTES, &[]).is_some());
        races.passed(A);
        assert_eq!(races.at_once("copy", &BYTES, &[]), None);
        assert_eq!(races.queued(B, "r", &BYTES, &[]), None);
        let open = races.accesses.values().map(Vec::len);
        assert_eq!(open.sum::<usize>(), 1, "what was waited for is let go");
        let middle = point();
        races.recorded(B, middle);
        races.reached(middle);
        assert_eq!(races.queued(A, "w", &[], &BYTES), None);
    }
}
