//! Memory, copies, order and failures.

use backend_cambricon::CambriconDriver;
use backend_offload::{Address, Chip, DType, Driver, Op, Verb, View, Workspace};
use deepseek_core::{Error, Result, Unary};
use serde_json::{Value, json};

use crate::session::{SEEDS, Session};

fn lazy(more: &Value) -> Session {
    let mut config = json!({"schedule": "lazy", "deadlock_ms": 20});
    let config_map = config.as_object_mut().expect("an object");
    config_map.extend(more.as_object().expect("an object").clone());
    Session::new(&config)
}

fn send(driver: &mut CambriconDriver, bytes: &[u8], to: Address) -> Result<()> {
    let mut buffer = driver.staging(bytes.len())?;
    buffer.as_mut().copy_from_slice(bytes);
    let flight = driver.copy_in(buffer, bytes.len(), to)?;
    driver.land(flight).map(drop)
}

fn fetch(driver: &mut CambriconDriver, from: Address, bytes: usize) -> Result<Vec<u8>> {
    let buffer = driver.staging(bytes)?;
    let flight = driver.copy_out(from, bytes, buffer)?;
    Ok(driver.land(flight)?.as_ref()[..bytes].to_vec())
}

/// Twice what lies at `at`, from there to 64 bytes behind.
fn doubled(at: Address) -> Op<()> {
    let x = View::new(at, DType::F32, [16]);
    Op::Add {
        a: x,
        b: x,
        out: View {
            at: at.plus(64),
            ..x
        },
    }
}

