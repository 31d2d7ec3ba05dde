//! Files that lie: each gives a typed error, within bounds and without a panic.

mod common;

use common::{SMALL, bytes, decode, floats, peak, riff, wav};
use deepseek_audio::{Audio, AudioConfig, AudioError, Chunks, Limits};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What no file here makes the process hold, far below what some of them ask for.
const BYTES_MAX: u64 = 512 << 20;

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Empty,
    UnknownFormat,
    NoTrack,
    NoSamples,
    Opus,
    Rate,
    RateChanges,
    UnreadFormat,
    Channels,
    Length,
    Packets,
    Memory,
    Unsupported,
    Corrupt,
}
use Kind::{
    Channels as ManyChannels, Corrupt, Memory, NoSamples, NoTrack, Packets, Rate, UnknownFormat,
    Unsupported,
};

fn kind(error: &AudioError) -> Kind {
    match error {
        AudioError::Empty => Kind::Empty,
        AudioError::UnknownFormat { .. } => UnknownFormat,
        AudioError::NoTrack { .. } => NoTrack,
        AudioError::NoSamples => NoSamples,
        AudioError::Opus => Kind::Opus,
        AudioError::Rate { .. } => Rate,
        AudioError::RateChanges { .. } => Kind::RateChanges,
        AudioError::UnreadFormat { .. } => Kind::UnreadFormat,
        AudioError::Channels { .. } => ManyChannels,
        AudioError::Length { .. } => Kind::Length,
        AudioError::Packets { .. } => Packets,
        AudioError::Memory { .. } => Memory,
        AudioError::Unsupported { .. } => Unsupported,
        AudioError::Corrupt { .. } => Corrupt,
        other => unreachable!("{other} has no kind"),
    }
}

/// Reads a whole file as the tower would: how many tokens it has.
fn read(bytes: &[u8], limits: Limits) -> Result<usize, AudioError> {
    let open = || Audio::from_bytes(bytes.to_vec(), limits);
    let shape = AudioConfig {
        pad_to_chunk: false,
        ..SMALL
    };
    let mut tokens = 0;
    for chunk in Chunks::new(&shape, open)? {
        let chunk = chunk?;
        assert!(chunk.features.data().iter().all(|x| x.is_finite()));
        tokens += chunk.tokens;
    }
    Ok(tokens)
}

