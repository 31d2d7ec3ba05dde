//! A turn: typed pieces, nothing that is not certain, and one end.

mod senses;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use deepseek_chat::limits::{STOP_STRING_BYTES_MAX, STOP_STRINGS_MAX};
use deepseek_chat::{Delta, MediaItem, Turn, TurnError, TurnOptions};
use deepseek_engine::toy::{Toy, ToyDecoder, ToyFault};
use deepseek_engine::{Engine, Fault, Limits, Reason, Refusal, Sampling, Usage};
use deepseek_model::{Capacity, Decoder, DraftAsk, Logits, SeqId, Step, TokenId};
use deepseek_text::{
    Answer, Brief, Call, Conversation, Edition, Error, Flaw, Json, Message, Mode, Options, Part,
    Tokenizer, Tool, marker,
};
use futures_core::Stream;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

const CALLS: &str = "\n\n<｜DSML｜tool_calls>\n<｜DSML｜invoke name=\"look_up\">\n\
    <｜DSML｜parameter name=\"word\" string=\"true\">STOP 素</｜DSML｜parameter>\n\
    </｜DSML｜invoke>\n<｜DSML｜invoke name=\"now\">\n\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>";

fn tokenizer() -> Tokenizer {
    Tokenizer::parse(Tokenizer::tiny_json(300).unwrap().as_bytes()).unwrap()
}

/// What the model says: a text with markers, then its end.
fn script(text: &str) -> Vec<TokenId> {
    tokenizer()
        .encode_trusted(&format!("{text}{}", marker::EOS))
        .unwrap()
}

fn toy(script: Vec<TokenId>) -> Toy {
    let capacity = Capacity {
        vocabulary: 300,
        context: 4096,
        ..Toy::default().capacity
    };
    Toy {
        capacity,
        script,
        ..Toy::default()
    }
}

fn spawn(toy: Toy) -> Engine {
    Engine::spawn(Box::new(ToyDecoder::new(toy)), Limits::default())
}

fn options(stops: &[&str]) -> TurnOptions {
    TurnOptions {
        sampling: Sampling::greedy(),
        stops: stops.iter().map(ToString::to_string).collect(),
        ..TurnOptions::default()
    }
}

fn start(engine: &Engine, mode: Mode, options: TurnOptions) -> Result<Turn, TurnError> {
    let prompt = Options {
        mode,
        ..Options::default()
    };
    Turn::start(engine, &tokenizer(), &question(), &prompt, options)
}

/// A question to a model that may call tools.
fn question() -> Conversation {
    let brief = Brief {
        tools: vec![Tool(Json::object([("name", Json::from("look_up"))]))],
        ..Brief::default()
    };
    Conversation {
        messages: vec![Message::System(brief), Message::user("What?")],
    }
}

/// The pieces of a turn put together.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    thinking: String,
    text: String,
    calls: Vec<(String, String, String)>,
    flaws: Vec<Flaw>,
    reason: Option<Reason>,
    usage: Usage,
}

fn hear(turn: Turn) -> (Heard, Option<TurnError>) {
    let mut heard = Heard::default();
    for delta in turn {
        assert_eq!(heard.reason, None, "a delta after the end");
        match delta {
            Ok(Delta::Thinking(text)) => heard.thinking.push_str(&text),
            Ok(Delta::Text(text)) => heard.text.push_str(&text),
            Ok(Delta::ToolCall {
                id,
                name,
                arguments,
            }) => heard.calls.push((id, name, arguments)),
            Ok(Delta::Flaw(flaw)) => heard.flaws.push(flaw),
            Ok(Delta::Finished { reason, usage }) => {
                (heard.reason, heard.usage) = (Some(reason), usage);
            }
            Ok(_) => {}
            Err(error) => return (heard, Some(error)),
        }
    }
    (heard, None)
}

/// What is heard when the model says `said` in thinking mode.
fn heard(said: &str, options: TurnOptions) -> Heard {
    let engine = spawn(toy(script(said)));
    let (heard, error) = hear(start(&engine, Mode::Thinking, options).unwrap());
    assert!(error.is_none(), "{error:?}");
    heard
}

