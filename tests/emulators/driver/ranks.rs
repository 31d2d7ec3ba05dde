//! Several ranks, each with a device and a thread of its own.

use std::sync::Barrier;
use std::thread;

use backend_offload::{Address, Chip, DType, Driver, Op, View, Workspace};
use deepseek_core::{Error, Group, Member, Result, Share};
use emulator_support::SEEDS;
use serde_json::{Value, json};

use super::{fetch, send};
use crate::{Session, Tested};

/// A run with so many devices, in which a rank waits for another one that computes.
pub(crate) fn devices(count: usize, more: &Value) -> Session {
    let mut config = json!({"devices": count, "deadlock_ms": 10_000});
    let map = config.as_object_mut().expect("an object");
    map.extend(more.as_object().expect("an object").clone());
    Session::new(&config)
}

/// Lets ranks that wait for this one go, as who drives them does.
struct Departure<'a>(&'a Member);

impl Departure<'_> {
    fn tell(&self, why: &str) {
        self.0.rendezvous().fail(self.0.rank(), why);
    }
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.tell("panicked");
        }
    }
}

/// What `work` gives on each rank, whose device has its number.
pub(crate) fn on_ranks<T: Send>(
    session: &Session,
    members: &[Member],
    work: impl Fn(&mut Tested, &Member) -> Result<T> + Sync,
) -> Vec<Result<T>> {
    let one = |member: &Member| {
        let (departure, device) = (Departure(member), member.rank() as i32);
        let mut driver = Tested::join(session.library(), device, member.clone())?;
        let done = work(&mut driver, member);
        if let Err(error) = &done {
            departure.tell(&error.to_string());
        }
        done
    };
    thread::scope(|scope| {
        let one = &one;
        let ranks = members
            .iter()
            .map(|member| scope.spawn(move || one(member)));
        let ranks: Vec<_> = ranks.collect();
        let done = ranks.into_iter().map(|rank| rank.join().expect("no panic"));
        done.collect()
    })
}

/// Sixteen numbers at `at`, and room for those of all ranks behind them.
pub(crate) struct Numbers {
    pub(crate) at: Address,
    world: usize,
}

impl Numbers {
    pub(crate) fn new(driver: &mut Tested, member: &Member, number: f32) -> Result<Self> {
        let world = member.world();
        let at = driver.allocate(64 * (world + 1))?;
        send(driver, &[number; 16].map(f32::to_le_bytes).concat(), at)?;
        Ok(Self { at, world })
    }

    /// The same with whatever is there.
    #[allow(dead_code, reason = "not every vendor has a test of it")]
    pub(crate) fn unwritten(driver: &mut Tested, member: &Member) -> Result<Self> {
        let world = member.world();
        let at = driver.allocate(64 * (world + 1))?;
        Ok(Self { at, world })
    }

    fn x(&self) -> View {
        View::new(self.at, DType::F32, [16])
    }

    pub(crate) fn reduce(&self) -> Op<()> {
        let out = View {
            at: self.at.plus(64),
            ..self.x()
        };
        Op::AllReduce { x: self.x(), out }
    }

    pub(crate) fn gather(&self, dtype: DType) -> Op<()> {
        let count = 64 / dtype.bytes();
        Op::AllGather {
            x: View::new(self.at, dtype, [count]),
            out: View::new(self.at.plus(64), dtype, [self.world, count]),
        }
    }

    /// The first number of each rank's.
    pub(crate) fn firsts(&self, driver: &mut Tested, count: usize) -> Result<Vec<f32>> {
        let bytes = fetch(driver, self.at.plus(64), 64 * count)?;
        let firsts = bytes
            .chunks(64)
            .map(|bytes| bytes[..4].try_into().expect("four bytes"));
        Ok(firsts.map(f32::from_le_bytes).collect())
    }
}

#[test]
fn a_rank_captures_no_graphs() -> Result<()> {
    let session = devices(2, &json!({}));
    let asked = |driver: &mut Tested, _: &Member| Ok((driver.captures(), driver.chip().captures()));
    for told in on_ranks(&session, &Group::of(2), asked) {
        let (own, of_chip) = told?;
        let declined = own.expect_err("a rank");
        assert!(declined.0.contains("a rank gathers"), "{}", declined.0);
        assert_eq!(of_chip, Ok(()), "alone it would");
    }
    session.clean();
    Ok(())
}

