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

mod keys;
mod layers;
mod media;
mod rope;
mod v41;

use deepseek_audio::AudioShape;
use deepseek_core::rope::Yarn;
use deepseek_vision::VisionShape;
use deepseek_vision::video::VideoConfig;
use serde_json::Value;

use self::keys::{Keys, brief, whole};
pub use self::v41::{DsparkConfig, EngramConfig, SharingConfig};
use crate::decoder::Placeholders;
use crate::limits::{
    CONFIG_BYTES_MAX, EXPERTS_MAX, HEAD_DIM_MAX, HEADS_MAX, LAYERS_MAX, MODULES_MAX, POSITIONS_MAX,
    SINKHORN_MAX, STOPS_MAX, STREAMS_MAX, VOCABULARY_MAX, WIDTH_MAX, WINDOW_MAX,
};

/// The ratio that implies overlapping groups and an indexer in V4 (`docs/models/deepseek-v4.md`
/// §1.2).
pub const SPARSE_RATIO: u32 = 4;

/// The id that stands for a row of audio where `audio_token_id` does not say, and that of a video: two
/// reserved ids of the released vocabulary (`docs/models/audio-video.md` §4).
const AUDIO_TOKEN: u32 = 129_261;
const VIDEO_TOKEN: u32 = 129_260;

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

/// The numbers of a model, each within its range and in agreement with the others. Only
/// [`Config::parse`] makes one.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Config {
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
    pub vision: Option<VisionShape>,
    /// The id that stands in a prompt for a row of an image.
    pub image_token: Option<u32>,
    /// The audio tower, if there is one.
    pub audio: Option<AudioShape>,
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
    pub each: usize,
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

/// The two sets of rotary frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Base in layers with nothing but a window, without interpolation.
    pub theta: f32,
    /// Base in layers with compressed rows.
    pub compress_theta: f32,
    /// Interpolation in layers with compressed rows.
    pub yarn: Option<Yarn>,
}

/// How a checkpoint keeps its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// FP8 with E8M0 scales; routed experts in FP4.
    Released,
    /// FP8 with F32 scales, routed experts too.
    Base,
    /// BF16: the upper half of a 32-bit float.
    Bf16,
    /// 32-bit floats.
    F32,
}

/// Why a config was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// More bytes than any config has.
    #[error("the config has {bytes} bytes, at most {CONFIG_BYTES_MAX} are read")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
    },
    /// Not a JSON object, or one with a key that occurs twice.
    #[error("the config is not a JSON object with distinct keys")]
    Json(#[source] serde_json::Error),
    /// A key that has no safe default.
    #[error("{key} is missing")]
    Missing {
        /// The key, or the keys that would do.
        key: String,
    },
    /// A value of another kind.
    #[error("{key}: {found}, want {want}")]
    Kind {
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// The kind that belongs there.
        want: &'static str,
    },
    /// A number beyond its bounds.
    #[error("{key}: {value}, want {want}")]
    Range {
        /// The key.
        key: String,
        /// The number.
        value: String,
        /// The bounds.
        want: String,
    },
    /// Two statements that cannot both hold.
    #[error("{left}, but {right}")]
    Contradiction {
        /// One.
        left: String,
        /// The other.
        right: String,
    },
    /// A variant of the architecture that this engine does not run.
    #[error("{key}: {found} is not supported, only {only}")]
    Unsupported {
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// The values that are.
        only: String,
    },
}

/// A result with [`ConfigError`].
type Result<T> = std::result::Result<T, ConfigError>;

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

/// The same within `quantization_config`.
const QUANTISED: [(&str, &str); 3] = [
    ("quant_method", "\"fp8\""),
    ("fmt", "\"e4m3\""),
    ("scale_fmt", "\"ue8m0\""),
];

