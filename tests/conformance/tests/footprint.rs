//! What `deepseek inspect` says that a sequence of V4 takes is what it takes, at each level of rounding,
//! with everything that it has: windows, tails, rows, keys, and what the draft head keeps.
//!
//! The test measures its process's memory, and what an allocator has to give again from one model hides
//! what the next one takes. So each level is measured in a process of its own: this program, started
//! with the name of the level. The model's rows are wide, so that positions are few for as many bytes; a
//! million of them are `long_run.rs`.
#![allow(clippy::print_stdout, reason = "it stands in for the harness")]

use std::env;
use std::ops::ControlFlow;
use std::process::Command;

use anyhow::{Result, ensure};
use backend_host::Host;
use conformance::footprint::{STEP_TOKENS, check};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Model, Plan};
use deepseek_testkit::write_checkpoint;

const LEVELS: [(&str, Numerics); 3] = [
    ("exact", Numerics::EXACT),
    ("cache", Numerics::CACHE),
    ("released", Numerics::RELEASED),
];

/// What the system's allocator gives back at once, in bytes. Else it learns from what it sees, and keeps
/// a step's buffers or gives them back as it happens.
const THRESHOLD: (&str, &str) = ("MALLOC_MMAP_THRESHOLD_", "1048576");

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
  "max_position_embeddings": 16384, "bos_token_id": 0, "eos_token_id": 1,
  "tie_word_embeddings": false, "hidden_act": "silu", "attention_bias": false,
  "torch_dtype": "float32"
}"#;

fn main() -> Result<()> {
    let asked = env::args().nth(1);
    if let Some((level, numerics)) = LEVELS
        .iter()
        .find(|(level, _)| asked.as_deref() == Some(level))
    {
        return measure(level, *numerics);
    }
    if !cfg!(target_os = "linux") {
        println!("left out: the system does not tell what a process takes");
        return Ok(());
    }
    for (level, _) in LEVELS {
        let mut itself = Command::new(env::current_exe()?);
        let status = itself.arg(level).env(THRESHOLD.0, THRESHOLD.1).status()?;
        ensure!(status.success(), "{level}: {status}");
        println!("test a_sequence_takes_what_inspect_says at {level} ... ok");
    }
    Ok(())
}

fn measure(level: &str, numerics: Numerics) -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), V4, 11)?;
    let config = Config::parse(V4)?;
    let plan = |sequences| {
        let budget = Budget {
            context: config.max_positions,
            sequences,
            step_tokens: STEP_TOKENS,
            ..Budget::default()
        };
        Plan::new(&config, numerics, budget)
    };
    let mut model = Model::load(
        Host::new(threads),
        plan(2)?,
        &Checkpoint::open(folder.path())?,
        None,
        &mut |_, _| ControlFlow::Continue(()),
    )?;
    let (all, foretold) = (config.max_positions, plan(1)?.memory_bytes());
    let logits = check(level, &mut model, all, all, foretold)?;
    assert!(logits.iter().all(|logit| logit.is_finite()), "{level}");
    Ok(())
}
