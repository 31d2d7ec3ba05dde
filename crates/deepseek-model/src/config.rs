//! What `config.json` says, once it has been found to fit together.
//!
//! Two forms are read: the released one, and the one that transformers writes when it saves a model
//! again (`layer_types`, `mlp_layer_types`, `rope_parameters`). A file may hold both if they agree.
//! Unknown keys are ignored. What has no safe default must be there: a rope table or a layer kind
//! guessed from silence would be another model.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod agree;
mod error;
mod keys;
mod layers;
mod media;
mod rope;
mod storage;
mod tokens;
mod v41;

use std::ops::Deref;

use deepseek_audio::AudioConfig;
use deepseek_vision::VisionConfig;
use deepseek_vision::video::VideoConfig;
use serde_json::Value;

pub use self::error::ConfigError;
use self::error::{Result, clash, unsupported};
use self::keys::{Keys, brief};
use self::layers::Modules;
use self::media::Media;
pub use self::rope::RopeConfig;
pub use self::storage::Storage;
use self::storage::{storage, tile};
use self::tokens::{id, stops};
pub use self::v41::{DsparkConfig, EngramConfig, SharingConfig};
use crate::decoder::Placeholders;
use crate::limits::{
    CONFIG_BYTES_MAX, EXPERTS_MAX, HEAD_DIM_MAX, HEADS_MAX, LAYERS_MAX, POSITIONS_MAX,
    SINKHORN_MAX, STREAMS_MAX, VOCABULARY_MAX, WIDTH_MAX, WINDOW_MAX,
};

/// The ratio that implies overlapping groups and an indexer in V4 (`docs/models/deepseek-v4.md`
/// §1.2).
pub const SPARSE_RATIO: u32 = 4;

/// The releases of the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// DeepSeek-V4.
    V4,
    /// DeepSeek-V4.1.
    V41,
}

impl Family {
    /// Its `model_type`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V4 => "deepseek_v4",
            Self::V41 => "deepseek_v41",
        }
    }
}

/// What a `config.json` says, found to fit together: [`Numbers`] to be read. Only [`Config::parse`]
/// makes one, and nothing changes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Config(Numbers);

impl Deref for Config {
    type Target = Numbers;

    fn deref(&self) -> &Numbers {
        &self.0
    }
}

/// The numbers of a model. Those of a [`Config`] are each within its range and in agreement with the
/// others.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Numbers {
    /// The release.
    pub family: Family,
    /// Ids are below this.
    pub vocab_size: usize,
    /// Channels of a residual stream.
    pub hidden_size: usize,
    /// Layers of the backbone.
    pub layers: usize,
    /// For each layer of the backbone, how many tokens a compressed row stands for; 0 for a layer
    /// with nothing but a window.
    pub ratios: Vec<u32>,
    /// Query heads.
    pub heads: usize,
    /// Channels of a head, and of the one row that is key and value to all heads.
    pub head_dim: usize,
    /// Channels, at the end of a head, that are rotated. Even.
    pub rope_dim: usize,
    /// Channels of the query latent.
    pub q_lora_rank: usize,
    /// Groups of the output projection. Divides `heads * head_dim`.
    pub o_groups: usize,
    /// Channels of one group's output latent.
    pub o_lora_rank: usize,
    /// Positions that a query sees uncompressed, its own included.
    pub window: usize,
    /// The indexer of layers that choose.
    pub index: IndexConfig,
    /// Which layers share compressed rows and choices. None where every layer makes its own (V4).
    pub sharing: Option<SharingConfig>,
    /// The n-gram memory, if there is one.
    pub engram: Option<EngramConfig>,
    /// The image tower, if there is one.
    pub vision: Option<VisionConfig>,
    /// The id that stands in a prompt for a row of an image.
    pub image_token: Option<u32>,
    /// The audio tower, if there is one.
    pub audio: Option<AudioConfig>,
    /// The id that stands in a prompt for a row of audio, where there is a tower.
    pub audio_token: Option<u32>,
    /// How videos are watched, where there is an image tower.
    pub video: VideoConfig,
    /// The id that stands for a video before it is taken apart, if the vocabulary has it. It is in no
    /// prompt that runs.
    pub video_token: Option<u32>,
    /// The mixture of experts.
    pub experts: ExpertConfig,
    /// The residual streams.
    pub hyper: HyperConfig,
    /// Added to mean squares in norms.
    pub norm_eps: f32,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Positions that the model was made for.
    pub max_positions: usize,
    /// The id that begins a sequence.
    pub bos: u32,
    /// The ids that end an answer, at least one.
    pub eos: Vec<u32>,
    /// Draft modules of the MTP kind behind the backbone: layers without compressed rows. 0 where
    /// the `mtp.` tensors are of the DSpark kind, and in files that transformers saved again, which
    /// leave them out.
    pub mtp_layers: usize,
    /// The DSpark drafter of V4.1, if there is one.
    pub drafter: Option<DsparkConfig>,
    /// Whether the `mtp.` tensors of a refreshed V4 are a DSpark drafter, which is left aside.
    pub dspark: bool,
    /// Rows and columns of a weight matrix that share a scale where weights are FP8.
    pub fp8_tile: [usize; 2],
    /// How the tensors are stored, as far as the config tells. The files decide.
    pub storage: Storage,
}

