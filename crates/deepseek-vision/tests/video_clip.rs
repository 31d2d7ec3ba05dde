//! What of a video the model sees, and in which order: without a file, by numbers alone.

use deepseek_vision::video::{AudioTokens, Label, Part, VideoConfig, deal, sample};
use deepseek_vision::{Grid, VisionConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CONFIG: VideoConfig = VideoConfig {
    fps: 2.0,
    min_frames: 4,
    max_frames: 512,
    frame_max_tokens: 128,
    frame_min_tokens: 16,
    frame_min_pixels: 336 * 336,
    max_tokens: 32_768,
    temporal_merge: 1,
    segment_seconds: 2.0,
};

/// The times of so many frames at a constant rate, and when the last one ends.
fn constant(frames: usize, ticks: u32, seconds: u32) -> (Vec<f64>, f64) {
    let time = |index: usize| index as f64 * f64::from(seconds) / f64::from(ticks);
    ((0..frames).map(time).collect(), time(frames))
}

#[track_caller]
fn check_sample((times, duration): (Vec<f64>, f64), config: &VideoConfig, want: &[usize]) {
    assert_eq!(sample(&times, duration, config), want);
}

#[test]
fn the_defaults_are_those_of_the_specification() {
    assert_eq!(VideoConfig::default(), CONFIG);
    assert_eq!(CONFIG.check(), Ok(()));
}

#[test]
fn at_25_frames_a_second_two_are_taken_of_each() {
    // Frame 12 is seen at 0.48 s, the last one before half a second.
    let want = [0, 12, 25, 37, 50, 62, 75, 87];
    check_sample(constant(100, 25, 1), &CONFIG, &want);
    // A second is whole, however its fractions add up.
    for seconds in 2..600 {
        let (times, duration) = constant(25 * seconds, 25, 1);
        assert_eq!(
            sample(&times, duration, &CONFIG).len(),
            (2 * seconds).min(512)
        );
    }
}

#[test]
fn at_30000_to_1001_frames_the_last_before_each_time_is_taken() {
    let want = [0, 14, 29, 44, 59, 74, 89, 104, 119];
    check_sample(constant(136, 30_000, 1001), &CONFIG, &want);
}

#[test]
fn time_drives_a_video_of_a_variable_rate() {
    let times = vec![0.0, 0.1, 0.2, 0.3, 2.0, 2.05, 3.4, 3.5];
    // Wanted at 0.4, 1.2, 2.0, 2.8 and 3.6 s.
    let config = VideoConfig {
        max_frames: 5,
        ..CONFIG
    };
    check_sample((times.clone(), 4.0), &config, &[3, 4, 5, 6, 7]);
    // Wanted at 0, 1, 2 and 3 s.
    let config = VideoConfig { fps: 1.0, ..CONFIG };
    check_sample((times, 4.0), &config, &[0, 3, 4, 5]);
}

#[test]
fn a_frame_that_is_taken_leaves_the_next_one() {
    // Wanted at 0, 0.5, 1, 1.5, 2 and 2.5.
    let times = vec![0.0, 0.4, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4];
    check_sample((times, 3.0), &CONFIG, &[0, 1, 2, 3, 4, 7]);
    // Nothing is seen until late: the first ones are taken so that four are left.
    let times = vec![0.0, 0.1, 0.2, 9.9];
    check_sample((times, 10.0), &CONFIG, &[0, 1, 2, 3]);
}

#[test]
fn one_frame_is_one_frame() {
    check_sample((vec![0.0], 0.04), &CONFIG, &[0]);
    check_sample((vec![0.0], 3600.0), &CONFIG, &[0]);
    check_sample((vec![0.0], 0.0), &CONFIG, &[0]);
}

#[test]
fn a_third_of_a_second_has_the_least_number_of_frames() {
    // 0.3 s at 10 frames a second: three. At 25: four of eight, around the middles of quarters.
    check_sample(constant(3, 10, 1), &CONFIG, &[0, 1, 2]);
    let (times, _) = constant(8, 25, 1);
    check_sample((times, 0.3), &CONFIG, &[0, 2, 4, 6]);
}

#[test]
fn three_hours_are_spread_over_the_most_frames() {
    let frames = 3 * 3600 * 25;
    let (times, duration) = constant(frames, 25, 1);
    let chosen = sample(&times, duration, &CONFIG);
    let step = frames as f64 / 512.0;
    let want: Vec<usize> = (0..512)
        .map(|index| ((f64::from(index) + 0.5) * step + 1e-3) as usize)
        .collect();
    assert_eq!(chosen, want);
}

#[test]
fn samples_rise_and_are_as_many_as_there_should_be() {
    for seed in 0..2000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = VideoConfig {
            fps: rng.random_range(0.1..30.0),
            min_frames: rng.random_range(1..6),
            max_frames: rng.random_range(6..40),
            ..CONFIG
        };
        let mut at = 0.0;
        let times: Vec<f64> = (0..rng.random_range(1..200))
            .map(|index| {
                let step: f64 = rng.random_range(-0.2..0.5);
                at += if index == 0 { 0.0 } else { step.max(0.0) };
                at
            })
            .collect();
        let duration = at + rng.random_range(0.0..1.0);
        let chosen = sample(&times, duration, &config);
        assert!(chosen.is_sorted_by(|a, b| a < b), "seed {seed}: {chosen:?}");
        assert!(
            chosen.iter().all(|index| *index < times.len()),
            "seed {seed}"
        );
        let (least, most) = (
            config.min_frames.min(times.len()),
            config.max_frames.min(times.len()),
        );
        let ideal = (duration * config.fps + 1e-6) as usize;
        assert_eq!(chosen.len(), ideal.clamp(least, most), "seed {seed}");
    }
}

