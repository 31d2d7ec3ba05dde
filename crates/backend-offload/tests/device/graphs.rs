//! Steps that are asked for again: replayed as graphs, with the numbers of each, or asked for anew where that fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Address, DType, Driver, Offload, Op, Options, View, Workspace};
use deepseek_core::weights::WeightView;
use deepseek_core::{Backend, Error, Format, HostTensor, Result, RowFormat, Unary, Use};

use crate::watched;
use crate::watched::Watched;

type Calls = Arc<Mutex<BTreeMap<&'static str, u64>>>;

const CAPTURE: Options = Options {
    memory_bytes: None,
    poison: true,
    capture: true,
};

/// A device that replays, how often each of its driver's functions was called, and a switch: a call of `name`
/// fails while it is on.
fn replaying(
    name: &'static str,
    error: fn() -> Error,
) -> Result<(Offload<Watched>, Calls, Arc<AtomicBool>)> {
    let (calls, armed) = (Calls::default(), Arc::new(AtomicBool::new(false)));
    let look = {
        let (calls, armed) = (Arc::clone(&calls), Arc::clone(&armed));
        move |call| {
            *calls.lock().expect("no panic").entry(call).or_default() += 1;
            if call == name && armed.load(Ordering::SeqCst) {
                return Err(error());
            }
            Ok(())
        }
    };
    Ok((watched(CAPTURE, Box::new(look))?, calls, armed))
}

fn vendor() -> Error {
    Error::Device {
        device: "npu:0".to_owned(),
        why: "507011 (a task of the graph failed)".to_owned(),
    }
}

fn lost() -> Error {
    Error::Lost {
        device: "npu:0".to_owned(),
        why: "507015 (an exception of a core)".to_owned(),
    }
}

fn count(calls: &Calls, name: &str) -> u64 {
    calls
        .lock()
        .expect("no panic")
        .get(name)
        .copied()
        .unwrap_or(0)
}

/// Something that is asked of a device for numbers, with two copies and a few more operations than are captured
/// at least; and what comes of it.
fn step<B: Backend>(be: &B, numbers: &[f32]) -> Result<Vec<f32>> {
    let x = be.upload(&HostTensor::new(&[1, numbers.len()], numbers.to_vec()))?;
    let mut y = be.matmul_t(&x, &x)?;
    for _ in 0..4 {
        y = be.map(&be.add(&y, &y)?, Unary::scale(0.25))?;
    }
    // A copy behind operations, to where memory has been used in this step.
    let z = be.upload(&HostTensor::new(&[1, 1], vec![numbers[0] + 1.0]))?;
    let y = be.mul(&y, &z)?;
    Ok(be.download(&be.concat(&[&y, &z], 1)?)?.data().to_vec())
}

fn numbers(round: usize, count: usize) -> Vec<f32> {
    (0..count).map(|at| (round * 7 + at) as f32 / 8.0).collect()
}

/// What a device without graphs says.
fn eager(numbers: &[f32]) -> Result<Vec<f32>> {
    let host = || Ok(HostDriver::new(HostChip::Composed, 1 << 24));
    step(&Offload::start(Options::default(), host)?, numbers)
}

#[test]
fn a_step_that_comes_again_is_replayed_with_the_numbers_of_each() -> Result<()> {
    let (be, calls, _) = replaying("", vendor)?;
    let mut runs = Vec::new();
    for round in 0..12 {
        let before = count(&calls, "run");
        let x = numbers(round, 5);
        assert_eq!(step(&be, &x)?, eager(&x)?, "round {round}");
        runs.push(count(&calls, "run") - before);
    }
    // What is let go of behind a step belongs to the next, and the first steps find other memory free, so the
    // fourth is the first that came before. The fifth may still see it captured.
    assert!(runs[..2].iter().all(|runs| *runs > 8), "{runs:?}");
    assert_eq!(runs[5..], [0; 7], "replayed and nothing else: {runs:?}");
    let captures = be.captures();
    assert_eq!((captures.graphs, captures.replays), (1, 9));
    assert_eq!(captures.refused, BTreeMap::new());
    assert_eq!(count(&calls, "replay"), 9);
    Ok(())
}

#[test]
fn each_size_has_a_graph_of_its_own() -> Result<()> {
    let (be, calls, _) = replaying("", vendor)?;
    for round in 0..24 {
        let x = numbers(round, [1, 2, 2, 5][round % 4]);
        assert_eq!(step(&be, &x)?, eager(&x)?, "round {round}");
    }
    let captures = be.captures();
    assert!(
        captures.graphs >= 3 && captures.replays >= 9,
        "{captures:?}"
    );
    assert_eq!(count(&calls, "replay"), captures.replays);
    Ok(())
}

#[test]
fn without_being_asked_a_device_captures_nothing() -> Result<()> {
    let be = crate::device()?;
    for round in 0..6 {
        step(&be, &numbers(round, 5))?;
    }
    assert_eq!(be.captures(), backend_offload::Captures::default());
    Ok(())
}

