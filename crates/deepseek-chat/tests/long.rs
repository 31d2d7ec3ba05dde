//! The longest audio needs no more memory than a short one. Alone in its process, whose peak it reads.

use std::fs::{self, File};
use std::io::Write;
use std::sync::Arc;

use deepseek_audio::{Audio, AudioConfig, Level, Limits as Bounds, Pool};
use deepseek_chat::{AudioSource, MediaItem, Prompt};
use deepseek_engine::toy::{Toy, ToyDecoder};
use deepseek_engine::{Engine, Event, Limits, Request, Sampling};
use deepseek_model::{Capacity, Placeholders};
use deepseek_text::Tokenizer;

const SECONDS: u32 = 8 * 3600;
/// What `docs/models/audio-video.md` §5 asks for.
const BYTES_MAX: u64 = 200 << 20;

const AUDIO: AudioConfig = AudioConfig {
    layers: 1,
    hidden: 4,
    heads: 1,
    inner: 4,
    mels: 80,
    positions: 1500,
    chunk_seconds: 30,
    pad_to_chunk: true,
    keep_padding_tokens: false,
    level: Level::Chunk,
    pool: Pool::Stack4,
    projector_bias: false,
    out: 4,
};

/// The head of a WAV file of 16-bit samples of one channel, 16,000 a second.
fn head(data: u32) -> Vec<u8> {
    let mut head = b"RIFF".to_vec();
    head.extend((data + 36).to_le_bytes());
    head.extend(b"WAVEfmt ");
    head.extend(16_u32.to_le_bytes());
    head.extend([1, 0, 1, 0]);
    head.extend(16_000_u32.to_le_bytes());
    head.extend(32_000_u32.to_le_bytes());
    head.extend([2, 0, 16, 0]);
    head.extend(b"data");
    head.extend(data.to_le_bytes());
    head
}

/// The most memory that this process has held, where the system tells.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib = line.trim().strip_suffix("kB")?.trim();
    Some(kib.parse::<u64>().ok()? * 1024)
}

#[test]
fn eight_hours_are_run_in_less_than_two_hundred_mebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    let (data, mut file) = (SECONDS * 32_000, File::create(&path).unwrap());
    file.write_all(&head(data)).unwrap();
    // The rest is a hole: silence that takes no room on the disk.
    file.set_len(44 + u64::from(data)).unwrap();

    let audio = AudioSource::new(AUDIO, move || {
        Audio::open(File::open(&path)?, Bounds::default())
    });
    let item = MediaItem::audio(audio.unwrap());
    let tokenizer = Tokenizer::parse(Tokenizer::tiny_json(300).unwrap().as_bytes()).unwrap();
    let mut prompt = Prompt::default();
    let placeholders = Placeholders::default();
    prompt.push(&tokenizer, &item, placeholders, 1).unwrap();
    let decoder = ToyDecoder::new(Toy {
        capacity: Capacity {
            vocabulary: 300,
            context: 1 << 20,
            sequences: 1,
            step_tokens: 512,
            audio: Some(AUDIO),
            ..Toy::default().capacity
        },
        ..Toy::default()
    });
    let tally = decoder.tally();
    let engine = Engine::spawn(Box::new(decoder), Limits::default());
    let request = Request {
        spans: prompt.spans,
        media: Some(Arc::new(prompt.media)),
        max_tokens: Some(1),
        sampling: Sampling::greedy(),
        ..Request::new(prompt.ids)
    };
    let mut most = 0;
    let end = engine.submit(request).unwrap().find_map(|event| {
        most = most.max(tally.media());
        match event {
            Event::Finished { usage, .. } => Some(usage),
            Event::Failed(fault) => panic!("{fault}"),
            _ => None,
        }
    });
    let usage = end.unwrap();
    let chunks = SECONDS / 30;
    assert_eq!(usage.audio_tokens, chunks * (375 + 2));
    assert!(most <= 2, "{most} chunks at a time in the decoder");
    if let Some(peak) = peak() {
        assert!(peak < BYTES_MAX, "{} MiB", peak >> 20);
    }
}