#[test]
fn sizes_of_frames_are_those_of_the_specification() {
    // Source, frames, most tokens; rows and columns of cells, tokens.
    let cases = [
        ([1920, 1080], 20, 128, [8, 14], 122),
        ([1080, 1920], 20, 128, [13, 7], 106),
        ([640, 480], 20, 128, [9, 12], 119),
        ([1920, 1080], 20, 64, [5, 9], 52),
        ([1920, 1080], 512, 128, [5, 9], 52),
    ];
    for ([width, height], frames, frame_max_tokens, [rows, columns], tokens) in cases {
        let config = VideoConfig {
            frame_max_tokens,
            ..CONFIG
        };
        let grid = Grid::fit(
            width,
            height,
            &config.vision(frames, &VisionConfig::RELEASED),
        );
        assert_eq!(
            (grid.cells, grid.tokens()),
            ([columns, rows], tokens),
            "{width}x{height}"
        );
    }
    // As many as the embedded model has, and the budget of ten minutes.
    assert_eq!(CONFIG.cap(512), 64);
    assert_eq!(512 * 52, 26_624);
    let small = VideoConfig {
        frame_max_tokens: 11,
        frame_min_tokens: 8,
        frame_min_pixels: 84 * 84,
        ..CONFIG
    };
    let grid = Grid::fit(84, 84, &small.vision(6, &VisionConfig::RELEASED));
    assert_eq!((grid.canvas, grid.tokens()), ([84, 84], 8));
}

#[test]
fn every_frame_is_within_its_budget() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..20_000 {
        let least = rng.random_range(4..40);
        let config = VideoConfig {
            frame_min_tokens: least,
            frame_max_tokens: least + rng.random_range(0..200),
            frame_min_pixels: rng.random_range(1..500_000),
            ..CONFIG
        };
        let frames = rng.random_range(1..4000);
        let [width, height] = [(); 2].map(|()| rng.random_range(1..5000));
        let grid = Grid::fit(
            width,
            height,
            &config.vision(frames, &VisionConfig::RELEASED),
        );
        let cap = config.cap(frames);
        assert!(
            (4..=cap).contains(&grid.tokens()),
            "{width}x{height} {config:?} {frames}: {grid:?}"
        );
    }
}

#[test]
fn labels_have_one_decimal() {
    for (seconds, want) in [
        (0.0, "<0.0s>"),
        (0.48, "<0.5s>"),
        (1.0, "<1.0s>"),
        (12.5, "<12.5s>"),
        (1.968_6, "<2.0s>"),
        (0.25, "<0.2s>"),
        (0.75, "<0.8s>"),
        (3600.0, "<3600.0s>"),
        (43_200.0, "<43200.0s>"),
    ] {
        assert_eq!(Label::at(seconds).to_string(), want);
    }
    assert_eq!(Label::at(1.968_6).milliseconds(), 2000);
}

/// Frames as `f`, blocks of audio as their number of tokens.
#[track_caller]
fn check_deal(seconds: &[f64], duration: f64, tokens: usize, want: &str) {
    let labels: Vec<Label> = seconds.iter().copied().map(Label::at).collect();
    let audio = AudioTokens {
        tokens,
        token_ms: 80,
        segment_ms: 2000,
    };
    let parts = deal(&labels, duration, audio);
    let words = parts.iter().map(|part| match part {
        Part::Frame(_) => "f".to_owned(),
        Part::Audio(range) => range.len().to_string(),
    });
    assert_eq!(words.collect::<Vec<_>>().join(" "), want);
}

