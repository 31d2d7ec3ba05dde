//! Videos that others wrote and decoded: `tests/oracle/make_video_golden.py`.

use std::path::{Path, PathBuf};

use deepseek_vision::video::Video;
use deepseek_vision::{Image, ImageError};
use image::RgbaImage;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/video")
}

/// How far samples may be from the oracle's: in the mean and at most.
struct Bounds {
    mean: f64,
    most: u8,
}

const SAME: Bounds = Bounds { mean: 0.0, most: 0 };

/// A video of each kind of file.
const FORMATS: [&str; 5] = [
    "deltas.gif",
    "deltas.png",
    "lossless.webp",
    "444.y4m",
    "tone.avi",
];

/// Holds a video against its strip of frames, wherever that is opaque.
#[track_caller]
fn check(name: &str, bounds: &Bounds) {
    let text = std::fs::read_to_string(folder().join("meta.json")).expect("meta.json");
    let meta: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let delays: Vec<u32> =
        serde_json::from_value(meta["films"][name]["delays_ms"].clone()).expect("delays");
    let strip = image::open(folder().join(format!("{name}.frames.png"))).expect("a strip");
    let strip = strip.into_rgba8();
    let mut video = Video::open(&folder().join(name)).expect("a video");
    let mut begin = 0;
    for (index, delay) in delays.iter().enumerate() {
        let (time, image) = video
            .next_frame()
            .expect("a frame")
            .expect("as many as there are");
        assert!(
            (time - f64::from(begin) / 1000.0).abs() < 1e-9,
            "frame {index} at {time}"
        );
        begin += delay;
        check_frame(&image, &strip, index, bounds);
    }
    assert!(video.next_frame().expect("the end").is_none());
    assert_eq!(video.times().len(), delays.len());
    assert!(
        (video.duration() - f64::from(begin) / 1000.0).abs() < 1e-9,
        "{}",
        video.duration()
    );
}

#[track_caller]
fn check_frame(image: &Image, strip: &RgbaImage, index: usize, bounds: &Bounds) {
    let (width, height) = (image.width() as u32, image.height() as u32);
    assert_eq!(height, strip.height());
    let mut apart = Vec::new();
    for (at, pixel) in (0..).zip(image.rgb().chunks_exact(3)) {
        let [x, y] = [at % width, at / width];
        let want = strip.get_pixel(index as u32 * width + x, y);
        if want[3] == 255 {
            apart.extend(
                pixel
                    .iter()
                    .zip(want.0)
                    .map(|(have, want)| have.abs_diff(want)),
            );
        }
    }
    assert!(apart.len() > image.rgb().len() / 3, "a strip of nothing");
    let sum: u32 = apart.iter().copied().map(u32::from).sum();
    let mean = f64::from(sum) / apart.len() as f64;
    let most = apart.into_iter().max().expect("samples");
    assert!(
        mean <= bounds.mean && most <= bounds.most,
        "frame {index}: {mean}, {most}"
    );
}

#[test]
fn a_gif_is_what_pillow_sees() {
    check("deltas.gif", &SAME);
    check("cleared.gif", &SAME);
}

#[test]
fn an_apng_is_what_pillow_sees() {
    check("deltas.png", &SAME);
    check("cleared.png", &SAME);
}

#[test]
fn an_animated_webp_is_what_pillow_sees() {
    // Blending is rounded in another way.
    let near = Bounds { mean: 0.5, most: 1 };
    check("lossless.webp", &near);
    check("cleared.webp", &near);
    check("lossy.webp", &Bounds { mean: 0.5, most: 3 });
}

#[test]
fn y4m_is_what_ffmpeg_sees() {
    check("420.y4m", &Bounds { mean: 1.5, most: 4 });
    check("444.y4m", &Bounds { mean: 1.0, most: 3 });
}

#[test]
fn motion_jpeg_is_what_ffmpeg_sees() {
    check("tone.avi", &Bounds { mean: 1.0, most: 5 });
}

#[test]
fn the_audio_of_an_avi_is_its_tone() {
    let video = Video::open(&folder().join("tone.avi")).expect("a video");
    let track = video
        .audio()
        .expect("it can be read")
        .expect("there is audio");
    assert_eq!(track.rate(), 8000);
    let samples: Vec<f32> = track.flat_map(|block| block.expect("a block")).collect();
    assert_eq!(samples.len(), 4000);
    // FFmpeg's tone has an eighth of the full scale.
    for (index, sample) in samples.iter().enumerate() {
        let want = (f64::from(index as u32) * 440.0 / 8000.0 * std::f64::consts::TAU).sin() / 8.0;
        assert!(
            (f64::from(*sample) - want).abs() < 1e-3,
            "{index}: {sample}, want {want}"
        );
    }
}

#[test]
fn a_video_of_images_has_no_audio() {
    let video = Video::open(&folder().join("deltas.gif")).expect("a video");
    assert!(video.audio().expect("it can be read").is_none());
}

#[test]
fn bytes_and_files_are_the_same_video() -> Result<(), Box<dyn std::error::Error>> {
    for name in FORMATS {
        let path = folder().join(name);
        let mut of_file = Video::open(&path)?;
        let mut of_bytes = Video::from_bytes(std::fs::read(&path)?)?;
        assert_eq!(of_file.times(), of_bytes.times());
        while let Some(frame) = of_file.next_frame()? {
            assert_eq!(Some(frame), of_bytes.next_frame()?, "{name}");
        }
    }
    Ok(())
}

#[test]
fn frames_may_be_left_out() -> Result<(), Box<dyn std::error::Error>> {
    for name in FORMATS {
        let path = folder().join(name);
        let mut every = Video::open(&path)?;
        let mut all = Vec::new();
        while let Some(frame) = every.next_frame()? {
            all.push(frame);
        }
        let mut some = Video::open(&path)?;
        for index in [1, 2, 5] {
            some.skip_to(index);
            assert_eq!(some.next_frame()?.as_ref(), all.get(index), "{name}");
        }
    }
    Ok(())
}

#[test]
fn the_first_frame_is_the_image() -> Result<(), ImageError> {
    for name in ["deltas.gif", "deltas.png", "lossless.webp"] {
        let bytes = std::fs::read(folder().join(name)).expect("a file");
        let image = Image::decode(&bytes)?;
        let mut video = Video::from_bytes(bytes).expect("a video");
        let frame = video.next_frame().expect("a frame").expect("at least one");
        assert_eq!(frame, (0.0, image), "{name}");
    }
    Ok(())
}
