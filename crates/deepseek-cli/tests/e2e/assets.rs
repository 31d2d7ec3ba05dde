//! The model that is carried: the files it was made from, what they weigh, and that they fit together.

use std::fs;
use std::path::Path;

use deepseek_assets::{CONFIG, TOKENIZER, WEIGHTS};
use deepseek_core::weights::Checkpoint;
use deepseek_model::Config;
use deepseek_text::Tokenizer;

/// What all files weigh at most.
const BYTES_MAX: usize = 8_000_000;

#[test]
fn what_is_carried_are_the_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/model");
    let file = |name: &str| fs::read(folder.join(name)).expect(name);
    assert!(file("config.json") == CONFIG.as_bytes());
    assert!(file("tokenizer.json") == TOKENIZER);
    assert!(file("model.safetensors") == WEIGHTS);
}

#[test]
fn it_weighs_no_more_than_it_may() {
    let bytes = CONFIG.len() + TOKENIZER.len() + WEIGHTS.len();
    assert!(bytes <= BYTES_MAX, "{bytes} bytes, at most {BYTES_MAX}");
}

#[test]
fn the_files_are_of_one_model_with_every_part() {
    let config = Config::parse(CONFIG).expect("a config");
    let tokenizer = Tokenizer::parse(TOKENIZER).expect("a tokenizer");
    assert_eq!(tokenizer.vocab_size(), config.vocab_size);
    let checkpoint = Checkpoint::from_static("model.safetensors", WEIGHTS).expect("weights");
    assert!(checkpoint.tensor("head.weight").is_some());
    let parts = [
        ("an n-gram memory", config.engram.is_some()),
        ("shared rows", config.sharing.is_some()),
        ("a drafter", config.drafter.is_some()),
        ("eyes", config.vision.is_some()),
        ("ears", config.audio.is_some()),
    ];
    for (part, there) in parts {
        assert!(there, "no {part}");
    }
}
