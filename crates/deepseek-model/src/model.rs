//! The model on a device, with its memory of sequences.

use std::ops::ControlFlow;

use deepseek_attn::{Batch, Carry, Memory, MemoryShape, Ropes};
use deepseek_core::kernels::{Chosen, Routing};
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{Backend, HostTensor, Kernels, Loader};

use crate::block::{Block, Head};
use crate::decoder::{Capacity, Decoder, Logits, SeqId, Step, TokenId, Want};
use crate::draft::Mtp;
use crate::error::Result;
use crate::limits::{DRAFTS_MAX, REWIND_MAX};
use crate::names;
use crate::plan::Plan;

/// A DeepSeek-V4 model, loaded.
#[derive(Debug)]
pub struct Model<B: Kernels> {
    be: B,
    plan: Plan,
    ropes: Ropes,
    embedding: B::Weight,
    layers: Vec<Block<B>>,
    head: Head<B>,
    output: B::Weight,
    mtp: Option<Mtp<B>>,
    memory: Memory<B>,
    sequences: Vec<Sequence<B>>,
}

/// What a sequence is beside its rows.
#[derive(Debug)]
struct Sequence<B: Backend> {
    /// Where it stands: the position of its next token.
    position: u32,
    /// Where it stood after its last step.
    reached: u32,
    /// The backbone's streams `[n, streams, hidden]` of its last positions, for the draft head.
    /// Rows at or beyond `position` have been taken back.
    streams: Option<B::Tensor>,
    /// The position of the first of those.
    streams_at: u32,
}

/// What each layer decided in a step, for tests and for the curious.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The experts of each layer's rows.
    pub routing: Vec<Routing>,
    /// The compressed rows that each layer's queries attended to, where it has any.
    pub chosen: Vec<Option<Chosen>>,
    /// The streams after each layer, `[rows, streams, hidden]`.
    pub streams: Vec<HostTensor>,
}

impl<B: Kernels> Model<B> {
    /// Loads the model that `plan` describes. `progress` hears, before each layer, how many of how
    /// many are done, and may end the loading.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format; a device without room;
    /// [`Error::Interrupted`](crate::Error::Interrupted) when `progress` says so.
    pub fn load(
        be: B,
        plan: Plan,
        checkpoint: &Checkpoint,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self> {
        let source = names::source(checkpoint);
        let config = plan.config();
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let shape = plan.block_shape();
        let ropes = plan.ropes();
        let at = Loader {
            be: &be,
            tensors: Tensors::new(&*source, config.fp8_tile),
            numerics: plan.numerics(),
            input_block: config.fp8_tile[1],
        };
        let total = plan.layers().len() + usize::from(plan.drafts());
        let mut report = |done| match progress(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(crate::Error::Interrupted),
        };
        let mut layers = Vec::with_capacity(plan.layers().len());
        for (index, layer) in plan.layers().iter().enumerate() {
            report(index)?;
            let at = at.at(&format!("layers.{index}"));
            layers.push(Block::load(&at, &ropes, *layer, index, &shape)?);
        }
        let mtp = match plan.mtp() {
            Some(layer) => {
                report(layers.len())?;
                Some(Mtp::load(
                    &at.at("mtp.0"),
                    &ropes,
                    layer,
                    layers.len(),
                    &shape,
                )?)
            }
            None => None,
        };
        let head = Head::load(&at, &shape)?;
        let embedding = at.weight("embed.weight", [vocabulary, hidden])?;
        let output = at.weight("head.weight", [vocabulary, hidden])?;
        report(total)?;

        let memory_shape = MemoryShape {
            sequences: plan.sequences(),
            window: config.window,
            ring: plan.ring_rows(),
            context: plan.context(),
            rewind: REWIND_MAX,
            width: config.head_dim,
            entries: plan.entry_format(),
            key_width: config.index.head_dim,
            keys: plan.key_format(),
        };
        let memory = Memory::new(&be, &memory_shape, total, &plan.sources())?;
        let sequences = (0..plan.sequences()).map(|_| Sequence::default()).collect();
        Ok(Self {
            be,
            plan,
            ropes,
            embedding,
            layers,
            head,
            output,
            mtp,
            memory,
            sequences,
        })
    }

    /// The plan that it was loaded by.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The device.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.be
    }

    /// What it remembers of its sequences.
    #[must_use]
    pub fn memory(&self) -> &Memory<B> {
        &self.memory
    }

