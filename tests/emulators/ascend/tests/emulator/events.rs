//! Events.

use std::ptr::null_mut;

use backend_ascend_sys::types::{ACL_EVENT_TIME_LINE, aclrtEvent, aclrtEventRecordedStatus};
use serde_json::json;

use crate::session::{Session, call};

fn status(session: &Session, event: aclrtEvent) -> u32 {
    let mut status = aclrtEventRecordedStatus(9);
    let code = call!(
        session.ascend.runtime,
        aclrtQueryEventStatus(event, &raw mut status)
    );
    assert_eq!(code, 0, "{}", session.text());
    status.0
}

#[test]
fn an_event_is_complete_once_its_record_is_passed() {
    let session = Session::lazy();
    let (block, stream, event) = (session.malloc(8), session.stream(), session.event(0));
    assert_eq!(status(&session, event), 0, "never recorded");
    session.fill(block, 1, 8, stream);
    session.record(event, stream);
    session.fill(block, 2, 8, stream);
    assert_eq!(status(&session, event), 0);
    assert_eq!(
        call!(session.ascend.runtime, aclrtSynchronizeEvent(event)),
        0
    );
    assert_eq!(status(&session, event), 1);
    assert_eq!(
        session.download(block, 8),
        Ok(vec![1; 8]),
        "no further than the event"
    );
    assert_eq!(
        call!(session.ascend.runtime, aclrtResetEvent(event, stream)),
        0
    );
    assert_eq!(status(&session, event), 0);
    session.wait(stream);
    session.free(block);
    session.destroy(stream);
    session.destroy_event(event);
    session.clean();
}

#[test]
fn a_wait_is_for_the_last_record() {
    let session = Session::lazy();
    let (block, event) = (session.malloc(8), session.event(0));
    let (first, second) = (session.stream(), session.stream());
    session.record(event, first);
    session.fill(block, 1, 8, first);
    session.record(event, first);
    session.wait_for(second, event);
    assert_eq!(session.wait(second), 0);
    assert_eq!(session.download(block, 8), Ok(vec![1; 8]));
    session.free(block);
    session.destroy(first);
    session.destroy(second);
    session.destroy_event(event);
    session.clean();
}

#[test]
fn an_event_is_recorded_in_its_own_context_and_waited_for_in_any() {
    let session = Session::new(&json!({"devices": 2}));
    let (event, stream) = (session.event(0), session.stream());
    session.record(event, stream);
    assert_eq!(session.set(1), 0);
    let other = session.stream();
    assert_eq!(session.record(event, other), 107_003);
    assert_eq!(session.wait_for(other, event), 0);
    assert_eq!(session.wait(other), 0);
    assert_eq!(session.destroy(other), 0);
    assert_eq!(session.set(0), 0);
    assert_eq!(session.destroy(stream), 0);
    assert_eq!(session.destroy_event(event), 0);
    assert_eq!(session.destroy_event(event), 107_017);
    assert_eq!(session.record(event, null_mut()), 107_017);
    session.clean();
}

#[test]
fn time_is_taken_by_events_that_take_it() {
    let session = Session::lazy();
    let (block, stream) = (session.malloc(8), session.stream());
    let [start, end] = [(); 2].map(|()| session.event(ACL_EVENT_TIME_LINE));
    let plain = session.event(0);
    session.record(start, stream);
    session.fill(block, 1, 8, stream);
    session.record(end, stream);
    session.record(plain, stream);
    session.wait(stream);
    let elapsed = |from, to| {
        let mut ms = 0.0;
        (
            call!(
                session.ascend.runtime,
                aclrtEventElapsedTime(&raw mut ms, from, to)
            ),
            ms,
        )
    };
    let (code, ms) = elapsed(start, end);
    assert!(code == 0 && ms > 0.0, "{code} {ms}");
    assert_eq!(elapsed(end, start).0, 107_007);
    assert_eq!(elapsed(start, plain).0, 107_006);
    let mut event = null_mut();
    for flag in [0, 0x40] {
        let code = call!(
            session.ascend.runtime,
            aclrtCreateEventExWithFlag(&raw mut event, flag)
        );
        assert_eq!(code, 107_000);
    }
    session.free(block);
    session.destroy(stream);
    for event in [start, end, plain] {
        session.destroy_event(event);
    }
    session.clean();
}
