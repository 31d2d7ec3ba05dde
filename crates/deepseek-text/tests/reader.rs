//! A completion gives the same pieces in any cut.

use deepseek_text::{Answer, Call, Delta, Error, Mode, Reader, Stage, Tokenizer, marker, parse};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const RELEASED: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");

const CALLS: &str = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"look_up\">\n\
    <｜DSML｜parameter name=\"schlüssel\" string=\"true\">a<b & \"c\"\\ </think> 素🙂</｜DSML｜parameter>\n\
    <｜DSML｜parameter name=\"limit\" string=\"false\">[1, 2]</｜DSML｜parameter>\n</｜DSML｜invoke>\n\
    <｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

fn tokenizer() -> Tokenizer {
    let json = Tokenizer::tiny_json(300).expect("300 ids are enough");
    Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads")
}

fn answer(reasoning: &str, text: &str, calls: &[(&str, &str)]) -> Answer {
    let call = |&(name, arguments): &(&str, &str)| Call {
        id: None,
        name: name.to_owned(),
        arguments: arguments.to_owned(),
    };
    let calls = calls.iter().map(call).collect();
    Answer {
        reasoning: reasoning.to_owned(),
        text: text.to_owned(),
        calls,
    }
}

fn called() -> [(&'static str, &'static str); 2] {
    let arguments = r#"{"schlüssel": "a<b & \"c\"\\ </think> 素🙂", "limit": [1, 2]}"#;
    [("look_up", arguments), ("now", "{}")]
}

/// Completions with what they mean.
fn cases() -> Vec<(Stage, String, Answer)> {
    let eos = marker::EOS;
    vec![
        (
            Stage::Reasoning,
            format!("Because.</think>Done.{eos}"),
            answer("Because.", "Done.", &[]),
        ),
        (
            Stage::Answer,
            format!("Done.{eos}"),
            answer("", "Done.", &[]),
        ),
        (
            Stage::Answer,
            format!("1 < 2\n\n<b>\n{eos}"),
            answer("", "1 < 2\n\n<b>\n", &[]),
        ),
        (
            Stage::Reasoning,
            format!("Größe…\n</think>Wait 🙂.{CALLS}{eos}"),
            answer("Größe…", "Wait 🙂.", &called()),
        ),
        // The opener of the block ends the reasoning.
        (
            Stage::Reasoning,
            format!("Now.{CALLS}{eos}"),
            answer("Now.", "", &called()),
        ),
        (
            Stage::Answer,
            format!("{CALLS}{eos} and then"),
            answer("", "", &called()),
        ),
        // Reasoning that never ends, with and without an end of sentence.
        (
            Stage::Reasoning,
            format!("On and on <{eos}"),
            answer("On and on <", "", &[]),
        ),
        (
            Stage::Reasoning,
            "On and on </thin".to_owned(),
            answer("On and on </thin", "", &[]),
        ),
        (
            Stage::Continuation,
            format!("\n\nand so{eos}"),
            answer("", "\n\nand so", &[]),
        ),
        // A beginning of the end marker that comes to nothing.
        (
            Stage::Answer,
            "a<｜end▁of▁".to_owned(),
            answer("", "a<｜end▁of▁", &[]),
        ),
        (Stage::Answer, String::new(), answer("", "", &[])),
    ]
}

fn collect(deltas: &[Delta]) -> Answer {
    let mut answer = Answer::default();
    deltas.iter().for_each(|delta| answer.push(delta));
    let ends = deltas
        .iter()
        .filter(|delta| matches!(delta, Delta::Finished { .. }))
        .count();
    assert_eq!(ends, 1, "{deltas:?}");
    assert!(
        matches!(deltas.last(), Some(Delta::Finished { .. })),
        "{deltas:?}"
    );
    answer
}

fn read_bytes<'a>(start: Stage, pieces: impl IntoIterator<Item = &'a [u8]>) -> Answer {
    let mut reader = Reader::new(&tokenizer(), start, Vec::new());
    let mut deltas = Vec::new();
    for piece in pieces {
        deltas.extend(reader.push_bytes(piece).expect("text parses"));
    }
    deltas.extend(reader.finish().expect("text parses"));
    collect(&deltas)
}

