//! The suite on the devices of `backend-candle` that every machine has.

use anyhow::Result;
use backend_candle::Candle;

#[test]
fn the_host_computes_the_golden_operations() -> Result<()> {
    conformance::ops::check(&Candle::host(2))
}

#[test]
fn the_plain_mode_computes_the_golden_operations() -> Result<()> {
    conformance::ops::check(&Candle::plain())
}

#[test]
fn overrides_of_the_host_mean_what_the_provided_bodies_mean() -> Result<()> {
    conformance::verbs::check(&Candle::host(2), 0..60)
}
