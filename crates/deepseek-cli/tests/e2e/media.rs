//! Audio and videos from outside: their place in the prompt, their order, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{Checkpoint, pipe, run};
use crate::v41::{base64, bmp, checkpoint as with_images};

/// A WAV file of 16-bit samples of one channel: a tone.
fn wav(samples: usize, rate: u32, hertz: f32) -> Vec<u8> {
    let data = (samples * 2) as u32;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((data + 36).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * 2).to_le_bytes());
    bytes.extend(b"\x02\0\x10\0data");
    bytes.extend(data.to_le_bytes());
    for at in 0..samples {
        let angle = at as f32 * hertz / rate as f32 * std::f32::consts::TAU;
        bytes.extend(((angle.sin() * 20_000.0) as i16).to_le_bytes());
    }
    bytes
}

/// A video of frames that grow brighter, two a second.
fn video(frames: u8) -> Vec<u8> {
    let mut bytes = b"YUV4MPEG2 W24 H16 F2:1 Ip C444\n".to_vec();
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        bytes.extend([frame * 20; 24 * 16 * 3]);
    }
    bytes
}

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    folder.join(name)
}

/// A video of half a second with a tone of 440 Hz beside it.
fn video_with_audio() -> Vec<u8> {
    fs::read(fixture("video/tone.avi")).expect("the fixture")
}

/// A checkpoint with images, audio and videos beside it.
fn checkpoint() -> Checkpoint {
    let checkpoint = with_images();
    checkpoint.write("short.wav", &wav(16_000, 16_000, 440.0));
    checkpoint.write("other.wav", &wav(16_000, 16_000, 1234.0));
    checkpoint.write("long.wav", &wav(5 * 8_000, 8_000, 700.0));
    checkpoint.write("video.y4m", &video(4));
    checkpoint.write("tone.avi", &video_with_audio());
    checkpoint
}

const FLAGS: [&str; 8] = [
    "--no-thinking",
    "--seed",
    "3",
    "--max-tokens",
    "24",
    "--stats",
    "--context",
    "1024",
];