fn read_ids(tokenizer: &Tokenizer, start: Stage, ids: &[u32]) -> Vec<Delta> {
    let mut reader = Reader::new(tokenizer, start, Vec::new());
    let mut deltas = Vec::new();
    for &id in ids {
        deltas.extend(reader.push(id).expect("known ids"));
    }
    deltas.extend(reader.finish().expect("text parses"));
    assert!(reader.is_finished());
    deltas
}

#[test]
fn completions_cut_at_every_byte_mean_the_same() {
    for (start, completion, want) in cases() {
        let bytes = completion.as_bytes();
        assert_eq!(read_bytes(start, [bytes]), want, "{completion}");
        assert_eq!(
            read_bytes(start, bytes.chunks(1)),
            want,
            "{completion} in bytes"
        );
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(
                read_bytes(start, [head, tail]),
                want,
                "{completion} cut at {cut}"
            );
        }
    }
}

#[test]
fn completions_in_ids_mean_what_their_text_means() {
    let released = Tokenizer::parse(RELEASED).expect("the released tokenizer loads");
    for tokenizer in [released, tokenizer()] {
        for (start, completion, want) in cases() {
            // As a token it would be a marker in an argument, too; the model writes it in letters.
            let letters = " </think> ";
            let (head, tail) = completion.split_once(letters).unwrap_or((&completion, ""));
            let mut ids = tokenizer.encode_trusted(head).expect("text encodes");
            if head.len() < completion.len() {
                ids.extend(tokenizer.encode(letters).expect("text encodes"));
                ids.extend(tokenizer.encode_trusted(tail).expect("text encodes"));
            }
            assert_eq!(
                collect(&read_ids(&tokenizer, start, &ids)),
                want,
                "{completion}"
            );
        }
    }
}

#[test]
fn what_is_given_is_certain_at_every_id() {
    let tokenizer = tokenizer();
    let completion = format!(
        "Größe\n\n</think>1 < 2{}{}",
        CALLS.replace("</think>", ""),
        marker::EOS
    );
    let ids = tokenizer.encode_trusted(&completion).expect("text encodes");
    let whole = collect(&read_ids(&tokenizer, Stage::Reasoning, &ids));
    for cut in 0..ids.len() {
        let part = collect(&read_ids(&tokenizer, Stage::Reasoning, &ids[..cut]));
        // A cut may end in a held beginning of a marker, a line break or a part of a character;
        // all else is a beginning of the whole.
        let reasoning = part.reasoning.trim_end_matches(['\n', '\u{FFFD}']);
        assert!(whole.reasoning.starts_with(reasoning), "{part:?} at {cut}");
        let text = part.text.trim_end_matches(['\n', '<']);
        assert!(whole.text.starts_with(text), "{part:?} at {cut}");
        for (call, want) in part.calls.iter().zip(&whole.calls) {
            assert_eq!(call.name, want.name);
        }
    }
}

#[test]
fn letters_that_spell_a_marker_are_text_among_ids() {
    let tokenizer = tokenizer();
    let spelled = format!("so </think> and <｜DSML｜tool_calls> and {}.", marker::EOS);
    let mut ids = tokenizer.encode(&spelled).expect("text encodes");
    ids.push(tokenizer.marker(marker::THINK_END).expect("a marker"));
    ids.extend(tokenizer.encode(&spelled).expect("text encodes"));
    ids.push(tokenizer.eos());
    ids.extend(tokenizer.encode("never read").expect("text encodes"));
    let read = collect(&read_ids(&tokenizer, Stage::Reasoning, &ids));
    assert_eq!(read, answer(&spelled, &spelled, &[]));
}

#[test]
fn half_markers_and_half_characters_are_held_back() {
    let tokenizer = tokenizer();
    let mut reader = Reader::new(&tokenizer, Stage::Reasoning, Vec::new());
    let mut push = |bytes: &[u8]| reader.push_bytes(bytes).expect("text parses");
    assert_eq!(push(b"ab"), [Delta::Thinking("ab".to_owned())]);
    assert_eq!(push(b"</th"), []);
    assert_eq!(push(b"ink"), []);
    assert_eq!(push(b">\xC3"), []);
    assert_eq!(push(b"\xA9"), [Delta::Text("é".to_owned())]);
    assert_eq!(push(b"<"), []);
    let open = "｜DSML｜tool_calls><｜DSML｜invoke name=\"f".as_bytes();
    assert_eq!(push(open), []);
    let name = "f".to_owned();
    assert_eq!(push(b"\">"), [Delta::Call { index: 0, name }]);
}

