//! Streams: checks 4 and 11, schedules, host functions, deadlocks.

use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use backend_ascend_sys::Ascend;
use backend_ascend_sys::types::aclrtStreamStatus;
use serde_json::json;

use crate::session::{D2H, SEEDS, Session, call, pinned_bytes};

#[test]
fn nothing_runs_before_somebody_waits() {
    let session = Session::lazy();
    let (block, pinned, stream) = (session.malloc(8), session.pinned(8), session.stream());
    session.upload(block, &[1; 8]);
    pinned_bytes(pinned, 8).fill(1);
    assert_eq!(session.queue((pinned, block), 8, D2H, stream), 0);
    assert_eq!(
        pinned_bytes(pinned, 8),
        [0xFF; 8],
        "not what was there, nor what will be"
    );
    assert_eq!(session.wait(stream), 0);
    assert_eq!(pinned_bytes(pinned, 8), [1; 8]);
    session.free(block);
    session.free_host(pinned);
    session.destroy(stream);
    session.clean();
}

#[test]
fn an_eager_stream_runs_at_once() {
    let session = Session::new(&json!({"schedule": "eager"}));
    let (block, pinned, stream) = (session.malloc(8), session.pinned(8), session.stream());
    assert_eq!(session.fill(block, 5, 8, stream), 0);
    assert_eq!(session.queue((pinned, block), 8, D2H, stream), 0);
    assert_eq!(pinned_bytes(pinned, 8), [5; 8]);
    session.free(block);
    session.free_host(pinned);
    session.destroy(stream);
    session.clean();
}

#[test]
fn a_copy_to_pageable_memory_returns_when_it_is_done() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    let mut host = [0_u8; 8];
    assert_eq!(session.fill(block, 5, 8, stream), 0);
    assert_eq!(
        session.queue((host.as_mut_ptr().cast(), block), 8, D2H, stream),
        0
    );
    assert_eq!(host, [5; 8]);
    session.free(block);
    session.destroy(stream);
    session.clean();
}

#[test]
fn a_synchronous_copy_waits_for_the_default_stream_alone() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    assert_eq!(session.fill(block, 5, 8, null_mut()), 0);
    assert_eq!(session.download(block, 8), Ok(vec![5; 8]));
    assert_eq!(session.fill(block, 6, 8, stream), 0);
    assert_eq!(
        session.download(block, 8),
        Ok(vec![5; 8]),
        "the other stream was not waited for"
    );
    assert_eq!(call!(session.ascend.runtime, aclrtSynchronizeDevice()), 0);
    assert_eq!(session.download(block, 8), Ok(vec![6; 8]));
    session.free(block);
    session.destroy(stream);
    session.clean();
}

#[test]
fn a_missing_wait_between_streams_is_seen_in_some_seed() {
    let ends = |has_event: bool| {
        let of_seed = |seed: u64| {
            let session = Session::new(&json!({"schedule": "random", "seed": seed}));
            let (block, first, second) = (session.malloc(8), session.stream(), session.stream());
            let event = session.event(0);
            session.fill(block, 1, 8, first);
            session.record(event, first);
            if has_event {
                session.wait_for(second, event);
            }
            session.fill(block, 2, 8, second);
            assert_eq!(call!(session.ascend.runtime, aclrtSynchronizeDevice()), 0);
            session.download(block, 1).expect("written")[0]
        };
        SEEDS.map(of_seed).collect::<Vec<_>>()
    };
    assert_eq!(ends(true), [2; 8]);
    let without = ends(false);
    assert!(without.contains(&1) && without.contains(&2), "{without:?}");
}

#[test]
fn a_query_takes_a_step_and_says_how_far_it_is() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    session.fill(block, 1, 8, stream);
    session.fill(block, 2, 8, stream);
    let query = || {
        let mut status = aclrtStreamStatus(9);
        let runtime = &session.ascend.runtime;
        assert_eq!(call!(runtime, aclrtStreamQuery(stream, &raw mut status)), 0);
        status.0
    };
    assert_eq!([query(), query(), query()], [1, 0, 0]);
    session.free(block);
    session.destroy(stream);
    session.clean();
}

#[test]
fn a_stream_that_was_destroyed_is_told_from_one_that_never_was() {
    let session = Session::lazy();
    let stream = session.stream();
    assert_eq!(session.destroy(stream), 0);
    assert_eq!(session.destroy(stream), 107_017);
    assert!(
        session.text().contains("was destroyed"),
        "{}",
        session.text()
    );
    assert_eq!(session.wait(stream), 107_017);
    assert_eq!(session.wait(8 as *mut c_void), 107_017);
    assert!(session.text().contains("ever made"), "{}", session.text());
    assert_eq!(session.destroy(null_mut()), 107_017);
    assert_eq!(session.wait(null_mut()), 0, "the default stream");
    session.clean();
}