#[test]
fn copies_and_operations_run_in_the_order_in_which_they_were_asked_for() -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
        let at = driver.allocate(1024)?;
        let mut flights = Vec::new();
        for step in 0..8_u8 {
            let numbers = [f32::from(step); 16].map(f32::to_le_bytes).concat();
            let mut buffer = driver.staging(64)?;
            buffer.as_mut().copy_from_slice(&numbers);
            flights.push(driver.copy_in(buffer, 64, at)?);
            driver.run(&doubled(at), &mut workspace)?;
            let buffer = driver.staging(64)?;
            flights.push(driver.copy_out(at.plus(64), 64, buffer)?);
        }
        let mut got = Vec::new();
        for flight in flights {
            let buffer = driver.land(flight)?;
            let first = buffer.as_ref()[..4].try_into().expect("a number");
            got.push(f32::from_le_bytes(first));
        }
        let want: Vec<f32> = (0..8_u8)
            .flat_map(|step| [f32::from(step), 2.0 * f32::from(step)])
            .collect();
        assert_eq!(got, want, "seed {seed}");
        driver.free(at)?;
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn memory_is_given_back_after_what_uses_it_has_run() -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
        let at = driver.allocate(128)?;
        send(&mut driver, &[0; 64], at)?;
        driver.run(&doubled(at), &mut workspace)?;
        driver.free(at)?;
        // What is held goes back with the driver.
        let at = driver.allocate(128)?;
        let out = View::new(at, DType::F32, [32]);
        driver.run(&Op::Fill { out, byte: 1 }, &mut workspace)?;
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn a_copy_that_is_dropped_has_run() -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let mut driver = session.driver()?;
        let at = driver.allocate(64)?;
        let mut buffer = driver.staging(64)?;
        buffer.as_mut().fill(7);
        drop(driver.copy_in(buffer, 64, at)?);
        assert_eq!(fetch(&mut driver, at, 64)?, [7; 64], "seed {seed}");
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn a_copy_has_not_landed_before_it_has_run_whatever_a_release_calls_that() -> Result<()> {
    for not_ready in [1, 632_014] {
        let session = lazy(&json!({"not_ready": not_ready}));
        let mut driver = session.driver()?;
        let at = driver.allocate(64)?;
        let (first, second) = (driver.staging(64)?, driver.staging(32)?);
        let first = driver.copy_in(first, 64, at)?;
        let second = driver.copy_out(at, 32, second)?;
        // Each look lets the queue take one step.
        assert!(!driver.has_landed(&second)?);
        let landed = (0..8).any(|_| matches!(driver.has_landed(&second), Ok(true)));
        assert!(landed && driver.has_landed(&first)?);
        driver.land(second)?;
        driver.land(first)?;
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn memory_is_aligned_and_goes_back_once() -> Result<()> {
    let session = lazy(&json!({}));
    let mut driver = session.driver()?;
    let sizes = [1, 33, 64, 100, 512, 4096];
    let at = sizes.map(|bytes| driver.allocate(bytes));
    for at in at {
        let at = at?;
        assert_eq!(at.0 % 512, 0);
        driver.free(at)?;
        let error = driver.free(at).expect_err("given back").to_string();
        assert!(error.ends_with("given back and not held"), "{error}");
    }
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn a_device_without_room_says_how_much_was_asked_for() -> Result<()> {
    let session = lazy(&json!({"memory_bytes": 1 << 20}));
    let mut driver = session.driver()?;
    let error = driver.allocate(2 << 20).expect_err("no room");
    assert!(matches!(&error, Error::OutOfMemory { bytes, .. } if *bytes == 2 << 20));
    assert!(error.to_string().contains("mlu:0-EMU"), "{error}");
    driver.allocate(1 << 19)?;
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn a_failure_says_which_call_failed_and_what_the_vendor_said() -> Result<()> {
    let fault = |call: &str, code: i32| json!({"faults": [{"call": call, "nth": 1, "code": code}]});
    for (call, code, name) in [
        ("cnrtMemsetAsync", 100_006, "cnrtErrorArgsInvalid"),
        ("cnrtMemsetAsync", 632_019, "cnrtErrorNoCnrtContext"),
    ] {
        let session = lazy(&fault(call, code));
        let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
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
    let session = lazy(&fault("cnrtQueueSync", 100_060));
    let mut driver = session.driver()?;
    let error = driver.synchronize().expect_err("a fault");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn work_that_fails_on_the_device_is_told_by_who_waits_for_what_it_made() -> Result<()> {
    let session = lazy(&json!({}));
    let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
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
    let session = lazy(&json!({}));
    let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
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
    let session = lazy(&json!({}));
    for _ in 0..2 {
        let driver = session.driver()?;
        let chip = driver.chip();
        assert_eq!((chip.name(), chip.model()), ("mlu:0-EMU", "MLU590-EMU"));
        assert!(chip.is_emulated() && chip.notes().is_empty());
    }
    session.clean();
    let session = lazy(&json!({"faults": [{"call": "cnrtSetDevice", "nth": 1, "code": 100_005}]}));
    let error = session.driver().expect_err("no such device").to_string();
    assert!(error.contains("MLU_VISIBLE_DEVICES"), "{error}");
    session.clean();
    Ok(())
}

#[test]
fn a_chip_without_bf16_is_refused_by_name() -> Result<()> {
    let session = lazy(&json!({"profile": "mlu370"}));
    let error = session.driver().expect_err("no BF16");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("MLU370-EMU"), "{error}");
    session.clean();
    Ok(())
}

#[test]
fn a_verb_is_declined_and_refused() -> Result<()> {
    let session = lazy(&json!({}));
    let mut driver = session.driver()?;
    let view = |dims: [usize; 2]| View::new(Address(0), DType::F32, dims);
    let verb = Verb::HcPost {
        y: view([1, 2]),
        streams: view([1, 4]),
        post: view([1, 2]),
        comb: view([2, 2]),
    };
    assert!(driver.chip().takes(&verb).is_err());
    let refused = driver.run_verb(&verb, &[], &mut Workspace::default());
    let error = refused.expect_err("declined").to_string();
    assert!(error.contains("hc_post"), "{error}");
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn an_operation_that_was_made_before_allocates_nothing() -> Result<()> {
    let session = lazy(&json!({}));
    let (mut driver, mut workspace) = (session.driver()?, Workspace::default());
    let at = driver.allocate(1024)?;
    send(&mut driver, &[0; 64], at)?;
    let x = View::new(at, DType::F32, [16]);
    let out = View {
        at: at.plus(512),
        ..x
    };
    let map = |f| Op::Map { f, x, out };
    driver.run(&map(Unary::Gelu), &mut workspace)?;
    let before = session.calls("cnrtMalloc");
    driver.run(&map(Unary::Gelu), &mut workspace)?;
    assert_eq!(session.calls("cnrtMalloc"), before);
    drop(driver);
    session.clean();
    Ok(())
}
