//! Ranks: what is HCCL's own.

use backend_offload::{Driver, Workspace};
use deepseek_core::{Error, Group, Result};
use serde_json::json;

use crate::Session;
use crate::driver::fault;
use crate::driver::ranks::{Numbers, devices, on_ranks};

/// Two ranks of which one call of one fails, on which the other waits no longer than it may.
fn faulty(call: &str, code: u32) -> (Session, Vec<Result<Vec<f32>>>) {
    let mut config = fault(call, 1, code);
    config["deadlock_ms"] = json!(500);
    let session = devices(2, &config);
    let done = on_ranks(&session, &Group::of(2), |driver, member| {
        let numbers = Numbers::new(driver, member, 1.0)?;
        driver.run(&numbers.reduce(), &mut Workspace::default())?;
        numbers.firsts(driver, 1)
    });
    (session, done)
}

#[test]
fn a_root_that_cannot_be_made_is_told_to_all() {
    let (session, done) = faulty("HcclGetRootInfo", 19);
    let want =
        "npu:0-EMU failed: HcclGetRootInfo: HCCL_E_NETWORK (19), ranks do not reach each other";
    let texts: Vec<_> = done
        .into_iter()
        .map(|one| one.expect_err("a fault").to_string())
        .collect();
    assert!(texts[0].starts_with(want), "{}", texts[0]);
    assert_eq!(texts[1], format!("rank 0 failed: {}", texts[0]));
    session.clean();
}

#[test]
fn a_rank_that_cannot_join_or_gather_is_an_error_on_all() {
    for call in ["HcclCommInitRootInfoConfig", "HcclAllGather"] {
        let (session, done) = faulty(call, 4);
        let errors: Vec<_> = done
            .into_iter()
            .map(|one| one.expect_err("a fault"))
            .collect();
        let want = format!("{call}: HCCL_E_INTERNAL (4)");
        assert!(
            errors.iter().any(|error| error.to_string().contains(&want)),
            "{errors:?}"
        );
        // If the other is on its way, its device waits in vain, as long as the vendor lets it.
        let is_typed = |error: &Error| {
            matches!(
                error,
                Error::Device { .. } | Error::Lost { .. } | Error::Rank { .. }
            )
        };
        assert!(errors.iter().all(is_typed), "{errors:?}");
        let found = session.violations();
        let is_wait =
            |kind: &String| ["collective_mismatch", "destroyed_in_flight"].contains(&&**kind);
        assert!(found.iter().all(is_wait), "{call}: {found:?}");
    }
}
