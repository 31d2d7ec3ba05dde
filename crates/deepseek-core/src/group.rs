//! Ranks in one process whose numbers lie in the host's memory.

use std::any::{Any, type_name};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::collective::Rendezvous;
use crate::error::{Error, Result};

/// One rank of a group: its place at the meeting.
#[derive(Debug, Clone)]
pub struct Member {
    group: Arc<Group>,
    rank: usize,
}

/// Several ranks, each on a thread of its own, which wait for each other at every call.
#[derive(Debug)]
pub struct Group {
    world: usize,
    meeting: Mutex<Meeting>,
    moved: Condvar,
}

/// A call, as all ranks have to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A sum of so many numbers.
    AllReduce(usize),
    /// So many numbers of each rank.
    AllGather(usize),
    /// Values of the type of this name.
    Exchange(&'static str),
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllReduce(count) => write!(f, "all_reduce of {count} numbers"),
            Self::AllGather(count) => write!(f, "all_gather of {count} numbers"),
            Self::Exchange(name) => write!(f, "an exchange of {name}"),
        }
    }
}

/// What a rank brings.
type Brought = Arc<dyn Any + Send + Sync>;

#[derive(Debug, Default)]
struct Meeting {
    /// What the first rank to arrive called, and which that was.
    call: Option<(usize, Call)>,
    /// By rank, what those brought that have arrived.
    brought: Vec<Option<Brought>>,
    /// Ranks that still have to take what was brought; none while some are missing.
    leaving: usize,
    /// Which rank failed, and why.
    failed: Option<(usize, String)>,
}

impl Group {
    /// So many ranks, in their order.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn of(world: usize) -> Vec<Member> {
        assert!(world > 0, "a group has ranks");
        let group = Arc::new(Self {
            world,
            meeting: Mutex::new(Meeting {
                brought: vec![None; world],
                ..Meeting::default()
            }),
            moved: Condvar::new(),
        });
        let member = |rank| Member {
            group: Arc::clone(&group),
            rank,
        };
        (0..world).map(member).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Meeting> {
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something holds of the meeting, or a rank has failed.
    fn wait<'a>(
        &'a self,
        meeting: MutexGuard<'a, Meeting>,
        until: impl Fn(&Meeting) -> bool,
    ) -> Result<MutexGuard<'a, Meeting>> {
        let waits = |meeting: &mut Meeting| meeting.failed.is_none() && !until(meeting);
        let waited = self.moved.wait_while(meeting, waits);
        let meeting = waited.unwrap_or_else(PoisonError::into_inner);
        match &meeting.failed {
            Some((rank, why)) => Err(Error::Rank {
                rank: *rank,
                why: why.clone(),
            }),
            None => Ok(meeting),
        }
    }
}

impl Rendezvous for Group {
    fn fail(&self, rank: usize, why: &str) {
        let mut meeting = self.lock();
        meeting.failed.get_or_insert_with(|| (rank, why.to_owned()));
        self.moved.notify_all();
    }

    fn renew(&self) {
        *self.lock() = Meeting {
            brought: vec![None; self.world],
            ..Meeting::default()
        };
    }
}

impl Member {
    /// Which rank it is.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    #[must_use]
    pub fn world(&self) -> usize {
        self.group.world
    }

    /// Where they meet.
    #[must_use]
    pub fn rendezvous(&self) -> Arc<dyn Rendezvous> {
        Arc::clone(&self.group) as _
    }

    /// The sum of the numbers of all ranks in the order of the ranks, so the same bits on each: to `out`,
    /// which is as long. Waits for the others.
    ///
    /// # Errors
    /// [`Error::Rank`] where a rank failed or calls for something else.
    pub fn all_reduce(&self, own: &[f32], out: &mut [f32]) -> Result<()> {
        let all = self.bring(Call::AllReduce(own.len()), own.to_vec())?;
        out.copy_from_slice(&all[0]);
        for other in &all[1..] {
            out.iter_mut().zip(&**other).for_each(|(sum, x)| *sum += x);
        }
        Ok(())
    }

    /// The rows `own: [rows, width]` of all ranks side by side, to `out: [rows, world * width]`. Waits for
    /// the others.
    ///
    /// # Errors
    /// [`Error::Rank`] where a rank failed or calls for something else.
    pub fn all_gather(&self, own: &[f32], width: usize, out: &mut [f32]) -> Result<()> {
        let all = self.bring(Call::AllGather(own.len()), own.to_vec())?;
        let wide = all.len() * width;
        for (row, out) in out.chunks_exact_mut(wide.max(1)).enumerate() {
            for (part, out) in all.iter().zip(out.chunks_exact_mut(width)) {
                out.copy_from_slice(&part[row * width..][..width]);
            }
        }
        Ok(())
    }

