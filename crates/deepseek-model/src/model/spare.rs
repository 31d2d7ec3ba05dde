//! Memory that steps take turns in: lists that each would else ask for anew. Nothing of a step is left in it.

use deepseek_core::{Fetched, Kernels};

use super::flow::FlowLists;
use super::wanted::Wanted;
use crate::decoder::Logits;
use crate::finite::Checks;

/// What the last step has left for the next.
#[derive(Debug)]
pub(super) struct Spare<B: Kernels> {
    flows: Vec<FlowLists<B>>,
    pub(super) checks: Checks<B>,
    pub(super) wanted: Wanted,
    pub(super) fetched: Fetched,
    /// Logits that were given back.
    pub(super) logits: Logits,
}

impl<B: Kernels> Default for Spare<B> {
    fn default() -> Self {
        Self {
            flows: Vec::new(),
            checks: Checks::default(),
            wanted: Wanted::default(),
            fetched: Fetched::default(),
            logits: Logits::default(),
        }
    }
}

impl<B: Kernels> Spare<B> {
    /// Lists for a flow.
    pub(super) fn flow_lists(&mut self) -> FlowLists<B> {
        self.flows.pop().unwrap_or_default()
    }

    /// Keeps the lists of a flow.
    pub(super) fn keep(&mut self, lists: FlowLists<B>) {
        self.flows.push(lists);
    }
}
