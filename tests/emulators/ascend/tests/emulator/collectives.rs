//! Communicators, and what their ranks do together: checks 29 to 31.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::thread;

use backend_ascend_sys::abi::collectives::Collectives;
use backend_ascend_sys::types::{
    HCCL_ROOT_INFO_BYTES, HcclComm, HcclCommConfig, HcclDataType, HcclReduceOp, HcclRootInfo,
    aclmdlRICaptureMode, aclrtStream,
};
use serde_json::{Value, json};

use crate::session::{SEEDS, Session, call};

const FP32: HcclDataType = HcclDataType::HCCL_DATA_TYPE_FP32;
const SUM: HcclReduceOp = HcclReduceOp::HCCL_REDUCE_SUM;
/// A wait that nothing ends.
const TIMED_OUT: i32 = 507_046;

fn table(session: &Session) -> &Collectives {
    let table = session.ascend.collectives.as_ref();
    table.expect("the emulator has collectives")
}

/// A run with two devices, and a root that was told of.
fn two(config: &Value) -> (Session, HcclRootInfo) {
    let mut whole = json!({"devices": 2, "deadlock_ms": 200});
    let map = whole.as_object_mut().expect("an object");
    map.extend(config.as_object().expect("an object").clone());
    let session = Session::new(&whole);
    let root = root(&session);
    (session, root)
}

fn root(session: &Session) -> HcclRootInfo {
    let mut root = HcclRootInfo {
        internal: [0; HCCL_ROOT_INFO_BYTES as usize],
    };
    let code = call!(table(session), HcclGetRootInfo(&raw mut root));
    assert_eq!(code.0, 0, "{}", session.text());
    root
}

fn join(session: &Session, root: &HcclRootInfo, [rank, count]: [u32; 2]) -> Result<HcclComm, u32> {
    let config = HcclCommConfig::default();
    join_with(session, root, [rank, count], &config)
}

fn join_with(
    session: &Session,
    root: &HcclRootInfo,
    [rank, count]: [u32; 2],
    config: &HcclCommConfig,
) -> Result<HcclComm, u32> {
    let mut communicator = null_mut();
    let code = call!(
        table(session),
        HcclCommInitRootInfoConfig(count, root, rank, config, &raw mut communicator)
    );
    match code.0 {
        0 => Ok(communicator),
        code => Err(code),
    }
}

/// One of two ranks, with a device, a thread and a stream of its own: eight numbers in memory, and as many behind them to be written.
struct Rank<'a> {
    session: &'a Session,
    rank: u32,
    communicator: HcclComm,
    stream: aclrtStream,
    numbers: *mut c_void,
}

impl Rank<'_> {
    fn out(&self) -> *mut c_void {
        self.numbers.wrapping_byte_add(32)
    }

    fn gather(&self, count: u64, dtype: HcclDataType) -> u32 {
        let (from, to) = (self.numbers, self.out());
        let table = table(self.session);
        let code = call!(
            table,
            HcclAllGather(from, to, count, dtype, self.communicator, self.stream)
        );
        code.0
    }

    fn reduce(&self, count: u64, op: HcclReduceOp) -> u32 {
        let (from, to) = (self.numbers, self.out());
        let table = table(self.session);
        let code = call!(
            table,
            HcclAllReduce(from, to, count, FP32, op, self.communicator, self.stream)
        );
        code.0
    }

    fn read(&self, count: usize) -> Vec<f32> {
        let bytes = self
            .session
            .download(self.out(), 4 * count)
            .expect("written");
        let numbers = bytes.as_chunks::<4>().0.iter();
        numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn wait(&self) -> i32 {
        self.session.wait(self.stream)
    }

    /// Gives back what it holds but for its communicator.
    fn leave(&self) {
        self.session.destroy(self.stream);
        self.session.free(self.numbers);
    }

    fn destroy(&self) -> u32 {
        call!(table(self.session), HcclCommDestroy(self.communicator)).0
    }
}

/// What `work` gives on each of two ranks.
fn ranks<T: Send>(
    session: &Session,
    root: &HcclRootInfo,
    work: impl Fn(&Rank<'_>) -> T + Sync,
) -> [T; 2] {
    let one = |rank: u32| {
        assert_eq!(session.set(rank as i32), 0);
        let communicator = join(session, root, [rank, 2]).expect("both come");
        let own = Rank {
            session,
            rank,
            communicator,
            stream: session.stream(),
            numbers: session.malloc(96),
        };
        let numbers = (0..8).map(|index| (10 * rank + index) as f32);
        let bytes: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
        session.upload(own.numbers, &bytes);
        let done = work(&own);
        assert_eq!(session.reset(rank as i32), 0);
        done
    };
    thread::scope(|scope| {
        let one = &one;
        let ranks = [0, 1].map(|rank| scope.spawn(move || one(rank)));
        ranks.map(|rank| rank.join().expect("no panic"))
    })
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
        let (session, root) = two(&json!({"schedule": "random", "seed": seed}));
        let got = ranks(&session, &root, |rank| {
            assert_eq!(rank.gather(3, FP32), 0, "{}", rank.session.text());
            assert_eq!(rank.wait(), 0, "{}", rank.session.text());
            let gathered = rank.read(6);
            assert_eq!(rank.reduce(2, SUM), 0);
            assert_eq!(rank.reduce(1, HcclReduceOp::HCCL_REDUCE_MAX), 0);
            assert_eq!(rank.wait(), 0, "{}", rank.session.text());
            let reduced = rank.read(2);
            rank.leave();
            assert_eq!(rank.destroy(), 0);
            (gathered, reduced)
        });
        let want = (vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0], vec![10.0, 12.0]);
        assert_eq!(got, [want.clone(), want], "seed {seed}");
        assert_eq!(session.reset(0), 0);
        session.clean();
    }
}

