//! What the `config.json` of V4.1 may say about audio and videos, and what that costs.

mod common;

use deepseek_audio::{AudioConfig, Level, Pool};
use deepseek_model::bill::{Tally, Weights};
use deepseek_model::config::Storage;
use deepseek_model::inventory::{Component, TensorSpec, inventory};
use deepseek_model::{Budget, Config, Report};
use deepseek_vision::video::VideoConfig;
use serde_json::{Value, json};

use common::{changed, parse, refuse, released};

/// The released config, which has no section for either, with one for Whisper's large encoder.
fn hearing(changes: &Value) -> Value {
    let mut config = released();
    config["audio_config"] = json!({
        "kind": "whisper", "d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20,
        "encoder_ffn_dim": 5120, "num_mel_bins": 128, "max_source_positions": 1500,
        "chunk_seconds": 30, "pad_to_chunk": true, "keep_padding_tokens": false,
        "log_mel_max": "chunk", "pool": "stack4", "projector_bias": false,
    });
    changed(config, &json!({ "audio_config": changes }))
}

#[test]
fn the_section_of_whisper_is_read() {
    let config = parse(&hearing(&json!({})));
    let shape = AudioConfig {
        layers: 32,
        hidden: 1280,
        heads: 20,
        inner: 5120,
        mels: 128,
        positions: 1500,
        chunk_seconds: 30,
        pad_to_chunk: true,
        keep_padding_tokens: false,
        level: Level::Chunk,
        pool: Pool::Stack4,
        projector_bias: false,
        out: 5120,
    };
    assert_eq!(config.audio, Some(shape));
    assert_eq!(config.audio_token, Some(129_261));
    assert_eq!(config.video_token, Some(129_260));
    assert_eq!(config.video, VideoConfig::default());
    let audio = |changes| parse(&hearing(&changes)).audio.expect("a tower");
    assert_eq!(audio(json!({ "log_mel_max": "clip" })).level, Level::Clip);
    assert_eq!(
        audio(json!({ "log_mel_max": -0.5 })).level,
        Level::Fixed(-0.5)
    );
    assert_eq!(audio(json!({ "pool": "avg2" })).pool, Pool::Avg2);
    let eight = json!({ "pool": "stack8", "chunk_seconds": 20 });
    assert_eq!(audio(eight).pool, Pool::Stack8);
    let brief = json!({ "keep_padding_tokens": "-", "projector_bias": "-" });
    assert_eq!(audio(brief), shape);
}

#[test]
fn the_released_config_has_neither_audio_nor_rules_for_videos() {
    let mut config = hearing(&json!({}));
    config["audio_config"] = Value::Null;
    let config = parse(&config);
    assert_eq!((config.audio, config.audio_token), (None, None));
    assert_eq!(config.video, VideoConfig::default());
}

#[test]
fn ids_may_be_named_and_must_be_in_the_vocabulary() {
    let mut config = hearing(&json!({}));
    config["audio_token_id"] = json!(5);
    config["video_token_id"] = json!(6);
    let parsed = parse(&config);
    assert_eq!((parsed.audio_token, parsed.video_token), (Some(5), Some(6)));
    config["audio_token_id"] = json!(129_280);
    refuse(
        &config,
        "audio_token_id is 129280, but vocab_size is 129280",
    );
    config["audio_token_id"] = json!(5);
    config["video_token_id"] = json!(129_280);
    refuse(
        &config,
        "video_token_id is 129280, but vocab_size is 129280",
    );
    config["video_token_id"] = json!("six");
    refuse(&config, "video_token_id: \"six\", want a whole number");
}

#[test]
fn audio_must_be_possible() {
    let cases = [
        (
            json!({ "kind": "conformer" }),
            "audio_config.kind: \"conformer\" is not supported, only \"whisper\"",
        ),
        (json!({ "kind": "-" }), "audio_config.kind is missing"),
        (json!({ "d_model": "-" }), "audio_config.d_model is missing"),
        (
            json!({ "pad_to_chunk": "-" }),
            "audio_config.pad_to_chunk is missing",
        ),
        (
            json!({ "pad_to_chunk": 1 }),
            "audio_config.pad_to_chunk: 1, want true or false",
        ),
        (
            json!({ "log_mel_max": "-" }),
            "audio_config.log_mel_max is missing",
        ),
        (
            json!({ "log_mel_max": "loud" }),
            "audio_config.log_mel_max: \"loud\" is not supported, only \"chunk\", \"clip\" and numbers",
        ),
        (
            json!({ "log_mel_max": 1e300 }),
            "audio_config.log_mel_max: 1e+300 is not supported, only \"chunk\", \"clip\" and numbers",
        ),
        (
            json!({ "pool": "max" }),
            "audio_config.pool: \"max\" is not supported, only \"stack4\", \"avg2\" and \"stack8\"",
        ),
        (
            json!({ "num_mel_bins": 0 }),
            "audio_config.num_mel_bins: 0, want 1 to 512",
        ),
        (
            json!({ "chunk_seconds": 1025 }),
            "audio_config.chunk_seconds: 1025, want 1 to 1024",
        ),
        (
            json!({ "encoder_attention_heads": 24 }),
            "audio_config.d_model is 1280, but audio_config.encoder_attention_heads 24 does not \
             divide it into heads of an even width",
        ),
        (
            json!({ "chunk_seconds": 29 }),
            "audio_config.chunk_seconds is 29, but audio_config.pool makes a token of 1280 samples",
        ),
        (
            json!({ "max_source_positions": 1499 }),
            "audio_config.chunk_seconds makes 1500 frames, but audio_config.max_source_positions is \
             1499",
        ),
    ];
    for (changes, want) in cases {
        refuse(&hearing(&changes), want);
    }
}