impl Config {
    /// The ids that stand for media in a prompt.
    #[must_use]
    pub fn placeholders(&self) -> Placeholders {
        Placeholders {
            image: self.image_token,
            audio: self.audio_token,
            video: self.video_token,
        }
    }

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
        let refreshed = family == Family::V4 && keys.value("dspark_block_size").is_some();
        let head_dim = keys.size("head_dim", 1..=HEAD_DIM_MAX)?;
        let layers = keys.size("num_hidden_layers", 1..=LAYERS_MAX)?;
        let modules = keys
            .whole("num_nextn_predict_layers", 0..=MODULES_MAX)?
            .unwrap_or(0);
        let mtp_layers = match family {
            Family::V4 if !refreshed => modules,
            Family::V4 | Family::V41 => 0,
        };
        let layers::Ratios { ratios, has_drafts } = layers::ratios(keys, layers, mtp_layers)?;
        let hidden_size = keys.size("hidden_size", 1..=WIDTH_MAX)?;
        let (sharing, engram, vision, drafter) = match family {
            Family::V4 => (None, None, None, None),
            Family::V41 => {
                let sharing = v41::sharing(keys, &ratios)?;
                let engram = v41::engram(keys, &sharing)?;
                let vision = v41::vision(top.object("vision_config")?.as_ref(), hidden_size)?;
                let drafter = v41::dspark(keys, layers, &sharing)?;
                (Some(sharing), engram, vision, drafter)
            }
        };
        let image_token = match vision {
            None => None,
            Some(_) => Some(id("image_token_id", top.value("image_token_id"))?),
        };
        let audio = match family {
            Family::V4 => None,
            Family::V41 => media::audio(top.object("audio_config")?.as_ref(), hidden_size)?,
        };
        let audio_token = match audio {
            None => None,
            Some(_) => Some(token(&top, "audio_token_id")?.unwrap_or(AUDIO_TOKEN)),
        };
        let vocab_size = keys.size("vocab_size", 1..=VOCABULARY_MAX)?;
        let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocab_size);
        let video_token = match vision {
            None => None,
            Some(_) => token(&top, "video_token_id")?.or(Some(VIDEO_TOKEN).filter(known)),
        };
        let config = Self {
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
            index: IndexConfig {
                heads: keys.size("index_n_heads", 1..=HEADS_MAX)?,
                head_dim: keys.size("index_head_dim", 2..=HEAD_DIM_MAX)?,
                topk: keys.size("index_topk", 1..=POSITIONS_MAX)?,
            },
            sharing,
            engram,
            vision,
            image_token,
            audio,
            audio_token,
            video: media::video(top.object("video_config")?.as_ref())?,
            video_token,
            experts: ExpertConfig {
                count: keys.size("n_routed_experts", 1..=EXPERTS_MAX)?,
                each: keys.size("num_experts_per_tok", 1..=EXPERTS_MAX)?,
                inner: keys.size("moe_intermediate_size", 1..=WIDTH_MAX)?,
                hash_layers: match family {
                    Family::V4 => layers::hashed(keys, layers)?,
                    Family::V41 => 0,
                },
                scale: keys.positive("routed_scaling_factor")?,
                limit: keys.number("swiglu_limit")?.filter(|limit| *limit > 0.0),
            },
            hyper: HyperConfig {
                streams: keys.size("hc_mult", 1..=STREAMS_MAX)?,
                sinkhorn: keys.size("hc_sinkhorn_iters", 1..=SINKHORN_MAX)?,
                eps: keys.positive("hc_eps")?,
            },
            norm_eps: keys.positive("rms_norm_eps")?,
            rope: rope::bases(keys)?,
            max_positions: keys.size("max_position_embeddings", 1..=POSITIONS_MAX)?,
            bos: id(&top.name("bos_token_id"), top.value("bos_token_id"))?,
            eos: stops(&top)?,
            mtp_layers: if has_drafts { mtp_layers } else { 0 },
            drafter,
            dspark: refreshed,
            fp8_tile: tile(&top, family)?,
            storage: storage(&top)?,
        };
        config.agree()?;
        Ok(config)
    }

    /// The same without draft modules: for a checkpoint that holds none, or for who wants none.
    #[must_use]
    pub fn without_drafts(self) -> Self {
        Self {
            mtp_layers: 0,
            drafter: None,
            ..self
        }
    }

    /// What must hold between keys. The bounds above keep every product here small.
    fn agree(&self) -> Result<()> {
        let wide = self.heads.saturating_mul(self.head_dim);
        if wide.checked_rem(self.o_groups) != Some(0) {
            return clash(
                format!(
                    "num_attention_heads {} times head_dim {} is {wide}",
                    self.heads, self.head_dim
                ),
                format!("o_groups {} does not divide it", self.o_groups),
            );
        }
        if self.rope_dim > self.index.head_dim {
            return clash(
                format!("the rotary width is {}", self.rope_dim),
                format!("index_head_dim is {}", self.index.head_dim),
            );
        }
        if self.family == Family::V4 && !self.index.head_dim.is_power_of_two() {
            return Err(ConfigError::Range {
                key: "index_head_dim".to_owned(),
                value: self.index.head_dim.to_string(),
                want: "a power of two".to_owned(),
            });
        }
        let packed = [
            ("head_dim", self.head_dim),
            ("index_head_dim", self.index.head_dim),
        ];
        for (key, width) in packed {
            if self.family == Family::V41 && width % 2 != 0 {
                return Err(ConfigError::Range {
                    key: key.to_owned(),
                    value: width.to_string(),
                    want: "an even number".to_owned(),
                });
            }
        }
        if self.experts.each > self.experts.count {
            return clash(
                format!("num_experts_per_tok is {}", self.experts.each),
                format!("n_routed_experts is {}", self.experts.count),
            );
        }
        let odd = [self.hidden_size, self.experts.inner]
            .iter()
            .any(|width| width % 2 != 0);
        if self.storage == Storage::Released && odd {
            return clash(
                "experts are stored as FP4, two columns a byte".to_owned(),
                format!(
                    "hidden_size {} and moe_intermediate_size {} are not both even",
                    self.hidden_size, self.experts.inner
                ),
            );
        }
        let outside = |id: &u32| usize::try_from(*id).is_ok_and(|id| id >= self.vocab_size);
        let engram = self.engram.as_ref();
        let drafter = self.drafter.as_ref();
        if let Some(engram) = engram.filter(|engram| engram.compressed > self.vocab_size) {
            return clash(
                format!("engram_compressed_vocab_size is {}", engram.compressed),
                format!("vocab_size is {}", self.vocab_size),
            );
        }
        let named = [("bos_token_id", &self.bos)]
            .into_iter()
            .chain(self.eos.iter().map(|id| ("eos_token_id", id)))
            .chain(self.image_token.iter().map(|id| ("image_token_id", id)))
            .chain(self.audio_token.iter().map(|id| ("audio_token_id", id)))
            .chain(self.video_token.iter().map(|id| ("video_token_id", id)))
            .chain(engram.map(|engram| ("engram_pad_token_id", &engram.pad)))
            .chain(drafter.map(|drafter| ("dspark_noise_token_id", &drafter.noise)));
        for (key, id) in named {
            if outside(id) {
                return clash(
                    format!("{key} is {id}"),
                    format!("vocab_size is {}", self.vocab_size),
                );
            }
        }
        Ok(())
    }
}

