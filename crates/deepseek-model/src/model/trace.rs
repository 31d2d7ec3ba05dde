//! Doors for tests and for the curious: what each layer decided, and steps that no request asks for.

use std::sync::Arc;

use deepseek_attn::{BatchLists, Carry};
use deepseek_core::operands::{Inputs, Routing, Runs};
use deepseek_core::{Backend, HostTensor, Kernels};
use deepseek_vision::Grid;

use super::{Flow, Model};
use crate::block::Residual;
use crate::decoder::{Logits, MediaId, SeqId, Step, TokenId};
use crate::draft::{Ask, Drafter, Proposal, Shared};
use crate::error::Result;
use crate::finite::Checks;

/// What each layer decided in a step, for tests and for the curious.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The experts of each layer's rows.
    pub routing: Vec<Routed>,
    /// The compressed rows that each layer's queries attended to, where it has any.
    pub chosen: Vec<Option<Arc<Runs>>>,
    /// The streams after each layer, `[rows, streams, hidden]`.
    pub streams: Vec<HostTensor>,
}

/// The experts that each row of a step visited in a layer, and with what weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// `[t, top_k]`, ascending for each row.
    pub experts: Arc<[u32]>,
    /// `[t, top_k]`.
    pub weights: Vec<f32>,
    /// Experts per token.
    pub top_k: usize,
}

impl Routed {
    /// Waits for the device.
    pub(super) fn of<B: Backend>(be: &B, routing: &Routing<B>) -> Result<Self> {
        Ok(Self {
            experts: be.ids_on_host(&routing.experts)?,
            weights: be.download(&routing.weights)?.into_data(),
            top_k: routing.top_k,
        })
    }
}

/// Who looks on, and what they put in the way.
pub(super) struct Watch<'a, B: Backend> {
    pub(super) trace: Trace,
    /// What is read before each layer and behind the last, if anything.
    pub(super) given: &'a [Residual<B>],
}

impl<B: Kernels> Model<B> {
    /// As [`Decoder::step`](crate::Decoder::step), and tells what each layer decided.
    pub fn step_traced(&mut self, step: &Step) -> Result<(Logits, Trace)> {
        self.step_given(step, &[])
    }

    /// As [`Model::step_traced`], but each layer but the first, and the head, reads what is `given`
    /// in the place of what the one before left: the residual before each layer and behind the last.
    /// So a difference shows in the layer that makes it, and not in all that follow.
    pub fn step_given(&mut self, step: &Step, given: &[Residual<B>]) -> Result<(Logits, Trace)> {
        let mut watch = Watch {
            trace: Trace {
                routing: Vec::new(),
                chosen: Vec::new(),
                streams: Vec::new(),
            },
            given,
        };
        let logits = self.run(step, Some(&mut watch))?;
        Ok((logits, watch.trace))
    }

    /// Takes in an image as patches `[P, 3 * patch * patch]` that lie as `grid` says, as
    /// [`Decoder::attach`](crate::Decoder::attach) does for one of pixels.
    ///
    /// # Errors
    /// A model that does not look at images, or a fault of the device.
    pub fn attach_patches(&mut self, patches: &HostTensor, grid: &Grid) -> Result<MediaId> {
        self.encoders.attach_patches(&self.be, patches, grid)
    }

    /// The MTP module's logits `[n - 1, vocabulary]` over a fresh sequence of `n` tokens: what the
    /// reference gives. Nothing without such a module.
    ///
    /// # Panics
    /// If the sequence has begun.
    pub fn draft_logits(&mut self, seq: SeqId, tokens: &[TokenId]) -> Result<Option<HostTensor>> {
        let slot = seq.0 as usize;
        assert_eq!(self.sequences[slot].position, 0, "a fresh sequence");
        let batch = self.batch(BatchLists::default(), [(slot, 0, tokens.len())])?;
        let inputs = Inputs::text(self.be.ids(tokens)?);
        let embedded = self.embed(&inputs.tokens)?;
        let residual = Residual::start(&self.be, &embedded, &self.plan.block_config())?;
        let mut flow = Flow {
            residual,
            tokens: tokens.to_vec(),
            media: Vec::new(),
            inputs,
            batch,
            taps: Vec::new(),
        };
        let (all, carry) = (0..self.layers.len(), Carry::default());
        self.pass(&mut flow, all, carry, &mut Checks::default(), None)?;
        self.sequences[slot].position = tokens.len() as u32;
        let shared = Shared {
            be: &self.be,
            ropes: &self.ropes,
            embedding: &self.embedding,
            output: &self.output,
        };
        match &mut self.drafter {
            Some(Drafter::Mtp(mtp)) => {
                let streams = &flow.residual.streams;
                let logits = mtp.logits_of(&shared, streams, (slot, tokens), &mut self.memory)?;
                Ok(Some(logits))
            }
            Some(Drafter::Dspark(_)) | None => Ok(None),
        }
    }

    /// What the DSpark drafter proposes to follow `after`, which itself follows the sequence, with
    /// confidences and logits; nothing without one.
    pub fn propose(&mut self, seq: SeqId, after: TokenId, max: usize) -> Result<Option<Proposal>> {
        let slot = seq.0 as usize;
        let ask = Ask {
            slot,
            at: self.sequences[slot].position,
            after,
        };
        let shared = Shared {
            be: &self.be,
            ropes: &self.ropes,
            embedding: &self.embedding,
            output: &self.output,
        };
        match &self.drafter {
            Some(Drafter::Dspark(drafter)) => {
                let mut proposals =
                    drafter.propose_with_logits(&shared, &mut self.memory, &[ask], max)?;
                Ok(proposals.pop())
            }
            Some(Drafter::Mtp(_)) | None => Ok(None),
        }
    }
}
