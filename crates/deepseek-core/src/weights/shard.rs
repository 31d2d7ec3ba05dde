//! One safetensors file: mapped, and its header proven against its length.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::hint::black_box;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::header::{Entry, Header};
use super::limits::{HEADER_BYTES_MAX, STRETCH_BYTES};
use crate::error::{Error, Result};
use crate::file;
use crate::weights::{Access, Bytes, Dtype, Owner, RawTensor};

/// A file of tensors.
///
/// Every tensor has a known type, a shape of exactly its bytes, and bytes inside the file; together
/// they cover what follows the header, without gap or overlap.
#[derive(Debug)]
pub struct Shard {
    file: Contents,
    /// In the order of their names, which differ.
    tensors: Vec<RawTensor>,
}

impl Shard {
    /// Maps a file. It must not change until the last tensor of it is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] for what the system refuses, [`Error::File`] and [`Error::Tensor`] for what
    /// does not hold.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::prove(Contents::map(path.into())?)
    }

    /// Reads a file that is in memory; `path` is what messages call it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Tensor`] for what does not hold.
    pub fn from_bytes(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Result<Self> {
        Self::prove(Contents {
            path: path.into(),
            bytes: Arc::new(Memory::Buffer(bytes)),
        })
    }

    /// Reads a file that is part of the program, without copying it; `path` is what messages call
    /// it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Tensor`] for what does not hold.
    pub fn from_static(path: impl Into<PathBuf>, bytes: &'static [u8]) -> Result<Self> {
        Self::prove(Contents {
            path: path.into(),
            bytes: Arc::new(Memory::Static(bytes)),
        })
    }

    fn prove(file: Contents) -> Result<Self> {
        let tensors = tensors(&file).map_err(|error| match error {
            Error::Tensor { name, why } => Error::Tensor {
                name,
                why: format!("{why}, in {}", file.path.display()),
            },
            other => other,
        })?;
        Ok(Self { file, tensors })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The tensors, in the order of their names.
    #[must_use]
    pub fn tensors(&self) -> &[RawTensor] {
        &self.tensors
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&RawTensor> {
        let at = self
            .tensors
            .binary_search_by(|tensor| tensor.name().cmp(name))
            .ok()?;
        self.tensors.get(at)
    }

    /// The file and its tensors apart.
    pub(super) fn into_parts(self) -> (Contents, Vec<RawTensor>) {
        (self.file, self.tensors)
    }
}

/// A file's bytes and where they come from.
#[derive(Debug)]
pub(super) struct Contents {
    path: PathBuf,
    bytes: Arc<Memory>,
}

#[derive(Debug)]
enum Memory {
    Map(Mmap),
    Buffer(Vec<u8>),
    Static(&'static [u8]),
}

impl Owner for Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Map(map) => map,
            Self::Buffer(bytes) => bytes,
            Self::Static(bytes) => bytes,
        }
    }

    #[cfg(unix)]
    fn advise(&self, range: Range<usize>, access: Access) {
        use memmap2::{Advice, UncheckedAdvice};

        /// What Linux maps at once around a page that is touched, aligned to as much.
        const AROUND_BYTES: usize = 64 << 10;

        let Self::Map(map) = self else { return };
        let told = match access {
            Access::Scattered => map.advise_range(Advice::Random, range.start, range.len()),
            Access::Soon => map.advise_range(Advice::WillNeed, range.start, range.len()),
            Access::Over => {
                let base = map.as_ptr().addr();
                let before = base.saturating_add(range.start) % AROUND_BYTES;
                let after = base
                    .saturating_add(range.end)
                    .next_multiple_of(AROUND_BYTES)
                    .saturating_sub(base);
                let start = range.start.saturating_sub(before);
                let count = after.min(map.len()).saturating_sub(start);
                // SAFETY: the map is of a file and read-only, so no page of it was ever written:
                // whoever reads one again finds the bytes of the file, as before.
                #[allow(unsafe_code)]
                unsafe {
                    map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, count)
                }
            }
        };
        // Only advice: where it is refused, pages come and go when the system likes.
        told.ok();
    }
}

