//! Writes a random checkpoint of real size from a config: `synthetic CONFIG SEED OUT`.
#![allow(clippy::print_stderr, reason = "who waits wants to see how far it is")]

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, seed, out] = arguments.as_slice() else {
        bail!("want CONFIG SEED OUT");
    };
    let json = std::fs::read_to_string(config).with_context(|| config.clone())?;
    let start = Instant::now();
    let mut progress = |done: u64, total: u64| {
        let [done, total] = [done, total].map(|bytes| bytes as f64 / 1e9);
        let seconds = start.elapsed().as_secs_f64();
        eprintln!("{done:.1} of {total:.1} GB, {seconds:.1} s");
    };
    let seed = seed.parse().context("SEED")?;
    deepseek_testkit::write_synthetic(Path::new(out), &json, seed, &mut progress)
}