    /// As [`Decoder::step`], and tells what each layer decided.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn step_traced(&mut self, step: &Step) -> Result<(Logits, Trace)> {
        let mut trace = Trace {
            routing: Vec::new(),
            chosen: Vec::new(),
            streams: Vec::new(),
        };
        let logits = self.run(step, Some(&mut trace))?;
        Ok((logits, trace))
    }

    /// The draft head's logits `[n - 1, vocabulary]` over a fresh sequence of `n` tokens, and those
    /// of its second draft where each first draft is `then[i]`: what the reference gives.
    ///
    /// # Errors
    /// A fault of the device.
    ///
    /// # Panics
    /// Without a draft head, or if the sequence has begun.
    pub fn draft_logits(&mut self, seq: SeqId, tokens: &[TokenId]) -> Result<HostTensor> {
        assert_eq!(
            self.sequences[seq.0 as usize].position, 0,
            "a fresh sequence"
        );
        let slot = seq.0 as usize;
        let batch = Batch::new(&self.ropes, [(slot, 0, tokens.len())]);
        let streams = self.backbone(tokens, &batch, None)?;
        self.sequences[slot].position = tokens.len() as u32;
        let streams = self.be.narrow(&streams, 0, 0, tokens.len() - 1)?;
        let own = self.draft_rows(&streams, &[(slot, 0, tokens.len() - 1)], &tokens[1..])?;
        let mtp = self.mtp.as_ref().expect("a model with a draft head");
        Ok(self
            .be
            .download(&mtp.logits(&self.be, &own, &self.output)?)?)
    }

    fn run(&mut self, step: &Step, trace: Option<&mut Trace>) -> Result<Logits> {
        self.check(step);
        let spans = step.spans.iter();
        let parts = spans
            .clone()
            .map(|span| (span.seq.0 as usize, span.at, span.tokens.len()));
        let batch = Batch::new(&self.ropes, parts);
        let tokens: Vec<TokenId> = spans.flat_map(|span| span.tokens.iter().copied()).collect();
        let streams = self.backbone(&tokens, &batch, trace)?;
        if self.mtp.is_some() {
            self.follow(&streams, &tokens, &batch)?;
        }
        for span in batch.spans() {
            self.sequences[span.slot].position = span.end();
            self.sequences[span.slot].reached = span.end();
        }
        self.logits(step, &streams, &batch)
    }

    /// The streams after the last layer, `[rows, streams, hidden]`.
    fn backbone(
        &mut self,
        tokens: &[TokenId],
        batch: &Batch,
        mut trace: Option<&mut Trace>,
    ) -> Result<B::Tensor> {
        let be = &self.be;
        let config = self.plan.config();
        let embedded = self.embed(tokens)?;
        let embedded = be.reshape(&embedded, &[tokens.len(), 1, config.hidden_size])?;
        let mut streams = be.concat(&vec![&embedded; config.hyper.streams], 1)?;
        let mut carry = Carry::default();
        for layer in &self.layers {
            let (next, routing) =
                layer.forward(be, &streams, tokens, batch, &mut self.memory, &mut carry)?;
            streams = next;
            if let Some(trace) = trace.as_deref_mut() {
                trace.routing.push(routing);
                trace.chosen.push(carry.chosen.clone());
                trace.streams.push(be.download(&streams)?);
            }
        }
        Ok(streams)
    }

    fn embed(&self, tokens: &[TokenId]) -> Result<B::Tensor> {
        let rows = self.be.lookup(&self.embedding, tokens)?;
        Ok(self.plan.numerics().activation(&self.be, rows)?)
    }

    fn logits(&self, step: &Step, streams: &B::Tensor, batch: &Batch) -> Result<Logits> {
        let mut rows = Vec::new();
        let mut counts = Vec::with_capacity(step.spans.len());
        for (span, place) in step.spans.iter().zip(batch.spans()) {
            let wanted = match span.want {
                Want::Nothing => place.rows.end..place.rows.end,
                Want::Last => place.rows.end - 1..place.rows.end,
                Want::All => place.rows.clone(),
            };
            counts.push(wanted.len());
            rows.extend(wanted.map(|row| row as u32));
        }
        let vocabulary = self.plan.config().vocab_size;
        if rows.is_empty() {
            self.be.synchronize()?;
            return Ok(Logits::new(vocabulary, Vec::new(), &counts));
        }
        let streams = self.be.gather(streams, &rows)?;
        let logits = self.head.forward(&self.be, &streams, &self.output)?;
        Ok(Logits::new(
            vocabulary,
            self.be.download(&logits)?.into_data(),
            &counts,
        ))
    }

    /// Lets the draft head read what the backbone read. Position `i` needs token `i + 1`, so each
    /// span takes up the position before it and leaves its own last one for later.
    fn follow(&mut self, streams: &B::Tensor, tokens: &[TokenId], batch: &Batch) -> Result<()> {
        let be = &self.be;
        let mut joined = Vec::new();
        let mut next = Vec::new();
        let mut parts = Vec::new();
        let mut kept = Vec::new();
        for span in batch.spans() {
            let own = be.narrow(streams, 0, span.rows.start, span.rows.len())?;
            let sequence = &self.sequences[span.slot];
            let before = sequence.streams_before(be, span.at)?;
            let (all, first) = match before {
                Some((before, first)) => (be.concat(&[&before, &own], 0)?, first),
                None => (own, span.at),
            };
            let start = span.at.saturating_sub(1);
            let count = (span.end() - 1 - start) as usize;
            if count > 0 {
                joined.push(be.narrow(&all, 0, (start - first) as usize, count)?);
                next.extend_from_slice(&tokens[span.rows.end - count..span.rows.end]);
                parts.push((span.slot, start, count));
            }
            let keep = span.end().saturating_sub(REWIND_MAX + 1).max(first);
            let length = (span.end() - keep) as usize;
            kept.push((
                span.slot,
                be.narrow(&all, 0, (keep - first) as usize, length)?,
                keep,
            ));
        }
        if !parts.is_empty() {
            let joined = be.concat(&joined.iter().collect::<Vec<_>>(), 0)?;
            self.draft_rows(&joined, &parts, &next)?;
        }
        for (slot, streams, at) in kept {
            self.sequences[slot].streams = Some(streams);
            self.sequences[slot].streams_at = at;
        }
        Ok(())
    }

    /// Runs the draft head over `parts` of `(slot, at, tokens)`, each position with its next token.
    fn draft_rows(
        &mut self,
        streams: &B::Tensor,
        parts: &[(usize, u32, usize)],
        next: &[TokenId],
    ) -> Result<B::Tensor> {
        let batch = Batch::new(&self.ropes, parts.iter().copied());
        let embedded = self.embed(next)?;
        let mtp = self.mtp.as_ref().expect("asked only with a draft head");
        Ok(mtp.forward(
            &self.be,
            (streams, &embedded),
            next,
            &batch,
            &mut self.memory,
        )?)
    }

    fn check(&self, step: &Step) {
        let capacity = self.capacity();
        let tokens: usize = step.spans.iter().map(|span| span.tokens.len()).sum();
        assert!(
            tokens <= capacity.step_tokens as usize,
            "{tokens} tokens in a step"
        );
        for (index, span) in step.spans.iter().enumerate() {
            let position = self.sequences[span.seq.0 as usize].position;
            assert_eq!(span.at, position, "{:?} stands at {position}", span.seq);
            assert!(!span.tokens.is_empty(), "{:?} has no tokens", span.seq);
            assert!(
                span.tokens.iter().all(|id| *id < capacity.vocabulary),
                "ids of the vocabulary"
            );
            let end = span.at as usize + span.tokens.len();
            assert!(end <= capacity.context as usize, "{end} positions");
            let others = &step.spans[..index];
            assert!(
                others.iter().all(|other| other.seq != span.seq),
                "{:?} twice",
                span.seq
            );
        }
    }
}