#[test]
fn a_step_that_cannot_be_captured_is_asked_for_anew_and_why_is_told() -> Result<()> {
    for name in ["begin_capture", "run", "end_capture"] {
        let tried = Arc::new(Mutex::new(Vec::new()));
        let look = {
            let tried = Arc::clone(&tried);
            let mut is_within = false;
            move |call| {
                is_within = match call {
                    "begin_capture" => true,
                    "end_capture" => false,
                    _ => is_within,
                };
                let is_meant = is_within || call == "end_capture";
                if is_meant {
                    tried.lock().expect("no panic").push(call);
                }
                if is_meant && call == name {
                    is_within = false;
                    return Err(vendor());
                }
                Ok(())
            }
        };
        let be = watched(CAPTURE, Box::new(look))?;
        for round in 0..8 {
            let x = numbers(round, 5);
            assert_eq!(step(&be, &x)?, eager(&x)?, "{name}, round {round}");
        }
        let captures = be.captures();
        assert_eq!(
            captures.refused,
            [(vendor().to_string(), 1)].into(),
            "{name}"
        );
        assert_eq!((captures.graphs, captures.replays), (0, 0), "{name}");
        let tried = tried.lock().expect("no panic");
        let begun = tried.iter().filter(|call| **call == "begin_capture");
        assert_eq!(begun.count(), 1, "{name}: tried once");
    }
    Ok(())
}

#[test]
fn a_step_that_brings_too_much_is_not_captured() -> Result<()> {
    let (be, _, _) = replaying("", vendor)?;
    let many = vec![1.0; (5 << 20) / 4];
    for _ in 0..4 {
        let x = be.upload(&HostTensor::new(&[many.len()], many.clone()))?;
        let mut y = be.narrow(&x, 0, 0, 4)?;
        for _ in 0..8 {
            y = be.add(&y, &y)?;
        }
        assert_eq!(be.download(&y)?.data(), [256.0; 4]);
    }
    let captures = be.captures();
    assert_eq!(captures.graphs, 0);
    let why = "host driver does not support a graph of a step that brings 5242880 bytes to it";
    assert_eq!(captures.refused, [(why.to_owned(), 1)].into());
    Ok(())
}

#[test]
fn a_replay_that_fails_is_told_by_who_waits_and_the_next_step_is_asked_for_anew() -> Result<()> {
    let (be, calls, armed) = replaying("replay", vendor)?;
    for round in 0..5 {
        step(&be, &numbers(round, 5))?;
    }
    assert!(be.captures().replays > 0);
    armed.store(true, Ordering::SeqCst);
    let error = step(&be, &numbers(0, 5)).expect_err("a fault");
    assert!(matches!(&error, Error::Device { .. }), "{error}");
    let tried = count(&calls, "replay");
    for round in 0..5 {
        let x = numbers(round, 5);
        assert_eq!(step(&be, &x)?, eager(&x)?, "round {round}");
    }
    assert_eq!(count(&calls, "replay"), tried, "given up");
    let captures = be.captures();
    assert_eq!(captures.graphs, 0);
    assert_eq!(captures.refused, [(vendor().to_string(), 1)].into());
    Ok(())
}

#[test]
fn what_is_held_behind_an_operation_that_fails_is_not_run() -> Result<()> {
    let (be, calls, armed) = replaying("run", vendor)?;
    for round in 0..5 {
        step(&be, &numbers(round, 5))?;
    }
    let before = count(&calls, "run");
    armed.store(true, Ordering::SeqCst);
    // It begins as a step that is known, and is held until it ends before that does.
    let x = be.upload(&HostTensor::new(&[1, 5], numbers(0, 5)))?;
    let y = be.matmul_t(&x, &x)?;
    let y = be.add(&y, &y)?;
    let error = be.download(&y).expect_err("a fault");
    assert!(matches!(&error, Error::Device { .. }), "{error}");
    assert_eq!(count(&calls, "run"), before + 1);
    Ok(())
}

#[test]
fn a_device_that_is_lost_in_a_replay_stays_lost() -> Result<()> {
    let (be, _, armed) = replaying("replay", lost)?;
    for round in 0..5 {
        step(&be, &numbers(round, 5))?;
    }
    armed.store(true, Ordering::SeqCst);
    for round in 0..2 {
        let error = step(&be, &numbers(round, 5)).expect_err("gone");
        assert!(matches!(&error, Error::Lost { .. }), "{error}");
    }
    Ok(())
}

#[test]
fn graphs_go_before_memory_is_given_back_and_come_again() -> Result<()> {
    let options = Options {
        memory_bytes: Some(32 << 20),
        ..CAPTURE
    };
    let host = || Ok(HostDriver::new(HostChip::Composed, 64 << 20));
    let be = Offload::start(options, host)?;
    let replay = |first: usize| -> Result<()> {
        for round in first..first + 6 {
            let x = numbers(round, 5);
            assert_eq!(step(&be, &x)?, eager(&x)?, "round {round}");
        }
        Ok(())
    };
    replay(0)?;
    assert_eq!(be.captures().graphs, 1);
    let replays = be.captures().replays;
    // Room is made for the second by giving the first back.
    drop(be.rows(RowFormat::F32, 1 << 20, 1)?);
    drop(be.rows(RowFormat::F32, 1 << 21, 1)?);
    be.synchronize()?;
    assert_eq!(be.captures().graphs, 0);
    replay(10)?;
    assert_eq!(be.captures().graphs, 1);
    assert!(be.captures().replays > replays);
    Ok(())
}