/// The answer, and the tokens of its prompt: all, those of images, those of audio.
#[track_caller]
fn ask(checkpoint: &Checkpoint, more: &[&str]) -> (String, [usize; 3]) {
    let ran = checkpoint.run("run", &[&FLAGS[..], more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let count = |name: &str| {
        let line = ran.err.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    let all = count("prefill").expect("the figures tell the prompt's tokens");
    let [seen, heard] = ["images", "audio"].map(|name| count(name).unwrap_or(0));
    (ran.out, [all, seen, heard])
}

#[test]
fn audio_takes_its_place_in_the_prompt_and_changes_the_answer() {
    let checkpoint = checkpoint();
    let [short, other, long] =
        ["short.wav", "other.wav", "long.wav"].map(|name| checkpoint.file(name));
    let (plain, [few, ..]) = ask(&checkpoint, &["What?"]);
    let (first, counts) = ask(&checkpoint, &["--audio", &short, "What?"]);
    // A second is 12.5 tokens, and a start and an end stand around them. A blank line follows.
    assert_eq!(counts, [few + 15 + 2, 0, 15]);
    let (second, _) = ask(&checkpoint, &["--audio", &other, "What?"]);
    // Five seconds are three chunks of two, each behind its time.
    let (third, counts) = ask(&checkpoint, &["--audio", &long, "What?"]);
    let times = "<00:00><00:02><00:04>".len();
    assert_eq!(counts, [few + 69 + times + 2, 0, 69]);
    let all = [&plain, &first, &second, &third];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{all:?}");
    }
    assert_eq!(ask(&checkpoint, &["--audio", &short, "What?"]).0, first);
}

#[test]
fn the_order_of_media_is_that_of_the_command_line() {
    let checkpoint = checkpoint();
    let [red, short, video] =
        ["red.bmp", "short.wav", "video.y4m"].map(|name| checkpoint.file(name));
    let [red, short, video] = [["--image", &red], ["--audio", &short], ["--video", &video]];
    let orders = [
        [red, short, video],
        [red, video, short],
        [short, red, video],
        [short, video, red],
        [video, red, short],
        [video, short, red],
    ];
    let mut answers: Vec<String> = Vec::new();
    let mut counts = Vec::new();
    for order in orders {
        let (answer, tokens) = ask(&checkpoint, &[&order.concat()[..], &["What?"]].concat());
        assert!(!answers.contains(&answer), "{order:?}");
        answers.push(answer);
        counts.push(tokens);
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    // The same by a conversation, whose parts are in the order in which they stand.
    let part = |kind: &str, flag: [&str; 2]| json!({ "type": kind, kind: { "url": flag[1] } });
    let content = json!([
        part("audio_url", short),
        part("image_url", red),
        part("video_url", video),
        { "type": "text", "text": "What?" },
    ]);
    let talk = json!([{ "role": "user", "content": content }]);
    checkpoint.write("talk.json", talk.to_string().as_bytes());
    let talk = checkpoint.file("talk.json");
    assert_eq!(ask(&checkpoint, &["--conversation", &talk]).0, answers[2]);
}

#[test]
fn a_conversation_may_hold_audio_and_videos_as_data() {
    let checkpoint = checkpoint();
    let talk = |part: Value| {
        let content = json!([part, { "type": "text", "text": "What?" }]);
        let talk = json!([{ "role": "user", "content": content }]);
        checkpoint.write("talk.json", talk.to_string().as_bytes());
        ask(
            &checkpoint,
            &["--conversation", &checkpoint.file("talk.json")],
        )
    };
    let typed = ask(
        &checkpoint,
        &["--audio", &checkpoint.file("long.wav"), "What?"],
    );
    let data = base64(&checkpoint.read("long.wav"));
    let audio = json!({ "type": "input_audio", "input_audio": { "data": data, "format": "wav" } });
    assert_eq!(talk(audio), typed);
    let video = checkpoint.file("tone.avi");
    let data = format!(
        "data:video/avi;base64,{}",
        base64(&checkpoint.read("tone.avi"))
    );
    let said = |fields: Value| {
        let mut url = json!({ "url": data });
        let fields = fields.as_object().expect("fields").clone();
        url.as_object_mut().expect("an object").extend(fields);
        talk(json!({ "type": "video_url", "video_url": url }))
    };
    assert_eq!(
        said(json!({})),
        ask(&checkpoint, &["--video", &video, "What?"])
    );
    for (fields, flags) in [
        (json!({ "audio": false }), &["--video-audio", "off"][..]),
        (json!({ "audio": true }), &["--video-audio", "on"]),
        (json!({ "max_frames": 2 }), &["--video-max-frames", "2"]),
        (json!({ "fps": 10 }), &["--video-fps", "10"]),
    ] {
        let typed = ask(
            &checkpoint,
            &[flags, &["--video", &video, "What?"]].concat(),
        );
        assert_eq!(said(fields), typed, "{flags:?}");
    }
}

#[test]
fn a_video_is_frames_behind_their_times_and_its_audio_among_them() {
    let checkpoint = checkpoint();
    let ask = |more: &[&str]| ask(&checkpoint, &[more, &["What?"]].concat()).1;
    let [few, ..] = ask(&[]);
    let video = checkpoint.file("video.y4m");
    // Frames of 24 by 16 pixels are 2 by 2 cells of 12: 8 tokens with line breaks and ends.
    let each = 8;
    let times = "<0.0s><0.5s><1.0s><1.5s>".len();
    assert_eq!(
        ask(&["--video", &video]),
        [few + 4 * each + times + 2, 4 * each, 0]
    );
    let two = "<0.5s><1.5s>".len();
    let two = [few + 2 * each + two + 2, 2 * each, 0];
    let fewer = ["--video", &video, "--video-max-frames", "2"];
    assert_eq!(ask(&fewer), two);
    let config = ["min_frames=1", "max_frames=2"].map(|set| ["--video-config", set]);
    assert_eq!(ask(&[&fewer[..2], &config.concat()].concat()), two);
    let merged = ask(&["--video", &video, "--video-config", "temporal_merge=2"]);
    assert_eq!(merged[1], 2 * each);
    // Half a second of audio is 7 tokens.
    let tone = checkpoint.file("tone.avi");
    let [_, _, heard] = ask(&["--video", &tone]);
    assert_eq!(heard, 7 + 2);
    let [_, _, heard] = ask(&["--video", &tone, "--video-audio", "off"]);
    assert_eq!(heard, 0);
}

#[test]
fn numbered_images_are_frames_at_the_rate_that_is_told() {
    let checkpoint = checkpoint();
    let ask = |more: &[&str]| ask(&checkpoint, &[more, &["What?"]].concat()).1;
    for frame in 1..=8 {
        checkpoint.write(&format!("frame{frame}.bmp"), &bmp(24, 16, frame % 3));
    }
    let frames = checkpoint.file("frame*.bmp");
    let [few, ..] = ask(&[]);
    let tokens = |more: &[&str]| {
        let [all, seen, _] = ask(&[&["--video", &frames][..], more].concat());
        (all - few, seen)
    };
    // All of them, two a second; then one second of eight frames, of which the four of least are seen.
    let (all, seen) = tokens(&[]);
    let (fewer, half) = tokens(&["--fps", "8"]);
    assert_eq!(seen, 2 * half);
    assert!(fewer < all, "{fewer} tokens for {all}");
    assert_eq!(tokens(&["--fps", "8", "--video-fps", "8"]).1, seen);
}

#[test]
fn drafts_and_cut_prompts_change_nothing_that_is_said_of_audio_and_videos() {
    let checkpoint = checkpoint();
    let [long, tone] = ["long.wav", "tone.avi"].map(|name| checkpoint.file(name));
    let question = [
        "--temperature",
        "0.8",
        "--audio",
        &long,
        "--video",
        &tone,
        "And then?",
    ];
    let (plain, _) = ask(&checkpoint, &question);
    for more in [
        &["--draft", "5"][..],
        &["--engram-memory", "4K"],
        &["--threads", "2"],
    ] {
        let line = checkpoint.line("run", &[&FLAGS[..], more, &question].concat());
        // The line names one thread already where others are asked for.
        let line: Vec<String> = match more[0] {
            "--threads" => [&line[..3], &line[5..]].concat(),
            _ => line,
        };
        assert_eq!(run(&line).done(), plain, "{more:?}");
    }
}

#[test]
fn logits_of_audio_do_not_depend_on_chunks() {
    let checkpoint = checkpoint();
    let [long, tone] = ["long.wav", "tone.avi"].map(|name| checkpoint.file(name));
    let logits = |chunk: &str| {
        let out = checkpoint.file("logits.safetensors");
        let media = ["--audio", &long, "--video", &tone, "--prompt", "A "];
        let ran = checkpoint.run(
            "logits",
            &[&media[..], &["--chunk", chunk, "--out", &out]].concat(),
        );
        assert_eq!(ran.code, Some(0), "{ran:?}");
        checkpoint.read("logits.safetensors")
    };
    let whole = logits("512");
    assert_eq!(logits("7"), whole);
    assert_eq!(logits("64"), whole);
}

#[test]
fn chat_plays_audio_and_shows_videos_and_refuses_what_is_none() {
    let checkpoint = checkpoint();
    let flags = [
        "--no-thinking",
        "--seed",
        "3",
        "--max-tokens",
        "4",
        "--context",
        "1024",
    ];
    let line = checkpoint.line("chat", &flags);
    let [short, video] = ["short.wav", "video.y4m"].map(|name| checkpoint.file(name));
    let typed = format!(
        "/audio {short}\n/video {video}\nWhat?\n/audio {video}\n/video {short}\n/save {short}.json\n"
    );
    let ran = pipe(&line, typed.as_bytes());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(ran.err.matches("error: ").count(), 2, "{ran:?}");
    let saved: Value = serde_json::from_slice(&checkpoint.read("short.wav.json")).expect("JSON");
    let content = &saved[0]["content"];
    assert_eq!(
        content[0],
        json!({ "type": "audio_url", "audio_url": { "url": short } })
    );
    assert_eq!(
        content[1],
        json!({ "type": "video_url", "video_url": { "url": video } })
    );
    // What was saved can be asked again.
    let talk = format!("{short}.json");
    checkpoint
        .run(
            "run",
            &[&FLAGS[..], &["--conversation", &talk, "And?"]].concat(),
        )
        .done();
}

#[test]
fn a_checkpoint_without_an_audio_tower_names_the_section_and_watches_videos() {
    let checkpoint = checkpoint();
    checkpoint.set("audio_config", Value::Null);
    checkpoint.set("audio_token_id", Value::Null);
    let [short, video, tone] =
        ["short.wav", "video.y4m", "tone.avi"].map(|name| checkpoint.file(name));
    let ran = checkpoint.run("run", &["--audio", &short, "What?"]);
    ran.failed(2, "no audio_config in its config.json", "audio tower");
    let ran = checkpoint.run("run", &["--video", &tone, "--video-audio", "on", "What?"]);
    ran.failed(2, "no audio_config in its config.json", "audio tower");
    let (_, [_, seen, heard]) = ask(&checkpoint, &["--video", &video, "--video", &tone, "What?"]);
    assert!(seen > 40 && heard == 0, "{seen} and {heard}");
}

#[test]
fn of_audio_that_was_cut_off_a_note_tells() {
    let checkpoint = checkpoint();
    let mut cut = wav(16_000, 16_000, 440.0);
    cut.truncate(cut.len() - 1000);
    checkpoint.write("cut.wav", &cut);
    let file = checkpoint.file("cut.wav");
    let ran = checkpoint.run("run", &[&FLAGS[..], &["--audio", &file, "What?"]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let note = ": cut off: 1000 bytes less than it announces";
    let notes: Vec<_> = ran
        .err
        .lines()
        .filter(|line| line.starts_with("note: ") && line.contains("cut.wav"))
        .collect();
    assert!(notes.len() == 1 && notes[0].ends_with(note), "{ran:?}");
}

#[test]
fn what_cannot_be_heard_or_watched_is_named() {
    let checkpoint = checkpoint();
    let ask = |more: &[&str]| checkpoint.run("run", &[more, &["What?"]].concat());
    ask(&["--audio", "nowhere.wav"]).failed(3, "nowhere.wav", "WAV, AIFF");
    ask(&["--video", "nowhere.gif"]).failed(3, "nowhere.gif", "folder of numbered images");
    checkpoint.write("text", b"neither audio nor video");
    let file = checkpoint.file("text");
    ask(&["--audio", &file]).failed(3, "audio: begins with", "WAV, AIFF");
    let ran = ask(&["--video", &file]);
    if cfg!(feature = "video") {
        ran.failed(3, "video: Invalid data", "ffmpeg -i");
    } else {
        ran.failed(3, "video: of no kind that is read", "--features video");
    }
    let silent = checkpoint.file("video.y4m");
    ask(&["--video", &silent, "--video-audio", "on"]).failed(3, "no audio", "auto");
    ask(&["--video", &silent, "--video-fps", "0"]).failed(2, "fps is 0", "");
    assert_eq!(ask(&["--video-max-frames", "0"]).code, Some(2));
    for (flags, why) in [
        (["--fps", "0"], "want a number above 0"),
        (["--video-config", "fps"], "want KEY=VALUE"),
        (
            ["--video-config", "frames=2"],
            "want one of fps, min_frames,",
        ),
        (
            ["--video-config", "max_frames=1.5"],
            "want a whole number from 1 to 65536",
        ),
        (["--video-config", "fps=slow"], "want a number"),
    ] {
        let ran = ask(&flags);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(why), "{ran:?}");
    }
    ask(&["--video-config", "max_frames=2"]).failed(2, "max_frames is 2, want at least 4", "");
    let short = checkpoint.file("short.wav");
    let ran = ask(&["--raw", "--audio", &short]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let cut = ask(&["--context", "20", "--audio", &short]);
    cut.failed(3, "in a context of 20", "--context");
}

#[test]
fn a_projector_may_come_from_a_file_of_its_own() {
    let checkpoint = checkpoint();
    let short = checkpoint.file("short.wav");
    let (want, _) = ask(&checkpoint, &["--audio", &short, "What?"]);
    let projector = checkpoint.take_out("audio_aligner.", "projector.safetensors");
    let ran = checkpoint.run("run", &["--audio", &short, "What?"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("audio_aligner.linear_1"), "{ran:?}");
    let flags = ["--audio-projector", &projector, "--audio", &short, "What?"];
    assert_eq!(ask(&checkpoint, &flags).0, want);
    let ran = checkpoint.run("run", &["--audio-projector", &short, "What?"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
}

/// What this program does not decode itself, it has another process of its own decode, if it can.
#[test]
fn other_videos_and_opus_audio_want_the_feature_video() {
    let checkpoint = checkpoint();
    for (flag, file, without) in [
        (
            "--video",
            "video/709.mp4",
            "video: of a kind that is not read: MP4\nhint: read are GIF,",
        ),
        (
            "--audio",
            "video/tone.opus",
            "Opus needs a build with the video feature",
        ),
    ] {
        let file = fixture(file).display().to_string();
        if cfg!(feature = "video") {
            let (_, [_, seen, heard]) = ask(&checkpoint, &[flag, &file, "What?"]);
            assert!(seen + heard > 0, "{file}");
        } else {
            let ran = checkpoint.run("run", &[flag, &file, "What?"]);
            assert_eq!(ran.code, Some(3), "{ran:?}");
            assert!(ran.err.contains(without), "{ran:?}");
        }
    }
}

#[test]
fn inspect_tells_of_the_audio_tower() {
    let checkpoint = checkpoint();
    let text = run(&["inspect", checkpoint.path()]).done();
    for word in [
        "audio      2 layers, hidden 16, 25 tokens for 2 s",
        "audio delimiters",
        "as the config has it",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    let json = run(&["inspect", checkpoint.path(), "--json"]).done();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["audio"]["chunk_tokens"], json!(25));
}
