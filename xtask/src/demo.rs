//! The main job on a tiny checkpoint of the released format.

use std::path::Path;

use anyhow::{Context, Result};

use crate::shell::{self, cargo};

/// What to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The prompt.
    #[arg(default_value = "Tell me a story about a lighthouse.")]
    prompt: String,
}

/// Makes the checkpoint and shows what an engine does with one: its bill, an answer, its logits.
/// The weights are random, so the words mean nothing.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tiny = shell::root().join("assets/tiny");
    let model = shell::root().join("target/demo/tiny-v4");
    checkpoint(
        &tiny.join("config.json"),
        Some(&tiny.join("tokenizer.json")),
        0,
        &model,
    )?;
    let build = [
        "build",
        "--release",
        "--locked",
        "--package",
        "deepseek-cli",
    ];
    shell::run(cargo().args(build))?;
    let deepseek = |arguments: &[&str]| {
        let program = shell::root().join("target/release/deepseek");
        shell::run(std::process::Command::new(program).args(arguments))
    };
    let model = "target/demo/tiny-v4";
    deepseek(&["inspect", model])?;
    let run = [
        "run",
        "--model",
        model,
        "--max-tokens",
        "48",
        "--seed",
        "1",
        "--draft",
        "2",
    ];
    deepseek(&[&run[..], &["--stats", &args.prompt]].concat())?;
    let out = "target/demo/logits.safetensors";
    deepseek(&[
        "logits",
        "--model",
        model,
        "--ids",
        "0,2,3,5,8,13,21",
        "--out",
        out,
    ])
}

/// Writes a random checkpoint for `config`, with `tokenizer` beside it.
pub(crate) fn checkpoint(
    config: &Path,
    tokenizer: Option<&Path>,
    seed: u64,
    out: &Path,
) -> Result<()> {
    let json = std::fs::read_to_string(config).with_context(|| config.display().to_string())?;
    deepseek_testkit::write_checkpoint(out, &json, seed)?;
    if let Some(tokenizer) = tokenizer {
        std::fs::copy(tokenizer, out.join("tokenizer.json"))
            .with_context(|| tokenizer.display().to_string())?;
    }
    Ok(())
}