impl Memory {
    /// Asks for huge pages for a range that will be populated, where the file system has them. All of it is asked
    /// for at once: no huge page lies across what was asked for and what was not.
    #[cfg(target_os = "linux")]
    fn enlarge(&self, range: &Range<usize>) {
        if let Self::Map(map) = self {
            // Where it is refused, pages are small.
            map.advise_range(memmap2::Advice::HugePage, range.start, range.len())
                .ok();
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn enlarge(&self, _range: &Range<usize>) {}

    /// Brings a range into memory in one call, which takes a fraction of touching each page, and says
    /// whether it is there: not every system has such a call. Reading ahead by [`Access::Soon`] would bring small
    /// pages in, and be slower, too.
    #[cfg(target_os = "linux")]
    fn populate(&self, range: Range<usize>) -> bool {
        let advice = memmap2::Advice::PopulateRead;
        match self {
            Self::Map(map) => map.advise_range(advice, range.start, range.len()).is_ok(),
            Self::Buffer(_) | Self::Static(_) => false,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn populate(&self, _range: Range<usize>) -> bool {
        false
    }
}

impl Contents {
    /// Maps a file for reading.
    pub(super) fn map(path: PathBuf) -> Result<Self> {
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let file = file::open(&path).map_err(io)?;
        // SAFETY: the map is read-only and private, and any bytes are a valid `[u8]`. That the file
        // does not change below it is the promise of whoever calls `Shard::open` or
        // `Checkpoint::open`.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Self {
            path,
            bytes: Arc::new(Memory::Map(map)),
        })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All of it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.bytes()
    }

    /// A range of it, which keeps it alive.
    fn range(&self, start: usize, end: usize) -> Option<Bytes> {
        let owner: Arc<dyn Owner> = Arc::<Memory>::clone(&self.bytes);
        Bytes::new(owner, start..end)
    }

    /// Brings a range of the file into memory in order and reports each stretch of bytes. What lies
    /// around the range is left alone.
    pub(super) fn warm(
        &self,
        range: Range<usize>,
        report: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        /// No system that we run on has smaller pages.
        const PAGE_BYTES: usize = 4096;

        self.bytes.enlarge(&range);
        for (stretch, next) in stretches(range) {
            let bytes = self.bytes().get(stretch.clone()).unwrap_or_default();
            if !self.bytes.populate(stretch) {
                // The next comes while this one is read.
                if !next.is_empty() {
                    self.bytes.advise(next, Access::Soon);
                }
                let pages = bytes.iter().step_by(PAGE_BYTES);
                black_box(pages.fold(0, |sum, byte| sum ^ byte));
            }
            report(bytes.len())?;
        }
        ControlFlow::Continue(())
    }
}

/// A range in stretches, each with the one behind it, which is empty at the end.
fn stretches(range: Range<usize>) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let end = range.end;
    let from = move |start: usize| start..start.saturating_add(STRETCH_BYTES).min(end);
    let starts = range.step_by(STRETCH_BYTES);
    starts.map(move |start| (from(start), from(from(start).end)))
}

/// Reads the header of a file and proves it.
fn tensors(file: &Contents) -> Result<Vec<RawTensor>> {
    let flaw = |why| Error::File {
        path: file.path.clone(),
        why,
    };
    let (header, data) = split(file.bytes()).map_err(flaw)?;
    let Header(entries) =
        serde_json::from_str(header).map_err(|error| flaw(format!("header: {error}")))?;
    let covered = cover(&entries, data.len())?;
    if covered < data.len() {
        return Err(flaw(format!(
            "{} bytes of data, tensors for {covered}",
            data.len()
        )));
    }
    let data_at = file.bytes().len().saturating_sub(data.len());
    entries
        .into_iter()
        .map(|(name, entry)| tensor(name, entry, file, data_at))
        .collect()
}

/// A file as header and data.
fn split(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(format!("{} bytes, too short for a header", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    if length > HEADER_BYTES_MAX {
        return Err(format!(
            "header of {length} bytes, at most {HEADER_BYTES_MAX} are read"
        ));
    }
    let Some((header, data)) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
    else {
        return Err(format!(
            "header of {length} bytes, {} are there",
            rest.len()
        ));
    };
    let header = std::str::from_utf8(header)
        .map_err(|error| format!("header is no UTF-8 at byte {}", error.valid_up_to()))?;
    if !header.starts_with('{') {
        return Err("header does not begin with a brace".to_owned());
    }
    Ok((header, data))
}

/// Proves that the tensors follow one another in some order within `data` bytes, without gap or
/// overlap. Returns the bytes that they cover.
fn cover(entries: &[(String, Entry<'_>)], data: usize) -> Result<usize> {
    let mut order: Vec<_> = entries.iter().collect();
    order.sort_unstable_by_key(|(_, entry)| entry.data_offsets);
    let mut covered = 0;
    for (name, entry) in order {
        let [start, end] = entry.data_offsets;
        let why = if start != covered {
            format!("begins at byte {start}, the tensor before it ends at {covered}")
        } else if end < start {
            format!("begins at byte {start} and ends at {end}")
        } else if end > data {
            format!("ends at byte {end} of {data}")
        } else {
            covered = end;
            continue;
        };
        return Err(Error::Tensor {
            name: name.clone(),
            why,
        });
    }
    Ok(covered)
}

/// One tensor, believed. Its bytes follow `data_at`.
fn tensor(name: String, entry: Entry<'_>, file: &Contents, data_at: usize) -> Result<RawTensor> {
    let Some(dtype) = Dtype::parse(&entry.dtype) else {
        return Err(Error::Tensor {
            name,
            why: format!("unknown dtype {:?}", entry.dtype),
        });
    };
    let [start, end] = entry
        .data_offsets
        .map(|offset| offset.saturating_add(data_at));
    let Some(bytes) = file.range(start, end) else {
        return Err(Error::Tensor {
            name,
            why: "bytes outside the file".to_owned(),
        });
    };
    RawTensor::new(name, dtype, entry.shape, bytes)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "of small numbers")]
mod tests {
    use super::*;

    #[test]
    fn reading_ahead_ends_with_the_range() {
        for length in [
            0,
            1,
            STRETCH_BYTES,
            STRETCH_BYTES + 1,
            3 * STRETCH_BYTES - 5,
        ] {
            let range = 7..7 + length;
            let (mut read, mut announced) = (range.start, None);
            for (stretch, next) in stretches(range.clone()) {
                assert_eq!(stretch.start, read, "{range:?}: no gap");
                assert!(announced.is_none_or(|announced| announced == stretch));
                read = stretch.end;
                announced = Some(next);
            }
            assert_eq!(read, range.end, "{range:?}: all of it");
            let beyond = announced.filter(|next| !next.is_empty());
            assert_eq!(beyond, None, "{range:?}: nothing behind it");
        }
    }
}
