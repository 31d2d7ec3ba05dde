//! Queues and notifiers: E-DEFQ, E-RACE, E-DESTROY, E-HANDLE, deadlocks, and what is set up.

use std::ffi::CStr;
use std::ptr::null_mut;

use backend_cambricon_sys::types::{cnrtNotifier_t, cnrtQueue_t};
use serde_json::json;

use crate::session::{ARGS, D2H, HANDLE, SEEDS, Session, call, pinned_bytes};

#[test]
fn it_says_what_it_is() {
    let session = Session::new(&json!({"profile": "mlu370"}));
    let emulator = session.neuware.emulator.as_ref().expect("an emulator");
    let version = call!(emulator, neuwareEmuVersion());
    // SAFETY: a text that stays.
    let version = unsafe { CStr::from_ptr(version) };
    assert_eq!(version, c"neuware-emulator 1");
    let driver = session
        .neuware
        .driver
        .as_ref()
        .expect("the driver's functions");
    let (find, tell) = (
        driver.cnDeviceGet.expect("one"),
        driver.cnDeviceGetName.expect("one"),
    );
    let (mut device, mut name) = (9, [0_u8; 64]);
    // SAFETY: a place for a device.
    assert_eq!(unsafe { find(&raw mut device, 0) }, 0);
    // SAFETY: a buffer of this length.
    assert_eq!(unsafe { tell(name.as_mut_ptr().cast(), 64, device) }, 0);
    assert_eq!(CStr::from_bytes_until_nul(&name), Ok(c"MLU370-EMU"));
}

#[test]
fn calls_are_counted_and_the_nth_fails_on_demand() {
    let faults = json!([{"call": "cnrtMalloc", "nth": 2, "code": 100_100}]);
    let session = Session::new(&json!({"faults": faults}));
    let first = session.malloc(64);
    let mut pointer = null_mut();
    assert_eq!(
        call!(session.neuware.runtime, cnrtMalloc(&raw mut pointer, 64)),
        100_100
    );
    assert!(session.text().contains("set to fail"), "{}", session.text());
    assert_eq!(session.report()["calls"]["cnrtMalloc"], 2);
    session.free(first);
    session.clean();
}

#[test]
fn a_configuration_that_is_none_changes_nothing_and_a_reset_begins_anew() {
    let session = Session::lazy();
    let block = session.malloc(64);
    assert_eq!(session.configure(&json!({"devices": 99})), ARGS);
    assert_eq!(session.free(block), 0, "the run goes on");
    session.malloc(64);
    let emulator = session.neuware.emulator.as_ref().expect("an emulator");
    call!(emulator, neuwareEmuReset());
    session.clean();
}

#[test]
fn a_default_queue_is_not_used() {
    let session = Session::lazy();
    let block = session.malloc(64);
    for default in [0, 1] {
        let queue = cnrtQueue_t(std::ptr::without_provenance_mut(default));
        assert_eq!(session.fill(block, 1, 64, queue), ARGS);
    }
    assert_eq!(session.violations(), ["E-DEFQ", "E-DEFQ"]);
}

#[test]
fn nothing_runs_before_somebody_waits() {
    let session = Session::lazy();
    let (block, pinned, queue) = (
        session.upload(&[1_u8; 8]),
        session.pinned(8),
        session.queue(),
    );
    pinned_bytes(pinned, 8).fill(1);
    assert_eq!(session.queue_copy((pinned, block), 8, D2H, queue), 0);
    assert_eq!(
        pinned_bytes(pinned, 8),
        [0xFF; 8],
        "not what was there, nor what will be"
    );
    assert_eq!(session.wait(queue), 0);
    assert_eq!(pinned_bytes(pinned, 8), [1; 8]);
    session.free(block);
    session.free_host(pinned);
    session.destroy(queue);
    session.clean();
}

#[test]
fn a_missing_wait_between_queues_is_a_race_whatever_the_schedule() {
    for seed in SEEDS {
        for waits in [true, false] {
            let session = Session::new(&json!({"schedule": "random", "seed": seed}));
            let (block, first, second) = (session.malloc(8), session.queue(), session.queue());
            let notifier = session.notifier();
            session.fill(block, 1, 8, first);
            session.place(notifier, first);
            if waits {
                session.wait_for(second, notifier);
            }
            session.fill(block, 2, 8, second);
            session.wait(second);
            session.wait(first);
            if waits {
                assert_eq!(session.download(block, 1), Ok(vec![2_u8]));
                session.free(block);
                session.destroy_notifier(notifier);
                session.destroy(first);
                session.destroy(second);
                session.clean();
            } else {
                assert_eq!(session.violations(), ["E-RACE"], "seed {seed}");
            }
        }
    }
}

