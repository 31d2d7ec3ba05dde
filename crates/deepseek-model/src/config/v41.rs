//! What only V4.1 has: layers that share their rows, n-gram memory, a drafter, images
//! (`docs/models/deepseek-v41.md` §1.1).

use deepseek_core::operands::Blocks;
use deepseek_vision::VisionConfig;
use serde_json::Value;

use super::keys::{Keys, whole};
use super::tokens::id;
use super::{ConfigError, Result, clash};
use crate::limits::{
    DRAFTS_MAX, ENGRAM_HEADS_MAX, ENGRAM_ROWS_MAX, EXPERTS_MAX, HEAD_DIM_MAX, HEADS_MAX,
    IMAGE_TOKENS_MAX, LAYERS_MAX, MODULES_MAX, NGRAM_MAX, PATCH_MAX, POSITIONS_MAX, VOCABULARY_MAX,
    WIDTH_MAX,
};

/// Which layers make compressed rows, and which choose among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharingConfig {
    /// Layers that make rows, ascending. A layer reads those of the last one up to itself.
    pub kv_sources: Vec<usize>,
    /// Layers that choose, ascending; all that make rows are among them.
    pub index_sources: Vec<usize>,
    /// The layer whose best blocks are all that later layers choose among, and how many of them.
    pub candidates: Option<(usize, Blocks)>,
}

/// The n-gram memory's numbers (`docs/models/deepseek-v41.md` §3.7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngramConfig {
    /// Layers that have one, ascending.
    pub layers: Vec<usize>,
    /// Rows of each layer's table.
    pub rows: Vec<usize>,
    /// Tokens of the longest n-gram.
    pub ngram: usize,
    /// Hash heads of each order of n-gram.
    pub heads: usize,
    /// Channels of a row.
    pub head_dim: usize,
    /// The number above which the table sizes, primes, are sought.
    pub vocabulary: usize,
    /// The id that stands for what is not there.
    pub pad: u32,
    /// Compressed ids.
    pub compressed: usize,
}

/// The drafter's numbers (`docs/models/deepseek-v41.md` §5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DsparkConfig {
    /// Its layers.
    pub stages: usize,
    /// Tokens that it proposes at once.
    pub block: usize,
    /// The id that stands where a token is yet to be proposed.
    pub noise: u32,
    /// Layers of the backbone whose input it reads.
    pub taps: Vec<usize>,
    /// Channels of the correction by the token before.
    pub markov_rank: usize,
    /// Routed experts of a layer of its.
    pub experts: usize,
    /// Routed experts of a token there.
    pub top_k: usize,
}

/// What only V4.1 has in its text model.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) sharing: Option<SharingConfig>,
    pub(super) engram: Option<EngramConfig>,
    pub(super) drafter: Option<DsparkConfig>,
}

impl Parts {
    /// `ratios` are those of the backbone's layers.
    pub(super) fn parse(keys: &Keys, ratios: &[u32]) -> Result<Self> {
        let sharing = sharing(keys, ratios)?;
        Ok(Self {
            engram: engram(keys, &sharing)?,
            drafter: dspark(keys, ratios.len(), &sharing)?,
            sharing: Some(sharing),
        })
    }
}

