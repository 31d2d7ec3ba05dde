//! Files that transformers saved again, read by released names.

use std::collections::BTreeMap;

use deepseek_core::weights::{Bytes, Dtype, RawTensor, TensorSource};
use deepseek_core::{Error, Result};
use deepseek_model::Config;
use deepseek_model::config::Storage;
use deepseek_model::inventory::inventory;
use deepseek_model::names::Renamed;

/// Tensors in memory.
#[derive(Debug, Default)]
struct Shelf(BTreeMap<String, RawTensor>);

impl Shelf {
    fn put(&mut self, name: &str, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) {
        let tensor = RawTensor::new(name.to_owned(), dtype, shape.to_vec(), Bytes::from(bytes));
        self.0.insert(
            name.to_owned(),
            tensor.expect("the bytes are those of the shape"),
        );
    }
}

impl TensorSource for Shelf {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        Ok(self.0.get(name).cloned())
    }
}

/// The backbone of the small model under released names, no two tensors with the same bytes.
fn released(storage: Storage) -> Shelf {
    let config = Config::parse(include_str!("configs/released.json")).expect("a sound config");
    let mut shelf = Shelf::default();
    for (seed, spec) in inventory(&config.without_drafts(), storage).enumerate() {
        let bytes = usize::try_from(spec.bytes()).expect("a small model");
        let bytes = (0..bytes)
            .map(|at| ((seed * 7919 + at * 31) % 251) as u8)
            .collect();
        shelf.put(&spec.name, spec.dtype, &spec.shape, bytes);
    }
    shelf
}

/// The renaming of transformers, pattern after pattern in its order, for its own format.
const OWN: [(&str, &str); 31] = [
    (".attn.", ".self_attn."),
    (".ffn.", ".mlp."),
    (".indexer.compressor.", ".compressor.indexer."),
    (".attn_norm.", ".input_layernorm."),
    (".ffn_norm.", ".post_attention_layernorm."),
    (".hc_attn_fn", ".attn_hc.fn"),
    (".hc_attn_base", ".attn_hc.base"),
    (".hc_attn_scale", ".attn_hc.scale"),
    (".hc_ffn_fn", ".ffn_hc.fn"),
    (".hc_ffn_base", ".ffn_hc.base"),
    (".hc_ffn_scale", ".ffn_hc.scale"),
    (".attn_sink", ".sinks"),
    (
        ".indexer.weights_proj.",
        ".compressor.indexer.scorer.weights_proj.",
    ),
    (".indexer.wq_b.", ".compressor.indexer.q_b_proj."),
    (".norm.", ".kv_norm."),
    (".ape", ".position_bias"),
    (".wq_a.", ".q_a_proj."),
    (".self_attn.wq_b.", ".self_attn.q_b_proj."),
    (".wkv.", ".kv_proj."),
    (".wgate.", ".gate_proj."),
    (".wo_a.", ".o_a_proj."),
    (".wo_b.", ".o_b_proj."),
    (".q_norm.", ".q_a_norm."),
    (".gate.bias", ".gate.e_score_correction_bias"),
    (".shared_experts.w1.", ".shared_experts.gate_proj."),
    (".shared_experts.w2.", ".shared_experts.down_proj."),
    (".shared_experts.w3.", ".shared_experts.up_proj."),
    ("hc_head_fn", "hc_head.hc_fn"),
    ("hc_head_base", "hc_head.hc_base"),
    ("hc_head_scale", "hc_head.hc_scale"),
    ("embed.weight", "embed_tokens.weight"),
];

/// The name in transformers' own format.
fn own(name: &str) -> String {
    if name == "head.weight" {
        return "lm_head.weight".to_owned();
    }
    let name = OWN
        .iter()
        .fold(name.to_owned(), |name, (from, to)| name.replace(from, to));
    let name = match name.strip_suffix(".scale") {
        Some(stem) if !stem.ends_with("_hc") => format!("{stem}.weight_scale_inv"),
        _ => name,
    };
    format!("model.{name}")
}

/// The name in what transformers takes for the original format, as version 5.23 writes it.
fn original(name: &str) -> String {
    match name {
        "head.weight" => name.to_owned(),
        "embed.weight" => "model.embed_tokens.weight".to_owned(),
        _ => format!("model.{name}")
            .replace(".hc_head_", ".hc_head.hc_")
            .replace(".attn.kv_norm.", ".attn.norm."),
    }
}

