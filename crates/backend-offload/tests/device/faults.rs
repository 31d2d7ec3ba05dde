//! Failures of queued work: told at the next call that waits, once, unless the device is gone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backend_offload::{Offload, Options};
use deepseek_core::{Backend, Error, Fetched, Result, Unary};

use crate::watched::Watched;
use crate::{numbers, watched};

/// A device whose next call of `name` fails in this way, and the switch for it.
fn failing(
    name: &'static str,
    error: impl Fn() -> Error + Send + 'static,
) -> Result<(Offload<Watched>, Arc<AtomicBool>)> {
    let armed = Arc::new(AtomicBool::new(false));
    let look = {
        let armed = Arc::clone(&armed);
        move |call| {
            if call == name && armed.swap(false, Ordering::SeqCst) {
                return Err(error());
            }
            Ok(())
        }
    };
    Ok((watched(Options::default(), Box::new(look))?, armed))
}

fn vendor() -> Error {
    Error::Device {
        device: "npu:0".to_owned(),
        why: "aclnnAdd: 161002 (a parameter is invalid)".to_owned(),
    }
}

fn lost() -> Error {
    Error::Lost {
        device: "npu:0".to_owned(),
        why: "507015 (an exception of a core)".to_owned(),
    }
}

#[test]
fn what_fails_is_told_at_the_next_wait_and_once() -> Result<()> {
    let (be, armed) = failing("run", vendor)?;
    let x = numbers(&be, &[1.0, 2.0])?;
    be.synchronize()?;
    armed.store(true, Ordering::SeqCst);
    let y = be.add(&x, &x)?;
    // Nothing behind it is run, and nothing but a wait tells.
    let z = be.mul(&y, &x)?;
    let error = be.download(&z).expect_err("the sum failed").to_string();
    assert_eq!(
        error,
        "npu:0 failed: aclnnAdd: 161002 (a parameter is invalid)"
    );
    let again = be.download(&be.add(&x, &x)?)?;
    assert_eq!(again.data(), [2.0, 4.0]);
    Ok(())
}

#[test]
fn every_call_that_waits_tells() -> Result<()> {
    type Wait = fn(&Offload<Watched>) -> Result<()>;
    let waits: [(&str, Wait); 4] = [
        ("synchronize", |be| be.synchronize()),
        ("download", |be| {
            be.download(&numbers(be, &[0.0])?).map(drop)
        }),
        ("ids_on_host", |be| be.ids_on_host(&be.ids(&[1])?).map(drop)),
        ("fetch", |be| be.fetch(&[], &[], &mut Fetched::default())),
    ];
    for (name, wait) in waits {
        let (be, armed) = failing("run", vendor)?;
        let x = numbers(&be, &[1.0])?;
        be.synchronize()?;
        armed.store(true, Ordering::SeqCst);
        be.map(&x, Unary::Exp)?;
        assert!(matches!(wait(&be), Err(Error::Device { .. })), "{name}");
        wait(&be)?;
    }
    Ok(())
}

#[test]
fn a_failure_of_the_wait_itself_is_told() -> Result<()> {
    let (be, armed) = failing("land", vendor)?;
    let x = numbers(&be, &[1.0])?;
    armed.store(true, Ordering::SeqCst);
    assert!(matches!(be.download(&x), Err(Error::Device { .. })));
    assert_eq!(be.download(&x)?.data(), [1.0]);
    Ok(())
}

#[test]
fn a_device_that_is_gone_stays_gone() -> Result<()> {
    for call in ["run", "synchronize", "copy_in"] {
        let (be, armed) = failing(call, lost)?;
        let x = numbers(&be, &[1.0])?;
        be.download(&x)?;
        armed.store(true, Ordering::SeqCst);
        let y = numbers(&be, &[2.0])?;
        be.add(&x, &y)?;
        for _ in 0..2 {
            let error = be.synchronize().expect_err("gone");
            assert!(matches!(&error, Error::Lost { .. }), "{call}: {error}");
            assert!(
                error
                    .to_string()
                    .ends_with("is lost: 507015 (an exception of a core)")
            );
        }
        // Memory is not asked of it, either.
        let large = be.rows(deepseek_core::RowFormat::F32, 1 << 20, 1);
        assert!(matches!(large, Err(Error::Lost { .. })), "{call}");
    }
    Ok(())
}

#[test]
fn a_driver_that_panics_is_a_device_that_is_gone() -> Result<()> {
    let look = |call| {
        assert_ne!(call, "copy_out", "a bug of a driver");
        Ok(())
    };
    let be = watched(Options::default(), Box::new(look))?;
    let x = numbers(&be, &[1.0])?;
    let error = be.download(&x).expect_err("gone").to_string();
    assert_eq!(error, "host driver is lost: its thread has ended");
    assert!(be.synchronize().is_err());
    Ok(())
}

#[test]
fn memory_that_the_driver_does_not_give_is_told_at_once() -> Result<()> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let refused = Arc::new(AtomicUsize::new(0));
    let look = {
        let (asked, refused) = (Arc::clone(&asked), Arc::clone(&refused));
        move |call: &'static str| {
            asked.lock().expect("no panic").push(call);
            if call == "allocate" && refused.load(Ordering::SeqCst) > 0 {
                return Err(Error::OutOfMemory {
                    device: "npu:0".to_owned(),
                    bytes: 0,
                });
            }
            Ok(())
        }
    };
    let be = watched(Options::default(), Box::new(look))?;
    let large = be.rows(deepseek_core::RowFormat::F32, 1 << 20, 1)?;
    drop(large);
    refused.store(1, Ordering::SeqCst);
    let error = be
        .rows(deepseek_core::RowFormat::F32, 4 << 20, 1)
        .expect_err("no memory");
    let want = "out of memory on host driver: 33554432 bytes asked for";
    assert_eq!(error.to_string(), want);
    // What nobody used was given back first.
    assert!(asked.lock().expect("no panic").contains(&"free"));
    refused.store(0, Ordering::SeqCst);
    be.rows(deepseek_core::RowFormat::F32, 4 << 20, 1)?;
    be.synchronize()
}
