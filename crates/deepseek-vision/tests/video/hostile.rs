//! Videos that lie: each gives a typed error, within bounds and without a panic.

use std::io::Cursor;
use std::path::Path;

use deepseek_vision::formats::VIDEOS;
use deepseek_vision::limits::{
    CHUNKS_MAX, FRAME_PIXELS_MAX, LINE_BYTES_MAX, MOVING_PIXELS_MAX, VIDEO_FRAMES_MAX,
};
use deepseek_vision::video::{Video, VideoError};
use image::{DynamicImage, ImageFormat};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::build::{avi, bitmap, chunk, jpeg, strh, video_stream, wave, wave_of_blocks, y4m};
use crate::bytes::{find, png_chunk, with};

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Empty,
    UnknownFormat,
    Foreign,
    Still,
    NoFrames,
    Frames,
    Length,
    Pixels,
    AllPixels,
    Rate,
    Frame,
    Unsupported,
    Corrupt,
}
use Kind::{
    AllPixels, Corrupt, Empty, Foreign, Frames, Length, NoFrames, Pixels, Rate, Still,
    UnknownFormat, Unsupported,
};

fn kind(error: &VideoError) -> Kind {
    match error {
        VideoError::Empty => Empty,
        VideoError::UnknownFormat => UnknownFormat,
        VideoError::Foreign { .. } => Foreign,
        VideoError::Still { .. } => Still,
        VideoError::NoFrames { .. } => NoFrames,
        VideoError::Frames { .. } => Frames,
        VideoError::Length { .. } => Length,
        VideoError::Pixels { .. } => Pixels,
        VideoError::AllPixels { .. } => AllPixels,
        VideoError::Rate { .. } => Rate,
        VideoError::Frame { .. } => Kind::Frame,
        VideoError::Unsupported { .. } => Unsupported,
        VideoError::Corrupt { .. } => Corrupt,
        other => unreachable!("{other} has no kind"),
    }
}

type Case = (String, Vec<u8>, Kind);

fn case(name: &str, bytes: impl Into<Vec<u8>>, want: Kind) -> Case {
    (name.to_owned(), bytes.into(), want)
}

/// The error of a video that is opened and then seen and heard to its end.
fn error(bytes: Vec<u8>) -> Option<VideoError> {
    let mut video = match Video::from_bytes(bytes) {
        Ok(video) => video,
        Err(error) => return Some(error),
    };
    loop {
        match video.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return Some(error),
        }
    }
    if let Some(track) = video.audio().expect("it is in memory") {
        assert!(
            track
                .into_iter()
                .all(|block| block.is_ok_and(|block| !block.is_empty()))
        );
    }
    None
}

