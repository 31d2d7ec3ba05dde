//! A folder of shards as one set of tensors.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fs;
use std::io::ErrorKind;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use super::header::Index;
use super::limits::INDEX_BYTES_MAX;
use super::shard::Contents;
use crate::error::{Error, Result};
use crate::file;
use crate::weights::{RawTensor, Shard};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";

/// The tensors of a model, borrowed from mapped files.
///
/// Every name stands once, in the file where the index places it.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<Contents>,
    /// In the order of the names, which differ.
    tensors: Vec<Placed>,
}

/// A tensor and the number of its file.
#[derive(Debug)]
struct Placed {
    tensor: RawTensor,
    file: usize,
}

impl Checkpoint {
    /// Whether a folder holds weights, be it as a link that leads nowhere: a shard that its index names,
    /// or anything named as a shard is. An index alone holds none.
    ///
    /// # Errors
    /// [`Error::Io`] for what the system refuses, [`Error::File`] for an index that does not hold.
    pub fn is_in(dir: &Path) -> Result<bool> {
        let index = match find(dir, INDEX)? {
            Some(path) => Some(read_index(&path)?),
            None => None,
        };
        let mut shards = index.iter().flat_map(|index| &index.weight_map.files);
        let is_link_or_file = |file: &String| dir.join(file).symlink_metadata().is_ok();
        let like_weights = named_like_weights(dir)?;
        let mut others = like_weights
            .iter()
            .filter(|path| index.is_none() || !path.ends_with(INDEX));
        Ok(shards.any(is_link_or_file) || others.next().is_some())
    }

    /// Maps the files of a folder: those that `model.safetensors.index.json` names, or else
    /// `model.safetensors`. Only headers are read. The files must not change until the last tensor
    /// of them is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] for what the system refuses, [`Error::File`] and [`Error::Tensor`] for what
    /// does not hold.
    pub fn open(dir: &Path) -> Result<Self> {
        if let Some(path) = find(dir, INDEX)? {
            let index = read_index(&path)?;
            let shards = index
                .weight_map
                .files
                .iter()
                .map(|file| Shard::open(dir.join(file)));
            let checkpoint = Self::join(shards)?;
            checkpoint.agree(&index, path)?;
            return Ok(checkpoint);
        }
        if let Some(path) = find(dir, SINGLE)? {
            return Self::join([Shard::open(path)]);
        }
        // A shard that leads nowhere says more than that there is no index.
        for path in named_like_weights(dir)? {
            file::metadata(&path).map_err(|source| Error::Io { path, source })?;
        }
        let why = format!("holds neither {INDEX} nor {SINGLE}");
        Err(Error::File {
            path: dir.to_owned(),
            why,
        })
    }

