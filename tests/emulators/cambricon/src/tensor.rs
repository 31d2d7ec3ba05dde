//! An operand in memory: which bytes it covers, and its numbers.

use backend_cambricon_sys::types::cnnlDataType_t;
use emulator_support::Memory;
use emulator_support::failure::Fault;
use emulator_support::numbers::{Number, Runs};

use crate::array::Array;
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

/// How numbers are kept, of the types that are emulated.
pub(crate) fn number(dtype: cnnlDataType_t) -> Option<Number> {
    match dtype {
        F32 => Some(Number::F32),
        F16 => Some(Number::F16),
        BF16 => Some(Number::Bf16),
        I32 => Some(Number::I32),
        I64 => Some(Number::I64),
        BOOL => Some(Number::Bool),
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
        (last + 1) * self.number().bytes()
    }

    fn runs(&self) -> Runs {
        let strides: Vec<i64> = self.strides.iter().map(|stride| *stride as i64).collect();
        Runs::new(&self.dims, &strides, 0)
    }

    fn number(&self) -> Number {
        number(self.dtype).expect("a type that was looked at")
    }

    /// The numbers that lie at an address.
    pub(crate) fn load(&self, memory: &Memory, at: u64) -> Result<Array, Fault> {
        let place = memory.locate(at, self.bytes()).map_err(misused)?;
        let region = memory.region(place);
        Ok(self.runs().load(&self.dims, self.number(), &region))
    }

    /// Writes the numbers that are known, and makes the others unwritten.
    pub(crate) fn store(&self, memory: &mut Memory, at: u64, array: &Array) -> Result<(), Fault> {
        assert_eq!(array.dims, self.dims, "an operator gives what it planned");
        let place = memory.locate(at, self.bytes()).map_err(misused)?;
        let mut region = memory.region_mut(place);
        self.runs().store(array, self.number(), &mut region);
        Ok(())
    }
}