impl<B: Backend> Default for Sequence<B> {
    fn default() -> Self {
        Self {
            position: 0,
            reached: 0,
            streams: None,
            streams_at: 0,
        }
    }
}

impl<B: Backend> Sequence<B> {
    /// The streams kept before position `at`, and the position of the first.
    fn streams_before(&self, be: &B, at: u32) -> Result<Option<(B::Tensor, u32)>> {
        let Some(streams) = &self.streams else {
            return Ok(None);
        };
        let keep = (at - self.streams_at) as usize;
        match keep {
            0 => Ok(None),
            _ => Ok(Some((be.narrow(streams, 0, 0, keep)?, self.streams_at))),
        }
    }
}

impl<B: Kernels> Decoder for Model<B> {
    fn capacity(&self) -> Capacity {
        Capacity {
            vocabulary: self.plan.config().vocab_size as u32,
            context: self.plan.context() as u32,
            sequences: self.plan.sequences() as u32,
            step_tokens: self.plan.step_tokens() as u32,
            rewind: REWIND_MAX,
            drafts: if self.mtp.is_some() { DRAFTS_MAX } else { 0 },
        }
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        self.run(step, None)
    }

    fn draft(&mut self, seq: SeqId, after: TokenId, max: u32) -> Result<Vec<TokenId>> {
        let slot = seq.0 as usize;
        let position = self.sequences[slot].position;
        let room = (self.plan.context() as u32).saturating_sub(position + 1);
        let count = max.min(DRAFTS_MAX).min(room);
        if self.mtp.is_none() || position == 0 {
            return Ok(Vec::new());
        }
        let (kept, first) = self.sequences[slot]
            .streams_before(&self.be, position)?
            .expect("a sequence that has begun keeps its last streams");
        let last = (position - 1 - first) as usize;
        let mut streams = self.be.narrow(&kept, 0, last, 1)?;
        let mut drafts = Vec::with_capacity(count as usize);
        let mut next = after;
        for index in 0..count {
            streams = self.draft_rows(&streams, &[(slot, position - 1 + index, 1)], &[next])?;
            let mtp = self.mtp.as_ref().expect("checked above");
            let logits = mtp.logits(&self.be, &streams, &self.output)?;
            next = self.be.top_k(&logits, 1)?[0];
            drafts.push(next);
        }
        Ok(drafts)
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        let sequence = &mut self.sequences[seq.0 as usize];
        assert!(
            position <= sequence.position && sequence.reached - position <= REWIND_MAX,
            "from {} back to {position}",
            sequence.reached
        );
        sequence.position = position;
    }

    fn forget(&mut self, seq: SeqId) {
        self.memory.forget(seq.0 as usize);
        self.sequences[seq.0 as usize] = Sequence::default();
    }
}
