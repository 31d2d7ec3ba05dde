//! Borrowed tensors: ranges of a mapped file, and matrices made of them.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

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
        let cut = |bytes: &Bytes, range: Range<usize>| bytes.slice(range).expect("rows lie inside");
        let row = self.row_bytes();
        let data = cut(&self.data, range.start * row..range.end * row);
        let (scales, tile_row) = match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => (self.scales.clone(), 0),
            Format::Fp8 { tile, .. } => {
                let (first, last) = (self.tile_row + range.start, self.tile_row + range.end);
                let line = self.scale_row_bytes();
                let lines = first / tile[0]..last.div_ceil(tile[0]);
                (
                    cut(&self.scales, lines.start * line..lines.end * line),
                    first % tile[0],
                )
            }
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => {
                let line = self.scale_row_bytes();
                (cut(&self.scales, range.start * line..range.end * line), 0)
            }
        };
        let shape = [range.len(), self.shape[1]];
        Self {
            name: self.name.clone(),
            format: self.format,
            shape,
            data,
            scales,
            tile_row,
        }
    }

    /// Bytes of the codes of one row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        match self.format {
            Format::F32 => self.shape[1] * 4,
            Format::Bf16 | Format::F16 => self.shape[1] * 2,
            Format::Fp8 { .. } | Format::Int8 => self.shape[1],
            Format::Fp4 { .. } | Format::Int4 { .. } => self.shape[1] / 2,
        }
    }

    /// Bytes of one line of scales: those of one row of tiles, or of one row of blocks.
    #[must_use]
    pub fn scale_row_bytes(&self) -> usize {
        match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => 0,
            Format::Fp8 { tile, scale } => self.shape[1].div_ceil(tile[1]) * scale.bytes(),
            Format::Fp4 { block, scale } => self.shape[1].div_ceil(block) * scale.bytes(),
            Format::Int8 => ScaleFormat::F32.bytes(),
            Format::Int4 { group } => self.shape[1].div_ceil(group) * ScaleFormat::F32.bytes(),
        }
    }

    /// The codes of row `index`.
    #[must_use]
    pub fn row(&self, index: usize) -> &[u8] {
        let row = self.row_bytes();
        &self.data[index * row..][..row]
    }

    /// The scales of row `index`: one for each tile or block along its columns.
    #[must_use]
    pub fn row_scales(&self, index: usize) -> &[u8] {
        let line = self.scale_row_bytes();
        let index = match self.format {
            Format::F32 | Format::Bf16 | Format::F16 => 0,
            Format::Fp8 { tile, .. } => (self.tile_row + index) / tile[0],
            Format::Fp4 { .. } | Format::Int8 | Format::Int4 { .. } => index,
        };
        &self.scales[index * line..][..line]
    }
}
