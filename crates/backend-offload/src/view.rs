//! Where numbers lie on a device: plain data, of which a driver makes descriptors of its own.

use std::fmt;
use std::ops::Deref;

use crate::limits::RANK_MAX;

/// A place in the memory of a device, as its driver names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(pub u64);

impl Address {
    /// So many bytes further.
    #[must_use]
    pub fn plus(self, bytes: usize) -> Self {
        Self(self.0 + bytes as u64)
    }
}

/// How a number is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// A 32-bit float.
    F32,
    /// The upper half of one.
    Bf16,
    /// A row number, signed because operators of vendors index by such. See [`Numbering`].
    I32,
    /// A byte of a packed matrix: a code, or two. No activation is kept so.
    I8,
}

impl DType {
    /// Bytes of a number.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::Bf16 => 2,
            Self::I8 => 1,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::I8 => "i8",
        })
    }
}

/// How a list on a device numbers rows.
///
/// Operators of vendors read and write rows that exist, and differ in what they do with a number that
/// names none. So a list that may hold [`NO_ROW`](deepseek_core::NO_ROW) counts from one, what it is
/// read from has a row of zeros in front, and no number on the device is ever out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// A number is itself. All of them name rows.
    FromZero,
    /// A number is itself plus one, and 0 is [`NO_ROW`](deepseek_core::NO_ROW).
    FromOne,
}

/// The lengths of a view's dimensions, outermost first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dims {
    rank: usize,
    lengths: [usize; RANK_MAX],
}

impl Dims {
    /// The product of all lengths: 1 without any.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().product()
    }
}

impl From<&[usize]> for Dims {
    /// # Panics
    /// If there are more than [`RANK_MAX`].
    fn from(from: &[usize]) -> Self {
        assert!(from.len() <= RANK_MAX, "{from:?}: {RANK_MAX} dimensions");
        let mut lengths = [0; RANK_MAX];
        lengths[..from.len()].copy_from_slice(from);
        Self {
            rank: from.len(),
            lengths,
        }
    }
}

impl<const N: usize> From<[usize; N]> for Dims {
    fn from(from: [usize; N]) -> Self {
        Self::from(&from[..])
    }
}

impl Deref for Dims {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.lengths[..self.rank]
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lengths: Vec<_> = self.iter().map(usize::to_string).collect();
        write!(f, "[{}]", lengths.join(","))
    }
}

impl fmt::Debug for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Numbers on a device: row-major, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Where the first of them lies.
    pub at: Address,
    /// How each is kept.
    pub dtype: DType,
    /// The dimensions.
    pub dims: Dims,
}

impl View {
    /// Numbers from `at` on.
    #[must_use]
    pub fn new(at: Address, dtype: DType, dims: impl Into<Dims>) -> Self {
        Self {
            at,
            dtype,
            dims: dims.into(),
        }
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.dims.count()
    }

    /// Their bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.count() * self.dtype.bytes()
    }

    /// The same numbers under other dimensions.
    ///
    /// # Panics
    /// If those hold more or fewer.
    #[must_use]
    pub fn shaped(&self, dims: impl Into<Dims>) -> Self {
        let dims = dims.into();
        assert_eq!(dims.count(), self.count(), "{} as {dims}", self.dims);
        Self { dims, ..*self }
    }

    /// Some of the numbers, from the `first` on, under dimensions of their own.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(&self, first: usize, dims: impl Into<Dims>) -> Self {
        let dims = dims.into();
        assert!(
            first + dims.count() <= self.count(),
            "{dims} from {first} of {}",
            self.dims
        );
        Self {
            at: self.at.plus(first * self.dtype.bytes()),
            dims,
            ..*self
        }
    }

    /// Whether two views share a byte.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let end = |view: &Self| view.at.plus(view.bytes());
        self.at < end(other) && other.at < end(self)
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.dims, self.dtype)
    }
}
