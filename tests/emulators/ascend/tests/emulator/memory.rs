//! Memory and copies: checks 5 to 10, 12 and 13.

use std::ptr::{null, null_mut};

use backend_ascend_sys::types::{
    aclrtMemLocation, aclrtMemLocationType, aclrtMemMallocPolicy, aclrtMemcpyKind,
    aclrtPtrAttributes,
};
use serde_json::json;

use crate::session::{D2D, D2H, H2D, SEEDS, Session, call, pinned_bytes};

#[test]
fn an_allocation_wants_a_size_a_place_and_room() {
    let session = Session::new(&json!({"hbm_bytes": 1000}));
    assert_eq!(session.try_malloc(0), Err(107_000));
    let policy = aclrtMemMallocPolicy::ACL_MEM_MALLOC_HUGE_FIRST;
    assert_eq!(
        call!(session.ascend.runtime, aclrtMalloc(null_mut(), 64, policy)),
        107_000
    );
    let block = session.malloc(928);
    assert_eq!(block.addr() % 64, 0);
    assert_eq!(session.try_malloc(64), Err(207_001));
    assert!(session.text().contains("in use"), "{}", session.text());
    assert_eq!(session.free(block), 0);
    let block = session.malloc(64);
    assert_eq!(session.free(block), 0);
    session.clean();
}

#[test]
fn a_block_is_freed_once_by_its_own_pointer() {
    let session = Session::lazy();
    let block = session.malloc(64);
    let host = session.pinned(64);
    let mut pageable = [0_u8; 8];
    assert_eq!(session.free(block.wrapping_byte_add(32)), 107_000);
    assert_eq!(session.free(host), 107_000);
    assert_eq!(session.free(pageable.as_mut_ptr().cast()), 107_000);
    assert_eq!(session.free(null_mut()), 107_000);
    assert_eq!(session.free(block), 0);
    assert_eq!(session.free(block), 107_000);
    assert_eq!(session.free_host(host.wrapping_byte_add(1)), 107_000);
    assert_eq!(session.free_host(host), 0);
    assert_eq!(session.free_host(host), 107_000);
    session.clean();
}

#[test]
fn bytes_go_there_and_back() {
    let session = Session::lazy();
    let (a, b) = (session.malloc(64), session.malloc(64));
    let bytes: Vec<u8> = (0..64).collect();
    session.upload(a, &bytes);
    assert_eq!(session.copy(b, a, 64, D2D), 0);
    assert_eq!(session.download(b, 64), Ok(bytes.clone()));
    assert_eq!(
        session.download(b.wrapping_byte_add(10), 5),
        Ok(bytes[10..15].to_vec())
    );
    let mut host = [0_u8; 64];
    let default = aclrtMemcpyKind::ACL_MEMCPY_DEFAULT;
    assert_eq!(session.copy(host.as_mut_ptr().cast(), b, 64, default), 0);
    assert_eq!(host[..], bytes[..]);
    assert_eq!(call!(session.ascend.runtime, aclrtMemset(a, 64, 7, 10)), 0);
    assert_eq!(
        session.download(a, 11),
        Ok([vec![7; 10], vec![10]].concat())
    );
    session.free(a);
    session.free(b);
    session.clean();
}

#[test]
fn the_sides_of_a_copy_are_what_its_kind_says() {
    let session = Session::lazy();
    let device = session.malloc(64);
    let pinned = session.pinned(64);
    let mut bytes = [0_u8; 64];
    let host = bytes.as_mut_ptr().cast();
    let h2h = aclrtMemcpyKind::ACL_MEMCPY_HOST_TO_HOST;
    let cases = [
        (host, device.cast_const(), H2D),
        (device, host.cast_const(), D2H),
        (pinned, host.cast_const(), D2D),
        (device, pinned.cast_const(), D2D),
        (pinned, pinned.cast_const(), H2D),
        (device, device.cast_const(), h2h),
        (device, null(), H2D),
        (null_mut(), device.cast_const(), D2H),
        (device, host.cast_const(), aclrtMemcpyKind(9)),
    ];
    for (to, from, kind) in cases {
        assert_eq!(session.copy(to, from, 64, kind), 107_000, "{kind:?}");
        assert_eq!(
            session.queue((to, from), 64, kind, null_mut()),
            107_000,
            "{kind:?}"
        );
    }
    assert_eq!(session.copy(pinned, host, 64, h2h), 0);
    assert_eq!(session.fill(pinned, 1, 8, null_mut()), 107_000);
    session.free(device);
    session.free_host(pinned);
    session.clean();
}

