//! `deepseek inspect`.

use std::fs;

use serde_json::Value;

use crate::program::{Checkpoint, fixture, run};

#[test]
fn a_checkpoint_is_as_its_config_has_it() {
    let checkpoint = Checkpoint::new();
    let text = run(&["inspect", checkpoint.path()]).done();
    for part in [
        "model ",
        "layers",
        "parameters",
        "weights",
        "KV cache",
        "\nlegend\n",
        "as the config has it",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("flaws"), "{text}");
}

#[test]
fn a_config_alone_gives_the_same_bill() {
    let checkpoint = Checkpoint::new();
    let bill = |path: &str| -> Value {
        let json = run(&["inspect", path, "--json"]).done();
        serde_json::from_str(&json).expect("JSON")
    };
    let whole = bill(checkpoint.path());
    let alone = bill(&checkpoint.file("config.json"));
    assert_eq!(whole["weights"], alone["weights"]);
    assert_eq!(whole["files"]["bytes"], alone["weights"]["bytes"]);
    assert_eq!(whole["files"]["tensors"], alone["weights"]["tensors"]);
    assert!(alone["files"].is_null());
    assert_eq!(whole["flaws"], Value::Array(Vec::new()));
    fs::remove_file(checkpoint.file("model.safetensors")).expect("it is there");
    assert_eq!(bill(checkpoint.path()), alone);
}

#[test]
fn every_fixture_fits_its_config() {
    for name in ["flashy-s0", "prolike-s0", "quant-s0", "realrope-s0"] {
        run(&["inspect".as_ref(), fixture(name).as_os_str()]).done();
    }
}

#[test]
fn the_released_models_have_the_published_totals() {
    for (name, bytes, human, tensors) in [
        ("v4-flash", "159,609,485,896", "160", "69,187"),
        ("v4-pro", "864,704,792,696", "865", "145,116"),
    ] {
        let config = format!(
            "{}/../../assets/configs/{name}/config.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = run(&["inspect", &config]).done();
        let total = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("total"));
        let total: Vec<&str> = total.expect("a total").split_whitespace().collect();
        assert_eq!(total, [bytes, human, "GB", tensors], "{name}");
    }
}

#[test]
fn a_context_of_ones_own_is_added() {
    let checkpoint = Checkpoint::new();
    let text = run(&["inspect", checkpoint.path(), "--context", "777"]).done();
    assert!(
        text.contains("\nKV cache at a context of 777 tokens\n  exact "),
        "{text}"
    );
    let json = run(&["inspect", checkpoint.path(), "--context", "777", "--json"]).done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["context"]["positions"], 777);
    let bytes = |level: &str| json["context"]["bytes"][level].as_u64().expect(level);
    assert!(
        bytes("released") < bytes("cache") && bytes("cache") < bytes("exact"),
        "{json}"
    );
    run(&["inspect", checkpoint.path(), "--context", "2049"]).failed(
        3,
        "context 2049, the model has 2048 positions",
        "--context 2048 at most",
    );
}

#[test]
fn what_does_not_fit_is_listed() {
    let checkpoint = Checkpoint::new();
    checkpoint.set("q_lora_rank", 41);
    let hint = "fetch the files again";
    let ran = run(&["inspect", checkpoint.path()]);
    // Each of five layers and the draft module: the projection to the latent, its norm and the
    // projection from it; two indexers project from it too.
    ran.failed(
        3,
        "20 tensors do not fit the config, the first: tensor layers.0.attn.wq_a",
        hint,
    );
    assert!(
        ran.out
            .contains("\nflaws\n  tensor layers.0.attn.wq_a.weight: shape [40, 48]")
    );

    let ran = run(&["inspect", checkpoint.path(), "--json"]);
    let json: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(json["flaws"].as_array().map(Vec::len), Some(20));

    let checkpoint = Checkpoint::new();
    checkpoint.set("n_routed_experts", 13);
    let ran = run(&["inspect", checkpoint.path()]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let missing = "tensor layers.0.ffn.experts.12.w1.weight: missing from the checkpoint";
    assert!(ran.out.contains(missing), "{}", ran.out);
}
