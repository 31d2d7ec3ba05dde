//! What the outermost parts of a file say of its end: whether it was cut off, or has something behind it.
//!
//! Readers of containers do not tell: they end where they can go no further.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::io::{self, Read, Seek, SeekFrom};

use deepseek_core::Note;

use crate::limits::CHUNKS_MAX;

/// The largest page of an Ogg file: its head, a table, and 255 segments of 255 bytes.
const PAGE_BYTES_MAX: u64 = 27 + 255 + 255 * 255;
/// What a Matroska file begins with, and what its one segment does.
const EBML: [u8; 4] = [0x1A, 0x45, 0xDF, 0xA3];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];

/// What is wrong with the end of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tail {
    /// Bytes that the file announces beyond its end.
    pub(super) lacking: u64,
    /// Bytes behind what it announces that are no part of it.
    pub(super) behind: u64,
    /// Whether the part that ends it is missing.
    pub(super) is_open: bool,
    /// Bytes that frames must fill, where nothing else stands between them.
    pub(super) frames: Option<u64>,
}

impl Tail {
    /// The end of a file of `bytes` in a format.
    pub(super) fn of(
        format: &str,
        source: &mut (impl Read + Seek),
        bytes: u64,
    ) -> io::Result<Self> {
        match format {
            "isomp4" => boxes(source, bytes),
            "matroska" => segment(source, bytes),
            "ogg" => pages(source, bytes),
            "flac" => flac(source, bytes),
            _ => Ok(Self::default()),
        }
    }

    fn behind(at: u64, bytes: u64) -> Self {
        let behind = bytes.saturating_sub(at);
        Self {
            behind,
            ..Self::default()
        }
    }

    /// A part that ends at `end`.
    fn ends(end: u64, bytes: u64) -> Self {
        let lacking = end.saturating_sub(bytes);
        Self {
            lacking,
            ..Self::default()
        }
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = Note> {
        let (lacking, behind) = (self.lacking, self.behind);
        let all = [
            (
                lacking > 0,
                format!("cut off: {lacking} bytes less than it announces"),
            ),
            (self.is_open, "cut off: its last page is missing".to_owned()),
            (
                behind > 0,
                format!("{behind} bytes behind its end are not read"),
            ),
        ];
        all.into_iter()
            .filter(|(is, _)| *is)
            .map(|(_, text)| Note::new(text))
    }
}

/// MP4: boxes one behind the other, each with its size.
fn boxes(source: &mut (impl Read + Seek), bytes: u64) -> io::Result<Tail> {
    let mut at = 0;
    for _ in 0..CHUNKS_MAX {
        if at == bytes {
            break;
        }
        let head = read(source, at, 16)?;
        let size = head.first_chunk().map(|size| u32::from_be_bytes(*size));
        let name: Option<[u8; 4]> = head.get(4..).and_then(|name| name.first_chunk().copied());
        let long = head.get(8..).and_then(|size| size.first_chunk().copied());
        let end = match (size, long) {
            // To the end, wherever that is.
            (Some(0), _) => break,
            (Some(1), Some(long)) => at.saturating_add(u64::from_be_bytes(long)),
            (Some(size @ 8..), _) => at.saturating_add(size.into()),
            _ => return Ok(Tail::behind(at, bytes)),
        };
        let is_box = name.is_some_and(|name| name.iter().all(|byte| (b' '..=b'~').contains(byte)));
        let is_second = at > 0 && name == Some(*b"ftyp");
        if end <= at || !is_box || is_second {
            return Ok(Tail::behind(at, bytes));
        }
        if end > bytes {
            return Ok(Tail::ends(end, bytes));
        }
        at = end;
    }
    Ok(Tail::default())
}

/// Matroska: a head, then a segment that holds all else.
fn segment(source: &mut (impl Read + Seek), bytes: u64) -> io::Result<Tail> {
    let mut at = 0;
    for name in [EBML, SEGMENT] {
        let head = read(source, at, 12)?;
        let size = head.get(4..).and_then(number);
        let (true, Some((length, Some(size)))) = (head.starts_with(&name), size) else {
            // No length, as while it is written, or no such file.
            return Ok(Tail::default());
        };
        at = at
            .saturating_add(4)
            .saturating_add(length)
            .saturating_add(size);
    }
    Ok(if read(source, at, 4)?.as_slice() == EBML {
        Tail::behind(at, bytes)
    } else {
        Tail::ends(at, bytes)
    })
}

/// A number of as many bytes as its first one has leading zeros, and one; nothing if all bits are set.
fn number(bytes: &[u8]) -> Option<(u64, Option<u64>)> {
    let first = bytes.first()?;
    let length = first
        .leading_zeros()
        .checked_add(1)
        .filter(|length| *length <= 8)?;
    let rest = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.get(..length))?;
    let all = rest
        .iter()
        .fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
    let bits = length.checked_mul(7)?;
    let mask = 1_u64.checked_shl(bits)?.checked_sub(1)?;
    let number = all & mask;
    Some((length.into(), (number != mask).then_some(number)))
}

/// Ogg: pages, of which the last one says so.
fn pages(source: &mut (impl Read + Seek), bytes: u64) -> io::Result<Tail> {
    let from = bytes.saturating_sub(PAGE_BYTES_MAX);
    let tail = read(source, from, PAGE_BYTES_MAX)?;
    let last = tail.windows(4).rposition(|window| window == b"OggS");
    let Some(page) = last.and_then(|last| tail.get(last..)) else {
        return Ok(Tail::default());
    };
    let (flags, count) = (page.get(5).copied(), page.get(26).copied());
    let (Some(flags), Some(count)) = (flags, count) else {
        return Ok(Tail {
            is_open: true,
            ..Tail::default()
        });
    };
    let table = page.iter().skip(27).take(count.into());
    let inside: u64 = table.map(|size| u64::from(*size)).sum();
    let whole = inside.saturating_add(27).saturating_add(count.into());
    let there = u64::try_from(page.len()).unwrap_or(u64::MAX);
    let lacking = whole.saturating_sub(there);
    let is_open = lacking == 0 && flags & 4 == 0;
    Ok(Tail {
        lacking,
        is_open,
        ..Tail::default()
    })
}

/// FLAC: blocks of metadata, then frames, then perhaps a tag of 128 bytes.
fn flac(source: &mut (impl Read + Seek), bytes: u64) -> io::Result<Tail> {
    let (mut at, mut is_last) = (4_u64, false);
    for _ in 0..CHUNKS_MAX {
        let head = read(source, at, 4)?;
        let Some([kind, size @ ..]) = head.first_chunk::<4>().filter(|_| !is_last) else {
            break;
        };
        let size = size
            .iter()
            .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
        at = at.saturating_add(4).saturating_add(size);
        is_last = kind & 0x80 != 0;
    }
    let tag = bytes.saturating_sub(128);
    let end = match read(source, tag, 3)?.as_slice() {
        b"TAG" => tag,
        _ => bytes,
    };
    let frames = is_last.then(|| end.saturating_sub(at));
    Ok(Tail {
        frames,
        ..Tail::default()
    })
}

/// Up to `bytes` bytes at `at`.
fn read(source: &mut (impl Read + Seek), at: u64, bytes: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(at))?;
    let mut read = Vec::new();
    source.take(bytes).read_to_end(&mut read)?;
    Ok(read)
}
