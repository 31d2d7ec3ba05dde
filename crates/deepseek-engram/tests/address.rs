//! Primes, factors and rows against the figures of the release and against numpy's own generator.

use deepseek_engram::{Addresses, History, TablesConfig};
use serde_json::{Value, json};

const GOLDEN: &[u8] = include_bytes!("../../../tests/fixtures/engram/golden.json");

fn released() -> Addresses {
    Addresses::new(&TablesConfig {
        layers: vec![1, 14],
        max_ngram: 4,
        heads: 8,
        head_dim: 256,
        vocab_size: 16_000_000,
        pad: 2,
        compressed_vocab: 99_092,
    })
}

/// The figures of `docs/models/deepseek-v41.md` §3.7.
#[test]
fn the_release_has_these_primes_factors_and_rows() {
    let addresses = released();
    let [first, second] = addresses.tables() else {
        panic!("two tables")
    };
    let above = |primes: &[u64]| -> Vec<u64> { primes.iter().map(|p| p - 16_000_000).collect() };
    assert_eq!(
        above(&first.primes),
        [
            57, 79, 81, 97, 121, 129, 133, 183, 189, 207, 211, 253, 277, 289, 307, 321, 339, 381,
            393, 399, 403, 409, 447, 463
        ]
    );
    assert_eq!(
        above(&second.primes),
        [
            477, 487, 499, 507, 511, 573, 609, 627, 667, 669, 693, 697, 711, 729, 759, 769, 781,
            799, 813, 819, 841, 877, 879, 889
        ]
    );
    assert_eq!(
        first.multipliers,
        [
            76_632_096_046_245,
            4_839_876_093_313,
            35_959_672_319_349,
            73_987_337_458_391
        ]
    );
    assert_eq!(
        second.multipliers,
        [
            67_716_810_739_261,
            51_510_806_800_915,
            30_921_347_202_721,
            82_619_226_485_591
        ]
    );
    assert_eq!((first.layer, first.rows), (1, 384_006_168));
    assert_eq!((second.layer, second.rows), (14, 384_016_682));
    assert_eq!(first.offsets[..3], [0, 16_000_057, 32_000_136]);
    assert_eq!(addresses.columns(), 24);
}

/// "Hello world, hello World! 你好" behind a begin of sentence, as `docs/models/deepseek-v41.md` §3.7
/// has it.
#[test]
fn the_release_reads_these_rows() {
    let addresses = released();
    let ids = [0, 15_844, 1751, 14, 15_844, 1751, 3, 174, 24_024];
    let slots = History::new(&addresses).append(&addresses, ids.map(Some));
    let read = |layer: usize, position: usize| {
        let row = &slots.layer(layer)[position * 24..][..24];
        [row[0], row[1], row[23]]
    };
    assert_eq!(read(1, 0), [5_702_652, 24_393_184, 380_066_193]);
    assert_eq!(read(1, 8), [1_363_002, 21_281_740, 376_522_043]);
    assert_eq!(read(14, 8), [15_661_596, 24_082_668, 373_976_456]);
}

/// Other shapes: shorter and longer n-grams, one head, small and large primes, a seed of two words,
/// layers out of order, images within the text.
#[test]
fn other_shapes_have_the_numbers_that_numpy_draws() {
    let golden: Value = serde_json::from_slice(GOLDEN).expect("JSON");
    let cases = golden["cases"].as_array().expect("a list");
    assert_eq!(cases.len(), 5);
    for (number, case) in cases.iter().enumerate() {
        let read = |name: &str| case[name].as_u64().expect("a number");
        let layers = case["layers"].as_array().expect("a list");
        let layers: Vec<usize> = layers
            .iter()
            .map(|l| l.as_u64().expect("a layer") as usize)
            .collect();
        let addresses = Addresses::new(&TablesConfig {
            layers: layers.clone(),
            max_ngram: read("max_ngram") as usize,
            heads: read("heads") as usize,
            head_dim: 32,
            vocab_size: read("vocab_size"),
            pad: read("pad") as u32,
            compressed_vocab: read("compressed_vocab") as u32,
        });
        let history = case["history"].as_array().expect("a list");
        let ids = history.iter().map(|id| id.as_u64().map(|id| id as u32));
        let slots = History::new(&addresses).append(&addresses, ids);
        for (index, (layer, table)) in layers.iter().zip(addresses.tables()).enumerate() {
            let at = format!("case {number}, layer {layer}");
            assert_eq!(json!(table.primes), case["primes"][index], "{at}");
            assert_eq!(json!(table.multipliers), case["multipliers"][index], "{at}");
            assert_eq!(json!(slots.layer(*layer)), case["slots"][index], "{at}");
            assert!(
                slots.layer(*layer).iter().all(|slot| *slot < table.rows),
                "{at}"
            );
        }
    }
}

#[test]
fn a_token_touches_264_bytes_for_each_row_of_the_release() {
    let mut shape = TablesConfig {
        layers: vec![1],
        max_ngram: 4,
        heads: 8,
        head_dim: 256,
        vocab_size: 97,
        pad: 0,
        compressed_vocab: 4,
    };
    assert_eq!(shape.token_bytes(), 6336);
    shape.head_dim = 33;
    assert_eq!(shape.token_bytes(), 24 * 35);
}
