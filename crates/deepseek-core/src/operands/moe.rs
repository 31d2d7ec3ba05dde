//! What routes tokens to experts, and the experts.

use std::fmt;
use std::sync::Arc;

use super::TokenTable;
use crate::backend::Backend;
use crate::error::Result;
use crate::format::Rounding;

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
    Token(TokenTable),
}

/// What the rows of a step stand for.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The id of each row.
    pub tokens: &'a [u32],
    /// Whether it is a row of an image or of audio; empty where none is.
    pub media: &'a [bool],
}

impl<'a> Inputs<'a> {
    /// Rows of text.
    #[must_use]
    pub fn text(tokens: &'a [u32]) -> Self {
        Self { tokens, media: &[] }
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
    pub each: usize,
    /// Factor on the normalised weights.
    pub scale: f32,
}

/// Which experts each token visits, and with what weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// `[t, each]`, ascending for each token, so that sums have one order.
    pub experts: Arc<[u32]>,
    /// `[t, each]`.
    pub weights: Arc<[f32]>,
    /// Experts per token.
    pub each: usize,
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

/// Where experts come from: all at hand, or fetched ahead of use.
pub trait Experts<B: Backend>: fmt::Debug + Send + Sync {
    /// One expert, ready to use.
    ///
    /// # Errors
    /// Whatever the device says while fetching it.
    fn expert(&self, id: u32) -> Result<&FeedForward<B>>;
}
