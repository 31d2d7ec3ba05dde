//! What routes tokens to experts, and the experts.

use super::TokenTable;
use crate::backend::Backend;
use crate::error::Result;
use crate::format::Rounding;
use crate::host::HostTensor;

/// How a router chooses experts.
#[derive(Debug)]
pub enum Select<B: Backend> {
    /// The best scores after adding a bias, which does not enter the weights.
    Score {
        /// `[1, experts]`, or `[2, experts]`: for rows of text, and for rows of other media
        /// (`docs/models/deepseek-v41.md` §3.8).
        bias: B::Tensor,
    },
    /// Fixed experts for each token id.
    Token(TokenTable<B>),
}

/// What the rows of a step stand for, on the device.
#[derive(Debug, Clone)]
pub struct Inputs<B: Backend> {
    /// The id of each row, `[t]`.
    pub tokens: B::Ids,
    /// Which rows are not text; none where all are.
    pub media: Option<MediaRows<B>>,
}

/// Which rows of a step are text, and which are rows of an image or of audio.
#[derive(Debug, Clone)]
pub struct MediaRows<B: Backend> {
    /// `[t]`: 0 for a row of text, 1 for another.
    pub kinds: B::Ids,
    /// `[t, 1, 1]`: 1 for a row of text, 0 for another.
    pub text: B::Tensor,
}

impl<B: Backend> Inputs<B> {
    /// Rows with these ids; `media` says which are no text, and is empty where all are.
    pub fn new(be: &B, tokens: &[u32], media: &[bool]) -> Result<Self> {
        let tokens = be.ids(tokens)?;
        if !media.contains(&true) {
            return Ok(Self::text(tokens));
        }
        let kinds: Vec<u32> = media.iter().copied().map(u32::from).collect();
        let text = media.iter().map(|media| f32::from(!media)).collect();
        Ok(Self {
            tokens,
            media: Some(MediaRows {
                kinds: be.ids(&kinds)?,
                text: be.upload(&HostTensor::new(&[media.len(), 1, 1], text))?,
            }),
        })
    }

    /// Rows of text.
    #[must_use]
    pub fn text(tokens: B::Ids) -> Self {
        Self {
            tokens,
            media: None,
        }
    }
}

/// A router (`docs/models/deepseek-v4.md` §3.7).
#[derive(Debug)]
pub struct Gate<B: Backend> {
    /// `[experts, hidden]`.
    pub projection: B::Weight,
    /// How experts are chosen.
    pub select: Select<B>,
    /// Experts per token.
    pub top_k: usize,
    /// Factor on the normalised weights.
    pub scale: f32,
}

/// Which experts each token visits, and with what weight.
#[derive(Debug, Clone)]
pub struct Routing<B: Backend> {
    /// `[t, top_k]`, ascending for each token, so that sums have one order.
    pub experts: B::Ids,
    /// `[t, top_k]`.
    pub weights: B::Tensor,
    /// The score of every expert, `[t, experts]`, for whoever asks whether they are finite: one that is
    /// not shows in nothing but the choice.
    pub scores: B::Tensor,
    /// Experts per token.
    pub top_k: usize,
}

/// The three matrices of a gated feed-forward network.
#[derive(Debug)]
pub struct FeedForward<B: Backend> {
    /// `w1: [inner, hidden]`.
    pub gate: B::Weight,
    /// `w3: [inner, hidden]`.
    pub up: B::Weight,
    /// `w2: [hidden, inner]`.
    pub down: B::Weight,
}

impl<B: Backend> Clone for FeedForward<B> {
    fn clone(&self) -> Self {
        Self {
            gate: self.gate.clone(),
            up: self.up.clone(),
            down: self.down.clone(),
        }
    }
}

/// What the matrices of a gated network do not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SwiGlu {
    /// The gate is clamped to this from above and the other branch on both sides, before the
    /// activation; infinite for none.
    pub limit: f32,
    /// How the inputs of the products are rounded.
    pub input: Option<Rounding>,
    /// Whether outputs and the inner activation are BF16.
    pub bf16: bool,
}