/// Two statements that cannot both hold.
fn clash<T>(left: String, right: String) -> Result<T> {
    Err(ConfigError::Contradiction { left, right })
}

/// A value that belongs to another variant of the architecture.
fn unsupported<T>(key: &str, found: &Value, only: &str) -> Result<T> {
    Err(ConfigError::Unsupported {
        key: key.to_owned(),
        found: brief(found),
        only: only.to_owned(),
    })
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

/// A token id. Its bound, the vocabulary, is checked once that is known.
fn id(name: &str, value: Option<&Value>) -> Result<u32> {
    let value = value.ok_or_else(|| ConfigError::Missing {
        key: name.to_owned(),
    })?;
    let id = whole(name, value, 0..=VOCABULARY_MAX)?;
    Ok(u32::try_from(id).unwrap_or(u32::MAX))
}

/// A token id that may be absent.
fn token(keys: &Keys, key: &str) -> Result<Option<u32>> {
    match keys.value(key) {
        None => Ok(None),
        found => Ok(Some(id(&keys.name(key), found)?)),
    }
}

/// One end-of-text id, or several.
fn stops(keys: &Keys) -> Result<Vec<u32>> {
    let name = keys.name("eos_token_id");
    match keys.value("eos_token_id") {
        Some(Value::Array(list)) if (1..=STOPS_MAX).contains(&list.len()) => {
            list.iter().map(|value| id(&name, Some(value))).collect()
        }
        Some(Value::Array(list)) => Err(ConfigError::Range {
            key: name,
            value: format!("{} ids", list.len()),
            want: format!("1 to {STOPS_MAX}"),
        }),
        one => Ok(vec![id(&name, one)?]),
    }
}

/// How the matrices are stored. Flash was released without `expert_dtype`, and means FP4.
fn storage(keys: &Keys) -> Result<Storage> {
    let Some(quantisation) = keys.object("quantization_config")? else {
        let named = ["torch_dtype", "dtype"]
            .into_iter()
            .find_map(|key| Some((key, keys.value(key)?)));
        return match named {
            None => Ok(Storage::Bf16),
            Some((_, Value::String(name))) if name == "bfloat16" => Ok(Storage::Bf16),
            Some((_, Value::String(name))) if name == "float32" => Ok(Storage::F32),
            Some((key, found)) => unsupported(key, found, "\"bfloat16\" and \"float32\""),
        };
    };
    check_fixed(&quantisation, &QUANTISED)?;
    quantisation.need("quant_method", quantisation.text("quant_method")?)?;
    let (outer, inner) = (
        keys.text("expert_dtype")?,
        quantisation.text("expert_dtype")?,
    );
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return clash(
            format!("expert_dtype is {outer}"),
            format!("{} is {inner}", quantisation.name("expert_dtype")),
        );
    }
    match outer.or(inner) {
        None | Some("fp4") => Ok(Storage::Released),
        Some("fp8") => Ok(Storage::Base),
        Some(other) => unsupported("expert_dtype", &Value::from(other), "\"fp4\" and \"fp8\""),
    }
}

/// Rows and columns that share a scale. The release has the same in its rounding of activations, even
/// where the weights are floats.
fn tile(keys: &Keys, family: Family) -> Result<[usize; 2]> {
    let released = match family {
        Family::V4 => [128, 128],
        Family::V41 => [32, 32],
    };
    let Some(quantisation) = keys.object("quantization_config")? else {
        return Ok(released);
    };
    let name = quantisation.name("weight_block_size");
    match quantisation.list("weight_block_size")? {
        None => Ok(released),
        Some([rows, columns]) => Ok([
            whole(&name, rows, 1..=WIDTH_MAX)?,
            whole(&name, columns, 1..=WIDTH_MAX)?,
        ]),
        Some(list) => Err(ConfigError::Kind {
            key: name,
            found: format!("a list of {}", list.len()),
            want: "a list of 2",
        }),
    }
}
