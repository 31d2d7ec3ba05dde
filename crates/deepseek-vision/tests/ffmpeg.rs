//! Videos that FFmpeg decodes in a process of its own: this program is the worker, too.
#![allow(clippy::print_stdout, reason = "it stands in for the harness")]

use std::io::{stdin, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use deepseek_vision::VisionConfig;
use deepseek_vision::video::ffmpeg::{Workers, serve};
use deepseek_vision::video::{Clip, Video, VideoConfig, VideoError};
use image::GenericImageView;

/// The word that makes this program a worker.
const WORKER: &str = "video-worker";

const TESTS: [(&str, fn()); 10] = [
    ("frames_are_those_of_the_tool", frames_are_those_of_the_tool),
    (
        "bytes_and_files_are_the_same_video",
        bytes_and_files_are_the_same_video,
    ),
    ("frames_may_be_left_out", frames_may_be_left_out),
    (
        "what_is_sought_is_what_is_read",
        what_is_sought_is_what_is_read,
    ),
    ("audio_begins_with_the_video", audio_begins_with_the_video),
    ("opus_is_heard", opus_is_heard),
    (
        "what_is_built_in_needs_no_worker",
        what_is_built_in_needs_no_worker,
    ),
    ("what_is_no_video_is_an_error", what_is_no_video_is_an_error),
    (
        "a_worker_that_ends_is_an_error",
        a_worker_that_ends_is_an_error,
    ),
    (
        "a_worker_that_lies_is_an_error",
        a_worker_that_lies_is_an_error,
    ),
];

#[allow(clippy::disallowed_methods, reason = "another process reads it")]
fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(WORKER) {
        return match serve(&mut stdin().lock(), &mut stdout().lock()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    for (name, test) in TESTS {
        test();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

fn workers() -> Workers {
    Workers::new(|| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(WORKER);
        command
    })
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/video")
        .join(name)
}

fn all(mut video: Video) -> Vec<(f64, deepseek_vision::Image)> {
    std::iter::from_fn(|| video.next_frame().expect("a frame")).collect()
}

fn frames_are_those_of_the_tool() {
    let text = std::fs::read_to_string(fixture("meta.json")).expect("meta.json");
    let meta: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for name in [
        "601.mp4",
        "709.mp4",
        "turned.mp4",
        "variable.mkv",
        "late.mp4",
    ] {
        let strip = image::open(fixture(&format!("{name}.frames.png"))).expect("a strip");
        let delays: Vec<u32> =
            serde_json::from_value(meta["films"][name]["delays_ms"].clone()).expect("delays");
        let video = workers().open(&fixture(name)).expect("a video");
        assert!(video.duration() > 0.3, "{name}: {}", video.duration());
        let frames = all(video);
        assert_eq!(frames.len(), delays.len(), "{name}");
        let mut begin = 0;
        for (index, ((time, image), delay)) in frames.iter().zip(delays).enumerate() {
            assert!(
                (time - f64::from(begin) / 1000.0).abs() < 1e-3,
                "{name}: {time}"
            );
            begin += delay;
            let (width, height) = (image.width() as u32, image.height() as u32);
            let want = strip
                .view(index as u32 * width, 0, width, height)
                .to_image();
            let pairs = image.rgb().chunks(3).zip(want.pixels());
            let apart = pairs.flat_map(|(have, want)| {
                have.iter()
                    .zip(want.0)
                    .map(|(have, want)| u32::from(have.abs_diff(want)))
            });
            let mean = f64::from(apart.sum::<u32>()) / image.rgb().len() as f64;
            assert!(mean <= 1.0, "{name}: frame {index} is {mean} steps off");
        }
        // The frames are no still, which would be near whichever was taken.
        assert_ne!(frames[0].1, frames[5].1);
    }
}

fn bytes_and_files_are_the_same_video() {
    let path = fixture("601.mp4");
    let of_bytes = workers()
        .from_bytes(std::fs::read(&path).expect("a file"))
        .expect("a video");
    assert_eq!(all(of_bytes), all(workers().open(&path).expect("a video")));
}

fn frames_may_be_left_out() {
    let frames = all(workers().open(&fixture("601.mp4")).expect("a video"));
    let mut video = workers().open(&fixture("601.mp4")).expect("a video");
    for index in [1, 2, 5] {
        video.skip_to(index);
        assert_eq!(
            video.next_frame().expect("a frame").as_ref(),
            frames.get(index)
        );
    }
    let video = workers().open(&fixture("601.mp4")).expect("a video");
    let clip = Clip::new(video, &VisionConfig::RELEASED, &VideoConfig::default());
    assert_eq!(
        clip.collect::<Result<Vec<_>, _>>().expect("frames").len(),
        4
    );
}

fn what_is_sought_is_what_is_read() {
    let path = fixture("long.mp4");
    let frames = all(workers().open(&path).expect("a video"));
    assert_eq!(frames.len(), 60);
    // Near and far, at a key frame, before one and behind one, and the last.
    for indices in [&[0, 3, 20, 41, 59][..], &[19, 30], &[59]] {
        let mut video = workers().open(&path).expect("a video");
        for index in indices {
            video.skip_to(*index);
            let frame = video.next_frame().expect("a frame");
            assert!(
                frame.as_ref() == frames.get(*index),
                "frame {index} of {indices:?}"
            );
        }
    }
}

fn audio_begins_with_the_video() {
    let video = workers().open(&fixture("late.mp4")).expect("a video");
    // Once more gives the same.
    for _ in 0..2 {
        let track = video
            .audio()
            .expect("it can be read")
            .expect("there is audio");
        assert_eq!(track.rate(), 8000);
        let samples: Vec<f32> = track.flat_map(|block| block.expect("a block")).collect();
        assert_eq!(samples.len(), 1600 + 4000);
        for (index, sample) in samples.iter().enumerate() {
            let at = (index as f64 - 1600.0) * 440.0 / 8000.0;
            let want = if at < 0.0 {
                0.0
            } else {
                (at * std::f64::consts::TAU).sin() / 8.0
            };
            assert!(
                (f64::from(*sample) - want).abs() < 1e-3,
                "{index}: {sample}, want {want}"
            );
        }
    }
    let video = workers().open(&fixture("601.mp4")).expect("a video");
    assert!(video.audio().expect("it can be read").is_none());
}

fn opus_is_heard() {
    let track = workers().audio(&fixture("tone.opus")).expect("audio");
    assert_eq!(track.rate(), 48_000);
    let samples: Vec<f32> = track.flat_map(|block| block.expect("a block")).collect();
    assert!(
        (23_000..=25_000).contains(&samples.len()),
        "{}",
        samples.len()
    );
    let peak = samples.iter().copied().fold(0.0, f32::max);
    assert!((0.1..0.15).contains(&peak), "{peak}");
    let bytes = std::fs::read(fixture("tone.opus")).expect("a file");
    let track = workers().audio_from_bytes(bytes).expect("audio");
    assert_eq!(
        track
            .flat_map(|block| block.expect("a block"))
            .collect::<Vec<_>>(),
        samples
    );
}

fn what_is_built_in_needs_no_worker() {
    let none = Workers::new(|| Command::new("no such program"));
    let video = none.open(&fixture("deltas.gif")).expect("a video");
    assert_eq!(video.times().len(), 6);
    let error = none.open(&fixture("601.mp4")).expect_err("no worker");
    assert!(matches!(error, VideoError::Io(_)), "{error}");
}

fn what_is_no_video_is_an_error() {
    let mp4 = std::fs::read(fixture("601.mp4")).expect("a file");
    let playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n";
    let concat = b"ffconcat version 1.0\nfile /etc/passwd\n";
    let cases: [(&str, Vec<u8>); 6] = [
        ("half a video", mp4[..mp4.len() / 2].to_vec()),
        ("a head", mp4[..40].to_vec()),
        (
            "text",
            b"This is no video at all, however long one looks at it.".to_vec(),
        ),
        ("a playlist", playlist.to_vec()),
        ("a list of files", concat.to_vec()),
        (
            "audio alone",
            std::fs::read(fixture("tone.opus")).expect("a file"),
        ),
    ];
    for (name, bytes) in cases {
        let error = workers().from_bytes(bytes).expect_err(name);
        assert!(
            matches!(error, VideoError::Worker { .. }),
            "{name}: {error}"
        );
        assert!(error.to_string().starts_with("video: "), "{name}: {error}");
    }
    let error = workers()
        .audio(&fixture("601.mp4"))
        .expect_err("a silent video");
    assert_eq!(error.to_string(), "video: no audio");
}

fn a_worker_that_ends_is_an_error() {
    for program in ["true", "false"] {
        let workers = Workers::new(move || Command::new(program));
        let error = workers
            .open(&fixture("601.mp4"))
            .expect_err("a worker that is gone");
        let text = error.to_string();
        assert!(text.starts_with("video: the worker ended: "), "{text}");
    }
}

fn a_worker_that_lies_is_an_error() {
    // A timeline of two frames, then whatever it was asked: messages that it may not say.
    for (name, reply) in [
        ("an unknown word", r"Q\0\0\0\0"),
        ("a long message", r"T\377\377\377\377"),
        ("half a message", r"T\100\0\0\0abc"),
        ("a frame out of turn", r"F\013\0\0\0\001\0\0\0\001\0\0\0abc"),
        ("a frame of no pixels", r"F\010\0\0\0\0\0\0\0\0\0\0\0"),
        (
            "a frame of other sides",
            r"F\013\0\0\0\002\0\0\0\001\0\0\0abc",
        ),
        ("a timeline of nothing", r"T\011\0\0\0\0\0\0\0\0\0\0\0\0"),
        ("a timeline without a duration", r"T\001\0\0\0\0"),
        ("a rate of nothing", r"R\004\0\0\0\0\0\0\0"),
    ] {
        let workers = Workers::new(move || {
            let mut command = Command::new("printf");
            command.arg(reply);
            command
        });
        assert!(workers.open(&fixture("601.mp4")).is_err(), "{name}");
        assert!(workers.audio(&fixture("601.mp4")).is_err(), "{name}");
    }
}
