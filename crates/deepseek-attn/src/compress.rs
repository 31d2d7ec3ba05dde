//! From tokens to compressed rows: projection, pooling, norm and rotation.

use std::iter;

use deepseek_core::operands::{PoolState, Pooling};
use deepseek_core::{
    Backend, HostTensor, Kernels, Linear, Loader, Numerics, Result, Rotation, Rounding,
};

use crate::batch::{GroupStep, MadeStep, SourceStep};
use crate::memory::Pool;
use crate::role::Compression;

/// One compressor (`docs/models/deepseek-v4.md` §3.5, `docs/models/deepseek-v41.md` §3.5).
#[derive(Debug)]
pub struct Compressor<B: Backend> {
    kv: Linear<B>,
    gate: Option<Gate<B>>,
    norm: B::Tensor,
    config: CompressorConfig,
    numerics: Numerics,
}

/// What weighs the tokens of a group.
#[derive(Debug)]
struct Gate<B: Backend> {
    score: Linear<B>,
    bias: Option<B::Tensor>,
}

/// The numbers that shape a compressor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressorConfig {
    /// Channels of the layer's input.
    pub hidden: usize,
    /// Channels of a compressed row.
    pub width: usize,
    /// Tokens a compressed row stands for.
    pub ratio: usize,
    /// How they become one.
    pub compression: Compression,
    /// Added to the mean square in the norm.
    pub norm_eps: f32,
}

/// How finished rows are stored: rotated to the first position of their groups, and rounded.
#[derive(Debug, Clone, Copy)]
pub struct Finish {
    /// How a row is rounded before it is stored.
    pub rounding: Option<Rounding>,
    /// What else is rounded.
    pub numerics: Numerics,
}

impl Finish {
    /// Rotates and rounds `rows: [n, width]`, and stores them.
    pub fn store<B: Kernels>(
        &self,
        be: &B,
        rows: &B::Tensor,
        made: &MadeStep<B>,
        pool: &mut Pool<B>,
    ) -> Result<()> {
        let rows = be.rope(rows, &made.angles, Rotation::Forward)?;
        let rows = self.numerics.activation(be, rows)?;
        let rows = match self.rounding {
            Some(rounding) => be.round(&rows, rounding)?,
            None => rows,
        };
        be.write_rows(&mut pool.rows, &made.at, &rows)
    }
}

impl CompressorConfig {
    /// Channels of a token's contribution: twice the width with overlap.
    fn token_width(&self) -> usize {
        match self.pooling() {
            Pooling::Plain => self.width,
            Pooling::Overlap { .. } => 2 * self.width,
        }
    }

    fn pooling(&self) -> Pooling {
        match self.compression {
            Compression::Gated { overlap: true, .. } => Pooling::Overlap { ratio: self.ratio },
            Compression::Gated { .. } | Compression::Each => Pooling::Plain,
        }
    }
}

impl<B: Kernels> Compressor<B> {
    /// Reads `wkv`, `norm`, and as the pooling has it `wgate` and `ape`.
    pub fn load(load: &Loader<'_, B>, config: CompressorConfig) -> Result<Self> {
        let wide = config.token_width();
        let product = |name: &str, output| -> Result<Linear<B>> {
            Ok(Linear {
                weight: load.weight(name, [wide, config.hidden])?,
                input: None,
                output,
            })
        };
        let gate = match config.compression {
            Compression::Each => None,
            Compression::Gated { bias, .. } => {
                let places = [config.ratio, wide];
                let bias = if bias {
                    Some(HostTensor::new(
                        &places,
                        load.tensors.array("ape", &places)?,
                    ))
                } else {
                    None
                };
                Some(Gate {
                    score: product("wgate.weight", None)?,
                    bias: bias.map(|bias| load.be.upload(&bias)).transpose()?,
                })
            }
        };
        // What is pooled is rounded when it is pooled, not before.
        let output = if gate.is_none() {
            load.numerics.rounding()
        } else {
            None
        };
        Ok(Self {
            kv: product("wkv.weight", output)?,
            gate,
            norm: load.vector("norm.weight", config.width)?,
            config,
            numerics: load.numerics,
        })
    }

    /// What multiplies the layer's input: one product, or two where rows are pooled.
    pub fn products(&self) -> impl Iterator<Item = &Linear<B>> {
        let score = self.gate.as_ref().map(|gate| &gate.score);
        iter::once(&self.kv).chain(score)
    }

    /// The rows that a step makes, `[n, width]`, normalised, not yet rotated; nothing where it is known
    /// that no group is whole. `made` holds what the [`products`](Self::products) made of the layer's input,
    /// in their order; what later groups need of it is kept in `tail`.
    ///
    /// A row depends on the contributions of its own group (and the one before it) alone, so it is
    /// the same however the prompt is cut.
    ///
    /// # Panics
    /// If a product is missing, or rows are pooled and there is no tail.
    pub fn rows(
        &self,
        be: &B,
        made: &mut impl Iterator<Item = B::Tensor>,
        step: &SourceStep<B>,
        tail: Option<&mut PoolState<B>>,
    ) -> Result<Option<B::Tensor>> {
        let rounding = self.numerics.rounding();
        let mut next = || made.next().expect("a result of each product");
        let kv = next();
        let rows = match (&self.gate, &step.groups) {
            (Some(gate), Some(GroupStep { places, groups })) => {
                let scores = next();
                let scores = match &gate.bias {
                    None => scores,
                    Some(bias) => be.add(&scores, &be.gather(bias, places)?)?,
                };
                let tail = tail.expect("a tail of what is pooled");
                be.compress(&kv, &scores, tail, groups, self.config.pooling(), rounding)?
            }
            _ => Some(kv),
        };
        let (norm, eps) = (Some(&self.norm), self.config.norm_eps);
        rows.map(|rows| be.rms_norm(&rows, norm, eps, rounding))
            .transpose()
    }
}
