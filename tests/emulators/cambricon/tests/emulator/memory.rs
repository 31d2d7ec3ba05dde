//! Memory and copies: E-PTR, E-HPTR, E-UAF, E-DFREE, E-LEAK, E-DEV, E-HOSTLIFE, E-POISON.

use std::ptr::null_mut;

use serde_json::json;

use crate::session::{ARGS, D2D, D2H, H2D, QUEUE, Session, call, pinned_bytes};

#[test]
fn an_allocation_wants_a_size_a_place_and_room() {
    let session = Session::new(&json!({"memory_bytes": 1000}));
    let runtime = &session.neuware.runtime;
    let mut pointer = null_mut();
    assert_eq!(call!(runtime, cnrtMalloc(&raw mut pointer, 0)), ARGS);
    assert_eq!(call!(runtime, cnrtMalloc(null_mut(), 64)), ARGS);
    assert_eq!(call!(runtime, cnrtMalloc(&raw mut pointer, 1001)), 100_100);
    assert!(
        session.text().contains("1001 bytes of 1000"),
        "{}",
        session.text()
    );
    let block = session.malloc(1000);
    assert_eq!(session.free(block), 0);
    session.clean();
}

#[test]
fn bytes_go_there_and_back() {
    let session = Session::lazy();
    let bytes: Vec<u8> = (0..64).collect();
    let (a, b) = (session.upload(&bytes), session.malloc(64));
    assert_eq!(session.copy((b, a), 64, D2D), 0);
    assert_eq!(session.download(b, 64), Ok(bytes.clone()));
    assert_eq!(
        session.download(b.wrapping_byte_add(10), 5),
        Ok(bytes[10..15].to_vec())
    );
    session.free(a);
    session.free(b);
    session.clean();
}

#[test]
fn a_block_is_freed_once_by_its_own_pointer() {
    let session = Session::lazy();
    let (block, host) = (session.malloc(64), session.pinned(64));
    for pointer in [block.wrapping_byte_add(32), host, null_mut()] {
        assert_eq!(session.free(pointer), ARGS);
    }
    assert_eq!(session.free(block), 0);
    assert_eq!(session.free(block), ARGS);
    assert_eq!(session.free_host(block), ARGS);
    assert_eq!(session.free_host(host), 0);
    assert_eq!(session.free_host(host), ARGS);
    assert_eq!(session.violations(), ["E-DFREE"; 6]);
}

#[test]
fn a_side_of_a_copy_that_is_not_what_the_direction_says_is_found() {
    let session = Session::lazy();
    let device = session.malloc(64);
    let mut bytes = [0_u8; 64];
    let host = bytes.as_mut_ptr().cast();
    let direction = 632_013;
    assert_eq!(session.copy((host, device), 64, H2D), direction);
    assert_eq!(session.copy((device, device), 64, H2D), direction);
    assert_eq!(session.copy((host, host), 64, D2H), direction);
    assert_eq!(session.violations(), ["E-PTR", "E-HPTR", "E-PTR"]);
    assert_eq!(session.copy((device, null_mut()), 64, H2D), ARGS);
    assert_eq!(
        session.copy((device, host), 65, H2D),
        ARGS,
        "beyond the block"
    );
    assert_eq!(session.copy((device, host), 0, H2D), ARGS);
    assert_eq!(session.violations()[3..], ["E-PTR", "E-PTR"]);
}

#[test]
fn memory_is_used_by_its_own_device() {
    let session = Session::new(&json!({"devices": 2, "deadlock_ms": 20}));
    let first = session.malloc(64);
    let queue = session.queue();
    assert_eq!(session.set(1), 0);
    assert_eq!(session.download::<u8>(first, 64), Err(ARGS));
    assert_eq!(session.wait(queue), 100_014);
    assert_eq!(session.set(2), 100_005);
    assert_eq!(session.violations(), ["E-DEV", "E-DEV"]);
}

#[test]
fn a_free_under_queued_work_is_found_and_what_was_freed_is_not_used() {
    let session = Session::lazy();
    let (block, queue) = (session.malloc(64), session.queue());
    assert_eq!(session.fill(block, 1, 64, queue), 0);
    assert_eq!(session.free(block), 0, "as on a device");
    assert_eq!(session.violations(), ["E-UAF"]);
    assert_eq!(session.wait(queue), QUEUE);
    assert_eq!(session.violations(), ["E-UAF", "E-UAF"]);
    let other = session.malloc(64);
    assert_eq!(session.fill(other, 1, 64, queue), QUEUE, "it takes no more");
}

#[test]
fn pinned_memory_stays_as_it_is_until_its_copy_has_run() {
    let session = Session::lazy();
    let (block, queue, pinned) = (session.malloc(8), session.queue(), session.pinned(8));
    assert_eq!(session.queue_copy((block, pinned), 8, H2D, queue), 0);
    pinned_bytes(pinned, 8)[0] = 9;
    assert_eq!(session.wait(queue), QUEUE);
    assert_eq!(session.violations(), ["E-HOSTLIFE"]);

    let queue = session.queue();
    assert_eq!(session.queue_copy((block, pinned), 8, H2D, queue), 0);
    assert_eq!(session.free_host(pinned), 0);
    assert_eq!(session.violations(), ["E-HOSTLIFE", "E-HOSTLIFE"]);
}

#[test]
fn what_was_never_written_does_not_come_back() {
    let session = Session::lazy();
    let block = session.malloc(64);
    assert_eq!(session.download::<u8>(block, 64), Err(ARGS));
    assert_eq!(session.violations(), ["E-POISON"]);
}

#[test]
fn what_is_left_is_told() {
    let session = Session::lazy();
    session.malloc(64);
    session.pinned(32);
    let queue = session.queue();
    session.notifier();
    session.operators(queue);
    session.bare_tensor();
    let leaks = session.report()["leaks"].as_array().expect("a list").len();
    assert_eq!(leaks, 6);
}

#[test]
fn memory_of_the_host_that_is_not_pinned_is_copied_at_once() {
    let session = Session::lazy();
    let (block, queue) = (session.malloc(8), session.queue());
    let mut host = [7_u8; 8];
    let pointer = host.as_mut_ptr().cast();
    assert_eq!(session.queue_copy((block, pointer), 8, H2D, queue), 0);
    host.fill(1);
    let mut back = [0_u8; 8];
    let pointer = back.as_mut_ptr().cast();
    assert_eq!(session.queue_copy((pointer, block), 8, D2H, queue), 0);
    assert_eq!(back, [7; 8]);
    session.free(block);
    session.destroy(queue);
    session.clean();
}
