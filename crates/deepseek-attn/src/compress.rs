//! From tokens to compressed rows: projection, pooling, norm and rotation.

use std::sync::Arc;

use deepseek_core::kernels::Fold;
use deepseek_core::rope::Rope;
use deepseek_core::{Backend, DeviceTensor};
use deepseek_core::{Kernels, Loader, Result, Rounding, Turn};

use crate::batch::Span;

/// One compressor (spec `deepseek-v4.md` §3.5).
#[derive(Debug)]
pub struct Compressor<B: Backend> {
    kv: B::Weight,
    score: B::Weight,
    bias: B::Tensor,
    norm: B::Tensor,
    rope: Arc<Rope>,
    shape: CompressorShape,
    bf16: bool,
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
    /// Whether a row also draws on the tokens of the row before it.
    pub overlap: bool,
    /// Added to the mean square in the norm.
    pub norm_eps: f32,
    /// How a finished row is rounded before it is stored.
    pub rounding: Option<Rounding>,
}

impl CompressorShape {
    /// Channels of a token's contribution: twice the width with overlap.
    #[must_use]
    pub fn token_width(&self) -> usize {
        self.width * if self.overlap { 2 } else { 1 }
    }

    /// The first position whose contribution may still be needed when a sequence stands at `end`
    /// and may be taken back by `rewind`.
    #[must_use]
    pub fn needed_from(&self, end: u32, rewind: u32) -> u32 {
        let ratio = self.ratio as u32;
        let group = end.saturating_sub(rewind) / ratio;
        group.saturating_sub(u32::from(self.overlap)) * ratio
    }
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
    /// Reads `wkv`, `wgate`, `ape` and `norm`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, rope: Arc<Rope>, shape: CompressorShape) -> Result<Self> {
        let wide = shape.token_width();
        let bias = at.tensors.array("ape", &[shape.ratio, wide])?;
        Ok(Self {
            kv: at.weight("wkv.weight", [wide, shape.hidden])?,
            score: at.weight("wgate.weight", [wide, shape.hidden])?,
            bias: at
                .be
                .upload(&deepseek_core::HostTensor::new(&[shape.ratio, wide], bias))?,
            norm: at.vector("norm.weight", shape.width)?,
            rope,
            shape,
            bf16: at.numerics.bf16,
        })
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> &CompressorShape {
        &self.shape
    }

    /// The contributions of all rows of a batch: values and scores, `[rows, token width]` each.
    ///
    /// # Errors
    /// What the device says.
    pub fn contribute(
        &self,
        be: &B,
        x: &B::Tensor,
        positions: &[u32],
    ) -> Result<(B::Tensor, B::Tensor)> {
        let phase: Vec<u32> = positions
            .iter()
            .map(|p| p % self.shape.ratio as u32)
            .collect();
        let kv = be.linear(x, &self.kv)?;
        let scores = be.add(&be.linear(x, &self.score)?, &be.gather(&self.bias, &phase)?)?;
        Ok((kv, scores))
    }

    /// Takes one sequence's contributions and returns the rows they complete, `[n, width]`, with
    /// the index of the first; nothing while a group stays open.
    ///
    /// A row depends on the contributions of its own group (and the one before it) alone, so it is
    /// the same however the prompt is cut.
    ///
    /// # Errors
    /// What the device says.
    pub fn advance(
        &self,
        be: &B,
        (kv, scores): (&B::Tensor, &B::Tensor),
        span: &Span,
        tail: &mut Tail<B>,
        rewind: u32,
    ) -> Result<Option<(u32, B::Tensor)>> {
        let ratio = self.shape.ratio as u32;
        let cut = |x: &B::Tensor| be.narrow(x, 0, span.rows.start, span.rows.len());
        let (mut kv, mut scores) = (cut(kv)?, cut(scores)?);
        if let Some((old_kv, old_scores)) = tail.take(be, span.at)? {
            kv = be.concat(&[&old_kv, &kv], 0)?;
            scores = be.concat(&[&old_scores, &scores], 0)?;
        }
        let start = tail.start;
        let done = span.at / ratio..span.end() / ratio;
        let groups: Vec<_> = done
            .clone()
            .map(|group| {
                let before = u32::from(self.shape.overlap && group > 0);
                let first = (group - before) * ratio - start;
                first as usize..((group + 1) * ratio - start) as usize
            })
            .collect();
        let finished = match groups.is_empty() {
            true => None,
            false => Some((done.start, self.finish(be, (&kv, &scores), &groups, done)?)),
        };

        let keep = self.shape.needed_from(span.end(), rewind).max(start);
        let (skip, length) = ((keep - start) as usize, (span.end() - keep) as usize);
        tail.start = keep;
        tail.rows = match length {
            0 => None,
            _ => Some((
                be.narrow(&kv, 0, skip, length)?,
                be.narrow(&scores, 0, skip, length)?,
            )),
        };
        Ok(finished)
    }

    /// Pools, normalises, rotates at the first position of each group, and rounds.
    fn finish(
        &self,
        be: &B,
        (kv, scores): (&B::Tensor, &B::Tensor),
        groups: &[std::ops::Range<usize>],
        indices: std::ops::Range<u32>,
    ) -> Result<B::Tensor> {
        let fold = match self.shape.overlap {
            true => Fold::Overlap {
                ratio: self.shape.ratio,
            },
            false => Fold::Plain,
        };
        let round = |x: B::Tensor| {
            if self.bf16 {
                be.round(&x, Rounding::Bf16)
            } else {
                Ok(x)
            }
        };
        let rows = round(be.compress(kv, scores, groups, fold)?)?;
        let rows = round(be.rms_norm(&rows, Some(&self.norm), self.shape.norm_eps)?)?;
        let positions: Vec<u32> = indices
            .map(|index| index * self.shape.ratio as u32)
            .collect();
        let rows = round(be.rope(&rows, &self.rope.angles(&positions), Turn::Forward)?)?;
        debug_assert_eq!(rows.width(), self.shape.width);
        match self.shape.rounding {
            Some(rounding) => be.round(&rows, rounding),
            None => Ok(rows),
        }
    }
}
