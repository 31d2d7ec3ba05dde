//! What a `config.json` may say, and what it may not.

use std::error::Error as _;

use deepseek_core::rope::Yarn;
use deepseek_model::config::Storage;
use deepseek_model::{Config, ConfigError};
use serde_json::{Value, json};

/// A small model in the released form.
fn released() -> Value {
    serde_json::from_str(include_str!("configs/released.json")).expect("a JSON file")
}

/// What transformers 5.23 makes of that file when it saves it again.
fn saved_again() -> Value {
    serde_json::from_str(include_str!("configs/saved_again.json")).expect("a JSON file")
}

/// `base` with what `changes` holds, keys that it gives as the string `-` removed.
fn changed(mut base: Value, changes: &Value) -> Value {
    let keys = base.as_object_mut().expect("a config is an object");
    for (key, value) in changes.as_object().expect("changes are an object") {
        match value {
            Value::String(text) if text == "-" => keys.remove(key),
            other => keys.insert(key.clone(), other.clone()),
        };
    }
    base
}

#[track_caller]
fn parse(value: &Value) -> Config {
    Config::parse(&value.to_string()).expect("the config holds together")
}

/// The error and its cause, in one line.
fn explain(error: &ConfigError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// `text` is refused with `want` in the message.
#[track_caller]
fn refuse(text: &str, want: &str) {
    let error = Config::parse(text).expect_err("the config must be refused");
    let found = explain(&error);
    assert!(
        found.contains(want),
        "the error is\n  {found}\nand does not say\n  {want}"
    );
}

#[track_caller]
fn refuse_released(changes: &Value, want: &str) {
    refuse(&changed(released(), changes).to_string(), want);
}

#[track_caller]
fn refuse_saved(changes: &Value, want: &str) {
    refuse(&changed(saved_again(), changes).to_string(), want);
}

#[test]
fn the_released_form_is_read() {
    let config = parse(&released());
    assert_eq!(config.layers, 6);
    assert_eq!(config.ratios, [0, 0, 4, 128, 4, 128]);
    assert_eq!((config.heads, config.head_dim, config.rope_dim), (4, 32, 8));
    assert_eq!(
        (
            config.experts.count,
            config.experts.top_k,
            config.experts.hash_layers
        ),
        (8, 3, 3)
    );
    assert_eq!(
        (config.experts.scale, config.experts.limit),
        (1.5, Some(1.0))
    );
    assert_eq!(
        (config.rope.theta, config.rope.compress_theta),
        (10000.0, 160_000.0)
    );
    let yarn = Yarn {
        factor: 16.0,
        original: 64.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    assert_eq!(config.rope.yarn, Some(yarn));
    assert_eq!((config.bos, config.eos.as_slice()), (0, &[1][..]));
    assert_eq!((config.mtp_layers, config.dspark), (1, false));
    assert_eq!(
        (config.storage, config.fp8_tile),
        (Storage::F32, [128, 128])
    );
}

#[test]
fn the_form_of_transformers_says_the_same_but_for_the_drafts() {
    let config = parse(&saved_again());
    assert_eq!(config, parse(&released()).without_drafts());
}

#[test]
fn both_forms_in_one_file_are_read_if_they_agree() {
    let mut both = saved_again();
    for (key, value) in released().as_object().expect("an object") {
        both[key] = value.clone();
    }
    assert_eq!(parse(&both), parse(&released()));
}

#[test]
fn the_nested_form_stands_alone() {
    let bare = changed(
        saved_again(),
        &json!({
            "rope_theta": "-", "compress_rope_theta": "-", "qk_rope_head_dim": "-",
            "compress_rates": "-",
        }),
    );
    assert_eq!(parse(&bare), parse(&saved_again()));
}

#[test]
fn a_flat_scaling_may_bear_the_newer_names() {
    let mut newer = released();
    let mut scaling = newer["rope_scaling"].take();
    scaling["rope_type"] = scaling["type"].take();
    newer = changed(
        newer,
        &json!({ "rope_scaling": "-", "rope_parameters": scaling }),
    );
    assert_eq!(parse(&newer), parse(&released()));
}

#[test]
fn no_interpolation_must_be_said() {
    let without = changed(released(), &json!({ "rope_scaling": null }));
    assert_eq!(parse(&without).rope.yarn, None);
    refuse_released(
        &json!({ "rope_scaling": "-" }),
        "rope_scaling (or rope_parameters) is missing",
    );
}

#[test]
fn the_list_of_ratios_may_end_with_the_backbone() {
    let short = changed(
        released(),
        &json!({ "compress_ratios": [0, 0, 4, 128, 4, 128] }),
    );
    assert_eq!(parse(&short), parse(&released()));
    let none = changed(released(), &json!({ "num_nextn_predict_layers": 0 }));
    assert_eq!(parse(&none), parse(&released()).without_drafts());
}

#[test]
fn a_dspark_drafter_is_left_aside() {
    let refreshed = json!({
        "compress_ratios": [0, 0, 4, 128, 4, 128, 0, 0, 0], "num_nextn_predict_layers": 3,
        "dspark_block_size": 5,
    });
    let config = parse(&changed(released(), &refreshed));
    assert_eq!((config.mtp_layers, config.dspark), (0, true));
    assert_eq!(config.ratios, [0, 0, 4, 128, 4, 128]);
}

#[test]
fn absent_null_and_zero_clamps_are_none() {
    for limit in [json!("-"), json!(null), json!(0), json!(0.0)] {
        let config = parse(&changed(released(), &json!({ "swiglu_limit": limit })));
        assert_eq!(config.experts.limit, None);
    }
}

#[test]
fn several_ids_may_end_an_answer() {
    let config = parse(&changed(released(), &json!({ "eos_token_id": [1, 7] })));
    assert_eq!(config.eos, [1, 7]);
}

#[test]
fn any_plain_ratio_will_do() {
    let config = parse(&changed(
        released(),
        &json!({ "compress_ratios": [1, 2, 4, 8, 300, 128, 0] }),
    ));
    assert_eq!(config.ratios, [1, 2, 4, 8, 300, 128]);
}

#[test]
fn the_storage_follows_from_the_config() {
    let fp8 = json!({ "quant_method": "fp8", "weight_block_size": [64, 32] });
    let of = |changes: Value| parse(&changed(released(), &changes)).storage;
    assert_eq!(of(json!({ "torch_dtype": "bfloat16" })), Storage::Bf16);
    assert_eq!(of(json!({ "torch_dtype": "-" })), Storage::Bf16);
    assert_eq!(of(json!({ "quantization_config": fp8 })), Storage::Released);
    assert_eq!(
        of(json!({ "quantization_config": fp8, "expert_dtype": "fp4" })),
        Storage::Released
    );
    assert_eq!(
        of(json!({ "quantization_config": fp8, "expert_dtype": "fp8" })),
        Storage::Base
    );
    let inside = json!({ "quant_method": "fp8", "expert_dtype": "fp8" });
    assert_eq!(of(json!({ "quantization_config": inside })), Storage::Base);
    let config = parse(&changed(released(), &json!({ "quantization_config": fp8 })));
    assert_eq!(config.fp8_tile, [64, 32]);
    for (method, experts, storage) in [
        ("w8a8", "int8", Storage::W8a8),
        ("w4a8", "int4", Storage::W4a8),
    ] {
        let named = json!({ "quant_method": method });
        assert_eq!(of(json!({ "quantization_config": named })), storage);
        let inside = json!({ "quant_method": method, "expert_dtype": experts });
        assert_eq!(of(json!({ "quantization_config": inside })), storage);
    }
}

#[test]
fn unknown_keys_are_ignored() {
    let extra = json!({ "use_cache": true, "task_specific_params": { "deep": [[[{}]]] } });
    assert_eq!(parse(&changed(released(), &extra)), parse(&released()));
}

#[test]
fn what_is_no_object_is_refused() {
    for text in [
        "",
        "null",
        "[]",
        "7",
        "\"deepseek_v4\"",
        "{",
        "{\"a\":1}}",
        "\u{feff}{}",
    ] {
        refuse(text, "invalid JSON: ");
    }
    refuse(
        "{\"vocab_size\": 1, \"vocab_size\": 2}",
        "vocab_size occurs twice",
    );
    refuse(
        &format!("{{\"a\": {}1{}}}", "[".repeat(9000), "]".repeat(9000)),
        "recursion limit",
    );
    refuse(
        &format!("{{\"a\": \"{}\"}}", "x".repeat(1 << 20)),
        "at most 1048576 are read",
    );
    refuse("{\"vocab_size\": 1e999}", "number out of range");
}

#[test]
fn every_key_without_a_safe_default_is_named_when_missing() {
    let keys = [
        "model_type",
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "head_dim",
        "qk_rope_head_dim",
        "q_lora_rank",
        "o_groups",
        "o_lora_rank",
        "sliding_window",
        "compress_ratios",
        "index_n_heads",
        "index_head_dim",
        "index_topk",
        "n_routed_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "num_hash_layers",
        "routed_scaling_factor",
        "hc_mult",
        "hc_sinkhorn_iters",
        "hc_eps",
        "rms_norm_eps",
        "rope_theta",
        "compress_rope_theta",
        "max_position_embeddings",
        "bos_token_id",
        "eos_token_id",
    ];
    for key in keys {
        refuse_released(&json!({ key: "-" }), key);
        refuse_released(&json!({ key: "-" }), "is missing");
        refuse_released(&json!({ key: null }), "is missing");
    }
}

#[test]
fn every_size_has_bounds_and_is_a_whole_number() {
    let keys = [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "head_dim",
        "qk_rope_head_dim",
        "q_lora_rank",
        "o_groups",
        "o_lora_rank",
        "sliding_window",
        "index_n_heads",
        "index_head_dim",
        "index_topk",
        "n_routed_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "hc_mult",
        "hc_sinkhorn_iters",
        "max_position_embeddings",
    ];
    for key in keys {
        refuse_released(&json!({ key: 0 }), &format!("{key}: 0, want"));
        refuse_released(
            &json!({ key: u64::MAX }),
            &format!("{key}: 18446744073709551615, want"),
        );
        refuse_released(
            &json!({ key: -1 }),
            &format!("{key}: -1, want a whole number"),
        );
        refuse_released(
            &json!({ key: 8.0 }),
            &format!("{key}: 8.0, want a whole number"),
        );
        refuse_released(
            &json!({ key: "8" }),
            &format!("{key}: \"8\", want a whole number"),
        );
        refuse_released(
            &json!({ key: [8] }),
            &format!("{key}: a list of 1, want a whole number"),
        );
    }
}

#[test]
fn every_float_has_bounds() {
    let keys = [
        "routed_scaling_factor",
        "hc_eps",
        "rms_norm_eps",
        "rope_theta",
        "compress_rope_theta",
    ];
    for key in keys {
        refuse_released(
            &json!({ key: 0 }),
            &format!("{key}: 0, want a number above 0"),
        );
        refuse_released(
            &json!({ key: -1.5 }),
            &format!("{key}: -1.5, want a finite number"),
        );
        refuse_released(
            &json!({ key: 1e300 }),
            &format!("{key}: 1e+300, want a finite number"),
        );
        refuse_released(
            &json!({ key: 1e-300 }),
            &format!("{key}: 1e-300, want a number above 0"),
        );
        refuse_released(
            &json!({ key: true }),
            &format!("{key}: true, want a number"),
        );
    }
    refuse_released(&json!({ "swiglu_limit": -1 }), "swiglu_limit: -1, want");
}

#[test]
fn other_architectures_are_refused() {
    let cases = [
        (
            json!({ "model_type": "llama" }),
            "model_type: \"llama\" is not supported, only \"deepseek_v4\" and \"deepseek_v41\"",
        ),
        (json!({ "model_type": 4 }), "model_type: 4, want a string"),
        (
            json!({ "scoring_func": "sigmoid" }),
            "scoring_func: \"sigmoid\" is not supported",
        ),
        (
            json!({ "topk_method": "greedy" }),
            "topk_method: \"greedy\" is not supported",
        ),
        (
            json!({ "hidden_act": "gelu" }),
            "hidden_act: \"gelu\" is not supported",
        ),
        (
            json!({ "norm_topk_prob": false }),
            "norm_topk_prob: false is not supported, only true",
        ),
        (
            json!({ "tie_word_embeddings": true }),
            "tie_word_embeddings: true is not supported",
        ),
        (
            json!({ "attention_bias": true }),
            "attention_bias: true is not supported",
        ),
        (
            json!({ "n_shared_experts": 2 }),
            "n_shared_experts: 2 is not supported, only 1",
        ),
        (
            json!({ "num_key_value_heads": 8 }),
            "num_key_value_heads: 8 is not supported",
        ),
        (
            json!({ "torch_dtype": "float16" }),
            "torch_dtype: \"float16\" is not supported",
        ),
        (
            json!({ "quantization_config": { "quant_method": "awq" } }),
            "quant_method: \"awq\"",
        ),
        (
            json!({ "quantization_config": {} }),
            "quantization_config.quant_method is missing",
        ),
        (
            json!({ "quantization_config": 8 }),
            "quantization_config: 8, want an object",
        ),
        (
            json!({ "quantization_config": { "quant_method": "fp8", "fmt": "e5m2" } }),
            "quantization_config.fmt: \"e5m2\" is not supported",
        ),
        (
            json!({ "quantization_config": { "quant_method": "fp8" }, "expert_dtype": "int4" }),
            "expert_dtype: \"int4\" is not supported",
        ),
        (
            json!({ "quantization_config": { "quant_method": "w8a8" }, "expert_dtype": "int4" }),
            "expert_dtype: \"int4\" is not supported",
        ),
        (
            json!({ "quantization_config": { "quant_method": "w4a8" }, "expert_dtype": "fp4" }),
            "expert_dtype: \"fp4\" is not supported",
        ),
        (
            json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": [0, 1] } }),
            "weight_block_size: 0, want 1 to",
        ),
        (
            json!({ "quantization_config": { "quant_method": "fp8", "weight_block_size": [128] } }),
            "weight_block_size: a list of 1, want a list of 2",
        ),
    ];
    for (changes, want) in cases {
        refuse_released(&changes, want);
    }
}

#[test]
fn contradictions_name_both_sides() {
    let cases = [
        (
            json!({ "o_groups": 3 }),
            "head_dim 32 is 128, but o_groups 3 does not divide it",
        ),
        (
            json!({ "num_experts_per_tok": 9 }),
            "num_experts_per_tok is 9, but n_routed_experts is 8",
        ),
        (
            json!({ "num_hash_layers": 7 }),
            "num_hash_layers: 7, want 0 to 6",
        ),
        (
            json!({ "bos_token_id": 256 }),
            "bos_token_id is 256, but vocab_size is 256",
        ),
        (
            json!({ "eos_token_id": [1, 256] }),
            "eos_token_id is 256, but vocab_size is 256",
        ),
        (
            json!({ "eos_token_id": [] }),
            "eos_token_id: 0 ids, want 1 to 8",
        ),
        (
            json!({ "eos_token_id": vec![1; 9] }),
            "eos_token_id: 9 ids, want 1 to 8",
        ),
        (
            json!({ "eos_token_id": "</s>" }),
            "eos_token_id: \"</s>\", want a whole number",
        ),
        (
            json!({ "index_head_dim": 24 }),
            "index_head_dim: 24, want a power of two",
        ),
        (
            json!({ "index_head_dim": 4 }),
            "the rotary width is 8, but index_head_dim is 4",
        ),
        (
            json!({ "qk_rope_head_dim": 34 }),
            "qk_rope_head_dim: 34, want 2 to 32",
        ),
        (
            json!({ "qk_rope_head_dim": 7 }),
            "qk_rope_head_dim: 7, want an even number",
        ),
        (
            json!({ "num_hidden_layers": 8 }),
            "7 entries, but num_hidden_layers is 8",
        ),
        (
            json!({ "num_hidden_layers": 5 }),
            "7 entries, but num_hidden_layers is 5",
        ),
        (
            json!({ "compress_ratios": [] }),
            "compress_ratios has 0 entries",
        ),
        (
            json!({ "compress_ratios": "0" }),
            "compress_ratios: \"0\", want a list",
        ),
        (
            json!({ "compress_ratios": [0, 0, 4, 128, 4, 128, 4] }),
            "draft module: 4 is not supported",
        ),
        (
            json!({ "compress_ratios": [0, 0, 4, -1, 4, 128, 0] }),
            "compress_ratios[3]: -1, want",
        ),
        (
            json!({ "compress_ratios": [0, 0, 4, 65537, 4, 128, 0] }),
            "compress_ratios[3]: 65537",
        ),
        (
            json!({ "compress_ratios": [0, 0, null, 4, 4, 128, 0] }),
            "compress_ratios[2]: null, want",
        ),
        (
            json!({
                "hidden_size": 65, "quantization_config": { "quant_method": "fp8" },
            }),
            "hidden_size 65 and moe_intermediate_size 12 are not both even",
        ),
        (
            json!({
                "expert_dtype": "fp4",
                "quantization_config": { "quant_method": "fp8", "expert_dtype": "fp8" },
            }),
            "expert_dtype is fp4, but quantization_config.expert_dtype is fp8",
        ),
    ];
    for (changes, want) in cases {
        refuse_released(&changes, want);
    }
}

#[test]
fn scalings_must_be_understood() {
    let scaling = |changes: Value| {
        let scaling = changed(released()["rope_scaling"].clone(), &changes);
        json!({ "rope_scaling": scaling })
    };
    let cases = [
        (json!({ "type": "-" }), "rope_scaling.rope_type is missing"),
        (
            json!({ "type": "linear" }),
            "rope_scaling.rope_type: \"linear\" is not supported",
        ),
        (
            json!({ "rope_type": "default" }),
            "rope_type is default, but rope_scaling.type is yarn",
        ),
        (json!({ "factor": "-" }), "rope_scaling.factor is missing"),
        (
            json!({ "factor": 0 }),
            "rope_scaling.factor: 0, want a number above 0",
        ),
        (
            json!({ "beta_fast": "-" }),
            "rope_scaling.beta_fast is missing",
        ),
        (
            json!({ "beta_slow": 64 }),
            "beta_fast is 32, but rope_scaling.beta_slow is 64",
        ),
        (
            json!({ "attention_factor": 1.5 }),
            "attention_factor: 1.5 is not supported, only 1",
        ),
    ];
    for (changes, want) in cases {
        refuse_released(&scaling(changes), want);
    }
    refuse_released(
        &json!({ "rope_scaling": "yarn" }),
        "rope_scaling: \"yarn\", want an object",
    );
}

#[test]
fn the_two_forms_must_agree() {
    let nested = |pointer: &str, value: Value| {
        let mut rope = saved_again()["rope_parameters"].clone();
        *rope.pointer_mut(pointer).expect("a key of the nested form") = value;
        json!({ "rope_parameters": rope })
    };
    let cases = [
        (
            json!({ "partial_rotary_factor": 0.5 }),
            "qk_rope_head_dim is 8, but partial_rotary_factor",
        ),
        (
            json!({ "partial_rotary_factor": 0.26 }),
            "partial_rotary_factor: 0.26, want a whole",
        ),
        (
            json!({ "partial_rotary_factor": 2 }),
            "partial_rotary_factor: 2, want a whole",
        ),
        (
            json!({ "num_hash_layers": 2 }),
            "num_hash_layers is 2, but mlp_layer_types begins with 3",
        ),
        (
            json!({ "mlp_layer_types": ["moe"] }),
            "mlp_layer_types has 1 entries, but num_hidden",
        ),
        (
            json!({ "mlp_layer_types": ["hash_moe", "moe", "hash_moe", "moe", "moe", "moe"] }),
            "mlp_layer_types[2]: \"hash_moe\" is not supported",
        ),
        (
            json!({ "mlp_layer_types": ["moe", "moe", "moe", "moe", "moe", "dense"] }),
            "mlp_layer_types[5]: \"dense\" is not supported",
        ),
        (
            json!({ "layer_types": ["sliding_attention"] }),
            "layer_types has 1 entries",
        ),
        (
            json!({ "layer_types": vec!["full_attention"; 6] }),
            "layer_types[0]: \"full_attention\"",
        ),
        (
            json!({ "layer_types": vec![4; 6] }),
            "layer_types[0]: 4 is not supported",
        ),
        (
            json!({ "compress_ratios": [0, 0, 4, 4, 4, 128] }),
            "compress_ratios[3] is 4, but layer_types[3] means 128",
        ),
        (
            json!({ "compress_rates": { "compressed_sparse_attention": 8 } }),
            "compress_rates.compressed_sparse_attention: 8 is not supported, only 4",
        ),
        (
            json!({ "compress_rates": { "heavily_compressed_attention": 4 } }),
            "compress_rates.heavily_compressed_attention: 4 is not supported",
        ),
        (
            json!({ "rope_theta": 5000 }),
            "rope_theta is 5000, but rope_parameters says 10000",
        ),
        (
            json!({ "rope_scaling": null }),
            "rope_scaling is none, but rope_parameters is yarn 16",
        ),
        (
            nested("/main/rope_type", json!("yarn")),
            "rope_parameters.main.factor is missing",
        ),
        (
            nested("/compress", json!(null)),
            "rope_parameters.main and rope_parameters.compress",
        ),
        (
            nested("/main/rope_theta", json!(null)),
            "rope_parameters.main.rope_theta is missing",
        ),
    ];
    for (changes, want) in cases {
        refuse_saved(&changes, want);
    }
    let both = changed(
        saved_again(),
        &json!({ "rope_scaling": released()["rope_scaling"] }),
    );
    let both = changed(both, &nested("/compress/factor", json!(8)));
    refuse(
        &both.to_string(),
        "rope_scaling is yarn 16 over 64, 32 to 1, but rope_parameters is yarn 8 over 64, 32 to 1",
    );
}

#[test]
fn any_one_value_may_be_anything_without_a_panic() {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(3),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(0.5),
        json!(-0.0),
        json!(1e308),
        json!(5e-324),
        json!(""),
        json!("yarn"),
        json!("\u{0}\u{1f600}"),
        json!([]),
        json!([0]),
        json!([null, {}]),
        json!(vec![4; 4096]),
        json!({}),
        json!({ "main": {}, "compress": {} }),
    ];
    for base in [released(), saved_again()] {
        for key in base.as_object().expect("an object").keys() {
            for value in &values {
                if let Ok(config) =
                    Config::parse(&changed(base.clone(), &json!({ key: value })).to_string())
                {
                    assert_eq!(config.ratios.len(), config.layers, "{key} = {value}");
                }
            }
        }
    }
}

#[test]
fn a_config_cut_anywhere_is_refused() {
    let text = released().to_string();
    for end in 0..text.len() {
        let part = text.get(..end).expect("the text is ASCII");
        assert!(Config::parse(part).is_err(), "cut at {end}");
    }
}
