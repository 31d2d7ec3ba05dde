//! Borrowed tensors: ranges of a mapped file, and matrices made of them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{Format, ScaleFormat};

/// What holds bytes: a mapped file, a buffer.
pub trait Owner: Send + Sync {
    /// All of them.
    fn bytes(&self) -> &[u8];

    /// Hears how `range`, which lies inside, will be used. A buffer does nothing with that.
    fn advise(&self, _range: Range<usize>, _access: Access) {}
}

/// How bytes will be used. Only advice: nothing depends on it but time and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Here and there: reading one place does not announce the next.
    Scattered,
    /// Soon: begin to fetch them, and do not wait.
    Soon,
    /// No longer: let go of the memory. The file can be read again.
    Over,
}

impl Owner for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// A range of bytes whose owner, a mapped shard or a buffer, lives as long as the range.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

impl Bytes {
    /// `range` of what `owner` holds, or nothing when it does not lie inside.
    #[must_use]
    pub fn new(owner: Arc<dyn Owner>, range: Range<usize>) -> Option<Self> {
        owner.bytes().get(range.clone())?;
        Some(Self { owner, range })
    }

    /// `range` within these bytes, or nothing when it does not lie inside.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.get(range.clone())?;
        let start = self.range.start;
        Some(Self {
            owner: Arc::clone(&self.owner),
            range: start + range.start..start + range.end,
        })
    }

    /// Where they begin within what the owner holds.
    pub(super) fn start(&self) -> usize {
        self.range.start
    }

    /// Tells the system how `range` within these bytes will be used. Memory is fetched and let go
    /// by pages, so neighbours are meant too; what does not lie inside is left out.
    pub fn advise(&self, range: Range<usize>, access: Access) {
        let end = range.end.min(self.range.len());
        if range.start < end {
            let start = self.range.start;
            self.owner.advise(start + range.start..start + end, access);
        }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self {
            owner: Arc::new(bytes),
            range,
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.range.len())
    }
}

/// A weight matrix `[rows, columns]` as it is stored.
#[derive(Debug, Clone)]
pub struct WeightView {
    /// The tensor's name, for messages.
    pub name: String,
    /// How `data` and `scales` are packed.
    pub format: Format,
    /// Rows (outputs) and columns (inputs).
    pub shape: [usize; 2],
    /// The codes, row-major.
    pub data: Bytes,
    /// The scales, row-major: one for each tile or block. Empty for formats without.
    pub scales: Bytes,
    /// Where row 0 stands inside the first row of tiles: not 0 after [`WeightView::narrow`].
    pub tile_row: usize,
    /// How far apart rows begin, where other columns lie between them: after
    /// [`WeightView::narrow_columns`].
    pub stride: Option<Stride>,
}

/// How far apart the rows of a matrix begin that is made of some columns of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stride {
    /// Bytes from the codes of a row to those of the next.
    pub codes: usize,
    /// Bytes from a line of scales to the next.
    pub scales: usize,
}

