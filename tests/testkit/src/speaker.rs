//! A checkpoint that says what it is told to, whatever it is asked.
//!
//! One layer of V4, whose attention looks at the begin-of-sentence alone. The rotary embedding turns
//! that token's key by its distance, so that what attention gives is a code of the position: a one,
//! and a cosine and a sine for each frequency. Each unit of the shared expert knows the code of one
//! position, and speaks for the id that comes there.

use std::path::Path;

use anyhow::{Context, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

/// Channels of the key that are rotated, and half as many frequencies.
const ROTATED: usize = 64;
const FREQUENCIES: usize = ROTATED / 2;
const HEAD: usize = 128;
/// The base of the frequencies: so small that neighbours differ in most of them.
const BASE: f64 = 100.0;
/// Channels of the code: a one, and the rotated ones.
const CODE: usize = 1 + ROTATED;
/// How far below a match a unit begins to speak, and how steeply.
const MARGIN: f64 = 0.7;
const STEEPNESS: f64 = 40.0;

/// Writes a folder with `config.json` and `model.safetensors` of a V4 model that says `words` after
/// a prompt of `prompt` ids, the first of which is the begin-of-sentence, id 0. The tokenizer, of
/// `vocabulary` ids, is the caller's to add. Draw with temperature 0, at
/// [`Level::Exact`](deepseek_core::Level::Exact).
///
/// It says its words by their positions: end them with the end-of-sentence, id 1, and expect nothing
/// sensible after a prompt of another length.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_speaker(out: &Path, vocabulary: usize, prompt: usize, words: &[u32]) -> Result<()> {
    let mut ids: Vec<u32> = words.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let channel = |id: u32| CODE + ids.binary_search(&id).expect("it is one of the words");
    let hidden = (CODE + ids.len()).next_multiple_of(64);
    let units = words.len().max(1).next_multiple_of(64);
    let mut tensors = Vec::new();
    let mut put = |name: &str, shape: [usize; 2], entries: Vec<([usize; 2], f64)>| {
        let mut values = vec![0_f32; shape[0] * shape[1]];
        for ([row, column], value) in entries {
            values[row * shape[1] + column] = value as f32;
        }
        tensors.push((name.to_owned(), shape.to_vec(), values));
    };

    put("embed.weight", [vocabulary, hidden], vec![([0, 0], 1.0)]);
    let rotated = HEAD - ROTATED;
    let key = (0..FREQUENCIES).map(|i| ([rotated + 2 * i, 0], 1.0));
    let key = key.chain([([0, 0], 1.0)]).collect();
    put("layers.0.attn.wkv.weight", [HEAD, hidden], key);
    put("layers.0.attn.wq_a.weight", [64, hidden], vec![]);
    put("layers.0.attn.wq_b.weight", [HEAD, 64], vec![]);
    let same = (0..HEAD).map(|i| ([i, i], 1.0)).collect();
    put("layers.0.attn.wo_a.weight", [HEAD, HEAD], same);
    let code = (0..ROTATED).map(|i| ([1 + i, rotated + i], 1.0));
    let code = code.chain([([0, 0], 1.0)]).collect();
    put("layers.0.attn.wo_b.weight", [hidden, HEAD], code);
    put("layers.0.ffn.gate.weight", [2, hidden], vec![]);
    for expert in 0..2 {
        for (matrix, shape) in [
            ("w1", [units, hidden]),
            ("w2", [hidden, units]),
            ("w3", [units, hidden]),
        ] {
            put(
                &format!("layers.0.ffn.experts.{expert}.{matrix}.weight"),
                shape,
                vec![],
            );
        }
    }
    // The norm brings the code, whose squares add up to one and the frequencies, to this.
    let gain = (hidden as f64 / (1 + FREQUENCIES) as f64).sqrt();
    let (mut gate, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    for (unit, &word) in words.iter().enumerate() {
        let position = (prompt + unit).saturating_sub(1) as f64;
        for i in 0..FREQUENCIES {
            let angle = position * BASE.powf(-2.0 * i as f64 / ROTATED as f64);
            gate.push(([unit, 1 + 2 * i], STEEPNESS / gain * angle.cos()));
            gate.push(([unit, 2 + 2 * i], -STEEPNESS / gain * angle.sin()));
        }
        gate.push(([unit, 0], -STEEPNESS / gain * (FREQUENCIES as f64 - MARGIN)));
        up.push(([unit, 0], 10.0 / gain));
        down.push(([channel(word), unit], 1.0));
    }
    put(
        "layers.0.ffn.shared_experts.w1.weight",
        [units, hidden],
        gate,
    );
    put("layers.0.ffn.shared_experts.w3.weight", [units, hidden], up);
    put(
        "layers.0.ffn.shared_experts.w2.weight",
        [hidden, units],
        down,
    );
    let spoken = ids
        .iter()
        .map(|&id| ([id as usize, channel(id)], 20.0))
        .collect();
    put("head.weight", [vocabulary, hidden], spoken);
    for part in ["layers.0.hc_attn", "layers.0.hc_ffn"] {
        put(&format!("{part}_fn"), [24, 4 * hidden], vec![]);
    }
    put("hc_head_fn", [4, 4 * hidden], vec![]);

    let mut row = |name: &str, len: usize, value: f32| {
        tensors.push((name.to_owned(), vec![len], vec![value; len]));
    };
    row("layers.0.attn.attn_sink", 1, -50.0);
    row("layers.0.attn.kv_norm.weight", HEAD, 1.0);
    row("layers.0.attn.q_norm.weight", 64, 1.0);
    row("layers.0.attn_norm.weight", hidden, 1.0);
    row("layers.0.ffn_norm.weight", hidden, 1.0);
    row("layers.0.ffn.gate.bias", 2, 0.0);
    row("norm.weight", hidden, 1.0);
    for (part, width, scales) in [
        ("layers.0.hc_attn", 24, 3),
        ("layers.0.hc_ffn", 24, 3),
        ("hc_head", 4, 1),
    ] {
        row(&format!("{part}_base"), width, 0.0);
        row(&format!("{part}_scale"), scales, 1.0);
    }
    write(out, &config(vocabulary, hidden, units), tensors)
}

fn write(
    out: &Path,
    config: &serde_json::Value,
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, values)| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
            Ok((name.clone(), view))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize_to_file(views, None, &out.join("model.safetensors"))?;
    std::fs::write(out.join("config.json"), format!("{config:#}"))?;
    Ok(())
}

