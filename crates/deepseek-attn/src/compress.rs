//! From tokens to compressed rows: projection, pooling, norm and rotation.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::operands::Fold;
use deepseek_core::rope::Rope;
use deepseek_core::{Backend, DeviceTensor, HostTensor};
use deepseek_core::{Kernels, Loader, Numerics, Result, Rounding, Turn};

use crate::batch::Span;
use crate::role::Pooling;

/// One compressor (`docs/models/deepseek-v4.md` §3.5, `docs/models/deepseek-v41.md` §3.5).
#[derive(Debug)]
pub struct Compressor<B: Backend> {
    kv: B::Weight,
    gate: Option<Gate<B>>,
    norm: B::Tensor,
    shape: CompressorShape,
    numerics: Numerics,
}

/// What weighs the tokens of a group.
#[derive(Debug)]
struct Gate<B: Backend> {
    score: B::Weight,
    bias: Option<B::Tensor>,
}

/// The numbers that shape a compressor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CompressorShape {
    /// Channels of the layer's input.
    pub hidden: usize,
    /// Channels of a compressed row.
    pub width: usize,
    /// Tokens a compressed row stands for.
    pub ratio: usize,
    /// How they become one.
    pub pooling: Pooling,
    /// Added to the mean square in the norm.
    pub norm_eps: f32,
}

impl CompressorShape {
    fn overlaps(&self) -> bool {
        matches!(self.pooling, Pooling::Gated { overlap: true, .. })
    }

    /// Channels of a token's contribution: twice the width with overlap.
    #[must_use]
    pub fn token_width(&self) -> usize {
        self.width * if self.overlaps() { 2 } else { 1 }
    }

    /// The first position whose contribution may still be needed when a sequence stands at `end`
    /// and may be taken back by `rewind`.
    #[must_use]
    pub fn needed_from(&self, end: u32, rewind: u32) -> u32 {
        let ratio = self.ratio as u32;
        let group = end.saturating_sub(rewind) / ratio;
        group.saturating_sub(u32::from(self.overlaps())) * ratio
    }
}

/// How finished rows are stored: turned to the first position of their groups, and rounded.
#[derive(Debug, Clone)]
pub struct Finish {
    /// The frequencies.
    pub rope: Arc<Rope>,
    /// Tokens a row stands for.
    pub ratio: u32,
    /// How a row is rounded before it is stored.
    pub rounding: Option<Rounding>,
    /// What else is rounded.
    pub numerics: Numerics,
}

impl Finish {
    /// Turns and rounds `rows: [n, width]`, those of the groups `indices`.
    ///
    /// # Errors
    /// What the device says.
    pub fn apply<B: Backend>(
        &self,
        be: &B,
        rows: &B::Tensor,
        indices: Range<u32>,
    ) -> Result<B::Tensor> {
        let positions: Vec<u32> = indices.map(|index| index * self.ratio).collect();
        let rows = be.rope(rows, &self.rope.angles(&positions), Turn::Forward)?;
        let rows = self.numerics.activation(be, rows)?;
        match self.rounding {
            Some(rounding) => be.round(&rows, rounding),
            None => Ok(rows),
        }
    }
}

/// What the rows of a batch add to compressed rows: `[rows, token width]` each.
#[derive(Debug)]
pub struct Contributions<B: Backend> {
    kv: B::Tensor,
    /// The weights before the softmax; none where every token is a row of its own.
    scores: Option<B::Tensor>,
}

/// The contributions of a sequence's last tokens: what its next compressed rows may still need.
#[derive(Debug)]
pub struct Tail<B: Backend> {
    /// `[n, token width]` values and scores of positions `start..start + n`.
    rows: Option<(B::Tensor, B::Tensor)>,
    start: u32,
}

impl<B: Backend> Tail<B> {
    /// Values and scores `[n, token width]`, where anything is kept, and the position of the first.
    #[must_use]
    pub fn rows(&self) -> Option<(&B::Tensor, &B::Tensor, u32)> {
        self.rows
            .as_ref()
            .map(|(kv, scores)| (kv, scores, self.start))
    }
}

impl<B: Backend> Default for Tail<B> {
    fn default() -> Self {
        Self {
            rows: None,
            start: 0,
        }
    }
}

impl<B: Kernels> Tail<B> {
    /// Takes the contributions before position `at`. What was kept beyond it has been taken back
    /// since, and is dropped here: a rewind costs nothing until the next step.
    ///
    /// # Panics
    /// If earlier positions would be needed than are kept.
    fn take(&mut self, be: &B, at: u32) -> Result<Option<(B::Tensor, B::Tensor)>> {
        let Some((kv, scores)) = self.rows.take() else {
            self.start = at;
            return Ok(None);
        };
        assert!(
            at >= self.start,
            "back at {at}, rows are kept from {}",
            self.start
        );
        match (at - self.start) as usize {
            0 => Ok(None),
            keep if keep == kv.shape()[0] => Ok(Some((kv, scores))),
            keep => Ok(Some((
                be.narrow(&kv, 0, 0, keep)?,
                be.narrow(&scores, 0, 0, keep)?,
            ))),
        }
    }
}

