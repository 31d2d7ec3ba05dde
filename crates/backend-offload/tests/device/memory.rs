//! The device's memory: bounded, shared out in order, and never read before it is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Address, DType, Driver, Offload, Op, Options, View, Workspace};
use deepseek_core::{Backend, Error, HostTensor, Result, RowFormat, Unary};

use crate::{device, numbers, watched};

#[test]
fn a_bound_on_memory_is_a_typed_error_and_what_is_dropped_makes_room() -> Result<()> {
    let options = Options {
        memory_bytes: Some(16 << 20),
        ..Options::default()
    };
    let be = Offload::start(options, || {
        Ok(HostDriver::new(HostChip::Composed, 64 << 20))
    })?;
    let wide = 1 << 20;
    let first = be.rows(RowFormat::F32, wide, 1)?;
    let error = be
        .rows(RowFormat::F32, wide, 1)
        .expect_err("beyond the bound");
    assert!(
        matches!(error, Error::OutOfMemory { bytes, .. } if bytes == 8 * wide),
        "{error}"
    );
    drop(first);
    be.rows(RowFormat::F32, wide, 1)?;
    assert!(be.usage().held_bytes <= 16 << 20);
    Ok(())
}

#[test]
fn memory_goes_to_the_next_owner_in_the_order_of_the_queue() -> Result<()> {
    let be = device()?;
    let x = numbers(&be, &[1.0; 500])?;
    let mut sum = be.map(&x, Unary::scale(0.0))?;
    for _ in 0..100 {
        // Every term lies where one before it lay, and nothing has run yet.
        let term = be.map(&x, Unary::scale(2.0))?;
        sum = be.add(&sum, &term)?;
    }
    let usage = be.usage();
    assert_eq!(usage.waits, 0);
    assert_eq!(usage.allocations, 1);
    assert_eq!(be.download(&sum)?.data(), [200.0; 500]);
    Ok(())
}

#[test]
fn a_part_holds_the_memory_of_the_whole() -> Result<()> {
    let be = device()?;
    let whole = be.upload(&HostTensor::new(&[2, 2], vec![1.0, 2.0, 3.0, 4.0]))?;
    let part = be.narrow(&whole, 0, 1, 1)?;
    drop(whole);
    // What takes its place would show.
    let other = numbers(&be, &[9.0; 4])?;
    assert_eq!(be.download(&part)?.data(), [3.0, 4.0]);
    drop(other);
    Ok(())
}

#[test]
fn what_is_let_go_of_is_filled_if_that_is_asked_for() -> Result<()> {
    for poison in [false, true] {
        let runs = Arc::new(AtomicUsize::new(0));
        let look = {
            let runs = Arc::clone(&runs);
            move |call| {
                runs.fetch_add(usize::from(call == "run"), Ordering::SeqCst);
                Ok(())
            }
        };
        let options = Options {
            poison,
            ..Options::default()
        };
        let be = watched(options, Box::new(look))?;
        let x = numbers(&be, &[1.0; 4])?;
        let y = x.clone();
        drop(x);
        be.synchronize()?;
        assert_eq!(runs.load(Ordering::SeqCst), 0, "it has an owner");
        drop(y);
        be.synchronize()?;
        assert_eq!(runs.load(Ordering::SeqCst), usize::from(poison));
        assert_eq!(be.usage().used_bytes, 0);
    }
    Ok(())
}

fn driver() -> HostDriver {
    HostDriver::new(HostChip::Composed, 1 << 20)
}

fn fill(at: Address, numbers: usize, byte: u8) -> Op<()> {
    let out = View::new(at, DType::F32, [numbers]);
    Op::Fill { out, byte }
}

fn failure<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.expect_err("a fault").to_string()
}

#[test]
fn nothing_runs_before_something_waits() -> Result<()> {
    let mut driver = driver();
    let at = driver.allocate(512)?;
    driver.run(&fill(at, 1, 0), &mut Workspace::default())?;
    // Given back while it is in use: found when the queue runs, as on a device.
    driver.free(at)?;
    let want = format!(
        "host driver failed: 4 bytes at {:#x}, which is not held",
        at.0
    );
    assert_eq!(failure(driver.synchronize()), want);
    driver.synchronize()
}

#[test]
fn memory_is_no_number_until_it_is_written() -> Result<()> {
    let mut driver = driver();
    let at = driver.allocate(512)?;
    let staging = driver.staging(8)?;
    let flight = driver.copy_out(at, 8, staging)?;
    assert!(!driver.has_landed(&flight)?);
    let landed = driver.land(flight)?;
    assert_eq!(landed.as_ref(), [0xff; 8]);
    Ok(())
}

#[test]
fn faults_of_what_is_asked_are_found() -> Result<()> {
    let run = |op: fn(Address) -> Op<()>| -> Result<()> {
        let mut driver = driver();
        let at = driver.allocate(512)?;
        let workspace = &mut Workspace::default();
        // The second half is never written.
        driver.run(&fill(at, 64, 0), workspace)?;
        driver.run(&op(at), workspace)?;
        driver.synchronize()
    };
    let over = |at| {
        let x = View::new(at, DType::F32, [4]);
        Op::Map {
            f: Unary::Exp,
            x,
            out: View::new(at.plus(8), DType::F32, [4]),
        }
    };
    assert!(failure(run(over)).contains("writes over its own operand"));
    let beyond = |at: Address| fill(at.plus(508), 2, 0);
    assert!(failure(run(beyond)).contains("which is not held"));
    let absent = |at: Address| Op::Gather {
        from: View::new(at.plus(64), DType::F32, [0, 4]),
        at: View::new(at, DType::I32, [1]),
        out: View::new(at.plus(256), DType::F32, [1, 4]),
    };
    assert!(failure(run(absent)).contains("number 0 where there are 0"));
    let short = |at: Address| {
        let weight = backend_offload::Matrix {
            form: (),
            shape: [1, 1],
            stacked: Some(2),
            parts: vec![View::new(at.plus(64), DType::F32, [2, 1, 1])],
        };
        Op::Grouped {
            x: View::new(at.plus(128), DType::F32, [3, 1]),
            weight: weight.into(),
            ends: View::new(at, DType::I32, [2]),
            out: View::new(at.plus(256), DType::F32, [3, 1]),
        }
    };
    assert!(failure(run(short)).contains("the last run ends at 0 of 3 rows"));

    let mut driver = driver();
    let at = driver.allocate(4)?;
    driver.free(at)?;
    assert!(failure(driver.free(at)).contains("given back and not held"));
    assert!(matches!(
        driver.allocate(2 << 20),
        Err(Error::OutOfMemory { .. })
    ));
    Ok(())
}

#[test]
fn a_workspace_grows_when_nobody_uses_it_and_then_stays() -> Result<()> {
    let (mut driver, mut workspace) = (driver(), Workspace::default());
    let small = workspace.at_least(&mut driver, 100)?;
    driver.run(&fill(small, 25, 0), &mut Workspace::default())?;
    let large = workspace.at_least(&mut driver, 1000)?;
    assert_ne!(small, large);
    // What used the small one has run before that went back.
    driver.synchronize()?;
    assert_eq!(workspace.at_least(&mut driver, 1024)?, large);
    assert_eq!(workspace.at_least(&mut driver, 1)?, large);
    Ok(())
}
