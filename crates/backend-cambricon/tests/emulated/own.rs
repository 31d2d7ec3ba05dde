//! What is Neuware's own: its codes of two generations, its notifiers, its chips.

use std::sync::Arc;

use backend_offload::{Chip, DType, Driver, Matrix, Op, View, Workspace};
use deepseek_core::{Error, Result};
use serde_json::json;

use crate::Session;
use crate::driver::runtime::{is_lost, lands_once_it_has_run, tells_what_failed};
use crate::driver::{doubled, fault, fetch, open, send};

#[test]
fn a_copy_has_not_landed_before_it_has_run_whatever_a_release_calls_that() -> Result<()> {
    for not_ready in [1, 632_014] {
        lands_once_it_has_run(Session::lazy(&json!({"not_ready": not_ready})))?;
    }
    Ok(())
}

#[test]
fn a_failure_says_which_call_failed_and_what_the_vendor_said() -> Result<()> {
    for (code, name) in [
        (100_006, "cnrtErrorArgsInvalid"),
        (632_019, "cnrtErrorNoCnrtContext"),
    ] {
        let session = Session::lazy(&fault("cnrtMemsetAsync", 1, code));
        tells_what_failed(session, &format!("cnrtMemsetAsync: {name} ({code})"))?;
    }
    is_lost(Session::lazy(&fault("cnrtQueueSync", 1, 100_060)))
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

/// Of so many bytes that no matrix is fetched for each row.
#[test]
fn where_runs_of_rows_end_is_looked_at_before_it_is_believed() -> Result<()> {
    const SIDE: usize = 1024;
    const ROWS: usize = 5;
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let [x, weight, out] = [ROWS * SIDE, 2 * SIDE * SIDE, ROWS * SIDE].map(|count| 4 * count);
    let at = driver.allocate(x + weight + out + 512)?;
    let view = |first: usize, dims: &[usize], dtype| View::new(at.plus(first), dtype, dims);
    let x_view = view(0, &[ROWS, SIDE], DType::F32);
    let weight_view = view(x, &[2, SIDE, SIDE], DType::F32);
    let out_view = view(x + weight, &[ROWS, SIDE], DType::F32);
    let ends = view(x + weight + out, &[2], DType::I32);
    // Numbers whose bytes are all alike: one matrix of the first, one of the second.
    let [first, second] = [0x3c, 0x3d].map(|byte| (byte, f32::from_le_bytes([byte; 4])));
    let matrix = |index| weight_view.part(index * SIDE * SIDE, [SIDE, SIDE]);
    for (out, byte) in [
        (x_view, first.0),
        (matrix(0), first.0),
        (matrix(1), second.0),
    ] {
        driver.run(&Op::Fill { out, byte }, &mut workspace)?;
    }
    let grouped = Op::Grouped {
        x: x_view,
        weight: Arc::new(Matrix {
            form: (),
            shape: [SIDE, SIDE],
            stacked: Some(2),
            parts: vec![weight_view],
        }),
        ends,
        out: out_view,
    };
    for (lengths, is_sound) in [
        ([2, 5], true),
        ([5, 5], true),
        ([2, 1], false),
        ([6, 5], false),
        ([-1, 5], false),
    ] {
        send(
            &mut driver,
            &lengths.map(i32::to_le_bytes).concat(),
            ends.at,
        )?;
        let ran = driver.run(&grouped, &mut workspace);
        assert_eq!(ran.is_ok(), is_sound, "{lengths:?}");
        if let Err(error) = ran {
            assert!(error.to_string().contains("run"), "{error}");
            continue;
        }
        let got = fetch(&mut driver, out_view.at, out)?;
        for (row, numbers) in got.chunks(4 * SIDE).enumerate() {
            let of = if (row as i32) < lengths[0] {
                first
            } else {
                second
            };
            let want = SIDE as f32 * first.1 * of.1;
            let got = f32::from_le_bytes(numbers[..4].try_into().expect("a number"));
            assert!(
                (got - want).abs() <= 1e-4 * want,
                "{lengths:?} {row}: {got}, {want}"
            );
        }
    }
    drop(driver);
    session.clean();
    Ok(())
}

/// Nobody asks where runs of BF16 end, however many rows there are; more runs than a call takes are composed.
#[test]
fn runs_of_rows_of_bf16_are_one_call() -> Result<()> {
    const SIDE: usize = 4;
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    for (runs, rows, calls) in [(2, 3, 1), (255, 3, 1), (256, 3, 0), (2, 100_000, 1)] {
        let counts = [rows * SIDE, runs * SIDE * SIDE, rows * SIDE];
        let [x, weight, out] = counts.map(|count| (2 * count).next_multiple_of(512));
        let at = driver.allocate(x + weight + out + 4 * runs)?;
        let view = |first: usize, dims: &[usize], dtype| View::new(at.plus(first), dtype, dims);
        let x_view = view(0, &[rows, SIDE], DType::Bf16);
        let weight_view = view(x, &[runs, SIDE, SIDE], DType::Bf16);
        let ends = view(x + weight + out, &[runs], DType::I32);
        for out in [x_view, weight_view] {
            // Every number is that of these two bytes.
            driver.run(&Op::Fill { out, byte: 0x3f }, &mut workspace)?;
        }
        let mut last = vec![1_i32; runs];
        last[runs - 1] = rows as i32;
        let bytes: Vec<u8> = last.into_iter().flat_map(i32::to_le_bytes).collect();
        send(&mut driver, &bytes, ends.at)?;
        let grouped = Op::Grouped {
            x: x_view,
            weight: Arc::new(Matrix {
                form: (),
                shape: [SIDE, SIDE],
                stacked: Some(runs),
                parts: vec![weight_view],
            }),
            ends,
            out: view(x + weight, &[rows, SIDE], DType::Bf16),
        };
        // What lies between the calls is allotted by the first.
        driver.run(&grouped, &mut workspace)?;
        let before = ["cnnlGroupGemm", "cnrtQueueSync"].map(|call| session.calls(call));
        driver.run(&grouped, &mut workspace)?;
        let after = ["cnnlGroupGemm", "cnrtQueueSync"].map(|call| session.calls(call));
        assert_eq!(after[0] - before[0], calls, "{runs} runs of {rows}");
        assert_eq!(after[1], before[1], "{runs} runs of {rows}");
        let got = fetch(&mut driver, at.plus(x + weight), 2 * rows * SIDE)?;
        let number =
            |bytes: &[u8]| f32::from_bits(u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 24);
        let one = number(&[0x3f, 0x3f]);
        let want = SIDE as f32 * one * one;
        let near = got
            .chunks(2)
            .all(|bytes| (number(bytes) - want).abs() <= want / 128.0);
        assert!(near, "{runs} runs of {rows}");
        driver.free(at)?;
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