impl WeightView {
    /// Rows `range` as a matrix of their own, borrowed from the same bytes.
    ///
    /// # Panics
    /// If the rows do not exist.
    #[must_use]
    pub fn narrow(&self, range: Range<usize>) -> Self {
        assert!(
            range.end <= self.shape[0],
            "{}: rows {range:?} of {}",
            self.name,
            self.shape[0]
        );
        let Stride { codes, scales } = self.distances();
        let data = lines(&self.data, range.clone(), 0..self.row_bytes(), codes);
        let (lines_of, tile_row) = match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => (None, 0),
            Format::Fp8 { tile, .. } => {
                let (first, last) = (self.tile_row + range.start, self.tile_row + range.end);
                let lines = first / tile[0]..last.div_ceil(tile[0]);
                (Some(lines), first % tile[0])
            }
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => (Some(range.clone()), 0),
        };
        let scales = match lines_of {
            None => self.scales.clone(),
            Some(range) => lines(&self.scales, range, 0..self.scale_row_bytes(), scales),
        };
        Self {
            name: self.name.clone(),
            shape: [range.len(), self.shape[1]],
            data,
            scales,
            tile_row,
            ..*self
        }
    }

    /// Columns `range` as a matrix of their own. The codes are borrowed from the same bytes, and so are the
    /// scales, unless a block that has one scale is divided: then blocks become smaller, and each part has
    /// a copy of the scale.
    ///
    /// # Errors
    /// [`Error::Tensor`] if a byte that holds two codes would be divided.
    ///
    /// # Panics
    /// If the columns do not exist.
    pub fn narrow_columns(&self, range: Range<usize>) -> Result<Self> {
        let (name, [rows, columns]) = (&self.name, self.shape);
        assert!(
            range.end <= columns,
            "{name}: columns {range:?} of {columns}"
        );
        if range == (0..columns) {
            return Ok(self.clone());
        }
        let is_even = |column: usize| column.is_multiple_of(2);
        if self.format.is_paired() && !(is_even(range.start) && is_even(range.end)) {
            return Err(Error::Tensor {
                name: name.clone(),
                why: format!(
                    "columns {range:?} of {}, which has two in a byte",
                    self.format
                ),
            });
        }
        let apart = self.distances();
        let [start, end] = [range.start, range.end].map(|at| code_bytes(self.format, at));
        let narrowed = Self {
            name: name.clone(),
            shape: [rows, range.len()],
            data: lines(&self.data, 0..rows, start..end, apart.codes),
            scales: self.scales.clone(),
            stride: Some(apart),
            ..*self
        };
        let Some((block, scale)) = self.format.columns_of_a_scale() else {
            return Ok(narrowed);
        };
        let whole = |column: usize| column.is_multiple_of(block) || column == columns;
        let count = self.scales.len().div_ceil(apart.scales.max(1));
        if whole(range.start) && whole(range.end) {
            let own =
                range.start / block * scale.bytes()..range.end.div_ceil(block) * scale.bytes();
            return Ok(Self {
                scales: lines(&self.scales, 0..count, own, apart.scales),
                ..narrowed
            });
        }
        let smaller = [range.start, range.end]
            .into_iter()
            .fold(block, common_divisor);
        let line = range.len() / smaller * scale.bytes();
        let mut copied = Vec::with_capacity(count * line);
        for index in 0..count {
            for column in range.clone().step_by(smaller) {
                let at = index * apart.scales + column / block * scale.bytes();
                copied.extend_from_slice(&self.scales[at..][..scale.bytes()]);
            }
        }
        Ok(Self {
            format: self.format.with_columns_of_a_scale(smaller),
            scales: copied.into(),
            stride: Some(Stride {
                scales: line,
                ..apart
            }),
            ..narrowed
        })
    }

    /// How far apart rows and lines of scales begin.
    #[must_use]
    pub fn distances(&self) -> Stride {
        self.stride.unwrap_or_else(|| Stride {
            codes: self.row_bytes(),
            scales: self.scale_row_bytes(),
        })
    }

    /// Bytes that it takes where nothing lies between its rows: codes and scales.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let lines = match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => 0,
            Format::Fp8 { tile, .. } => (self.tile_row + self.shape[0]).div_ceil(tile[0]),
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => self.shape[0],
        };
        self.shape[0] * self.row_bytes() + lines * self.scale_row_bytes()
    }

    /// Bytes of the codes of one row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        code_bytes(self.format, self.shape[1])
    }

    /// Bytes of one line of scales: those of one row of tiles, or of one row of blocks.
    #[must_use]
    pub fn scale_row_bytes(&self) -> usize {
        match self.format {
            Format::Int8 => ScaleFormat::F32.bytes(),
            format => format.columns_of_a_scale().map_or(0, |(block, scale)| {
                self.shape[1].div_ceil(block) * scale.bytes()
            }),
        }
    }

    /// The codes of row `index`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[u8] {
        &self.data[index * self.distances().codes..][..self.row_bytes()]
    }

    /// The scales of row `index`: one for each tile or block along its columns.
    #[must_use]
    pub fn row_scales(&self, index: usize) -> &[u8] {
        let index = match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => 0,
            Format::Fp8 { tile, .. } => (self.tile_row + index) / tile[0],
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => index,
        };
        &self.scales[index * self.distances().scales..][..self.scale_row_bytes()]
    }
}

/// Bytes of the codes of so many columns.
fn code_bytes(format: Format, columns: usize) -> usize {
    match format {
        Format::F32 => columns * 4,
        Format::Bf16 | Format::F16 => columns * 2,
        Format::Fp8 { .. } | Format::Int8 => columns,
        Format::Fp4 { .. } | Format::Int4 { .. } => columns / 2,
    }
}

/// The bytes `of` each of lines `range`, which begin `apart` from each other, with all that lies between.
fn lines(bytes: &Bytes, range: Range<usize>, of: Range<usize>, apart: usize) -> Bytes {
    let held = match range.clone().next_back() {
        None => 0..0,
        Some(last) => range.start * apart + of.start..last * apart + of.end,
    };
    bytes.slice(held).expect("lines lie inside")
}

/// The greatest number that divides both.
fn common_divisor(a: usize, b: usize) -> usize {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}