#[test]
fn a_copy_stays_within_both_sides() {
    let session = Session::lazy();
    let (device, pinned) = (session.malloc(64), session.pinned(64));
    let host = [0_u8; 128];
    let runtime = &session.ascend.runtime;
    let copy = |to, max, from, count| call!(runtime, aclrtMemcpy(to, max, from, count, H2D));
    assert_eq!(
        copy(device, 64, host.as_ptr().cast(), 65),
        107_000,
        "more than destMax"
    );
    assert_eq!(
        copy(device, 65, host.as_ptr().cast(), 65),
        107_000,
        "more than the block"
    );
    assert_eq!(
        copy(device.wrapping_byte_add(1), 64, host.as_ptr().cast(), 64),
        107_000
    );
    assert_eq!(
        copy(device, 64, pinned.wrapping_byte_add(1).cast_const(), 64),
        107_000
    );
    assert_eq!(
        copy(device, 64, host.as_ptr().cast(), 0),
        107_000,
        "nothing"
    );
    assert_eq!(call!(runtime, aclrtMemset(device, 65, 0, 65)), 107_000);
    assert_eq!(call!(runtime, aclrtMemset(device, 63, 0, 64)), 107_000);
    session.free(device);
    session.free_host(pinned);
    session.clean();
}

#[test]
fn a_free_under_queued_work_is_found() {
    let session = Session::lazy();
    let (block, pinned, stream) = (session.malloc(64), session.pinned(64), session.stream());
    assert_eq!(session.queue((block, pinned), 64, H2D, stream), 0);
    assert_eq!(session.free(block), 0, "as on a device");
    assert_eq!(session.free_host(pinned), 0);
    assert_eq!(session.violations(), ["free_in_flight", "free_in_flight"]);
    assert_eq!(session.wait(stream), 507_015);
    assert_eq!(session.violations()[2..], ["use_after_free"]);
}

#[test]
fn a_free_after_the_wait_is_none() {
    for seed in SEEDS {
        let session = Session::new(&json!({"schedule": "random", "seed": seed}));
        let (block, stream) = (session.malloc(64), session.stream());
        assert_eq!(session.fill(block, 1, 64, stream), 0);
        assert_eq!(session.wait(stream), 0);
        assert_eq!(session.free(block), 0);
        assert_eq!(session.destroy(stream), 0);
        session.clean();
    }
}

#[test]
fn work_on_what_was_freed_fails_its_context() {
    let session = Session::lazy();
    let (block, other, stream) = (session.malloc(64), session.malloc(64), session.stream());
    session.free(block);
    assert_eq!(
        session.fill(block, 1, 64, stream),
        0,
        "a device does not look"
    );
    assert_eq!(session.wait(stream), 507_015);
    assert_eq!(session.violations(), ["use_after_free"]);
    assert_eq!(
        session.try_malloc(64),
        Err(507_015),
        "and so does everything after it"
    );
    assert_eq!(session.wait(stream), 507_015);
    assert_eq!(session.free(other), 0, "but for what gives back");
    assert_eq!(session.destroy(stream), 0);
    assert_eq!(session.reset(0), 0);
    assert_eq!(session.set(0), 0);
    let block = session.malloc(64);
    session.free(block);
}

#[test]
fn a_host_that_writes_a_queued_source_is_found() {
    let session = Session::lazy();
    let (block, pinned, stream) = (session.malloc(64), session.pinned(64), session.stream());
    pinned_bytes(pinned, 64).fill(3);
    assert_eq!(session.queue((block, pinned), 64, H2D, stream), 0);
    pinned_bytes(pinned, 64)[5] = 4;
    assert_eq!(session.wait(stream), 507_015);
    assert_eq!(session.violations(), ["source_mutated"]);
}

#[test]
fn what_was_never_written_is_not_read_by_the_host() {
    let session = Session::lazy();
    let (a, b) = (session.malloc(64), session.malloc(64));
    session.upload(a, &[1; 40]);
    assert_eq!(session.copy(b, a, 64, D2D), 0, "it may travel");
    assert_eq!(session.download(b, 40), Ok(vec![1; 40]));
    assert_eq!(session.download(b, 41), Err(107_000));
    assert_eq!(session.violations(), ["uninitialised_read"]);
    assert!(session.text().contains("byte 40"), "{}", session.text());
}

#[test]
fn a_pointer_tells_where_it_leads() {
    let session = Session::lazy();
    let (device, pinned) = (session.malloc(64), session.pinned(64));
    let host = 0_u8;
    let location = |pointer| {
        let mut found = aclrtPtrAttributes {
            location: aclrtMemLocation {
                id: 9,
                type_: aclrtMemLocationType(9),
            },
            pageSize: 0,
            rsv: [0; 4],
        };
        let runtime = &session.ascend.runtime;
        let code = call!(runtime, optional aclrtPointerGetAttributes(pointer, &raw mut found));
        assert_eq!(code, 0);
        found.location.type_.0
    };
    let found = [
        device.cast_const(),
        pinned.cast_const(),
        (&raw const host).cast(),
    ]
    .map(location);
    assert_eq!(found, [1, 0, 2]);
    session.free(device);
    session.free_host(pinned);
    session.clean();
}

#[test]
fn memory_of_another_device_is_refused() {
    let session = Session::new(&json!({"devices": 2}));
    let block = session.malloc(64);
    assert_eq!(session.set(1), 0);
    let host = [0_u8; 64];
    assert_eq!(session.copy(block, host.as_ptr().cast(), 64, H2D), 107_000);
    assert!(
        session.text().contains("memory of device 0"),
        "{}",
        session.text()
    );
    assert_eq!(session.free(block), 107_000);
    assert_eq!(session.set(0), 0);
    assert_eq!(session.free(block), 0);
    session.clean();
}