    /// Brings a value, and takes those of all ranks, in their order. Waits for the others.
    ///
    /// # Errors
    /// [`Error::Rank`] where a rank failed or calls for something else.
    pub fn exchange<T: Send + Sync + 'static>(&self, own: T) -> Result<Vec<Arc<T>>> {
        self.bring(Call::Exchange(type_name::<T>()), own)
    }

    /// Waits until all ranks are about to make a call, whose numbers go another way.
    ///
    /// # Errors
    /// [`Error::Rank`] where a rank failed or calls for something else.
    pub fn meet(&self, call: Call) -> Result<()> {
        self.bring(call, ()).map(drop)
    }

    /// Brings a value to the meeting, and takes those of all ranks.
    fn bring<T: Send + Sync + 'static>(&self, call: Call, own: T) -> Result<Vec<Arc<T>>> {
        let group = &*self.group;
        // Those who were here before have to leave first.
        let mut meeting = group.wait(group.lock(), |meeting| meeting.leaving == 0)?;
        match meeting.call {
            None => meeting.call = Some((self.rank, call)),
            Some((_, known)) if known == call => {}
            Some((rank, known)) => {
                let why = format!("calls {call}, rank {rank} {known}");
                drop(meeting);
                group.fail(self.rank, &why);
                return Err(Error::Rank {
                    rank: self.rank,
                    why,
                });
            }
        }
        meeting.brought[self.rank] = Some(Arc::new(own));
        if meeting.brought.iter().all(Option::is_some) {
            meeting.leaving = group.world;
            group.moved.notify_all();
        }
        let mut meeting = group.wait(meeting, |meeting| meeting.leaving > 0)?;
        let all: Option<Vec<_>> = meeting.brought.iter().cloned().collect();
        meeting.leaving -= 1;
        if meeting.leaving == 0 {
            meeting.call = None;
            meeting.brought.fill(None);
            group.moved.notify_all();
        }
        let all = all.expect("what everybody brought is there until the last one leaves");
        let of_type = |one: Brought| {
            one.downcast()
                .expect("who makes the same call brings the same")
        };
        Ok(all.into_iter().map(of_type).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// What `work` gives on each rank.
    fn run<T: Send>(world: usize, work: impl Fn(&Member) -> T + Sync) -> Vec<T> {
        let members = Group::of(world);
        thread::scope(|scope| {
            let work = &work;
            let ranks: Vec<_> = members
                .iter()
                .map(|member| scope.spawn(move || work(member)))
                .collect();
            let done = ranks.into_iter().map(|rank| rank.join().expect("no panic"));
            done.collect()
        })
    }

    #[test]
    fn sums_are_those_of_the_order_of_ranks_on_every_rank_and_run() {
        // Terms of which every other order gives another sum.
        let term = |rank: usize| [1e8, 1.0, -1e8, 0.25][rank];
        let want = (0..4).map(term).fold(0.0f32, |sum, x| sum + x);
        for _ in 0..200 {
            let got = run(4, |member| {
                let mut sum = [0.0; 3];
                for round in 0..3 {
                    let own = [term(member.rank()), round as f32, member.rank() as f32];
                    member.all_reduce(&own, &mut sum)?;
                }
                Ok::<_, Error>(sum)
            });
            for sum in got {
                assert_eq!(sum.expect("all come"), [want, 8.0, 6.0]);
            }
        }
    }

    #[test]
    fn gathered_rows_lie_side_by_side() {
        let got = run(3, |member| {
            let own: Vec<f32> = (0..4).map(|i| (10 * member.rank() + i) as f32).collect();
            let mut all = vec![0.0; 12];
            member.all_gather(&own, 2, &mut all)?;
            Ok::<_, Error>(all)
        });
        let want = [0, 1, 10, 11, 20, 21, 2, 3, 12, 13, 22, 23].map(|x| x as f32);
        for all in got {
            assert_eq!(all.expect("all come"), want);
        }
    }

    #[test]
    fn values_are_exchanged_and_who_only_meets_brings_none() {
        let got = run(3, |member| {
            let rank = member.rank();
            let names = member.exchange((rank == 1).then(|| "root".to_owned()))?;
            member.meet(Call::AllReduce(7))?;
            Ok::<_, Error>((names[1].as_deref().map(str::to_owned), names.len()))
        });
        for names in got {
            assert_eq!(names.expect("all come"), (Some("root".to_owned()), 3));
        }
        let got = run(2, |member| match member.rank() {
            0 => told(member.meet(Call::AllGather(7))),
            _ => told(member.exchange(7_u8).map(drop)),
        });
        assert_eq!(got[0], got[1]);
        assert!(got[0].contains("an exchange of u8"), "{}", got[0]);
    }

    fn told(result: Result<()>) -> String {
        result.expect_err("a rank is missing").to_string()
    }

    #[test]
    fn who_waits_hears_of_a_rank_that_failed_and_may_begin_anew() {
        let got = run(3, |member| {
            if member.rank() == 1 {
                member.rendezvous().fail(1, "no memory");
                return "rank 1 failed: no memory".to_owned();
            }
            told(member.all_reduce(&[1.0], &mut [0.0]))
        });
        assert_eq!(got, ["rank 1 failed: no memory"; 3]);

        let members = Group::of(2);
        members[0].rendezvous().fail(0, "for now");
        told(members[1].all_reduce(&[1.0], &mut [0.0]));
        members[1].rendezvous().renew();
        thread::scope(|scope| {
            for member in &members {
                scope.spawn(|| member.all_reduce(&[1.0], &mut [0.0]).expect("all come"));
            }
        });
    }

    #[test]
    fn calls_that_differ_are_an_error_on_every_rank() {
        let got = run(2, |member| {
            let count = 2 + member.rank();
            told(member.all_reduce(&vec![0.0; count], &mut vec![0.0; count]))
        });
        assert_eq!(got[0], got[1]);
        assert!(got[0].contains("all_reduce of 2 numbers"), "{}", got[0]);
        assert!(got[0].contains("all_reduce of 3 numbers"), "{}", got[0]);

        let got = run(2, |member| match member.rank() {
            0 => told(member.all_reduce(&[0.0], &mut [0.0])),
            _ => told(member.all_gather(&[0.0], 1, &mut [0.0; 2])),
        });
        assert!(got[0].contains("all_gather"), "{}", got[0]);
    }
}
