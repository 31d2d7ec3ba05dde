//! How each release rounds and packs what is remembered, in one table.

use deepseek_core::operands::{ScoreRounding, WeightRounding};
use deepseek_core::{Fp4Scale, Numerics, Rounding, RowFormat};

use super::Plan;
use crate::config::{Config, Family};

/// What a release has of its own in every layer.
pub(super) struct Release {
    /// Rows of windows.
    pub(super) window: Packing,
    /// Compressed rows.
    pub(super) entry: Packing,
    /// The indexers' keys.
    pub(super) key: Packing,
    /// What of an index score is BF16.
    pub(super) scores: ScoreRounding,
    /// How the weights of attention are rounded.
    pub(super) weights: WeightRounding,
    /// Whether the heads of queries are normalised.
    pub(super) head_norm: bool,
    /// Whether one pass over the streams reads for the next sub-layer and writes for the last.
    pub(super) single_pass: bool,
    /// Whether rows of media have a routing bias of their own.
    pub(super) media_bias: bool,
}

/// A row's rounding, and with it how it is kept where it is rounded so.
#[derive(Clone, Copy)]
pub(super) enum Packing {
    /// FP8 in blocks.
    Fp8 {
        /// Channels that share a scale.
        block: usize,
    },
    /// The same, with the rotary channels at the end as floats.
    Fp8BesideRotary {
        /// Channels that share a scale.
        block: usize,
    },
    /// FP4 in blocks.
    Fp4 {
        /// Channels that share a scale.
        block: usize,
        /// How that is stored.
        scale: Fp4Scale,
    },
    /// The same after a Hadamard transform.
    HadamardFp4 {
        /// Channels that share a scale.
        block: usize,
    },
}

/// V4 (`docs/models/deepseek-v4.md` §5.2).
const V4: Release = Release {
    window: Packing::Fp8BesideRotary { block: 64 },
    entry: Packing::Fp8BesideRotary { block: 64 },
    key: Packing::HadamardFp4 { block: 32 },
    scores: ScoreRounding::ProductsAndSum,
    weights: WeightRounding::OnePeak,
    head_norm: true,
    single_pass: false,
    media_bias: false,
};

/// V4.1 (`docs/models/deepseek-v41.md` §7.1).
const V41: Release = Release {
    window: Packing::Fp8 { block: 32 },
    entry: Packing::Fp4 {
        block: 16,
        scale: Fp4Scale::E4m3,
    },
    key: Packing::Fp4 {
        block: 32,
        scale: Fp4Scale::E8m0,
    },
    scores: ScoreRounding::Products,
    weights: WeightRounding::Chunks(64),
    head_norm: false,
    single_pass: true,
    media_bias: true,
};

impl Release {
    /// The table's row for a family.
    pub(super) fn of(family: Family) -> &'static Self {
        match family {
            Family::V4 => &V4,
            Family::V41 => &V41,
        }
    }
}

impl Packing {
    /// The round trip that activations make.
    pub(super) fn rounding(self, config: &Config, numerics: Numerics) -> Rounding {
        match self {
            Self::Fp8 { block } => Rounding::Fp8 { block, tail: 0 },
            Self::Fp8BesideRotary { block } => {
                let tail = config.rope_dim;
                Rounding::Fp8 { block, tail }
            }
            Self::Fp4 { block, scale } => Rounding::Fp4 { block, scale },
            Self::HadamardFp4 { block } => {
                let bf16 = numerics.bf16;
                Rounding::HadamardFp4 { block, bf16 }
            }
        }
    }

    /// How rows that were rounded so are kept.
    fn rows(self, config: &Config, numerics: Numerics) -> RowFormat {
        let tail_bytes = if numerics.bf16 { 2 } else { 4 };
        match self {
            Self::Fp8 { block } => RowFormat::Fp8 {
                block,
                tail: 0,
                tail_bytes,
            },
            Self::Fp8BesideRotary { block } => RowFormat::Fp8 {
                block,
                tail: config.rope_dim,
                tail_bytes,
            },
            Self::Fp4 { block, scale } => RowFormat::Fp4 { block, scale },
            Self::HadamardFp4 { block } => RowFormat::Fp4 {
                block,
                scale: Fp4Scale::E8m0,
            },
        }
    }
}

impl Plan {
    /// What the release has of its own.
    pub(super) fn release(&self) -> &'static Release {
        Release::of(self.config.family)
    }

    /// How the rows of windows are kept: packed where they are rounded so, else as wide as
    /// activations are.
    #[must_use]
    pub fn window_format(&self) -> RowFormat {
        self.packed(self.release().window, self.numerics.entries)
    }

    /// How compressed rows are kept.
    #[must_use]
    pub fn entry_format(&self) -> RowFormat {
        self.packed(self.release().entry, self.numerics.entries)
    }

    /// How the indexers' keys are kept.
    #[must_use]
    pub fn key_format(&self) -> RowFormat {
        self.packed(self.release().key, self.numerics.indexer)
    }

    fn packed(&self, packing: Packing, is_rounded: bool) -> RowFormat {
        if is_rounded {
            packing.rows(&self.config, self.numerics)
        } else if self.numerics.bf16 {
            RowFormat::Bf16
        } else {
            RowFormat::F32
        }
    }
}
