//! Captures and graphs: checks 26 to 28, and what an executor may be launched into.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::thread;

use backend_ascend_sys::types::{
    aclmdlRI, aclmdlRICaptureMode, aclmdlRICaptureStatus, aclrtEventRecordedStatus, aclrtStream,
    aclrtStreamStatus,
};
use serde_json::json;

use crate::operands::{F32, plan};
use crate::session::{D2D, D2H, H2D, SEEDS, Session, call, pinned_bytes};

const GLOBAL: aclmdlRICaptureMode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_GLOBAL;
const THREAD_LOCAL: aclmdlRICaptureMode =
    aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_THREAD_LOCAL;
const RELAXED: aclmdlRICaptureMode = aclmdlRICaptureMode::ACL_MODEL_RI_CAPTURE_MODE_RELAXED;

/// Calls of captures and of graphs.
trait Capturing {
    fn begin(&self, stream: aclrtStream, mode: aclmdlRICaptureMode) -> i32;
    fn end(&self, stream: aclrtStream) -> Result<aclmdlRI, i32>;
    fn status(&self, stream: aclrtStream) -> u32;
    fn exchange(&self, mode: aclmdlRICaptureMode) -> Result<aclmdlRICaptureMode, i32>;
    fn replay(&self, graph: aclmdlRI, stream: aclrtStream) -> i32;
    fn execute(&self, graph: aclmdlRI, timeout: i32) -> i32;
    fn destroy_graph(&self, graph: aclmdlRI) -> i32;
    /// A graph that fills a block.
    fn filling(&self, block: *mut c_void, byte: u8, stream: aclrtStream) -> aclmdlRI;
}

impl Capturing for Session {
    fn begin(&self, stream: aclrtStream, mode: aclmdlRICaptureMode) -> i32 {
        let table = self.ascend.capture.as_ref().expect("exported");
        call!(table, aclmdlRICaptureBegin(stream, mode))
    }

    fn end(&self, stream: aclrtStream) -> Result<aclmdlRI, i32> {
        let table = self.ascend.capture.as_ref().expect("exported");
        let mut graph = null_mut();
        match call!(table, aclmdlRICaptureEnd(stream, &raw mut graph)) {
            0 => Ok(graph),
            code => Err(code),
        }
    }

    fn status(&self, stream: aclrtStream) -> u32 {
        let table = self.ascend.capture.as_ref().expect("exported");
        let (mut status, mut graph) = (aclmdlRICaptureStatus(9), null_mut());
        let code = call!(
            table,
            aclmdlRICaptureGetInfo(stream, &raw mut status, &raw mut graph)
        );
        assert_eq!(code, 0, "{}", self.text());
        status.0
    }

    fn exchange(&self, mut mode: aclmdlRICaptureMode) -> Result<aclmdlRICaptureMode, i32> {
        let table = self.ascend.capture.as_ref().expect("exported");
        match call!(table, aclmdlRICaptureThreadExchangeMode(&raw mut mode)) {
            0 => Ok(mode),
            code => Err(code),
        }
    }

    fn replay(&self, graph: aclmdlRI, stream: aclrtStream) -> i32 {
        let table = self.ascend.capture.as_ref().expect("exported");
        call!(table, aclmdlRIExecuteAsync(graph, stream))
    }

    fn execute(&self, graph: aclmdlRI, timeout: i32) -> i32 {
        let table = self.ascend.capture.as_ref().expect("exported");
        call!(table, optional aclmdlRIExecute(graph, timeout))
    }

    fn destroy_graph(&self, graph: aclmdlRI) -> i32 {
        let table = self.ascend.capture.as_ref().expect("exported");
        call!(table, aclmdlRIDestroy(graph))
    }

    fn filling(&self, block: *mut c_void, byte: u8, stream: aclrtStream) -> aclmdlRI {
        assert_eq!(self.begin(stream, THREAD_LOCAL), 0, "{}", self.text());
        assert_eq!(self.fill(block, byte, 8, stream), 0);
        self.end(stream).expect("a graph")
    }
}

