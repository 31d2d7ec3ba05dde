//! Random checkpoints of the real shapes, layer by layer, to measure speed with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::checkpoint::{self, copy};
use crate::shell::root;

/// A layer of each kind that compresses.
pub(crate) const RATIOS: [u32; 2] = [4, 128];

/// What to make.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shapes of a layer.
    #[arg(long, value_enum, default_value_t = Like::Flash)]
    like: Like,
    /// A layer for each: how many positions it compresses into one, 0 for a window alone.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "4,128"
    )]
    ratios: Vec<u32>,
    /// Take this config as it is, of V4 or V4.1, instead of such shapes and layers.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["like", "ratios"])]
    config: Option<PathBuf>,
    /// Seed of the weights.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The folder to write.
    out: PathBuf,
}

/// Whose layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Like {
    /// V4-Flash: 3.4 GB a layer, and 2.1 GB for the vocabulary.
    Flash,
    /// V4-Pro: 13 GB a layer, and 3.7 GB for the vocabulary.
    Pro,
    /// The attention of V4-Flash, a small vocabulary and few small experts.
    Attn,
    /// Small in all, as other programs' measurements have it: 9 MB a layer.
    Tiny,
}

impl Like {
    /// Its name, as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash",
            Self::Pro => "pro",
            Self::Attn => "attn",
            Self::Tiny => "tiny",
        }
    }

    /// The release whose config is changed, and the changes.
    fn config(self) -> (&'static str, Value) {
        let small = json!({
            "vocab_size": 1280, "n_routed_experts": 16, "num_experts_per_tok": 2, "moe_intermediate_size": 512,
        });
        match self {
            Self::Flash => ("v4-flash", json!({})),
            Self::Pro => ("v4-pro", json!({})),
            Self::Attn => ("v4-flash", small),
            Self::Tiny => {
                let tiny = json!({
                    "vocab_size": 1280, "n_routed_experts": 16, "num_experts_per_tok": 4, "moe_intermediate_size": 256,
                    "hidden_size": 512, "num_attention_heads": 8, "head_dim": 128, "o_groups": 2,
                    "q_lora_rank": 256, "o_lora_rank": 128, "index_n_heads": 8, "index_topk": 64,
                });
                ("v4-flash", tiny)
            }
        }
    }
}

/// Writes a synthetic checkpoint.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.config {
        None => make(args.like, &args.ratios, args.seed, &args.out),
        Some(config) => write(config, args.seed, &args.out),
    }
}

/// Writes one of such layers.
pub(crate) fn make(like: Like, ratios: &[u32], seed: u64, out: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.json");
    fs::write(&config, layers(like, ratios)?)?;
    write(&config, seed, out)
}

fn write(config: &Path, seed: u64, out: &Path) -> Result<()> {
    checkpoint::make("synthetic", config, seed, out)?;
    let config: Value = serde_json::from_slice(&fs::read(config)?)?;
    let text = config.get("text_config").unwrap_or(&config);
    match text["vocab_size"].as_u64() {
        // A vocabulary of real size has the ids of the released tokenizer.
        Some(129_280) => copy(
            &root().join("tests/fixtures/text/tokenizer.json"),
            &out.join("tokenizer.json"),
        ),
        _ => Ok(()),
    }
}

/// The config of a model with such layers. All of them choose experts by the token: gates with random
/// weights would send all tokens to the same few.
fn layers(like: Like, ratios: &[u32]) -> Result<String> {
    ensure!(!ratios.is_empty(), "--ratios: no layer");
    let (release, changes) = like.config();
    let path = root()
        .join("assets/configs")
        .join(release)
        .join("config.json");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut config: Value = serde_json::from_str(&text)?;
    let layers = json!({
        "num_hidden_layers": ratios.len(), "num_hash_layers": ratios.len(),
        "num_nextn_predict_layers": 0, "compress_ratios": ratios,
    });
    for (key, value) in [changes, layers]
        .iter()
        .filter_map(Value::as_object)
        .flatten()
    {
        config[key] = value.clone();
    }
    Ok(config.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_those_asked_for() -> Result<()> {
        for like in [Like::Flash, Like::Pro, Like::Attn, Like::Tiny] {
            let config: Value = serde_json::from_str(&layers(like, &[4, 128, 0])?)?;
            assert_eq!(config["num_hidden_layers"], 3);
            assert_eq!(config["num_hash_layers"], 3);
            assert_eq!(config["compress_ratios"], json!([4, 128, 0]));
            let whole = config["vocab_size"] == 129_280;
            assert_eq!(whole, matches!(like, Like::Flash | Like::Pro));
        }
        assert!(layers(Like::Tiny, &[]).is_err());
        Ok(())
    }
}