type Case = (&'static str, Vec<u8>, Kind);

/// Holds every case, that there are at least `least` of them, and what they cost.
#[track_caller]
fn check(cases: &[Case], least: usize) {
    assert!(cases.len() >= least, "{} cases", cases.len());
    let wrong = cases.iter().filter_map(|(name, bytes, want)| {
        let error = match read(bytes, Limits::default()) {
            Ok(tokens) => return Some(format!("{name}: taken as {tokens} tokens")),
            Err(error) => error,
        };
        assert!(error.to_string().starts_with("audio: "), "{name}: {error}");
        let found = kind(&error);
        (found != *want).then(|| format!("{name}: {found:?}, want {want:?}: {error}"))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    if let Some(peak) = peak() {
        assert!(peak < BYTES_MAX, "{} MiB", peak >> 20);
    }
}

/// `bytes` with other ones at `at`.
fn with(bytes: &[u8], at: usize, other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..][..other.len()].copy_from_slice(other);
    bytes
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    let at = bytes.windows(what.len()).position(|part| part == what);
    at.expect("it is there")
}

/// `bytes` with other ones, `late` bytes behind the beginning of `what`.
fn behind(bytes: &[u8], what: &[u8], late: usize, other: &[u8]) -> Vec<u8> {
    with(bytes, find(bytes, what) + late, other)
}

const LARGEST: [u8; 4] = [0xFF; 4];

#[test]
fn what_is_no_audio_is_refused() {
    let cases = [
        ("nothing", Vec::new(), Kind::Empty),
        ("a byte", vec![0xFF], UnknownFormat),
        ("zeros", vec![0; 4096], UnknownFormat),
        ("text", b"not audio at all, ".repeat(50), UnknownFormat),
        (
            "an image",
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec(),
            UnknownFormat,
        ),
        ("opus", bytes("two.opus"), Kind::Opus),
        (
            "a video without audio",
            riff_of(b"AVI ", &[]),
            Kind::UnreadFormat,
        ),
    ];
    check(&cases, 7);
}

/// A RIFF file of another kind than WAVE.
fn riff_of(kind: &[u8; 4], chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    with(&riff(chunks), 8, kind)
}

#[test]
fn wav_files_that_lie_are_refused() {
    let data = [1, 2, 3, 4].repeat(100);
    let good = wav(16_000, 1, [1, 16], &data);
    assert_eq!(read(&good, Limits::default()).ok(), Some(1));
    let format = &good[20..36];
    let adpcm = bytes("two.adpcm.wav");
    let cases = [
        ("a rate of zero", wav(0, 1, [1, 16], &data), Rate),
        ("a rate below all", wav(999, 1, [1, 16], &data), Rate),
        (
            "a rate beyond the bound",
            wav(192_001, 1, [1, 16], &data),
            Rate,
        ),
        ("the largest rate", wav(u32::MAX, 1, [1, 16], &data), Rate),
        ("no channels", wav(16_000, 0, [1, 16], &data), Corrupt),
        (
            "channels beyond the bound",
            wav(16_000, 33, [1, 16], &data),
            ManyChannels,
        ),
        (
            "the most channels",
            wav(16_000, u16::MAX, [1, 16], &data),
            ManyChannels,
        ),
        ("samples of no bits", wav(16_000, 1, [1, 0], &data), Corrupt),
        (
            "samples of the most bits",
            wav(16_000, 1, [1, u16::MAX], &data),
            Corrupt,
        ),
        (
            "samples of 65 bits",
            wav(16_000, 1, [1, 65], &data),
            Corrupt,
        ),
        (
            "floats of 16 bits",
            wav(16_000, 1, [3, 16], &data),
            Unsupported,
        ),
        (
            "an unknown codec",
            wav(16_000, 1, [0x55AA, 16], &data),
            Unsupported,
        ),
        ("no samples", wav(16_000, 1, [1, 16], &[]), NoSamples),
        ("half a sample", wav(16_000, 1, [1, 16], &[1]), NoSamples),
        ("nothing inside", riff(&[]), Corrupt),
        (
            "samples without a format",
            riff(&[(b"data", &data)]),
            Corrupt,
        ),
        (
            "a format without samples",
            riff(&[(b"fmt ", format)]),
            Corrupt,
        ),
        (
            "a format cut short",
            riff(&[(b"fmt ", &format[..4]), (b"data", &data)]),
            Corrupt,
        ),
        (
            "a format of the largest size",
            with(&good, 16, &LARGEST),
            Corrupt,
        ),
        (
            "a list of the largest size",
            {
                let list = riff(&[(b"LIST", b"INFO"), (b"fmt ", format), (b"data", &data)]);
                with(&list, 16, &LARGEST)
            },
            Corrupt,
        ),
        ("a head cut off", good[..30].to_vec(), Corrupt),
        ("blocks of no bytes", with(&adpcm, 32, &[0, 0]), Corrupt),
    ];
    check(&cases, 22);
}

#[test]
fn flac_and_mpeg_files_that_lie_are_refused() {
    let flac = bytes("two.flac");
    let frames = find(&flac, &[0xFF, 0xF8]);
    let id3 = b"ID3\x04\0\0\x7F\x7F\x7F\x7F";
    let cases = [
        ("a mark alone", b"fLaC".to_vec(), Corrupt),
        ("a head without frames", flac[..frames].to_vec(), Corrupt),
        ("a head cut off", flac[..20].to_vec(), Corrupt),
        ("blocks of no samples", with(&flac, 8, &[0; 4]), Corrupt),
        ("a rate of zero", with(&flac, 18, &[0, 0, 0x02]), Corrupt),
        (
            "metadata of the largest size",
            with(&flac, 43, &[0xFF; 3]),
            Corrupt,
        ),
        (
            "frames that are zeros",
            [&flac[..frames], &[0; 9999]].concat(),
            Corrupt,
        ),
        (
            "frames of the second kind only",
            [&flac[..frames], &b"\xFF\xF8".repeat(4000)].concat(),
            Corrupt,
        ),
        ("a tag of the largest size", id3.to_vec(), UnknownFormat),
        (
            "a tag before nothing",
            b"ID3\x04\0\0\0\0\0\0".to_vec(),
            UnknownFormat,
        ),
        ("one MP3 head", b"\xFF\xFB\x90\x00".to_vec(), UnknownFormat),
        (
            "MP3 frames of ones",
            [&b"\xFF\xFB\x90\x00"[..], &[0xFF; 413]]
                .concat()
                .repeat(300),
            Packets,
        ),
        (
            "one AAC head",
            b"\xFF\xF1\x50\x80\x00\x1F\xFC".to_vec(),
            UnknownFormat,
        ),
    ];
    check(&cases, 13);
}

/// An Ogg file whose pages have been changed and summed anew.
fn ogg(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut file = bytes("two.ogg");
    change(&mut file);
    let starts: Vec<_> = (0..file.len() - 4)
        .filter(|at| &file[*at..at + 4] == b"OggS")
        .collect();
    let ends = starts.iter().skip(1).copied().chain([file.len()]);
    for (start, end) in starts.iter().copied().zip(ends) {
        let page = &mut file[start..end];
        page[22..26].fill(0);
        let sum = page.iter().fold(0_u32, |sum, byte| {
            (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
                (sum << 1) ^ (0x04C1_1DB7 & 0_u32.wrapping_sub(sum >> 31))
            })
        });
        page[22..26].copy_from_slice(&sum.to_le_bytes());
    }
    file
}

#[test]
fn ogg_files_that_lie_are_refused() {
    let head = |late: usize, other: &'static [u8]| {
        ogg(move |file| {
            let at = find(file, b"\x01vorbis") + late;
            file[at..][..other.len()].copy_from_slice(other);
        })
    };
    assert!(read(&ogg(|_| ()), Limits::default()).is_ok());
    let file = bytes("two.ogg");
    let pages: Vec<_> = (0..file.len() - 4)
        .filter(|at| &file[*at..at + 4] == b"OggS")
        .collect();
    let cases = [
        ("a mark alone", b"OggS".to_vec(), Corrupt),
        ("a first page alone", file[..pages[1]].to_vec(), Corrupt),
        (
            "heads alone",
            file[..pages[pages.len() - 1]].to_vec(),
            Corrupt,
        ),
        ("a wrong sum", with(&file, 22, &[0; 4]), Corrupt),
        ("no channels", head(11, &[0]), Corrupt),
        ("channels beyond the bound", head(11, &[255]), Unsupported),
        ("a rate of zero", head(12, &[0; 4]), Corrupt),
        ("the largest rate", head(12, &LARGEST), Rate),
        ("blocks of no samples", head(28, &[0]), Corrupt),
        ("blocks of the largest size", head(28, &[0xFF]), Corrupt),
        ("another codec", head(0, b"\x01zzzzzz"), Corrupt),
        (
            "many parts of another rate",
            [file.clone(), head(12, &[0x80, 0xBB, 0, 0])]
                .concat()
                .repeat(33),
            Kind::RateChanges,
        ),
        (
            "a codebook of the largest size",
            ogg(|file| {
                let at = find(file, b"BCV") + 3;
                file[at..][..5].fill(0xFF);
            }),
            Corrupt,
        ),
    ];
    check(&cases, 13);
}

