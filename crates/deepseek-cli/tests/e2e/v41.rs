//! V4.1 from outside: images, cut prompts, n-gram tables in little memory, drafts.

use safetensors::SafeTensors;

use crate::program::{Checkpoint, fixture, pipe, run};

/// An image of 24-bit BMP: a ramp of one colour.
pub(crate) fn bmp(width: u32, height: u32, colour: usize) -> Vec<u8> {
    let row = (width * 3).next_multiple_of(4);
    let size = 54 + row * height;
    let mut bytes = b"BM".to_vec();
    for number in [size, 0, 54, 40, width, height] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    for y in 0..height {
        let mut line = vec![0; row as usize];
        for x in 0..width {
            line[(x * 3) as usize + colour] = (255 * (x + y) / (width + height)) as u8;
        }
        bytes.extend(line);
    }
    bytes
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for letter in 0..4 {
            let index = (bits >> (18 - 6 * letter)) as usize & 63;
            let known = letter <= chunk.len();
            text.push(if known { LETTERS[index] as char } else { '=' });
        }
    }
    text
}

/// A checkpoint with two images beside it.
pub(crate) fn checkpoint() -> Checkpoint {
    let checkpoint = Checkpoint::v41();
    checkpoint.write("red.bmp", &bmp(40, 30, 2));
    checkpoint.write("blue.bmp", &bmp(23, 61, 0));
    checkpoint
}

const FLAGS: [&str; 6] = [
    "--no-thinking",
    "--seed",
    "3",
    "--max-tokens",
    "24",
    "--stats",
];

/// The answer and how many tokens its prompt had.
#[track_caller]
fn ask(checkpoint: &Checkpoint, more: &[&str]) -> (String, u32) {
    let ran = checkpoint.run("run", &[&FLAGS[..], more].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let line = ran.err.lines().find(|line| line.starts_with("prefill"));
    let tokens = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    (
        ran.out,
        tokens.expect("the figures tell the prompt's tokens"),
    )
}

#[test]
fn an_image_takes_its_place_in_the_prompt_and_changes_the_answer() {
    let checkpoint = checkpoint();
    let (red, blue) = (checkpoint.file("red.bmp"), checkpoint.file("blue.bmp"));
    let (plain, few) = ask(&checkpoint, &["What?"]);
    let (first, some) = ask(&checkpoint, &["--image", &red, "What?"]);
    let (other, _) = ask(&checkpoint, &["--image", &blue, "What?"]);
    let (both, most) = ask(&checkpoint, &["--image", &red, "--image", &blue, "What?"]);
    assert!(few + 8 < some && some + 8 < most, "{few}, {some}, {most}");
    let all = [&plain, &first, &other, &both];
    for (index, one) in all.iter().enumerate() {
        assert!(!all[..index].contains(one), "{all:?}");
    }
    assert_eq!(ask(&checkpoint, &["--image", &red, "What?"]).0, first);
}

#[test]
fn a_conversation_may_hold_images_as_files_and_as_data() {
    let checkpoint = checkpoint();
    let red = checkpoint.file("red.bmp");
    let data = format!(
        "data:image/bmp;base64,{}",
        base64(&checkpoint.read("red.bmp"))
    );
    let typed = ask(&checkpoint, &["--image", &red, "What?"]);
    for url in [&red, &data] {
        let content = serde_json::json!([
            { "type": "image_url", "image_url": { "url": url } },
            { "type": "text", "text": "What?" },
        ]);
        let talk = serde_json::json!([{ "role": "user", "content": content }]);
        checkpoint.write("talk.json", talk.to_string().as_bytes());
        let file = checkpoint.file("talk.json");
        assert_eq!(ask(&checkpoint, &["--conversation", &file]), typed);
    }
}

#[test]
fn drafts_and_little_memory_change_nothing_that_is_said() {
    let checkpoint = checkpoint();
    let red = checkpoint.file("red.bmp");
    for drawn in [
        &["--temperature", "0"][..],
        &["--temperature", "0.8", "--top-p", "0.9"],
    ] {
        let question = [drawn, &["--image", &red, "And then?"]].concat();
        let (plain, _) = ask(&checkpoint, &question);
        for more in [
            &["--draft", "1"][..],
            &["--draft", "15"],
            &["--engram-memory", "4K"],
            &["--prefill", "replay"],
        ] {
            let (same, _) = ask(&checkpoint, &[more, &question].concat());
            assert_eq!(same, plain, "{more:?}");
        }
    }
    let ran = checkpoint.run("run", &[&FLAGS[..], &["--draft", "3", "Go on."]].concat());
    assert!(ran.err.contains("drafts "), "{ran:?}");
}

#[test]
fn a_cut_prompt_has_one_row_of_logits_and_chunks_do_not_matter() {
    let checkpoint = checkpoint();
    let red = checkpoint.file("red.bmp");
    let logits = |prefill: &str, chunk: &str| {
        let out = checkpoint.file("logits.safetensors");
        let text = "a text that is longer than the window of this model, by far";
        let args = ["--image", &red, "--prompt", text, "--prefill", prefill];
        let args = [&args[..], &["--chunk", chunk, "--out", &out]].concat();
        let ran = checkpoint.run("logits", &args);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let bytes = checkpoint.read("logits.safetensors");
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let tensor = tensors.tensor("logits").expect("logits");
        (tensor.shape().to_vec(), tensor.data().to_vec())
    };
    let (full, values) = logits("full", "512");
    assert!(full[0] > 60, "{full:?}");
    assert_eq!(logits("full", "7"), (full.clone(), values.clone()));
    let (cut, row) = logits("replay", "512");
    assert_eq!(cut, [1, full[1]]);
    assert_eq!(logits("replay", "5"), (cut, row.clone()));
    assert_ne!(row, values[values.len() - row.len()..]);
}

#[test]
fn chat_shows_images_and_refuses_what_is_none() {
    let checkpoint = checkpoint();
    let line = checkpoint.line(
        "chat",
        &["--no-thinking", "--seed", "3", "--max-tokens", "4"],
    );
    let red = checkpoint.file("red.bmp");
    let typed = format!("/image {red}\nWhat?\n/image nowhere.png\nAnd?\n/save {red}.json\n");
    let ran = pipe(&line, typed.as_bytes());
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("nowhere.png"), "{ran:?}");
    let saved: serde_json::Value =
        serde_json::from_slice(&checkpoint.read("red.bmp.json")).expect("JSON");
    assert_eq!(saved[0]["content"][0]["image_url"]["url"], red.as_str());
    let later = saved.as_array().expect("messages").last().expect("one");
    assert!(!later.to_string().contains("image_url"), "{later}");
}