    /// The files that [`Checkpoint::open`] reads: the index and the shards that it names, or the single
    /// file. A folder without weights has none.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`] for an index that cannot be read.
    pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
        let Some(path) = find(dir, INDEX)? else {
            return Ok(find(dir, SINGLE)?.into_iter().collect());
        };
        let index = read_index(&path)?;
        let shards = index.weight_map.files.iter().map(|file| dir.join(file));
        Ok(shards.chain([path.clone()]).collect())
    }

    /// Reads a checkpoint of one file that is part of the program, without copying it; `path` is
    /// what messages call it.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Tensor`] for what does not hold.
    pub fn from_static(path: impl Into<PathBuf>, bytes: &'static [u8]) -> Result<Self> {
        Self::join([Shard::from_static(path, bytes)])
    }

    /// Brings the tensors of all shards into one order.
    fn join(shards: impl IntoIterator<Item = Result<Shard>>) -> Result<Self> {
        let mut whole = Self {
            files: Vec::new(),
            tensors: Vec::new(),
        };
        for shard in shards {
            let (contents, tensors) = shard?.into_parts();
            let file = whole.files.len();
            whole
                .tensors
                .extend(tensors.into_iter().map(|tensor| Placed { tensor, file }));
            whole.files.push(contents);
        }
        whole
            .tensors
            .sort_by(|a, b| a.tensor.name().cmp(b.tensor.name()));
        for pair in whole.tensors.windows(2) {
            if let [a, b] = pair
                && a.tensor.name() == b.tensor.name()
            {
                let why = format!("in {} and in {}", whole.file(a.file), whole.file(b.file));
                return Err(Error::Tensor {
                    name: a.tensor.name().to_owned(),
                    why,
                });
            }
        }
        Ok(whole)
    }

    /// Holds an index against the files, both ways; the files are in its order.
    fn agree(&self, index: &Index, path: PathBuf) -> Result<()> {
        let listed = &index.weight_map.tensors;
        for (name, file) in listed {
            if self.place(name).is_none_or(|placed| placed.file != *file) {
                let why = format!("not in {}, where the index places it", self.file(*file));
                return Err(Error::Tensor {
                    name: name.clone(),
                    why,
                });
            }
        }
        for Placed { tensor, file } in &self.tensors {
            if listed
                .binary_search_by(|(name, _)| name.as_str().cmp(tensor.name()))
                .is_err()
            {
                let why = format!("in {}, but not in the index", self.file(*file));
                return Err(Error::Tensor {
                    name: tensor.name().to_owned(),
                    why,
                });
            }
        }
        match index.metadata.total_size {
            Some(total) if total != self.bytes() => {
                let why = format!(
                    "total_size {total}, the tensors have {} bytes",
                    self.bytes()
                );
                Err(Error::File { path, why })
            }
            _ => Ok(()),
        }
    }

    fn place(&self, name: &str) -> Option<&Placed> {
        let at = self
            .tensors
            .binary_search_by(|placed| placed.tensor.name().cmp(name))
            .ok()?;
        self.tensors.get(at)
    }

    /// A file as messages call it.
    fn file(&self, number: usize) -> std::path::Display<'_> {
        self.files
            .get(number)
            .map_or(Path::new(""), Contents::path)
            .display()
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&RawTensor> {
        self.place(name).map(|placed| &placed.tensor)
    }

    /// All tensors, in the order of their names.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &RawTensor> {
        self.tensors.iter().map(|placed| &placed.tensor)
    }

    /// The tensors of one file, by its place among [`Checkpoint::shards`], in the order of their names.
    pub fn tensors_of(&self, shard: usize) -> impl Iterator<Item = &RawTensor> {
        let own = self
            .tensors
            .iter()
            .filter(move |placed| placed.file == shard);
        own.map(|placed| &placed.tensor)
    }

    /// All names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors().map(RawTensor::name)
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.tensors()
            .map(|tensor| wide(tensor.bytes().len()))
            .fold(0, u64::saturating_add)
    }

    /// The files, in the order of the index.
    pub fn shards(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(Contents::path)
    }

    /// Brings the tensors into memory, as far as it holds them, file by file; those that `wanted`
    /// declines by name stay on disk. `progress` learns the bytes done and the bytes of all, and may
    /// break off.
    pub fn warm(
        &self,
        wanted: &dyn Fn(&str) -> bool,
        progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut ranges: Vec<(usize, Range<usize>)> = self
            .tensors
            .iter()
            .filter(|placed| wanted(placed.tensor.name()))
            .map(|placed| {
                let bytes = placed.tensor.bytes();
                let end = bytes.start().saturating_add(bytes.len());
                (placed.file, bytes.start()..end)
            })
            .collect();
        ranges.sort_by_key(|(file, range)| (*file, range.start));
        // Most tensors lie one behind the other.
        ranges.dedup_by(|(file, range), (last_file, last)| {
            let follows = file == last_file && range.start == last.end;
            if follows {
                last.end = range.end;
            }
            follows
        });
        let sizes = ranges.iter().map(|(_, range)| wide(range.len()));
        let total = sizes.fold(0, u64::saturating_add);
        let mut done = 0_u64;
        for (file, range) in ranges {
            let Some(file) = self.files.get(file) else {
                continue;
            };
            file.warm(range, &mut |bytes| {
                done = done.saturating_add(wide(bytes));
                progress(done, total)
            })?;
        }
        ControlFlow::Continue(())
    }
}

/// The path of `name` in `dir`, if something is there. A link to nothing counts: who opens it learns
/// where it leads.
fn find(dir: &Path, name: &str) -> Result<Option<PathBuf>> {
    let path = dir.join(name);
    match path.symlink_metadata() {
        Ok(_) => Ok(Some(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Io { path, source }),
    }
}

/// What is named in `dir` as an index, a shard or the single file are, in the order of the names;
/// nothing where there is no folder.
fn named_like_weights(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(io(source)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        let text = name.to_string_lossy();
        if text == INDEX || text.starts_with("model") && text.ends_with(".safetensors") {
            paths.push(dir.join(&name));
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_index(path: &Path) -> Result<Index> {
    let json = file::read(path, INDEX_BYTES_MAX).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    serde_json::from_slice(&json).map_err(|error| Error::File {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

/// A size as 64 bits, which no size exceeds.
fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
