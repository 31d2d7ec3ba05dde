#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bulk;
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

use crate::bulk::Bulk;
use crate::draw::Draw;
pub use crate::speaker::write_speaker;
pub use crate::tiny::tiny_v41_config;

/// Bytes after which a new shard begins, of small checkpoints and of large ones.
const SMALL_SHARD_BYTES: u64 = 4 << 20;
const LARGE_SHARD_BYTES: u64 = 1 << 30;

/// Writes a folder as a release is laid out: `config.json`, shards of safetensors and their index,
/// with random weights of the formats that the config calls for. The same seed gives the same bytes.
///
/// # Errors
/// If the config does not hold, or the folder cannot be written.
pub fn write_checkpoint(out: &Path, config_json: &str, seed: u64) -> Result<()> {
    let config = Config::parse(config_json)?;
    let mut draw = Draw::new(&config, ChaCha8Rng::seed_from_u64(seed));
    let shards = shards(&config, SMALL_SHARD_BYTES);
    write(out, config_json, shards, |spec| draw.tensor(spec), |_| ())
}

/// The same for checkpoints of real size, to measure speed with: codes are drawn evenly, so that a gigabyte
/// takes about a second, and a shard is in memory at a time. `progress` hears how many bytes of how many
/// are written.
///
/// # Errors
/// If the config does not hold, or the folder cannot be written.
pub fn write_synthetic(
    out: &Path,
    config_json: &str,
    seed: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let config = Config::parse(config_json)?;
    let mut bulk = Bulk::new(&config, ChaCha8Rng::seed_from_u64(seed));
    let shards = shards(&config, LARGE_SHARD_BYTES);
    let total = shards.iter().flatten().map(TensorSpec::bytes).sum();
    let report = |done| progress(done, total);
    write(out, config_json, shards, |spec| bulk.tensor(spec), report)
}

/// The tensors of a checkpoint, in shards that hold at most so many bytes or one tensor.
fn shards(config: &Config, most: u64) -> Vec<Vec<TensorSpec>> {
    let mut shards = vec![Vec::new()];
    let mut room = most;
    for spec in inventory(config, config.storage) {
        if spec.bytes() > room && room < most {
            shards.push(Vec::new());
            room = most;
        }
        room = room.saturating_sub(spec.bytes());
        shards.last_mut().expect("there is one").push(spec);
    }
    shards
}

/// Writes shards, one after the other, their index and the config. `progress` hears how many bytes are
/// written.
fn write(
    out: &Path,
    config_json: &str,
    shards: Vec<Vec<TensorSpec>>,
    mut draw: impl FnMut(&TensorSpec) -> Vec<u8>,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let count = shards.len();
    let mut places = BTreeMap::new();
    let mut total = 0;
    for (index, shard) in shards.into_iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", index + 1);
        let drawn: Vec<(TensorSpec, Vec<u8>)> = shard
            .into_iter()
            .map(|spec| {
                let bytes = draw(&spec);
                (spec, bytes)
            })
            .collect();
        let views = drawn
            .iter()
            .map(|(spec, bytes)| {
                places.insert(spec.name.clone(), name.clone());
                total += bytes.len() as u64;
                let view = TensorView::new(dtype(spec.dtype), spec.shape.clone(), bytes)?;
                Ok((spec.name.clone(), view))
            })
            .collect::<Result<Vec<_>>>()?;
        let path = out.join(name);
        safetensors::serialize_to_file(views, None, &path)
            .with_context(|| format!("write {}", path.display()))?;
        progress(total);
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
