//! WAV and its kin, AIFF, AU and CAF, as programs write them: in any order, with any lengths, of any samples.

mod common;

use common::{all, bytes, floats, riff};
use deepseek_audio::{Audio, AudioError, Limits, Note};

/// Samples of 16 bits that a file is made of, at 16 kHz, and what they are.
fn samples() -> (Vec<i16>, Vec<f32>) {
    let samples: Vec<i16> = (0..500)
        .map(|at| (at * 131 % 60_000 - 30_000) as i16)
        .collect();
    let floats = samples.iter().map(|x| f32::from(*x) / 32_768.0).collect();
    (samples, floats)
}

fn little(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn big(samples: &[i16]) -> Vec<u8> {
    samples.iter().flat_map(|x| x.to_be_bytes()).collect()
}

/// What a WAV file says of its samples: code, channels, bytes of a block, bits of a sample.
fn format(code: u16, channels: u16, block: u16, bits: u16) -> Vec<u8> {
    let rate = 16_000_u32;
    let mut format = code.to_le_bytes().to_vec();
    format.extend(channels.to_le_bytes());
    format.extend(rate.to_le_bytes());
    format.extend((rate * u32::from(block)).to_le_bytes());
    format.extend(block.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format
}

/// The same in 40 bytes: the code and bits that count stand behind a mask of channels.
fn extensible(code: u16, channels: u16, block: u16, bits: [u16; 2], mask: u32) -> Vec<u8> {
    let mut format = format(0xFFFE, channels, block, bits[0]);
    format.extend(22_u16.to_le_bytes());
    format.extend(bits[1].to_le_bytes());
    format.extend(mask.to_le_bytes());
    format.extend(code.to_le_bytes());
    format.extend(*b"\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71");
    format
}

const PLAIN: (u16, u16, u16, u16) = (1, 1, 2, 16);

fn plain() -> Vec<u8> {
    let (code, channels, block, bits) = PLAIN;
    format(code, channels, block, bits)
}

/// The samples of a file and what is told of it.
fn read(file: &[u8]) -> Result<(Vec<f32>, Vec<Note>), AudioError> {
    let mut audio = Audio::from_bytes(file.to_vec(), Limits::default())?;
    let mut samples = Vec::new();
    audio.read(usize::MAX, &mut samples)?;
    Ok((samples, audio.notes()))
}

/// A file is these samples, and there is nothing to be told.
#[track_caller]
fn check(name: &str, file: &[u8], want: &[f32]) {
    let (got, notes) = read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(got.len(), want.len(), "{name}");
    let differs = (0..got.len()).find(|at| got[*at] != want[*at]);
    assert_eq!(differs, None, "{name}");
    assert_eq!(notes, [], "{name}");
}

/// A file is these samples, and something is told that has these words.
#[track_caller]
fn noted(name: &str, file: &[u8], want: &[f32], words: &str) {
    let (got, notes) = read(file).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(got, want, "{name}");
    let [note] = notes.as_slice() else {
        panic!("{name}: {notes:?}");
    };
    assert!(note.to_string().contains(words), "{name}: {note}");
}

/// A file is refused with these words.
#[track_caller]
fn refused(name: &str, file: &[u8], words: &str) {
    let error = read(file).expect_err(name);
    assert!(error.to_string().contains(words), "{name}: {error}");
}

/// `bytes` with others at `at`.
fn with(bytes: &[u8], at: usize, other: [u8; 4]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&other);
    bytes
}

#[test]
fn lengths_that_are_not_so_do_not_count() {
    let (samples, want) = samples();
    let file = riff(&[(b"fmt ", &plain()), (b"data", &little(&samples))]);
    check("as it should be", &file, &want);
    let (riff_bytes, data_bytes) = (file.len() as u32 - 8, 1000_u32);
    for (name, size) in [
        ("the file, 8 too few", riff_bytes - 8),
        ("the file, many too few", 40),
        ("the file, too many", riff_bytes + 1000),
        ("the file, none", 0),
    ] {
        check(name, &with(&file, 4, size.to_le_bytes()), &want);
    }
    // What programs write into a pipe: FFmpeg, SoX, arecord, and those that write nothing.
    for open in [
        0,
        0xFFFF_FFFF,
        0xFFFF_FFDB,
        0x7FFF_F000,
        0x7FFF_FFFF,
        0x8000_0000_u32,
    ] {
        let name = format!("open, {open:#x}");
        let file = with(&file, 4, open.to_le_bytes());
        check(&name, &with(&file, 40, open.to_le_bytes()), &want);
    }
    let longer = with(&file, 40, (data_bytes + 500).to_le_bytes());
    noted("samples, too many", &longer, &want, "500 bytes");
    let shorter = with(&file, 40, 600_u32.to_le_bytes());
    noted("samples, too few", &shorter, &want[..300], "400 bytes");
    noted("cut", &file[..file.len() - 100], &want[..450], "100 bytes");
    noted(
        "cut within a sample",
        &file[..file.len() - 1],
        &want[..499],
        "1 bytes",
    );
    let joined = [file.clone(), file.clone()].concat();
    noted("joined", &joined, &want, "1044 bytes behind");
}

#[test]
fn nothing_is_nothing_and_no_noise() {
    let empty = riff(&[
        (b"fmt ", &plain()),
        (b"data", b""),
        (b"LIST", b"INFOISFT\x04\0\0\0tool"),
    ]);
    let (samples, _) = read(&empty).expect("a file");
    assert!(samples.is_empty(), "{} samples", samples.len());
}

/// The name and the content of a chunk.
type Chunk<'a> = (&'a [u8; 4], &'a [u8]);

#[test]
fn chunks_may_stand_in_any_order() {
    let (samples, want) = samples();
    let (format, data) = (plain(), little(&samples));
    let list: &[u8] = b"INFOISFT\x04\0\0\0tool";
    let cases: [(&str, &[Chunk<'_>]); 5] = [
        (
            "much before",
            &[
                (b"JUNK", &[0; 28]),
                (b"bext", &[1; 602]),
                (b"LIST", list),
                (b"fmt ", &format),
                (b"fact", &[0xF4, 1, 0, 0]),
                (b"PEAK", &[0; 16]),
                (b"data", &data),
            ],
        ),
        (
            "much behind",
            &[
                (b"fmt ", &format),
                (b"data", &data),
                (b"LIST", list),
                (b"id3 ", &[0; 10]),
                (b"cue ", &[0; 4]),
            ],
        ),
        ("samples first", &[(b"data", &data), (b"fmt ", &format)]),
        (
            "a fact of 8 bytes",
            &[(b"fmt ", &format), (b"fact", &[0; 8]), (b"data", &data)],
        ),
        (
            "an unknown one",
            &[(b"~~~~", &[7; 100]), (b"fmt ", &format), (b"data", &data)],
        ),
    ];
    for (name, chunks) in cases {
        check(name, &riff(chunks), &want);
    }
    // Of an odd number of bytes, with a byte behind them and without.
    let odd: &[(&[u8; 4], &[u8])] = &[(b"note", b"odd"), (b"fmt ", &format), (b"data", &data)];
    let bare = riff(odd);
    check("no padding", &bare, &want);
    for padding in [0, b'x'] {
        let padded = [&bare[..23], &[padding], &bare[23..]].concat();
        check("padding", &padded, &want);
    }
    // A tag behind the end, as for MP3.
    let tagged = [
        riff(&[(b"fmt ", &format), (b"data", &data)]),
        b"TAGtitle".to_vec(),
    ]
    .concat();
    check("a tag", &tagged, &want);
}

#[test]
fn samples_are_described_in_any_length() {
    let (samples, want) = samples();
    for more in [0, 2, 4, 6, 24] {
        let format = [plain(), vec![0; more]].concat();
        let file = riff(&[(b"fmt ", &format), (b"data", &little(&samples))]);
        check(&format!("{} bytes", format.len()), &file, &want);
    }
    // A block of another size than its samples have is one of theirs.
    for block in [0, 1] {
        let file = riff(&[
            (b"fmt ", &format(1, 1, block, 16)),
            (b"data", &little(&samples)),
        ]);
        check("a wrong block", &file, &want);
    }
}

#[test]
fn channels_are_averaged_up_to_thirty_two_with_any_mask() {
    let (samples, want) = samples();
    for channels in [1, 2, 3, 6, 8, 18, 19, 26, 27, 31, 32_u16] {
        let all: Vec<i16> = samples
            .iter()
            .flat_map(|x| std::iter::repeat_n(*x, usize::from(channels)))
            .collect();
        let (data, block) = (little(&all), 2 * channels);
        let plain = format(1, channels, block, 16);
        check(
            "plain",
            &riff(&[(b"fmt ", &plain), (b"data", &data)]),
            &want,
        );
        for mask in [0, 3, 0x3F, 0x8000_0000, u32::MAX] {
            let format = extensible(1, channels, block, [16, 16], mask);
            let file = riff(&[(b"fmt ", &format), (b"data", &data)]);
            check(&format!("{channels} channels, mask {mask:x}"), &file, &want);
        }
    }
}

/// The top `bits` of samples in containers of `width` bytes.
fn integers(bits: u32, width: usize, is_big: bool) -> (Vec<u8>, Vec<f32>) {
    let values =
        [i64::MIN, -1 << 62, 0, 1 << 62, i64::MAX].map(|x| x >> (64 - bits) << (64 - bits));
    let data = values.iter().flat_map(|x| {
        let bytes = x.to_be_bytes();
        let mut kept = bytes[..width].to_vec();
        if width == 1 {
            kept[0] ^= 0x80;
        }
        if !is_big {
            kept.reverse();
        }
        kept
    });
    let want = values.map(|x| (x as f64 / 2_f64.powi(63)) as f32);
    (data.collect(), want.to_vec())
}

#[test]
fn integers_may_have_any_bits_in_any_container() {
    for (bits, width) in [
        (5, 1),
        (8, 1),
        (12, 2),
        (16, 2),
        (20, 3),
        (24, 3),
        (24, 4),
        (32, 4),
        (36, 5),
        (45, 6),
        (53, 7),
        (64, 8),
    ] {
        let (data, want) = integers(bits, width, false);
        let plain = format(1, 1, width as u16, bits as u16);
        let name = format!("{bits} bits in {width} bytes");
        check(&name, &riff(&[(b"fmt ", &plain), (b"data", &data)]), &want);
        if width > 1 {
            let bits = [8 * width as u16, bits as u16];
            let format = extensible(1, 1, width as u16, bits, 4);
            check(&name, &riff(&[(b"fmt ", &format), (b"data", &data)]), &want);
        }
    }
}

#[test]
fn floats_and_laws_are_what_they_mean() {
    let want = [-1.0, 0.25, 0.0, -0.5];
    let wide: Vec<u8> = want
        .iter()
        .flat_map(|x| f64::from(*x).to_le_bytes())
        .collect();
    let cases = [(32, 4, floats(&want)), (64, 8, wide)];
    for (bits, width, data) in cases {
        for format in [
            format(3, 1, width, bits),
            extensible(3, 1, width, [bits, bits], 4),
        ] {
            check(
                "floats",
                &riff(&[(b"fmt ", &format), (b"data", &data)]),
                &want,
            );
        }
    }
    // The largest, the smallest and one between, by the tables of G.711.
    let laws: [(u16, &[u8], [i16; 4]); 2] = [
        (6, &[0x2A, 0xAA, 0xD5, 0x80], [-32_256, 32_256, 8, 5504]),
        (7, &[0x00, 0x80, 0xFF, 0xAF], [-32_124, 32_124, 0, 4092]),
    ];
    for (code, data, want) in laws {
        let want = want.map(|x| f32::from(x) / 32_768.0);
        for more in [0, 2, 24] {
            let format = [format(code, 1, 1, 8), vec![0; more]].concat();
            check(
                "a law",
                &riff(&[(b"fmt ", &format), (b"data", data)]),
                &want,
            );
        }
        let format = extensible(code, 1, 1, [8, 8], 4);
        check(
            "a law",
            &riff(&[(b"fmt ", &format), (b"data", data)]),
            &want,
        );
    }
}

/// Wave64: names of 16 bytes, sizes of 64 bits that count their own heads, all padded to 8.
fn wave64(chunks: &[(&[u8; 4], &[u8])], size: impl Fn(u64) -> u64) -> Vec<u8> {
    const TAIL: [u8; 12] = [
        0xF3, 0xAC, 0xD3, 0x11, 0x8C, 0xD1, 0, 0xC0, 0x4F, 0x8E, 0xDB, 0x8A,
    ];
    let mut file = b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\0\0\0\0\0\0\0\0\0\0wave".to_vec();
    file.extend(TAIL);
    for (name, data) in chunks {
        file.extend(*name);
        file.extend(TAIL);
        let bytes = 24 + data.len() as u64;
        let bytes = if *name == b"data" { size(bytes) } else { bytes };
        file.extend(bytes.to_le_bytes());
        file.extend(*data);
        file.resize(file.len().next_multiple_of(8), 0);
    }
    file
}

#[test]
fn the_kin_of_wav_are_read() {
    let (samples, want) = samples();
    let (format, data) = (plain(), little(&samples));
    let sizes = |bytes: u64| [2000, bytes, 500].map(u64::to_le_bytes).concat();
    for mark in [b"RF64", b"BW64"] {
        for (bytes, stated) in [
            (1000, u32::MAX),
            (0, u32::MAX),
            (u64::MAX, u32::MAX),
            (77, 1000),
        ] {
            let sizes = [sizes(bytes), vec![0; 4]].concat();
            let file = riff(&[(b"ds64", &sizes), (b"fmt ", &format), (b"data", &data)]);
            let file = with(&with(&file, 0, *mark), 4, [0xFF; 4]);
            let file = with(&file, file.len() - 1004, stated.to_le_bytes());
            check(&format!("{bytes} bytes"), &file, &want);
        }
    }
    let chunks: &[(&[u8; 4], &[u8])] = &[(b"junk", b"odd"), (b"fmt ", &format), (b"data", &data)];
    check("Wave64", &wave64(chunks, |bytes| bytes), &want);
    check("open", &wave64(chunks, |_| i64::MAX as u64), &want);
    check("unwritten", &wave64(chunks, |_| 0), &want);
    noted(
        "cut",
        &wave64(chunks, |bytes| bytes + 30),
        &want,
        "30 bytes",
    );
    // RIFX: all numbers the other way round.
    let mut other =
        b"RIFX\0\0\0\0WAVEfmt \0\0\0\x10\0\x01\0\x01\0\0\x3E\x80\0\0\x7D\0\0\x02\0\x10".to_vec();
    other.extend(*b"data\0\0\x03\xE8");
    other.extend(big(&samples));
    check("RIFX", &other, &want);
}

/// An AIFF-C file of one channel at 16 kHz.
fn aifc(codec: &[u8; 4], bits: u16, data: &[u8]) -> Vec<u8> {
    let mut common = vec![0, 1, 0, 0, 0, 0];
    common.extend(bits.to_be_bytes());
    common.extend([0x40, 0x0C, 0xFA, 0, 0, 0, 0, 0, 0, 0]);
    common.extend(*codec);
    common.extend(*b"\0\0");
    let mut file = b"FORM\0\0\0\0AIFCFVER\0\0\0\x04\xA2\x80\x51\x40COMM".to_vec();
    file.extend((common.len() as u32).to_be_bytes());
    file.extend(common);
    file.extend(*b"SSND");
    file.extend((data.len() as u32 + 8).to_be_bytes());
    file.extend([0; 8]);
    file.extend(data);
    file
}

#[test]
fn aiff_files_are_read_in_every_coding() {
    let (samples, want) = samples();
    for (codec, data) in [
        (b"NONE", big(&samples)),
        (b"twos", big(&samples)),
        (b"sowt", little(&samples)),
    ] {
        check(
            &codec.escape_ascii().to_string(),
            &aifc(codec, 16, &data),
            &want,
        );
    }
    for (codec, bits, width, is_big) in [
        (b"NONE", 24, 3, true),
        (b"sowt", 24, 3, false),
        (b"in24", 24, 3, true),
        (b"in32", 32, 4, true),
        (b"42ni", 24, 3, false),
        (b"23ni", 32, 4, false),
        (b"raw ", 8, 1, true),
        (b"NONE", 12, 2, true),
    ] {
        let (data, want) = integers(bits, width, is_big);
        check(
            &codec.escape_ascii().to_string(),
            &aifc(codec, bits as u16, &data),
            &want,
        );
    }
    let two = [0.5_f32, -0.25];
    let bytes: Vec<u8> = two.iter().flat_map(|x| x.to_be_bytes()).collect();
    for codec in [b"fl32", b"FL32"] {
        check("floats", &aifc(codec, 32, &bytes), &two);
    }
    let bytes: Vec<u8> = two
        .iter()
        .flat_map(|x| f64::from(*x).to_be_bytes())
        .collect();
    check("wide floats", &aifc(b"fl64", 64, &bytes), &two);
    check("a law", &aifc(b"ulaw", 16, &[0x80]), &[32_124.0 / 32_768.0]);
    check("a law", &aifc(b"alaw", 8, &[0xAA]), &[32_256.0 / 32_768.0]);
    refused(
        "MACE",
        &aifc(b"MAC3", 8, &[0; 64]),
        "of a kind that is not read: codec MAC3",
    );
    // A program that writes into a pipe.
    let file = aifc(b"NONE", 16, &big(&samples));
    let size = file.len() - 1000 - 12;
    for open in [[0; 4], [0xFF; 4]] {
        check("open", &with(&file, size, open), &want);
    }
    noted("cut", &file[..file.len() - 10], &want[..495], "10 bytes");
}

/// An AU file of one channel at 16 kHz.
fn au(codec: u32, size: u32, data: &[u8]) -> Vec<u8> {
    let head = [28, size, codec, 16_000, 1].map(u32::to_be_bytes).concat();
    [b".snd", &head[..], b"note", data].concat()
}

#[test]
fn au_files_are_read() {
    let (samples, want) = samples();
    let data = big(&samples);
    for size in [1000, u32::MAX, 0] {
        check("integers", &au(3, size, &data), &want);
    }
    noted("cut", &au(3, 1200, &data), &want, "200 bytes");
    for (codec, bits, width) in [(2, 8, 1), (4, 24, 3), (5, 32, 4)] {
        let (mut data, want) = integers(bits, width, true);
        if width == 1 {
            data.iter_mut().for_each(|byte| *byte ^= 0x80);
        }
        check("integers", &au(codec, data.len() as u32, &data), &want);
    }
    let bytes = [0.5_f32.to_be_bytes(), (-0.25_f32).to_be_bytes()].concat();
    check("floats", &au(6, 8, &bytes), &[0.5, -0.25]);
    check("wide floats", &au(7, 8, &0.5_f64.to_be_bytes()), &[0.5]);
    check("a law", &au(1, 1, &[0x80]), &[32_124.0 / 32_768.0]);
    check("a law", &au(27, 1, &[0xAA]), &[32_256.0 / 32_768.0]);
    refused(
        "G.721",
        &au(23, 1000, &data),
        "of a kind that is not read: codec 23",
    );
    refused("no head", b".snd\0\0", "broken au");
}

#[test]
fn caf_files_may_leave_their_length_open() {
    let file = bytes("two.caf");
    let want = all(Audio::from_bytes(file.clone(), Limits::default()).expect("audio"));
    let want = want.expect("samples");
    let data = file
        .windows(4)
        .position(|part| part == b"data")
        .expect("it is there");
    let mut open = file.clone();
    open[data + 4..data + 12].fill(0xFF);
    check("open", &open, &want);
    let size = (file.len() - data - 12) as u64;
    let mut longer = file;
    longer[data + 4..data + 12].copy_from_slice(&(size + 100).to_be_bytes());
    noted("cut", &longer, &want, "100 bytes");
}

#[test]
fn codecs_that_are_not_read_are_called_that() {
    let file = |format: &[u8]| riff(&[(b"fmt ", format), (b"data", &[0; 1000])]);
    for (code, name) in [
        (0x31, "codec 0x0031, GSM 6.10"),
        (0x55, "codec 0x0055, MP3"),
        (0x9999, "codec 0x9999"),
    ] {
        let words = format!("audio: wave of a kind that is not read: {name}");
        refused(name, &file(&format(code, 1, 2, 0)), &words);
        let format = extensible(code, 1, 2, [16, 16], 4);
        refused(name, &file(&format), &words);
    }
    let mut other = extensible(1, 1, 2, [16, 16], 4);
    other[39] = 0;
    refused(
        "a sub-format",
        &file(&other),
        "a kind that is not read: a sub-format",
    );
    refused(
        "half floats",
        &file(&format(3, 1, 2, 16)),
        "not read: floats of 16 bits",
    );
    refused(
        "ADPCM",
        &file(&format(0x11, 1, 256, 3)),
        "not read: ADPCM samples of 3 bits",
    );
}

#[test]
fn formats_that_are_not_read_are_called_that() {
    let cases: [(&[u8], &str); 14] = [
        (b"#!AMR\n\x3C", "AMR"),
        (b"\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9", "ASF (WMA)"),
        (b"\x0B\x77\x12\x34", "AC-3"),
        (b"\x7F\xFE\x80\x01", "DTS"),
        (b"DSD \x1C\0\0\0", "DSF"),
        (b"FRM8\0\0\0\0", "DSDIFF"),
        (b"MThd\0\0\0\x06", "MIDI"),
        (b"MAC \x96\x0F", "Monkey's Audio"),
        (b"wvpk\0\0", "WavPack"),
        (b"TTA1\x01\0", "True Audio"),
        (b"MPCKSH", "Musepack"),
        (b".ra\xFD\0", "RealAudio"),
        (b"Creative Voice File\x1A", "VOC"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI"),
    ];
    // What looks like MP3 follows, and must not be heard.
    let mp3 = bytes("two.mp3");
    for (mark, name) in cases {
        let file = [mark, &mp3].concat();
        let words = format!("audio: of a format that is not read: {name}");
        refused(name, &file, &words);
    }
    let packet = [&[0x47][..], &[0xFF; 187]].concat();
    refused(
        "a stream",
        &packet.repeat(9),
        "not read: MPEG transport stream",
    );
}
