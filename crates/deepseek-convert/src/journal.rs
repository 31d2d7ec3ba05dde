//! `conversion.json`: what is done of a conversion, and what it lost. Read again where one is resumed.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use serde::{Deserialize, Serialize};

/// The name of the file.
pub const NAME: &str = "conversion.json";

/// What this version of the crate writes.
const VERSION: u32 = 1;

/// A conversion as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    version: u32,
    /// What is converted to, by its name.
    pub target: String,
    /// What the checkpoint is known by: a digest of its config, of all names, types and shapes, and of
    /// both ends of each tensor.
    pub source: String,
    /// Whether all is done.
    pub complete: bool,
    /// Bytes of the tensors before.
    pub bytes_before: u64,
    /// Bytes of the tensors after.
    pub bytes_after: u64,
    /// The files that are finished.
    pub shards: Vec<ShardRecord>,
}

/// A file that is finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardRecord {
    /// Its name.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its digest, in hexadecimal.
    pub sha256: String,
    /// The tensors in it that were converted. All others are what they were.
    pub tensors: Vec<TensorRecord>,
}

/// A tensor that was converted. A stack of matrices is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorRecord {
    /// Its name in the file.
    pub name: String,
    /// How it was stored.
    pub from: String,
    /// How it is stored.
    pub to: String,
    /// Numbers that were finite.
    pub count: u64,
    /// Numbers that were not, and are counted in nothing below.
    pub not_finite: u64,
    /// The sum of the squares of what they were.
    pub squares: f64,
    /// The sum of the squares of what they are off.
    pub error_squares: f64,
    /// The most that a number is off.
    pub max_error: f64,
    /// The root of the ratio of these sums.
    pub relative_rms: f64,
    /// The same in decibels, as signal over noise; none where nothing is lost.
    pub snr_db: Option<f64>,
}

impl Journal {
    /// Nothing done yet.
    #[must_use]
    pub fn new(target: String, source: String, bytes_before: u64, bytes_after: u64) -> Self {
        Self {
            version: VERSION,
            target,
            source,
            complete: false,
            bytes_before,
            bytes_after,
            shards: Vec::new(),
        }
    }

    /// Reads a journal.
    ///
    /// # Errors
    /// What is none, in words.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let mut journal: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if journal.version != VERSION {
            return Err(format!(
                "version {}, this program reads {VERSION}",
                journal.version
            ));
        }
        let tensors = journal
            .shards
            .iter_mut()
            .flat_map(|shard| &mut shard.tensors);
        for tensor in tensors {
            tensor.shorten();
            let figures = [tensor.squares, tensor.error_squares, tensor.max_error];
            if figures
                .iter()
                .any(|figure| !figure.is_finite() || *figure < 0.0)
            {
                return Err(format!("tensor {}: {figures:?} are no sums", tensor.name));
            }
        }
        Ok(journal)
    }

    /// The journal as it is written. What is read of it is the same journal.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of numbers and strings has no way to fail.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The record of a file, if it is finished.
    #[must_use]
    pub fn shard(&self, file: &str) -> Option<&ShardRecord> {
        self.shards.iter().find(|shard| shard.file == file)
    }
}

impl TensorRecord {
    /// Leaves nine digits of each figure. What reads JSON may be off by the last digit of a float, so all of
    /// them would be other figures each time that they are read and written.
    pub(crate) fn shorten(&mut self) {
        let short = |figure: &mut f64| *figure = format!("{figure:.8e}").parse().unwrap_or(*figure);
        short(&mut self.squares);
        short(&mut self.error_squares);
        short(&mut self.max_error);
        short(&mut self.relative_rms);
        self.snr_db.iter_mut().for_each(short);
    }
}
