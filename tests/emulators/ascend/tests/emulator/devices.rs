//! The process, devices and contexts: checks 1 to 3, and 31.

use std::ptr::null_mut;
use std::thread;

use backend_ascend_sys::types::{aclrtDevAttr, aclrtMemAttr};
use serde_json::json;

use crate::session::{Session, call};

#[test]
fn nothing_is_called_before_init_nor_after_finalize() {
    let session = Session::bare(&json!({}));
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 100_001);
    assert_eq!(session.set(0), 100_001);
    assert_eq!(session.init(), 0);
    assert_eq!(session.init(), 100_002);
    assert_eq!(session.set(0), 0);
    assert_eq!(session.reset(0), 0);
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 0);
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 100_037);
    assert_eq!(session.set(0), 100_001);
    session.clean();
}

#[test]
fn a_finalize_before_the_last_reset_is_found() {
    let session = Session::new(&json!({}));
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 0);
    assert_eq!(session.violations(), ["finalize_before_reset"]);
}

#[test]
fn a_device_is_bound_to_the_thread_that_set_it() {
    let session = Session::new(&json!({}));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let before = session.try_malloc(64);
            assert!(
                session.text().contains("ACL_ERROR_RT_CONTEXT_NULL"),
                "{}",
                session.text()
            );
            assert_eq!(session.set(0), 0);
            let after = session.try_malloc(64).map(|block| session.free(block));
            assert_eq!(session.reset(0), 0);
            (before.err(), after)
        });
        assert_eq!(other.join().expect("no panic"), (Some(107_002), Ok(0)));
    });
    assert_eq!(session.text(), "", "errors are of their thread");
    assert!(
        session.try_malloc(64).is_ok(),
        "the device is still set here"
    );
    assert_eq!(session.reset(0), 0);
    assert_eq!(
        session.try_malloc(64),
        Err(107_002),
        "the last reset ends it"
    );
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let session = Session::new(&json!({"devices": 2}));
    let mut count = 0;
    assert_eq!(
        call!(session.ascend.runtime, aclrtGetDeviceCount(&raw mut count)),
        0
    );
    assert_eq!(count, 2);
    for device in [-1, 2, i32::MAX, i32::MIN] {
        assert_eq!(session.set(device), 107_001);
        assert_eq!(session.reset(device), 107_001);
    }
    assert_eq!(session.set(1), 0);
    let mut device = 0;
    assert_eq!(
        call!(session.ascend.runtime, aclrtGetDevice(&raw mut device)),
        0
    );
    assert_eq!(device, 1);
    session.clean();
}

#[test]
fn a_reset_tells_what_was_left() {
    let session = Session::lazy();
    session.malloc(64);
    session.stream();
    session.event(0);
    let host = session.pinned(10);
    assert_eq!(session.reset(0), 0);
    let report = session.report();
    let leaks = report["leaks"].as_array().expect("a list");
    for (leak, want) in
        leaks
            .iter()
            .zip(["64 bytes at", "a stream", "an event", "10 bytes of pinned"])
    {
        assert!(
            leak.as_str().is_some_and(|leak| leak.starts_with(want)),
            "{leak}: {want}"
        );
    }
    assert_eq!(leaks.len(), 4, "{leaks:?}");
    assert_eq!(session.set(0), 0);
    assert_eq!(session.free_host(host), 0);
    assert_eq!(session.report()["leaks"].as_array().map(Vec::len), Some(3));
}

#[test]
fn contexts_have_their_own_streams() {
    let session = Session::lazy();
    let runtime = &session.ascend.runtime;
    let stream = session.stream();
    let (mut first, mut second) = (null_mut(), null_mut());
    assert_eq!(call!(runtime, aclrtGetCurrentContext(&raw mut first)), 0);
    assert_eq!(
        call!(runtime, optional aclrtCreateContext(&raw mut second, 0)),
        0
    );
    assert_ne!(first, second);
    assert_eq!(session.wait(stream), 107_003);
    assert_eq!(session.destroy(stream), 107_003);
    assert_eq!(call!(runtime, aclrtSetCurrentContext(first)), 0);
    assert_eq!(session.wait(stream), 0);
    assert_eq!(session.destroy(stream), 0);
    assert_eq!(call!(runtime, optional aclrtDestroyContext(second)), 0);
    assert_eq!(
        call!(runtime, optional aclrtDestroyContext(second)),
        107_017
    );
    assert_eq!(call!(runtime, optional aclrtDestroyContext(first)), 107_000);
    session.clean();
}

#[test]
fn a_device_tells_what_it_is() {
    let session = Session::new(&json!({"hbm_bytes": 1000}));
    let runtime = &session.ascend.runtime;
    let info = |attr| {
        let mut value = 0;
        let code = call!(runtime, optional aclrtGetDeviceInfo(0, attr, &raw mut value));
        (code, value)
    };
    assert_eq!(info(aclrtDevAttr::ACL_DEV_ATTR_CUBE_CORE_NUM), (0, 20));
    assert_eq!(info(aclrtDevAttr::ACL_DEV_ATTR_VECTOR_CORE_NUM), (0, 40));
    assert_eq!(
        info(aclrtDevAttr::ACL_DEV_ATTR_TOTAL_GLOBAL_MEM_SIZE),
        (0, 1000)
    );
    assert_eq!(info(aclrtDevAttr(7)).0, 207_000);
    let block = session.malloc(33);
    let (mut free, mut total) = (0, 0);
    let attr = aclrtMemAttr::ACL_HBM_MEM;
    assert_eq!(
        call!(
            runtime,
            aclrtGetMemInfo(attr, &raw mut free, &raw mut total)
        ),
        0
    );
    assert_eq!(
        (free, total),
        (1000 - 64 - 32, 1000),
        "in units of 32, and 32 more"
    );
    session.free(block);
    session.clean();
}
