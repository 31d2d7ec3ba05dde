//! Files that are audio: what each format and kind of sample becomes.

mod common;

use common::{all, bytes, decibels, decode, floats, path, wav};
use deepseek_audio::{Audio, AudioError, Limits, Note};

/// Both channels of the golden tones as 16-bit integers, averaged and resampled by hand, behind
/// `late` samples of silence.
fn two(late: usize) -> Vec<f32> {
    let file = bytes("two.wav");
    let frames = file[44..].as_chunks::<4>().0.iter();
    let mono = frames.map(|&[a, b, c, d]| {
        let [left, right] = [[a, b], [c, d]].map(|x| f32::from(i16::from_le_bytes(x)));
        (left + right) / 2.0 / 32_768.0
    });
    let samples: Vec<f32> = std::iter::repeat_n(0.0, late).chain(mono).collect();
    all(Audio::from_blocks(44_100, std::iter::once(samples))).expect("samples")
}

#[test]
fn lossless_formats_keep_every_sample() {
    let names = [
        "two.wav",
        "two.flac",
        "two.alac.m4a",
        "two.flac.mka",
        "two.caf",
        "two.aiff",
    ];
    for name in names {
        assert_eq!(decode(bytes(name)).expect(name), two(0), "{name}");
    }
}

#[test]
fn lossy_formats_are_near_and_begin_in_time() {
    // Samples that the encoder put before the audio, where the format does not tell of them, and
    // decibels of what it lost.
    let cases = [
        ("two.ogg", 0, -35.0),
        ("two.mka", 0, -35.0),
        ("two.mp3", 0, -25.0),
        ("two.adpcm.wav", 0, -25.0),
        ("two.mp2", 481, -40.0),
        ("two.m4a", 1024, -20.0),
        ("two.aac", 1024, -20.0),
    ];
    for (name, late, bound) in cases {
        let (got, want) = (decode(bytes(name)).expect(name), two(late));
        // Of what is appended, formats tell no more than of what is put before.
        let most = want.len() + 420;
        assert!(
            (want.len()..=most).contains(&got.len()),
            "{name}: {}",
            got.len()
        );
        let inside = 1200..want.len() - 400;
        let apart = decibels(&got[inside.clone()], &want[inside]);
        assert!(apart < bound, "{name}: {apart:.1} dB");
    }
}

#[test]
fn parts_of_an_ogg_file_follow_one_another() {
    let both = decode(bytes("two.ogg").repeat(2)).expect("audio");
    let alone = decode(bytes("two.ogg")).expect("audio");
    assert_eq!(both.len(), 2 * alone.len());
}

#[test]
fn opus_is_named() {
    let error = decode(bytes("two.opus")).expect_err("no decoder");
    assert!(matches!(error, AudioError::Opus), "{error}");
    assert_eq!(
        error.to_string(),
        "audio: Opus needs a build with the video feature"
    );
}

#[test]
fn a_file_is_read_from_disk_a_little_at_a_time() {
    let file = std::fs::File::open(path("speech.wav")).expect("a file");
    let mut audio = Audio::open(file, Limits::default()).expect("audio");
    let mut samples = Vec::new();
    audio.read(100, &mut samples).expect("samples");
    assert_eq!(samples.len(), 100);
    audio.read(usize::MAX, &mut samples).expect("samples");
    assert_eq!(samples, decode(bytes("speech.wav")).expect("the same"));
    audio.read(1, &mut samples).expect("nothing");
    assert_eq!(samples.len(), 40_175);
    assert_eq!(audio.skipped(), 0);
}

#[test]
fn integers_are_divided_by_their_range() {
    let check = |kind: [u16; 2], data: &[u8], want: &[f32]| {
        let got = decode(wav(16_000, 1, kind, data)).expect("audio");
        assert_eq!(got, want, "{kind:?}");
    };
    check(
        [1, 8],
        &[0, 128, 255, 192],
        &[-1.0, 0.0, 127.0 / 128.0, 0.5],
    );
    check([1, 16], &[0, 128, 255, 127], &[-1.0, 32_767.0 / 32_768.0]);
    check([1, 24], &[0, 0, 128, 0, 0, 64], &[-1.0, 0.5]);
    check([1, 32], &[0, 0, 0, 128, 0, 0, 0, 64], &[-1.0, 0.5]);
    check([3, 32], &floats(&[-3.5, 0.25]), &[-3.5, 0.25]);
    let wide: Vec<u8> = [-1.5_f64, 0.125]
        .iter()
        .flat_map(|x| x.to_le_bytes())
        .collect();
    check([3, 64], &wide, &[-1.5, 0.125]);
}

#[test]
fn channels_are_averaged() {
    let check = |channels: u16, samples: &[f32], want: &[f32]| {
        let got = decode(wav(16_000, channels, [3, 32], &floats(samples)));
        assert_eq!(got.expect("audio"), want, "{channels} channels");
    };
    check(2, &[1.0, 0.0, 0.5, 0.25], &[0.5, 0.375]);
    check(4, &[1.0, 2.0, 3.0, 6.0], &[3.0]);
    check(2, &[f32::MAX, f32::MAX], &[f32::MAX]);
}

#[test]
fn what_is_no_number_is_silence() {
    let samples = [1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0];
    let got = decode(wav(16_000, 1, [3, 32], &floats(&samples))).expect("audio");
    assert_eq!(got, [1.0, 0.0, 0.0, 0.0, -1.0]);
    let got = decode(wav(16_000, 2, [3, 32], &floats(&[f32::NAN, 1.0]))).expect("audio");
    assert_eq!(got, [0.5]);
}