#[test]
fn parts_of_an_ogg_file_may_differ_in_rate() {
    let file = bytes("two.ogg");
    let faster = ogg(|file| {
        let at = find(file, b"\x01vorbis") + 12;
        file[at..][..4].copy_from_slice(&48_000_u32.to_le_bytes());
    });
    let samples = |file: &[u8]| decode(file.to_vec()).expect("audio").len();
    let parts = [samples(&file), samples(&faster)];
    assert_eq!(parts, [4800, 4410]);
    assert_eq!(samples(&[file, faster].concat()), parts[0] + parts[1]);
}

#[test]
fn mp4_files_that_lie_are_refused() {
    let file = bytes("two.alac.m4a");
    // The magic cookie stands in the inner of two boxes of one name.
    let cookie = {
        let outer = find(&file, b"alac") + 4;
        outer + find(&file[outer..], b"alac") + 4
    };
    assert_eq!(&file[cookie + 4..cookie + 8], [0, 0, 0x10, 0]);
    let boxed = |name: &[u8; 4], size: u32| [&size.to_be_bytes()[..], name].concat();
    let nested = |depth: u32| -> Vec<u8> {
        let inner = (1..=depth)
            .rev()
            .flat_map(|level| boxed(b"moov", level * 8));
        [&file[..28], &inner.collect::<Vec<_>>()].concat()
    };
    let cases = [
        ("a first box alone", file[..28].to_vec(), Unsupported),
        (
            "a box of the largest size",
            [&file[..28], &boxed(b"moov", u32::MAX)].concat(),
            Corrupt,
        ),
        (
            "a movie of nothing",
            [&file[..28], &boxed(b"moov", 8)].concat(),
            Corrupt,
        ),
        ("boxes in boxes", nested(10_000), Corrupt),
        (
            "no table of samples",
            behind(&file, b"stbl", 0, b"free"),
            Corrupt,
        ),
        ("no track", behind(&file, b"trak", 0, b"free"), NoTrack),
        (
            "the most samples",
            behind(&file, b"stsz", 12, &LARGEST),
            Corrupt,
        ),
        (
            "the most samples of no bytes",
            behind(&file, b"stsz", 8, &[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]),
            Corrupt,
        ),
        (
            "the most samples of the largest size",
            behind(&file, b"stsz", 8, &[0xFF; 8]),
            Corrupt,
        ),
        (
            "the most chunks",
            behind(&file, b"stco", 8, &LARGEST),
            Corrupt,
        ),
        (
            "chunks beyond the end",
            behind(&file, b"stco", 12, &LARGEST),
            Corrupt,
        ),
        (
            "the most runs of chunks",
            behind(&file, b"stsc", 8, &LARGEST),
            Corrupt,
        ),
        (
            "the longest samples",
            behind(&file, b"stts", 8, &[0xFF; 12]),
            Corrupt,
        ),
        (
            "packets of the most frames",
            with(&file, cookie + 4, &LARGEST),
            Unsupported,
        ),
        (
            "samples of no bits",
            with(&file, cookie + 9, &[0]),
            NoSamples,
        ),
        ("no channels", with(&file, cookie + 13, &[0]), Corrupt),
        (
            "channels beyond the bound",
            with(&file, cookie + 13, &[255]),
            Corrupt,
        ),
        ("the largest rate", with(&file, cookie + 24, &LARGEST), Rate),
        (
            "an unknown codec",
            behind(&file, b"alac", 0, b"zzzz"),
            Unsupported,
        ),
    ];
    check(&cases, 19);
}

