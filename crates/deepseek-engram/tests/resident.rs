//! What a table takes of memory. Alone in its file, because it watches the whole process.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use deepseek_core::weights::{Shard, Tensors};
use deepseek_engram::{Addresses, Table, TablesConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const HEAD_DIM: usize = 256;
const BOUND: u64 = 4 << 20;
/// Copies being made, the allocator's spare pages, and the kernel's coarse count.
const SLACK: u64 = 4 << 20;

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("a process knows its memory");
    let pages = statm
        .split(' ')
        .nth(1)
        .expect("the second is the resident set");
    // The kernel counts pages of 4 KiB or more; more only makes the figures smaller.
    pages.parse::<u64>().expect("a number") * 4096
}

/// A file of `rows` rows that takes no room on disk but for those that are `written`.
fn sparse(path: &Path, rows: u64, written: &[u64]) {
    let dim = HEAD_DIM as u64;
    let codes = rows * dim;
    let header = json!({
        "embed.weight": {"dtype": "F8_E4M3", "shape": [rows, dim], "data_offsets": [0, codes]},
        "embed.scale": {
            "dtype": "F8_E8M0", "shape": [rows, dim / 32], "data_offsets": [codes, codes + rows * dim / 32],
        },
    })
    .to_string();
    let data = 8 + header.len() as u64;
    let mut file = File::create(path).expect("a new file");
    file.write_all(&(header.len() as u64).to_le_bytes())
        .expect("room");
    file.write_all(header.as_bytes()).expect("room");
    file.set_len(data + codes + rows * dim / 32)
        .expect("a sparse file");
    for row in written {
        file.seek(SeekFrom::Start(data + row * dim))
            .expect("inside");
        let bytes: Vec<u8> = (0..HEAD_DIM)
            .map(|column| (row % 101) as u8 ^ (column % 13) as u8)
            .collect();
        file.write_all(&bytes).expect("room");
        file.seek(SeekFrom::Start(data + codes + row * dim / 32))
            .expect("inside");
        file.write_all(&[(120 + row % 10) as u8; HEAD_DIM / 32])
            .expect("room");
    }
}

#[test]
fn a_bounded_table_stays_within_its_bound_and_reads_the_same() {
    let addresses = Addresses::new(&TablesConfig {
        layers: vec![1],
        max_ngram: 4,
        heads: 8,
        head_dim: HEAD_DIM,
        vocab_size: 60_000,
        pad: 2,
        compressed_vocab: 99_092,
    });
    let rows = addresses.rows(1);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    // Steps of 16 positions; half of their rows are among a few that come again and again.
    let steps: Vec<Vec<u64>> = (0..100)
        .map(|_| {
            let mut slot = || {
                if rng.random() {
                    rng.random_range(0..rows)
                } else {
                    rng.random_range(0..4000) * (rows / 4000)
                }
            };
            (0..16 * addresses.columns()).map(|_| slot()).collect()
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.safetensors");
    sparse(&path, rows, &steps.concat());
    let file = Shard::open(&path).expect("a file that holds together");
    let load = |bound| {
        Table::load(
            &Tensors::new(&file, [32, 32]),
            &addresses,
            1,
            HEAD_DIM,
            bound,
        )
        .expect("a table")
    };

    let bounded = load(Some(BOUND));
    // What a read returns is the caller's: its room is taken before.
    drop(bounded.read(&steps[0]));
    let before = resident();
    let mut sums = Vec::new();
    let mut most = 0;
    for step in &steps {
        bounded.prefetch(step);
        let read = bounded.read(step);
        sums.push(read.data().iter().map(|x| f64::from(*x)).sum::<f64>());
        most = most.max(resident().saturating_sub(before));
    }
    assert!(
        most <= BOUND + SLACK,
        "{most} bytes more, the bound is {BOUND}"
    );
    assert!(
        sums.iter().all(|sum| *sum != 0.0),
        "rows that were written are read"
    );

    // The test sees memory that is taken: without a bound, pages of the map stay.
    let unbounded = load(None);
    for (step, sum) in steps.iter().zip(&sums) {
        unbounded.prefetch(step);
        let read = unbounded.read(step);
        assert_eq!(read.data().iter().map(|x| f64::from(*x)).sum::<f64>(), *sum);
        assert_eq!(read, bounded.read(step));
    }
    drop(bounded);
    for step in &steps {
        drop(unbounded.read(step));
    }
    let grown = resident().saturating_sub(before);
    assert!(
        grown > 4 * (BOUND + SLACK),
        "{grown} bytes more without a bound"
    );
}
