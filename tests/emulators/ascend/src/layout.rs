//! How the numbers of a tensor lie in memory, in both directions.

use std::ops::Range;

use backend_ascend_sys::types::{aclDataType, aclFormat};
use emulator_support::Memory;
use emulator_support::numbers::{Number, Runs};

use crate::array::{Array, enumerate, row_strides};
use crate::failure::Fault;
use crate::objects::Tensor;
use crate::work::misused;

/// Rows of a block of the fractal format, and the bytes of a row of one.
const BLOCK_ROWS: usize = 16;
const BLOCK_ROW_BYTES: usize = 32;

/// How numbers are kept, of the types that operators compute with here.
fn number(dtype: aclDataType) -> Option<Number> {
    match dtype {
        aclDataType::ACL_FLOAT => Some(Number::F32),
        aclDataType::ACL_FLOAT16 => Some(Number::F16),
        aclDataType::ACL_BF16 => Some(Number::Bf16),
        aclDataType::ACL_INT8 => Some(Number::I8),
        aclDataType::ACL_UINT8 => Some(Number::U8),
        aclDataType::ACL_INT16 => Some(Number::I16),
        aclDataType::ACL_INT32 => Some(Number::I32),
        aclDataType::ACL_INT64 | aclDataType::ACL_UINT64 => Some(Number::I64),
        aclDataType::ACL_BOOL => Some(Number::Bool),
        _ => None,
    }
}

/// Bytes of a number of such a type.
pub(crate) fn width(dtype: aclDataType) -> Option<usize> {
    number(dtype).map(Number::bytes)
}

/// Bits of a number: two of four bits lie in a byte, the first in the lower half.
fn bits(dtype: aclDataType) -> Option<usize> {
    match dtype {
        aclDataType::ACL_INT4 => Some(4),
        dtype => width(dtype).map(|bytes| 8 * bytes),
    }
}

/// The storage of a matrix, or of several, in the fractal format:
/// `[…, columns / C0, rows / 16, 16, C0]`, both rounded up.
pub(crate) fn fractal(dims: &[usize], bits: usize) -> Option<Vec<usize>> {
    let (matrix, outer) = (dims.last_chunk::<2>()?, &dims[..dims.len() - 2]);
    let c0 = 8 * BLOCK_ROW_BYTES / bits;
    let blocks = [
        matrix[1].div_ceil(c0),
        matrix[0].div_ceil(BLOCK_ROWS),
        BLOCK_ROWS,
        c0,
    ];
    Some(outer.iter().chain(&blocks).copied().collect())
}

