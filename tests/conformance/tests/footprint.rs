//! What `deepseek inspect` says that a sequence of V4 takes is what it takes, where rows are floats and
//! where they are packed, with everything that it has: windows, tails, rows, keys, and what the draft
//! head keeps.
//!
//! The test stands in a process of its own, because it measures that process's memory. The model's
//! rows are wide, so that positions are few for as many bytes; a million of them are `long_run.rs`.
#![cfg(target_os = "linux")]

use std::ops::ControlFlow;

use anyhow::Result;
use backend_candle::Candle;
use conformance::footprint::{STEP_TOKENS, check};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Model, Plan};
use deepseek_testkit::write_checkpoint;

const LEVELS: [(&str, Numerics); 2] = [("exact", Numerics::EXACT), ("cache", Numerics::CACHE)];

/// V4 with one layer of each kind and an MTP module.
const V4: &str = r#"{
  "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4",
  "vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 3, "num_hash_layers": 1,
  "num_nextn_predict_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
  "head_dim": 1024, "qk_rope_head_dim": 64, "q_lora_rank": 32, "o_groups": 1, "o_lora_rank": 32,
  "sliding_window": 32, "compress_ratios": [0, 4, 128, 0],
  "index_n_heads": 1, "index_head_dim": 64, "index_topk": 32,
  "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
  "moe_intermediate_size": 32, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc",
  "norm_topk_prob": true, "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
  "hc_mult": 2, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6,
  "rope_theta": 10000, "compress_rope_theta": 160000,
  "rope_scaling": { "type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
                    "original_max_position_embeddings": 65536 },
  "max_position_embeddings": 65536, "bos_token_id": 0, "eos_token_id": 1,
  "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false,
  "torch_dtype": "float32"
}"#;

#[test]
fn a_sequence_takes_what_inspect_says_as_floats_and_packed() -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), V4, 11)?;
    let config = Config::parse(V4)?;
    // All are loaded before any runs, so that nothing is given back in between.
    let mut models = Vec::new();
    for (level, numerics) in LEVELS {
        let plan = |sequences| {
            let budget = Budget {
                context: config.max_positions,
                sequences,
                step_tokens: STEP_TOKENS,
                ..Budget::default()
            };
            Plan::new(&config, numerics, budget)
        };
        let model = Model::load(
            Candle::host(threads),
            plan(2)?,
            &Checkpoint::open(folder.path())?,
            None,
            &mut |_, _| ControlFlow::Continue(()),
        )?;
        models.push((level, model, plan(1)?.memory_bytes()));
    }
    for (level, model, foretold) in &mut models {
        let logits = check(
            level,
            model,
            config.max_positions,
            config.max_positions,
            *foretold,
        )?;
        assert!(logits.iter().all(|logit| logit.is_finite()), "{level}");
    }
    Ok(())
}
