//! Rows through the map: what they decode to, and what is refused.

use deepseek_core::quant::{e8m0, fp8};
use deepseek_core::weights::{Shard, Tensors};
use deepseek_core::{Error, Result};
use deepseek_engram::{Addresses, Table, TablesConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const HEAD_DIM: usize = 64;

fn addresses() -> Addresses {
    Addresses::new(&TablesConfig {
        layers: vec![1],
        max_ngram: 3,
        heads: 2,
        head_dim: HEAD_DIM,
        vocab_size: 97,
        pad: 2,
        compressed_vocab: 254,
    })
}

/// A file of these tensors below `engram.`: a name, a type, a shape, bytes.
fn file(tensors: &[(&str, &str, [usize; 2], Vec<u8>)]) -> Shard {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            format!("engram.{name}"),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = serde_json::Value::from(header).to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend(data);
    Shard::from_bytes("engram.safetensors", bytes).expect("a file that holds together")
}

fn load(file: &Shard, resident: Option<u64>) -> Result<Table> {
    let at = Tensors::new(file, [32, 32]).at("engram");
    Table::load(&at, &addresses(), 1, HEAD_DIM, resident)
}

/// Codes and scales that are all finite.
fn packed(rows: usize) -> [Vec<u8>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let codes = (0..rows * HEAD_DIM).map(|_| rng.random_range(0..0x7f) | rng.random::<u8>() & 0x80);
    let codes = codes.collect();
    [
        codes,
        (0..rows * HEAD_DIM / 32)
            .map(|_| rng.random_range(100..140))
            .collect(),
    ]
}

#[test]
fn a_row_has_a_scale_for_32_columns() {
    let rows = addresses().rows(1) as usize;
    let [codes, scales] = packed(rows);
    let file = file(&[
        (
            "embed.scale",
            "F8_E8M0",
            [rows, HEAD_DIM / 32],
            scales.clone(),
        ),
        ("embed.weight", "F8_E4M3", [rows, HEAD_DIM], codes.clone()),
    ]);
    let slots = [0, 3, 3, rows as u64 - 1, 17, 0, 99, 98];
    // None, no room, room for two rows, room for all.
    for resident in [None, Some(0), Some(2 * (66 + 80)), Some(1 << 20)] {
        let table = load(&file, resident).expect("a table");
        for _ in 0..2 {
            table.prefetch(&slots);
            let got = table.read(&slots);
            assert_eq!(got.shape(), [2, 4 * HEAD_DIM]);
            for (place, (slot, row)) in slots.iter().zip(got.data().chunks(HEAD_DIM)).enumerate() {
                for (column, got) in row.iter().enumerate() {
                    let at = *slot as usize * HEAD_DIM + column;
                    let want = fp8::decode(codes[at]) * e8m0::decode(scales[at / 32]);
                    assert_eq!(*got, want, "{resident:?}: row {place}, column {column}");
                }
            }
        }
    }
}

#[test]
fn rows_of_floats_are_read_as_they_are() {
    let rows = addresses().rows(1) as usize;
    let values: Vec<f32> = (0..rows * HEAD_DIM).map(|at| at as f32 / 128.0).collect();
    let bf16 = values.iter().map(|x| (x.to_bits() >> 16) as u16);
    let rounded: Vec<f32> = bf16
        .clone()
        .map(|bits| f32::from_bits(u32::from(bits) << 16))
        .collect();
    let bf16: Vec<u8> = bf16.flat_map(u16::to_le_bytes).collect();
    let f32s: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    for (dtype, bytes, want) in [("BF16", bf16, rounded), ("F32", f32s, values.clone())] {
        let file = file(&[("embed.weight", dtype, [rows, HEAD_DIM], bytes)]);
        for resident in [None, Some(1000)] {
            let table = load(&file, resident).expect("a table");
            let got = table.read(&[5, 0, 5, 100]);
            let row = |row: usize| &want[row * HEAD_DIM..][..HEAD_DIM];
            assert_eq!(
                got.data(),
                [row(5), row(0), row(5), row(100)].concat(),
                "{dtype}"
            );
        }
    }
}

#[test]
fn a_table_of_other_rows_or_without_its_scales_is_refused() {
    let rows = addresses().rows(1) as usize;
    let [codes, scales] = packed(rows);
    let weight = |rows: usize| {
        (
            "embed.weight",
            "F8_E4M3",
            [rows, HEAD_DIM],
            codes[..rows * HEAD_DIM].to_vec(),
        )
    };
    let short = load(&file(&[weight(rows - 1)]), None).expect_err("a row too few");
    assert_eq!(
        short.to_string(),
        format!(
            "tensor engram.embed.weight: shape [{}, 64] in the file, [{rows}, 64] by the config",
            rows - 1
        )
    );
    let bare = load(&file(&[weight(rows)]), None).expect_err("no scales");
    assert!(
        matches!(&bare, Error::Missing { name } if name == "engram.embed.scale"),
        "{bare}"
    );
    // Scales as other FP8 matrices have them: one for a tile of 32 rows.
    let tiles = rows.div_ceil(32);
    let scales = scales[..tiles * 2].to_vec();
    let tiled = file(&[("embed.scale", "F8_E8M0", [tiles, 2], scales), weight(rows)]);
    let tiled = load(&tiled, None).expect_err("scales of tiles");
    assert_eq!(
        tiled.to_string(),
        format!(
            "tensor engram.embed.scale: shape [{tiles}, 2] in the file, [{rows}, 2] by the config"
        )
    );
}
