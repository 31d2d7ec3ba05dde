//! An operand in memory: which bytes it covers, and its numbers.

use backend_cambricon_sys::types::cnnlDataType_t;
use emulator_support::Memory;
use emulator_support::failure::Fault;
use half::{bf16, f16};

use crate::array::{Array, Data, places};
use crate::work::misused;

pub(crate) const F32: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_FLOAT;
pub(crate) const F16: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_HALF;
pub(crate) const BF16: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_BFLOAT16;
pub(crate) const I32: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_INT32;
pub(crate) const I64: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_INT64;
pub(crate) const BOOL: cnnlDataType_t = cnnlDataType_t::CNNL_DTYPE_BOOL;
pub(crate) const FLOATS: &[cnnlDataType_t] = &[F32, F16, BF16];
pub(crate) const INDICES: &[cnnlDataType_t] = &[I32, I64];
pub(crate) const NUMBERS: &[cnnlDataType_t] = &[F32, F16, BF16, I32, I64];
pub(crate) const ALL: &[cnnlDataType_t] = &[F32, F16, BF16, I32, I64, BOOL];

/// A description of an operand that was set. Sizes and strides are in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) dims: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) dtype: cnnlDataType_t,
    /// Whether the number lies on the host's side.
    pub(crate) is_on_host: bool,
}

/// Bytes of a number, of the types that are emulated.
pub(crate) fn width(dtype: cnnlDataType_t) -> Option<usize> {
    match dtype {
        BOOL => Some(1),
        F16 | BF16 => Some(2),
        F32 | I32 => Some(4),
        I64 => Some(8),
        _ => None,
    }
}

impl Tensor {
    pub(crate) fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// Whether rows lie without gaps. How far a dimension of length 1 steps does not count.
    pub(crate) fn is_whole(&self) -> bool {
        let want = crate::array::strides(&self.dims);
        let mut axes = self.dims.iter().zip(self.strides.iter().zip(&want));
        axes.all(|(length, (have, want))| *length == 1 || have == want)
    }

    /// Bytes from the first number to behind the last.
    pub(crate) fn bytes(&self) -> usize {
        let last: usize = self
            .dims
            .iter()
            .zip(&self.strides)
            .map(|(n, by)| (n - 1) * by)
            .sum();
        (last + 1) * width(self.dtype).expect("a type that was looked at")
    }

    fn places(&self) -> Vec<usize> {
        places(&self.dims, &self.strides)
    }

    /// The numbers that lie at an address.
    pub(crate) fn load(&self, memory: &Memory, at: u64) -> Result<Array, Fault> {
        let width = width(self.dtype).expect("a type that was looked at");
        let place = memory.locate(at, self.bytes()).map_err(misused)?;
        let (region, places) = (memory.region(place), self.places());
        let bytes = region.bytes();
        let numbers = places.iter().map(|place| &bytes[place * width..][..width]);
        let mut array = Array::new(&self.dims, decode(self.dtype, numbers));
        if region.first_unknown(0..self.bytes()).is_some() {
            let known = places.iter().map(|place| {
                let range = place * width..(place + 1) * width;
                region.first_unknown(range).is_none()
            });
            array.known = Some(known.collect());
        }
        Ok(array)
    }

    /// Writes the numbers that are known, and makes the others unwritten.
    pub(crate) fn store(&self, memory: &mut Memory, at: u64, array: &Array) -> Result<(), Fault> {
        assert_eq!(array.dims, self.dims, "an operator gives what it planned");
        let width = width(self.dtype).expect("a type that was looked at");
        let place = memory.locate(at, self.bytes()).map_err(misused)?;
        let mut region = memory.region_mut(place);
        for (index, place) in self.places().into_iter().enumerate() {
            let start = place * width;
            if array.known.as_ref().is_none_or(|known| known[index]) {
                region.write(start, &encode(self.dtype, &array.data, index)[..width]);
            } else {
                region.forget(start..start + width);
            }
        }
        Ok(())
    }
}

fn decode<'a>(dtype: cnnlDataType_t, numbers: impl Iterator<Item = &'a [u8]>) -> Data {
    fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("a number of its width")
    }
    match dtype {
        F32 => Data::Float(numbers.map(|at| f32::from_le_bytes(word(at))).collect()),
        F16 => Data::Float(
            numbers
                .map(|at| f16::from_le_bytes(word(at)).to_f32())
                .collect(),
        ),
        BF16 => Data::Float(
            numbers
                .map(|at| bf16::from_le_bytes(word(at)).to_f32())
                .collect(),
        ),
        I32 => Data::Int(
            numbers
                .map(|at| i32::from_le_bytes(word(at)).into())
                .collect(),
        ),
        I64 => Data::Int(numbers.map(|at| i64::from_le_bytes(word(at))).collect()),
        _ => Data::Int(numbers.map(|at| at[0].into()).collect()),
    }
}

/// One number, rounded to nearest, ties to even, in the first bytes.
fn encode(dtype: cnnlDataType_t, data: &Data, index: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    match (data, dtype) {
        (Data::Float(all), F32) => bytes[..4].copy_from_slice(&all[index].to_le_bytes()),
        (Data::Float(all), F16) => {
            bytes[..2].copy_from_slice(&f16::from_f32(all[index]).to_le_bytes());
        }
        (Data::Float(all), BF16) => {
            bytes[..2].copy_from_slice(&bf16::from_f32(all[index]).to_le_bytes());
        }
        (Data::Float(_), _) => panic!("the contract says integers"),
        (Data::Int(all), BOOL) => bytes[0] = u8::from(all[index] != 0),
        (Data::Int(all), _) => bytes.copy_from_slice(&all[index].to_le_bytes()),
    }
    bytes
}