fn call(id: &str, name: &str, arguments: &str) -> (String, String, String) {
    (id.to_owned(), name.to_owned(), arguments.to_owned())
}

#[test]
fn an_answer_comes_as_thinking_text_and_calls() {
    let heard = heard(&format!("Größe 🙂?</think>Wait 素.{CALLS}"), options(&[]));
    assert_eq!((&*heard.thinking, &*heard.text), ("Größe 🙂?", "Wait 素."));
    let calls = [
        call("call_0", "look_up", r#"{"word": "STOP 素"}"#),
        call("call_1", "now", "{}"),
    ];
    assert_eq!(heard.calls, calls);
    assert_eq!(heard.reason, Some(Reason::Stop));
}

#[test]
fn every_piece_is_whole_characters_and_no_markers() {
    let engine = spawn(toy(script("a素🙂</think>é🙂b")));
    let pieces: Vec<Delta> = start(&engine, Mode::Thinking, options(&[]))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for piece in &pieces {
        if let Delta::Thinking(text) | Delta::Text(text) = piece {
            assert!(!text.is_empty() && !text.contains([char::REPLACEMENT_CHARACTER, '<']));
        }
    }
    assert!(pieces.contains(&Delta::Text("🙂".to_owned())), "{pieces:?}");
}

#[test]
fn chat_mode_begins_with_text() {
    let engine = spawn(toy(script("Done.")));
    let (heard, _) = hear(start(&engine, Mode::Chat, options(&[])).unwrap());
    assert_eq!((&*heard.thinking, &*heard.text), ("", "Done."));
}

#[test]
fn a_stop_string_ends_visible_text_and_nothing_else() {
    let stopped = heard("A STOP?</think>one STOP two", options(&["STOP"]));
    assert_eq!((&*stopped.thinking, &*stopped.text), ("A STOP?", "one "));
    assert_eq!(stopped.reason, Some(Reason::StopString));
    let called = heard(&format!("</think>So.{CALLS}"), options(&["STOP", "素"]));
    assert_eq!((&*called.text, called.calls.len()), ("So.", 2));
    let nearly = heard("</think>one STO", options(&["STOP"]));
    assert_eq!(nearly.text, "one STO");
}

#[test]
fn what_might_have_become_a_stop_string_comes_before_the_call_that_follows_it() {
    let engine = spawn(toy(script(&format!("one STO{CALLS}"))));
    let pieces = start(&engine, Mode::Chat, options(&["STOP"]))
        .unwrap()
        .map(Result::unwrap);
    let before: String = pieces
        .take_while(|piece| !matches!(piece, Delta::ToolCall { .. }))
        .filter_map(|piece| match piece {
            Delta::Text(text) => Some(text),
            _ => None,
        })
        .collect();
    assert_eq!(before, "one STO");
}

#[test]
fn a_stop_string_is_found_across_any_boundary_of_tokens() {
    let tokenizer = tokenizer();
    let text = "ab素cd END ef";
    let (end, _) = text.split_once("END").unwrap();
    // Cut the bytes into two encodings at every character, so that tokens meet there.
    for (cut, _) in text.char_indices() {
        let (head, tail) = text.split_at(cut);
        let mut ids = tokenizer
            .encode_trusted(&format!("</think>{head}"))
            .unwrap();
        ids.extend(script(tail));
        let engine = spawn(toy(ids));
        let turn = start(&engine, Mode::Thinking, options(&["END"])).unwrap();
        assert_eq!(hear(turn).0.text, end, "cut at {cut}");
    }
}

#[test]
fn what_is_counted_at_a_stop_string_does_not_depend_on_who_is_faster() {
    let count = script("</think>one STOP").len() - 1;
    for _ in 0..20 {
        let heard = heard("</think>one STOP two three four five", options(&["STOP"]));
        assert_eq!(heard.usage.generated as usize, count);
        assert!(heard.usage.prompt > 0);
    }
}

#[test]
fn another_end_ends_the_answer_and_is_not_heard() {
    let [end] = tokenizer().encode("!").unwrap()[..] else {
        panic!("one byte is one id")
    };
    let said = script("Hm!</think>One, two! Three.");
    let options = |ends| TurnOptions {
        ends,
        ..options(&[])
    };
    for drafts in [0, 4] {
        let answer = |ends| {
            let options = TurnOptions {
                drafts,
                ..options(ends)
            };
            let engine = spawn(toy(said.clone()));
            hear(start(&engine, Mode::Thinking, options).unwrap()).0
        };
        let whole = answer(vec![tokenizer().eos()]);
        assert_eq!(
            (&*whole.thinking, &*whole.text),
            ("Hm!", "One, two! Three.")
        );
        let cut = answer(vec![tokenizer().eos(), end]);
        assert_eq!((&*cut.thinking, &*cut.text), ("Hm", ""));
        assert_eq!(cut.reason, Some(Reason::Stop));
        assert_eq!(cut.usage.generated, 3);
    }
    let engine = spawn(toy(said.clone()));
    let plain = Turn::complete(&engine, &tokenizer(), vec![5], options(vec![end])).unwrap();
    assert_eq!(hear(plain).0.text, "Hm");
}

#[test]
fn the_same_is_heard_with_drafts() {
    let said = format!("Hm.</think>One, two, STOP.{CALLS}");
    for stops in [&["STOP"][..], &[]] {
        let plain = heard(&said, options(stops));
        let fast = heard(
            &said,
            TurnOptions {
                drafts: 4,
                ..options(stops)
            },
        );
        let usage = Usage::default();
        assert_eq!(Heard { usage, ..fast }, Heard { usage, ..plain });
    }
}

#[test]
fn an_answer_cut_short_gives_all_that_it_has() {
    let said = "</think>one 🙂 two";
    let whole = script(said).len();
    for max in 1..whole {
        let short = heard(
            said,
            TurnOptions {
                max_tokens: Some(max as u32),
                ..options(&["o t"])
            },
        );
        let text = short.text.trim_end_matches(char::REPLACEMENT_CHARACTER);
        assert!("one 🙂 two".starts_with(text), "{text:?}");
        assert_eq!(short.reason, Some(Reason::Length));
        assert_eq!(short.usage.generated as usize, max);
    }
}

#[test]
fn a_call_cut_short_is_no_call() {
    let said = format!("</think>So.{CALLS}");
    let (before, _) = said.split_once("素").unwrap();
    let max_tokens = Some(script(before).len() as u32 - 1);
    let heard = heard(
        &said,
        TurnOptions {
            max_tokens,
            ..options(&[])
        },
    );
    assert_eq!(heard.reason, Some(Reason::Length));
    assert_eq!(heard.calls, []);
    assert_eq!(format!("</think>{}", heard.text), before);
    assert_eq!(heard.flaws, [Flaw::HalfCall]);
}

#[test]
fn reasoning_without_an_end_is_told() {
    let heard = heard("The answer is 42.", options(&[]));
    assert_eq!((&*heard.thinking, &*heard.text), ("The answer is 42.", ""));
    assert_eq!(
        (heard.reason, heard.flaws),
        (Some(Reason::Stop), vec![Flaw::OpenReasoning])
    );
}

#[test]
fn without_tools_a_block_of_calls_is_text() {
    let said = format!("So.{CALLS}");
    let engine = spawn(toy(script(&said)));
    let prompt = Options {
        mode: Mode::Chat,
        ..Options::default()
    };
    let conversation = Conversation::ask("What?");
    let turn = Turn::start(&engine, &tokenizer(), &conversation, &prompt, options(&[])).unwrap();
    let (heard, _) = hear(turn);
    assert_eq!((heard.text, heard.calls.len()), (said, 0));
}

#[test]
fn what_leaves_nothing_to_answer_is_refused() {
    let engine = spawn(toy(script("So.")));
    let refused = |messages| {
        let conversation = Conversation { messages };
        let prompt = Options::default();
        Turn::start(&engine, &tokenizer(), &conversation, &prompt, options(&[])).unwrap_err()
    };
    let error = refused(Vec::new());
    assert!(matches!(error, TurnError::Text(Error::Silent)), "{error}");
    let answered = vec![Message::user("q"), Message::assistant(Answer::default())];
    let error = refused(answered);
    let want = matches!(error, TurnError::Text(Error::Answered { message: 1 }));
    assert!(want, "{error}");
    let odd = Part::Other("smell".to_owned());
    let error = refused(vec![Message::tool(
        "x",
        vec![Part::Text("a".to_owned()), odd],
    )]);
    let want = matches!(&error, TurnError::Text(Error::Part { message: 0, part: 1, kind }) if kind == "smell");
    assert!(want, "{error}");
}

#[test]
fn calls_have_names_that_are_new_in_the_conversation() {
    let engine = spawn(toy(script(&format!("</think>{CALLS}"))));
    let named = |id: &str| Call {
        id: Some(id.to_owned()),
        ..Call::default()
    };
    let mut conversation = question();
    conversation.messages.extend([
        Message::assistant(Answer {
            calls: vec![named("call_0"), named("x")],
            ..Answer::default()
        }),
        Message::tool("call_2", "ok"),
    ]);
    let prompt = Options::default();
    let turn = Turn::start(&engine, &tokenizer(), &conversation, &prompt, options(&[])).unwrap();
    let (heard, _) = hear(turn);
    let ids: Vec<&str> = heard.calls.iter().map(|(id, ..)| &**id).collect();
    assert_eq!(ids, ["call_1", "call_3"]);
}

#[test]
fn a_completion_is_text_and_its_markers_are_spelled_out() {
    let engine = spawn(toy(script("x</think>y 🙂 STOP z")));
    let prompt = tokenizer().encode("Once").unwrap();
    for (stops, want, reason) in [
        (&[][..], "x</think>y 🙂 STOP z", Reason::Stop),
        (&["STOP"], "x</think>y 🙂 ", Reason::StopString),
    ] {
        let turn = Turn::complete(&engine, &tokenizer(), prompt.clone(), options(stops)).unwrap();
        let (heard, error) = hear(turn);
        assert_eq!((&*heard.text, heard.reason), (want, Some(reason)));
        assert!(heard.thinking.is_empty() && error.is_none());
        assert_eq!(heard.usage.prompt as usize, prompt.len());
    }
}

#[test]
fn a_cancelled_turn_ends_and_says_so() {
    let capacity = Capacity {
        sequences: 1,
        ..toy(Vec::new()).capacity
    };
    let decoder = ToyDecoder::new(Toy {
        capacity,
        ..toy(script(&"on and ".repeat(200)))
    });
    let limits = Limits {
        unread_max: 1,
        ..Limits::default()
    };
    let engine = Engine::spawn(Box::new(decoder), limits);
    let mut turn = start(&engine, Mode::Chat, options(&[])).unwrap();
    turn.find(|delta| matches!(delta, Ok(Delta::Text(_))))
        .unwrap()
        .unwrap();
    turn.canceller().cancel();
    assert_eq!(hear(turn).0.reason, Some(Reason::Cancelled));
    let dropped = start(&engine, Mode::Chat, options(&[])).unwrap();
    drop(dropped);
    engine.close(Duration::MAX).unwrap();
}

/// A reader that waits by being woken, as an executor does: with no runtime, and with nothing that
/// looks again by itself.
#[test]
fn a_turn_is_a_stream_that_wakes_its_reader() {
    struct Unpark(thread::Thread, AtomicUsize);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::AcqRel);
            self.0.unpark();
        }
    }

    let said = format!("Hm.</think>One 素, two STOP.{CALLS}");
    for stops in [&[][..], &["STOP"]] {
        let engine = spawn(toy(script(&said)));
        let want: Vec<String> = start(&engine, Mode::Thinking, options(stops))
            .unwrap()
            .filter_map(|delta| spoken(&delta.unwrap()))
            .collect();
        let mut turn = start(&engine, Mode::Thinking, options(stops)).unwrap();
        let wakes = Arc::new(Unpark(thread::current(), AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        let (mut heard, mut waits) = (Vec::new(), 0);
        loop {
            match Pin::new(&mut turn).poll_next(&mut context) {
                Poll::Ready(Some(delta)) => heard.extend(spoken(&delta.unwrap())),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    waits += 1;
                    while wakes.1.load(Ordering::Acquire) < waits {
                        thread::park();
                    }
                }
            }
        }
        assert_eq!(heard, want);
    }
}