#[test]
fn a_workspace_that_grows_leaves_graphs_what_they_use() -> Result<()> {
    let host = || Ok(HostDriver::new(HostChip::Composed, 1 << 26));
    let be = Offload::start(CAPTURE, host)?;
    // Products of 32-bit floats and BF16 weights use workspace.
    let ones = |shape: [usize; 2]| {
        let weight = WeightView {
            name: "ones".to_owned(),
            format: Format::Bf16,
            shape,
            data: [0x80, 0x3f].repeat(shape[0] * shape[1]).into(),
            scales: Vec::new().into(),
            tile_row: 0,
            stride: None,
        };
        be.load(&weight, Use::Product)
    };
    let (few, many) = (ones([4, 2])?, ones([600, 600])?);
    let small = |value: f32| -> Result<Vec<f32>> {
        let x = be.upload(&HostTensor::new(&[1, 2], vec![value; 2]))?;
        let mut y = be.linear(&x, &few)?;
        for _ in 0..8 {
            y = be.add(&y, &y)?;
        }
        Ok(be.download(&y)?.data().to_vec())
    };
    for value in [1.0, 2.0, 3.0, 4.0, 5.0] {
        assert_eq!(small(value)?, [value * 512.0; 4]);
    }
    let replays = be.captures().replays;
    assert!(replays > 0);
    let x = be.upload(&HostTensor::new(&[1, 600], vec![1.0; 600]))?;
    let wide = be.linear(&x, &many)?;
    assert_eq!(be.download(&wide)?.data(), [600.0; 600]);
    drop((x, wide));
    for value in [1.0, 2.0, 3.0, 4.0, 5.0] {
        assert_eq!(small(value)?, [value * 512.0; 4]);
    }
    assert!(be.captures().replays > replays);
    Ok(())
}

fn fill(at: Address) -> Op<()> {
    let out = View::new(at, DType::F32, [4]);
    Op::Fill { out, byte: 0 }
}

#[test]
fn what_a_capture_forbids_ends_it() -> Result<()> {
    type Forbidden = fn(&mut HostDriver, Address) -> Result<()>;
    let forbidden: [(&str, Forbidden); 6] = [
        ("synchronize", |driver, _| driver.synchronize()),
        ("allocate", |driver, _| driver.allocate(4).map(drop)),
        ("free", |driver, at| driver.free(at)),
        ("staging", |driver, _| driver.staging(4).map(drop)),
        ("begin_capture", |driver, _| driver.begin_capture()),
        ("replay", |driver, _| {
            let mut other = HostDriver::new(HostChip::Composed, 64);
            other.begin_capture()?;
            driver.replay(&mut other.end_capture()?)
        }),
    ];
    for (name, call) in forbidden {
        let mut driver = HostDriver::new(HostChip::Composed, 1 << 20);
        let at = driver.allocate(64)?;
        driver.begin_capture()?;
        driver.run(&fill(at), &mut Workspace::default())?;
        let error = call(&mut driver, at).expect_err(name).to_string();
        assert_eq!(
            error,
            format!("host driver failed: {name} within a capture")
        );
        assert!(
            driver.run(&fill(at), &mut Workspace::default()).is_err(),
            "{name}"
        );
        let error = driver.end_capture().expect_err(name).to_string();
        assert_eq!(
            error,
            format!("host driver failed: a capture ended by {name}")
        );
        // And the device is none the worse for it.
        driver.run(&fill(at), &mut Workspace::default())?;
        driver.synchronize()?;
        assert!(driver.end_capture().is_err(), "none was begun");
    }
    Ok(())
}

#[test]
fn a_graph_runs_when_it_is_replayed_one_at_a_time_on_memory_that_is_there() -> Result<()> {
    let mut driver = HostDriver::new(HostChip::Composed, 1 << 20);
    let at = driver.allocate(16)?;
    driver.begin_capture()?;
    driver.run(&fill(at), &mut Workspace::default())?;
    let mut graph = driver.end_capture()?;
    driver.synchronize()?;
    let read = |driver: &mut HostDriver| -> Result<u8> {
        let staging = driver.staging(16)?;
        let flight = driver.copy_out(at, 16, staging)?;
        Ok(driver.land(flight)?.as_ref()[0])
    };
    assert_eq!(read(&mut driver)?, 0xff, "captured, and not run");
    driver.replay(&mut graph)?;
    let error = driver.replay(&mut graph).expect_err("it runs").to_string();
    assert_eq!(error, "host driver failed: a graph replayed while it runs");
    assert_eq!(read(&mut driver)?, 0);
    driver.replay(&mut graph)?;
    driver.synchronize()?;
    driver.free(at)?;
    driver.replay(&mut graph)?;
    let error = driver.synchronize().expect_err("gone").to_string();
    assert!(error.ends_with("which is not held"), "{error}");
    Ok(())
}
