//! Graphs: what is captured and replayed, and what a capture does not allow.

use backend_offload::{Address, Chip, DType, Driver, Op, View, Workspace};
use deepseek_core::{Error, Result, Unary};
use emulator_support::SEEDS;
use serde_json::json;

use super::{doubled, fault, fetch, open, send};
use crate::{GRAPHS, Session, Tested};

/// Captures twice what lies at `at`, after the same has run once.
fn captured(driver: &mut Tested, at: Address) -> Result<<Tested as Driver>::Graph> {
    let mut workspace = Workspace::default();
    driver.run(&doubled(at), &mut workspace)?;
    driver.synchronize()?;
    driver.begin_capture()?;
    let ran = driver.run(&doubled(at), &mut workspace);
    ran.and(driver.end_capture())
}

fn bytes(number: f32) -> Vec<u8> {
    [number; 16].map(f32::to_le_bytes).concat()
}

#[test]
fn a_graph_runs_once_for_each_replay_in_its_turn() -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let mut driver = open(&session)?;
        assert_eq!(driver.chip().captures(), Ok(()));
        let at = driver.allocate(128)?;
        send(&mut driver, &bytes(1.0), at)?;
        let mut graph = captured(&mut driver, at)?;
        for number in [2.0, 3.0, 4.0] {
            let mut buffer = driver.staging(64)?;
            buffer.as_mut().copy_from_slice(&bytes(number));
            let flight = driver.copy_in(buffer, 64, at)?;
            driver.replay(&mut graph)?;
            assert_eq!(
                fetch(&mut driver, at.plus(64), 64)?,
                bytes(2.0 * number),
                "seed {seed}"
            );
            driver.land(flight)?;
        }
        drop(graph);
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn memory_between_the_calls_stays_while_a_graph_uses_it() -> Result<()> {
    let session = Session::lazy(&json!({}));
    let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
    let at = driver.allocate(1 << 16)?;
    let map = |count: usize| {
        let x = View::new(at, DType::F32, [count]);
        let out = View::new(at.plus(1 << 15), DType::F32, [count]);
        Op::Map {
            f: Unary::Gelu,
            x,
            out,
        }
    };
    send(&mut driver, &vec![0; 1 << 15], at)?;
    driver.run(&map(4), &mut workspace)?;
    driver.synchronize()?;
    driver.begin_capture()?;
    driver.run(&map(4), &mut workspace)?;
    let mut graph = driver.end_capture()?;
    workspace.keep();
    // Many more numbers lie between the calls of this one.
    driver.run(&map(4096), &mut workspace)?;
    driver.synchronize()?;
    driver.replay(&mut graph)?;
    driver.synchronize()?;
    drop(graph);
    workspace.release(&mut driver)?;
    drop(driver);
    session.clean();
    Ok(())
}

#[test]
fn what_a_capture_does_not_allow_ends_it_and_the_device_goes_on() -> Result<()> {
    type Forbidden = fn(&mut Tested) -> Result<()>;
    let forbidden: [Forbidden; 3] = [
        |driver| driver.allocate(64).map(drop),
        |driver| driver.staging(64).map(drop),
        |driver| driver.synchronize(),
    ];
    for (code, call) in GRAPHS.forbidden.into_iter().zip(forbidden) {
        let session = Session::lazy(&json!({}));
        let (mut driver, mut workspace) = (open(&session)?, Workspace::default());
        let at = driver.allocate(128)?;
        send(&mut driver, &bytes(1.0), at)?;
        driver.run(&doubled(at), &mut workspace)?;
        driver.begin_capture()?;
        let error = call(&mut driver).expect_err("forbidden").to_string();
        assert!(error.contains(code), "{error}");
        let error = driver.end_capture().map(drop).expect_err("it has ended");
        assert!(matches!(&error, Error::Device { .. }), "{error}");
        assert!(error.to_string().contains(GRAPHS.ended), "{error}");
        driver.run(&doubled(at), &mut workspace)?;
        assert_eq!(fetch(&mut driver, at.plus(64), 64)?, bytes(2.0));
        drop(driver);
        session.clean();
    }
    Ok(())
}

#[test]
fn every_call_of_a_capture_that_fails_is_told_and_leaves_nothing() -> Result<()> {
    for call in GRAPHS.calls {
        let session = Session::lazy(&fault(call, 1, GRAPHS.code));
        let mut driver = open(&session)?;
        let at = driver.allocate(128)?;
        send(&mut driver, &bytes(1.0), at)?;
        let replayed = captured(&mut driver, at).and_then(|mut graph| driver.replay(&mut graph));
        let error = replayed.expect_err("a fault");
        let want = format!("{call}: {} ({})", GRAPHS.code_name, GRAPHS.code);
        assert!(error.to_string().contains(&want), "{error}");
        driver.run(&doubled(at), &mut Workspace::default())?;
        drop(driver);
        // A capture that could not be ended is left to the emulator's own end of its queue.
        assert_eq!(session.violations(), Vec::<String>::new(), "{call}");
    }
    Ok(())
}
