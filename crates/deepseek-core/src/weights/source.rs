//! What a layer's `load` reads: matrices and vectors by name.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fmt;

use crate::error::{Error, Result};
use crate::format::{Format, ScaleFormat};
use crate::quant::f16;
use crate::weights::{Bytes, Checkpoint, Dtype, RawTensor, Shard, WeightView};

/// Columns that share a scale in packed FP4 weights (`docs/models/deepseek-v4.md` §2.4).
const FP4_BLOCK: usize = 32;

/// INT4 codes in an element of [`Dtype::I32`], the first in the lowest bits.
const INT4_WORD: usize = 8;

/// Tensors by the names of the released files, wherever and however they are kept.
pub trait TensorSource: fmt::Debug + Send + Sync {
    /// The tensor of that name, or nothing if there is none.
    ///
    /// # Errors
    /// A tensor that is there and cannot be what the name stands for.
    fn find(&self, name: &str) -> Result<Option<RawTensor>>;
}

impl TensorSource for Checkpoint {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        Ok(self.tensor(name).cloned())
    }
}

impl TensorSource for Shard {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        Ok(self.tensor(name).cloned())
    }
}

/// A place in a checkpoint: names are read below a prefix.
///
/// How a tensor is stored is decided by its type in the file, never by the config.
#[derive(Debug, Clone)]
pub struct Tensors<'a> {
    source: &'a dyn TensorSource,
    prefix: String,
    tile: [usize; 2],
}

impl<'a> Tensors<'a> {
    /// The top of a checkpoint whose FP8 weights have one scale for `tile` rows and columns.
    ///
    /// # Panics
    /// If a tile is empty.
    #[must_use]
    pub fn new(source: &'a dyn TensorSource, tile: [usize; 2]) -> Self {
        assert!(!tile.contains(&0), "tiles of {tile:?} weights");
        Self {
            source,
            prefix: String::new(),
            tile,
        }
    }

    /// The place `step` further down, such as `layers.3`.
    #[must_use]
    pub fn at(&self, step: &str) -> Self {
        Self {
            prefix: self.name(step) + ".",
            ..*self
        }
    }

    /// The same place, where FP8 weights have one scale for `tile` rows and columns.
    ///
    /// # Panics
    /// If a tile is empty.
    #[must_use]
    pub fn tiled(&self, tile: [usize; 2]) -> Self {
        assert!(!tile.contains(&0), "tiles of {tile:?} weights");
        Self {
            tile,
            ..self.clone()
        }
    }

