#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod draw;
mod speaker;
mod tiny;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use deepseek_core::weights::Dtype;
use deepseek_model::Config;
use deepseek_model::inventory::{TensorSpec, inventory};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::TensorView;

use crate::draw::Draw;
pub use crate::speaker::write_speaker;
pub use crate::tiny::tiny_v41_config;

/// Bytes after which a new shard begins.
const SHARD_BYTES: usize = 4 << 20;

/// Writes a folder as a release is laid out: `config.json`, shards of safetensors and their index,
/// with random weights of the formats that the config calls for. The same seed gives the same bytes.
///
/// # Errors
/// If the config does not hold, or the folder cannot be written.
pub fn write_checkpoint(out: &Path, config_json: &str, seed: u64) -> Result<()> {
    let config = Config::parse(config_json)?;
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let mut draw = Draw::new(&config, ChaCha8Rng::seed_from_u64(seed));
    let mut shards: Vec<Vec<(TensorSpec, Vec<u8>)>> = vec![Vec::new()];
    let mut room = SHARD_BYTES;
    for spec in inventory(&config, config.storage) {
        let bytes = draw.tensor(&spec);
        if bytes.len() > room && room < SHARD_BYTES {
            shards.push(Vec::new());
            room = SHARD_BYTES;
        }
        room = room.saturating_sub(bytes.len());
        shards.last_mut().expect("there is one").push((spec, bytes));
    }

    let mut places = BTreeMap::new();
    let mut total = 0;
    for (index, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", index + 1, shards.len());
        let views = shard
            .iter()
            .map(|(spec, bytes)| {
                places.insert(spec.name.clone(), name.clone());
                total += bytes.len();
                let view = TensorView::new(dtype(spec.dtype), spec.shape.clone(), bytes)?;
                Ok((spec.name.clone(), view))
            })
            .collect::<Result<Vec<_>>>()?;
        safetensors::serialize_to_file(views, None, &out.join(name))?;
    }
    let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": places });
    let index = serde_json::to_string_pretty(&index)?;
    std::fs::write(out.join("model.safetensors.index.json"), index)?;
    std::fs::write(out.join("config.json"), config_json)?;
    Ok(())
}

fn dtype(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::Bf16 => safetensors::Dtype::BF16,
        Dtype::I64 => safetensors::Dtype::I64,
        Dtype::I8 => safetensors::Dtype::I8,
        Dtype::F8E4m3 => safetensors::Dtype::F8_E4M3,
        Dtype::F8E8m0 => safetensors::Dtype::F8_E8M0,
        other => unreachable!("no tensor of a release is {other}"),
    }
}
