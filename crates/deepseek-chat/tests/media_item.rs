//! What stands in a prompt for audio and videos: times in order, every token once.

#[expect(dead_code, reason = "the others need its images and audio")]
mod senses;

use std::fmt::Write;
use std::ops::Range;

use deepseek_audio::{Audio, AudioConfig, Level, Pool};
use deepseek_chat::{AudioSource, MediaItem, MediaRows, Segment};
use deepseek_vision::video::{Clip, Video, VideoConfig};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use senses::{AUDIO, VISION};

/// 12.5 tokens a second, in chunks of 30 seconds.
const WHISPER: AudioConfig = AudioConfig {
    positions: 1500,
    chunk_seconds: 30,
    pad_to_chunk: true,
    level: Level::Chunk,
    pool: Pool::Stack4,
    ..AUDIO
};

fn silence(shape: AudioConfig, samples: usize) -> AudioSource {
    let blocks = move || {
        (0..samples)
            .step_by(4000)
            .map(move |at| vec![0.0; 4000.min(samples - at)])
    };
    AudioSource::new(shape, move || Ok(Audio::from_blocks(16_000, blocks()))).unwrap()
}

/// A video of grey frames, `fps` a second as a ratio.
fn video(frames: usize, fps: [u32; 2]) -> Video {
    let [ticks, seconds] = fps;
    let mut bytes = format!("YUV4MPEG2 W2 H2 F{ticks}:{seconds} Ip C420\n").into_bytes();
    for frame in 0..frames {
        bytes.extend(b"FRAME\n");
        bytes.extend([frame as u8; 6]);
    }
    Video::from_bytes(bytes).unwrap()
}

fn watch(video: Video, config: &VideoConfig, audio: Option<AudioSource>) -> MediaItem {
    MediaItem::video(Clip::new(video, &VISION, config), config, audio).unwrap()
}

/// The pieces of a medium as `docs/models/audio-video.md` writes them: `▣` for a frame, `♪` with the
/// number of its tokens for a block of audio.
fn shown(medium: &MediaItem) -> String {
    let mut shown = String::new();
    let mut tokens = None;
    for piece in medium.segments() {
        match piece {
            Segment::Text(text) => shown.push_str(text),
            Segment::Rows {
                source,
                number,
                rows,
            } => {
                let source = &medium.sources()[*source];
                let last = source.rows(*number).unwrap() - 1;
                match (source, &mut tokens) {
                    (MediaRows::Ready(_), _) => {
                        assert_eq!(*rows, 0..last + 1, "a frame is whole");
                        shown.push('▣');
                    }
                    (MediaRows::Audio(_), None) if *rows == (0..last + 1) => {
                        write!(shown, "♪×{} ", last - 1).unwrap();
                    }
                    (MediaRows::Audio(_), None) => {
                        assert_eq!(*rows, 0..1, "a block begins with a start");
                        tokens = Some(0);
                    }
                    (MediaRows::Audio(_), Some(count)) if *rows == (last..last + 1) => {
                        write!(shown, "♪×{count} ").unwrap();
                        tokens = None;
                    }
                    (MediaRows::Audio(_), Some(count)) => {
                        assert!(rows.start > 0 && rows.end <= last, "tokens lie within");
                        *count += rows.len();
                    }
                }
            }
        }
    }
    assert_eq!(tokens, None, "a block ends with an end");
    shown
}

#[test]
fn audio_of_one_chunk_is_one_block_and_a_longer_one_tells_the_time() {
    let shown = |seconds: usize| shown(&MediaItem::audio(silence(WHISPER, seconds * 16_000)));
    assert_eq!(shown(1), "♪×13 ");
    assert_eq!(shown(30), "♪×375 ");
    assert_eq!(shown(31), "<00:00>♪×375 <00:30>♪×13 ");
    assert_eq!(
        shown(100),
        "<00:00>♪×375 <00:30>♪×375 <01:00>♪×375 <01:30>♪×125 "
    );
    let long = shown(6150);
    assert!(long.ends_with("<102:00>♪×375 "), "{long}");
}

