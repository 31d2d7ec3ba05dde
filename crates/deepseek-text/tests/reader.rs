//! A completion gives the same pieces in any cut.

use std::sync::LazyLock;

use deepseek_text::{
    Answer, Call, Delta, Error, Flaw, Mode, Reader, Stage, Start, Tokenizer, marker,
};
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const RELEASED: &[u8] = include_bytes!("../../../tests/fixtures/text/tokenizer.json");

const CALLS: &str = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"look_up\">\n\
    <｜DSML｜parameter name=\"schlüssel\" string=\"true\">a<b & \"c\"\\ </think> 素🙂</｜DSML｜parameter>\n\
    <｜DSML｜parameter name=\"limit\" string=\"false\">[1, 2]</｜DSML｜parameter>\n</｜DSML｜invoke>\n\
    <｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

fn tokenizer() -> Tokenizer {
    static TINY: LazyLock<Tokenizer> = LazyLock::new(|| {
        let json = Tokenizer::tiny_json(300).expect("300 ids are enough");
        Tokenizer::parse(json.as_bytes()).expect("the tiny tokenizer loads")
    });
    TINY.clone()
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
        // Half a block is text until it is whole.
        let text = part.text.split("\n<").next().unwrap_or_default();
        let text = text.trim_end_matches(['\n', '<']);
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
    let open = "｜DSML｜tool_calls><｜DSML｜invoke name=\"f\"></｜DSML｜invoke".as_bytes();
    assert_eq!(push(open), []);
    let (name, arguments) = ("f".to_owned(), "{}".to_owned());
    let call = Delta::Call {
        index: 0,
        name,
        arguments,
    };
    assert_eq!(push(b">"), [call]);
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

/// A block of these calls, each as it is written.
fn block(calls: &[&str]) -> String {
    format!(
        "\n\n<｜DSML｜tool_calls>\n{}\n</｜DSML｜tool_calls>",
        calls.join("\n")
    )
}

/// A call of `f` with these parameters, each as it is written.
fn written(parameters: &[&str]) -> String {
    let parameters = parameters.join("\n");
    format!("<｜DSML｜invoke name=\"f\">\n{parameters}\n</｜DSML｜invoke>")
}

fn parameter(name: &str, string: &str, value: &str) -> String {
    format!("<｜DSML｜parameter name=\"{name}\" string=\"{string}\">{value}</｜DSML｜parameter>")
}

/// What is read of a completion: the answer, and what is not as it should be.
fn flawed(completion: &str, start: impl Into<Start>) -> (Answer, Vec<Flaw>) {
    let mut reader = Reader::new(&tokenizer(), start, Vec::new());
    let mut deltas = reader
        .push_bytes(completion.as_bytes())
        .expect("text parses");
    deltas.extend(reader.finish().expect("text parses"));
    let flaws = deltas.iter().filter_map(|delta| match delta {
        Delta::Flaw(flaw) => Some(*flaw),
        _ => None,
    });
    (collect(&deltas), flaws.collect())
}

#[track_caller]
fn check(completion: &str, want: &Answer, flaws: &[Flaw]) {
    let read = flawed(completion, Mode::Chat);
    assert_eq!((&read.0, read.1.as_slice()), (want, flaws), "{completion}");
    let bytes = completion.as_bytes();
    for cut in 0..=bytes.len() {
        let (head, tail) = bytes.split_at(cut);
        let read = read_bytes(Stage::Answer, [head, tail]);
        assert_eq!(read, *want, "{completion} cut at {cut}");
    }
    let ids = tokenizer()
        .encode_trusted(completion)
        .expect("text encodes");
    assert_eq!(collect(&read_ids(&tokenizer(), Stage::Answer, &ids)), *want);
}

#[test]
fn values_are_what_the_model_wrote_and_always_json() {
    for (string, value, want) in [
        (
            "false",
            "12345678901234567890123",
            "12345678901234567890123",
        ),
        ("false", "1.10", "1.10"),
        ("false", " -0\n", "-0"),
        ("false", "1e400", "1e400"),
        ("false", r#"{"b":1.0, "a":[ ]}"#, r#"{"b":1.0, "a":[ ]}"#),
        (
            "true",
            "12345678901234567890123",
            "\"12345678901234567890123\"",
        ),
        (
            "true",
            "a\tb \u{7f}\u{1}\"\\\n",
            "\"a\\tb \u{7f}\\u0001\\\"\\\\\\n\"",
        ),
        ("false", "Paris", "\"Paris\""),
        ("false", "NaN", "\"NaN\""),
        ("false", "[1, 2", "\"[1, 2\""),
        ("false", "1, \"c\": 2", "\"1, \\\"c\\\": 2\""),
        ("false", "\"\\ud800\"", "\"\\\"\\\\ud800\\\"\""),
        ("false", "", "\"\""),
        ("true", "a < b ｜DSML｜ </b", "\"a < b ｜DSML｜ </b\""),
    ] {
        let completion = block(&[&written(&[&parameter("a", string, value)])]);
        let arguments = format!("{{\"a\": {want}}}");
        check(&completion, &answer("", "", &[("f", &arguments)]), &[]);
    }
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    let (read, _) = flawed(
        &block(&[&written(&[&parameter("a", "false", &deep)])]),
        Mode::Chat,
    );
    assert_eq!(read.calls[0].arguments, format!("{{\"a\": \"{deep}\"}}"));
}

#[test]
fn names_are_escaped_and_kept_whole() {
    for (name, key) in [
        ("city name", "\"city name\""),
        ("a\"b", r#""a\"b""#),
        ("a>b", "\"a>b\""),
        ("a\\\n", r#""a\\\n""#),
        ("", "\"\""),
        ("素", "\"素\""),
    ] {
        let completion = block(&[&written(&[&parameter(name, "true", "x")])]);
        let arguments = format!("{{{key}: \"x\"}}");
        check(&completion, &answer("", "", &[("f", &arguments)]), &[]);
    }
    // Each is kept, as the release does.
    let twice = [parameter("a", "true", "1"), parameter("a", "false", "2")];
    let completion = block(&[&written(&[&twice[0], &twice[1]])]);
    check(
        &completion,
        &answer("", "", &[("f", r#"{"a": "1", "a": 2}"#)]),
        &[],
    );
}

#[test]
fn tags_may_have_blanks_and_their_attributes_any_order() {
    let calls = [
        "<｜DSML｜invoke name=\"f\" >\n<｜DSML｜parameter string=\"true\" name=\"a\">1</｜DSML｜parameter>\n</｜DSML｜invoke>",
        "    <｜DSML｜ invoke\n name = \"f\">\t<｜DSML｜ parameter  name=\"a\"  string =\"true\" >1</｜DSML｜ parameter ></｜DSML｜ invoke >",
    ];
    for call in calls {
        for (open, close) in [
            ("tool_calls>", "tool_calls>"),
            (" calls>", " calls>"),
            ("calls >", "tool_calls >"),
            (" tool_calls\n>", "calls>"),
        ] {
            let completion = format!("Hi\n\n<｜DSML｜{open}\n{call}\n</｜DSML｜{close}");
            check(
                &completion,
                &answer("", "Hi", &[("f", r#"{"a": "1"}"#)]),
                &[],
            );
        }
    }
}

#[test]
fn a_call_that_cannot_be_read_is_the_text_that_it_is() {
    let good = written(&[&parameter("a", "true", "1")]);
    let inner = parameter("b", "true", "2");
    for bad in [
        "<｜DSML｜invoke name='f'>\n</｜DSML｜invoke>".to_owned(),
        "<｜DSML｜invoke>\n</｜DSML｜invoke>".to_owned(),
        "<｜DSML｜invoke name=\"\">\n</｜DSML｜invoke>".to_owned(),
        "<｜DSML｜invoke name=\"f\" id=\"1\">\n</｜DSML｜invoke>".to_owned(),
        written(&["<｜DSML｜parameter name=\"a\">1</｜DSML｜parameter>"]),
        written(&["<｜DSML｜parameter string=\"true\">1</｜DSML｜parameter>"]),
        written(&[&parameter("a", "maybe", "1")]),
        written(&["<｜DSML｜parameter name='a' string='true'>1</｜DSML｜parameter>"]),
        written(&["<｜DSML｜parameter name=\"a\" string=\"true\">1"]),
        written(&[
            "<｜DSML｜parameter name=\"a\" string=\"true\">1</｜DSML｜invoke",
            &inner,
        ]),
        written(&["<｜DSML｜parameter name=\"a\" string=\"true\">1", &inner]),
        written(&[&inner, "and words"]),
        written(&["<｜DSML｜argument name=\"a\" string=\"true\">1</｜DSML｜argument>"]),
        written(&[&written(&[&inner])])
            .replace("</｜DSML｜invoke>\n</｜DSML｜invoke>", "</｜DSML｜invoke>"),
    ] {
        // Alone, the block with its tags is shown; beside a call, what is no call.
        let alone = format!("So.{}", block(&[&bad]));
        check(&alone, &answer("", &alone, &[]), &[Flaw::BadCall]);
        let first = format!("So.{}", block(&[&bad, &good]));
        let shown = first.split(&good).next().expect("it is there").trim_end();
        check(
            &first,
            &answer("", shown, &[("f", r#"{"a": "1"}"#)]),
            &[Flaw::BadCall],
        );
        let last = block(&[&good, &bad]);
        let want = answer("", &format!("\n{bad}"), &[("f", r#"{"a": "1"}"#)]);
        check(&last, &want, &[Flaw::BadCall]);
    }
}

#[test]
fn a_marker_among_words_is_a_word() {
    let eos = marker::EOS;
    for text in [
        "The marker <｜DSML｜ is used by the model. It opens blocks.",
        "Write <｜DSML｜tool_calls> first.",
        "Write <｜DSML｜tool_calls>\n<｜DSML｜ and so on",
        "｜DSML｜tool_calls> </｜DSML｜tool_calls>",
        "<｜DSML｜tool_calls>\n</｜DSML｜tool_calls>",
        "<｜DSML｜tool_calls>\n<｜DSML｜parameter name=\"a\" string=\"true\">1</｜DSML｜parameter>\n\n</｜DSML｜tool_calls>",
        "<｜DSML｜toolcalls>\n\n<",
        "<<｜DSML｜｜DSML｜calls>",
    ] {
        check(&format!("{text}{eos}"), &answer("", text, &[]), &[]);
        // Reasoning goes on behind it, up to its end.
        let (read, flaws) = flawed(&format!("{text}</think>Done."), Mode::Thinking);
        let reasoning = text.trim_end_matches('\n');
        assert_eq!((read, flaws), (answer(reasoning, "Done.", &[]), vec![]));
    }
    let whole = block(&[&written(&[&parameter("a", "true", "1")])]);
    let start = Start {
        stage: Stage::Answer,
        calls: false,
    };
    let text = format!("No tools.{whole}");
    assert_eq!(flawed(&text, start), (answer("", &text, &[]), vec![]));
}

#[test]
fn half_a_call_is_text_wherever_it_is_cut() {
    let call = written(&[
        &parameter("a", "true", "long"),
        &parameter("b", "false", "[1]"),
    ]);
    let completion = format!("Text.{}", block(&[&call, &call]));
    let whole = r#"{"a": "long", "b": [1]}"#;
    let tokenizer = tokenizer();
    let ids = tokenizer.encode_trusted(&completion).expect("text encodes");
    let cuts = (0..=completion.len()).filter(|&cut| completion.is_char_boundary(cut));
    let cuts = cuts.map(|cut| completion.as_bytes().split_at(cut).0.to_vec());
    let by_ids = (0..ids.len()).map(|cut| {
        tokenizer
            .decode(&ids[..cut])
            .expect("known ids")
            .into_bytes()
    });
    for head in cuts.chain(by_ids) {
        let text = String::from_utf8_lossy(&head).into_owned();
        let (read, flaws) = flawed(&text, Mode::Chat);
        assert!(
            read.calls.iter().all(|call| call.arguments == whole),
            "{text}"
        );
        let ended = text.matches("</｜DSML｜invoke>").count();
        assert_eq!(read.calls.len(), ended, "{text}");
        let begun = text.matches("<｜DSML｜invoke name=\"f\">").count();
        if begun > ended {
            assert_eq!(flaws, [Flaw::HalfCall], "{text}");
            let rest = text
                .rsplit_once("</｜DSML｜invoke>")
                .map_or(&*text, |(_, rest)| rest);
            assert!(read.text.ends_with(rest), "{read:?} of {text}");
        }
        if ended == 0 {
            assert_eq!(read.text, text);
        }
    }
}

#[test]
fn all_blocks_are_read_and_words_behind_them_are_told() {
    let one = block(&[&written(&[&parameter("a", "true", "1")])]);
    let two = one.replace(">1<", ">2<");
    let calls = [("f", r#"{"a": "1"}"#), ("f", r#"{"a": "2"}"#)];
    check(&format!("{one}{two}"), &answer("", "", &calls), &[]);
    let between = format!("So.{one}\nand{two}\n");
    check(&between, &answer("", "So.", &calls), &[Flaw::Trailing]);
    check(
        &format!("{one}\nafter"),
        &answer("", "", &calls[..1]),
        &[Flaw::Trailing],
    );
    // Words within a block are no call and not behind one.
    let within = block(&[
        &written(&[&parameter("a", "true", "1")]),
        "stray",
        &written(&[]),
    ]);
    let calls = [calls[0], ("f", "{}")];
    check(&within, &answer("", "\nstray\n", &calls), &[]);
}

#[test]
fn reasoning_without_an_end_is_told() {
    let (read, flaws) = flawed("The answer is 42.", Mode::Thinking);
    assert_eq!(
        (read, flaws),
        (
            answer("The answer is 42.", "", &[]),
            vec![Flaw::OpenReasoning]
        )
    );
    let (_, flaws) = flawed("Hm.</think>", Mode::Thinking);
    assert_eq!(flaws, []);
    let called = format!("Now.{CALLS}");
    assert_eq!(flawed(&called, Mode::Thinking).1, []);
    let cut = called.split_once(" & ").expect("within an argument").0;
    let (read, flaws) = flawed(cut, Mode::Thinking);
    assert_eq!(
        (&*read.reasoning, read.calls.len(), flaws),
        (cut, 0, vec![Flaw::HalfCall])
    );
}

#[test]
fn a_block_that_the_prompt_began_is_one_if_calls_follow() {
    let call = written(&[&parameter("a", "true", "1")]);
    let (read, flaws) = flawed(&format!("{call}\n</｜DSML｜tool_calls>"), Stage::Calls);
    assert_eq!(
        (read, flaws),
        (answer("", "", &[("f", r#"{"a": "1"}"#)]), vec![])
    );
    let (read, flaws) = flawed("I will not.", Stage::Calls);
    assert_eq!((read, flaws), (answer("", "I will not.", &[]), vec![]));
}

/// Whatever is written, what goes out as arguments is a JSON object, nothing of a call is lost, and
/// neither depends on where the text is cut.
#[test]
#[allow(
    clippy::print_stdout,
    reason = "the harness shows it where the test fails"
)]
fn calls_in_any_disorder_are_json_or_the_text_that_they_are() {
    let seed = 71;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let shards = [
        "\n\n<｜DSML｜tool_calls>\n",
        "<｜DSML｜invoke name=\"f\">",
        "<｜DSML｜ invoke name=\"g\" >",
        "<｜DSML｜parameter name=\"a\" string=\"true\">",
        "<｜DSML｜parameter string=\"false\" name=\"b c\">",
        "<｜DSML｜parameter name=\"a\"b\" string=\"false\">",
        "</｜DSML｜parameter>",
        "</｜DSML｜invoke>",
        "</｜DSML｜tool_calls>",
        "</｜DSML｜ calls>",
        "</think>",
        "1.10",
        "NaN",
        "[1, {\"a\": null}]",
        "\"",
        "\\",
        "\u{1}",
        "素",
        "<",
        "</",
        ">",
        "\n",
        "word",
        "｜DSML｜",
    ];
    for round in 0..2_000 {
        let count = random.random_range(1..24);
        let mut completion = shards[0].repeat(usize::from(round % 4 != 0));
        // In order for the most part, so that calls come about.
        let mut next = 1;
        for _ in 0..count {
            let is_next = random.random_range(0..4) > 0;
            next = if is_next {
                next + 1
            } else {
                random.random_range(0..shards.len())
            };
            completion.push_str(shards[next % shards.len()]);
        }
        let start = [Stage::Reasoning, Stage::Answer, Stage::Calls][round % 3];
        let whole = flawed(&completion, start);
        for call in &whole.0.calls {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&call.arguments)
                    .unwrap_or_else(|error| panic!("seed {seed}, {completion:?}: {error}"));
            assert!(object.len() <= completion.matches("parameter").count());
        }
        let bytes = completion.as_bytes();
        assert_eq!(
            read_bytes(start, bytes.chunks(1)),
            whole.0,
            "{completion:?}"
        );
        let (head, tail) = bytes.split_at(random.random_range(0..=bytes.len()));
        assert_eq!(read_bytes(start, [head, tail]), whole.0, "{completion:?}");
        // What was begun as a call is a call, or stands in the text.
        let begun = completion.matches("invoke name=").count();
        let shown = format!("{}{}", whole.0.reasoning, whole.0.text);
        let told = shown.matches("invoke name=").count()
            + whole
                .0
                .calls
                .iter()
                .map(|call| 1 + call.arguments.matches("invoke name=").count())
                .sum::<usize>();
        assert!(
            told >= begun || whole.1.contains(&Flaw::Trailing),
            "seed {seed}, {completion:?}: {whole:?}"
        );
    }
}