#[test]
fn what_cannot_be_shown_is_named() {
    let checkpoint = checkpoint();
    let ask = |more: &[&str]| checkpoint.run("run", &[more, &["What?"]].concat());
    ask(&["--image", "nowhere.png"]).failed(3, "nowhere.png", "");
    checkpoint.write("text.png", b"no image at all");
    let file = checkpoint.file("text.png");
    ask(&["--image", &file]).failed(3, "text.png", "PNG, JPEG");
    let cut = bmp(40, 30, 1);
    checkpoint.write("cut.bmp", &cut[..300]);
    ask(&["--image", &checkpoint.file("cut.bmp")]).failed(3, "cut.bmp", "PNG, JPEG");
    checkpoint.write("talk.json", b"{}");
    let talk = checkpoint.file("talk.json");
    ask(&["--conversation", &talk]).failed(
        3,
        "talk.json: conversation: an object without messages, expected a list of messages",
        "",
    );
    for name in ["http://a.b/c.png", "HTTPS://a.b/c.png", "file:///c.png"] {
        let ran = ask(&["--image", name]);
        ran.failed(3, "a URL, and nothing is fetched", "name a file");
    }
    ask(&["--image", "data:image/png;base64"]).failed(3, "without a comma", "");
    ask(&["--image", "data:;base64,*"]).failed(3, "not base64", "");
    assert_eq!(ask(&["--engram-memory", "much"]).code, Some(2));

    let blind = Checkpoint::new();
    blind.write("red.bmp", &bmp(8, 8, 1));
    let ran = blind.run("run", &["--image", &blind.file("red.bmp"), "What?"]);
    ran.failed(3, "does not look at images", "V4.1");
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let checkpoint = checkpoint();
    let other = deepseek_text::Tokenizer::tiny_v41_json(300).expect("bytes and markers fit");
    checkpoint.write("tokenizer.json", other.as_bytes());
    let ran = checkpoint.run("run", &["--no-thinking", "What?"]);
    ran.failed(3, "300 tokens", "different models");
}

#[test]
fn inspect_tells_tables_drafter_and_tower() {
    let checkpoint = checkpoint();
    let text = run(&["inspect", checkpoint.path()]).done();
    for word in ["deepseek_v41", "engram", "vision", "as the config has it"] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
    let fixture = fixture("../v41/wide-s4-release");
    let text = run(&["inspect".as_ref(), fixture.as_os_str()]).done();
    assert!(text.contains("as the config has it"), "{text}");
}
