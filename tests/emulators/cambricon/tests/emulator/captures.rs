//! Captures of queues, topologies and entities: what runs when, and what is refused. E-TOPO, E-HANDLE, E-UAF, E-DESTROY.

use std::ptr::null_mut;
use std::thread;

use backend_cambricon_sys::types::{
    cnrtQueue_t, cnrtQueueCaptureMode, cnrtQueueCaptureStatus, cnrtTaskTopo_t, cnrtTaskTopoEntity_t,
};

use crate::session::{ARGS, D2H, HANDLE, QUEUE, Session, call};

const LOCAL: cnrtQueueCaptureMode = cnrtQueueCaptureMode::cnrtQueueCaptureModeThreadLocal;
const GLOBAL: cnrtQueueCaptureMode = cnrtQueueCaptureMode::cnrtQueueCaptureModeGlobal;
const STATE: u32 = 100_015;
const UNSUPPORTED: u32 = 100_360;
const UNMATCHED: u32 = 100_366;

/// A function of the runtime that the emulator has, though not every release does.
macro_rules! optional {
    ($session:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let function = $session.neuware.runtime.$name.expect("emulated");
        // SAFETY: the test gives what the function asks for.
        unsafe { function($($arg),*) }
    }};
}

fn begin(session: &Session, queue: cnrtQueue_t, mode: cnrtQueueCaptureMode) -> u32 {
    optional!(session, cnrtQueueBeginCapture(queue, mode))
}

fn end(session: &Session, queue: cnrtQueue_t) -> Result<cnrtTaskTopo_t, u32> {
    let mut topology = cnrtTaskTopo_t::NULL;
    match optional!(session, cnrtQueueEndCapture(queue, &raw mut topology)) {
        0 => Ok(topology),
        code => Err(code),
    }
}

fn made(session: &Session, topology: cnrtTaskTopo_t) -> Result<cnrtTaskTopoEntity_t, u32> {
    let mut entity = cnrtTaskTopoEntity_t::NULL;
    let (at, none) = (&raw mut entity, null_mut());
    match optional!(
        session,
        cnrtTaskTopoInstantiate(at, topology, null_mut(), none, 0)
    ) {
        0 => Ok(entity),
        code => Err(code),
    }
}

fn invoke(session: &Session, entity: cnrtTaskTopoEntity_t, queue: cnrtQueue_t) -> u32 {
    optional!(session, cnrtTaskTopoEntityInvoke(entity, queue))
}

fn destroy(session: &Session, topology: cnrtTaskTopo_t, entity: cnrtTaskTopoEntity_t) {
    assert_eq!(optional!(session, cnrtTaskTopoDestroy(topology)), 0);
    assert_eq!(optional!(session, cnrtTaskTopoEntityDestroy(entity)), 0);
}

fn status(session: &Session, queue: cnrtQueue_t) -> cnrtQueueCaptureStatus {
    let mut status = cnrtQueueCaptureStatus(9);
    let code = optional!(session, cnrtQueueIsCapturing(queue, &raw mut status));
    assert_eq!(code, 0);
    status
}

#[test]
fn what_is_captured_runs_once_for_each_time_that_it_is_invoked() {
    let session = Session::lazy();
    let (queue, block) = (session.queue(), session.malloc(16));
    assert_eq!(session.fill(block, 1, 16, queue), 0);
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(
        status(&session, queue),
        cnrtQueueCaptureStatus::cnrtQueueCaptureStatusActive
    );
    assert_eq!(session.fill(block, 2, 16, queue), 0);
    let topology = end(&session, queue).expect("a topology");
    assert_eq!(
        status(&session, queue),
        cnrtQueueCaptureStatus::cnrtQueueCaptureStatusNone
    );
    let entity = made(&session, topology).expect("an entity");
    assert_eq!(session.wait(queue), 0);
    assert_eq!(session.download::<u8>(block, 16), Ok(vec![1; 16]));
    for _ in 0..2 {
        assert_eq!(session.fill(block, 3, 16, queue), 0);
        assert_eq!(invoke(&session, entity, queue), 0);
        assert_eq!(session.wait(queue), 0);
        assert_eq!(session.download::<u8>(block, 16), Ok(vec![2; 16]));
    }
    // An entity has its own tasks.
    destroy(&session, topology, entity);
    assert_eq!((session.free(block), session.destroy(queue)), (0, 0));
    session.clean();
}

#[test]
fn a_capture_begins_once_and_ends_where_it_began() {
    let session = Session::lazy();
    let (queue, other) = (session.queue(), session.queue());
    assert_eq!(end(&session, queue), Err(UNMATCHED), "not begun");
    assert_eq!(begin(&session, queue, cnrtQueueCaptureMode(7)), ARGS);
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(begin(&session, queue, LOCAL), STATE, "twice");
    assert_eq!(end(&session, other), Err(UNMATCHED));
    let topology = end(&session, queue).expect("a topology");
    assert_eq!(optional!(session, cnrtTaskTopoDestroy(topology)), 0);
    assert_eq!((session.destroy(queue), session.destroy(other)), (0, 0));
    session.clean();
}