impl Numbers {
    /// The ids that stand for media in a prompt.
    #[must_use]
    pub fn placeholders(&self) -> Placeholders {
        Placeholders {
            image: self.image_token,
            audio: self.audio_token,
            video: self.video_token,
        }
    }
}

/// The lightning indexer's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexConfig {
    /// Index heads.
    pub heads: usize,
    /// Channels of an index head: in V4 a power of two, for the Hadamard rotation.
    pub head_dim: usize,
    /// Compressed rows that a query attends to.
    pub topk: usize,
}

/// The mixture's numbers. There is one shared expert beside the routed ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertConfig {
    /// Routed experts of a layer.
    pub count: usize,
    /// Routed experts of a token, at most `count`.
    pub top_k: usize,
    /// Channels inside an expert.
    pub inner: usize,
    /// Layers, from the first, whose experts are looked up by token id.
    pub hash_layers: usize,
    /// Factor on the normalised weights.
    pub scale: f32,
    /// Clamp of the activations, if there is one.
    pub limit: Option<f32>,
}

/// The residual streams' numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HyperConfig {
    /// Residual streams.
    pub streams: usize,
    /// Column passes of the Sinkhorn iteration.
    pub sinkhorn: usize,
    /// Added where the mixers divide.
    pub eps: f32,
}

/// Keys that the architecture fixes. Where one is present it must say this.
const FIXED: [(&str, &str); 9] = [
    ("scoring_func", "\"sqrtsoftplus\""),
    ("topk_method", "\"noaux_tc\""),
    ("hidden_act", "\"silu\""),
    ("norm_topk_prob", "true"),
    ("attention_bias", "false"),
    ("mlp_bias", "false"),
    ("tie_word_embeddings", "false"),
    ("num_key_value_heads", "1"),
    ("n_shared_experts", "1"),
];

