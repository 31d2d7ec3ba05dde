//! Weight matrices, from a file to a device.

use std::fmt;
use std::ops::Range;

use deepseek_core::quant::{decode_row, pack_row};
use deepseek_core::weights::WeightView;
use deepseek_core::{Format, RowFormat, ScaleFormat};

use crate::view::{DType, Dims, View};

/// A matrix as a chip wants it, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed<F> {
    /// What the chip knows of it beside its numbers.
    pub form: F,
    /// Its numbers, and whatever else belongs to them, such as scales.
    pub parts: Vec<Part>,
}

impl Packed<()> {
    /// A matrix as plain numbers, where there is one way alone: that of which `above` are the rows, one above the other, in BF16
    /// where that holds every value of their format, else as 32-bit floats.
    ///
    /// # Panics
    /// If they are of several formats or widths.
    #[must_use]
    pub fn widened(above: &[&WeightView]) -> Self {
        Self {
            form: (),
            parts: vec![Part::widened(above)],
        }
    }
}

/// Numbers that become a view of their own on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How they are kept.
    pub dtype: DType,
    /// Their dimensions.
    pub dims: Dims,
    /// The numbers, little-endian.
    pub bytes: Vec<u8>,
}

/// A matrix on the device, or a stack of matrices of one shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix<F> {
    /// What the chip knows of it beside its numbers.
    pub form: F,
    /// Rows (outputs) and columns (inputs) of each.
    pub shape: [usize; 2],
    /// How many are stacked; none for one that is not. A stack's parts have this as another first dimension.
    pub stacked: Option<usize>,
    /// The parts that its chip packed.
    pub parts: Vec<View>,
}

impl<F: Clone> Matrix<F> {
    /// One of a stack.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn member(&self, index: usize) -> Self {
        let member = |part: &View| {
            let dims = Dims::from(&part.dims[1..]);
            part.part(index * dims.count(), dims)
        };
        Self {
            form: self.form.clone(),
            shape: self.shape,
            stacked: None,
            parts: self.parts.iter().map(member).collect(),
        }
    }
}

impl<F> fmt::Display for Matrix<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(count) = self.stacked {
            write!(f, "{count} x ")?;
        }
        write!(f, "[{},{}]", self.shape[0], self.shape[1])?;
        self.parts
            .iter()
            .try_for_each(|part| write!(f, " {}", part.dtype))
    }
}

impl Part {
    /// `[rows, columns]`. What a chip packs that has no products of the stored formats.
    fn widened(above: &[&WeightView]) -> Self {
        let (format, columns) = (above[0].format, above[0].shape[1]);
        let alike = |view: &&WeightView| (view.format, view.shape[1]) == (format, columns);
        assert!(above.iter().all(alike), "{}: matrices alike", above[0].name);
        let rows = above.iter().map(|view| view.shape[0]).sum();
        let bytes = above
            .iter()
            .map(|view| widened_rows(view, 0..view.shape[0]));
        Self {
            dtype: widened_dtype(format),
            dims: [rows, columns].into(),
            bytes: bytes.collect::<Vec<_>>().concat(),
        }
    }
}

/// BF16 where that holds every value of a format: powers of two as scales leave few significant bits.
#[must_use]
pub fn widened_dtype(format: Format) -> DType {
    match format {
        Format::F32 | Format::F16 | Format::Int8 | Format::Int4 { .. } => DType::F32,
        Format::Bf16 => DType::Bf16,
        Format::Fp8 { scale, .. } | Format::Fp4 { scale, .. } => match scale {
            ScaleFormat::E8m0 => DType::Bf16,
            ScaleFormat::F32 => DType::F32,
        },
    }
}

/// Some rows of a matrix in its [`widened_dtype`].
pub(crate) fn widened_rows(weight: &WeightView, rows: Range<usize>) -> Vec<u8> {
    let columns = weight.shape[1];
    let (dtype, mut values) = (widened_dtype(weight.format), vec![0.0; columns]);
    let mut bytes = Vec::with_capacity(rows.len() * columns * dtype.bytes());
    for row in rows {
        decode_row(weight, row, &mut values);
        bytes.extend(encode(dtype, &values));
    }
    bytes
}

/// Floats as they lie on a device.
pub(crate) fn encode(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0; values.len() * dtype.bytes()];
    pack_row(floats(dtype), values, &mut bytes);
    bytes
}

/// The row format of `dtype`.
///
/// # Panics
/// If it keeps integers.
pub(crate) fn floats(dtype: DType) -> RowFormat {
    match dtype {
        DType::F32 => RowFormat::F32,
        DType::Bf16 => RowFormat::Bf16,
        DType::I32 | DType::I8 => panic!("{dtype} keeps no floats"),
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::quant::{encode_rows, unpack_row};

    use super::*;

    #[test]
    fn widened_numbers_are_those_of_the_file_bit_for_bit() {
        let values: Vec<f32> = (0..3 * 64).map(|at| (at as f32 - 90.0) / 16.0).collect();
        let fp8 = |scale| Format::Fp8 {
            tile: [32, 32],
            scale,
        };
        let fp4 = |scale| Format::Fp4 { block: 32, scale };
        for (format, dtype) in [
            (Format::F32, DType::F32),
            (Format::F16, DType::F32),
            (Format::Bf16, DType::Bf16),
            (fp8(ScaleFormat::E8m0), DType::Bf16),
            (fp8(ScaleFormat::F32), DType::F32),
            (fp4(ScaleFormat::E8m0), DType::Bf16),
            (fp4(ScaleFormat::F32), DType::F32),
            (Format::Int8, DType::F32),
            (Format::Int4 { group: 32 }, DType::F32),
        ] {
            let encoded = encode_rows(&values, 64, format);
            let weight = WeightView {
                name: "w".to_owned(),
                format,
                shape: [3, 64],
                data: encoded.data.into(),
                scales: encoded.scales.into(),
                tile_row: 0,
                stride: None,
            };
            let part = Part::widened(&[&weight]);
            assert_eq!((part.dtype, &*part.dims), (dtype, &[3, 64][..]), "{format}");
            let (mut got, mut want) = (vec![0.0; 64], vec![0.0; 64]);
            for (row, bytes) in part.bytes.chunks(64 * dtype.bytes()).enumerate() {
                unpack_row(floats(dtype), bytes, &mut got);
                decode_row(&weight, row, &mut want);
                assert_eq!(got, want, "{format}, row {row}");
            }
        }
    }
}
