//! Communicators, and what their ranks do together: `E-CNCL`.

use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};
use std::thread;

use backend_cambricon_sys::types::{
    cnclCliqueId, cnclComm_t, cnclDataType_t, cnclReduceOp_t, cnrtQueue_t,
};
use serde_json::{Value, json};

use crate::session::{H2D, QUEUE, SEEDS, Session};

const F32: cnclDataType_t = cnclDataType_t::cnclFloat32;
const SUM: cnclReduceOp_t = cnclReduceOp_t::cnclSum;
/// Codes of the collectives.
const ARGUMENTS: u32 = 0x07;
const UNSUPPORTED: u32 = 0x11;
/// A wait that nothing ends.
const STATE: u32 = 100_015;

/// A call of a collective.
macro_rules! cncl {
    ($session:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let table = $session.neuware.collectives.as_ref().expect("collectives");
        let function = table.$name.expect("the emulator exports it");
        // SAFETY: the test gives what the function asks for, or nothing that it follows.
        unsafe { function($($arg),*) }
    }};
}

/// A run with two devices.
fn two(config: &Value) -> Session {
    let mut whole = json!({"devices": 2, "deadlock_ms": 200});
    let map = whole.as_object_mut().expect("an object");
    map.extend(config.as_object().expect("an object").clone());
    Session::new(&whole)
}

/// Communicators of ranks on devices.
fn init(session: &Session, devices: &[i32], ranks: &[i32]) -> Result<Vec<cnclComm_t>, u32> {
    init_by(session, devices, ranks, null_mut())
}

fn init_by(
    session: &Session,
    devices: &[i32],
    ranks: &[i32],
    identifier: *mut cnclCliqueId,
) -> Result<Vec<cnclComm_t>, u32> {
    let count = devices.len() as i32;
    let mut all = vec![cnclComm_t::NULL; devices.len()];
    let (places, devices, ranks) = (all.as_mut_ptr(), devices.as_ptr(), ranks.as_ptr());
    match cncl!(
        session,
        cnclInitComms(places, count, devices, ranks, count, identifier)
    ) {
        0 => Ok(all),
        code => Err(code),
    }
}

fn destroy(session: &Session, all: &mut [cnclComm_t]) -> u32 {
    cncl!(
        session,
        cnclDestroyComms(all.as_mut_ptr(), all.len() as i32)
    )
}

/// One of two ranks, with a device, a thread and a queue of its own: eight numbers in memory, and as many behind them to be written.
struct Rank<'a> {
    session: &'a Session,
    rank: usize,
    communicator: cnclComm_t,
    queue: cnrtQueue_t,
    numbers: *mut c_void,
}

impl Rank<'_> {
    fn out(&self) -> *mut c_void {
        self.numbers.wrapping_byte_add(32)
    }

    fn gather(&self, count: usize, dtype: cnclDataType_t) -> u32 {
        self.gather_from(self.numbers, self.out(), count, dtype)
    }

    fn gather_from(
        &self,
        from: *mut c_void,
        to: *mut c_void,
        count: usize,
        dtype: cnclDataType_t,
    ) -> u32 {
        let (communicator, queue) = (self.communicator, self.queue);
        cncl!(
            self.session,
            cnclAllGather(from, to, count, dtype, communicator, queue)
        )
    }

    fn reduce(&self, count: usize, op: cnclReduceOp_t) -> u32 {
        let (from, to) = (self.numbers, self.out());
        let (communicator, queue) = (self.communicator, self.queue);
        cncl!(
            self.session,
            cnclAllReduce(from, to, count, F32, op, communicator, queue)
        )
    }

    fn read(&self, count: usize) -> Vec<f32> {
        self.session.download(self.out(), count).expect("written")
    }

    fn wait(&self) -> u32 {
        self.session.wait(self.queue)
    }

    /// Gives back what it holds but for its communicator.
    fn leave(&self) {
        assert_eq!(self.session.destroy(self.queue), 0);
        assert_eq!(self.session.free(self.numbers), 0);
    }
}