impl Config {
    /// Reads a `config.json`.
    ///
    /// # Errors
    /// A key that is missing, of another kind, out of bounds or in contradiction to another, and
    /// variants of the architecture that are not supported.
    pub fn parse(json: &str) -> Result<Self> {
        if json.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge { bytes: json.len() });
        }
        let top: Keys = serde_json::from_str(json).map_err(ConfigError::Json)?;
        let family = family(&top)?;
        // V4.1 keeps the numbers of the text model in an object of their own.
        let nested = match family {
            Family::V4 => None,
            Family::V41 => Some(top.need("text_config", top.object("text_config")?)?),
        };
        let keys = nested.as_ref().unwrap_or(&top);
        check_fixed(&top, &FIXED)?;
        check_fixed(keys, &FIXED)?;
        let layers = keys.size("num_hidden_layers", 1..=LAYERS_MAX)?;
        let Modules {
            ratios,
            mtp_layers,
            dspark,
        } = Modules::parse(keys, family, layers)?;
        let hidden_size = keys.size("hidden_size", 1..=WIDTH_MAX)?;
        let vocab_size = keys.size("vocab_size", 1..=VOCABULARY_MAX)?;
        let v41::Parts {
            sharing,
            engram,
            drafter,
        } = match family {
            Family::V4 => v41::Parts::default(),
            Family::V41 => v41::Parts::parse(keys, &ratios)?,
        };
        let Media {
            vision,
            image_token,
            audio,
            audio_token,
            video,
            video_token,
        } = Media::parse(&top, family, hidden_size, vocab_size)?;
        let head_dim = keys.size("head_dim", 1..=HEAD_DIM_MAX)?;
        let numbers = Numbers {
            family,
            vocab_size,
            hidden_size,
            layers,
            ratios,
            heads: keys.size("num_attention_heads", 1..=HEADS_MAX)?,
            head_dim,
            rope_dim: rope::width(keys, head_dim)?,
            q_lora_rank: keys.size("q_lora_rank", 1..=WIDTH_MAX)?,
            o_groups: keys.size("o_groups", 1..=HEADS_MAX)?,
            o_lora_rank: keys.size("o_lora_rank", 1..=WIDTH_MAX)?,
            window: keys.size("sliding_window", 1..=WINDOW_MAX)?,
            index: IndexConfig::parse(keys)?,
            sharing,
            engram,
            vision,
            image_token,
            audio,
            audio_token,
            video,
            video_token,
            experts: ExpertConfig::parse(keys, family, layers)?,
            hyper: HyperConfig::parse(keys)?,
            norm_eps: keys.positive("rms_norm_eps")?,
            rope: RopeConfig::parse(keys)?,
            max_positions: keys.size("max_position_embeddings", 1..=POSITIONS_MAX)?,
            bos: id(&top.name("bos_token_id"), top.value("bos_token_id"))?,
            eos: stops(&top)?,
            mtp_layers,
            drafter,
            dspark,
            fp8_tile: tile(&top, family)?,
            storage: storage(&top)?,
        };
        numbers.agree()?;
        Ok(Self(numbers))
    }

    /// The same without draft modules: for a checkpoint that holds none, or for who wants none.
    #[must_use]
    pub fn without_drafts(mut self) -> Self {
        self.0.mtp_layers = 0;
        self.0.drafter = None;
        self
    }
}

impl IndexConfig {
    fn parse(keys: &Keys) -> Result<Self> {
        Ok(Self {
            heads: keys.size("index_n_heads", 1..=HEADS_MAX)?,
            head_dim: keys.size("index_head_dim", 2..=HEAD_DIM_MAX)?,
            topk: keys.size("index_topk", 1..=POSITIONS_MAX)?,
        })
    }
}

impl ExpertConfig {
    fn parse(keys: &Keys, family: Family, layers: usize) -> Result<Self> {
        Ok(Self {
            count: keys.size("n_routed_experts", 1..=EXPERTS_MAX)?,
            top_k: keys.size("num_experts_per_tok", 1..=EXPERTS_MAX)?,
            inner: keys.size("moe_intermediate_size", 1..=WIDTH_MAX)?,
            hash_layers: match family {
                Family::V4 => layers::hashed(keys, layers)?,
                Family::V41 => 0,
            },
            scale: keys.positive("routed_scaling_factor")?,
            limit: keys.number("swiglu_limit")?.filter(|limit| *limit > 0.0),
        })
    }
}

impl HyperConfig {
    fn parse(keys: &Keys) -> Result<Self> {
        Ok(Self {
            streams: keys.size("hc_mult", 1..=STREAMS_MAX)?,
            sinkhorn: keys.size("hc_sinkhorn_iters", 1..=SINKHORN_MAX)?,
            eps: keys.positive("hc_eps")?,
        })
    }
}

/// Which release this is, if it is the architecture at all.
fn family(keys: &Keys) -> Result<Family> {
    match keys.need("model_type", keys.text("model_type")?)? {
        "deepseek_v4" => Ok(Family::V4),
        "deepseek_v41" => Ok(Family::V41),
        other => unsupported(
            "model_type",
            &Value::from(other),
            "\"deepseek_v4\" and \"deepseek_v41\"",
        ),
    }
}

/// Whether those of the keys that are present say what they must.
fn check_fixed(keys: &Keys, fixed: &[(&str, &str)]) -> Result<()> {
    for (key, only) in fixed {
        match keys.value(key) {
            Some(found) if brief(found) != *only => {
                return unsupported(&keys.name(key), found, only);
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}