#[test]
fn a_communicator_may_be_joined_without_a_configuration() {
    let (session, root) = two(&json!({}));
    let mut communicator = null_mut();
    let table = table(&session);
    let init = table.HcclCommInitRootInfo.expect("it is exported");
    // SAFETY: what the root told, and a place for a handle.
    let code = unsafe { init(1, &raw const root, 0, &raw mut communicator) };
    assert_eq!(code.0, 0, "{}", session.text());
    assert_eq!(call!(table, HcclCommDestroy(communicator)).0, 0);
    assert_eq!(session.reset(0), 0);
    session.clean();
}

/// Rank 0 gathers three numbers, and rank 1 does something else.
#[track_caller]
fn differs(other: impl Fn(&Rank<'_>) -> u32 + Sync, what: &str) {
    let (session, root) = two(&json!({}));
    let codes = ranks(&session, &root, |rank| {
        // In this order, so that it is known who differs from whom.
        if rank.rank == 1 {
            while rank.session.calls("HcclAllGather") == 0 {
                thread::yield_now();
            }
        }
        let queued = match rank.rank {
            0 => rank.gather(3, FP32),
            _ => other(rank),
        };
        assert_eq!(queued, 0, "{}", rank.session.text());
        rank.wait()
    });
    assert_eq!(codes, [TIMED_OUT; 2]);
    let (kind, text) = found(&session);
    assert_eq!(kind, "collective_mismatch");
    let known =
        "where rank 0 calls HcclAllGather of 3 HCCL_DATA_TYPE_FP32 (call 1 of the communicator)";
    assert_eq!(text, format!("rank 1 calls {what}, {known}"));
}

#[test]
fn calls_that_differ_are_found_with_both_sites_and_end_in_a_timeout() {
    differs(
        |rank| rank.gather(2, FP32),
        "HcclAllGather of 2 HCCL_DATA_TYPE_FP32",
    );
    let ints = HcclDataType::HCCL_DATA_TYPE_INT32;
    differs(
        move |rank| rank.gather(3, ints),
        "HcclAllGather of 3 HCCL_DATA_TYPE_INT32",
    );
    let what = "HcclAllReduce of 3 HCCL_DATA_TYPE_FP32 by Sum";
    differs(|rank| rank.reduce(3, SUM), what);
}

#[test]
fn operations_that_differ_are_found() {
    let (session, root) = two(&json!({}));
    ranks(&session, &root, |rank| {
        let op = [SUM, HcclReduceOp::HCCL_REDUCE_MIN][rank.rank as usize];
        assert_eq!(rank.reduce(1, op), 0);
        assert_eq!(rank.wait(), TIMED_OUT);
    });
    let (kind, text) = found(&session);
    assert_eq!(kind, "collective_mismatch");
    assert!(text.contains("by Sum") && text.contains("by Min"), "{text}");
}

#[test]
fn a_rank_that_does_not_call_is_found() {
    let (session, root) = two(&json!({}));
    let codes = ranks(&session, &root, |rank| {
        if rank.rank == 0 {
            assert_eq!(rank.gather(1, FP32), 0);
        }
        rank.wait()
    });
    assert_eq!(codes, [TIMED_OUT, 0]);
    let (kind, text) = found(&session);
    assert_eq!(kind, "collective_mismatch");
    let want = "rank 0 calls HcclAllGather of 1 HCCL_DATA_TYPE_FP32 (call 1 of the communicator), which rank 1 does not";
    assert_eq!(text, want);
}

#[test]
fn a_rank_that_does_not_join_is_found() {
    let (session, root) = two(&json!({}));
    assert_eq!(join(&session, &root, [0, 2]), Err(9));
    let (kind, text) = found(&session);
    assert_eq!(kind, "collective_mismatch");
    assert_eq!(text, "rank 0 of 2 has come, and rank 1 has not");
}

#[test]
fn ranks_that_do_not_fit_together_are_found() {
    type Joins = fn(&Session, &HcclRootInfo) -> Result<HcclComm, u32>;
    let again: Joins = |session, root| {
        join(session, root, [0, 1])?;
        join(session, root, [0, 1])
    };
    // Both on the one device of this thread: the first waits on another one.
    let fits: [(&str, Joins); 2] = [
        ("has joined before", again),
        ("rank 0 of 2, others are of 1", |session, root| {
            join(session, root, [0, 1])?;
            join(session, root, [0, 2])
        }),
    ];
    for (want, joins) in fits {
        let (session, root) = two(&json!({}));
        assert_eq!(joins(&session, &root), Err(1), "{want}");
        let (kind, text) = found(&session);
        assert_eq!(kind, "collective_mismatch");
        assert!(text.contains(want), "{text}");
    }
    let (session, root) = two(&json!({}));
    let codes = thread::scope(|scope| {
        let join = |rank| {
            assert_eq!(session.set(0), 0);
            join(&session, &root, [rank, 2]).map(drop)
        };
        let ranks = [0, 1].map(|rank| scope.spawn(move || join(rank)));
        ranks.map(|rank| rank.join().expect("no panic"))
    });
    assert!(codes.contains(&Err(1)), "{codes:?}");
    let told = session.report()["violations"].to_string();
    assert!(
        told.contains("is on device 0, as another rank is"),
        "{told}"
    );
}

#[test]
fn ranks_and_roots_that_are_none_are_refused() {
    let (session, root) = two(&json!({}));
    assert_eq!(join(&session, &root, [2, 2]), Err(1));
    let none = HcclRootInfo {
        internal: [0; HCCL_ROOT_INFO_BYTES as usize],
    };
    assert_eq!(join(&session, &none, [0, 1]), Err(1));
    assert!(
        session.text().contains("no root told this"),
        "{}",
        session.text()
    );
    let destroy = |communicator| call!(table(&session), HcclCommDestroy(communicator)).0;
    assert_eq!(destroy(null_mut()), 1);
    assert_eq!(session.violations(), Vec::<String>::new());
    let communicator = join(&session, &root, [0, 1]).expect("it is alone");
    assert_eq!([destroy(communicator), destroy(communicator)], [0, 1]);
    assert_eq!(session.violations(), ["dead_object"]);
}

#[test]
fn a_configuration_of_another_size_mark_or_version_is_refused() {
    for (at, what) in [(0, "size"), (8, "magic"), (12, "version")] {
        let (session, root) = two(&json!({}));
        let mut config = HcclCommConfig::default();
        config.reserved[at] ^= 1;
        assert_eq!(join_with(&session, &root, [0, 1], &config), Err(1));
        let want = format!("the configuration's {what} is ");
        assert!(session.text().contains(&want), "{}", session.text());
        assert_eq!(session.reset(0), 0);
        session.clean();
    }
}

#[test]
fn communicators_that_are_left_are_leaks() {
    let (session, root) = two(&json!({}));
    ranks(&session, &root, |rank| {
        rank.leave();
        if rank.rank == 0 {
            assert_eq!(rank.destroy(), 0);
        }
    });
    let leaks = session.report()["leaks"].clone();
    assert_eq!(leaks, json!(["a communicator of device 1"]));
}

#[test]
fn a_communicator_that_goes_before_its_calls_have_run_is_found() {
    let (session, root) = two(&json!({}));
    ranks(&session, &root, |rank| {
        assert_eq!(rank.gather(1, FP32), 0);
        if rank.rank == 0 {
            assert_eq!(rank.destroy(), 0);
        }
        assert_eq!(rank.wait(), 0);
    });
    // The other rank needs what this one brings, not what it takes.
    assert_eq!(session.violations(), ["destroyed_in_flight"]);
}

#[test]
fn what_was_never_written_is_not_sent() {
    let (session, root) = two(&json!({}));
    let codes = ranks(&session, &root, |rank| {
        let (from, to) = (rank.out(), rank.numbers);
        let table = table(rank.session);
        let code = call!(
            table,
            HcclAllGather(from, to, 2, FP32, rank.communicator, rank.stream)
        );
        assert_eq!(code.0, 0);
        rank.wait()
    });
    assert!(codes.iter().all(|code| *code != 0), "{codes:?}");
    let found = session.violations();
    assert!(
        found.contains(&"uninitialised_read".to_owned()),
        "{found:?}"
    );
}

#[test]
fn what_a_collective_does_not_take_is_refused() {
    let (session, root) = two(&json!({}));
    ranks(&session, &root, |rank| {
        assert_eq!(rank.gather(0, FP32), 1);
        assert_eq!(rank.gather(9, FP32), 1, "more than the memory holds");
        assert_eq!(rank.gather(1, HcclDataType(99)), 5);
        assert_eq!(rank.reduce(1, HcclReduceOp(9)), 1);
        let capture = rank.session.ascend.capture.as_ref().expect("it has graphs");
        let mode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL;
        assert_eq!(call!(capture, aclmdlRICaptureBegin(rank.stream, mode)), 0);
        assert_eq!(rank.gather(1, FP32), 5);
        let mut graph = null_mut();
        let ended = call!(capture, aclmdlRICaptureEnd(rank.stream, &raw mut graph));
        assert_eq!(ended, 507_903);
        rank.leave();
        assert_eq!(rank.destroy(), 0);
    });
    assert_eq!(session.reset(0), 0);
    session.clean();
}
