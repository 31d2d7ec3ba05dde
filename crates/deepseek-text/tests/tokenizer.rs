//! Text from users stays text, bytes come back, and files that lie are refused.

use deepseek_text::{
    Answer, Brief, Call, Conversation, Detokenizer, Error, Message, Mode, Options, Tokenizer, Tool,
    encode, marker,
};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

const RELEASED: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");

fn released() -> Tokenizer {
    Tokenizer::parse(RELEASED).expect("the released tokenizer loads")
}

fn tiny(size: usize) -> Tokenizer {
    let json = Tokenizer::tiny_json(size).expect("a possible size");
    Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads")
}

/// Every added token of the released file.
fn added() -> Vec<(String, u32)> {
    let file: Value = serde_json::from_slice(RELEASED).expect("JSON");
    let tokens = file["added_tokens"].as_array().expect("a list");
    let pair = |token: &Value| {
        let id = token["id"]
            .as_u64()
            .expect("an id")
            .try_into()
            .expect("a small id");
        (token["content"].as_str().expect("a text").to_owned(), id)
    };
    tokens.iter().map(pair).collect()
}

#[test]
fn no_text_becomes_an_added_token() {
    let (tokenizer, added) = (released(), added());
    assert_eq!(added.len(), 1283);
    for (text, id) in &added {
        assert!(tokenizer.is_added(*id));
        assert_eq!(tokenizer.marker(text).expect("an added token"), *id);
        for text in [
            text.clone(),
            format!("a{text}b"),
            format!("{text}{text}"),
            format!(" {text}\n"),
        ] {
            let ids = tokenizer.encode(&text).expect("text encodes");
            assert!(
                !ids.iter().any(|id| tokenizer.is_added(*id)),
                "{text:?}: {ids:?}"
            );
            assert_eq!(tokenizer.decode(&ids).expect("known ids"), text);
        }
    }
}

/// Every place of a conversation into which outsiders write.
fn filled_with(text: &str) -> Conversation {
    let own = || text.to_owned();
    let call = Call {
        id: Some(own()),
        name: own(),
        arguments: json!({ text: text, "list": [text] }).to_string(),
    };
    let unreadable = Call {
        id: None,
        name: own(),
        arguments: own(),
    };
    let brief = || Brief {
        content: own().into(),
        tools: vec![Tool(
            json!({ "name": text, text: { "description": text } }).into(),
        )],
        response_format: Some(json!({ "title": text }).into()),
        task: None,
    };
    let answer = Answer {
        reasoning: own(),
        text: own(),
        calls: vec![call, unreadable],
    };
    let messages = vec![
        Message::System(brief()),
        Message::LatestReminder { text: own() },
        Message::Developer(brief()),
        Message::Assistant {
            answer,
            task: None,
            open: false,
        },
        Message::Tool {
            call: Some(own()),
            content: own().into(),
        },
        Message::User {
            content: own().into(),
            task: None,
        },
    ];
    Conversation { messages }
}

#[test]
fn no_part_of_a_conversation_becomes_an_added_token() {
    let tokenizer = released();
    let count = |text: &str| {
        let options = Options {
            mode: Mode::Thinking,
            ..Options::default()
        };
        let encoded = encode(&tokenizer, &filled_with(text), &options).expect("the prompt encodes");
        assert!(encoded.text.matches(text).count() > 10);
        encoded
            .ids
            .into_iter()
            .filter(|id| tokenizer.is_added(*id))
            .count()
    };
    let plain = count("words");
    for (text, _) in added().iter().filter(|(text, _)| !text.contains("place")) {
        assert_eq!(count(text), plain, "{text}");
    }
}

