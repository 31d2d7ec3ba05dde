//! The suite on the devices that every machine has.

use anyhow::Result;
use backend_candle::Candle;
use backend_host::{Host, KernelSet};

#[test]
fn every_kernel_set_computes_the_golden_operations() -> Result<()> {
    for set in KernelSet::available() {
        conformance::ops::check(&Host::start(2, set)?)?;
    }
    Ok(())
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
fn overrides_of_lesser_kernel_sets_mean_the_same() -> Result<()> {
    for set in KernelSet::available().skip(1) {
        conformance::verbs::check(&Host::start(2, set)?, 0..10)?;
    }
    Ok(())
}

#[test]
fn the_primitives_of_the_host_are_those_of_candle() -> Result<()> {
    for set in KernelSet::available() {
        conformance::primitives::check(&Host::start(2, set)?, &Candle::plain(), 0..200)?;
    }
    Ok(())
}
