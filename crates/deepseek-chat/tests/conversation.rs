//! A long conversation: of each prompt only what is new is run, and the answers are those of a fresh run.

mod carried;

use backend_host::Host;
use carried::carried;
use deepseek_chat::{Completion, LoadOptions, MediaLoader, Session, TurnOptions};
use deepseek_engine::SavedPlace;
use deepseek_model::Prefill;
use deepseek_model::saved::Binding;
use deepseek_text::{Conversation, Message, Mode, Options, Part};

const TURNS: usize = 200;

/// Turns after which an answer is held against the one of a fresh run.
const COMPARED: usize = 8;

/// What is asked, in turn.
const QUESTIONS: [&str; 4] = [
    "What is 12 + 30?",
    "The lamp holds 96. What does the lamp hold?",
    "Hello",
    "What is 7 + 8?",
];

fn session(prefill: Prefill) -> Session {
    let load = LoadOptions {
        context: Some(16_384),
        drafts: 2,
        prefill,
        ..LoadOptions::default()
    };
    carried().load(Host::new(2), load).unwrap()
}

fn ask(session: &Session, conversation: &Conversation, mode: Mode, keep: bool) -> Completion {
    let options = session.options();
    let prompt = Options {
        mode,
        ..options.prompt
    };
    let answer = TurnOptions {
        max_tokens: Some(24),
        keep,
        ..options.answer.clone()
    };
    let load = |part: &Part| session.loader().load(part);
    let media = MediaLoader::load_all(conversation, load).unwrap();
    let turn = session.turn(conversation, &prompt, answer, media).unwrap();
    turn.wait().unwrap()
}

/// What the user says in a turn: every fortieth shows an image, or plays audio.
fn said(turn: usize) -> Message {
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/samples");
    match turn % 40 {
        10 => Message::user(vec![
            Part::Image(format!("{samples}/picture.png")),
            Part::Text("What is in the picture?".to_owned()),
        ]),
        30 => Message::user(vec![
            Part::Audio(format!("{samples}/sound.wav")),
            Part::Text("What is said?".to_owned()),
        ]),
        _ => Message::user(QUESTIONS[turn % QUESTIONS.len()]),
    }
}

/// Talks, thinking in the turns that `thinks` says.
fn talk(prefill: Prefill, thinks: impl Fn(usize) -> bool) {
    let (kept, fresh) = (session(prefill), session(prefill));
    let mut conversation = Conversation::default();
    let (mut before, mut answers_kept): (Option<(Mode, Completion)>, _) = (None, 0);
    for turn in 0..TURNS {
        let now = if thinks(turn) {
            Mode::Thinking
        } else {
            Mode::Chat
        };
        conversation.messages.push(said(turn));
        let got = ask(&kept, &conversation, now, true);
        if let Some((mode, last)) = &before {
            let [prompt, cached] = [got.usage.prompt, got.usage.cached];
            // The encoding changes what ends a prompt where reasoning is dropped, and no more.
            let last_prompt = last.usage.prompt;
            let answered = last_prompt + last.usage.generated - 1;
            let want = match mode {
                // The encoding of another mode begins otherwise.
                _ if *mode != now => [0, 0],
                Mode::Thinking => [last_prompt - 1, last_prompt - 1],
                Mode::Chat => [last_prompt - 1, answered],
            };
            assert!(
                want.contains(&cached),
                "turn {turn}: {cached} of {prompt} cached, not one of {want:?}"
            );
            answers_kept += usize::from(*mode == Mode::Chat && cached == answered);
        }
        if turn % COMPARED == 0 || turn % 40 == 10 || turn % 40 == 30 {
            let want = ask(&fresh, &conversation, now, false);
            assert_eq!(want.usage.cached, 0);
            assert_eq!(got.answer, want.answer, "turn {turn}");
            assert_eq!(got.usage.generated, want.usage.generated, "turn {turn}");
        }
        let message = Message::assistant(got.answer.clone());
        conversation.messages.push(message);
        before = Some((now, got));
    }
    // An answer that was cut, or that the tokenizer cuts in other pieces, is run again.
    let chats = (0..TURNS - 1).filter(|turn| !thinks(*turn)).count();
    assert!(answers_kept * 10 >= chats * 6, "{answers_kept} of {chats}");
}

#[test]
fn a_conversation_without_reasoning_runs_what_is_new() {
    talk(Prefill::Replay, |_| false);
}

#[test]
fn a_conversation_whose_reasoning_is_dropped_runs_the_last_answer_again() {
    talk(Prefill::Replay, |_| true);
}

#[test]
fn a_conversation_may_think_at_times() {
    talk(Prefill::Full, |turn| turn / 20 % 2 == 0);
}

/// What a session has of an answer, as another process would have it.
fn carried_over(session: &Session, said: &Completion) -> SavedPlace {
    let binding = Binding::default().with("weights", carried().digest().unwrap());
    let mut bytes = Vec::new();
    let saved = session.save(said.request).unwrap();
    saved.write(&mut bytes, &binding).unwrap();
    let count = bytes.len() as u64;
    SavedPlace::read(&mut &bytes[..], count, &binding).unwrap()
}

#[test]
fn a_conversation_goes_on_in_another_session_from_its_cache() {
    for mode in [Mode::Chat, Mode::Thinking] {
        let mut conversation = Conversation::default();
        let fresh = session(Prefill::Replay);
        let mut before: Option<(SavedPlace, u32)> = None;
        // With an image, audio, and words alone.
        for turn in [10, 0, 30, 1] {
            conversation.messages.push(said(turn));
            let next = session(Prefill::Replay);
            let last_prompt = before.take().map_or(1, |(saved, prompt)| {
                next.load(saved).unwrap();
                prompt
            });
            let got = ask(&next, &conversation, mode, true);
            let cached = got.usage.cached;
            assert!(cached + 1 >= last_prompt, "turn {turn}: {cached}");
            let want = ask(&fresh, &conversation, mode, false);
            assert_eq!(got.answer, want.answer, "turn {turn}");
            before = Some((carried_over(&next, &got), got.usage.prompt));
            let message = Message::assistant(got.answer);
            conversation.messages.push(message);
        }
    }
}
