//! From files and names to a session: what is refused, and in which words.

mod carried;

use std::error::Error as _;
use std::fs;

use backend_host::Host;
use carried::carried;
use deepseek_chat::{LoadOptions, MediaError, MediaLoader, MediaOptions, ModelSource, SourceError};
use deepseek_model::Config;
use deepseek_text::{Conversation, Message, Part, Video};

#[test]
fn what_is_no_folder_of_a_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = ModelSource::open(&missing).unwrap_err();
    assert!(matches!(error, SourceError::Folder { .. }) && error.names_no_model());
    assert_eq!(error.to_string(), missing.display().to_string());
    assert!(error.source().is_some(), "the system said why");

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ModelSource::open(&file).unwrap_err();
    assert!(error.names_no_model());
    let want = format!("{} is not a folder", file.display());
    assert_eq!(error.to_string(), want);

    let error = ModelSource::open(folder.path()).unwrap().describe();
    let error = error.unwrap_err();
    assert!(matches!(error, SourceError::File { .. }) && error.names_no_model());
    assert!(error.to_string().ends_with("config.json"), "{error}");

    fs::write(folder.path().join("config.json"), b"\xff").unwrap();
    let error = ModelSource::open(folder.path()).unwrap().describe();
    let error = error.unwrap_err();
    assert!(matches!(error, SourceError::NotText { .. }) && !error.names_no_model());
    fs::write(folder.path().join("config.json"), "{}").unwrap();
    let error = ModelSource::open(folder.path()).unwrap().describe();
    assert!(matches!(error, Err(SourceError::Config { .. })));
}

#[test]
fn drafts_want_a_draft_head() {
    let describe = || carried().describe().unwrap();
    assert!(describe().with_drafts(3).is_ok());
    let mut without = describe();
    without.config = without.config.without_drafts();
    let error = without.with_drafts(1).unwrap_err();
    assert_eq!(error.to_string(), "the checkpoint has no draft head");
}

#[test]
fn media_that_cannot_be_had_are_named_before_they_are_read() {
    let config = carried().config().unwrap();
    let all = MediaLoader::new(&config, MediaOptions::of(&config)).unwrap();
    let text = deepseek_assets::CONFIG.replace("\"vision_config\"", "\"vision\"");
    let text = text.replace("\"audio_config\"", "\"audio\"");
    let without = Config::parse(&text).unwrap();
    assert!(without.vision.is_none() && without.audio.is_none());
    let none = MediaLoader::new(&without, MediaOptions::of(&without)).unwrap();
    let image = Part::Image("nowhere.png".to_owned());
    let audio = Part::Audio("nowhere.wav".to_owned());
    let video = Part::Video(Video {
        source: "nowhere.avi".to_owned(),
        ..Video::default()
    });
    let refused = |loader: &MediaLoader, part: &Part| loader.load(part).unwrap_err();
    assert!(matches!(
        refused(&none, &image),
        MediaError::NoVision { .. }
    ));
    assert!(matches!(
        refused(&none, &video),
        MediaError::NoVision { .. }
    ));
    assert!(matches!(refused(&none, &audio), MediaError::NoAudio { .. }));
    assert!(matches!(refused(&all, &image), MediaError::File { .. }));
    assert!(matches!(refused(&all, &audio), MediaError::Audio { .. }));
    assert!(matches!(refused(&all, &video), MediaError::Video { .. }));
    let far = Part::Image("https://example.org/cat.png".to_owned());
    assert!(matches!(refused(&all, &far), MediaError::Address { .. }));
    let text = Part::Text("cat.png".to_owned());
    assert!(matches!(refused(&all, &text), MediaError::Text));

    let mut options = MediaOptions::of(&config);
    options.video.fps = 0.0;
    let error = MediaLoader::new(&config, options).unwrap_err();
    assert!(matches!(error, MediaError::VideoConfig(_)), "{error}");
    // Names of any length stay short in messages.
    let long = Part::Image(format!("{}.png", "x".repeat(10_000)));
    assert!(refused(&none, &long).to_string().len() < 200);
}

#[test]
fn a_session_answers_a_question_a_conversation_and_a_text() {
    let load = LoadOptions {
        context: Some(160),
        ..LoadOptions::default()
    };
    let session = carried().load(Host::new(2), load).unwrap();
    let said = session.ask("What is 12 + 30?").unwrap().wait().unwrap();
    assert_eq!(said.answer.text, "42");
    let conversation = Conversation {
        messages: vec![
            Message::user("What is 12 + 30?"),
            Message::assistant(said.answer),
            Message::user("What is 12 + 30?"),
        ],
    };
    let again = session.answer(&conversation).unwrap().wait().unwrap();
    assert!(!again.answer.text.is_empty());
    assert!(again.usage.prompt > said.usage.prompt);
    let mut pieces = 0;
    let turn = session.go_on("What is").unwrap();
    let text = turn.follow(|_| {
        pieces += 1;
        Ok::<_, deepseek_chat::TurnError>(())
    });
    assert!(pieces > 1, "{text:?}");
}
