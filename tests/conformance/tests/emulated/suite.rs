//! The suite that every device passes.

use anyhow::Result;
use backend_candle::Candle;
use conformance::counting::Counting;

use super::{device, emulated};
use crate::DECLINED;

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
        for (verb, why) in DECLINED {
            let of = choices.iter().filter(|(choice, _)| choice.verb == verb);
            let told = of.map(|(choice, _)| choice.declined.as_deref());
            let told: Vec<_> = told.collect();
            assert!(told.contains(&Some(why)), "{verb}: {told:?}");
            assert!(!told.contains(&None), "{verb}: {told:?}");
        }
        Ok(())
    })
}