#[test]
fn a_graph_runs_as_often_as_it_is_replayed_and_not_before() {
    for seed in SEEDS {
        let session = Session::new(&json!({"schedule": "random", "seed": seed}));
        let (from, to) = (session.malloc(8), session.malloc(8));
        let (host, stream) = (session.pinned(8), session.stream());
        session.upload(to, &[9; 8]);
        assert_eq!(session.status(stream), 0);
        assert_eq!(session.begin(stream, THREAD_LOCAL), 0);
        assert_eq!(session.status(stream), 1);
        // From the host, whose numbers are those of each replay, over the device, and back.
        let calls = [
            session.queue((from, host), 8, H2D, stream),
            session.queue((to, from), 8, D2D, stream),
            session.fill(to, 7, 1, stream),
        ];
        assert_eq!(calls, [0; 3]);
        let graph = session.end(stream).expect("a graph");
        assert_eq!(session.status(stream), 0);
        assert_eq!(session.wait(stream), 0);
        assert_eq!(session.download(to, 8), Ok(vec![9; 8]), "captured, not run");
        for value in 1..4 {
            pinned_bytes(host, 8).fill(value);
            assert_eq!(session.replay(graph, stream), 0, "{}", session.text());
            assert_eq!(session.wait(stream), 0);
            let mut want = vec![value; 8];
            want[0] = 7;
            assert_eq!(session.download(to, 8), Ok(want), "seed {seed}");
        }
        assert_eq!(session.execute(graph, -1), 0);
        assert_eq!(session.destroy_graph(graph), 0);
        assert_eq!(session.destroy_graph(graph), 107_017);
        assert_eq!(session.replay(graph, stream), 107_017);
        for block in [from, to] {
            session.free(block);
        }
        session.free_host(host);
        session.destroy(stream);
        session.clean();
    }
}

#[test]
fn an_operator_is_captured_with_an_executor_that_is_then_used_up() {
    let session = Session::lazy();
    let (x, y) = (session.tensor(F32, &[1], &[4.0]), session.empty(F32, &[1]));
    let stream = session.stream();
    let sqrt = session.ascend.operators.Sqrt.expect("exported").launch;
    let (_, _, executor) = plan!(session, Sqrt(x.tensor, y.tensor));
    assert_eq!(session.begin(stream, GLOBAL), 0);
    // SAFETY: what the first half gave; it wants no workspace.
    assert_eq!(unsafe { sqrt(null_mut(), 0, executor, stream) }, 0);
    // SAFETY: an executor that was launched, which is what is refused.
    let again = unsafe { sqrt(null_mut(), 0, executor, stream) };
    assert_eq!(again, 561_000);
    assert_eq!(session.violations(), ["executor_reused"]);
    let graph = session.end(stream).expect("a graph");
    for number in [4.0_f32, 9.0, 16.0] {
        session.upload(x.block, &number.to_le_bytes());
        assert_eq!(session.replay(graph, stream), 0);
        assert_eq!(session.wait(stream), 0);
        assert_eq!(session.numbers(&y), [f64::from(number.sqrt())]);
    }
    assert_eq!(session.destroy_graph(graph), 0);
}

