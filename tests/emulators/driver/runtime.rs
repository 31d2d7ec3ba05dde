//! Memory, copies, order and failures.

use backend_offload::{Address, Chip, DType, Driver, Op, Verb, View, Workspace};
use deepseek_core::{Error, Result, Unary};
use emulator_support::SEEDS;
use serde_json::json;

use super::{doubled, fetch, open, send};
use crate::{MALLOC, MEMORY, NAME, Session};

#[test]
fn copies_and_operations_run_in_the_order_in_which_they_were_asked_for() -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
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
        let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
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
        let mut driver = open(&session)?;
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
fn a_copy_has_not_landed_before_it_has_run() -> Result<()> {
    lands_once_it_has_run(Session::lazy(&json!({})))
}

/// A copy in and one out behind it, which are asked after before anything runs.
pub(crate) fn lands_once_it_has_run(session: Session) -> Result<()> {
    let mut driver = open(&session)?;
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
    Ok(())
}

/// A fill that is set to fail is told by its call and by what the vendor said, and the next one is made.
pub(crate) fn tells_what_failed(session: Session, want: &str) -> Result<()> {
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let out = View::new(driver.allocate(64)?, DType::F32, [16]);
    let fill = Op::Fill { out, byte: 1 };
    let error = driver.run(&fill, &mut workspace).expect_err("a fault");
    let text = error.to_string();
    assert!(matches!(error, Error::Device { .. }), "{text}");
    for part in [want, "set to fail"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    driver.run(&fill, &mut workspace)?;
    drop(driver);
    session.clean();
    Ok(())
}

/// A wait that fails for good is a loss.
pub(crate) fn is_lost(session: Session) -> Result<()> {
    let mut driver = open(&session)?;
    let error = driver.synchronize().expect_err("a fault");
    assert!(matches!(error, Error::Lost { .. }), "{error}");
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn memory_is_aligned_and_goes_back_once() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let mut driver = open(&session)?;
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
    let session = Session::lazy(&json!({MEMORY: 1 << 20}));
    let mut driver = open(&session)?;
    let error = driver.allocate(2 << 20).expect_err("no room");
    assert!(matches!(&error, Error::OutOfMemory { bytes, .. } if *bytes == 2 << 20));
    assert!(error.to_string().contains(NAME), "{error}");
    driver.allocate(1 << 19)?;
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn a_verb_is_declined_and_refused() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let mut driver = open(&session)?;
    let view = |dims: [usize; 2]| View::new(Address(0), DType::F32, dims);
    let verb = Verb::HcPost {
        y: view([1, 2]),
        streams: view([1, 4]),
        post: view([1, 2]),
        comb: view([2, 2]),
        dtype: DType::F32,
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
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(1024)?;
    send(&mut driver, &[0; 64], at)?;
    let x = View::new(at, DType::F32, [16]);
    let out = View {
        at: at.plus(512),
        ..x
    };
    let map = |f| Op::Map { f, x, out };
    driver.run(&map(Unary::Gelu), &mut workspace)?;
    let before = session.calls(MALLOC);
    driver.run(&map(Unary::Gelu), &mut workspace)?;
    driver.run(&map(Unary::Exp), &mut workspace)?;
    assert_eq!(session.calls(MALLOC), before);
    drop(driver);
    session.clean();
    Ok(())
}