/// Reads who makes and who chooses rows, and holds it against the ratios.
fn sharing(keys: &Keys, ratios: &[u32]) -> Result<SharingConfig> {
    let kv_sources = layers(keys, "kv_source_layer_ids", ratios.len())?;
    let index_sources = layers(keys, "index_source_layer_ids", ratios.len())?;
    for (layer, ratio) in ratios.iter().enumerate() {
        let source = kv_sources.iter().rev().find(|source| **source <= layer);
        let own = source.and_then(|source| ratios.get(*source)).copied();
        if *ratio > 0 && own != Some(*ratio) {
            return clash(
                format!("compress_ratios[{layer}] is {ratio}"),
                match own {
                    None => "no layer of kv_source_layer_ids comes before it".to_owned(),
                    Some(own) => format!("the layer whose rows it reads has ratio {own}"),
                },
            );
        }
        let listed = kv_sources.contains(&layer) || index_sources.contains(&layer);
        if *ratio == 0 && listed {
            return clash(
                format!("compress_ratios[{layer}] is 0"),
                "kv_source_layer_ids or index_source_layer_ids has it".to_owned(),
            );
        }
    }
    if let Some(source) = kv_sources
        .iter()
        .find(|layer| !index_sources.contains(layer))
    {
        return clash(
            format!("kv_source_layer_ids has {source}"),
            "index_source_layer_ids does not".to_owned(),
        );
    }
    let candidates = match keys.whole("candidate_source_layer_id", 0..=LAYERS_MAX)? {
        None => None,
        Some(layer) if kv_sources.last() == Some(&layer) => {
            let blocks = Blocks {
                size: keys.size("candidate_block_size", 1..=POSITIONS_MAX)?,
                keep: keys.size("candidate_topk_blocks", 1..=POSITIONS_MAX)?,
            };
            let topk = keys.size("index_topk", 1..=POSITIONS_MAX)?;
            let kept = blocks.size.saturating_mul(blocks.keep);
            if kept < topk {
                return clash(
                    format!("index_topk is {topk}"),
                    format!("candidate_topk_blocks of candidate_block_size hold {kept}"),
                );
            }
            Some((layer, blocks))
        }
        Some(layer) => {
            return clash(
                format!("candidate_source_layer_id is {layer}"),
                format!(
                    "the last of kv_source_layer_ids is {}",
                    kv_sources.last().copied().unwrap_or_default()
                ),
            );
        }
    };
    Ok(SharingConfig {
        kv_sources,
        index_sources,
        candidates,
    })
}

/// Reads the n-gram memory, if there is one. It has to end before the layers that a prompt may skip.
fn engram(keys: &Keys, sharing: &SharingConfig) -> Result<Option<EngramConfig>> {
    let Some(listed) = keys.list("engram_layer_ids")? else {
        return Ok(None);
    };
    if listed.is_empty() {
        return Ok(None);
    }
    let layers = layers(keys, "engram_layer_ids", LAYERS_MAX)?;
    if let (Some(layer), Some(cut)) = (layers.last(), sharing.kv_sources.last())
        && layer >= cut
    {
        return clash(
            format!("engram_layer_ids has {layer}"),
            format!("the last of kv_source_layer_ids is {cut}, and prompts end there"),
        );
    }
    let name = keys.name("engram_num_embeddings");
    let rows = keys.need("engram_num_embeddings", keys.list("engram_num_embeddings")?)?;
    let rows: Vec<usize> = rows
        .iter()
        .map(|value| whole(&name, value, 1..=ENGRAM_ROWS_MAX))
        .collect::<Result<_>>()?;
    if rows.len() != layers.len() {
        return clash(
            format!("engram_layer_ids has {} entries", layers.len()),
            format!("engram_num_embeddings has {}", rows.len()),
        );
    }
    let engram = EngramConfig {
        layers,
        rows,
        ngram: keys.size("engram_max_ngram_size", 2..=NGRAM_MAX)?,
        heads: keys.size("engram_n_heads", 1..=ENGRAM_HEADS_MAX)?,
        head_dim: keys.size("engram_head_dim", 1..=HEAD_DIM_MAX)?,
        vocabulary: keys.size("engram_vocab_size", 2..=ENGRAM_ROWS_MAX)?,
        pad: id(
            &keys.name("engram_pad_token_id"),
            keys.value("engram_pad_token_id"),
        )?,
        compressed: keys.size("engram_compressed_vocab_size", 1..=VOCABULARY_MAX)?,
    };
    // Each hash has a prime of its own. Whether the sizes are these primes' sum is found out with
    // the tables at hand; that they can be bounds what that takes.
    let hashes = engram.ngram.saturating_sub(1).saturating_mul(engram.heads);
    let least = hashes.saturating_mul(engram.vocabulary);
    if let Some(rows) = engram.rows.iter().find(|rows| **rows < least) {
        return clash(
            format!("engram_num_embeddings has {rows}"),
            format!(
                "{hashes} hashes above an engram_vocab_size of {} have more",
                engram.vocabulary
            ),
        );
    }
    Ok(Some(engram))
}