#[test]
fn videos_must_be_possible() {
    let with = |video: Value| {
        let mut config = hearing(&json!({}));
        config["video_config"] = video;
        config
    };
    let config = parse(&with(
        json!({ "fps": 0.1, "max_frames": 8, "segment_seconds": 4 }),
    ));
    let want = VideoConfig {
        fps: 0.1,
        max_frames: 8,
        segment_seconds: 4.0,
        ..VideoConfig::default()
    };
    assert_eq!(config.video, want);
    for (video, want) in [
        (json!(3), "video_config: 3, want an object"),
        (
            json!({ "fps": "two" }),
            "video_config.fps: \"two\", want a number",
        ),
        (
            json!({ "fps": 0 }),
            "video_config.fps: 0.0, want a number above 0",
        ),
        (
            json!({ "max_frames": 0 }),
            "video_config.max_frames: 0, want 1 to 65536",
        ),
        (
            json!({ "min_frames": 9, "max_frames": 8 }),
            "video_config.max_frames: 8.0, want at least 9",
        ),
        (
            json!({ "frame_min_tokens": 3 }),
            "video_config.frame_min_tokens: 3.0, want at least 4",
        ),
    ] {
        refuse(&with(video), want);
    }
}

#[test]
fn any_one_value_may_be_anything_without_a_panic() {
    let values = [
        json!(null),
        json!(false),
        json!(0),
        json!(-1),
        json!(1),
        json!(u64::MAX),
        json!(0.5),
        json!(1e300),
        json!("clip"),
        json!([]),
        json!({}),
    ];
    let base = hearing(&json!({}));
    let audio = base["audio_config"]
        .as_object()
        .expect("an object")
        .keys()
        .cloned();
    let video = [
        "fps",
        "min_frames",
        "max_frames",
        "max_tokens",
        "temporal_merge",
        "segment_seconds",
    ];
    let keys = audio
        .map(|key| ("audio_config", key))
        .chain(video.map(|key| ("video_config", key.to_owned())));
    let mut accepted = 0;
    for (section, key) in keys {
        for value in &values {
            let mut config = base.clone();
            config[section][&key] = value.clone();
            accepted += usize::from(Config::parse(&config.to_string()).is_ok());
        }
    }
    assert!(accepted > 30, "{accepted}");
}

/// Whisper's large encoder has 637 million parameters (`docs/models/audio-video.md` §3).
#[test]
fn the_audio_tower_is_counted() {
    let config = parse(&hearing(&json!({})));
    let specs: Vec<TensorSpec> = inventory(&config, Storage::Released)
        .filter(|spec| spec.component == Component::Audio)
        .collect();
    let parameters: u64 = specs.iter().map(TensorSpec::parameters).sum();
    // The table of positions, which is not stored, is 1500 by 1280.
    assert_eq!((parameters + 1500 * 1280) / 1_000_000, 636);
    // Two convolutions, the last norm, and 15 tensors in each block.
    assert_eq!(specs.len(), 4 + 2 + 32 * 15);
    let weights = Weights::of(&config, Storage::Released);
    let audio = weights.components[&Component::AudioAligner];
    let aligner = Tally {
        tensors: 2,
        bytes: 2 * (5120 * 5120 + 5120 * 5120),
    };
    assert_eq!(audio, aligner);
    assert_eq!(
        weights.components[&Component::AudioDelimiters].bytes,
        2 * 2 * 5120
    );
    assert_eq!(weights.total.bytes - 510_286_023_000, {
        let own = [
            Component::Audio,
            Component::AudioAligner,
            Component::AudioDelimiters,
        ];
        own.map(|component| weights.components[&component].bytes)
            .iter()
            .sum::<u64>()
    });
    let report = Report::new(&config, Budget::default()).expect("the budget is sound");
    let text = report.to_string();
    assert!(
        text.contains("audio      32 layers, hidden 1280, 375 tokens for 30 s"),
        "{text}"
    );
    assert_eq!(report.to_json()["audio"]["chunk_tokens"], json!(375));
}