#[test]
fn a_copy_at_once_of_what_a_queue_still_writes_is_a_race() {
    let session = Session::lazy();
    let (block, queue) = (session.upload(&[1_u8; 8]), session.queue());
    session.fill(block, 2, 8, queue);
    assert_eq!(
        session.download(block, 8),
        Ok(vec![1_u8; 8]),
        "what was there before"
    );
    assert_eq!(session.violations(), ["E-RACE"]);
    assert_eq!(session.wait(queue), 0);
    assert_eq!(session.download(block, 8), Ok(vec![2_u8; 8]));
    assert_eq!(session.violations(), ["E-RACE"]);
}

#[test]
fn what_is_pending_is_not_destroyed() {
    let session = Session::lazy();
    let (block, queue, notifier) = (session.malloc(8), session.queue(), session.notifier());
    session.fill(block, 1, 8, queue);
    session.place(notifier, queue);
    assert_eq!(session.destroy_notifier(notifier), 0);
    assert_eq!(session.destroy(queue), 0);
    assert_eq!(session.violations(), ["E-DESTROY", "E-DESTROY"]);
}

#[test]
fn a_handle_that_is_none_is_told_from_one_that_was_destroyed() {
    let session = Session::lazy();
    let (queue, notifier) = (session.queue(), session.notifier());
    session.destroy(queue);
    session.destroy_notifier(notifier);
    assert_eq!(session.wait(queue), HANDLE);
    assert!(
        session.text().contains("was destroyed"),
        "{}",
        session.text()
    );
    assert_eq!(session.destroy_notifier(notifier), HANDLE);
    let none = cnrtNotifier_t(std::ptr::without_provenance_mut(8));
    assert_eq!(session.destroy_notifier(none), HANDLE);
    assert!(session.text().contains("ever made"), "{}", session.text());
    assert_eq!(session.violations(), ["E-HANDLE"; 3]);
}

#[test]
fn a_query_takes_a_step_and_says_not_ready_as_a_release_does() {
    for code in [1, 632_014] {
        let session = Session::new(&json!({"schedule": "lazy", "not_ready": code}));
        let (block, queue, notifier) = (session.malloc(8), session.queue(), session.notifier());
        session.fill(block, 1, 8, queue);
        session.place(notifier, queue);
        let runtime = &session.neuware.runtime;
        let query = || call!(runtime, cnrtQueryNotifier(notifier));
        assert_eq!([query(), query()], [code, 0]);
        assert_eq!(call!(runtime, cnrtGetLastError()), code);
        assert_eq!(call!(runtime, cnrtGetLastError()), 0);
        assert_eq!(call!(runtime, cnrtQueueQuery(queue)), 0);
        session.free(block);
        session.destroy_notifier(notifier);
        session.destroy(queue);
        session.clean();
    }
}

#[test]
fn a_notifier_does_not_tell_that_its_queue_failed() {
    let session = Session::lazy();
    let (block, queue, notifier) = (session.malloc(8), session.queue(), session.notifier());
    let pinned = session.pinned(8);
    assert_eq!(
        session.queue_copy((pinned, block), 8, D2H, queue),
        0,
        "never written"
    );
    session.place(notifier, queue);
    assert_eq!(
        call!(session.neuware.runtime, cnrtWaitNotifier(notifier)),
        0
    );
    assert_eq!(session.wait(queue), 100_060);
    assert_eq!(session.violations(), ["E-POISON"]);
}

#[test]
fn a_wait_that_nothing_ends_is_told_with_who_waits() {
    let session = Session::lazy();
    let (queue, notifier) = (session.queue(), session.notifier());
    assert_eq!(session.wait_for(queue, notifier), 0);
    assert_eq!(session.wait(queue), 100_015);
    assert!(
        session.text().contains("which no queue records"),
        "{}",
        session.text()
    );
    assert_eq!(session.violations(), ["deadlock"]);
}
