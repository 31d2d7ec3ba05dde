//! How numbers are stored: weights on disk, cache rows in memory, and the roundings in between.

use std::fmt;

/// How the scale of a block is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleFormat {
    /// One exponent byte `b`, meaning `2^(b - 127)`; 255 is NaN.
    E8m0,
    /// A float, as in the Base checkpoints and in those that other tools saved again.
    F32,
}

/// How a weight matrix is packed. Block sizes are values, so that releases differ in data alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// 32-bit floats.
    F32,
    /// BF16: the upper half of a 32-bit float.
    Bf16,
    /// Half-precision floats.
    F16,
    /// E4M3 codes with one scale per `tile` of `[rows, columns]`.
    Fp8 {
        /// Rows and columns that share a scale. Edge tiles may be partial.
        tile: [usize; 2],
        /// How the scales are stored.
        scale: ScaleFormat,
    },
    /// Two E2M1 codes a byte, low nibble first, with one scale per `block` columns of a row.
    Fp4 {
        /// Columns that share a scale.
        block: usize,
        /// How the scales are stored.
        scale: ScaleFormat,
    },
    /// Signed bytes with one F32 scale a row: W8A8, made by a conversion.
    Int8,
    /// Two signed codes of four bits a byte, low nibble first, with one F32 scale per `group` columns
    /// of a row: the experts of W4A8, made by a conversion.
    Int4 {
        /// Columns that share a scale, an even number.
        group: usize,
    },
}

/// Columns that share a scale in INT4 where a row has so many: what the grouped products of vendors
/// take.
const INT4_GROUP: usize = 128;

/// Fewer than these are not worth a scale of their own, nor a whole word of eight codes.
const INT4_GROUP_MIN: usize = 8;

impl Format {
    /// INT4 for rows of so many columns: in groups of 128, or of the largest power of two below that
    /// divides a row. None where that is less than 8.
    #[must_use]
    pub fn int4(columns: usize) -> Option<Self> {
        let group = INT4_GROUP.min(1 << columns.trailing_zeros().min(usize::BITS - 1));
        (columns > 0 && group >= INT4_GROUP_MIN).then_some(Self::Int4 { group })
    }

    /// How the input of a product with such a weight is rounded, where inputs are: to FP8 in blocks of
    /// `block` channels by the released code (`docs/models/deepseek-v4.md` §5.2, item 1), to INT8 by
    /// devices that multiply integers, and not at all for floats.
    #[must_use]
    pub fn input_rounding(self, block: usize) -> Option<Rounding> {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 => None,
            Self::Fp8 { .. } | Self::Fp4 { .. } => Some(Rounding::Fp8 { block, tail: 0 }),
            Self::Int8 | Self::Int4 { .. } => Some(Rounding::Int8),
        }
    }

    /// Whether a byte holds the codes of two columns.
    #[must_use]
    pub fn is_paired(self) -> bool {
        matches!(self, Self::Fp4 { .. } | Self::Int4 { .. })
    }

    /// Columns that share a scale, and how that is stored; none where there are no scales, or one for a
    /// whole row.
    #[must_use]
    pub fn columns_of_a_scale(self) -> Option<(usize, ScaleFormat)> {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 | Self::Int8 => None,
            Self::Fp8 { tile, scale } => Some((tile[1], scale)),
            Self::Fp4 { block, scale } => Some((block, scale)),
            Self::Int4 { group } => Some((group, ScaleFormat::F32)),
        }
    }

    /// The same where fewer or more columns share a scale; one without such scales is unchanged.
    #[must_use]
    pub fn with_columns_of_a_scale(self, columns: usize) -> Self {
        match self {
            Self::F32 | Self::Bf16 | Self::F16 | Self::Int8 => self,
            Self::Fp8 { tile, scale } => Self::Fp8 {
                tile: [tile[0], columns],
                scale,
            },
            Self::Fp4 { scale, .. } => Self::Fp4 {
                block: columns,
                scale,
            },
            Self::Int4 { .. } => Self::Int4 { group: columns },
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => f.write_str("F32"),
            Self::Bf16 => f.write_str("BF16"),
            Self::F16 => f.write_str("F16"),
            Self::Fp8 {
                tile: [r, c],
                scale: ScaleFormat::E8m0,
            } => write!(f, "FP8 {r}x{c}"),
            Self::Fp8 {
                tile: [r, c],
                scale: ScaleFormat::F32,
            } => write!(f, "FP8 {r}x{c} (F32 scales)"),
            Self::Fp4 {
                block,
                scale: ScaleFormat::E8m0,
            } => write!(f, "FP4 /{block}"),
            Self::Fp4 {
                block,
                scale: ScaleFormat::F32,
            } => write!(f, "FP4 /{block} (F32 scales)"),
            Self::Int8 => f.write_str("INT8"),
            Self::Int4 { group } => write!(f, "INT4 /{group}"),
        }
    }
}