/// A call within a capture, the code that it gives, and whether it ends the capture.
type Forbidden = (&'static str, fn(&Session, &Held) -> i32, i32);

struct Held {
    block: *mut c_void,
    pinned: *mut c_void,
    stream: aclrtStream,
    other: aclrtStream,
    event: *mut c_void,
}

const FORBIDDEN: [Forbidden; 17] = [
    (
        "a wait for the stream",
        |s, held| s.wait(held.stream),
        107_027,
    ),
    ("a wait for another", |s, held| s.wait(held.other), 107_030),
    (
        "a wait for the device",
        |s, _| call!(s.ascend.runtime, aclrtSynchronizeDevice()),
        107_030,
    ),
    (
        "a look at the stream",
        |s, held| {
            let mut status = aclrtStreamStatus(0);
            call!(
                s.ascend.runtime,
                aclrtStreamQuery(held.stream, &raw mut status)
            )
        },
        107_027,
    ),
    (
        "a look at an event",
        |s, held| {
            let mut status = aclrtEventRecordedStatus(0);
            call!(
                s.ascend.runtime,
                aclrtQueryEventStatus(held.event, &raw mut status)
            )
        },
        107_030,
    ),
    (
        "a wait for an event",
        |s, held| call!(s.ascend.runtime, aclrtSynchronizeEvent(held.event)),
        107_030,
    ),
    (
        "a wait for an event of the capture",
        |s, held| {
            assert_eq!(s.record(held.event, held.stream), 0);
            call!(s.ascend.runtime, aclrtSynchronizeEvent(held.event))
        },
        107_028,
    ),
    (
        "a wait of the stream for an event that is not of the capture",
        |s, held| s.wait_for(held.stream, held.event),
        107_024,
    ),
    (
        "a reset of an event",
        |s, held| call!(s.ascend.runtime, aclrtResetEvent(held.event, held.stream)),
        207_000,
    ),
    (
        "memory",
        |s, _| s.try_malloc(8).map_or_else(|code| code, |_| 0),
        107_030,
    ),
    ("memory that goes", |s, held| s.free(held.block), 107_030),
    (
        "pinned memory",
        |s, _| {
            let mut pointer = null_mut();
            call!(s.ascend.runtime, aclrtMallocHost(&raw mut pointer, 8))
        },
        107_030,
    ),
    (
        "pinned memory that goes",
        |s, held| s.free_host(held.pinned),
        107_030,
    ),
    (
        "a copy at once",
        |s, held| s.copy(held.pinned, held.block, 8, D2H),
        107_030,
    ),
    (
        "a copy from memory that is not pinned",
        |s, held| {
            let bytes = [0_u8; 8];
            s.queue((held.block, bytes.as_ptr().cast()), 8, H2D, held.stream)
        },
        107_041,
    ),
    (
        "the end of the stream",
        |s, held| s.destroy(held.stream),
        107_027,
    ),
    ("a capture", |s, held| s.begin(held.stream, GLOBAL), 107_027),
];

#[test]
fn what_a_capture_forbids_ends_it_with_the_vendors_code() {
    for (what, call, want) in FORBIDDEN {
        let session = Session::lazy();
        let held = Held {
            block: session.malloc(8),
            pinned: session.pinned(8),
            stream: session.stream(),
            other: session.stream(),
            event: session.event(0),
        };
        session.record(held.event, held.other);
        assert_eq!(session.begin(held.stream, GLOBAL), 0);
        assert_eq!(session.fill(held.block, 1, 8, held.stream), 0);
        assert_eq!(call(&session, &held), want, "{what}: {}", session.text());
        assert_eq!(session.status(held.stream), 2, "{what}");
        assert_eq!(
            session.fill(held.block, 1, 8, held.stream),
            507_903,
            "{what}"
        );
        assert_eq!(session.end(held.stream), Err(507_903), "{what}");
        // And the stream is as any other.
        assert_eq!(session.fill(held.block, 1, 8, held.stream), 0, "{what}");
        assert_eq!(session.wait(held.stream), 0, "{what}");
        let left = [
            session.free(held.block),
            session.free_host(held.pinned),
            session.destroy(held.stream),
            session.destroy(held.other),
            session.destroy_event(held.event),
        ];
        assert_eq!(left, [0; 5], "{what}");
        session.clean();
    }
}

#[test]
fn a_capture_ends_where_it_began() {
    let session = Session::lazy();
    let (stream, other) = (session.stream(), session.stream());
    assert_eq!(session.begin(null_mut(), GLOBAL), 107_031);
    assert_eq!(session.begin(stream, aclmdlRICaptureMode(7)), 107_000);
    assert_eq!(session.end(stream), Err(107_029), "never begun");
    assert_eq!(session.begin(stream, GLOBAL), 0);
    assert_eq!(session.end(other), Err(107_029));
    let at = stream.addr();
    thread::scope(|scope| {
        let ends = scope.spawn(|| {
            assert_eq!(session.set(0), 0);
            let ended = session.end(std::ptr::without_provenance_mut(at));
            assert_eq!(session.reset(0), 0);
            ended.map(|_| ())
        });
        assert_eq!(ends.join().expect("no panic"), Err(107_038));
    });
    assert_eq!(session.end(stream), Err(507_903));
    session.destroy(stream);
    session.destroy(other);
    session.clean();
}

#[test]
fn side_streams_join_a_capture_by_events_and_are_joined_before_its_end() {
    // Whether the first stream waits for the second in the end, and whether that gets more to do after it.
    for (rejoins, adds) in [(true, false), (false, false), (true, true)] {
        let session = Session::lazy();
        let (block, main, side) = (session.malloc(8), session.stream(), session.stream());
        let (fork, join) = (session.event(0), session.event(0));
        assert_eq!(session.begin(main, GLOBAL), 0);
        assert_eq!(session.fill(block, 1, 8, main), 0);
        assert_eq!(session.record(fork, main), 0);
        assert_eq!(session.wait_for(side, fork), 0);
        assert_eq!(session.status(side), 1);
        assert_eq!(session.fill(block, 2, 8, side), 0);
        assert_eq!(session.record(join, side), 0);
        if rejoins {
            assert_eq!(session.wait_for(main, join), 0);
        }
        if adds {
            assert_eq!(session.fill(block, 3, 8, side), 0);
        }
        let ended = session.end(main);
        if rejoins && !adds {
            let graph = ended.expect("a graph");
            assert_eq!(session.replay(graph, main), 0);
            assert_eq!(session.wait(main), 0);
            assert_eq!(session.download(block, 8), Ok(vec![2; 8]));
            assert_eq!(session.destroy_graph(graph), 0);
        } else {
            assert_eq!(ended, Err(107_025), "{}", session.text());
        }
        // It ends on the stream that it began on.
        assert_eq!(session.begin(main, GLOBAL), 0);
        assert_eq!(session.record(fork, main), 0);
        assert_eq!(session.wait_for(side, fork), 0);
        assert_eq!(session.end(side), Err(107_036));
        assert_eq!(session.end(main), Err(507_903));
        session.free(block);
        session.destroy(main);
        session.destroy(side);
        session.destroy_event(fork);
        session.destroy_event(join);
        session.clean();
    }
}

#[test]
fn captures_do_not_wait_for_each_other() {
    let session = Session::lazy();
    let (first, second, event) = (session.stream(), session.stream(), session.event(0));
    assert_eq!(session.begin(first, GLOBAL), 0);
    assert_eq!(session.begin(second, GLOBAL), 0);
    assert_eq!(session.record(event, first), 0);
    assert_eq!(session.wait_for(second, event), 107_032);
    assert_eq!(session.end(first), Err(507_903));
    assert_eq!(session.end(second), Err(507_903));
    session.destroy(first);
    session.destroy(second);
    session.destroy_event(event);
    session.clean();
}

#[test]
fn whom_a_capture_forbids_what_its_mode_says_and_that_of_who_calls() {
    // The mode of the capture, that of the thread that calls, whether that is the capture's own, and what it gets.
    let cases = [
        (GLOBAL, GLOBAL, false, 107_030),
        (GLOBAL, THREAD_LOCAL, false, 0),
        (GLOBAL, RELAXED, true, 0),
        (THREAD_LOCAL, GLOBAL, false, 0),
        (THREAD_LOCAL, GLOBAL, true, 107_030),
        (RELAXED, GLOBAL, true, 0),
    ];
    for (capture, of_thread, is_own, want) in cases {
        let session = Session::lazy();
        let stream = session.stream();
        assert_eq!(session.begin(stream, capture), 0);
        let ask = || {
            let had = session.exchange(of_thread).expect("a mode");
            let code = match session.try_malloc(8) {
                Ok(block) => session.free(block),
                Err(code) => code,
            };
            assert_eq!(session.exchange(had), Ok(of_thread));
            code
        };
        let got = if is_own {
            ask()
        } else {
            thread::scope(|scope| {
                let other = scope.spawn(|| {
                    assert_eq!(session.set(0), 0);
                    let code = ask();
                    assert_eq!(session.reset(0), 0);
                    code
                });
                other.join().expect("no panic")
            })
        };
        assert_eq!(got, want, "{capture:?} {of_thread:?} {is_own}");
        assert_eq!(session.end(stream).is_ok(), want == 0);
        assert_eq!(session.exchange(aclmdlRICaptureMode(7)), Err(107_000));
        session.reset(0);
    }
}

#[test]
fn a_graph_is_replayed_on_memory_that_is_still_there() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    let graph = session.filling(block, 1, stream);
    assert_eq!(session.replay(graph, stream), 0);
    assert_eq!(session.wait(stream), 0);
    assert_eq!(session.free(block), 0);
    assert_eq!(session.violations(), Vec::<String>::new(), "not yet");
    assert_eq!(session.replay(graph, stream), 0);
    assert_eq!(session.wait(stream), 507_015);
    let violation = &session.report()["violations"][0];
    assert_eq!(violation["kind"], "graph_dangling");
    assert_eq!(
        violation["call"], "aclrtMemsetAsync",
        "which had been captured"
    );
}