/// Reads the drafter, if there is one. It reads layers that the last positions of a prompt run
/// through together.
fn dspark(keys: &Keys, count: usize, sharing: &SharingConfig) -> Result<Option<DsparkConfig>> {
    let stages = keys
        .whole("num_nextn_predict_layers", 0..=MODULES_MAX)?
        .unwrap_or(0);
    if stages == 0 {
        return Ok(None);
    }
    let drafter = DsparkConfig {
        stages,
        block: keys.size("dspark_block_size", 1..=DRAFTS_MAX)?,
        noise: id(
            &keys.name("dspark_noise_token_id"),
            keys.value("dspark_noise_token_id"),
        )?,
        taps: layers(keys, "dspark_target_layer_ids", count)?,
        markov_rank: keys.size("dspark_markov_rank", 1..=WIDTH_MAX)?,
        experts: keys.size("dspark_n_routed_experts", 1..=EXPERTS_MAX)?,
        top_k: keys.size("dspark_num_experts_per_tok", 1..=EXPERTS_MAX)?,
    };
    if drafter.top_k > drafter.experts {
        return clash(
            format!("dspark_num_experts_per_tok is {}", drafter.top_k),
            format!("dspark_n_routed_experts is {}", drafter.experts),
        );
    }
    if let (Some(layer), Some(cut)) = (drafter.taps.first(), sharing.kv_sources.last())
        && layer < cut
    {
        return clash(
            format!("dspark_target_layer_ids has {layer}"),
            format!("the last of kv_source_layer_ids is {cut}, and prompts end there"),
        );
    }
    Ok(Some(drafter))
}

/// Reads the image tower, if there is one.
pub(super) fn vision(keys: Option<&Keys>, out: usize) -> Result<Option<VisionConfig>> {
    let Some(keys) = keys else {
        return Ok(None);
    };
    let layers = keys.size("num_hidden_layers", 0..=LAYERS_MAX)?;
    if layers == 0 {
        return Ok(None);
    }
    let config = VisionConfig {
        layers,
        hidden: keys.size("hidden_size", 1..=WIDTH_MAX)?,
        heads: keys.size("num_attention_heads", 1..=HEADS_MAX)?,
        inner: keys.size("intermediate_size", 1..=WIDTH_MAX)?,
        patch: keys.size("patch_size", 1..=PATCH_MAX)?,
        rope_theta: keys.positive("rope_theta")?,
        downsample: keys.size("downsample_ratio", 1..=PATCH_MAX)?,
        max_tokens: keys.size("max_image_tokens", 8..=IMAGE_TOKENS_MAX)?,
        min_pixels: keys.size("min_pixels", 1..=POSITIONS_MAX)?,
        max_wh_ratio: keys.number("max_wh_ratio")?.filter(|ratio| *ratio > 0.0),
        out,
    };
    // Half of a head's channels turn by the row, half by the column, in pairs.
    let paired = config.heads.saturating_mul(4);
    if config.hidden.checked_rem(paired) != Some(0) {
        return clash(
            format!("{} is {}", keys.name("hidden_size"), config.hidden),
            format!(
                "{} {} does not divide it into heads of a multiple of 4",
                keys.name("num_attention_heads"),
                config.heads
            ),
        );
    }
    Ok(Some(config))
}

/// A list of layers that ascends, below `count`.
fn layers(keys: &Keys, key: &str, count: usize) -> Result<Vec<usize>> {
    let list = keys.need(key, keys.list(key)?)?;
    let name = keys.name(key);
    let last = count.saturating_sub(1);
    let layers = list
        .iter()
        .map(|value| whole(&name, value, 0..=last))
        .collect::<Result<Vec<_>>>()?;
    if layers.is_empty() || !layers.is_sorted_by(|left, right| left < right) {
        return Err(ConfigError::Range {
            key: name,
            value: Value::from(layers).to_string(),
            want: "ascending layers, at least one".to_owned(),
        });
    }
    Ok(layers)
}
