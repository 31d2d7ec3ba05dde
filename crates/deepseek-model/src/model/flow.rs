//! Rows on their way through the layers.

use deepseek_attn::Batch;
use deepseek_core::Kernels;
use deepseek_core::operands::Inputs;

use crate::block::Residual;
use crate::decoder::{Step, TokenId};

/// Rows on their way through the layers.
#[derive(Debug)]
pub(crate) struct Flow<B: Kernels> {
    pub(crate) residual: Residual<B>,
    pub(crate) tokens: Vec<TokenId>,
    /// Whether each row is one of a medium; empty where none is.
    pub(crate) media: Vec<bool>,
    /// The same on the device.
    pub(crate) inputs: Inputs<B>,
    pub(crate) batch: Batch<B>,
    /// What went into the layers that a drafter reads, `[t, hidden]` each.
    pub(crate) taps: Vec<B::Tensor>,
}

/// Whether each row of a step is one of a medium; empty where none is.
pub(super) fn media_rows(step: &Step) -> Vec<bool> {
    if step.spans.iter().all(|span| span.media.is_empty()) {
        return Vec::new();
    }
    let rows = step.spans.iter().flat_map(|span| {
        let is_media = |row: usize| span.media.iter().any(|own| own.tokens.contains(&row));
        (0..span.tokens.len()).map(is_media)
    });
    rows.collect()
}
