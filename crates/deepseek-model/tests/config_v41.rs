//! What the `config.json` of V4.1 may say, and what it may not.

mod common;

use deepseek_core::operands::Blocks;
use deepseek_core::rope::Yarn;
use deepseek_model::config::{DsparkConfig, EngramConfig, SharingConfig, Storage};
use deepseek_model::{Config, Family};
use deepseek_vision::VisionConfig;
use serde_json::{Value, json};

use common::{changed, parse, refuse, released};

fn text(changes: &Value) -> Value {
    changed(released(), &json!({ "text_config": changes }))
}

/// The ratios of the released layers, and those of `drafts`.
fn ratios(drafts: &[u32]) -> Vec<u32> {
    [&[0; 2][..], &[2; 18], &[1; 20], drafts].concat()
}

#[test]
fn the_released_form_is_read() {
    let config = parse(&released());
    assert_eq!(config.family, Family::V41);
    assert_eq!((config.layers, config.hidden_size), (40, 5120));
    assert_eq!(config.ratios, ratios(&[]));
    let sharing = SharingConfig {
        kv_sources: vec![2, 8, 14, 20],
        index_sources: vec![2, 8, 14, 20, 24, 28, 32, 36],
        candidates: Some((
            20,
            Blocks {
                size: 8,
                keep: 2048,
            },
        )),
    };
    assert_eq!(config.sharing, Some(sharing));
    let engram = EngramConfig {
        layers: vec![1, 14],
        rows: vec![384_006_168, 384_016_682],
        ngram: 4,
        heads: 8,
        head_dim: 256,
        vocabulary: 16_000_000,
        pad: 2,
        compressed: 99_092,
    };
    assert_eq!(config.engram, Some(engram));
    let drafter = DsparkConfig {
        stages: 3,
        block: 5,
        noise: 128_799,
        taps: vec![37, 38, 39],
        markov_rank: 256,
        experts: 128,
        top_k: 3,
    };
    assert_eq!(config.drafter, Some(drafter));
    assert_eq!(config.vision, Some(VisionConfig::RELEASED));
    assert_eq!(config.image_token, Some(129_264));
    let experts = config.experts;
    assert_eq!(
        (experts.count, experts.top_k, experts.hash_layers),
        (384, 6, 0)
    );
    assert_eq!((experts.scale, experts.limit), (1.5, Some(10.0)));
    assert_eq!((config.norm_eps, config.hyper.eps), (1e-20, 1e-6));
    let yarn = Yarn {
        factor: 16.0,
        original: 65_536.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    assert_eq!(config.rope.yarn, Some(yarn));
    assert_eq!((config.bos, &*config.eos), (0, &[1][..]));
    assert_eq!((config.mtp_layers, config.dspark), (0, false));
    assert_eq!(
        (config.storage, config.fp8_tile),
        (Storage::Released, [32, 32])
    );
}

#[test]
fn a_scaling_may_be_said_in_any_form() {
    let scaling = |kind: &str, other: &str| {
        json!({
            kind: "yarn", other: "-", "factor": 16, "beta_fast": 32, "beta_slow": 1,
            "original_max_position_embeddings": 65536,
        })
    };
    let want = parse(&released());
    let old = scaling("type", "rope_type");
    let new = scaling("rope_type", "type");
    let both = json!({ "type": "yarn", "rope_type": "yarn" });
    for scaling in [&old, &new, &both] {
        assert_eq!(parse(&text(&json!({ "rope_scaling": scaling }))), want);
    }
    let flat = changed(json!({}), &new);
    let beside = text(&json!({ "rope_parameters": flat }));
    assert_eq!(parse(&beside), want);
    let instead = text(&json!({ "rope_parameters": flat, "rope_scaling": "-" }));
    assert_eq!(parse(&instead), want);
    let nested = json!({
        "main": { "rope_type": "default", "rope_theta": 10000 },
        "compress": changed(flat, &json!({ "rope_theta": 160_000 })),
    });
    let nested = text(&json!({
        "rope_parameters": nested, "rope_scaling": "-", "rope_theta": "-", "compress_rope_theta": "-",
    }));
    assert_eq!(parse(&nested), want);
}

#[test]
fn the_format_of_experts_may_stand_at_the_top() {
    let outer = json!({ "expert_dtype": "fp4", "quantization_config": { "expert_dtype": "-" } });
    assert_eq!(parse(&changed(released(), &outer)), parse(&released()));
    let none = json!({ "quantization_config": { "expert_dtype": "-" } });
    assert_eq!(parse(&changed(released(), &none)), parse(&released()));
}

/// Activations are rounded in blocks of the release whatever the weights are kept in.
#[test]
fn blocks_are_those_of_the_release_unless_it_says_otherwise() {
    for (changes, storage) in [
        (json!({ "quantization_config": "-" }), Storage::Bf16),
        (
            json!({ "quantization_config": "-", "dtype": "float32" }),
            Storage::F32,
        ),
        (
            json!({ "quantization_config": { "weight_block_size": "-" } }),
            Storage::Released,
        ),
    ] {
        let config = parse(&changed(released(), &changes));
        assert_eq!((config.storage, config.fp8_tile), (storage, [32, 32]));
    }
    let other = json!({ "quantization_config": { "weight_block_size": [64, 32] } });
    assert_eq!(parse(&changed(released(), &other)).fp8_tile, [64, 32]);
}

#[test]
fn parts_may_be_absent() {
    let blind = json!({ "vision_config": "-", "image_token_id": "-" });
    let config = parse(&changed(released(), &blind));
    assert_eq!((config.vision, config.image_token), (None, None));
    for none in [json!("-"), json!(null), json!([])] {
        assert_eq!(
            parse(&text(&json!({ "engram_layer_ids": none }))).engram,
            None
        );
    }
    for none in [json!("-"), json!(0)] {
        let config = parse(&text(&json!({ "num_nextn_predict_layers": none })));
        assert_eq!(config, parse(&released()).without_drafts());
    }
    let open = parse(&text(&json!({ "candidate_source_layer_id": "-" })));
    assert_eq!(
        open.sharing.as_ref().and_then(|sharing| sharing.candidates),
        None
    );
    let short = text(&json!({ "compress_ratios": ratios(&[]) }));
    assert_eq!(parse(&short), parse(&released()));
    let wide = json!({ "vision_config": { "max_wh_ratio": 8 } });
    let vision = parse(&changed(released(), &wide)).vision;
    assert_eq!(vision.and_then(|vision| vision.max_wh_ratio), Some(8.0));
}

/// The numbers of a model do not stand at the top, as in the vendor's own runner.
#[test]
fn the_flat_form_is_another() {
    let mut flat = released();
    let inner = flat["text_config"].take();
    let flat = changed(
        changed(flat, &inner),
        &json!({ "model_type": "deepseek_v41" }),
    );
    refuse(&flat, "text_config is missing");
    let without = json!({ "text_config": "-" });
    refuse(&changed(released(), &without), "text_config is missing");
    refuse(
        &json!({ "model_type": "deepseek_v41", "text_config": [1, 2] }),
        "text_config: a list of 2, want an object",
    );
}

#[test]
fn every_key_without_a_safe_default_is_named_when_missing() {
    let keys = [
        "kv_source_layer_ids",
        "index_source_layer_ids",
        "candidate_topk_blocks",
        "candidate_block_size",
        "engram_num_embeddings",
        "engram_max_ngram_size",
        "engram_n_heads",
        "engram_head_dim",
        "engram_vocab_size",
        "engram_pad_token_id",
        "engram_compressed_vocab_size",
        "dspark_block_size",
        "dspark_noise_token_id",
        "dspark_target_layer_ids",
        "dspark_markov_rank",
        "dspark_n_routed_experts",
        "dspark_num_experts_per_tok",
        "hidden_size",
        "rms_norm_eps",
    ];
    for key in keys {
        // A list of ratios with entries for drafts is explained by the block that they propose.
        let config = text(&json!({ key: "-", "compress_ratios": ratios(&[]) }));
        refuse(&config, &format!("text_config.{key} is missing"));
    }
    let keys = [
        "num_hidden_layers",
        "hidden_size",
        "num_attention_heads",
        "intermediate_size",
        "patch_size",
        "rope_theta",
        "downsample_ratio",
        "max_image_tokens",
        "min_pixels",
    ];
    for key in keys {
        let config = changed(released(), &json!({ "vision_config": { key: "-" } }));
        refuse(&config, &format!("vision_config.{key} is missing"));
    }
    let config = changed(released(), &json!({ "image_token_id": "-" }));
    refuse(&config, "image_token_id is missing");
}

#[test]
fn sources_and_ratios_must_agree() {
    let cases = [
        (
            json!({ "kv_source_layer_ids": [] }),
            "text_config.kv_source_layer_ids: [], want ascending layers, at least one",
        ),
        (
            json!({ "kv_source_layer_ids": [2, 14, 8, 20] }),
            "text_config.kv_source_layer_ids: [2,14,8,20], want ascending layers, at least one",
        ),
        (
            json!({ "index_source_layer_ids": [2, 2, 8] }),
            "text_config.index_source_layer_ids: [2,2,8], want ascending layers, at least one",
        ),
        (
            json!({ "kv_source_layer_ids": [2, 8, 14, 40] }),
            "text_config.kv_source_layer_ids: 40, want 0 to 39",
        ),
        (
            json!({ "kv_source_layer_ids": [2, 8, "14"] }),
            "text_config.kv_source_layer_ids: \"14\", want a whole number",
        ),
        (
            json!({ "kv_source_layer_ids": 2 }),
            "text_config.kv_source_layer_ids: 2, want a list",
        ),
        (
            json!({ "kv_source_layer_ids": [1, 2, 8, 14, 20] }),
            "compress_ratios[1] is 0, but kv_source_layer_ids or index_source_layer_ids has it",
        ),
        (
            json!({ "index_source_layer_ids": [0, 2, 8, 14, 20] }),
            "compress_ratios[0] is 0, but kv_source_layer_ids or index_source_layer_ids has it",
        ),
        (
            json!({ "kv_source_layer_ids": [3, 8, 14, 20] }),
            "compress_ratios[2] is 2, but no layer of kv_source_layer_ids comes before it",
        ),
        (
            json!({ "kv_source_layer_ids": [2, 8, 14, 21] }),
            "compress_ratios[20] is 1, but the layer whose rows it reads has ratio 2",
        ),
        (
            json!({ "index_source_layer_ids": [2, 8, 20, 24] }),
            "kv_source_layer_ids has 14, but index_source_layer_ids does not",
        ),
        (
            json!({ "candidate_source_layer_id": 14 }),
            "candidate_source_layer_id is 14, but the last of kv_source_layer_ids is 20",
        ),
        (
            json!({ "candidate_source_layer_id": -1 }),
            "text_config.candidate_source_layer_id: -1, want a whole number",
        ),
        (
            json!({ "candidate_block_size": 0 }),
            "text_config.candidate_block_size: 0, want 1 to 16777216",
        ),
        (
            json!({ "candidate_topk_blocks": 63 }),
            "index_topk is 512, but candidate_topk_blocks of candidate_block_size hold 504",
        ),
        (
            json!({ "compress_ratios": [0, 0, 2] }),
            "compress_ratios has 3 entries, but num_hidden_layers is 40 and \
             num_nextn_predict_layers 0",
        ),
        (
            json!({ "head_dim": 511 }),
            "head_dim: 511, want an even number",
        ),
        (
            json!({ "index_head_dim": 65 }),
            "index_head_dim: 65, want an even number",
        ),
    ];
    for (changes, want) in cases {
        refuse(&text(&changes), want);
    }
}

#[test]
fn tables_must_be_possible() {
    let cases = [
        (
            json!({ "engram_layer_ids": [1, 20] }),
            "engram_layer_ids has 20, but the last of kv_source_layer_ids is 20, and prompts end \
             there",
        ),
        (
            json!({ "engram_layer_ids": [14, 1] }),
            "text_config.engram_layer_ids: [14,1], want ascending layers, at least one",
        ),
        (
            json!({ "engram_layer_ids": "1,14" }),
            "text_config.engram_layer_ids: \"1,14\", want a list",
        ),
        (
            json!({ "engram_num_embeddings": [384_006_168] }),
            "engram_layer_ids has 2 entries, but engram_num_embeddings has 1",
        ),
        (
            json!({ "engram_num_embeddings": [384_006_168, u64::from(u32::MAX) + 1] }),
            "text_config.engram_num_embeddings: 4294967296, want 1 to 4294967295",
        ),
        (
            json!({ "engram_num_embeddings": [384_006_168, 383_999_999] }),
            "engram_num_embeddings has 383999999, but 24 hashes above an engram_vocab_size of \
             16000000 have more",
        ),
        (
            json!({ "engram_vocab_size": u32::MAX, "engram_n_heads": 64, "engram_max_ngram_size": 8 }),
            "engram_num_embeddings has 384006168, but 448 hashes above an engram_vocab_size of \
             4294967295 have more",
        ),
        (
            json!({ "engram_max_ngram_size": 1 }),
            "text_config.engram_max_ngram_size: 1, want 2 to 8",
        ),
        (
            json!({ "engram_n_heads": 65 }),
            "text_config.engram_n_heads: 65, want 1 to 64",
        ),
        (
            json!({ "engram_compressed_vocab_size": 129_281 }),
            "engram_compressed_vocab_size is 129281, but vocab_size is 129280",
        ),
        (
            json!({ "engram_pad_token_id": 129_280 }),
            "engram_pad_token_id is 129280, but vocab_size is 129280",
        ),
    ];
    for (changes, want) in cases {
        refuse(&text(&changes), want);
    }
}

#[test]
fn drafters_must_be_possible() {
    let cases = [
        (
            json!({ "num_nextn_predict_layers": 9 }),
            "text_config.num_nextn_predict_layers: 9, want 0 to 8",
        ),
        (
            json!({ "dspark_block_size": 16 }),
            "text_config.dspark_block_size: 16, want 1 to 15",
        ),
        (
            json!({ "dspark_target_layer_ids": [37, 38, 40] }),
            "text_config.dspark_target_layer_ids: 40, want 0 to 39",
        ),
        (
            json!({ "dspark_target_layer_ids": [19, 38, 39] }),
            "dspark_target_layer_ids has 19, but the last of kv_source_layer_ids is 20, and \
             prompts end there",
        ),
        (
            json!({ "dspark_num_experts_per_tok": 129 }),
            "dspark_num_experts_per_tok is 129, but dspark_n_routed_experts is 128",
        ),
        (
            json!({ "dspark_noise_token_id": 129_280 }),
            "dspark_noise_token_id is 129280, but vocab_size is 129280",
        ),
        (
            json!({ "compress_ratios": ratios(&[1]) }),
            "compress_ratios of a draft module: 1 is not supported, only 0",
        ),
    ];
    for (changes, want) in cases {
        refuse(&text(&changes), want);
    }
}

#[test]
fn images_must_be_possible() {
    let cases = [
        (
            json!({ "vision_config": { "num_attention_heads": 24 } }),
            "vision_config.hidden_size is 1024, but vision_config.num_attention_heads 24 does not \
             divide it into heads of a multiple of 4",
        ),
        (
            json!({ "vision_config": { "hidden_size": 1000 } }),
            "vision_config.hidden_size is 1000, but vision_config.num_attention_heads 16 does not \
             divide it into heads of a multiple of 4",
        ),
        (
            json!({ "vision_config": { "patch_size": 65 } }),
            "vision_config.patch_size: 65, want 1 to 64",
        ),
        (
            json!({ "vision_config": { "max_image_tokens": 7 } }),
            "vision_config.max_image_tokens: 7, want 8 to 65536",
        ),
        (
            json!({ "vision_config": { "rope_theta": 0 } }),
            "vision_config.rope_theta: 0, want a number above 0",
        ),
        (
            json!({ "vision_config": { "max_wh_ratio": -1 } }),
            "vision_config.max_wh_ratio: -1, want a finite number of at least 0",
        ),
        (
            json!({ "vision_config": true }),
            "vision_config: true, want an object",
        ),
        (
            json!({ "image_token_id": 129_280 }),
            "image_token_id is 129280, but vocab_size is 129280",
        ),
    ];
    for (changes, want) in cases {
        refuse(&changed(released(), &changes), want);
    }
}

#[test]
fn other_variants_are_refused() {
    let cases = [
        (
            json!({ "tie_word_embeddings": true }),
            "tie_word_embeddings: true is not supported, only false",
        ),
        (
            json!({ "text_config": { "tie_word_embeddings": true } }),
            "text_config.tie_word_embeddings: true is not supported, only false",
        ),
        (
            json!({ "text_config": { "scoring_func": "softmax" } }),
            "text_config.scoring_func: \"softmax\" is not supported, only \"sqrtsoftplus\"",
        ),
        (
            json!({ "text_config": { "rope_scaling": { "rope_type": "linear", "type": "-" } } }),
            "text_config.rope_scaling.rope_type: \"linear\" is not supported, only \"yarn\" and \
             \"default\"",
        ),
        (
            json!({ "text_config": { "rope_scaling": { "rope_type": "default" } } }),
            "text_config.rope_scaling.rope_type is default, but text_config.rope_scaling.type is \
             yarn",
        ),
        (
            json!({ "quantization_config": { "scale_fmt": "f32" } }),
            "quantization_config.scale_fmt: \"f32\" is not supported, only \"ue8m0\"",
        ),
        (
            json!({ "expert_dtype": "fp8" }),
            "expert_dtype is fp8, but quantization_config.expert_dtype is fp4",
        ),
        (
            json!({ "text_config": { "rms_norm_eps": 1e-300 } }),
            "text_config.rms_norm_eps: 1e-300, want a number above 0",
        ),
    ];
    for (changes, want) in cases {
        refuse(&changed(released(), &changes), want);
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
        json!(3),
        json!(u64::MAX),
        json!(0.5),
        json!(5e-324),
        json!("yarn"),
        json!([]),
        json!([0]),
        json!([39]),
        json!([null, {}]),
        json!(vec![4; 4096]),
        json!({}),
    ];
    let mut accepted = 0;
    for part in ["text_config", "vision_config", ""] {
        let base = released();
        let keys = match part {
            "" => base.as_object(),
            part => base[part].as_object(),
        };
        for key in keys.expect("an object").keys() {
            for value in &values {
                let change = json!({ key: value });
                let change = match part {
                    "" => change,
                    part => json!({ part: change }),
                };
                if let Ok(config) = Config::parse(&changed(base.clone(), &change).to_string()) {
                    assert_eq!(config.ratios.len(), config.layers, "{change}");
                    accepted += 1;
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn a_config_cut_anywhere_is_refused() {
    let text = released().to_string();
    for end in 0..text.len() {
        let part = text.get(..end).expect("the text is ASCII");
        assert!(Config::parse(part).is_err(), "cut at {end}");
    }
}