#[test]
fn calls_that_wait_or_give_memory_end_a_capture() {
    type Forbidden = fn(&Session, cnrtQueue_t) -> u32;
    let forbidden: [Forbidden; 5] = [
        |session, queue| session.wait(queue),
        |session, _| session.free(null_mut()),
        |session, _| {
            let mut at = null_mut();
            call!(session.neuware.runtime, cnrtMalloc(&raw mut at, 64))
        },
        |session, _| call!(session.neuware.runtime, cnrtSyncDevice()),
        |session, queue| call!(session.neuware.runtime, cnrtQueueQuery(queue)),
    ];
    for call in forbidden {
        let session = Session::lazy();
        let (queue, block) = (session.queue(), session.malloc(16));
        assert_eq!(begin(&session, queue, LOCAL), 0);
        assert_eq!(call(&session, queue), UNSUPPORTED);
        assert_eq!(
            status(&session, queue),
            cnrtQueueCaptureStatus::cnrtQueueCaptureStatusInvalidated
        );
        assert_eq!(session.fill(block, 2, 16, queue), UNSUPPORTED);
        assert_eq!(end(&session, queue), Err(UNSUPPORTED));
        assert_eq!(session.fill(block, 2, 16, queue), 0);
        assert_eq!(session.wait(queue), 0);
        assert_eq!((session.free(block), session.destroy(queue)), (0, 0));
        session.clean();
    }
}

#[test]
fn notifiers_and_copies_at_once_are_not_captured() {
    let session = Session::lazy();
    let (queue, notifier, block) = (session.queue(), session.notifier(), session.malloc(4));
    assert_eq!(session.fill(block, 2, 4, queue), 0);
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(session.place(notifier, queue), UNSUPPORTED);
    assert_eq!(end(&session, queue), Err(UNSUPPORTED));
    assert_eq!(begin(&session, queue, LOCAL), 0);
    let mut host = [0_u8; 4];
    let sides = (host.as_mut_ptr().cast(), block);
    assert_eq!(session.copy(sides, 4, D2H), UNSUPPORTED);
    assert_eq!(end(&session, queue), Err(UNSUPPORTED));
    assert_eq!(session.wait(queue), 0);
    assert_eq!(session.destroy_notifier(notifier), 0);
    assert_eq!((session.free(block), session.destroy(queue)), (0, 0));
    session.clean();
}

#[test]
fn a_capture_of_one_thread_leaves_others_alone_and_one_of_all_does_not() {
    for (mode, want) in [(LOCAL, 0), (GLOBAL, UNSUPPORTED)] {
        let session = Session::lazy();
        let queue = session.queue();
        assert_eq!(begin(&session, queue, mode), 0);
        let neuware = &session.neuware;
        let elsewhere = || call!(neuware.runtime, cnrtSyncDevice());
        let code = thread::scope(|scope| scope.spawn(elsewhere).join().expect("a code"));
        assert_eq!(code, want);
        let ended = end(&session, queue);
        assert_eq!(ended.err(), (want != 0).then_some(want));
        if let Ok(topology) = ended {
            assert_eq!(optional!(session, cnrtTaskTopoDestroy(topology)), 0);
        }
        assert_eq!(session.destroy(queue), 0);
        session.clean();
    }
}

#[test]
fn an_entity_runs_to_its_end_before_it_is_invoked_again_or_destroyed() {
    let session = Session::lazy();
    let (queue, block) = (session.queue(), session.malloc(16));
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(session.fill(block, 2, 16, queue), 0);
    let topology = end(&session, queue).expect("a topology");
    let entity = made(&session, topology).expect("an entity");
    assert_eq!(invoke(&session, entity, queue), 0);
    assert_eq!(invoke(&session, entity, queue), STATE);
    assert_eq!(optional!(session, cnrtTaskTopoEntityDestroy(entity)), STATE);
    assert_eq!(session.wait(queue), 0);
    destroy(&session, topology, entity);
    assert_eq!(invoke(&session, entity, queue), HANDLE);
    assert_eq!(made(&session, topology), Err(HANDLE));
    let want = ["E-TOPO", "E-TOPO", "E-HANDLE", "E-HANDLE"];
    assert_eq!(session.violations(), want);
}

#[test]
fn what_captured_tasks_use_stays_and_what_is_left_is_told() {
    let session = Session::lazy();
    let (queue, block) = (session.queue(), session.malloc(16));
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(session.fill(block, 2, 16, queue), 0);
    let topology = end(&session, queue).expect("a topology");
    let entity = made(&session, topology).expect("an entity");
    assert_eq!(session.free(block), 0);
    assert_eq!(invoke(&session, entity, queue), 0);
    assert_eq!(session.wait(queue), QUEUE);
    assert_eq!(session.violations(), ["E-UAF"]);
    let leaks = session.report()["leaks"].to_string();
    for left in ["captured tasks of device 0", "an entity of device 0"] {
        assert!(leaks.contains(left), "{leaks}");
    }
    assert_eq!(begin(&session, queue, LOCAL), 0);
    assert_eq!(session.destroy(queue), 0);
    assert_eq!(session.violations()[1..], ["E-DESTROY"]);
}