fn config(vocabulary: usize, hidden: usize, units: usize) -> serde_json::Value {
    let rope = json!({
        "type": "yarn",
        "factor": 16,
        "beta_fast": 32,
        "beta_slow": 1,
        "original_max_position_embeddings": 65_536,
    });
    let mut config = json!({
        "architectures": ["DeepseekV4ForCausalLM"],
        "model_type": "deepseek_v4",
        "torch_dtype": "float32",
        "hidden_act": "silu",
        "attention_bias": false,
        "attention_dropout": 0.0,
        "use_cache": true,
        "tie_word_embeddings": false,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "num_hidden_layers": 1,
        "num_nextn_predict_layers": 0,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "head_dim": HEAD,
        "qk_rope_head_dim": ROTATED,
        "q_lora_rank": 64,
        "o_lora_rank": HEAD,
        "o_groups": 1,
        "rope_theta": BASE,
        "rope_scaling": rope,
    });
    let more = json!({
        "compress_ratios": [0],
        "compress_rope_theta": 160_000,
        "max_position_embeddings": 65_536,
        "sliding_window": 4096,
        "index_head_dim": 128,
        "index_n_heads": 8,
        "index_topk": 64,
        "rms_norm_eps": 1e-12,
        "hc_eps": 1e-6,
        "hc_mult": 4,
        "hc_sinkhorn_iters": 20,
        "moe_intermediate_size": units,
        "n_routed_experts": 2,
        "n_shared_experts": 1,
        "num_experts_per_tok": 1,
        "num_hash_layers": 0,
        "norm_topk_prob": true,
        "routed_scaling_factor": 1.5,
        "scoring_func": "sqrtsoftplus",
        "topk_method": "noaux_tc",
        "swiglu_limit": 10.0,
    });
    let all = config.as_object_mut().expect("an object");
    all.extend(more.as_object().cloned().unwrap_or_default());
    config
}