    /// The whole name of what is called `suffix` here.
    #[must_use]
    pub fn name(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.prefix)
    }

    /// Whether there is a tensor of that name. One that cannot be used counts.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !matches!(self.source.find(&self.name(name)), Ok(None))
    }

    fn find(&self, name: &str) -> Result<RawTensor> {
        let name = self.name(name);
        self.source.find(&name)?.ok_or(Error::Missing { name })
    }

    /// The matrix `[out, in]` of that name, with its scales if it is quantised: F32, BF16, F16; FP8
    /// and FP4 in pairs with scales in E8M0, be they called bytes, or F32; INT8 as I8 `[out, in]` with
    /// F32 scales `[out, 1]`; INT4 as I32 `[out, in / 8]` with F32 scales for groups of equal length.
    ///
    /// # Errors
    /// A matrix or its scales missing, of another shape or of an unusable type; scales beside a
    /// matrix that has no use for them.
    pub fn matrix(&self, name: &str, shape: [usize; 2]) -> Result<WeightView> {
        let raw = self.find(name)?;
        let scale_name = scale_name(name);
        let [rows, columns] = shape;
        let (format, scales) = match raw.dtype() {
            Dtype::F32 => (Format::F32, self.without_scales(&raw, shape, &scale_name)?),
            Dtype::Bf16 => (Format::Bf16, self.without_scales(&raw, shape, &scale_name)?),
            Dtype::F16 => (Format::F16, self.without_scales(&raw, shape, &scale_name)?),
            Dtype::F8E4m3 => {
                fits(&raw, &shape)?;
                let (tile, [tall, broad]) = (self.tile, self.tile);
                let tiles = [rows.div_ceil(tall), columns.div_ceil(broad)];
                let (scale, scales) = self.scales(&scale_name, tiles)?;
                (Format::Fp8 { tile, scale }, scales)
            }
            Dtype::I8 if columns > 0 && raw.shape() == shape.as_slice() => {
                let scales = self.find(&scale_name)?;
                fits(&scales, &[rows, 1])?;
                (Format::Int8, floats(&scales)?)
            }
            Dtype::I32 => {
                if columns % INT4_WORD != 0 {
                    return Err(raw.unusable("a type for columns that are no multiple of 8"));
                }
                fits(&raw, &[rows, columns / INT4_WORD])?;
                let scales = self.find(&scale_name)?;
                let group = int4_group(&scales, shape)?;
                (Format::Int4 { group }, floats(&scales)?)
            }
            Dtype::I8 | Dtype::U8 => {
                if columns % 2 == 1 {
                    return Err(raw.unusable("a type for an odd number of columns"));
                }
                fits(&raw, &[rows, columns / 2])?;
                let (block, blocks) = (FP4_BLOCK, [rows, columns.div_ceil(FP4_BLOCK)]);
                let (scale, scales) = self.scales(&scale_name, blocks)?;
                (Format::Fp4 { block, scale }, scales)
            }
            _ => return Err(raw.unusable("F32, BF16, F16, F8_E4M3, I8 or I32")),
        };
        let (name, data) = (raw.name().to_owned(), raw.bytes().clone());
        Ok(WeightView {
            name,
            format,
            shape,
            data,
            scales,
            tile_row: 0,
            stride: None,
        })
    }

    /// What the scales of a quantised matrix are called in its file.
    ///
    /// # Errors
    /// [`Error::Missing`] if there are none.
    pub fn scales_of(&self, name: &str) -> Result<String> {
        Ok(self.find(&scale_name(name))?.name().to_owned())
    }

    /// The scales of a quantised matrix. Exponent bytes go by two names.
    fn scales(&self, name: &str, shape: [usize; 2]) -> Result<(ScaleFormat, Bytes)> {
        let scales = self.find(name)?;
        fits(&scales, &shape)?;
        let format = match scales.dtype() {
            Dtype::F8E8m0 | Dtype::U8 => ScaleFormat::E8m0,
            Dtype::F32 => ScaleFormat::F32,
            _ => return Err(scales.unusable("F8_E8M0, U8 or F32")),
        };
        Ok((format, scales.bytes().clone()))
    }

    /// The scales of a matrix of floats: none.
    fn without_scales(
        &self,
        raw: &RawTensor,
        shape: [usize; 2],
        scale_name: &str,
    ) -> Result<Bytes> {
        fits(raw, &shape)?;
        match self.source.find(&self.name(scale_name))? {
            None => Ok(Bytes::from(Vec::new())),
            Some(scales) => {
                let why = format!(
                    "scales for {}, which is stored as {}",
                    raw.name(),
                    raw.dtype()
                );
                Err(Error::Tensor {
                    name: scales.name().to_owned(),
                    why,
                })
            }
        }
    }

    /// The `length` floats of that name: F32, or BF16 and F16 widened.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable type.
    pub fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>> {
        self.array(name, &[length])
    }

    /// The floats of that name, row-major: F32, or BF16 and F16 widened.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable type.
    pub fn array(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let raw = self.floats(name, shape)?;
        Ok(match raw.dtype() {
            Dtype::Bf16 => each(&raw, |x| {
                f32::from_bits(u32::from(u16::from_le_bytes(x)) << 16)
            }),
            Dtype::F16 => each(&raw, |x| f16::decode(u16::from_le_bytes(x))),
            _ => each(&raw, f32::from_le_bytes),
        })
    }

    /// The same as it is stored.
    ///
    /// # Errors
    /// As [`Tensors::array`].
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<RawTensor> {
        let raw = self.find(name)?;
        fits(&raw, shape)?;
        match raw.dtype() {
            Dtype::F32 | Dtype::Bf16 | Dtype::F16 => Ok(raw),
            _ => Err(raw.unusable("F32, BF16 or F16")),
        }
    }

    /// The table of integers of that name, of any width, row-major. Those beyond 63 bits become the
    /// largest of these.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of another type.
    pub fn integers(&self, name: &str, shape: [usize; 2]) -> Result<Vec<i64>> {
        let raw = self.table(name, shape)?;
        Ok(match raw.dtype() {
            Dtype::I32 => each(&raw, |x| i32::from_le_bytes(x).into()),
            Dtype::I16 => each(&raw, |x| i16::from_le_bytes(x).into()),
            Dtype::I8 => each(&raw, |x| i8::from_le_bytes(x).into()),
            Dtype::U64 => each(&raw, |x| {
                u64::from_le_bytes(x).try_into().unwrap_or(i64::MAX)
            }),
            Dtype::U32 => each(&raw, |x| u32::from_le_bytes(x).into()),
            Dtype::U16 => each(&raw, |x| u16::from_le_bytes(x).into()),
            Dtype::U8 => each(&raw, |x| u8::from_le_bytes(x).into()),
            _ => each(&raw, i64::from_le_bytes),
        })
    }

    /// The same as it is stored.
    ///
    /// # Errors
    /// As [`Tensors::integers`].
    pub fn table(&self, name: &str, shape: [usize; 2]) -> Result<RawTensor> {
        let raw = self.find(name)?;
        fits(&raw, &shape)?;
        match raw.dtype() {
            Dtype::I64 | Dtype::I32 | Dtype::I16 | Dtype::I8 => Ok(raw),
            Dtype::U64 | Dtype::U32 | Dtype::U16 | Dtype::U8 => Ok(raw),
            _ => Err(raw.unusable("integers")),
        }
    }
}

