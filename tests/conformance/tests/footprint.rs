//! What `deepseek inspect` says that a sequence takes is what it takes, for V4 and V4.1, at each level of
//! rounding, with everything that it has: windows, tails, rows, keys, what waits for a replay, and what
//! the draft head keeps.
//!
//! The test measures its process's memory, and what an allocator has to give again from one model hides
//! what the next one takes. So each case is measured in a process of its own: this program, started
//! with the name of the case, and with an allocator that gives back what is freed. The models' rows are
//! wide, so that positions are few for as many bytes; a million of them are `long_run.rs`.
#![allow(clippy::print_stdout, reason = "it stands in for the harness")]

use std::env;
use std::ops::ControlFlow;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use backend_host::Host;
use conformance::footprint::{STEP_TOKENS, check};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Model, Plan};
use deepseek_testkit::{tiny_v41_config, write_checkpoint};
use serde_json::{Value, json};

const LEVELS: [(&str, Numerics); 3] = [
    ("exact", Numerics::EXACT),
    ("cache", Numerics::CACHE),
    ("released", Numerics::RELEASED),
];

/// glibc's allocator learns from what it sees, keeps a step's buffers or gives them back as it happens,
/// and does so in one arena for each thread. So: one arena, and whatever is freed goes back at once. A
/// small pool is written to whole when it is made, unless it lies in a mapping of its own.
const ALLOCATOR: [(&str, &str); 4] = [
    ("MALLOC_ARENA_MAX", "1"),
    ("MALLOC_MMAP_THRESHOLD_", "131072"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
    ("MALLOC_TOP_PAD_", "0"),
];

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

/// Ids of the vocabulary of V4.1, and how many of them differ when they are compressed.
const V41_IDS: (usize, usize) = (320, 254);

/// The tiny V4.1 with wide rows and room for some.
fn v41() -> Result<String> {
    let mut config: Value = serde_json::from_str(&tiny_v41_config(V41_IDS.0, V41_IDS.1)?)?;
    let text = config["text_config"].as_object_mut().context("a text")?;
    text.extend([
        ("head_dim".to_owned(), json!(512)),
        ("num_attention_heads".to_owned(), json!(2)),
        ("max_position_embeddings".to_owned(), json!(8192)),
    ]);
    Ok(config.to_string())
}

fn main() -> Result<()> {
    let asked: Vec<String> = env::args().skip(1).collect();
    if let [release, level] = asked.as_slice()
        && let Some((_, numerics)) = LEVELS.iter().find(|(name, _)| name == level)
    {
        return measure(release, level, *numerics);
    }
    if !cfg!(target_os = "linux") {
        println!("left out: the system does not tell what a process takes");
        return Ok(());
    }
    for release in ["v4", "v4.1"] {
        for (level, _) in LEVELS {
            let mut itself = Command::new(env::current_exe()?);
            let status = itself.args([release, level]).envs(ALLOCATOR).status()?;
            ensure!(status.success(), "{release}, {level}: {status}");
            println!("test a_sequence_takes_what_inspect_says of {release} at {level} ... ok");
        }
    }
    Ok(())
}

fn measure(release: &str, level: &str, numerics: Numerics) -> Result<()> {
    let threads = std::thread::available_parallelism()?.get();
    let (json, compressed) = match release {
        "v4" => (V4.to_owned(), None),
        "v4.1" => {
            let ids = (0..V41_IDS.0).map(|id| id.min(V41_IDS.1 - 1) as u32);
            (v41()?, Some(ids.collect::<Vec<_>>()))
        }
        _ => bail!("no release {release}"),
    };
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), &json, 11)?;
    let config = Config::parse(&json)?;
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
        compressed,
        &mut |_, _| ControlFlow::Continue(()),
    )?;
    let (all, foretold) = (config.max_positions, plan(1)?.memory_bytes());
    let what = format!("{release} at {level}");
    let logits = check(&what, &mut model, all, all, foretold)?;
    assert!(logits.iter().all(|logit| logit.is_finite()), "{what}");
    Ok(())
}
