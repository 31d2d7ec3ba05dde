//! Animated images, as images and as videos: what their frames draw over each other.

use std::borrow::Cow;

use deepseek_vision::Image;
use deepseek_vision::video::Video;
use gif::{DisposalMethod, Encoder, Frame};
use png::{BlendOp, ColorType, DisposeOp};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIDE: usize = 7;

type Pixel = [u8; 3];

/// All frames of a video, and what is told of it.
#[track_caller]
fn frames(bytes: &[u8]) -> (Vec<Image>, Vec<String>) {
    let mut video = Video::from_bytes(bytes).expect("a video");
    let frames = std::iter::from_fn(|| video.next_frame().expect("a frame"));
    let frames = frames.map(|(_, image)| image).collect();
    let notes = video.notes().iter().map(ToString::to_string).collect();
    (frames, notes)
}

/// The image and the first frame of the video are the same; gives the frames' pixels.
#[track_caller]
fn check_first(bytes: &[u8]) -> Vec<Vec<Pixel>> {
    let (frames, notes) = frames(bytes);
    assert!(notes.is_empty(), "{notes:?}");
    let image = Image::decode(bytes).expect("an image");
    assert_eq!(image.rgb(), frames[0].rgb());
    let pixels = |frame: &Image| frame.rgb().as_chunks::<3>().0.to_vec();
    frames.iter().map(pixels).collect()
}

/// A frame by chance, in part beyond the screen: with a palette of its own or not, with a transparent
/// colour or not.
fn random_frame(rng: &mut ChaCha8Rng) -> Frame<'static> {
    let [left, top] = [0; 2].map(|_: u16| rng.random_range(0..SIDE as u16));
    let [width, height] = [0; 2].map(|_: u16| rng.random_range(1..=SIDE as u16));
    let own = rng
        .random_bool(0.5)
        .then(|| (0..12).map(|_| rng.random()).collect());
    let pixels = (0..width * height)
        .map(|_| rng.random_range(0..4))
        .collect::<Vec<u8>>();
    Frame {
        left,
        top,
        width,
        height,
        delay: 5,
        dispose: match rng.random_range(0..4) {
            0 => DisposalMethod::Any,
            1 => DisposalMethod::Keep,
            2 => DisposalMethod::Background,
            _ => DisposalMethod::Previous,
        },
        transparent: rng.random_bool(0.7).then(|| rng.random_range(0..4)),
        palette: own,
        buffer: Cow::Owned(pixels),
        ..Frame::default()
    }
}

