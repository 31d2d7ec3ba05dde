//! One thread makes all calls of a device.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::thread;

use backend_offload::Options;
use backend_offload::host::{HostChip, HostDriver};
use backend_offload::{Driver, Offload};
use deepseek_core::{Backend, Error, HostTensor, Result, Unary};

use crate::{device, numbers, watched};

#[test]
fn all_calls_are_made_on_the_thread_that_opened_the_device() -> Result<()> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let look = {
        let seen = Arc::clone(&seen);
        move |name| {
            let here = format!("{:?}", thread::current().id());
            seen.lock().expect("no panic").insert((here, name));
            Ok(())
        }
    };
    let be = Arc::new(watched(Options::default(), Box::new(look))?);
    let x = numbers(&*be, &[1.0, 2.0])?;
    // Loaded here, run there.
    let there = Arc::clone(&be);
    let run = thread::spawn(move || there.download(&there.add(&x, &x)?));
    let sum = run.join().expect("no panic")?;
    assert_eq!(sum.data(), [2.0, 4.0]);
    be.synchronize()?;
    drop(be);

    let seen = seen.lock().expect("no panic");
    let threads: BTreeSet<_> = seen.iter().map(|(thread, _)| thread).collect();
    assert_eq!(threads.len(), 1, "{seen:?}");
    assert!(!threads.contains(&format!("{:?}", thread::current().id())));
    let calls: BTreeSet<_> = seen.iter().map(|(_, name)| *name).collect();
    for name in [
        "allocate",
        "copy_in",
        "run",
        "copy_out",
        "land",
        "synchronize",
        "free",
    ] {
        assert!(calls.contains(name), "{name} in {calls:?}");
    }
    Ok(())
}

#[test]
fn a_driver_refuses_calls_of_other_threads() -> Result<()> {
    let mut driver = HostDriver::new(HostChip::Composed, 1024);
    let at = driver.allocate(4)?;
    let other = thread::spawn(move || driver.free(at));
    let error = other.join().expect("no panic").expect_err("another thread");
    let want = "host driver failed: free on a thread that did not open it";
    assert_eq!(error.to_string(), want);
    Ok(())
}

#[test]
fn what_is_asked_for_at_once_by_several_threads_is_done() -> Result<()> {
    let be = device()?;
    thread::scope(|scope| {
        let sums = (0..4).map(|thread| {
            let be = &be;
            scope.spawn(move || -> Result<()> {
                for at in 0..200 {
                    let value = (thread * 1000 + at) as f32;
                    let x = numbers(be, &vec![value; 300])?;
                    let y = be.map(&be.add(&x, &x)?, Unary::scale(0.5))?;
                    let got = be.download(&y)?;
                    assert!(got.data().iter().all(|x| *x == value), "{value}");
                }
                Ok(())
            })
        });
        let sums: Vec<_> = sums.collect();
        sums.into_iter()
            .try_for_each(|sum| sum.join().expect("no panic"))
    })
}

#[test]
fn a_device_that_cannot_be_opened_says_why() {
    let open = || -> Result<HostDriver> {
        Err(Error::Unsupported {
            device: "npu:3".to_owned(),
            what: "this machine".to_owned(),
        })
    };
    let error = Offload::start(Options::default(), open).expect_err("not opened");
    assert_eq!(error.to_string(), "npu:3 does not support this machine");
}

#[test]
fn tensors_may_outlive_their_device() -> Result<()> {
    let be = device()?;
    let x = numbers(&be, &[1.0])?;
    drop(be);
    drop(x);
    Ok(())
}

#[test]
fn a_device_is_named_and_shown() -> Result<()> {
    let be = device()?;
    assert_eq!(be.name(), "host driver");
    let t = be.upload(&HostTensor::new(&[2, 1], vec![1.0, 2.0]))?;
    assert_eq!(format!("{t:?}"), "Tensor([2,1] f32)");
    assert!(format!("{be:?}").contains("copies_in: 1"), "{be:?}");
    Ok(())
}
