//! The suite on the devices that every machine has.

use anyhow::Result;
use backend_candle::Candle;
use backend_host::Host;

#[test]
fn the_host_computes_the_golden_operations() -> Result<()> {
    conformance::ops::check(&Host::new(2))
}

#[test]
fn the_plain_mode_computes_the_golden_operations() -> Result<()> {
    conformance::ops::check(&Candle::plain())
}

#[test]
fn overrides_of_the_host_mean_what_the_provided_bodies_mean() -> Result<()> {
    conformance::verbs::check(&Host::new(2), 0..60)
}

#[test]
fn the_primitives_of_the_host_are_those_of_candle() -> Result<()> {
    conformance::primitives::check(&Host::new(2), &Candle::plain(), 0..200)
}