#[test]
fn memory_goes_while_a_replay_that_uses_it_is_queued() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    let graph = session.filling(block, 1, stream);
    assert_eq!(session.replay(graph, stream), 0);
    assert_eq!(session.free(block), 0);
    assert_eq!(session.violations(), ["free_in_flight"]);
}

#[test]
fn a_graph_that_runs_is_neither_replayed_nor_destroyed() {
    let session = Session::lazy();
    let (block, stream, other) = (session.malloc(8), session.stream(), session.stream());
    let graph = session.filling(block, 1, stream);
    assert_eq!(session.replay(graph, stream), 0);
    assert_eq!(session.replay(graph, other), 107_037);
    assert_eq!(session.replay(graph, stream), 107_037);
    assert_eq!(session.destroy_graph(graph), 107_037);
    assert_eq!(session.wait(stream), 0);
    assert_eq!(session.replay(graph, other), 0);
    assert_eq!(session.wait(other), 0);
    assert_eq!(session.destroy_graph(graph), 0);
    session.free(block);
    session.destroy(stream);
    session.destroy(other);
    session.clean();
}

#[test]
fn the_host_leaves_pinned_memory_alone_while_a_replay_is_queued() {
    let session = Session::lazy();
    let (block, host, stream) = (session.malloc(8), session.pinned(8), session.stream());
    assert_eq!(session.begin(stream, THREAD_LOCAL), 0);
    assert_eq!(session.queue((block, host), 8, H2D, stream), 0);
    assert_eq!(session.queue((host, block), 8, D2H, stream), 0);
    // Captured, not queued: the host's to write.
    pinned_bytes(host, 8).fill(3);
    let graph = session.end(stream).expect("a graph");
    assert_eq!(pinned_bytes(host, 8), [3; 8]);
    assert_eq!(session.replay(graph, stream), 0);
    pinned_bytes(host, 8).fill(4);
    assert_eq!(session.wait(stream), 507_015);
    assert_eq!(session.violations(), ["source_mutated"]);
}

#[test]
fn graphs_belong_to_a_context_are_bounded_and_told_if_they_are_left() {
    let session = Session::new(&json!({"devices": 2, "limits": {"graphs": 1}}));
    let (block, stream) = (session.malloc(8), session.stream());
    let graph = session.filling(block, 1, stream);
    assert_eq!(session.begin(stream, THREAD_LOCAL), 0);
    assert_eq!(session.end(stream), Err(207_010));
    assert_eq!(session.set(1), 0);
    let other = session.stream();
    assert_eq!(session.replay(graph, other), 107_004);
    assert_eq!(session.begin(other, GLOBAL), 0);
    assert_eq!(session.set(0), 0);
    assert_eq!(session.wait(stream), 0, "a capture of another device");
    let leaks = session.report()["leaks"].to_string();
    for left in ["a graph of device 0", "a capture of device 1"] {
        assert!(leaks.contains(left), "{leaks}");
    }
    assert_eq!(session.reset(0), 0);
    assert_eq!(session.reset(1), 0);
}