/// How a cache row of `width` channels is kept.
///
/// A packed row loses nothing when what is written was rounded to its format before, because every
/// rounding here is idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// 32-bit floats.
    F32,
    /// BF16: the upper half of a 32-bit float.
    Bf16,
    /// E4M3 codes with one E8M0 scale per `block` channels, then `tail` channels (the rotary ones)
    /// kept as `tail_bytes`-byte floats: 2 for BF16, 4 for 32-bit floats.
    Fp8 {
        /// Channels that share a scale.
        block: usize,
        /// Channels at the end that are not quantised.
        tail: usize,
        /// Bytes of each of those channels: 2 or 4.
        tail_bytes: usize,
    },
    /// Two E2M1 codes a byte with one scale, a byte, per `block` channels.
    Fp4 {
        /// Channels that share a scale.
        block: usize,
        /// How the scales are stored.
        scale: Fp4Scale,
    },
}

/// How a row of FP4 keeps its scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fp4Scale {
    /// A power of two.
    E8m0,
    /// A float of 8 bits.
    E4m3,
}

impl RowFormat {
    /// Whether all numbers that it keeps have at most 8 significant bits, which BF16 keeps.
    #[must_use]
    pub fn is_exact_in_bf16(self) -> bool {
        match self {
            Self::Bf16 | Self::Fp4 { .. } => true,
            Self::Fp8 {
                tail, tail_bytes, ..
            } => tail == 0 || tail_bytes == 2,
            Self::F32 => false,
        }
    }

    /// Bytes of one row of `width` channels.
    #[must_use]
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::F32 => width * 4,
            Self::Bf16 => width * 2,
            Self::Fp8 {
                block,
                tail,
                tail_bytes,
            } => {
                let codes = width - tail;
                codes + codes.div_ceil(block) + tail * tail_bytes
            }
            Self::Fp4 { block, .. } => width / 2 + width.div_ceil(block),
        }
    }
}

/// A rounding that the released code applies to activations: a round trip through a format.
///
/// Exact, bit for bit, on every device (`docs/models/deepseek-v4.md` §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To BF16, nearest even.
    Bf16,
    /// E4M3 per `block` channels with scale `2^ceil(log2(max(amax, 1e-4) / 448))`; the last `tail`
    /// channels stay as they are.
    Fp8 {
        /// Channels that share a scale.
        block: usize,
        /// Channels at the end that are left alone.
        tail: usize,
    },
    /// E2M1 per `block` channels. The scale is `2^ceil(log2(max(amax, 6 * 2^-126) / 6))` for E8M0,
    /// and `max(amax, 6 * 2^-9) / 6` rounded to E4M3 for that (`docs/models/deepseek-v41.md` §7.1,
    /// item 3).
    Fp4 {
        /// Channels that share a scale.
        block: usize,
        /// Which scale.
        scale: Fp4Scale,
    },
    /// The normalised Walsh–Hadamard transform over the row, then E2M1 with E8M0 as above.
    HadamardFp4 {
        /// Channels that share a scale.
        block: usize,
        /// Whether what the transform yields is rounded to BF16 first, as where all
        /// activations are.
        bf16: bool,
    },
    /// Signed bytes under one scale a row, `max(amax, 127 * 2^-126) / 127`: each the nearest integer,
    /// ties to even. A zero is positive.
    Int8,
}

impl Rounding {
    /// Whether a row rounded so holds numbers of at most 8 significant bits, which BF16 keeps.
    #[must_use]
    pub fn is_exact_in_bf16(self) -> bool {
        match self {
            Self::Bf16 | Self::Fp4 { .. } | Self::HadamardFp4 { .. } => true,
            Self::Fp8 { tail, .. } => tail == 0,
            Self::Int8 => false,
        }
    }
}