impl<B: Kernels> Compressor<B> {
    /// Reads `wkv`, `norm`, and as the pooling has it `wgate` and `ape`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, shape: CompressorShape) -> Result<Self> {
        let wide = shape.token_width();
        let gate = match shape.pooling {
            Pooling::Each => None,
            Pooling::Gated { bias, .. } => {
                let places = [shape.ratio, wide];
                let bias = match bias {
                    true => Some(HostTensor::new(&places, at.tensors.array("ape", &places)?)),
                    false => None,
                };
                Some(Gate {
                    score: at.weight("wgate.weight", [wide, shape.hidden])?,
                    bias: bias.map(|bias| at.be.upload(&bias)).transpose()?,
                })
            }
        };
        Ok(Self {
            kv: at.weight("wkv.weight", [wide, shape.hidden])?,
            gate,
            norm: at.vector("norm.weight", shape.width)?,
            shape,
            numerics: at.numerics,
        })
    }

    /// The contributions of all rows of a batch.
    ///
    /// # Errors
    /// What the device says.
    pub fn contribute(&self, be: &B, x: &B::Tensor, positions: &[u32]) -> Result<Contributions<B>> {
        let kv = be.linear(x, &self.kv)?;
        let Some(gate) = &self.gate else {
            return Ok(Contributions { kv, scores: None });
        };
        let scores = be.linear(x, &gate.score)?;
        let scores = match &gate.bias {
            None => scores,
            Some(bias) => {
                let ratio = self.shape.ratio as u32;
                let places: Vec<u32> = positions.iter().map(|p| p % ratio).collect();
                be.add(&scores, &be.gather(bias, &places)?)?
            }
        };
        let scores = Some(scores);
        Ok(Contributions { kv, scores })
    }

    /// Takes one sequence's contributions and returns the rows they complete, `[n, width]`,
    /// normalised, with the index of the first; nothing while a group stays open.
    ///
    /// A row depends on the contributions of its own group (and the one before it) alone, so it is
    /// the same however the prompt is cut.
    ///
    /// # Errors
    /// What the device says.
    pub fn advance(
        &self,
        be: &B,
        made: &Contributions<B>,
        span: &Span,
        tail: &mut Tail<B>,
        rewind: u32,
    ) -> Result<Option<(u32, B::Tensor)>> {
        let cut = |x: &B::Tensor| be.narrow(x, 0, span.rows.start, span.rows.len());
        let mut kv = cut(&made.kv)?;
        let Some(scores) = &made.scores else {
            return Ok(Some((span.at, self.normalise(be, kv)?)));
        };
        let mut scores = cut(scores)?;
        if let Some((old_kv, old_scores)) = tail.take(be, span.at)? {
            kv = be.concat(&[&old_kv, &kv], 0)?;
            scores = be.concat(&[&old_scores, &scores], 0)?;
        }
        let ratio = self.shape.ratio as u32;
        let start = tail.start;
        let done = span.at / ratio..span.end() / ratio;
        let groups: Vec<_> = done
            .clone()
            .map(|group| {
                let before = u32::from(self.shape.overlaps() && group > 0);
                let first = (group - before) * ratio - start;
                first as usize..((group + 1) * ratio - start) as usize
            })
            .collect();
        let finished = match groups.is_empty() {
            true => None,
            false => {
                let fold = match self.shape.overlaps() {
                    true => Fold::Overlap {
                        ratio: self.shape.ratio,
                    },
                    false => Fold::Plain,
                };
                let rows = be.compress(&kv, &scores, &groups, fold)?;
                Some((done.start, self.normalise(be, rows)?))
            }
        };

        let keep = self.shape.needed_from(span.end(), rewind).max(start);
        let (skip, length) = ((keep - start) as usize, (span.end() - keep) as usize);
        tail.start = keep;
        // Gathered, because a part of a tensor may hold on to all of it, which is a whole step.
        let last: Vec<u32> = (skip..skip + length).map(|row| row as u32).collect();
        tail.rows = match length {
            0 => None,
            _ => Some((be.gather(&kv, &last)?, be.gather(&scores, &last)?)),
        };
        Ok(finished)
    }

    fn normalise(&self, be: &B, rows: B::Tensor) -> Result<B::Tensor> {
        let rows = self.numerics.activation(be, rows)?;
        debug_assert_eq!(rows.width(), self.shape.width);
        let rounding = self.numerics.rounding();
        be.rms_norm(&rows, Some(&self.norm), self.shape.norm_eps, rounding)
    }
}