/// What `work` gives on each of two ranks.
fn ranks<T: Send>(
    session: &Session,
    all: &[cnclComm_t],
    work: impl Fn(&Rank<'_>) -> T + Sync,
) -> [T; 2] {
    let handles = [0, 1].map(|rank: usize| all[rank].0.addr());
    let one = |rank: usize| {
        assert_eq!(session.set(rank as i32), 0);
        let numbers = session.malloc(96);
        let own: Vec<f32> = (0..8).map(|index| (10 * rank + index) as f32).collect();
        let from = own.as_ptr().cast_mut().cast();
        assert_eq!(session.copy((numbers, from), 32, H2D), 0);
        work(&Rank {
            session,
            rank,
            communicator: cnclComm_t(without_provenance_mut(handles[rank])),
            queue: session.queue(),
            numbers,
        })
    };
    thread::scope(|scope| {
        let one = &one;
        let ranks = [0, 1].map(|rank| scope.spawn(move || one(rank)));
        ranks.map(|rank| rank.join().expect("no panic"))
    })
}

fn pair(session: &Session) -> Vec<cnclComm_t> {
    init(session, &[0, 1], &[0, 1]).expect("two devices")
}

/// What the one violation is of, and what it says.
fn found(session: &Session) -> (String, String) {
    let report = session.report();
    let violations = report["violations"].as_array().expect("a list");
    assert_eq!(violations.len(), 1, "{violations:?}");
    let text = |key: &str| violations[0][key].as_str().expect("a text").to_owned();
    (text("kind"), text("text"))
}

#[test]
fn numbers_of_all_ranks_come_in_their_order() {
    for seed in SEEDS {
        let session = two(&json!({"schedule": "random", "seed": seed}));
        let mut all = pair(&session);
        let got = ranks(&session, &all, |rank| {
            assert_eq!(rank.gather(3, F32), 0);
            assert_eq!(rank.wait(), 0);
            let gathered = rank.read(6);
            assert_eq!(rank.reduce(2, SUM), 0);
            assert_eq!(rank.reduce(1, cnclReduceOp_t::cnclMax), 0);
            assert_eq!(rank.wait(), 0);
            let reduced = rank.read(2);
            rank.leave();
            (gathered, reduced)
        });
        let want = (vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0], vec![10.0, 12.0]);
        assert_eq!(got, [want.clone(), want], "seed {seed}");
        assert_eq!(destroy(&session, &mut all), 0);
        session.clean();
    }
}

