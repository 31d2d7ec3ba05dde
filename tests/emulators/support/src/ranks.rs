//! Ranks that meet: what one of them asks for, all have to, in the same order.
//!
//! A call becomes three things in the queue of its rank: it brings its numbers, waits until all others have brought theirs, and takes
//! them. Who asks for something else than the first that came waits for ever, as do all that wait for it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::queues::{Goal, Point, QueueId, Queues};

/// How numbers of several ranks become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduce {
    /// By their sum.
    Sum,
    /// By their product.
    Product,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// What a rank asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The call, by the vendor's name.
    pub call: &'static str,
    /// How many numbers each rank brings.
    pub count: u64,
    /// The vendor's name for their type.
    pub dtype: &'static str,
    /// How 32-bit floats are reduced; none where they come to lie one behind the other.
    pub reduce: Option<Reduce>,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call, count, dtype, ..
        } = self;
        write!(f, "{call} of {count} {dtype}")?;
        self.reduce
            .map_or(Ok(()), |reduce| write!(f, " by {reduce:?}"))
    }
}

/// A call of a rank, as its queue has it.
#[derive(Debug)]
pub struct Turn {
    /// Which call of the communicator it is.
    pub number: u64,
    /// Reached when its numbers are there; none where it asks for something else than the others.
    own: Option<Point>,
    /// Those of the others.
    others: Vec<Point>,
    /// What is wrong with it.
    pub mismatch: Option<String>,
}

/// A call of all ranks.
#[derive(Debug)]
struct Meeting {
    /// Who came first, and what for.
    first: (usize, Ask),
    points: Vec<Point>,
    /// By rank, the queue in which it waits.
    called: Vec<Option<QueueId>>,
    /// By rank, whether it asked for something else than the first.
    mismatched: Vec<bool>,
    brought: Vec<Option<Arc<[u8]>>>,
    taken: usize,
}

/// Ranks that share a communicator.
#[derive(Debug)]
pub struct Ranks {
    /// How many calls each has made.
    calls: Vec<u64>,
    meetings: BTreeMap<u64, Meeting>,
}