fn gif(palette: &[u8], frames: &[Frame<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = SIDE as u16;
    let mut encoder = Encoder::new(&mut bytes, side, side, palette).expect("a GIF");
    for frame in frames {
        encoder.write_frame(frame).expect("a frame");
    }
    drop(encoder);
    bytes
}

/// What is seen of a GIF, by its specification, pixel for pixel. Where nothing was drawn, a transparent
/// pixel shows its colour, as the published loader has it.
fn seen(palette: &[u8], frames: &[Frame<'_>]) -> Vec<Vec<Pixel>> {
    let first = &frames[0];
    let colours = first.palette.as_deref().unwrap_or(palette);
    let around = 3 * usize::from(first.transparent.unwrap_or(0));
    let around = [0, 1, 2].map(|channel| colours[around + channel]);
    let mut screen = vec![(around, false); SIDE * SIDE];
    let mut shown = Vec::new();
    for frame in frames {
        let colours = frame.palette.as_deref().unwrap_or(palette);
        let before = screen.clone();
        let mut covered = Vec::new();
        for (at, index) in frame.buffer.iter().enumerate() {
            let [x, y] = [at % usize::from(frame.width), at / usize::from(frame.width)];
            let [x, y] = [x + usize::from(frame.left), y + usize::from(frame.top)];
            if x >= SIDE || y >= SIDE {
                continue;
            }
            let place = y * SIDE + x;
            covered.push(place);
            let colour = [0, 1, 2].map(|channel| colours[3 * usize::from(*index) + channel]);
            let is_drawn = frame.transparent != Some(*index);
            if is_drawn || !screen[place].1 {
                screen[place] = (colour, is_drawn);
            }
        }
        shown.push(screen.iter().map(|(colour, _)| *colour).collect());
        match frame.dispose {
            DisposalMethod::Any | DisposalMethod::Keep => {}
            DisposalMethod::Background => {
                for place in covered {
                    screen[place] = ([0; 3], false);
                }
            }
            DisposalMethod::Previous => screen = before,
        }
    }
    shown
}

#[test]
fn a_gif_is_the_same_as_an_image_and_as_a_video() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..300 {
        let palette: Vec<u8> = (0..12).map(|_| rng.random()).collect();
        let count = rng.random_range(1..5);
        let frames: Vec<_> = (0..count).map(|_| random_frame(&mut rng)).collect();
        assert_eq!(
            check_first(&gif(&palette, &frames)),
            seen(&palette, &frames)
        );
    }
}

/// An APNG of frames by chance, each with a place and two operations.
fn apng(rng: &mut ChaCha8Rng, colour: ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let side = SIDE as u32;
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(colour);
    encoder.set_animated(3, 0).expect("frames");
    let mut writer = encoder.write_header().expect("a head");
    for index in 0..3 {
        let [mut width, mut height] = [side; 2];
        if index > 0 {
            [width, height] = [0; 2].map(|_: u32| rng.random_range(1..=side));
            writer.reset_frame_position().expect("a place");
            writer.set_frame_dimension(width, height).expect("a size");
            let [x, y] = [side - width, side - height].map(|most| rng.random_range(0..=most));
            writer.set_frame_position(x, y).expect("a place");
        }
        let blend = if rng.random() {
            BlendOp::Over
        } else {
            BlendOp::Source
        };
        writer.set_blend_op(blend).expect("an operation");
        let disposals = [DisposeOp::None, DisposeOp::Background, DisposeOp::Previous];
        let disposal = disposals[rng.random_range(0..3)];
        writer.set_dispose_op(disposal).expect("an operation");
        let data: Vec<u8> = (0..width * height * colour.samples() as u32)
            .map(|_| if rng.random() { rng.random() } else { 0 })
            .collect();
        writer.write_image_data(&data).expect("a frame");
    }
    writer.finish().expect("the end");
    bytes
}

#[test]
fn an_apng_is_the_same_as_an_image_and_as_a_video() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let kinds = [
        ColorType::Grayscale,
        ColorType::GrayscaleAlpha,
        ColorType::Rgb,
        ColorType::Rgba,
    ];
    for round in 0..200 {
        let bytes = apng(&mut rng, kinds[round % 4]);
        assert_eq!(check_first(&bytes).len(), 3);
    }
}

/// The golden videos, and how many frames each has.
fn golden(name: &str) -> Vec<u8> {
    let folder =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/video");
    std::fs::read(folder.join(name)).expect("a fixture")
}

#[test]
fn a_webp_is_the_same_as_an_image_and_as_a_video() {
    for name in ["lossless.webp", "cleared.webp", "lossy.webp"] {
        check_first(&golden(name));
    }
}

#[test]
fn the_frames_before_a_cut_are_seen_and_it_is_told() {
    for name in [
        "deltas.gif",
        "cleared.gif",
        "deltas.png",
        "cleared.png",
        "lossless.webp",
        "cleared.webp",
        "lossy.webp",
        "420.y4m",
        "tone.avi",
    ] {
        let whole = golden(name);
        let (all, notes) = frames(&whole);
        assert!(notes.is_empty(), "{name}: {notes:?}");
        let mut counts = Vec::new();
        for end in (0..whole.len()).step_by(whole.len() / 150 + 1) {
            let Ok(video) = Video::from_bytes(&whole[..end]) else {
                counts.push(0);
                continue;
            };
            drop(video);
            let (seen, notes) = frames(&whole[..end]);
            assert_eq!(seen, all[..seen.len()], "{name} cut at {end}");
            counts.push(seen.len());
            // Behind any frame of a Y4M nothing says that there should be more.
            let may_be_whole = name.ends_with(".y4m") || seen.len() == all.len();
            let told = notes.iter().all(|note| note.contains("damaged")) && notes.len() == 1;
            assert!(
                told || (may_be_whole && notes.is_empty()),
                "{name} cut at {end}: {notes:?}"
            );
        }
        // More of the file is more of the video, up to its last frame but one.
        assert!(counts.is_sorted(), "{name}: {counts:?}");
        let last = counts.last().copied().expect("a cut");
        assert!(last + 1 >= all.len() && last > 1, "{name}: {counts:?}");
    }
}
