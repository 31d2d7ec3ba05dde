//! N-gram tables that are larger than the memory they may take. They hold nothing but zeros, so that
//! their file takes no room.

use std::fs::File;
use std::io::Write;

use serde_json::{Value, json};

use crate::program::Checkpoint;
use crate::run::figure;

const TABLES: usize = 6;
const NGRAM_MAX: usize = 4;
const HEADS: usize = 8;
const HEAD_DIM: usize = 32;
const HASHES: usize = (NGRAM_MAX - 1) * HEADS;
/// The hashes' primes are no smaller.
const PRIMES_FROM: usize = 20_000;

/// A checkpoint whose n-gram tables have [`HASHES`] times about [`PRIMES_FROM`] rows each.
fn checkpoint() -> Checkpoint {
    let layers: Vec<usize> = (0..TABLES).collect();
    // As small as they can be while weights are drawn.
    let checkpoint = Checkpoint::v41_with(|text| {
        text["engram_layer_ids"] = json!(layers);
        text["engram_num_embeddings"] = json!(vec![2 * HASHES; TABLES]);
        text["engram_max_ngram_size"] = json!(NGRAM_MAX);
        text["engram_vocab_size"] = json!(2);
        text["engram_n_heads"] = json!(HEADS);
        text["engram_head_dim"] = json!(HEAD_DIM);
    });
    let is_prime = |n: &usize| {
        (2..)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    let mut primes = (PRIMES_FROM..).filter(is_prime);
    let rows: Vec<usize> = layers
        .iter()
        .map(|_| primes.by_ref().take(HASHES).sum())
        .collect();
    let mut config: Value = serde_json::from_slice(&checkpoint.read("config.json")).expect("JSON");
    let mut text = config["text_config"].take();
    text["engram_vocab_size"] = json!(PRIMES_FROM);
    text["engram_num_embeddings"] = json!(rows);
    checkpoint.set("text_config", text);
    for layer in &layers {
        let name = format!("layers.{layer}.engram.embed.");
        checkpoint.take_out(&name, "small.safetensors");
    }

    let mut header = serde_json::Map::new();
    let mut bytes = 0;
    for (layer, rows) in layers.iter().zip(&rows) {
        for (name, dtype, width) in [
            ("weight", "F8_E4M3", HEAD_DIM),
            ("scale", "F8_E8M0", HEAD_DIM / 32),
        ] {
            let end = bytes + rows * width;
            header.insert(
                format!("layers.{layer}.engram.embed.{name}"),
                json!({ "dtype": dtype, "shape": [rows, width], "data_offsets": [bytes, end] }),
            );
            bytes = end;
        }
    }
    checkpoint.place(header.keys(), "tables.safetensors", bytes);
    let header = Value::from(header).to_string();
    let mut file = File::create(checkpoint.file("tables.safetensors")).expect("a file");
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(header.as_bytes()))
        .and_then(|()| file.set_len((8 + header.len() + bytes) as u64))
        .expect("the folder takes files");
    checkpoint
}

/// The most memory that it takes to read a text of many n-grams, in MiB, and what is said then.
fn read(checkpoint: &Checkpoint, more: &[&str]) -> (f64, String) {
    let mut state = 1_u32;
    let text: String = (0..600)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        })
        .collect();
    let flags = [
        "--raw",
        "--temperature",
        "0",
        "--max-tokens",
        "4",
        "--stats",
    ];
    let line = [&flags[..], &["--context", "1024"], more, &[&text]].concat();
    let ran = checkpoint.run("run", &line);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let peak = figure(&ran.err, "peak memory").trim_end_matches(" MiB");
    (peak.parse().expect("a number"), ran.out)
}

#[test]
fn tables_take_as_much_memory_as_they_may() {
    /// What all tables have, in MiB.
    const WHOLE: f64 =
        (TABLES * HASHES * PRIMES_FROM * (HEAD_DIM + HEAD_DIM / 32)) as f64 / 1048576.0;
    const BOUND: f64 = 4.0;

    let checkpoint = checkpoint();
    let (none, said) = read(&checkpoint, &["--engram-memory", "0"]);
    // What is read ahead of the first answer is everything else.
    assert!(none < WHOLE, "{none} of {WHOLE} MiB");
    let (bound, same) = read(&checkpoint, &["--engram-memory", "4MiB"]);
    assert_eq!(same, said);
    let taken = bound - none;
    // Each of them alone would take as much.
    assert!((0.5..1.5).contains(&(taken / BOUND)), "{taken} of {BOUND}");
    let (free, same) = read(&checkpoint, &[]);
    assert_eq!(same, said);
    assert!(free > none + WHOLE / 2.0, "{free} MiB without a bound");
}