/// Rank 0 gathers three numbers, and rank 1 does something else.
#[track_caller]
fn differs(other: impl Fn(&Rank<'_>) -> u32 + Sync, what: &str) {
    let session = two(&json!({}));
    let all = pair(&session);
    let codes = ranks(&session, &all, |rank| {
        // In this order, so that it is known who differs from whom.
        while rank.rank == 1 && rank.session.calls("cnclAllGather") == 0 {
            thread::yield_now();
        }
        let queued = match rank.rank {
            0 => rank.gather(3, F32),
            _ => other(rank),
        };
        assert_eq!(queued, 0);
        rank.wait()
    });
    assert_eq!(codes, [STATE; 2]);
    let (kind, text) = found(&session);
    assert_eq!(kind, "E-CNCL");
    let known = "where rank 0 calls cnclAllGather of 3 cnclFloat32 (call 1 of the communicator)";
    assert_eq!(text, format!("rank 1 calls {what}, {known}"));
}

#[test]
fn calls_that_differ_are_found_with_both_sites() {
    differs(|rank| rank.gather(2, F32), "cnclAllGather of 2 cnclFloat32");
    let ints = cnclDataType_t::cnclInt32;
    differs(
        move |rank| rank.gather(3, ints),
        "cnclAllGather of 3 cnclInt32",
    );
    differs(
        |rank| rank.reduce(3, SUM),
        "cnclAllReduce of 3 cnclFloat32 by Sum",
    );
}

#[test]
fn a_rank_that_does_not_call_is_found() {
    let session = two(&json!({}));
    let all = pair(&session);
    let codes = ranks(&session, &all, |rank| {
        if rank.rank == 0 {
            assert_eq!(rank.gather(1, F32), 0);
        }
        rank.wait()
    });
    assert_eq!(codes, [STATE, 0]);
    let (kind, text) = found(&session);
    assert_eq!(kind, "E-CNCL");
    let want = "rank 0 calls cnclAllGather of 1 cnclFloat32 (call 1 of the communicator), which rank 1 does not";
    assert_eq!(text, want);
}

#[test]
fn ranks_that_do_not_fit_together_are_found() {
    for (devices, of, want) in [
        ([0, 1], [0, 0], "ranks [0, 0], want each of 2 once"),
        ([0, 1], [1, 2], "ranks [1, 2], want each of 2 once"),
        ([1, 1], [0, 1], "devices [1, 1]: two ranks on one"),
    ] {
        let session = two(&json!({}));
        assert_eq!(init(&session, &devices, &of).err(), Some(ARGUMENTS));
        assert_eq!(found(&session), ("E-CNCL".to_owned(), want.to_owned()));
    }
    let session = two(&json!({}));
    assert_eq!(init(&session, &[0, 2], &[0, 1]).err(), Some(ARGUMENTS));
    assert_eq!(session.violations(), Vec::<String>::new());
}

#[test]
fn an_identifier_is_used_once() {
    let session = two(&json!({}));
    let mut identifier = cnclCliqueId {
        data: [0; 128],
        hash: 0,
    };
    let by = |identifier: &mut cnclCliqueId| init_by(&session, &[0, 1], &[0, 1], identifier);
    assert_eq!(by(&mut identifier).err(), Some(ARGUMENTS), "nobody told it");
    assert_eq!(session.violations(), Vec::<String>::new());
    assert_eq!(cncl!(session, cnclGetCliqueId(&raw mut identifier)), 0);
    let mut all = by(&mut identifier).expect("the first time");
    assert_eq!(destroy(&session, &mut all), 0);
    assert_eq!(by(&mut identifier).err(), Some(ARGUMENTS));
    let want = (
        "E-CNCL".to_owned(),
        "an identifier that was used before".to_owned(),
    );
    assert_eq!(found(&session), want);
}

#[test]
fn ranks_of_other_processes_are_not_emulated() {
    let session = two(&json!({}));
    let mut all = [cnclComm_t::NULL];
    let (devices, ranks) = ([0], [0]);
    let code = cncl!(
        session,
        cnclInitComms(
            all.as_mut_ptr(),
            1,
            devices.as_ptr(),
            ranks.as_ptr(),
            2,
            null_mut()
        )
    );
    assert_eq!(code, UNSUPPORTED);
    assert_eq!(session.violations(), ["E-UNIMPL"]);
}

#[test]
fn one_of_a_clique_is_not_destroyed_alone() {
    let session = two(&json!({}));
    let mut all = pair(&session);
    assert_eq!(cncl!(session, cnclFreeComm(all[1])), ARGUMENTS);
    let want = "rank 1 is destroyed, and rank 0 of its clique is not";
    assert_eq!(found(&session), ("E-CNCL".to_owned(), want.to_owned()));
    let leaks = session.report()["leaks"].clone();
    let want = ["a communicator of device 0", "a communicator of device 1"];
    assert_eq!(leaks, json!(want));
    assert_eq!(destroy(&session, &mut all), 0);
    assert_eq!(session.report()["leaks"], json!([]));
    assert_eq!(destroy(&session, &mut all), ARGUMENTS, "they are gone");
    // One that has no others may go by itself.
    let one = init(&session, &[1], &[0]).expect("a device");
    assert_eq!(cncl!(session, cnclFreeComm(one[0])), 0);
}

#[test]
fn one_thread_does_not_call_for_two_ranks() {
    let session = two(&json!({}));
    let all = pair(&session);
    let call = |rank: usize| {
        assert_eq!(session.set(rank as i32), 0);
        let numbers = session.upload(&[1.0_f32; 4]);
        let own = Rank {
            session: &session,
            rank,
            communicator: all[rank],
            queue: session.queue(),
            numbers,
        };
        own.gather_from(numbers, numbers.wrapping_byte_add(4), 1, F32)
    };
    assert_eq!([call(0), call(1)], [0, ARGUMENTS]);
    let want = "one thread calls for rank 0 and for rank 1";
    assert_eq!(found(&session), ("E-CNCL".to_owned(), want.to_owned()));
}

#[test]
fn an_abort_lets_go_who_waits() {
    let session = two(&json!({"deadlock_ms": 10_000}));
    let all = pair(&session);
    let others = all.iter().map(|one| one.0.addr()).collect::<Vec<_>>();
    let codes = ranks(&session, &all, |rank| {
        if rank.rank == 0 {
            assert_eq!(rank.gather(1, F32), 0);
            return rank.wait();
        }
        while rank.session.calls("cnrtQueueSync") == 0 {
            thread::yield_now();
        }
        for other in &others {
            let other = cnclComm_t(without_provenance_mut(*other));
            assert_eq!(cncl!(rank.session, cnclAbortComm(other)), 0);
        }
        rank.wait()
    });
    assert_eq!(codes, [QUEUE, 0]);
    assert_eq!(session.violations(), Vec::<String>::new());
    assert_eq!(cncl!(session, cnclFreeComm(all[0])), ARGUMENTS);
    let want = ("E-CNCL".to_owned(), "the communicator is gone".to_owned());
    assert_eq!(found(&session), want);
}

#[test]
fn what_a_collective_does_not_take_is_found() {
    type Gather = fn(&Rank<'_>) -> u32;
    let session = two(&json!({}));
    let mut all = pair(&session);
    ranks(&session, &all, |rank| {
        assert_eq!(rank.gather(0, F32), ARGUMENTS);
        assert_eq!(rank.gather(1, cnclDataType_t(0x99)), ARGUMENTS);
        assert_eq!(rank.reduce(1, cnclReduceOp_t(9)), ARGUMENTS);
        rank.leave();
    });
    assert_eq!(session.violations(), Vec::<String>::new());
    let bad: [(&str, Gather); 3] = [
        ("E-PTR", |rank| rank.gather(9, F32)),
        ("E-PTR", |rank| {
            rank.gather_from(null_mut(), rank.numbers, 1, F32)
        }),
        ("E-DEV", |rank| {
            assert_eq!(rank.session.set(1 - rank.rank as i32), 0);
            let code = rank.gather(1, F32);
            assert_eq!(rank.session.set(rank.rank as i32), 0);
            code
        }),
    ];
    for (_, call) in bad {
        ranks(&session, &all, |rank| {
            assert_eq!(call(rank), ARGUMENTS);
            rank.leave();
        });
    }
    let kinds: Vec<_> = bad.iter().flat_map(|(kind, _)| [*kind; 2]).collect();
    assert_eq!(session.violations(), kinds);
    assert_eq!(destroy(&session, &mut all), 0);
    assert_eq!(session.report()["leaks"], json!([]));
}

#[test]
fn what_was_never_written_is_not_sent() {
    let session = two(&json!({}));
    let all = pair(&session);
    let codes = ranks(&session, &all, |rank| {
        let (from, to) = (rank.out(), rank.numbers);
        assert_eq!(rank.gather_from(from, to, 2, F32), 0);
        rank.wait()
    });
    assert_eq!(codes, [QUEUE; 2]);
    assert_eq!(session.violations(), ["E-POISON"; 2]);
}