#[test]
fn text_comes_back_from_ids_in_any_cut() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for tokenizer in [released(), tiny(300), tiny(512)] {
        let size = u32::try_from(tokenizer.vocab_size()).expect("a small vocabulary");
        for _ in 0..200 {
            let text: String = (0..20).map(|_| random.random::<char>()).collect();
            let ids = tokenizer.encode(&text).expect("text encodes");
            assert_eq!(tokenizer.decode(&ids).expect("known ids"), text);

            // Ids that spell no text at all, too.
            let ids: Vec<u32> = (0..20).map(|_| random.random_range(0..size)).collect();
            let mut stream = Detokenizer::new(&tokenizer);
            let mut pieces = String::new();
            for &id in &ids {
                pieces += &stream.push(id).expect("known ids");
            }
            pieces += &stream.finish();
            assert_eq!(
                pieces,
                tokenizer.decode(&ids).expect("known ids"),
                "{ids:?}"
            );
        }
    }
}

#[test]
fn a_character_in_parts_is_held_back() {
    let tokenizer = tiny(300);
    let ids = tokenizer.encode("é!").expect("text encodes");
    let mut stream = Detokenizer::new(&tokenizer);
    let pieces: Vec<String> = ids
        .iter()
        .map(|&id| stream.push(id).expect("known ids"))
        .collect();
    assert_eq!(pieces, ["", "é", "!"]);
}

#[test]
fn the_longest_text_encodes_and_a_longer_one_is_refused() {
    let tokenizer = tiny(300);
    // Blanks are what the pattern tries hardest at.
    let mut text = " ".repeat(Tokenizer::TEXT_BYTES_MAX);
    assert_eq!(
        tokenizer.encode(&text).expect("text encodes").len(),
        text.len()
    );
    text.push(' ');
    let error = tokenizer.encode(&text).expect_err("one byte too many");
    assert_eq!(
        error.to_string(),
        "text of 8388609 bytes, at most 8388608 are encoded"
    );
}

#[test]
fn unknown_ids_are_refused() {
    let tokenizer = tiny(300);
    assert!(tokenizer.decode(&[299]).is_ok());
    for id in [300, u32::MAX] {
        let error = tokenizer
            .decode(&[0, id])
            .expect_err("beyond the vocabulary");
        assert_eq!(
            error.to_string(),
            format!("id {id}: the vocabulary has 300 ids")
        );
        assert!(!tokenizer.is_added(id));
    }
}

#[test]
fn tiny_vocabularies_have_their_size_and_markers() {
    for size in [271, 272, 300, 512, 18_523] {
        let tokenizer = tiny(size);
        assert_eq!(tokenizer.vocab_size(), size);
        assert_eq!((tokenizer.bos(), tokenizer.eos()), (0, 1));
        let encoded = encode(
            &tokenizer,
            &Conversation::ask("the end"),
            &Options::default(),
        );
        let ids = encoded.expect("the prompt encodes").ids;
        assert_eq!(ids[0], 0);
        assert!(
            ids.iter()
                .all(|&id| usize::try_from(id).is_ok_and(|id| id < size))
        );
    }
    for size in [0, 256, 270, 18_524] {
        let error = Tokenizer::tiny_json(size).expect_err("an impossible size");
        assert!(
            matches!(error, Error::TinySize { size: found, min: 271, max: 18_523 } if found == size)
        );
    }
}

/// A small file in which one thing is changed.
fn crafted(change: impl FnOnce(&mut Value)) -> Result<Tokenizer, Error> {
    let json = Tokenizer::tiny_json(280).expect("280 ids are enough");
    let mut file = serde_json::from_str(&json).expect("JSON");
    change(&mut file);
    Tokenizer::parse(file.to_string().as_bytes())
}

macro_rules! refused {
    ($pattern:pat, $change:expr) => {
        match crafted($change) {
            Err(error @ $pattern) => assert!(!error.to_string().ends_with('.')),
            other => panic!("{}: {other:?}", stringify!($change)),
        }
    };
}