#[test]
fn caf_and_aiff_files_that_lie_are_refused() {
    let (caf, aiff) = (bytes("two.caf"), bytes("two.aiff"));
    let describe = |late: usize, other: &[u8]| behind(&caf, b"desc", 12 + late, other);
    let common = |late: usize, other: &[u8]| behind(&aiff, b"COMM", 8 + late, other);
    let packed = {
        let packed = describe(8, b"ima4");
        behind(&packed, b"desc", 12 + 20, &LARGEST)
    };
    let cases = [
        ("a mark alone", caf[..8].to_vec(), Corrupt),
        ("no description", behind(&caf, b"desc", 0, b"free"), Corrupt),
        ("no samples", behind(&caf, b"data", 0, b"free"), Corrupt),
        ("a rate of zero", describe(0, &0.0_f64.to_be_bytes()), Rate),
        (
            "a rate that is no number",
            describe(0, &f64::NAN.to_be_bytes()),
            Rate,
        ),
        (
            "a rate without end",
            describe(0, &f64::INFINITY.to_be_bytes()),
            Rate,
        ),
        (
            "a negative rate",
            describe(0, &(-44_100.0_f64).to_be_bytes()),
            Rate,
        ),
        ("an unknown codec", describe(8, b"zzzz"), Unsupported),
        ("packets of no bytes", describe(16, &[0; 4]), Corrupt),
        (
            "packets of the largest size",
            describe(16, &LARGEST),
            Corrupt,
        ),
        ("packets of the most frames", packed, Memory),
        ("no channels", describe(24, &[0; 4]), Corrupt),
        ("the most channels", describe(24, &LARGEST), Corrupt),
        ("samples of no bits", describe(28, &[0; 4]), Corrupt),
        ("samples of the most bits", describe(28, &LARGEST), Corrupt),
        (
            "a chunk of negative size",
            behind(&caf, b"chan", 4, &[0xFF; 8]),
            Corrupt,
        ),
        ("AIFF, a mark alone", aiff[..12].to_vec(), Corrupt),
        ("AIFF, a rate of zero", common(8, &[0; 10]), Corrupt),
        (
            "AIFF, a rate that is no number",
            common(8, &[0x7F, 0xFF, 0xC0, 0, 0, 0, 0, 0, 0, 0]),
            Corrupt,
        ),
        (
            "AIFF, the largest rate",
            common(
                8,
                &[0x7F, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
            ),
            Corrupt,
        ),
        ("AIFF, no channels", common(0, &[0; 2]), Corrupt),
        (
            "AIFF, channels beyond the bound",
            common(0, &[0, 33]),
            ManyChannels,
        ),
        ("AIFF, samples of no bits", common(6, &[0; 2]), Corrupt),
        (
            "AIFF, no samples",
            behind(&aiff, b"SSND", 0, b"free"),
            Corrupt,
        ),
        (
            "AIFF, no description",
            behind(&aiff, b"COMM", 0, b"free"),
            Corrupt,
        ),
    ];
    check(&cases, 25);
}

#[test]
fn matroska_files_that_lie_are_refused() {
    let file = bytes("two.flac.mka");
    let segment = find(&file, &[0x18, 0x53, 0x80, 0x67]);
    let head = &file[..segment];
    // The rate as a 64-bit float, and the channels.
    let rate = find(&file, &[0xB5, 0x88]) + 2;
    let channels = find(&file, &[0x9F, 0x81]) + 2;
    let codec = find(&file, b"A_FLAC");
    let nested = [
        &[0x18, 0x53, 0x80, 0x67, 0x01, 0, 0, 0, 0, 1, 0, 0][..],
        &b"\x12\x54\xC3\x67\x01\0\0\0\0\0\xFF\0".repeat(500),
    ]
    .concat();
    let cases = [
        ("a head alone", head.to_vec(), Unsupported),
        (
            "a segment of the largest size",
            [head, b"\x18\x53\x80\x67\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFE"].concat(),
            Corrupt,
        ),
        ("elements in elements", [head, &nested].concat(), Corrupt),
        (
            "a rate that is no number",
            with(&file, rate, &f64::NAN.to_be_bytes()),
            Corrupt,
        ),
        (
            "a negative rate",
            with(&file, rate, &(-1.0_f64).to_be_bytes()),
            Corrupt,
        ),
        ("no channels", with(&file, channels, &[0]), Corrupt),
        (
            "an unknown codec",
            with(&file, codec, b"A_ZZZZ"),
            Unsupported,
        ),
        (
            "another codec's data",
            with(&file, codec, b"A_ALAC"),
            Unsupported,
        ),
        (
            "no clusters",
            file[..find(&file, &[0x1F, 0x43, 0xB6, 0x75])].to_vec(),
            Corrupt,
        ),
    ];
    check(&cases, 9);
}

#[test]
fn a_length_that_is_not_known_is_no_lie() {
    // As programs write that do not know how much is to come.
    let good = wav(16_000, 1, [1, 16], &[1; 5120]);
    let endless = with(&with(&good, 4, &LARGEST), 40, &LARGEST);
    assert_eq!(read(&endless, Limits::default()).ok(), Some(2));
}

#[test]
fn bounds_hold_at_them_and_one_beyond() {
    let limits = Limits {
        seconds: 2,
        rate: 48_000,
        channels: 3,
    };
    let check = |rate: u32, channels: u16, frames: usize, want: Option<Kind>| {
        let samples = floats(&vec![0.25; frames * usize::from(channels)]);
        let found = read(&wav(rate, channels, [3, 32], &samples), limits);
        assert_eq!(
            found.as_ref().err().map(kind),
            want,
            "{rate} Hz, {channels}, {frames}"
        );
    };
    check(48_000, 1, 100, None);
    check(48_001, 1, 100, Some(Rate));
    check(1000, 1, 100, None);
    check(999, 1, 100, Some(Rate));
    check(16_000, 3, 100, None);
    check(16_000, 4, 100, Some(ManyChannels));
    check(16_000, 1, 32_000, None);
    check(16_000, 1, 32_001, Some(Kind::Length));
    check(8000, 2, 16_001, Some(Kind::Length));
}

/// Whole files of every format, by name: golden ones, and what the corpus of the fuzz target has
/// beside them.
fn files() -> Vec<(String, Vec<u8>)> {
    let golden = [
        "two.wav",
        "two.adpcm.wav",
        "two.aiff",
        "two.caf",
        "two.flac",
        "two.mp2",
        "two.mp3",
        "two.ogg",
        "two.aac",
        "two.m4a",
        "two.alac.m4a",
        "two.flac.mka",
    ];
    let corpus = [
        "good-aiff-sowt",
        "good-au",
        "good-caf-open",
        "good-rf64",
        "good-rifx",
        "good-wav-extensible",
        "good-wave64",
    ];
    let corpus = corpus.map(|name| format!("../../../fuzz/corpus/audio/{name}"));
    let names = golden.map(str::to_owned).into_iter().chain(corpus);
    names.map(|name| (name.clone(), bytes(&name))).collect()
}

/// A file that was changed is audio of no more than a few seconds, or an error that says so.
fn survive(bytes: &[u8], what: &str) {
    let limits = Limits {
        seconds: 60,
        ..Limits::default()
    };
    match read(bytes, limits) {
        Ok(tokens) => assert!(tokens <= 60 * 25 / 2, "{what}: {tokens} tokens"),
        Err(AudioError::Io(error)) => unreachable!("{what}: {error}"),
        Err(error) => assert!(error.to_string().starts_with("audio: "), "{what}: {error}"),
    }
}

#[test]
fn files_that_were_cut_off_anywhere_do_no_harm() {
    for (name, file) in files() {
        let heads = 0..file.len().min(200);
        for length in heads
            .step_by(7)
            .chain((200..file.len()).step_by(file.len().div_ceil(13)))
        {
            survive(&file[..length], &format!("{name}, {length} bytes"));
        }
    }
    assert!(peak().is_none_or(|peak| peak < BYTES_MAX));
}

#[test]
fn files_with_wrong_bytes_do_no_harm() {
    const SEED: u64 = 29;
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    for (name, file) in files() {
        for round in 0..100 {
            let mut file = file.clone();
            // Heads decide most, and boxes of an MP4 file stand at its end.
            let (head, tail) = (file.len().min(300), file.len().saturating_sub(700));
            for _ in 0..rng.random_range(1..4) {
                let at = match rng.random_range(0..4) {
                    0 | 1 => rng.random_range(0..head),
                    2 => rng.random_range(tail..file.len()),
                    _ => rng.random_range(0..file.len()),
                };
                file[at] = match rng.random_range(0..4) {
                    0 => 0,
                    1 => 0xFF,
                    2 => file[at] ^ 1 << rng.random_range(0..8),
                    _ => rng.random(),
                };
            }
            survive(&file, &format!("{name}, seed {SEED}, round {round}"));
        }
    }
    assert!(peak().is_none_or(|peak| peak < BYTES_MAX));
}