/// The example of `docs/models/audio-video.md` §6.5.
#[test]
fn the_audio_of_a_video_is_dealt_in_step_with_its_frames() {
    let config = VideoConfig::default();
    let four = |audio| shown(&watch(video(8, [2, 1]), &config, audio));
    let frames = "<0.0s>▣<0.5s>▣<1.0s>▣<1.5s>▣|<2.0s>▣<2.5s>▣<3.0s>▣<3.5s>▣|";
    assert_eq!(four(None), frames.replace('|', ""));
    let audio = |seconds: usize| Some(silence(WHISPER, seconds * 16_000));
    assert_eq!(four(audio(4)), frames.replace('|', "♪×25 "));
    // Audio past the end is heard for a second more, and no longer.
    assert_eq!(four(audio(60)), frames.replace('|', "♪×25 ") + "♪×13 ");
    // Audio that ends early leaves frames alone.
    assert_eq!(
        four(audio(1)),
        "<0.0s>▣<0.5s>▣<1.0s>▣<1.5s>▣♪×13 <2.0s>▣<2.5s>▣<3.0s>▣<3.5s>▣"
    );
}

#[test]
fn times_never_fall_and_every_token_stands_once() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (chunk_seconds, pool) = [
            (2, Pool::Stack4),
            (30, Pool::Stack4),
            (1, Pool::Avg2),
            (4, Pool::Stack8),
            (20, Pool::Stack8),
        ][rng.random_range(0..5)];
        let shape = AudioConfig {
            chunk_seconds,
            pool,
            positions: 1500,
            pad_to_chunk: rng.random(),
            ..WHISPER
        };
        let config = VideoConfig {
            fps: [0.5, 1.0, 2.0, 3.7][rng.random_range(0..4)],
            max_frames: rng.random_range(4..40),
            temporal_merge: rng.random_range(1..3),
            segment_seconds: [0.48, 2.0, 2.4, 7.0][rng.random_range(0..4)],
            ..VideoConfig::default()
        };
        let fps = [rng.random_range(1..31), rng.random_range(1..4)];
        let video = video(rng.random_range(1..90), fps);
        let duration = video.duration();
        let audio = silence(shape, rng.random_range(1..1_000_000));
        let (total, each) = (audio.tokens(), shape.chunk_tokens());
        let token_seconds = pool.samples() as f64 / 16_000.0;
        let medium = watch(video, &config, Some(audio));

        let mut heard: Vec<Range<usize>> = Vec::new();
        let (mut time, mut frames) = (0.0, 0);
        for piece in medium.segments() {
            match piece {
                Segment::Text(text) => {
                    let label = text.trim_matches(['<', '>', 's']).parse::<f64>().unwrap();
                    assert!(label >= time, "seed {seed}: {label} after {time}");
                    time = label;
                }
                Segment::Rows {
                    source: 0, number, ..
                } => {
                    assert_eq!(*number, frames, "seed {seed}");
                    frames += 1;
                }
                Segment::Rows { number, rows, .. } => {
                    let last = medium.sources()[1].rows(*number).unwrap() - 1;
                    let inner = rows.start.max(1)..rows.end.min(last);
                    if !inner.is_empty() {
                        let of = |row: usize| number * each + row - 1;
                        heard.push(of(inner.start)..of(inner.end));
                        // What is heard began no earlier than the last frame's segment did.
                        let segment = config.segment_seconds + token_seconds;
                        let began = of(inner.start) as f64 * token_seconds;
                        assert!(began + segment >= time, "seed {seed}: {began} after {time}");
                    }
                }
            }
        }
        let mut next = 0;
        for range in &heard {
            assert_eq!(range.start, next, "seed {seed}");
            next = range.end;
        }
        let most = ((duration + 1.0) / token_seconds).ceil() as usize;
        assert_eq!(next, total.min(most), "seed {seed}");
        assert_eq!(frames, count(&medium.sources()[0]), "seed {seed}");
    }
}

fn count(source: &MediaRows) -> usize {
    (0..)
        .take_while(|number| source.rows(*number).is_some())
        .count()
}
