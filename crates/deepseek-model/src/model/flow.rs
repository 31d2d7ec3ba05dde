//! Rows on their way through the layers.

use deepseek_attn::{Batch, BatchLists};
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

/// The lists of a flow, empty: memory for another.
#[derive(Debug)]
pub(crate) struct FlowLists<B: Kernels> {
    pub(crate) tokens: Vec<TokenId>,
    pub(crate) media: Vec<bool>,
    pub(crate) batch: BatchLists<B>,
    pub(crate) taps: Vec<B::Tensor>,
}

impl<B: Kernels> Default for FlowLists<B> {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            media: Vec::new(),
            batch: BatchLists::default(),
            taps: Vec::new(),
        }
    }
}

impl<B: Kernels> Flow<B> {
    /// The memory of its lists.
    pub(super) fn into_lists(self) -> FlowLists<B> {
        let mut lists = FlowLists {
            tokens: self.tokens,
            media: self.media,
            batch: self.batch.into_lists(),
            taps: self.taps,
        };
        lists.tokens.clear();
        lists.media.clear();
        lists.taps.clear();
        lists
    }
}

/// Adds for each row of a step whether it is one of a medium; nothing where none is.
pub(super) fn media_rows(step: &Step, media: &mut Vec<bool>) {
    if step.spans.iter().all(|span| span.media.is_empty()) {
        return;
    }
    media.extend(step.spans.iter().flat_map(|span| {
        let is_media = |row: usize| span.media.iter().any(|own| own.tokens.contains(&row));
        (0..span.tokens.len()).map(is_media)
    }));
}