/// The experts of all layers put into two stacks, gate before up.
fn stacked(shelf: &Shelf, suffix: &str, part: &str) -> Shelf {
    let mut out = Shelf::default();
    for layer in 0..6 {
        let matrix = |expert: usize, matrix: &str| {
            shelf.0.get(&format!(
                "layers.{layer}.ffn.experts.{expert}.{matrix}.{part}"
            ))
        };
        for (stack, parts) in [("gate_up_proj", &["w1", "w3"][..]), ("down_proj", &["w2"])] {
            let Some(first) = matrix(0, parts[0]) else {
                continue;
            };
            let bytes = (0..8)
                .flat_map(|expert| parts.iter().map(move |part| (expert, *part)))
                .flat_map(|(expert, name)| {
                    matrix(expert, name).expect("all experts").bytes().to_vec()
                })
                .collect();
            let shape = [8, first.shape()[0] * parts.len(), first.shape()[1]];
            let name = format!("model.layers.{layer}.mlp.experts.{stack}{suffix}");
            out.put(&name, first.dtype(), &shape, bytes);
        }
    }
    out
}

/// Every released tensor is found in `saved`, with its type, shape and bytes.
#[track_caller]
fn check(released: &Shelf, saved: &Shelf) {
    let renamed = Renamed::new(saved);
    for (name, want) in &released.0 {
        let found = renamed
            .find(name)
            .expect("sound tensors")
            .unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(
            (found.dtype(), found.shape()),
            (want.dtype(), want.shape()),
            "{name}"
        );
        assert_eq!(**found.bytes(), **want.bytes(), "{name}");
    }
}

/// As transformers saves in its own format.
fn saved_own(released: &Shelf) -> Shelf {
    let mut saved = stacked(released, "", "weight");
    saved.0.extend(stacked(released, "_scale_inv", "scale").0);
    for (name, tensor) in &released.0 {
        if !name.contains(".experts.") {
            saved.put(
                &own(name),
                tensor.dtype(),
                tensor.shape(),
                tensor.bytes().to_vec(),
            );
        }
    }
    saved
}

#[test]
fn the_own_format_of_transformers_is_read() {
    for storage in [Storage::F32, Storage::Bf16, Storage::Released] {
        let released = released(storage);
        check(&released, &saved_own(&released));
    }
}

#[test]
fn what_transformers_takes_for_the_original_format_is_read() {
    for storage in [Storage::F32, Storage::Released] {
        let released = released(storage);
        let mut saved = Shelf::default();
        for (name, tensor) in &released.0 {
            saved.put(
                &original(name),
                tensor.dtype(),
                tensor.shape(),
                tensor.bytes().to_vec(),
            );
        }
        check(&released, &saved);
    }
}

