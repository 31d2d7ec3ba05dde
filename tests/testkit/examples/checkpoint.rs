//! Writes a random checkpoint from a config: `checkpoint CONFIG SEED OUT`.

use std::path::Path;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [config, seed, out] = arguments.as_slice() else {
        bail!("want CONFIG SEED OUT");
    };
    let json = std::fs::read_to_string(config).with_context(|| config.clone())?;
    deepseek_testkit::write_checkpoint(Path::new(out), &json, seed.parse().context("SEED")?)
}
