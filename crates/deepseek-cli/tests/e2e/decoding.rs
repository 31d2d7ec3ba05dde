//! Image and video files that decoders have trouble with: what is refused, what is told, what is turned.

use std::fs;
use std::path::Path;

use deepseek_vision::formats::{IMAGES, VIDEOS};

use crate::program::{Checkpoint, pipe};
use crate::v41::{base64, checkpoint};

#[path = "../../../deepseek-vision/tests/bytes/mod.rs"]
#[allow(dead_code, reason = "it is shared")]
mod bytes;
#[path = "../../../deepseek-vision/tests/bytes/tiff.rs"]
mod tiff;

const FLAGS: [&str; 3] = ["--no-thinking", "--max-tokens", "2"];

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/video");
    fs::read(folder.join(name)).expect("a fixture")
}

/// An AVI file whose audio is said to be MP3.
fn with_mp3() -> Vec<u8> {
    let bytes = fixture("tone.avi");
    let audio = bytes::find(&bytes, b"auds", 0);
    let format = audio + bytes::find(&bytes[audio..], b"strf", 0) + 8;
    bytes::with(&bytes, format, &[0x55, 0])
}

/// A PNG of three columns, the first of them white, with such a chunk behind its head.
fn png(chunk: &[u8]) -> Vec<u8> {
    let (width, height) = (48_u32, 16_u32);
    let sides = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let row: Vec<u8> = (0..=width)
        .map(|x| if (1..16).contains(&x) { 255 } else { 0 })
        .collect();
    let data = row.repeat(height as usize);
    let length = data.len() as u16;
    let (a, b) = data.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (a + b) % 65_521)
    });
    let stored = [
        &[0x78, 0x01, 0x01][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        &data,
        &(b << 16 | a).to_be_bytes(),
    ];
    [
        b"\x89PNG\r\n\x1a\n",
        &bytes::png_chunk(b"IHDR", &[&sides[..], &[8, 0, 0, 0, 0]].concat())[..],
        chunk,
        &bytes::png_chunk(b"IDAT", &stored.concat()),
        &bytes::png_chunk(b"IEND", &[]),
    ]
    .concat()
}

#[test]
fn no_decoder_ends_the_program() {
    let checkpoint = checkpoint();
    let tiff = tiff::tiled_planar();
    checkpoint.write("tiles.tif", &tiff);
    fs::create_dir(checkpoint.file("frames")).expect("a folder");
    for number in 1..4 {
        checkpoint.write(&format!("frames/{number}.tif"), &tiff);
    }
    let [file, folder] = ["tiles.tif", "frames"].map(|name| checkpoint.file(name));
    let data = format!("data:image/tiff;base64,{}", base64(&tiff));
    let why = "TIFF of a kind that is not read";
    let ask = |flag: &str, name: &str| checkpoint.run("run", &[flag, name, "What?"]);
    ask("--image", &file).failed(3, why, IMAGES);
    ask("--image", &data).failed(3, why, IMAGES);
    ask("--video", &folder).failed(3, "image 1.tif", IMAGES);
    let line = checkpoint.line("chat", &FLAGS);
    let ran = pipe(
        &line,
        format!("/image {file}\n/video {folder}\nWhat?\n").as_bytes(),
    );
    // What was refused is told by the code, and the question answered all the same.
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert_eq!(ran.err.matches(why).count(), 2, "{ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
}

#[test]
fn what_was_read_though_damaged_is_told_once() {
    let checkpoint = checkpoint();
    let whole = fixture("deltas.gif");
    checkpoint.write("cut.gif", &whole[..whole.len() - 40]);
    let cut = checkpoint.file("cut.gif");
    let note = "note: ";
    let text = "cut.gif: damaged GIF data at frame ";
    let told = |err: &str| {
        let notes = err.lines().filter(|line| line.starts_with(note));
        notes.filter(|line| line.contains(text)).count()
    };
    let ran = checkpoint.run("run", &[&FLAGS[..], &["--video", &cut, "What?"]].concat());
    assert_eq!((ran.code, told(&ran.err)), (Some(0), 1), "{ran:?}");
    let out = checkpoint.file("l.safetensors");
    let ran = checkpoint.run("logits", &["--video", &cut, "--prompt", "A", "--out", &out]);
    assert_eq!((ran.code, told(&ran.err)), (Some(0), 1), "{ran:?}");
    // A video stays in the conversation, and is read again with each answer.
    let line = checkpoint.line("chat", &FLAGS);
    let ran = pipe(&line, format!("/video {cut}\nWhat?\nAnd?\n").as_bytes());
    assert_eq!((ran.code, told(&ran.err)), (Some(0), 1), "{ran:?}");
    // As an image it is whole.
    let ran = checkpoint.run("run", &[&FLAGS[..], &["--image", &cut, "What?"]].concat());
    assert_eq!(
        (ran.code, ran.err.contains("cut.gif")),
        (Some(0), false),
        "{ran:?}"
    );
}

#[test]
fn a_video_is_seen_though_its_audio_is_not_read() {
    let checkpoint = checkpoint();
    checkpoint.write("video.avi", &with_mp3());
    let video = checkpoint.file("video.avi");
    let ask = |more: &[&str]| {
        let flags = [
            &FLAGS[..],
            &["--stats", "--video", &video],
            more,
            &["What?"],
        ]
        .concat();
        checkpoint.run("run", &flags)
    };
    let note = "video.avi: its audio is not read: ";
    for (flags, is_told) in [(&[][..], true), (&["--video-audio", "off"], false)] {
        let ran = ask(flags);
        assert_eq!(
            (ran.code, ran.err.contains(note)),
            (Some(0), is_told),
            "{ran:?}"
        );
        let seen = ran.err.lines().find(|line| line.starts_with("images"));
        assert!(seen.is_some(), "{ran:?}");
    }
    let ran = checkpoint.run("run", &["--video", &video, "--video-audio", "on", "What?"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    if !cfg!(feature = "video") {
        ran.failed(3, "its audio is not read: MP3", "--video-audio auto");
    }
}

/// The logits behind an image.
fn logits(checkpoint: &Checkpoint, image: &str, more: &[&str]) -> Vec<u8> {
    let out = checkpoint.file("logits.safetensors");
    let image = checkpoint.file(image);
    let flags = ["--image", &image, "--prompt", "A", "--out", &out];
    checkpoint
        .run("logits", &[&flags[..], more].concat())
        .done();
    checkpoint.read("logits.safetensors")
}

#[test]
fn images_are_turned_unless_the_published_loader_is_wanted() {
    let checkpoint = checkpoint();
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    checkpoint.write("plain.png", &png(&[]));
    checkpoint.write("tagged.png", &png(&bytes::png_chunk(b"eXIf", exif)));
    let plain = logits(&checkpoint, "plain.png", &[]);
    let tagged = logits(&checkpoint, "tagged.png", &[]);
    assert_ne!(tagged, plain);
    assert_eq!(
        logits(&checkpoint, "tagged.png", &["--no-orientation"]),
        plain
    );
}

#[test]
fn one_list_of_formats_stands_everywhere() {
    let checkpoint = checkpoint();
    let help = checkpoint.run("run", &["--help"]).out;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = |name: &str| fs::read_to_string(root.join(name)).expect("a page");
    for list in [IMAGES, VIDEOS] {
        assert!(help.contains(list), "{list} in {help}");
        for page in ["README.md", "crates/deepseek-vision/README.md"] {
            assert!(readme(page).contains(list), "{list} in {page}");
        }
    }
}
