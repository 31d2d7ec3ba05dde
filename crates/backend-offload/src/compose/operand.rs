//! Operands of operators as plain data: numbers at a place, with strides.

use crate::limits::RANK_MAX;
use crate::view::{Address, DType, Dims, View};

/// How a number is kept between the operators that an operation is composed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A 32-bit float.
    F32,
    /// The upper half of one.
    Bf16,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// An 8-bit integer.
    I8,
    /// A byte: 0 or 1.
    Bool,
}

impl Type {
    /// Bytes of a number.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::Bool => 1,
            Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

impl From<DType> for Type {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Self::F32,
            DType::Bf16 => Self::Bf16,
            DType::I32 => Self::I32,
            DType::I8 => Self::I8,
        }
    }
}

/// Where numbers lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In memory that somebody allotted.
    Device(Address),
    /// So many bytes into the memory for intermediate results, which is allotted when all that goes
    /// into it is known.
    Scratch(usize),
}

/// Numbers at a place. Strides and offset are in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// Where they lie.
    pub place: Place,
    /// How each is kept.
    pub dtype: Type,
    /// The dimensions.
    pub dims: Dims,
    strides: [usize; RANK_MAX],
    /// Where the first of them stands.
    pub offset: usize,
    /// How many numbers lie at the place.
    pub room: usize,
}

impl Operand {
    /// Numbers without gaps.
    #[must_use]
    pub fn new(place: Place, dtype: Type, dims: impl Into<Dims>) -> Self {
        let dims = dims.into();
        Self {
            place,
            dtype,
            dims,
            strides: row_strides(&dims),
            offset: 0,
            room: dims.count(),
        }
    }

    /// How far apart neighbours of each dimension stand.
    #[must_use]
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.dims.len()]
    }

    /// Bytes at the place.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.room * self.dtype.bytes()
    }

    /// Where the place begins, once it is known where the memory for intermediate results does.
    #[must_use]
    pub fn at(&self, scratch: Address) -> Address {
        match self.place {
            Place::Device(at) => at,
            Place::Scratch(bytes) => scratch.plus(bytes),
        }
    }

    /// Whether they lie one behind the other, and are all that lies at the place.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.offset == 0
            && self.room == self.dims.count()
            && self.strides == row_strides(&self.dims)
    }

    /// Whether they lie one behind the other, wherever the first of them does.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        let mut want = 1;
        let axes = self.dims.iter().zip(self.strides()).rev();
        for (length, stride) in axes {
            if *length > 1 && *stride != want {
                return false;
            }
            want *= length;
        }
        true
    }

    /// The same with each number once: dimensions along which they are repeated have length 1.
    #[must_use]
    pub fn once(&self) -> Self {
        let is_repeated = |axis: &usize| self.dims[*axis] > 1 && self.strides()[*axis] == 0;
        let repeated = (0..self.dims.len()).filter(is_repeated);
        repeated.fold(*self, |x, axis| x.part(axis, 0, 1))
    }

    /// Numbers without gaps under other dimensions.
    ///
    /// # Panics
    /// If it has gaps, or those hold more or fewer.
    #[must_use]
    pub fn shaped(&self, dims: impl Into<Dims>) -> Self {
        let dims = dims.into();
        assert!(self.is_whole(), "{} without gaps", self.dims);
        assert_eq!(dims.count(), self.room, "{} as {dims}", self.dims);
        Self {
            dims,
            strides: row_strides(&dims),
            ..*self
        }
    }

    /// The same numbers by other strides, from one of them on.
    #[must_use]
    pub fn strided<const N: usize>(&self, dims: [usize; N], by: [usize; N], first: usize) -> Self {
        let mut strides = [0; RANK_MAX];
        strides[..N].copy_from_slice(&by);
        Self {
            dims: dims.into(),
            strides,
            offset: self.offset + first,
            ..*self
        }
    }

    /// Some of a dimension.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn part(&self, axis: usize, start: usize, length: usize) -> Self {
        assert!(
            start + length <= self.dims[axis],
            "{length} from {start} of {}",
            self.dims
        );
        let mut dims = self.dims.to_vec();
        dims[axis] = length;
        Self {
            dims: Dims::from(&dims[..]),
            offset: self.offset + start * self.strides[axis],
            ..*self
        }
    }

    /// The last two dimensions in the other order.
    #[must_use]
    pub fn transposed(&self) -> Self {
        let rank = self.dims.len();
        let mut dims = self.dims.to_vec();
        dims.swap(rank - 2, rank - 1);
        let mut strides = self.strides;
        strides.swap(rank - 2, rank - 1);
        Self {
            dims: Dims::from(&dims[..]),
            strides,
            ..*self
        }
    }
}

impl From<&View> for Operand {
    fn from(view: &View) -> Self {
        Self::new(Place::Device(view.at), view.dtype.into(), view.dims)
    }
}

fn row_strides(dims: &[usize]) -> [usize; RANK_MAX] {
    let mut strides = [0; RANK_MAX];
    let mut stride = 1;
    for axis in (0..dims.len()).rev() {
        strides[axis] = stride;
        stride *= dims[axis];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operand(dims: &[usize]) -> Operand {
        Operand::new(Place::Scratch(512), Type::F32, dims)
    }

    #[test]
    fn parts_and_transposes_keep_the_room_and_move_the_first_number() {
        let whole = operand(&[2, 3, 4]);
        assert_eq!(whole.strides(), [12, 4, 1]);
        let part = whole.part(1, 1, 2);
        assert_eq!(
            (&*part.dims, part.offset, part.room),
            (&[2, 2, 4][..], 4, 24)
        );
        let turned = part.transposed();
        assert_eq!(
            (&*turned.dims, turned.strides()),
            (&[2, 4, 2][..], &[12, 1, 4][..])
        );
        let last = part.strided([2], [12], 11);
        assert_eq!((last.strides(), last.offset), (&[12][..], 15));
    }

    #[test]
    fn a_place_is_known_when_scratch_is() {
        let bytes = operand(&[5]).bytes();
        assert_eq!(bytes, 20);
        assert_eq!(operand(&[5]).at(Address(4096)), Address(4608));
        let view = View::new(Address(64), DType::Bf16, [3]);
        let operand = Operand::from(&view);
        assert_eq!(
            (operand.at(Address(4096)), operand.bytes()),
            (Address(64), 6)
        );
    }
}