#[test]
fn a_stream_is_waited_for_before_it_is_destroyed_unless_by_force() {
    let session = Session::lazy();
    let block = session.malloc(8);
    let (first, second) = (session.stream(), session.stream());
    session.fill(block, 1, 8, first);
    assert_eq!(session.destroy(first), 0);
    session.fill(block, 2, 8, second);
    assert_eq!(
        call!(session.ascend.runtime, aclrtDestroyStreamForce(second)),
        0
    );
    assert_eq!(session.download(block, 8), Ok(vec![1; 8]));
    session.free(block);
    session.clean();
}

#[test]
fn streams_are_bounded() {
    let session = Session::new(&json!({"limits": {"streams": 2}}));
    let stream = session.stream();
    let mut more = null_mut();
    let runtime = &session.ascend.runtime;
    let code = call!(runtime, optional aclrtCreateStream(&raw mut more));
    assert_eq!(code, 207_008, "the default stream counts");
    let code = call!(runtime, aclrtCreateStreamWithConfig(null_mut(), 0, 0));
    assert_eq!(code, 107_000);
    session.destroy(stream);
    let code = call!(
        runtime,
        aclrtCreateStreamWithConfig(&raw mut more, 0, 0x100)
    );
    assert_eq!(code, 107_000);
    session.clean();
}

#[test]
fn a_wait_that_nothing_ends_is_told_with_who_waits() {
    let session = Session::lazy();
    let (stream, event) = (session.stream(), session.event(0));
    assert_eq!(session.wait_for(stream, event), 0);
    assert_eq!(session.wait(stream), 507_046);
    assert!(
        session.text().contains("which no queue records"),
        "{}",
        session.text()
    );
    assert_eq!(
        call!(session.ascend.runtime, aclrtSynchronizeEvent(event)),
        107_019
    );
    let code = call!(
        session.ascend.runtime,
        aclrtSynchronizeStreamWithTimeout(stream, 1)
    );
    assert_eq!(code, 507_046);
    assert_eq!(session.violations(), ["deadlock"; 3]);
}

#[test]
fn a_record_of_another_thread_ends_a_wait() {
    let session = Session::new(&json!({"deadlock_ms": 60000}));
    let (stream, event) = (session.stream(), session.event(0));
    assert_eq!(session.wait_for(stream, event), 0);
    let [stream_at, event_at] = [stream.addr(), event.addr()];
    thread::scope(|scope| {
        let waits = scope.spawn(move || stream_at);
        assert_eq!(waits.join().expect("no panic"), stream_at);
        let session = &session;
        let records = scope.spawn(move || {
            assert_eq!(session.set(0), 0);
            let other = session.stream();
            let event = std::ptr::without_provenance_mut(event_at);
            assert_eq!(session.record(event, other), 0);
            assert_eq!(session.wait(other), 0);
            assert_eq!(session.destroy(other), 0);
            assert_eq!(session.reset(0), 0);
        });
        assert_eq!(session.wait(stream), 0);
        records.join().expect("no panic");
    });
    session.destroy(stream);
    session.destroy_event(event);
    session.clean();
}

static CALLED: AtomicI32 = AtomicI32::new(0);

extern "C" fn notes(argument: *mut c_void) {
    CALLED.store(argument.addr() as i32, Ordering::SeqCst);
}

extern "C" fn calls_the_runtime(argument: *mut c_void) {
    // SAFETY: the test gives its session, which waits until this has returned.
    let ascend = unsafe { &*argument.cast::<Ascend>() };
    CALLED.store(
        call!(ascend.runtime, aclrtSynchronizeDevice()),
        Ordering::SeqCst,
    );
}

#[test]
fn a_host_function_runs_in_its_turn_and_may_not_call() {
    let session = Session::lazy();
    let stream = session.stream();
    let runtime = &session.ascend.runtime;
    let launch = |function, argument| call!(runtime, optional aclrtLaunchHostFunc(stream, function, argument));
    assert_eq!(launch(None, null_mut()), 107_000);
    assert_eq!(launch(Some(notes), std::ptr::without_provenance_mut(7)), 0);
    assert_eq!(CALLED.load(Ordering::SeqCst), 0);
    assert_eq!(session.wait(stream), 0);
    assert_eq!(CALLED.load(Ordering::SeqCst), 7);
    let ascend = Arc::as_ptr(&session.ascend).cast_mut().cast();
    assert_eq!(launch(Some(calls_the_runtime), ascend), 0);
    assert_eq!(session.wait(stream), 0);
    assert_eq!(CALLED.load(Ordering::SeqCst), 507_000);
    assert_eq!(session.violations(), ["call_in_callback"]);
    assert_eq!(session.queue((null_mut(), null()), 0, D2H, stream), 107_000);
}
