//! Experts that are larger than the memory they may take.

use serde_json::Value;

use crate::program::Checkpoint;
use crate::run::figure;

const LAYERS: usize = 2;
const EXPERTS: usize = 32;
const HIDDEN: usize = 256;
const INNER: usize = 1024;

/// What all experts have, in MiB: three matrices of BF16 each.
const WHOLE: f64 = (LAYERS * EXPERTS * 3 * HIDDEN * INNER * 2) as f64 / 1048576.0;

/// Tokens choose their experts by their ids, so that a text visits all of them.
fn checkpoint() -> Checkpoint {
    let config = format!(
        r#"{{
        "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4",
        "vocab_size": 288, "hidden_size": {HIDDEN}, "num_hidden_layers": {LAYERS}, "num_hash_layers": {LAYERS},
        "num_nextn_predict_layers": 0, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 128, "qk_rope_head_dim": 64, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 32,
        "sliding_window": 128, "compress_ratios": [0, 4],
        "index_n_heads": 1, "index_head_dim": 64, "index_topk": 64,
        "n_routed_experts": {EXPERTS}, "n_shared_experts": 1, "num_experts_per_tok": 2,
        "moe_intermediate_size": {INNER}, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc",
        "norm_topk_prob": true, "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
        "hc_mult": 2, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6,
        "rope_theta": 10000, "compress_rope_theta": 160000,
        "rope_scaling": {{ "type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
                          "original_max_position_embeddings": 65536 }},
        "max_position_embeddings": 2048, "bos_token_id": 0, "eos_token_id": 1,
        "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false,
        "torch_dtype": "bfloat16"
        }}"#
    );
    Checkpoint::synthetic(&config)
}

/// The most memory that it takes to read all letters, in MiB, and what is said then.
fn read(checkpoint: &Checkpoint, more: &[&str]) -> (f64, String) {
    let text: String = (0..600_u32)
        .map(|at| char::from(b' ' + (at * 7 % 95) as u8))
        .collect();
    let flags = [
        "--raw",
        "--temperature",
        "0",
        "--max-tokens",
        "4",
        "--stats",
    ];
    let line = [&flags[..], more, &[&text]].concat();
    let ran = checkpoint.run("run", &line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let peak = figure(&ran.err, "peak memory").trim_end_matches(" MiB");
    (peak.parse().expect("a number"), ran.out)
}

#[test]
fn experts_take_as_much_memory_as_they_may() {
    const BOUND: f64 = 24.0;

    let checkpoint = checkpoint();
    // One expert of each layer stays whatever the bound.
    let (none, said) = read(&checkpoint, &["--expert-memory", "0"]);
    let (bound, same) = read(&checkpoint, &["--expert-memory", "24MiB"]);
    assert_eq!(same, said);
    let taken = bound - none;
    assert!(
        (0.4..1.2).contains(&(taken / BOUND)),
        "{taken} of {BOUND} MiB"
    );
    let (free, same) = read(&checkpoint, &[]);
    assert_eq!(same, said);
    assert!(
        free > none + 0.8 * WHOLE,
        "{none} and {free} MiB of {WHOLE}"
    );
}

#[test]
fn bench_tells_how_many_were_in_memory() {
    let checkpoint = checkpoint();
    let share = |memory: &str| {
        let flags = [
            "-p",
            "0",
            "-n",
            "40",
            "-r",
            "1",
            "--json",
            "--expert-memory",
            memory,
        ];
        let json: Value =
            serde_json::from_str(&checkpoint.run("bench", &flags).done()).expect("JSON");
        json[0]["experts_resident"].as_f64().expect("a share")
    };
    // A token visits two experts of a layer, one after the other.
    assert!(share("0") < 0.2);
    let some = share("48MiB");
    assert!((0.3..0.7).contains(&some), "{some}");
    // What is met for the first time has to be fetched whatever the bound.
    assert!(share("1GiB") > 0.75);
}