/// The bytes of scales that can be F32 alone.
fn floats(scales: &RawTensor) -> Result<Bytes> {
    match scales.dtype() {
        Dtype::F32 => Ok(scales.bytes().clone()),
        _ => Err(scales.unusable("F32")),
    }
}

/// The columns that share a scale in INT4: as many for each of a row's scales.
fn int4_group(scales: &RawTensor, [rows, columns]: [usize; 2]) -> Result<usize> {
    let group = match *scales.shape() {
        [lines, groups] if lines == rows && columns.checked_rem(groups) == Some(0) => {
            columns.checked_div(groups)
        }
        _ => None,
    };
    let whole = |group: &usize| *group > 0 && group.is_multiple_of(INT4_WORD);
    group.filter(whole).ok_or_else(|| Error::Tensor {
        name: scales.name().to_owned(),
        why: format!(
            "scales of shape {:?} for INT4 of {rows} rows and {columns} columns, want as many for each row, \
             each for a multiple of {INT4_WORD} columns",
            scales.shape()
        ),
    })
}

/// The released name of a matrix's scales.
fn scale_name(name: &str) -> String {
    format!("{}.scale", name.strip_suffix(".weight").unwrap_or(name))
}

/// The elements of a tensor, each of `N` bytes.
fn each<T, const N: usize>(raw: &RawTensor, read: impl Fn([u8; N]) -> T) -> Vec<T> {
    let elements = raw.bytes().as_chunks().0.iter();
    elements.map(|bytes| read(*bytes)).collect()
}

/// Holds a tensor's shape against the one wanted.
fn fits(raw: &RawTensor, config: &[usize]) -> Result<()> {
    if raw.shape() == config {
        Ok(())
    } else {
        Err(raw.misfit(config))
    }
}