#[test]
fn sums_are_those_of_the_order_of_ranks_and_gathered_numbers_lie_in_it() -> Result<()> {
    // Terms of which every other order gives another sum.
    let terms = [1e8, 1.0, -1e8, 0.25];
    let want = terms.iter().fold(0.0_f32, |sum, x| sum + x);
    for seed in SEEDS {
        for world in [2, 4] {
            let session = devices(world, &json!({"schedule": "random", "seed": seed}));
            let done = on_ranks(&session, &Group::of(world), |driver, member| {
                assert_eq!(driver.share(), Share::new(member.rank(), world));
                assert_eq!(driver.chip().joins(), Ok(()));
                let mut workspace = Workspace::default();
                let numbers = Numbers::new(driver, member, terms[member.rank()])?;
                driver.run(&numbers.gather(DType::F32), &mut workspace)?;
                assert_eq!(numbers.firsts(driver, world)?, terms[..world]);
                driver.run(&numbers.gather(DType::Bf16), &mut workspace)?;
                assert_eq!(numbers.firsts(driver, world)?, terms[..world]);
                driver.run(&numbers.reduce(), &mut workspace)?;
                numbers.firsts(driver, 1)
            });
            let pair = terms[0] + terms[1];
            for sum in done {
                assert_eq!(sum?, [if world == 2 { pair } else { want }], "seed {seed}");
            }
            session.clean();
        }
    }
    Ok(())
}

#[test]
fn a_rank_that_fails_lets_the_others_go_and_they_begin_anew() {
    let session = devices(2, &json!({}));
    let both = Barrier::new(2);
    let done = on_ranks(&session, &Group::of(2), |driver, member| {
        let mut workspace = Workspace::default();
        let numbers = Numbers::new(driver, member, 1.0)?;
        let meeting = member.rendezvous();
        // Both have joined by now.
        both.wait();
        if member.rank() == 1 {
            meeting.fail(1, "no memory");
        }
        let error = driver.run(&numbers.reduce(), &mut workspace);
        let error = error.expect_err("rank 1 has failed");
        driver.synchronize()?;
        both.wait();
        meeting.renew();
        both.wait();
        driver.run(&numbers.reduce(), &mut workspace)?;
        assert_eq!(numbers.firsts(driver, 1)?, [2.0]);
        Ok(error.to_string())
    });
    for told in done {
        assert_eq!(told.expect("it goes on"), "rank 1 failed: no memory");
    }
    session.clean();
}

#[test]
fn calls_that_differ_are_told_before_a_device_hears_of_them() {
    let session = devices(2, &json!({}));
    let done = on_ranks(&session, &Group::of(2), |driver, member| {
        let numbers = Numbers::new(driver, member, 1.0)?;
        let op = match member.rank() {
            0 => numbers.reduce(),
            _ => numbers.gather(DType::F32),
        };
        driver.run(&op, &mut Workspace::default())
    });
    for ran in done {
        let error = ran.expect_err("they differ");
        assert!(matches!(error, Error::Rank { .. }), "{error}");
    }
    session.clean();
}

#[test]
fn a_rank_without_a_device_is_told_to_all() {
    let session = devices(1, &json!({}));
    let done = on_ranks(&session, &Group::of(2), |_, _| Ok(()));
    let [first, second] = [0, 1].map(|rank| done[rank].as_ref().expect_err("one device"));
    assert!(matches!(second, Error::Device { .. }), "{second}");
    assert_eq!(first.to_string(), format!("rank 1 failed: {second}"));
    session.clean();
}

#[test]
fn who_is_alone_is_no_rank() -> Result<()> {
    let session = devices(1, &json!({}));
    let mut driver = super::open(&session)?;
    let at = driver.allocate(128)?;
    let numbers = Numbers { at, world: 1 };
    assert_eq!(driver.share(), Share::WHOLE);
    let refused = driver.run(&numbers.reduce(), &mut Workspace::default());
    let refused = refused.expect_err("it is alone").to_string();
    assert!(refused.contains("what ranks do together"), "{refused}");
    drop(driver);
    session.clean();
    Ok(())
}