impl Tensor {
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.dims.iter().map(|dim| *dim as usize).collect()
    }

    fn stored(&self) -> Vec<usize> {
        self.storage.iter().map(|dim| *dim as usize).collect()
    }

    pub(crate) fn is_fractal(&self) -> bool {
        self.format == aclFormat::ACL_FORMAT_FRACTAL_NZ
    }

    /// Whether the rows lie one behind the other without gaps.
    pub(crate) fn is_contiguous(&self) -> bool {
        let dims = self.sizes();
        let want = row_strides(&dims);
        let mut axes = dims.iter().zip(&self.strides).zip(want);
        axes.all(|((dim, stride), want)| *dim <= 1 || *stride == want)
    }

    /// What is wrong with it by itself.
    pub(crate) fn flaw(&self) -> Option<String> {
        let dims = self.sizes();
        if self.is_fractal() {
            let want = fractal(&dims, bits(self.dtype)?);
            if want.as_ref() != Some(&self.stored()) {
                return Some(format!(
                    "storage {:?} for {dims:?}, in this format {want:?}",
                    self.storage
                ));
            }
            let plain = self.offset == 0 && self.is_contiguous();
            return (!plain).then(|| "a view of a tensor in the fractal format".to_owned());
        }
        let count = self.stored().iter().product::<usize>() as i64;
        let reach = dims.iter().zip(&self.strides);
        let last = reach.fold(self.offset, |last, (dim, stride)| {
            last.saturating_add(stride.saturating_mul((*dim as i64 - 1).max(0)))
        });
        let leaves = !dims.contains(&0) && (self.offset < 0 || last >= count);
        leaves.then(|| format!("elements {} to {last} of a storage of {count}", self.offset))
    }

    /// Bytes of the storage.
    pub(crate) fn bytes(&self) -> usize {
        let bits = bits(self.dtype).unwrap_or(8);
        (self.stored().iter().product::<usize>() * bits).div_ceil(8)
    }

    /// Where its numbers lie in the storage, row by row, as far as they follow one another.
    fn runs(&self) -> Runs {
        let dims = self.sizes();
        if self.is_fractal() {
            return Runs {
                starts: self.fractal_places(),
                length: 1,
            };
        }
        Runs::new(&dims, &self.strides, self.offset)
    }

    /// Where each number lies in the fractal format.
    fn fractal_places(&self) -> Vec<usize> {
        let (dims, storage) = (self.sizes(), self.stored());
        let places = enumerate(&dims, &self.strides, self.offset);
        let [columns, rows, height, c0] = *storage.last_chunk::<4>().expect("four axes or more");
        let (k, n) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let fractal = places.into_iter().map(|place| {
            let place = place as usize;
            let (matrix, row, column) = (place / (k * n), place / n % k, place % n);
            let block = (matrix * columns + column / c0) * rows + row / height;
            (block * height + row % height) * c0 + column % c0
        });
        fractal.collect()
    }

    /// Whether it shares a byte of memory with another.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.reach(), other.reach());
        if a.end <= b.start || b.end <= a.start {
            return false;
        }
        let (a, b) = (self.covered(), other.covered());
        let (mut i, mut j) = (0, 0);
        while i < a.len() && j < b.len() {
            if a[i].start < b[j].end && b[j].start < a[i].end {
                return true;
            }
            if a[i].end <= b[j].end {
                i += 1;
            } else {
                j += 1;
            }
        }
        false
    }

    /// The bytes of the memory from its first number to its last, whatever lies between them.
    fn reach(&self) -> Range<u64> {
        let start = self.data.address();
        if self.is_fractal() {
            return start..start + self.bytes() as u64;
        }
        let width = width(self.dtype).unwrap_or(1) as i64;
        let (mut first, mut last) = (self.offset, self.offset);
        for (dim, stride) in self.dims.iter().zip(&self.strides) {
            let far = stride * (dim - 1).max(0);
            first += far.min(0);
            last += far.max(0);
        }
        let at = |number: i64| start.wrapping_add_signed(number * width);
        at(first)..at(last + 1)
    }

    /// The bytes that it covers within the memory, in their order.
    fn covered(&self) -> Vec<Range<u64>> {
        let width = width(self.dtype).unwrap_or(1) as u64;
        let (Runs { mut starts, length }, base) = (self.runs(), self.data.address());
        if length == 0 {
            return Vec::new();
        }
        starts.sort_unstable();
        let spans = starts.into_iter().map(|start| base + start as u64 * width);
        spans
            .map(|start| start..start + length as u64 * width)
            .collect()
    }

    /// Numbers of four bits.
    fn load_pairs(&self, memory: &Memory) -> Result<Array, Fault> {
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let region = memory.region(place);
        let Runs { starts, length } = self.runs();
        let places = || starts.iter().flat_map(|start| *start..start + length);
        let number = |at: usize| {
            let both = region.bytes()[at / 2];
            i64::from((both >> (4 * (at % 2)) << 4) as i8 >> 4)
        };
        let mut array = Array::ints(&self.sizes(), places().map(number).collect());
        if region.first_unknown(0..self.bytes()).is_some() {
            let is_known = |at: usize| region.first_unknown(at / 2..at / 2 + 1).is_none();
            array.known = Some(places().map(is_known).collect());
        }
        Ok(array)
    }

    fn number(&self) -> Number {
        number(self.dtype).expect("the contract knows the type")
    }

    pub(crate) fn load(&self, memory: &Memory) -> Result<Array, Fault> {
        if self.dtype == aclDataType::ACL_INT4 {
            return self.load_pairs(memory);
        }
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let region = memory.region(place);
        Ok(self.runs().load(&self.sizes(), self.number(), &region))
    }

    /// Makes its numbers unwritten.
    pub(crate) fn forget(&self, memory: &mut Memory) -> Result<(), Fault> {
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let mut region = memory.region_mut(place);
        for run in self.runs().bytes(self.number().bytes()) {
            region.forget(run);
        }
        Ok(())
    }

    /// Writes the numbers that are known. In the fractal format the rest of the storage becomes zero.
    pub(crate) fn store(&self, memory: &mut Memory, array: &Array) -> Result<(), Fault> {
        assert_eq!(
            array.dims,
            self.sizes(),
            "an operator gives what it planned"
        );
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let mut region = memory.region_mut(place);
        if self.is_fractal() {
            region.fill(0);
        }
        self.runs().store(array, self.number(), &mut region);
        Ok(())
    }
}