/// A piece as text, if it is one of the answer: how much of the prompt is told at a time depends on
/// who is faster.
fn spoken(delta: &Delta) -> Option<String> {
    match delta {
        Delta::Prefill { .. } => None,
        Delta::Finished { reason, usage } => Some(format!("{reason:?} {}", usage.generated)),
        delta => Some(format!("{delta:?}")),
    }
}

/// A decoder whose steps wait until they are let go on.
#[derive(Debug)]
struct Held {
    toy: ToyDecoder,
    steps: Receiver<()>,
}

impl Decoder for Held {
    fn capacity(&self) -> Capacity {
        self.toy.capacity()
    }

    fn step(&mut self, step: &Step) -> deepseek_model::Result<Logits> {
        // Whoever lets go on has gone: so does this.
        let _ = self.steps.recv();
        self.toy.step(step)
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> deepseek_model::Result<Vec<Vec<TokenId>>> {
        self.toy.draft(asks)
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        self.toy.rewind(seq, position);
    }

    fn forget(&mut self, seq: SeqId) {
        self.toy.forget(seq);
    }
}

/// What was certain before a stop string is given at once, though the engine is still in its step; the
/// end follows when it says what the answer took.
#[test]
fn a_stop_string_does_not_keep_a_reader_waiting_inside_a_call() {
    let ids = script("one STOP two three four");
    let capacity = Capacity {
        step_tokens: 64,
        ..toy(Vec::new()).capacity
    };
    let (go, steps) = sync_channel(100);
    let decoder = Held {
        toy: ToyDecoder::new(Toy {
            capacity,
            ..toy(ids)
        }),
        steps,
    };
    let engine = Engine::spawn(Box::new(decoder), Limits::default());
    let prompt = tokenizer().encode("x").unwrap();
    let mut turn = Turn::complete(&engine, &tokenizer(), prompt, options(&["STOP"])).unwrap();
    // The step of the prompt draws the first of the ids, and each of the others takes one more.
    let before = script("one STOP").len() - 1;
    for _ in 0..before {
        go.send(()).unwrap();
    }
    let mut context = Context::from_waker(Waker::noop());
    let mut text = String::new();
    while text != "one " {
        match Pin::new(&mut turn).poll_next(&mut context) {
            Poll::Ready(Some(Ok(Delta::Text(piece)))) => text.push_str(&piece),
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(other) => panic!("{other:?}"),
            Poll::Pending => thread::yield_now(),
        }
    }
    // The engine is in a step that nobody lets end: this returns all the same.
    let waits = Pin::new(&mut turn).poll_next(&mut context).is_pending();
    drop(go);
    assert!(waits);
    let Some(Ok(Delta::Finished { reason, usage })) = turn.next() else {
        panic!("no end");
    };
    assert_eq!(
        (reason, usage.generated as usize),
        (Reason::StopString, before)
    );
    assert!(turn.next().is_none());
}

#[test]
fn faults_and_refusals_are_errors_with_their_kind() {
    let faults = BTreeMap::from([(20, ToyFault::Error)]);
    let engine = spawn(Toy {
        faults,
        ..toy(script("</think>one two three four five"))
    });
    let conversation = Conversation::ask("What?");
    let prompt = Options::default();
    let turn = Turn::start(&engine, &tokenizer(), &conversation, &prompt, options(&[])).unwrap();
    let (heard, error) = hear(turn);
    assert!(!heard.text.is_empty() && "one two three four five".starts_with(&heard.text));
    assert!(
        matches!(error, Some(TurnError::Fault(Fault::Decoder(_)))),
        "{error:?}"
    );

    let long = "x".repeat(STOP_STRING_BYTES_MAX);
    assert!(start(&engine, Mode::Chat, options(&[&long])).is_ok());
    for stops in [
        vec![""],
        vec![&*format!("{long}x")],
        vec!["x"; STOP_STRINGS_MAX + 1],
    ] {
        let error = start(&engine, Mode::Chat, options(&stops)).unwrap_err();
        assert!(
            matches!(error, TurnError::Refusal(Refusal::Invalid(_))),
            "{error}"
        );
    }
}

#[test]
fn an_id_that_the_tokenizer_lacks_is_never_drawn() {
    let capacity = Capacity {
        vocabulary: 303,
        ..toy(Vec::new()).capacity
    };
    for sampling in [Sampling::greedy(), Sampling::default()] {
        for drafts in [0, 3] {
            let engine = spawn(Toy {
                capacity,
                ..toy(vec![300, 302, 301])
            });
            let options = TurnOptions {
                max_tokens: Some(9),
                sampling,
                drafts,
                ..options(&[])
            };
            let (_, error) = hear(start(&engine, Mode::Chat, options).unwrap());
            assert!(error.is_none(), "{error:?}");
        }
    }
}

#[test]
fn media_stand_where_the_conversation_names_them() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let capacity = Capacity {
        vision: Some(senses::VISION),
        audio: Some(senses::AUDIO),
        ..toy(Vec::new()).capacity
    };
    let json = Tokenizer::tiny_v41_json(300).unwrap();
    let tokenizer = Tokenizer::parse(json.as_bytes()).unwrap();
    let said = format!("Two.{}", marker::EOS);
    let engine = spawn(Toy {
        capacity,
        ..toy(tokenizer.encode_trusted(&said).unwrap())
    });
    let conversation = Conversation::ask(vec![
        Part::Image("b.png".to_owned()),
        Part::Text("and".to_owned()),
        Part::Audio("c.wav".to_owned()),
        Part::Image("b.png".to_owned()),
    ]);
    let prompt = Options {
        mode: Mode::Chat,
        edition: Edition::V41,
        ..Options::default()
    };
    let ask = |media| {
        let options = TurnOptions {
            media,
            ..options(&[])
        };
        Turn::start(&engine, &tokenizer, &conversation, &prompt, options)
    };
    let image = MediaItem::image(senses::canvas(rng));
    let audio = MediaItem::audio(senses::audio(rng, 20_000));
    let plain = deepseek_text::encode(&tokenizer, &conversation, &prompt).unwrap();
    let rows = image.sources()[0].rows(0).unwrap();
    let times = tokenizer.encode("<00:00><00:01>").unwrap().len();
    let media = vec![image.clone(), audio.clone(), image.clone()];
    let (heard, error) = hear(ask(media).unwrap());
    assert!(error.is_none(), "{error:?}");
    assert_eq!(heard.text, "Two.");
    // A second has 25 tokens, the quarter behind it 6.25.
    let heard_tokens = 27 + 9;
    let Usage {
        prompt,
        image_tokens,
        audio_tokens,
        ..
    } = heard.usage;
    assert_eq!(
        [prompt, image_tokens, audio_tokens],
        [
            plain.ids.len() - 3 + 2 * rows + times + heard_tokens,
            2 * rows,
            heard_tokens
        ]
        .map(|x| x as u32)
    );

    let error = ask(vec![image, audio]).unwrap_err();
    assert!(
        matches!(error, TurnError::Media { found: 2, want: 3 }),
        "{error}"
    );
}