/// Holds every case, and that there are at least `least` of them.
#[track_caller]
fn check(cases: Vec<Case>, least: usize) {
    assert!(cases.len() >= least, "{} cases", cases.len());
    let wrong = cases.into_iter().filter_map(|(name, bytes, want)| {
        let Some(error) = error(bytes) else {
            return Some(format!("{name}: taken as a video"));
        };
        let text = error.to_string();
        assert!(text.starts_with("video: "), "{name}: {text}");
        let found = kind(&error);
        (found != want).then(|| format!("{name}: {found:?}, want {want:?}: {error}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/video");
    std::fs::read(folder.join(name)).expect("a fixture")
}

#[test]
fn what_is_none_of_the_formats() {
    let cases = [
        ("MP4", &b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"[..], Foreign),
        (
            "Matroska",
            b"\x1A\x45\xDF\xA3\x01\0\0\0\0\0\0\x1F\x42\x86\x81\x01",
            Foreign,
        ),
        ("FLV", b"FLV\x01", Foreign),
        ("audio", b"RIFF\x04\0\0\0WAVE", Foreign),
        ("a letter", b"G", UnknownFormat),
        ("words", b"no video at all", UnknownFormat),
    ];
    let cases = cases.map(|(name, bytes, kind)| case(name, bytes, kind));
    check(cases.to_vec(), 6);
    let error = Video::from_bytes(&b"no video"[..]).expect_err("no video");
    assert!(error.to_string().ends_with(VIDEOS), "{error}");
    check(vec![case("nothing", [], Empty)], 1);
    let folder = Video::open(Path::new(env!("CARGO_MANIFEST_DIR"))).expect_err("no file");
    assert!(matches!(folder, VideoError::Io(_)), "{folder}");
    let nothing = Video::open(Path::new("no such file")).expect_err("no file");
    assert!(matches!(nothing, VideoError::Io(_)), "{nothing}");
}

#[test]
fn y4m_that_lies() {
    let good = y4m("W2 H2 F25:1 C420", 6, &[128; 3]);
    let head = |head: &str| y4m(head, 6, &[128]);
    let long = "X".repeat(LINE_BYTES_MAX as usize);
    check(
        vec![
            case("cut in the first frame", &good[..good.len() - 25], Corrupt),
            case("cut in its line", &good[..good.len() - 32], Corrupt),
            case("a head without an end", "YUV4MPEG2 W2 H2 F25:1", Corrupt),
            case("a long head", head(&format!("W2 H2 F25:1 {long}")), Corrupt),
            case(
                "a long frame line",
                format!("YUV4MPEG2 W2 H2 F25:1\nFRAME {long}\n"),
                Corrupt,
            ),
            case("no frames", "YUV4MPEG2 W2 H2 F25:1\n", NoFrames),
            case("FRAMES", "YUV4MPEG2 W2 H2 F25:1\nFRAMES\n123456", Corrupt),
            case("no size", head("F25:1 C420"), Corrupt),
            case("no height", head("W2 F25:1"), Corrupt),
            case("a width below zero", head("W-2 H2 F25:1"), Corrupt),
            case("a width of no number", head("W2.0 H2 F25:1"), Corrupt),
            case(
                "a width of many digits",
                head("W99999999999999999999 H2 F25:1"),
                Corrupt,
            ),
            case("no pixels", head("W0 H2 F25:1"), Pixels),
            case("too wide", head("W4294967295 H4294967295 F25:1"), Pixels),
            case(
                "a pixel too many",
                head(&format!("W{} H1 F25:1", FRAME_PIXELS_MAX + 1)),
                Pixels,
            ),
            case(
                "as many pixels as may be, none there",
                head(&format!("W{FRAME_PIXELS_MAX} H1 F25:1")),
                Corrupt,
            ),
            case("no rate", head("W2 H2"), Corrupt),
            case("a rate of no ratio", head("W2 H2 F25"), Corrupt),
            case("a rate of zero", head("W2 H2 F0:1"), Rate),
            case("a rate without end", head("W2 H2 F25:0"), Rate),
            case("a frame of a century", head("W2 H2 F1:4294967295"), Length),
            case(
                "samples of ten bits",
                head("W2 H2 F25:1 C420p10"),
                Unsupported,
            ),
            case("samples of 4:2:2", head("W2 H2 F25:1 C422"), Unsupported),
            case("grey", head("W2 H2 F25:1 Cmono"), Unsupported),
            case("with alpha", head("W2 H2 F25:1 C444alpha"), Unsupported),
            case(
                "bytes that are no text",
                [b"YUV4MPEG2 W\xFF2 H2 F25:1\n", &good[..]].concat(),
                Corrupt,
            ),
            case(
                "one frame too many",
                y4m("W1 H1 F1000:1 C444", 3, &vec![0; VIDEO_FRAMES_MAX + 1]),
                Frames,
            ),
        ],
        27,
    );
}

/// A video of one frame with audio of such a header and format.
fn audio(header: Vec<u8>, format: Vec<u8>) -> Vec<u8> {
    let chunks = [chunk(b"00dc", &jpeg(1)), chunk(b"01wb", &[0; 400])];
    avi(&[video_stream(), [header, format]], &chunks)
}

#[test]
fn avi_that_lies() {
    let frame = || chunk(b"00dc", &jpeg(7));
    let good = avi(&[video_stream()], &[frame(), frame()]);
    assert!(error(good.clone()).is_none());
    let first = find(&good, b"00dc", 0);
    let of = |header, format| avi(&[[header, format]], &[frame()]);
    let vids = || strh(b"vids", 10, 1, 0);
    let auds = || strh(b"auds", 8000, 1, 0);
    let short = || chunk(b"strf", &[0; 15]);
    let broken = |bytes: &[u8]| avi(&[video_stream()], &[chunk(b"00dc", bytes)]);
    let whole = jpeg(7);
    let sides = find(&whole, &[0xFF, 0xC0], 0) + 5;
    let many = chunk(b"JUNK", &[]).repeat(CHUNKS_MAX + 1);
    let slots = chunk(b"00dc", &[]).repeat(VIDEO_FRAMES_MAX);
    check(
        vec![
            case("cut in the first frame", &good[..first + 30], Corrupt),
            case("cut in a head", &good[..first + 6], Corrupt),
            case("cut behind the file's head", &good[..12], Corrupt),
            case(
                "a chunk beyond the file",
                with(&good, first + 4, &[0xFF; 4]),
                Corrupt,
            ),
            case(
                "a list beyond the file",
                with(&good, find(&good, b"JUNK", 0) + 4, &[0xFF; 4]),
                Corrupt,
            ),
            case("no streams", avi(&[], &[frame()]), Corrupt),
            case(
                "audio alone",
                avi(&[[auds(), wave(1, 1, 8000, 8)]], &[]),
                Corrupt,
            ),
            case("no frames", avi(&[video_stream()], &[]), NoFrames),
            case(
                "frames of another stream",
                avi(&[video_stream()], &[chunk(b"07dc", &jpeg(1))]),
                NoFrames,
            ),
            case(
                "frames of no bytes",
                avi(&[video_stream()], &[chunk(b"00dc", &[])]),
                NoFrames,
            ),
            case(
                "a format without a header",
                avi(&[[bitmap(16, 8, b"MJPG"), vec![]]], &[]),
                Corrupt,
            ),
            case(
                "a header that ends early",
                of(chunk(b"strh", b"vids"), vec![]),
                Corrupt,
            ),
            case(
                "a rate of zero",
                of(strh(b"vids", 0, 1, 0), bitmap(16, 8, b"MJPG")),
                Corrupt,
            ),
            case(
                "a rate without end",
                of(strh(b"vids", 1, 0, 0), bitmap(16, 8, b"MJPG")),
                Corrupt,
            ),
            case(
                "a frame of a century",
                of(strh(b"vids", 1, u32::MAX, 0), bitmap(16, 8, b"MJPG")),
                Length,
            ),
            case(
                "another codec",
                of(vids(), bitmap(16, 8, b"H264")),
                Unsupported,
            ),
            case("a short format", of(vids(), short()), Corrupt),
            case("no pixels", of(vids(), bitmap(0, 8, b"MJPG")), Pixels),
            case(
                "upside down and huge",
                of(vids(), bitmap(i32::MIN, i32::MIN, b"MJPG")),
                Pixels,
            ),
            case("a frame that is none", broken(b"\0\x01\x02"), Kind::Frame),
            case(
                "half a frame",
                broken(&whole[..whole.len() / 2]),
                Kind::Frame,
            ),
            case(
                "a frame of 65535 by 65535",
                broken(&with(&whole, sides, &[0xFF; 4])),
                Kind::Frame,
            ),
            case(
                "a frame that is a GIF of no colours",
                broken(b"GIF89a\x01\0\x01\0\0\0\0;"),
                Kind::Frame,
            ),
            case(
                "more chunks than are looked at",
                [good.clone(), many].concat(),
                Corrupt,
            ),
            case(
                "more frames than are taken",
                [good.clone(), slots].concat(),
                Frames,
            ),
        ],
        25,
    );
}

#[test]
fn the_frames_of_a_video_are_seen_whatever_its_audio_is() {
    let frame = || chunk(b"00dc", &jpeg(7));
    let auds = || strh(b"auds", 8000, 1, 0);
    let short = || chunk(b"strf", &[0; 13]);
    let cases = [
        (
            "audio of a short format",
            "less than 14 bytes",
            audio(auds(), short()),
        ),
        (
            "audio that is packed",
            "MP3",
            audio(auds(), wave(85, 1, 8000, 16)),
        ),
        (
            "audio of 12 bits",
            "PCM of 12 bits",
            audio(auds(), wave(1, 1, 8000, 12)),
        ),
        (
            "audio of no channels",
            "0 channels",
            audio(auds(), wave(1, 0, 8000, 8)),
        ),
        (
            "audio of 33 channels",
            "33 channels",
            audio(auds(), wave(1, 33, 8000, 8)),
        ),
        (
            "audio without a rate",
            "0 samples a second",
            audio(auds(), wave(1, 1, 0, 8)),
        ),
        (
            "audio of a wild rate",
            "192001 samples a second",
            audio(auds(), wave(1, 1, 192_001, 8)),
        ),
        (
            "audio of other blocks",
            "blocks of 3 bytes",
            audio(auds(), wave_of_blocks(1, 2, 8000, 3, 16)),
        ),
        (
            "audio of no blocks",
            "blocks of 0 bytes",
            audio(auds(), wave_of_blocks(1, 1, 8000, 0, 8)),
        ),
        (
            "audio that begins in a day",
            "86400 seconds after the first frame",
            audio(strh(b"auds", 1, 1, 86_400), wave(1, 1, 8000, 8)),
        ),
        (
            "audio that began a day ago",
            "-86400 seconds after",
            avi(
                &[
                    [strh(b"vids", 1, 1, 86_400), bitmap(16, 8, b"MJPG")],
                    [auds(), wave(1, 1, 8000, 8)],
                ],
                &[frame()],
            ),
        ),
        (
            "audio of a day",
            "86400 seconds, at most 43200",
            avi(
                &[video_stream(), [auds(), wave(1, 1, 1, 8)]],
                &[frame(), chunk(b"01wb", &[0; 86_400])],
            ),
        ),
        (
            "audio without ticks",
            "without a rate",
            audio(strh(b"auds", 0, 0, 0), wave(1, 1, 8000, 8)),
        ),
    ];
    for (name, why, bytes) in cases {
        let mut video = Video::from_bytes(bytes).expect(name);
        let unheard = video.unheard().expect(name);
        assert!(unheard.contains(why), "{name}: {unheard}");
        assert!(video.audio().expect("it is in memory").is_none(), "{name}");
        assert!(video.next_frame().expect(name).is_some(), "{name}");
    }
    let whole = audio(auds(), wave(1, 1, 8000, 8));
    assert_eq!(Video::from_bytes(whole).expect("a video").unheard(), None);
}

/// A GIF of such a screen, and of so many frames of one pixel that are shown so long, in hundredths
/// of a second.
fn gif(screen: [u16; 2], frames: usize, delay: u16) -> Vec<u8> {
    let [width, height] = screen.map(u16::to_le_bytes);
    let mut bytes = [
        &b"GIF89a"[..],
        &width,
        &height,
        &[0x80, 0, 0, 0, 0, 0, 255, 255, 255],
    ]
    .concat();
    for _ in 0..frames {
        bytes.extend([&[0x21, 0xF9, 4, 0][..], &delay.to_le_bytes(), &[0, 0]].concat());
        bytes.extend([0x2C, 0, 0, 0, 0, 1, 0, 1, 0, 0, 2, 2, 0x44, 1, 0]);
    }
    bytes.push(b';');
    bytes
}

#[test]
fn moving_images_that_lie() {
    assert!(error(gif([1, 1], 3, 5)).is_none());
    let good = golden("deltas.gif");
    let png = golden("deltas.png");
    let control = find(&png, b"acTL", 0);
    let second = find(&png, b"fcTL", 1);
    let webp = golden("lossy.webp");
    let frame = find(&webp, b"ANMF", 1);
    let screens = [
        (MOVING_PIXELS_MAX / (4096 * 4096)) as usize + 1,
        VIDEO_FRAMES_MAX + 1,
    ];
    check(
        vec![
            case("GIF: a head alone", &good[..6], Corrupt),
            case("GIF: no frames", gif([1, 1], 0, 0), Corrupt),
            case("GIF: no pixels", gif([0, 1], 1, 0), Pixels),
            case("GIF: a large screen", gif([u16::MAX; 2], 1, 0), Pixels),
            case("GIF: a long show", gif([1, 1], 100, u16::MAX), Length),
            case(
                "GIF: large screens of small frames",
                gif([4096, 4096], screens[0], 2),
                AllPixels,
            ),
            case("GIF: too many frames", gif([1, 1], screens[1], 2), Frames),
            case(
                "GIF: cut in the first frame",
                &gif([1, 1], 1, 0)[..38],
                Kind::Frame,
            ),
            case(
                "GIF: a block of no kind",
                with(&gif([1, 1], 2, 0), 27, &[0x55]),
                Kind::Frame,
            ),
            case(
                "PNG: a still",
                [&png[..control - 4], &png[control + 16..]].concat(),
                Still,
            ),
            case("PNG: a head alone", &png[..8], Corrupt),
            case(
                "PNG: cut in the first frame",
                &png[..second - 20],
                Kind::Frame,
            ),
            case("WebP: a still", still(), Still),
            case(
                "WebP: moving by its frames alone",
                with(&webp, 20, &[0]),
                Corrupt,
            ),
            case("WebP: a head alone", &webp[..12], Corrupt),
            case("WebP: cut in the first frame", &webp[..frame - 30], Corrupt),
            case(
                "WebP: a huge canvas",
                with(&webp, 24, &[0xFF, 0x3F, 0, 0xFF, 0x3F, 0]),
                Pixels,
            ),
            case(
                "WebP: a lossy frame of part of what was cleared",
                parts(),
                Unsupported,
            ),
        ],
        17,
    );
}

#[test]
fn the_frames_before_damage_are_seen_and_it_is_told() {
    let png = golden("deltas.png");
    let second = find(&png, b"fcTL", 1);
    let reframed = |at: usize, other: &[u8]| {
        let data = with(&png[second + 4..][..26], at, other);
        let chunk = png_chunk(b"fcTL", &data);
        with(&png, second - 4, &chunk)
    };
    let webp = golden("lossy.webp");
    let frame = find(&webp, b"ANMF", 1);
    let lossy = find(&webp, b"VP8 ", 1);
    let cleared = golden("cleared.webp");
    let cases = [
        ("PNG: too few frames", png[..second + 4].to_vec()),
        ("PNG: cut in a frame", png[..png.len() - 30].to_vec()),
        (
            "PNG: a frame beyond the canvas",
            reframed(12, &[0, 0, 1, 0]),
        ),
        ("PNG: a frame of no width", reframed(4, &[0; 4])),
        ("PNG: a huge frame", reframed(4, &[0x7F; 8])),
        ("PNG: frames out of order", reframed(0, &[0, 0, 0, 9])),
        (
            "PNG: a checksum that is wrong",
            with(&png, second + 6, &[9]),
        ),
        ("WebP: cut in a frame", webp[..webp.len() - 30].to_vec()),
        (
            "WebP: a frame beyond the canvas",
            with(&webp, frame + 8, &[1, 0, 0]),
        ),
        (
            "WebP: a frame of another size",
            with(&webp, frame + 14, &[1]),
        ),
        (
            "WebP: an image of another size",
            with(&webp, lossy + 14, &[0xFF, 0x3F]),
        ),
        (
            "WebP: a frame of odd length",
            with(&webp, frame + 4, &[webp[frame + 4] | 1]),
        ),
        (
            "WebP: a chunk beyond its frame",
            with(&webp, lossy + 4, &[0xFF, 0xFF]),
        ),
        (
            "WebP: a frame that is none",
            with(&cleared, find(&cleared, b"VP8L", 1), b"VP9L"),
        ),
        (
            "WebP: other bits",
            with(&cleared, find(&cleared, b"VP8L", 1) + 8, &[0; 8]),
        ),
    ];
    for (name, bytes) in cases {
        let mut video = Video::from_bytes(bytes).expect(name);
        let notes = video.notes();
        assert!(
            notes.len() == 1 && notes[0].to_string().contains("damaged"),
            "{name}: {notes:?}"
        );
        let frames = std::iter::from_fn(|| video.next_frame().expect(name)).count();
        assert!((1..6).contains(&frames), "{name}: {frames} frames");
    }
}

/// A WebP image that does not move.
fn still() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let image = DynamicImage::new_rgb8(3, 2);
    image
        .write_to(&mut bytes, ImageFormat::WebP)
        .expect("black can be written");
    bytes.into_inner()
}

/// A WebP video whose second frame is lossy and half as high as what the first one clears.
fn parts() -> Vec<u8> {
    let webp = golden("lossy.webp");
    let [first, second] = [0, 1].map(|nth| find(&webp, b"ANMF", nth));
    let mut bytes = with(&webp, first + 23, &[webp[first + 23] | 1]);
    let image = find(&webp, b"VP8 ", 1);
    bytes[second + 17] = 8;
    bytes[image + 16] = 9;
    bytes
}

#[test]
fn videos_with_wrong_bytes_never_panic() {
    let names = [
        "deltas.gif",
        "cleared.gif",
        "deltas.png",
        "cleared.png",
        "lossless.webp",
        "cleared.webp",
        "lossy.webp",
        "444.y4m",
        "tone.avi",
    ];
    for name in names {
        let bytes = golden(name);
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut broken = 0;
        for _ in 0..300 {
            let mut bytes = bytes.clone();
            for _ in 0..rng.random_range(1..5) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            broken += usize::from(error(bytes).is_some());
        }
        // Samples that are stored as they are cannot be wrong; their heads can.
        assert!(broken > 2, "{name}: {broken} of 300");
    }
}
