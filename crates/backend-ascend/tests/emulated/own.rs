//! What is CANN's own: its codes, its plans, its families.

use backend_ascend::Family;
use backend_offload::{Chip, DType, Driver, Op, View, Workspace};
use deepseek_core::{Error, Result};
use serde_json::json;

use crate::Session;
use crate::driver::runtime::{is_lost, tells_what_failed};
use crate::driver::{doubled, fault, fetch, open, send};

#[test]
fn a_failure_says_which_call_failed_and_what_the_vendor_said() -> Result<()> {
    tells_what_failed(
        Session::lazy(&fault("aclrtMemsetAsync", 1, 107_000)),
        "aclrtMemsetAsync: ACL_ERROR_RT_PARAM_INVALID (107000)",
    )?;
    is_lost(Session::lazy(&fault("aclrtSynchronizeStream", 1, 507_015)))
}

#[test]
fn work_that_fails_on_the_device_is_told_by_who_waits() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(128)?;
    // Nobody wrote what is added.
    driver.run(&doubled(at), &mut workspace)?;
    let error = driver.synchronize().expect_err("a fault");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    let error = driver.run(&doubled(at), &mut workspace).expect_err("lost");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(driver);
    let report = session.report();
    assert_eq!(report["violations"][0]["kind"], "uninitialised_read");
    Ok(())
}

#[test]
fn what_was_planned_and_not_launched_is_given_back() -> Result<()> {
    // The second time that memory is asked for it is for the operator's workspace.
    let session = Session::lazy(&fault("aclrtMalloc", 2, 207_001));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(512)?;
    let asked = session.calls("aclrtMalloc");
    assert_eq!(asked, 1);
    send(&mut driver, &[0; 64], at)?;
    let sum = Op::Sum {
        x: View::new(at, DType::F32, [1, 16, 1]),
        out: View::new(at.plus(64), DType::F32, [1, 1, 1]),
    };
    let error = driver.run(&sum, &mut workspace).expect_err("no room");
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    driver.run(&sum, &mut workspace)?;
    assert_eq!(fetch(&mut driver, at.plus(64), 4)?, [0; 4]);
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn a_device_may_be_opened_again_and_is_what_it_says() -> Result<()> {
    for (family, want) in [("a2", Family::A2), ("a3", Family::A3), ("a5", Family::A5)] {
        let session = Session::lazy(&json!({"family": family}));
        for _ in 0..2 {
            let driver = open(&session)?;
            let chip = driver.chip();
            assert_eq!((chip.name(), chip.family()), ("npu:0-EMU", want));
            assert!(chip.is_emulated() && chip.soc().ends_with("-EMU"));
        }
        session.clean();
    }
    let session = Session::lazy(&fault("aclrtSetDevice", 1, 107_001));
    let error = open(&session).expect_err("no such device").to_string();
    assert!(error.contains("ASCEND_RT_VISIBLE_DEVICES"), "{error}");
    session.clean();
    Ok(())
}
