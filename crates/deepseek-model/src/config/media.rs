//! Audio and videos, which the released checkpoint has no section for (`docs/models/audio-video.md`
//! §3, §6.2).

use deepseek_audio::config::{HOP, RATE};
use deepseek_audio::{AudioConfig, Level, Pool};
use deepseek_vision::VisionConfig;
use deepseek_vision::video::{self, Number, VideoConfig};
use serde::Deserialize;
use serde_json::Value;

use super::keys::{Keys, brief};
use super::tokens::{id, token};
use super::{ConfigError, Family, Result, clash, unsupported, v41};
use crate::limits::{CHUNK_SECONDS_MAX, HEADS_MAX, LAYERS_MAX, MELS_MAX, POSITIONS_MAX, WIDTH_MAX};

/// The id that stands for a row of audio where `audio_token_id` does not say, and that of a video: two
/// reserved ids of the released vocabulary (`docs/models/audio-video.md` §4).
const AUDIO_TOKEN: u32 = 129_261;
const VIDEO_TOKEN: u32 = 129_260;

/// What a config says about media.
pub(super) struct Media {
    pub(super) vision: Option<VisionConfig>,
    pub(super) image_token: Option<u32>,
    pub(super) audio: Option<AudioConfig>,
    pub(super) audio_token: Option<u32>,
    pub(super) video: VideoConfig,
    pub(super) video_token: Option<u32>,
}

impl Media {
    /// `width` is that of the text model; its ids are below `vocabulary`.
    pub(super) fn parse(
        top: &Keys,
        family: Family,
        width: usize,
        vocabulary: usize,
    ) -> Result<Self> {
        let (vision, audio) = match family {
            Family::V4 => (None, None),
            Family::V41 => (
                v41::vision(top.object("vision_config")?.as_ref(), width)?,
                audio(top.object("audio_config")?.as_ref(), width)?,
            ),
        };
        let image_token = match vision {
            None => None,
            Some(_) => Some(id("image_token_id", top.value("image_token_id"))?),
        };
        let audio_token = match audio {
            None => None,
            Some(_) => Some(token(top, "audio_token_id")?.unwrap_or(AUDIO_TOKEN)),
        };
        let known = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < vocabulary);
        let video_token = match vision {
            None => None,
            Some(_) => token(top, "video_token_id")?.or(Some(VIDEO_TOKEN).filter(known)),
        };
        Ok(Self {
            vision,
            image_token,
            audio,
            audio_token,
            video: video(top.object("video_config")?.as_ref())?,
            video_token,
        })
    }
}

/// Reads the audio tower, if there is one. `out` is the width of the text model.
fn audio(keys: Option<&Keys>, out: usize) -> Result<Option<AudioConfig>> {
    let Some(keys) = keys else {
        return Ok(None);
    };
    match keys.need("kind", keys.value("kind"))? {
        Value::String(kind) if kind == "whisper" => {}
        other => return unsupported(&keys.name("kind"), other, "\"whisper\""),
    }
    let config = AudioConfig {
        layers: keys.size("encoder_layers", 1..=LAYERS_MAX)?,
        hidden: keys.size("d_model", 1..=WIDTH_MAX)?,
        heads: keys.size("encoder_attention_heads", 1..=HEADS_MAX)?,
        inner: keys.size("encoder_ffn_dim", 1..=WIDTH_MAX)?,
        mels: keys.size("num_mel_bins", 1..=MELS_MAX)?,
        positions: keys.size("max_source_positions", 1..=POSITIONS_MAX)?,
        chunk_seconds: keys.size("chunk_seconds", 1..=CHUNK_SECONDS_MAX)?,
        pad_to_chunk: keys.need("pad_to_chunk", keys.flag("pad_to_chunk")?)?,
        keep_padding_tokens: keys.flag("keep_padding_tokens")?.unwrap_or(false),
        level: level(keys)?,
        pool: pool(keys)?,
        projector_bias: keys.flag("projector_bias")?.unwrap_or(false),
        out,
    };
    agree(keys, &config)?;
    Ok(Some(config))
}

/// What the features are measured against.
fn level(keys: &Keys) -> Result<Level> {
    match keys.need("log_mel_max", keys.value("log_mel_max"))? {
        Value::String(name) if name == "chunk" => Ok(Level::Chunk),
        Value::String(name) if name == "clip" => Ok(Level::Clip),
        other => match f32::deserialize(other) {
            Ok(level) if level.is_finite() => Ok(Level::Fixed(level)),
            _ => {
                let only = "\"chunk\", \"clip\" and numbers";
                unsupported(&keys.name("log_mel_max"), other, only)
            }
        },
    }
}

/// How frames become tokens.
fn pool(keys: &Keys) -> Result<Pool> {
    let found = keys.need("pool", keys.value("pool"))?;
    match found.as_str() {
        Some("stack4") => Ok(Pool::Stack4),
        Some("avg2") => Ok(Pool::Avg2),
        Some("stack8") => Ok(Pool::Stack8),
        _ => unsupported(
            &keys.name("pool"),
            found,
            "\"stack4\", \"avg2\" and \"stack8\"",
        ),
    }
}

/// What must hold between the keys of the audio tower.
fn agree(keys: &Keys, config: &AudioConfig) -> Result<()> {
    // Half of a position's channels are sines.
    let paired = config.heads.saturating_mul(2);
    if config.hidden.checked_rem(paired) != Some(0) {
        return clash(
            format!("{} is {}", keys.name("d_model"), config.hidden),
            format!(
                "{} {} does not divide it into heads of an even width",
                keys.name("encoder_attention_heads"),
                config.heads
            ),
        );
    }
    let rate = usize::try_from(RATE).unwrap_or(usize::MAX);
    let samples = config.chunk_seconds.saturating_mul(rate);
    let each = config.pool.samples();
    if !samples.is_multiple_of(each) {
        return clash(
            format!("{} is {}", keys.name("chunk_seconds"), config.chunk_seconds),
            format!("{} makes a token of {each} samples", keys.name("pool")),
        );
    }
    // The second convolution takes every other frame.
    let frames = samples
        .checked_div(HOP.saturating_mul(2))
        .unwrap_or_default();
    if frames > config.positions {
        return clash(
            format!("{} makes {frames} frames", keys.name("chunk_seconds")),
            format!(
                "{} is {}",
                keys.name("max_source_positions"),
                config.positions
            ),
        );
    }
    Ok(())
}

/// Reads how videos are watched. Every number has a default.
fn video(keys: Option<&Keys>) -> Result<VideoConfig> {
    let mut config = VideoConfig::default();
    let Some(keys) = keys else {
        return Ok(config);
    };
    for (name, number) in config.numbers() {
        match number {
            Number::Real(value) => *value = keys.real(name)?.unwrap_or(*value),
            Number::Count(value, most) => {
                *value = keys.whole(name, 1..=most)?.unwrap_or(*value);
            }
        }
    }
    config.check().map_err(|error| {
        let video::ConfigError { name, value, want } = error;
        let (key, value) = (keys.name(name), brief(&value.into()));
        ConfigError::Range { key, value, want }
    })?;
    Ok(config)
}
