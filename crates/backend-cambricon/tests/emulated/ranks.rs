//! Ranks: what is CNCL's own.

use std::sync::Barrier;

use backend_offload::{Driver, Workspace};
use deepseek_core::{Error, Group, Result};

use crate::driver::fault;
use crate::driver::ranks::{Numbers, devices, on_ranks};

/// What two ranks come to that add up numbers, where something fails.
fn faulty(call: &str, code: u32) -> Vec<Error> {
    let session = devices(2, &fault(call, 1, code));
    let done = on_ranks(&session, &Group::of(2), |driver, member| {
        let numbers = Numbers::new(driver, member, 1.0)?;
        driver.run(&numbers.reduce(), &mut Workspace::default())?;
        numbers.firsts(driver, 1)
    });
    assert_eq!(session.violations(), Vec::<String>::new());
    done.into_iter()
        .map(|one| one.expect_err("a fault"))
        .collect()
}

#[test]
fn communicators_that_cannot_be_made_are_told_to_all() {
    let errors = faulty("cnclInitComms", 0x51);
    let want =
        "mlu:0-EMU failed: cnclInitComms: CNCL_RET_ERR_INIT (81), communicators could not be made";
    let texts: Vec<_> = errors.iter().map(Error::to_string).collect();
    assert!(texts[0].starts_with(want), "{}", texts[0]);
    assert_eq!(texts[1], format!("rank 0 failed: {}", texts[0]));
}

#[test]
fn a_rank_that_cannot_gather_lets_the_others_go() {
    let errors = faulty("cnclAllGather", 0x01);
    let told = |error: &Error| error.to_string().contains("CNCL_RET_ERR_INTERNAL (1)");
    assert!(errors.iter().any(told), "{errors:?}");
    // What the other gathers was given up before it was queued, or with its queue.
    let is_typed = |error: &Error| {
        matches!(
            error,
            Error::Device { .. } | Error::Lost { .. } | Error::Rank { .. }
        )
    };
    assert!(errors.iter().all(is_typed), "{errors:?}");
}

#[test]
fn a_device_that_is_lost_lets_the_others_go() -> Result<()> {
    let session = devices(2, &serde_json::json!({}));
    let both = Barrier::new(2);
    let done = on_ranks(&session, &Group::of(2), |driver, member| {
        let mut workspace = Workspace::default();
        let numbers = if member.rank() == 0 {
            Numbers::new(driver, member, 1.0)?
        } else {
            // Nobody wrote what it adds up.
            Numbers::unwritten(driver, member)?
        };
        let ran = driver.run(&numbers.reduce(), &mut workspace);
        let waited = driver.synchronize();
        both.wait();
        // Who comes late is refused before its device waits.
        let is_told = ran.is_err() || matches!(waited, Err(Error::Lost { .. }));
        assert!(is_told, "{ran:?}, {waited:?}");
        driver.run(&numbers.reduce(), &mut workspace)
    });
    for ran in done {
        let error = ran.expect_err("for good").to_string();
        assert!(error.contains("is lost"), "{error}");
    }
    assert_eq!(session.violations(), ["E-POISON"]);
    Ok(())
}