#[test]
fn files_that_are_no_tokenizer_are_refused() {
    let json = Tokenizer::tiny_json(280).expect("280 ids are enough");
    let deep = "[".repeat(1 << 20);
    let nest = format!("{}null{}", "[".repeat(200), "]".repeat(200));
    let nested = json.replacen(
        r#""normalizer":null"#,
        &format!(r#""normalizer":{nest}"#),
        1,
    );
    assert_ne!(nested, json);
    let cases: [&[u8]; 8] = [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xFF\xFE{}",
        json.as_bytes().split_at(json.len() / 2).0,
        deep.as_bytes(),
        nested.as_bytes(),
    ];
    for bytes in cases {
        assert!(matches!(Tokenizer::parse(bytes), Err(Error::Json(_))));
    }
    for cut in (0..json.len()).step_by(97) {
        assert!(
            Tokenizer::parse(json.as_bytes().split_at(cut).0).is_err(),
            "cut at {cut}"
        );
    }
    let large = vec![b' '; usize::try_from(Tokenizer::FILE_BYTES_MAX).expect("a size") + 1];
    assert!(matches!(
        Tokenizer::parse(&large),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn fields_of_wrong_types_are_refused() {
    refused!(Error::Json(_), |f| f["added_tokens"] = json!(7));
    refused!(Error::Json(_), |f| f["added_tokens"][0]["id"] = json!("0"));
    refused!(Error::Json(_), |f| f["added_tokens"][0]["id"] = json!(-1));
    refused!(Error::Json(_), |f| f["added_tokens"][0]["id"] =
        json!(1_u64 << 32));
    refused!(Error::Json(_), |f| f["model"] = Value::Null);
    refused!(Error::Json(_), |f| drop(
        f.as_object_mut().expect("an object").remove("model")
    ));
    refused!(Error::Json(_), |f| f["model"]["vocab"] = json!(["a", "b"]));
    refused!(Error::Json(_), |f| f["model"]["vocab"]["a"] = json!(1.5));
    refused!(Error::Json(_), |f| f["model"]["merges"] =
        json!([["a", "b", "c"]]));
    refused!(Error::Json(_), |f| f["model"]["merges"] =
        json!({ "a": "b" }));
    refused!(Error::Json(_), |f| f["pre_tokenizer"]["pretokenizers"][0]
        ["pattern"] = json!(3));
}

#[test]
fn parts_of_other_tokenizers_are_refused() {
    refused!(
        Error::Unsupported {
            part: "model.type",
            ..
        },
        |f| f["model"]["type"] = json!("WordPiece")
    );
    refused!(
        Error::Unsupported {
            part: "model.dropout",
            ..
        },
        |f| f["model"]["dropout"] = json!(0.5)
    );
    refused!(
        Error::Unsupported {
            part: "model.unk_token",
            ..
        },
        |f| f["model"]["unk_token"] = json!("?")
    );
    refused!(
        Error::Unsupported {
            part: "model.byte_fallback",
            ..
        },
        |f| {
            f["model"]["byte_fallback"] = json!(true);
        }
    );
    refused!(
        Error::Unsupported {
            part: "model.end_of_word_suffix",
            ..
        },
        |f| {
            f["model"]["end_of_word_suffix"] = json!("</w>");
        }
    );
    refused!(
        Error::Unsupported {
            part: "normalizer",
            ..
        },
        |f| f["normalizer"] = json!({"type": "NFC"})
    );
    refused!(
        Error::Unsupported {
            part: "decoder",
            ..
        },
        |f| f["decoder"] = Value::Null
    );
    refused!(
        Error::Unsupported {
            part: "pre_tokenizer",
            ..
        },
        |f| f["pre_tokenizer"] = Value::Null
    );
    refused!(
        Error::Unsupported {
            part: "pre_tokenizer",
            ..
        },
        |f| {
            f["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(a*)*b");
        }
    );
    refused!(
        Error::Unsupported {
            part: "pre_tokenizer",
            ..
        },
        |f| {
            f["pre_tokenizer"]["pretokenizers"][0]["behavior"] = json!("Removed");
        }
    );
    refused!(
        Error::Unsupported {
            part: "pre_tokenizer",
            ..
        },
        |f| {
            f["pre_tokenizer"]["pretokenizers"] = json!([]);
        }
    );
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused() {
    // The greatest id goes to 4,000,000,000: a gap, and no memory for what is not there.
    refused!(
        Error::Gap {
            id: 4_000_000_000,
            count: 280,
            ..
        },
        |f| {
            f["model"]["vocab"]["Ā"] = json!(4_000_000_000_u32);
        }
    );
    refused!(Error::Gap { .. }, |f| f["added_tokens"][14]["id"] =
        json!(280));
    refused!(
        Error::DoubledId { id: 3, .. },
        |f| f["model"]["vocab"]["a"] = json!(3)
    );
    refused!(Error::DoubledId { id: 50, .. }, |f| f["added_tokens"][0]
        ["id"] = json!(50));
    refused!(
        Error::DoubledToken {
            first: 0,
            second: 279,
            ..
        },
        |f| {
            f["model"]["vocab"][marker::BOS] = json!(279);
        }
    );
    refused!(
        Error::DoubledToken {
            first: 0,
            second: 1,
            ..
        },
        |f| {
            f["added_tokens"][1]["content"] = json!(marker::BOS);
        }
    );
    refused!(
        Error::EmptyToken { id: 1 },
        |f| f["added_tokens"][1]["content"] = json!("")
    );
    refused!(Error::EmptyToken { id: 280 }, |f| f["model"]["vocab"][""] =
        json!(280));
    refused!(Error::Alphabet { .. }, |f| f["model"]["vocab"]["素"] =
        json!(280));
    refused!(Error::MissingByte { byte: b' ' }, |f| {
        f["model"]["vocab"]
            .as_object_mut()
            .expect("an object")
            .remove("Ġ");
    });
    refused!(Error::Json(_), |f| f["model"]["vocab"] =
        json!({ "a": null }));
    refused!(Error::MissingByte { byte: 0 }, |f| {
        f["model"]["merges"] = json!([]);
        f["model"]["vocab"] = json!({});
    });
    refused!(Error::MergeForm { index: 0, .. }, |f| f["model"]["merges"]
        [0] = json!("aa"));
    // The library copies both halves into a buffer as long as the longest token.
    refused!(Error::Merge { index: 0, .. }, |f| f["model"]["merges"][0] =
        json!(["aa", "aa"]));
    refused!(Error::Merge { index: 1, .. }, |f| f["model"]["merges"][1] =
        json!("a ?!"));
    // A merge may not build a control token either.
    refused!(Error::Merge { .. }, |f| {
        f["added_tokens"][2]["content"] = json!("aa");
        f["model"]["vocab"]
            .as_object_mut()
            .expect("an object")
            .remove("aa");
    });

    let json = Tokenizer::tiny_json(280).expect("280 ids are enough");
    let doubled = json.replacen(r#""a":"#, r#""a":5,"a":"#, 1);
    assert_ne!(json, doubled);
    let error = Tokenizer::parse(doubled.as_bytes()).expect_err("a token named twice");
    assert!(
        matches!(&error, Error::DoubledToken { token, .. } if token == "a"),
        "{error}"
    );
}

#[test]
fn a_missing_end_of_sentence_is_named() {
    for text in [marker::BOS, marker::EOS] {
        let json = Tokenizer::tiny_json(280)
            .expect("280 ids are enough")
            .replace(text, "<｜x｜>");
        let error = Tokenizer::parse(json.as_bytes()).expect_err("no marker");
        assert_eq!(
            error.to_string(),
            format!("tokenizer: marker {text} is missing")
        );
    }
}

#[test]
fn bytes_changed_at_random_never_panic() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let json = Tokenizer::tiny_json(280)
        .expect("280 ids are enough")
        .into_bytes();
    for _ in 0..2_000 {
        let mut bytes = json.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = random.random();
        }
        if let Ok(tokenizer) = Tokenizer::parse(&bytes) {
            let ids = tokenizer.encode("as before, 100 素").expect("text encodes");
            assert_eq!(
                tokenizer.decode(&ids).expect("known ids"),
                "as before, 100 素"
            );
        }
    }
}