#[test]
fn audio_that_was_cut_off_ends_there() {
    for (name, least) in [("two.wav", 2000), ("two.mp3", 1000), ("two.flac", 1000)] {
        let mut bytes = bytes(name);
        bytes.truncate(bytes.len() * 2 / 3);
        let got = decode(bytes).expect(name);
        assert!(
            got.len() >= least && got.len() < two(0).len(),
            "{name}: {}",
            got.len()
        );
    }
}

/// The samples of a file, and what is told of it.
fn told(bytes: Vec<u8>) -> Result<(Vec<f32>, Vec<Note>), AudioError> {
    let mut audio = Audio::from_bytes(bytes, Limits::default())?;
    let mut samples = Vec::new();
    audio.read(usize::MAX, &mut samples)?;
    Ok((samples, audio.notes()))
}

fn power(samples: &[f32]) -> f32 {
    samples.iter().map(|x| x * x).sum::<f32>() / samples.len() as f32
}

#[test]
fn joined_mpeg_files_are_heard_whole() {
    let names = ["two.mp3", "two.mono.mp3", "two.bare.mp3", "two.mp2"];
    for first in names {
        for second in names {
            let parts = [first, second].map(|name| decode(bytes(name)).expect(name));
            let joined = [bytes(first), bytes(second)].concat();
            let (joined, notes) = told(joined).expect("audio");
            let name = format!("{first} and {second}");
            // Only of the first is known what its encoder put before and behind.
            let least = parts[0].len() + parts[1].len();
            assert!(
                (least - 2..least + 2400).contains(&joined.len()),
                "{name}: {} of {least}",
                joined.len()
            );
            assert_eq!(notes, [], "{name}");
            let middle = joined.len() - parts[1].len() / 2;
            let ratio = power(&joined[middle..][..1000]) / power(&parts[1][2000..3000]);
            assert!((0.8..1.25).contains(&ratio), "{name}: {ratio}");
        }
    }
}

#[test]
fn the_end_of_an_mp3_file_is_not_guessed_from_its_beginning() {
    // Frames of many bits, then many of few: by the first ones it would be over much earlier.
    let (many, few) = (bytes("two.mp3"), bytes("two.bare.mp3"));
    let info = many
        .windows(4)
        .position(|part| part == b"Info")
        .expect("it is there");
    let sync = many[info..]
        .windows(2)
        .position(|part| part == [0xFF, 0xFB]);
    let many = many[info + sync.expect("frames")..].repeat(3);
    let least =
        decode(many.clone()).expect("audio").len() + 20 * decode(few.clone()).expect("audio").len();
    let (samples, notes) = told([many, few.repeat(20)].concat()).expect("audio");
    assert!(samples.len() + 1000 > least, "{} of {least}", samples.len());
    assert_eq!(notes, []);
}

const WHOLE: [&str; 16] = [
    "speech.wav",
    "two.wav",
    "two.adpcm.wav",
    "two.aiff",
    "two.caf",
    "two.flac",
    "two.mp2",
    "two.mp3",
    "two.mono.mp3",
    "two.bare.mp3",
    "two.ogg",
    "two.aac",
    "two.m4a",
    "two.alac.m4a",
    "two.flac.mka",
    "two.mka",
];

#[test]
fn there_is_nothing_to_be_told_of_files_that_are_whole() {
    for name in WHOLE {
        let (_, notes) = told(bytes(name)).expect(name);
        assert_eq!(notes, [], "{name}");
    }
}

#[test]
fn what_was_cut_off_is_refused_or_told() {
    // These say nothing of their length: half a frame is all that can be missed.
    let silent = ["two.mp2", "two.bare.mp3"];
    for name in WHOLE.iter().filter(|name| !silent.contains(name)) {
        let file = bytes(name);
        for tenths in [4, 5, 6, 7, 8, 9] {
            let cut = file[..file.len() * tenths / 10 - 1].to_vec();
            if let Ok((samples, notes)) = told(cut) {
                assert!(
                    !notes.is_empty(),
                    "{name}, {tenths} tenths: {} samples",
                    samples.len()
                );
            }
        }
    }
}

#[test]
fn what_is_damaged_is_refused_or_told() {
    for name in [
        "two.flac",
        "two.mp3",
        "two.ogg",
        "two.aac",
        "two.alac.m4a",
        "two.flac.mka",
    ] {
        let mut file = bytes(name);
        let whole = decode(file.clone()).expect(name);
        let middle = file.len() * 6 / 10;
        file[middle..middle + 600].fill(0x5A);
        if let Ok((samples, notes)) = told(file) {
            let is_told = !notes.is_empty() || samples.len() == whole.len();
            assert!(is_told, "{name}: {} of {}", samples.len(), whole.len());
        }
    }
}

#[test]
fn what_is_joined_to_a_file_is_heard_or_told() {
    for name in WHOLE {
        let file = bytes(name);
        let alone = decode(file.clone()).expect(name).len();
        let (samples, notes) = told(file.repeat(2)).expect(name);
        let is_whole = samples.len() >= 2 * alone - 2;
        assert!(
            is_whole || notes.len() == 1,
            "{name}: {} of {alone}, {notes:?}",
            samples.len()
        );
    }
}