#[test]
fn a_stop_string_ends_the_answer_and_not_the_reasoning() {
    let tokenizer = tokenizer();
    let stops = vec!["END".to_owned(), "\n\n\n".to_owned()];
    let completion = b"no END yet</think>here EN EEND and more";
    for cut in 0..=completion.len() {
        let mut reader = Reader::new(&tokenizer, Stage::Reasoning, stops.clone());
        let (head, tail) = completion.split_at(cut);
        let mut deltas = reader.push_bytes(head).expect("text parses");
        deltas.extend(reader.push_bytes(tail).expect("text parses"));
        deltas.extend(reader.finish().expect("text parses"));
        assert_eq!(
            deltas.last(),
            Some(&Delta::Finished {
                stop: Some("END".to_owned())
            })
        );
        assert_eq!(
            collect(&deltas),
            answer("no END yet", "here EN E", &[]),
            "cut at {cut}"
        );
    }
}

#[test]
fn nothing_follows_the_end() {
    let tokenizer = tokenizer();
    let mut reader = Reader::new(&tokenizer, Stage::Answer, Vec::new());
    let end = reader.push(tokenizer.eos()).expect("a known id");
    assert_eq!(end, [Delta::Finished { stop: None }]);
    assert_eq!(reader.push(50).expect("a known id"), []);
    assert_eq!(reader.push_bytes(b"more").expect("text parses"), []);
    assert_eq!(reader.finish().expect("text parses"), []);
}

#[test]
fn unknown_ids_are_refused() {
    let mut reader = Reader::new(&tokenizer(), Stage::Answer, Vec::new());
    for id in [300, u32::MAX] {
        assert!(matches!(
            reader.push(id),
            Err(Error::UnknownId { size: 300, .. })
        ));
    }
}

#[test]
fn a_character_that_stays_a_part_is_shown_at_the_end() {
    let tokenizer = tokenizer();
    let mut ids = tokenizer.encode("aé").expect("text encodes");
    ids.pop();
    let deltas = read_ids(&tokenizer, Stage::Answer, &ids);
    assert_eq!(collect(&deltas), answer("", "a\u{FFFD}", &[]));
}

#[test]
fn a_call_that_is_cut_off_keeps_what_it_has() {
    let (completion, _) = CALLS.split_once(" & ").expect("within an argument");
    let read = parse(completion, Mode::Chat).expect("text parses");
    assert_eq!(
        read,
        answer("", "", &[("look_up", r#"{"schlüssel": "a<b"#)])
    );
}

#[test]
fn markers_in_any_disorder_never_panic_and_never_depend_on_the_cut() {
    let mut random = ChaCha8Rng::seed_from_u64(23);
    let shards = [
        "<",
        "</",
        "｜DSML｜",
        "｜",
        "<｜",
        "tool_calls>",
        " calls>",
        "invoke name=\"",
        "\"",
        ">",
        "\n",
        "parameter name=",
        " ",
        "true\">",
        "false\">",
        "</think>",
        "<think>",
        "</",
        "素",
        "é",
        "x",
        "string=",
        "\\",
        "\u{FFFD}",
        "｜D",
        "＜",
        "</think",
    ];
    for round in 0..3_000 {
        let count = random.random_range(1..30);
        let completion: String = (0..count)
            .map(|_| shards[random.random_range(0..shards.len())])
            .collect();
        let start = [Stage::Reasoning, Stage::Answer, Stage::Continuation][round % 3];
        let bytes = completion.as_bytes();
        let whole = read_bytes(start, [bytes]);
        assert_eq!(read_bytes(start, bytes.chunks(1)), whole, "{completion:?}");
        let (head, tail) = bytes.split_at(random.random_range(0..=bytes.len()));
        assert_eq!(read_bytes(start, [head, tail]), whole, "{completion:?}");
    }
}
