//! How the numbers of a tensor lie in memory, in both directions.

use backend_ascend_sys::types::{aclDataType, aclFormat};
use emulator_support::Memory;
use half::{bf16, f16};

use crate::array::{Array, Data, enumerate, row_strides};
use crate::failure::Fault;
use crate::objects::Tensor;
use crate::work::misused;

/// Rows of a block of the fractal format, and the bytes of a row of one.
const BLOCK_ROWS: usize = 16;
const BLOCK_ROW_BYTES: usize = 32;

/// Bytes of a number of a type that operators compute with here.
pub(crate) fn width(dtype: aclDataType) -> Option<usize> {
    match dtype {
        aclDataType::ACL_INT8 | aclDataType::ACL_UINT8 | aclDataType::ACL_BOOL => Some(1),
        aclDataType::ACL_FLOAT16 | aclDataType::ACL_BF16 | aclDataType::ACL_INT16 => Some(2),
        aclDataType::ACL_FLOAT | aclDataType::ACL_INT32 => Some(4),
        aclDataType::ACL_INT64 => Some(8),
        _ => None,
    }
}

/// The storage of a matrix, or of several, in the fractal format:
/// `[…, columns / C0, rows / 16, 16, C0]`, both rounded up.
pub(crate) fn fractal(dims: &[usize], width: usize) -> Option<Vec<usize>> {
    let (matrix, outer) = (dims.last_chunk::<2>()?, &dims[..dims.len() - 2]);
    let c0 = BLOCK_ROW_BYTES / width;
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
            let want = fractal(&dims, width(self.dtype)?);
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
        self.stored().iter().product::<usize>() * width(self.dtype).unwrap_or(1)
    }

    /// Where each number lies in the storage, row by row.
    pub(crate) fn places(&self) -> Vec<usize> {
        let dims = self.sizes();
        let places = enumerate(&dims, &self.strides, self.offset);
        let places = places.into_iter().map(|place| place as usize);
        if !self.is_fractal() {
            return places.collect();
        }
        let storage = self.stored();
        let [columns, rows, height, c0] = *storage.last_chunk::<4>().expect("four axes or more");
        let (k, n) = (dims[dims.len() - 2], dims[dims.len() - 1]);
        let fractal = places.map(|place| {
            let (matrix, row, column) = (place / (k * n), place / n % k, place % n);
            let block = (matrix * columns + column / c0) * rows + row / height;
            (block * height + row % height) * c0 + column % c0
        });
        fractal.collect()
    }

    /// The bytes that it covers within the memory, number by number.
    pub(crate) fn covered(&self) -> Vec<(u64, u64)> {
        let width = width(self.dtype).unwrap_or(1) as u64;
        let start = self.data.address();
        let mut spans: Vec<_> = self
            .places()
            .iter()
            .map(|place| start + *place as u64 * width)
            .collect();
        spans.sort_unstable();
        spans.into_iter().map(|at| (at, at + width)).collect()
    }

    pub(crate) fn load(&self, memory: &Memory) -> Result<Array, Fault> {
        let width = width(self.dtype).expect("the contract knows the type");
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let region = memory.region(place);
        let places = self.places();
        let bytes = region.bytes();
        let numbers = places
            .iter()
            .map(|place| &bytes[place * width..(place + 1) * width]);
        let mut array = Array::new(&self.sizes(), decode(self.dtype, numbers));
        if region.first_unknown(0..self.bytes()).is_some() {
            let known = |place: &usize| {
                region
                    .first_unknown(place * width..(place + 1) * width)
                    .is_none()
            };
            array.known = Some(places.iter().map(known).collect());
        }
        Ok(array)
    }

    /// Makes its numbers unwritten.
    pub(crate) fn forget(&self, memory: &mut Memory) -> Result<(), Fault> {
        let width = width(self.dtype).expect("the contract knows the type");
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let mut region = memory.region_mut(place);
        for place in self.places() {
            region.forget(place * width..(place + 1) * width);
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
        let width = width(self.dtype).expect("the contract knows the type");
        let place = memory
            .locate(self.data.address(), self.bytes())
            .map_err(misused)?;
        let mut region = memory.region_mut(place);
        if self.is_fractal() {
            region.fill(0);
        }
        for (index, place) in self.places().into_iter().enumerate() {
            if array.known.as_ref().is_none_or(|known| known[index]) {
                region.write(
                    place * width,
                    &encode(self.dtype, &array.data, index)[..width],
                );
            }
        }
        Ok(())
    }
}

fn decode<'a>(dtype: aclDataType, numbers: impl Iterator<Item = &'a [u8]>) -> Data {
    fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("a number of its width")
    }
    match dtype {
        aclDataType::ACL_FLOAT => {
            Data::Float(numbers.map(|at| f32::from_le_bytes(word(at))).collect())
        }
        aclDataType::ACL_FLOAT16 => Data::Float(
            numbers
                .map(|at| f16::from_le_bytes(word(at)).to_f32())
                .collect(),
        ),
        aclDataType::ACL_BF16 => Data::Float(
            numbers
                .map(|at| bf16::from_le_bytes(word(at)).to_f32())
                .collect(),
        ),
        aclDataType::ACL_INT8 => Data::Int(
            numbers
                .map(|at| i8::from_le_bytes(word(at)).into())
                .collect(),
        ),
        aclDataType::ACL_INT16 => Data::Int(
            numbers
                .map(|at| i16::from_le_bytes(word(at)).into())
                .collect(),
        ),
        aclDataType::ACL_INT32 => Data::Int(
            numbers
                .map(|at| i32::from_le_bytes(word(at)).into())
                .collect(),
        ),
        aclDataType::ACL_INT64 => {
            Data::Int(numbers.map(|at| i64::from_le_bytes(word(at))).collect())
        }
        _ => Data::Int(numbers.map(|at| at[0].into()).collect()),
    }
}

/// One number, rounded to nearest, ties to even, in the first bytes.
fn encode(dtype: aclDataType, data: &Data, index: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    match data {
        Data::Float(floats) => {
            let float = floats[index];
            match dtype {
                aclDataType::ACL_FLOAT => bytes[..4].copy_from_slice(&float.to_le_bytes()),
                aclDataType::ACL_FLOAT16 => {
                    bytes[..2].copy_from_slice(&f16::from_f32(float).to_le_bytes());
                }
                aclDataType::ACL_BF16 => {
                    bytes[..2].copy_from_slice(&bf16::from_f32(float).to_le_bytes());
                }
                _ => panic!("the contract says integers"),
            }
        }
        Data::Int(ints) if dtype == aclDataType::ACL_BOOL => bytes[0] = u8::from(ints[index] != 0),
        Data::Int(ints) => bytes.copy_from_slice(&ints[index].to_le_bytes()),
    }
    bytes
}
