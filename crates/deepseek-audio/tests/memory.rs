//! The longest audio needs no more memory than a short one. Alone in its process, whose peak it reads.

mod common;

use std::io::{self, Read, Seek, SeekFrom};

use common::{SMALL, peak, wav};
use deepseek_audio::{Audio, AudioConfig, Chunks, Level, Limits};

const SECONDS: usize = 8 * 3600;
/// What the page asks for.
const BYTES_MAX: u64 = 200 << 20;

/// A file of eight hours that is nowhere: a head, then noise.
struct Long {
    head: Vec<u8>,
    bytes: u64,
    at: u64,
}

impl Long {
    fn new() -> Self {
        let mut head = wav(16_000, 1, [1, 16], &[]);
        let data = (SECONDS * 32_000) as u32;
        let (file, body) = (4, head.len() - 4);
        head[file..file + 4].copy_from_slice(&(data + 36).to_le_bytes());
        head[body..].copy_from_slice(&data.to_le_bytes());
        let bytes = head.len() as u64 + u64::from(data);
        Self { head, bytes, at: 0 }
    }
}

impl Read for Long {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (self.bytes - self.at).min(buffer.len() as u64) as usize;
        for (at, byte) in (self.at..).zip(&mut buffer[..count]) {
            let noise = (at.wrapping_mul(2_654_435_761) >> 24) as u8;
            *byte = self.head.get(at as usize).copied().unwrap_or(noise);
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Long {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.bytes.saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}

#[test]
fn eight_hours_stay_below_two_hundred_mebibytes() {
    let shape = AudioConfig {
        level: Level::Chunk,
        ..SMALL
    };
    let open = || Audio::open(Long::new(), Limits::default());
    let chunks = Chunks::new(&shape, open).expect("audio");
    let (mut count, mut tokens, mut last) = (0, 0, None);
    for chunk in chunks {
        let chunk = chunk.expect("a chunk");
        count += 1;
        tokens += chunk.tokens;
        last = chunk.label;
    }
    assert_eq!([count, tokens], [SECONDS / 30, SECONDS * 25 / 2]);
    assert_eq!(last.as_deref(), Some("<479:30>"));
    if let Some(peak) = peak() {
        assert!(peak < BYTES_MAX, "{} MiB", peak >> 20);
    }
}