impl Ranks {
    /// So many.
    #[must_use]
    pub fn new(world: usize) -> Self {
        Self {
            calls: vec![0; world],
            meetings: BTreeMap::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn world(&self) -> usize {
        self.calls.len()
    }

    /// A rank makes its next call, on a queue. To be queued are then what brings its numbers, [`Turn::wait`], and what takes all.
    pub fn call<T>(
        &mut self,
        rank: usize,
        ask: Ask,
        queues: &mut Queues<T>,
        queue: QueueId,
    ) -> Turn {
        let world = self.world();
        let number = self.calls[rank];
        self.calls[rank] += 1;
        let meeting = self.meetings.entry(number).or_insert_with(|| Meeting {
            first: (rank, ask),
            points: (0..world).map(|_| queues.point()).collect(),
            called: vec![None; world],
            mismatched: vec![false; world],
            brought: vec![None; world],
            taken: 0,
        });
        meeting.called[rank] = Some(queue);
        let (first, known) = meeting.first;
        if known != ask {
            meeting.mismatched[rank] = true;
            let text = format!("rank {rank} calls {ask}, where rank {first} calls {known}");
            return Turn {
                number,
                own: None,
                others: vec![queues.point()],
                mismatch: Some(format!("{text} (call {} of the communicator)", number + 1)),
            };
        }
        let others = { meeting.points.iter().enumerate() }.filter(|(other, _)| *other != rank);
        Turn {
            number,
            own: Some(meeting.points[rank]),
            others: others.map(|(_, point)| *point).collect(),
            mismatch: None,
        }
    }

    /// A rank brings its numbers: the point that is reached then.
    pub fn bring(&mut self, number: u64, rank: usize, bytes: &[u8]) -> Option<Point> {
        let meeting = self.meetings.get_mut(&number)?;
        meeting.brought[rank] = Some(bytes.into());
        (!meeting.mismatched[rank]).then_some(meeting.points[rank])
    }

    /// A rank takes what all have brought, in their order.
    ///
    /// # Errors
    /// If one brought nothing, or nobody meets any more.
    pub fn take(&mut self, number: u64) -> Result<Vec<Arc<[u8]>>, String> {
        let gone = || "nobody meets any more".to_owned();
        let meeting = self.meetings.get_mut(&number).ok_or_else(gone)?;
        let all = { meeting.brought.iter().enumerate() }.map(|(rank, one)| {
            let none = || format!("rank {rank} brought nothing");
            one.clone().ok_or_else(none)
        });
        let all = all.collect();
        meeting.taken += 1;
        if meeting.taken == meeting.called.len() {
            self.meetings.remove(&number);
        }
        all
    }

    /// Whether a rank waits for others, and what for: a text for each call that not all have made. What was told of as a mismatch is
    /// not told again.
    #[must_use]
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for (number, meeting) in &self.meetings {
            let is_mismatched = meeting.mismatched.contains(&true);
            missing.is_known |= is_mismatched;
            let absent =
                { meeting.called.iter().enumerate() }.filter(|(_, called)| called.is_none());
            let absent: Vec<_> = absent.map(|(rank, _)| rank.to_string()).collect();
            if absent.is_empty() || is_mismatched {
                continue;
            }
            let (first, ask) = meeting.first;
            let (number, absent) = (number + 1, absent.join(", "));
            missing.texts.push(format!(
                "rank {first} calls {ask} (call {number} of the communicator), which rank {absent} does not"
            ));
        }
        missing
    }

    /// Ends all meetings: the queues that wait in them, and what they wait for.
    pub fn abort(&mut self) -> (Vec<QueueId>, Vec<Point>) {
        let meetings = std::mem::take(&mut self.meetings);
        let (mut queues, mut points) = (Vec::new(), Vec::new());
        for meeting in meetings.into_values() {
            queues.extend(meeting.called.into_iter().flatten());
            points.extend(meeting.points);
        }
        (queues, points)
    }
}

/// Ranks that others wait for.
#[derive(Debug, Default)]
pub struct Missing {
    /// Who waits for whom.
    pub texts: Vec<String>,
    /// Whether some wait because of a mismatch, of which was told.
    pub is_known: bool,
}

impl FromIterator<Self> for Missing {
    fn from_iter<T: IntoIterator<Item = Self>>(groups: T) -> Self {
        let mut all = Self::default();
        for Self { texts, is_known } in groups {
            all.texts.extend(texts);
            all.is_known |= is_known;
        }
        all
    }
}

impl Turn {
    /// Lets a queue, in which its numbers are brought, wait for those of the others.
    pub fn wait<T>(&self, queues: &mut Queues<T>, queue: QueueId) {
        if let Some(own) = self.own
            && !queues.is_met(Goal::Reached(own))
        {
            queues.promise(queue, own);
        }
        for point in &self.others {
            queues.wait(queue, *point);
        }
    }
}

/// What becomes of the numbers of all ranks for one of them. The order of a sum begins with its own, so it is another on each: no vendor
/// says which it is.
#[must_use]
pub fn joined(reduce: Option<Reduce>, rank: usize, brought: &[Arc<[u8]>]) -> Vec<u8> {
    let Some(reduce) = reduce else {
        return brought.concat();
    };
    let floats = |bytes: &[u8]| -> Vec<f32> {
        let numbers = bytes.as_chunks::<4>().0.iter();
        numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let apply: fn(f32, f32) -> f32 = match reduce {
        Reduce::Sum => |a, b| a + b,
        Reduce::Product => |a, b| a * b,
        Reduce::Max => f32::max,
        Reduce::Min => f32::min,
    };
    let mut all = floats(&brought[rank]);
    for step in 1..brought.len() {
        let other = floats(&brought[(rank + step) % brought.len()]);
        all.iter_mut()
            .zip(other)
            .for_each(|(all, x)| *all = apply(*all, x));
    }
    all.into_iter().flat_map(f32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::{Schedule, Step};

    const GATHER: Ask = Ask {
        call: "gather",
        count: 2,
        dtype: "BYTES",
        reduce: None,
    };

    /// What queues hold: numbers that are brought, and a place where they are taken.
    enum Work {
        Bring(usize, u64, Vec<u8>),
        Take(u64),
    }

    struct Bench {
        ranks: Ranks,
        queues: Queues<Work>,
        taken: Vec<(u64, Result<Vec<u8>, String>)>,
    }

    fn queue(rank: usize) -> QueueId {
        QueueId(rank as u64 + 1)
    }

    impl Bench {
        fn new(world: usize, seed: u64) -> Self {
            let mut queues = Queues::new(Schedule::Random, seed);
            (0..world).for_each(|rank| queues.open(queue(rank)));
            Self {
                ranks: Ranks::new(world),
                queues,
                taken: Vec::new(),
            }
        }

        fn call(&mut self, rank: usize, ask: Ask) -> Option<String> {
            let (id, queues) = (queue(rank), &mut self.queues);
            let turn = self.ranks.call(rank, ask, queues, id);
            let own = vec![rank as u8, turn.number as u8];
            queues.submit(id, Work::Bring(rank, turn.number, own));
            turn.wait(queues, id);
            queues.submit(id, Work::Take(turn.number));
            turn.mismatch
        }

        /// Runs until a queue is done; whether it is.
        fn run(&mut self, rank: usize) -> bool {
            let goal = self.queues.now(queue(rank));
            while !self.queues.is_met(goal) {
                let (id, work) = match self.queues.step(goal) {
                    Step::Run(id, work) => (id, work),
                    Step::Moved => continue,
                    Step::Busy | Step::Stuck => return false,
                };
                match work {
                    Work::Bring(rank, number, own) => {
                        let point = self.ranks.bring(number, rank, &own);
                        point.into_iter().for_each(|point| self.queues.reach(point));
                    }
                    Work::Take(number) => {
                        let all = self.ranks.take(number).map(|all| joined(None, 0, &all));
                        self.taken.push((number, all));
                    }
                }
                self.queues.finish(id);
            }
            true
        }
    }

    #[test]
    fn all_get_the_numbers_of_all_call_by_call() {
        for seed in 0..8 {
            let mut bench = Bench::new(3, seed);
            for rank in [2, 0, 1] {
                assert_eq!(bench.call(rank, GATHER), None);
                assert_eq!(bench.call(rank, GATHER), None);
            }
            assert!((0..3).all(|rank| bench.run(rank)));
            assert_eq!(bench.taken.len(), 6);
            for (number, all) in bench.taken {
                let number = number as u8;
                assert_eq!(all, Ok(vec![0, number, 1, number, 2, number]));
            }
            assert!(bench.ranks.missing().texts.is_empty());
        }
    }

    #[test]
    fn who_does_not_come_is_named() {
        let mut bench = Bench::new(3, 1);
        bench.call(0, GATHER);
        bench.call(2, GATHER);
        assert!(!bench.run(0));
        let missing = bench.ranks.missing();
        let want =
            "rank 0 calls gather of 2 BYTES (call 1 of the communicator), which rank 1 does not";
        assert_eq!(
            (missing.texts, missing.is_known),
            (vec![want.to_owned()], false)
        );
    }

    #[test]
    fn who_asks_for_something_else_is_told_once_and_nobody_goes_on() {
        let more = Ask { count: 3, ..GATHER };
        let mut bench = Bench::new(2, 1);
        assert_eq!(bench.call(0, GATHER), None);
        let told = bench.call(1, more);
        let want = "rank 1 calls gather of 3 BYTES, where rank 0 calls gather of 2 BYTES (call 1 of the communicator)";
        assert_eq!(told.as_deref(), Some(want));
        assert!(!bench.run(0) && !bench.run(1));
        let missing = bench.ranks.missing();
        assert!(missing.texts.is_empty() && missing.is_known);
    }

    #[test]
    fn an_abort_lets_all_go_and_they_find_nothing() {
        let mut bench = Bench::new(2, 1);
        bench.call(0, GATHER);
        let (queues, points) = bench.ranks.abort();
        assert_eq!(queues, [queue(0)]);
        points
            .into_iter()
            .for_each(|point| bench.queues.reach(point));
        assert!(bench.run(0));
        let none = Err("nobody meets any more".to_owned());
        assert_eq!(bench.taken, [(0, none)]);
    }

    #[test]
    fn each_rank_adds_in_an_order_of_its_own() {
        let terms: [Arc<[u8]>; 3] = [1e8_f32, -1e8, 0.25].map(|x| Arc::from(x.to_le_bytes()));
        let sums = [0, 1, 2].map(|rank| joined(Some(Reduce::Sum), rank, &terms));
        let sums = sums.map(|sum| f32::from_le_bytes(sum.try_into().expect("one")));
        assert_eq!(sums, [0.25, 0.0, 0.0]);
        let of = |reduce| joined(Some(reduce), 0, &terms[1..]);
        assert_eq!(of(Reduce::Max), 0.25_f32.to_le_bytes());
        assert_eq!(of(Reduce::Min), (-1e8_f32).to_le_bytes());
        assert_eq!(of(Reduce::Product), (-2.5e7_f32).to_le_bytes());
    }
}
