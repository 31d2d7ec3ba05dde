//! The compressed ids of the released vocabulary and of a tiny one.

use std::fmt::Write;

use deepseek_text::{Error, Tokenizer};
use serde_json::Value;
use sha2::{Digest, Sha256};

const RELEASED: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");

/// A vocabulary with every step of the folding, and its table as another implementation has it.
const TINY: &[u8] = include_bytes!("../../../tests/fixtures/engram/tokenizer.json");
const GOLDEN: &[u8] = include_bytes!("../../../tests/fixtures/engram/golden.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("text takes text");
        hex
    })
}

/// The figures of `docs/models/deepseek-v41.md` §3.7.
#[test]
fn the_released_vocabulary_has_the_table_that_the_model_was_trained_with() {
    let tokenizer = Tokenizer::parse(RELEASED).expect("the released tokenizer loads");
    let ids = tokenizer.engram_ids().expect("every text is normalised");
    assert_eq!(ids.len(), 129_280);
    for (id, want) in [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 3),
        (19_923, 15_844),
        (33_310, 15_844),
        (44_388, 15_844),
        (2058, 1751),
        (201, 174),
        (223, 174),
        (271, 174),
        (128_799, 98_611),
        (128_803, 98_615),
        (128_804, 98_616),
        (128_821, 98_633),
        (129_264, 99_076),
        (129_279, 99_091),
    ] {
        assert_eq!(ids[id], want, "token {id}");
    }
    // Two letters that differ by a spacing mark (Mc) alone: were non-spacing marks (Mn) the only ones to
    // go, they would be two.
    let spelled = |id| tokenizer.decode(&[id]).expect("an id of the vocabulary");
    assert_eq!(
        [spelled(4384), spelled(1442)],
        ["\u{9be}\u{9b0}", "\u{9b0}"]
    );
    assert_eq!(ids[4384], ids[1442]);
    assert_eq!(ids.iter().max(), Some(&99_091));
    let table: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(
        hex(&Sha256::digest(table)),
        "c60a86322ec17b4142bfef3c57a8d81fb428550cdf487f88a4320cb59fe46481"
    );
}

#[test]
fn a_vocabulary_with_other_markers_has_a_table_too() {
    let refused = Tokenizer::parse(TINY).expect_err("its markers are others");
    assert!(matches!(refused, Error::MissingMarker { .. }), "{refused}");
    let golden: Value = serde_json::from_slice(GOLDEN).expect("JSON");
    let ids = Tokenizer::engram_ids_of(TINY).expect("every text is normalised");
    assert_eq!(serde_json::json!(ids), golden["compressed_ids"]);
}

#[test]
fn both_ways_to_the_table_lead_to_the_same() {
    let json = Tokenizer::tiny_json(1200).expect("a possible size");
    let tokenizer = Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads");
    let ids = tokenizer.engram_ids().expect("every text is normalised");
    assert_eq!(
        ids,
        Tokenizer::engram_ids_of(json.as_bytes()).expect("the same file")
    );
    let id = |text: &str| {
        let ids = tokenizer.encode(text).expect("text encodes");
        let [id] = ids[..] else {
            panic!("{text:?} is one token")
        };
        id as usize
    };
    assert_eq!(ids[id("A")], ids[id("a")]);
    assert_eq!(ids[id("\t")], ids[id(" ")]);
    assert_ne!(ids[id("a")], ids[id("b")]);
    assert_ne!(ids[id(" ")], ids[id("a")]);
}