#[test]
fn audio_stands_behind_the_frames_of_its_two_seconds() {
    let halves: Vec<f64> = (0..8).map(|index| f64::from(index) / 2.0).collect();
    check_deal(&halves, 4.0, 50, "f f f f 25 f f f f 25");
    // By its label a frame of 1.97 s belongs to what begins at 2.0 s.
    check_deal(&[0.0, 1.97], 4.0, 50, "f 25 f 25");
    check_deal(&[0.0, 1.94], 4.0, 50, "f f 25 25");
    // Audio alone, between frames and behind them.
    check_deal(&[0.0, 6.5], 8.0, 100, "f 25 25 25 f 25");
    check_deal(&[0.0], 0.5, 0, "f");
    check_deal(&[], 4.0, 30, "25 5");
    // Audio that ends first.
    check_deal(&halves, 4.0, 10, "f f f f 10 f f f f");
}

#[test]
fn audio_a_second_past_the_end_is_left_out() {
    // Tokens that begin before 5.0 s: 63 of them, the last at 4.96 s.
    check_deal(&[0.0, 3.5], 4.0, 1000, "f 25 f 25 13");
    check_deal(&[0.0, 3.5], 4.0, 63, "f 25 f 25 13");
    check_deal(&[0.0, 3.5], 4.0, 62, "f 25 f 25 12");
}

#[test]
fn every_token_is_dealt_once_and_in_order() {
    for seed in 0..2000 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut at = 0.0;
        let labels: Vec<Label> = (0..rng.random_range(0..60))
            .map(|_| {
                let label = Label::at(at);
                at += rng.random_range(0.0..3.0);
                label
            })
            .collect();
        let audio = AudioTokens {
            tokens: rng.random_range(0..800),
            token_ms: [40, 80, 160][rng.random_range(0..3)],
            segment_ms: rng.random_range(1..5000),
        };
        let duration = at + rng.random_range(0.0..5.0);
        let segment_ms = (audio.segment_ms / audio.token_ms).max(1) * audio.token_ms;
        let (mut frames, mut tokens, mut segment) = (0, 0, 0);
        for part in deal(&labels, duration, audio) {
            let next = match part {
                Part::Frame(index) => {
                    assert_eq!(index, frames, "seed {seed}");
                    frames += 1;
                    labels[index].milliseconds() / segment_ms
                }
                Part::Audio(range) => {
                    assert!(range.start == tokens && range.end > tokens, "seed {seed}");
                    tokens = range.end;
                    let segment = |token: usize| token as u64 * audio.token_ms / segment_ms;
                    assert_eq!(segment(range.start), segment(range.end - 1), "seed {seed}");
                    segment(range.start)
                }
            };
            assert!(next >= segment, "seed {seed}");
            segment = next;
        }
        assert_eq!(frames, labels.len(), "seed {seed}");
        let heard = (0..audio.tokens).take_while(|token| {
            (*token as u64 * audio.token_ms) < (duration * 1000.0).round() as u64 + 1000
        });
        assert_eq!(tokens, heard.count(), "seed {seed}");
    }
}

#[test]
fn numbers_that_make_no_sense_are_refused() {
    let cases = [
        VideoConfig { fps: 0.0, ..CONFIG },
        VideoConfig {
            fps: f64::NAN,
            ..CONFIG
        },
        VideoConfig {
            fps: f64::INFINITY,
            ..CONFIG
        },
        VideoConfig {
            segment_seconds: -1.0,
            ..CONFIG
        },
        VideoConfig {
            min_frames: 0,
            ..CONFIG
        },
        VideoConfig {
            max_frames: 3,
            ..CONFIG
        },
        VideoConfig {
            frame_min_tokens: 3,
            ..CONFIG
        },
        VideoConfig {
            frame_max_tokens: 15,
            ..CONFIG
        },
        VideoConfig {
            frame_min_pixels: 0,
            ..CONFIG
        },
        VideoConfig {
            temporal_merge: 0,
            ..CONFIG
        },
    ];
    for config in cases {
        let error = config.check().expect_err("a number is wrong");
        let text = error.to_string();
        assert!(
            text.starts_with("video: ") && text.contains(", want "),
            "{text}"
        );
    }
    let error = VideoConfig {
        max_frames: 3,
        ..CONFIG
    }
    .check()
    .expect_err("fewer than the least");
    assert_eq!(error.to_string(), "video: max_frames is 3, want at least 4");
}
