//! The suite that every device passes.

use anyhow::Result;
use backend_ascend::Family;
use backend_candle::Candle;
use conformance::counting::Counting;
use serde_json::json;

use crate::session::Session;
use crate::{device, emulated};

#[test]
fn it_computes_the_golden_operations() -> Result<()> {
    emulated(1, |session| conformance::ops::check(&device(session)?))
}

#[test]
fn its_verbs_mean_what_the_provided_bodies_mean() -> Result<()> {
    emulated(2, |session| {
        conformance::verbs::check(&device(session)?, 0..6)
    })
}

#[test]
fn every_family_passes_the_suite() -> Result<()> {
    for (family, want) in [("a3", Family::A3), ("a5", Family::A5)] {
        let session = Session::new(&json!({"family": family, "schedule": "lazy"}));
        let device = device(&session)?;
        assert_eq!(device.chip().family(), want);
        conformance::verbs::check(&device, 6..8)?;
        drop(device);
        session.clean();
    }
    Ok(())
}

#[test]
fn every_level_of_padded_lists_and_dense_experts_runs_on_its_primitives() -> Result<()> {
    emulated(3, |session| {
        conformance::verbs::check(&Counting::new(device(session)?, 5)?, 0..2)
    })
}

#[test]
fn its_primitives_are_those_of_candle() -> Result<()> {
    emulated(4, |session| {
        conformance::primitives::check_near(&device(session)?, &Candle::plain(), 0..100, 1e-6)
    })
}

#[test]
fn it_tells_that_every_verb_is_composed_and_why() -> Result<()> {
    emulated(5, |session| {
        let device = device(session)?;
        conformance::verbs::check(&device, 0..1)?;
        let choices = device.choices();
        for verb in [
            "attend",
            "experts",
            "hc_post",
            "hc_pre",
            "index_topk",
            "route",
        ] {
            let of = choices.iter().filter(|(choice, _)| choice.verb == verb);
            let told = of.map(|(choice, _)| choice.declined.as_deref());
            let told: Vec<_> = told.collect();
            let why = "no fused operator is called yet";
            assert!(told.contains(&Some(why)), "{verb}: {told:?}");
            assert!(!told.contains(&None), "{verb}: {told:?}");
        }
        Ok(())
    })
}