#[test]
fn names_are_as_transformers_writes_them() {
    let pairs = [
        ("hc_head_fn", "model.hc_head.hc_fn"),
        (
            "layers.2.attn.kv_norm.weight",
            "model.layers.2.self_attn.kv_norm.weight",
        ),
        (
            "layers.2.attn.indexer.compressor.norm.weight",
            "model.layers.2.self_attn.compressor.indexer.kv_norm.weight",
        ),
        (
            "layers.2.attn.indexer.weights_proj.weight",
            "model.layers.2.self_attn.compressor.indexer.scorer.weights_proj.weight",
        ),
        (
            "layers.2.ffn.gate.tid2eid",
            "model.layers.2.mlp.gate.tid2eid",
        ),
        ("layers.2.hc_attn_scale", "model.layers.2.attn_hc.scale"),
    ];
    for (name, want) in pairs {
        assert_eq!(own(name), want);
    }
    assert_eq!(
        original("layers.2.attn.kv_norm.weight"),
        "model.layers.2.attn.norm.weight"
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let saved = saved_own(&released(Storage::F32));
    let renamed = Renamed::new(&saved);
    for name in [
        "layers.9.attn.wkv.weight",
        "layers.0.ffn.gate.bias",
        "layers.2.attn.wkv.scale",
        "layers.2.ffn.experts.0.w4.weight",
        "layers.2.ffn.experts.x.w1.weight",
        "layers.2.ffn.experts.0.w1.weight.more",
        "mtp.0.e_proj.weight",
        "layers.",
        "layers.2",
        "",
        "model.embed_tokens.weight.scale",
    ] {
        assert!(
            renamed.find(name).expect("no tensor is at fault").is_none(),
            "{name}"
        );
    }
}

#[test]
fn draft_tensors_keep_their_names() {
    let mut saved = Shelf::default();
    saved.put("mtp.0.enorm.weight", Dtype::F32, &[1], vec![0; 4]);
    assert!(
        Renamed::new(&saved)
            .find("mtp.0.enorm.weight")
            .expect("sound")
            .is_some()
    );
}

/// Looking for `name` fails with `want`.
#[track_caller]
fn refuse(saved: &Shelf, name: &str, want: &str) {
    let error: Error = Renamed::new(saved)
        .find(name)
        .expect_err("the stack is unsound");
    assert_eq!(error.to_string(), want);
}

#[test]
fn unsound_stacks_are_refused() {
    let codes = "model.layers.0.mlp.experts.gate_up_proj";
    let scales = "model.layers.0.mlp.experts.gate_up_proj_scale_inv";
    let (weight, scale) = (
        "layers.0.ffn.experts.1.w1.weight",
        "layers.0.ffn.experts.1.w3.scale",
    );
    let with = |shape: &[usize], scale_shape: &[usize]| {
        let mut shelf = Shelf::default();
        shelf.put(codes, Dtype::F8E4m3, shape, vec![0; shape.iter().product()]);
        shelf.put(
            scales,
            Dtype::F8E8m0,
            scale_shape,
            vec![0; scale_shape.iter().product()],
        );
        shelf
    };
    let flat = with(&[4, 6], &[2, 2, 1]);
    refuse(
        &flat,
        weight,
        &format!("tensor {codes}: shape [4, 6], want [experts, out, in]"),
    );
    let few = with(&[1, 4, 6], &[1, 2, 1]);
    refuse(
        &few,
        weight,
        &format!("tensor {codes}: rows 1..2 asked of shape [1, 4, 6]"),
    );
    let odd = with(&[2, 5, 6], &[2, 5, 1]);
    refuse(
        &odd,
        weight,
        &format!("tensor {codes}: 5 rows are not as many for gate as for up"),
    );
    let astride = with(&[2, 6, 6], &[2, 4, 1]);
    refuse(
        &astride,
        scale,
        &format!("tensor {scales}: 4 rows of scales for codes of shape Some([2, 6, 6])"),
    );
    let empty = with(&[2, 6, 6], &[2, 0, 1]);
    refuse(
        &empty,
        scale,
        &format!("tensor {scales}: 0 rows of scales for codes of shape Some([2, 6, 6])"),
    );
}

#[test]
fn a_prefix_and_other_names_of_scales_are_read() {
    let released = released(Storage::Released);
    for (every, end) in [
        (1, ".weight_scale_inv"),
        (2, ".weight_scale"),
        (3, ".scale"),
    ] {
        let mut saved = Shelf::default();
        for (index, (name, tensor)) in released.0.iter().enumerate() {
            let name = match name.strip_suffix(".scale") {
                Some(stem) => format!("{stem}{end}"),
                None => name.clone(),
            };
            let prefix = if index % every == 0 { "model." } else { "" };
            let (shape, bytes) = (tensor.shape(), tensor.bytes().to_vec());
            saved.put(&format!("{prefix}{name}"), tensor.dtype(), shape, bytes);
        }
        check(&released, &saved);
    }
}

#[test]
fn two_spellings_of_one_tensor_are_refused() {
    for (name, one, other) in [
        ("norm.weight", "norm.weight", "model.norm.weight"),
        ("embed.weight", "model.embed.weight", "embed_tokens.weight"),
        (
            "layers.1.attn.wkv.scale",
            "layers.1.attn.wkv.scale",
            "layers.1.attn.wkv.weight_scale",
        ),
        (
            "mtp.0.h_proj.scale",
            "mtp.0.h_proj.weight_scale_inv",
            "model.mtp.0.h_proj.weight_scale",
        ),
        (
            "layers.1.attn.kv_norm.weight",
            "layers.1.attn.norm.weight",
            "model.layers.1.self_attn.kv_norm.weight",
        ),
    ] {
        let mut saved = Shelf::default();
        for name in [one, other] {
            saved.put(name, Dtype::F32, &[1], vec![0; 4]);
        }
        let why = format!("the same as {other}, and only one can be meant");
        refuse(&saved, name, &format!("tensor {one}: {why}"));
    }
    let mut saved = Shelf::default();
    let (alone, stack) = (
        "layers.0.ffn.experts.1.w2.weight",
        "model.layers.0.mlp.experts.down_proj",
    );
    saved.put(alone, Dtype::F32, &[1, 1], vec![0; 4]);
    saved.put(stack, Dtype::F32, &[2, 1, 1], vec![0; 8]);
    let why = format!("the same as {stack}, and only one can be meant");
    refuse(&saved, alone, &format!("tensor {alone}: {why}"));
}
