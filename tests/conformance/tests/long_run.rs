//! A million positions through a tiny model with the real ratios and frequencies.
//!
//! The test stands in a process of its own, because it measures that process's memory.
#![cfg(target_os = "linux")]

use std::ops::ControlFlow;

use anyhow::Result;
use backend_host::Host;
use conformance::compare::same_bits;
use conformance::footprint::{MEASURED, STEP_TOKENS, check, feed};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Decoder, Model, Plan};

const POSITIONS: usize = 1 << 20;
/// Tokens at the end that are fed once more, one by one.
const LAST: usize = 8;

/// One layer of each kind, small, with the released ratios, rope width, bases and YaRN.
const CONFIG: &str = r#"{
  "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4",
  "vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 3, "num_hash_layers": 1,
  "num_nextn_predict_layers": 0, "num_attention_heads": 2, "num_key_value_heads": 1,
  "head_dim": 128, "qk_rope_head_dim": 64, "q_lora_rank": 32, "o_groups": 2, "o_lora_rank": 32,
  "sliding_window": 128, "compress_ratios": [0, 4, 128],
  "index_n_heads": 1, "index_head_dim": 64, "index_topk": 64,
  "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
  "moe_intermediate_size": 32, "scoring_func": "sqrtsoftplus", "topk_method": "noaux_tc",
  "norm_topk_prob": true, "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
  "hc_mult": 2, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6,
  "rope_theta": 10000, "compress_rope_theta": 160000,
  "rope_scaling": { "type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1,
                    "original_max_position_embeddings": 65536 },
  "max_position_embeddings": 1048576, "bos_token_id": 0, "eos_token_id": 1,
  "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false,
  "torch_dtype": "float32"
}"#;

#[test]
fn a_million_positions_take_the_memory_that_the_plan_foretells() -> Result<()> {
    let folder = tempfile::tempdir()?;
    deepseek_testkit::write_checkpoint(folder.path(), CONFIG, 11)?;
    let config = Config::parse(CONFIG)?;
    let budget = |sequences| Budget {
        context: POSITIONS,
        sequences,
        step_tokens: STEP_TOKENS,
        ..Budget::default()
    };
    let foretold = Plan::new(&config, Numerics::EXACT, budget(1))?.memory_bytes();
    let threads = std::thread::available_parallelism()?.get();
    let mut model = Model::load(
        Host::new(threads),
        Plan::new(&config, Numerics::EXACT, budget(2))?,
        &Checkpoint::open(folder.path())?,
        None,
        &mut |_, _| ControlFlow::Continue(()),
    )?;
    let together = check(
        "a million positions",
        &mut model,
        2 * STEP_TOKENS,
        POSITIONS,
        foretold,
    )?;

    model.rewind(MEASURED, (POSITIONS - LAST) as u32);
    let mut one_by_one = Vec::new();
    for position in POSITIONS - LAST..POSITIONS {
        one_by_one = feed(&mut model, MEASURED, position..position + 1)?;
    }
    same_bits(
        "the last logits, one token at a time",
        &one_by_one,
        &together,
    );
    assert!(together.iter().all(|logit| logit.is_finite()));
    Ok(())
}
