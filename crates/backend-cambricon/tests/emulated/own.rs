//! What is Neuware's own: its codes of two generations, its notifiers, its chips.

use backend_offload::{Chip, DType, Driver, Op, View, Workspace};
use deepseek_core::{Error, Result};
use serde_json::json;

use crate::Session;
use crate::driver::runtime::lands_once_it_has_run;
use crate::driver::{doubled, fault, open, send};

#[test]
fn a_copy_has_not_landed_before_it_has_run_whatever_a_release_calls_that() -> Result<()> {
    for not_ready in [1, 632_014] {
        lands_once_it_has_run(Session::lazy(&json!({"not_ready": not_ready})))?;
    }
    Ok(())
}

#[test]
fn a_failure_says_which_call_failed_and_what_the_vendor_said() -> Result<()> {
    for (call, code, name) in [
        ("cnrtMemsetAsync", 100_006, "cnrtErrorArgsInvalid"),
        ("cnrtMemsetAsync", 632_019, "cnrtErrorNoCnrtContext"),
    ] {
        let session = Session::lazy(&fault(call, 1, code));
        let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
        let out = View::new(driver.allocate(64)?, DType::F32, [16]);
        let fill = Op::Fill { out, byte: 1 };
        let error = driver.run(&fill, &mut workspace).expect_err("a fault");
        let text = error.to_string();
        assert!(matches!(error, Error::Device { .. }), "{text}");
        for part in [&format!("{call}: {name} ({code})"), "set to fail"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        driver.run(&fill, &mut workspace)?;
        drop(driver);
        session.clean();
    }

    // Twice: the second waits for what is queued before the driver goes.
    let session = Session::lazy(&fault("cnrtQueueSync", 1, 100_060));
    let mut driver = open(&session)?;
    let error = driver.synchronize().expect_err("a fault");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn work_that_fails_on_the_device_is_told_by_who_waits_for_what_it_made() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(128)?;
    // Nobody wrote what is added.
    driver.run(&doubled(at), &mut workspace)?;
    // A notifier would be reached all the same.
    let buffer = driver.staging(64)?;
    let flight = driver.copy_out(at.plus(64), 64, buffer)?;
    let error = driver.land(flight).expect_err("a fault");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    driver.run(&doubled(at), &mut workspace).expect_err("lost");
    let error = driver.synchronize().expect_err("lost");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(driver);
    let report = session.report();
    assert_eq!(report["violations"][0]["kind"], "E-POISON");
    Ok(())
}

#[test]
fn where_runs_of_rows_end_is_looked_at_before_it_is_believed() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(4096)?;
    send(&mut driver, &[0; 4096], at)?;
    let view = |first: usize, dims: &[usize], dtype| View::new(at.plus(first), dtype, dims);
    let grouped = Op::Grouped {
        x: view(0, &[3, 4], DType::F32),
        weight: std::sync::Arc::new(backend_offload::Matrix {
            form: (),
            shape: [5, 4],
            stacked: Some(2),
            parts: vec![view(512, &[2, 5, 4], DType::F32)],
        }),
        ends: view(1024, &[2], DType::I32),
        out: view(1536, &[3, 5], DType::F32),
    };
    for (ends, is_sound) in [
        ([2, 3], true),
        ([2, 1], false),
        ([4, 3], false),
        ([-1, 3], false),
    ] {
        send(
            &mut driver,
            &ends.map(i32::to_le_bytes).concat(),
            at.plus(1024),
        )?;
        let ran = driver.run(&grouped, &mut workspace);
        assert_eq!(ran.is_ok(), is_sound, "{ends:?}");
        if let Err(error) = ran {
            assert!(error.to_string().contains("run"), "{error}");
        }
    }
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn a_device_may_be_opened_again_and_is_what_it_says() -> Result<()> {
    let session = Session::lazy(&json!({}));
    for _ in 0..2 {
        let driver = open(&session)?;
        let chip = driver.chip();
        assert_eq!((chip.name(), chip.model()), ("mlu:0-EMU", "MLU590-EMU"));
        assert!(chip.is_emulated() && chip.notes().is_empty());
    }
    session.clean();
    let session = Session::lazy(&fault("cnrtSetDevice", 1, 100_005));
    let error = open(&session).expect_err("no such device").to_string();
    assert!(error.contains("MLU_VISIBLE_DEVICES"), "{error}");
    session.clean();
    Ok(())
}

#[test]
fn a_chip_without_bf16_is_refused_by_name() -> Result<()> {
    let session = Session::lazy(&json!({"profile": "mlu370"}));
    let error = open(&session).expect_err("no BF16");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("MLU370-EMU"), "{error}");
    session.clean();
    Ok(())
}
