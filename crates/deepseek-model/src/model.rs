//! The model on a device, with its memory of sequences.

mod flow;
mod load;
mod replay;
mod snapshot;
mod spare;
mod trace;
mod wanted;

use std::mem;
use std::ops::Range;

use deepseek_attn::{Batch, BatchLists, Carry, Memory, Part, Ropes};
use deepseek_core::Kernels;
use deepseek_core::operands::{Inputs, Visits};
use deepseek_engram::History;

use crate::block::{Block, Head, Output, Residual, Rows};
use crate::decoder::{
    Capacity, Decoder, DraftAsk, Extent, Kind, Life, Logits, Media, MediaId, Place, SeqId,
    SequenceState, Step, TokenId, Trouble,
};
use crate::draft::{Drafter, Shared};
use crate::encoders::Encoders;
use crate::error::{Error, Result};
use crate::finite::Checks;
use crate::limits::REWIND_MAX;
use crate::ngrams::Ngrams;
use crate::plan::Plan;

pub(crate) use self::flow::Flow;
use self::flow::{FlowLists, media_rows};
pub use self::load::Extras;
pub(crate) use self::replay::Pending;
use self::replay::Replay;
use self::spare::Spare;
use self::trace::Watch;
pub use self::trace::{Routed, Trace};

/// A DeepSeek-V4 or V4.1 model, loaded.
#[derive(Debug)]
pub struct Model<B: Kernels> {
    be: B,
    plan: Plan,
    ropes: Ropes,
    embedding: B::Weight,
    layers: Vec<Block<B>>,
    ngrams: Option<Ngrams>,
    encoders: Encoders<B>,
    head: Head<B>,
    output: Output<B>,
    drafter: Option<Drafter<B>>,
    /// Where rows wait that a cut prompt may need, if prompts are cut.
    replay: Option<Replay<B>>,
    memory: Memory<B>,
    sequences: Vec<Sequence>,
    /// By place, the present life of it.
    lives: Vec<Life>,
    /// How many lives there were.
    begun: u64,
    spare: Spare<B>,
}

/// What a sequence is beside its rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sequence {
    /// Where it stands: the position of its next token.
    pub(crate) position: u32,
    /// The furthest that it has stood: rings hold the last rows before that.
    pub(crate) reached: u32,
    /// What waits of a prompt that has run through the first layers alone.
    pub(crate) pending: Option<Pending>,
    /// The position up to which all layers have run.
    pub(crate) settled: u32,
    /// The compressed ids of its last positions.
    pub(crate) history: Option<History>,
    /// Where it first met a number that is not finite.
    pub(crate) trouble: Option<Trouble>,
}

impl Sequence {
    pub(crate) fn at(position: u32) -> Self {
        Self {
            position,
            reached: position,
            settled: position,
            ..Self::default()
        }
    }
}

impl<B: Kernels> Model<B> {
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

    fn run(&mut self, step: &Step, watch: Option<&mut Watch<'_, B>>) -> Result<Logits> {
        self.check(step);
        let FlowLists {
            mut tokens,
            mut media,
            batch,
            taps,
        } = self.spare.flow_lists();
        let parts = step
            .spans
            .iter()
            .map(|span| (span.seq.0 as usize, span.at, span.tokens.len()));
        let batch = self.batch(batch, parts)?;
        tokens.extend(step.spans.iter().flat_map(|span| &span.tokens));
        media_rows(step, &mut media);
        self.prefetch(&tokens, &media, &batch);
        let inputs = Inputs::new(&self.be, &tokens, &media)?;
        for layer in &self.layers {
            layer.prefetch(&self.be, &inputs.tokens, tokens.len())?;
        }
        let mut embedded = self.embed(&inputs.tokens)?;
        if !media.is_empty() {
            embedded = self.encoders.place(&self.be, &embedded, step)?;
        }
        let mut checks = mem::take(&mut self.spare.checks);
        checks.embedding(&self.be, &embedded, batch.spans(), &media)?;
        let mut flow = Flow {
            residual: Residual::start(&self.be, &embedded, &self.plan.block_config())?,
            tokens,
            media,
            inputs,
            batch,
            taps,
        };
        let (last, carry) = (self.layers.len(), Carry::default());
        // What has run through all layers: nothing where all prompts go on that are cut.
        let whole = match self.plan.cut() {
            None => {
                self.pass(&mut flow, 0..last, carry, &mut checks, watch)?;
                Some(flow)
            }
            Some(cut) => {
                self.pass(&mut flow, 0..cut, carry, &mut checks, None)?;
                let (residual, batch, mut carry) = (&flow.residual, &flow.batch, Carry::default());
                let memory = &mut self.memory;
                self.layers[cut].produce(&self.be, residual, batch, memory, &mut carry)?;
                checks.choice(&self.be, &mut carry.criteria, batch, Place::Layer(cut))?;
                let mut whole = self.replay(step, &flow)?;
                self.spare.keep(flow.into_lists());
                if let Some(flow) = &mut whole {
                    self.pass(flow, cut..last, carry, &mut checks, watch)?;
                }
                whole
            }
        };
        self.observe(whole.as_ref())?;
        for span in &step.spans {
            let sequence = &mut self.sequences[span.seq.0 as usize];
            sequence.position = span.at + span.tokens.len() as u32;
            sequence.reached = sequence.reached.max(sequence.position);
        }
        let logits = self.logits(step, whole.as_ref(), &mut checks)?;
        // Their memory is kept, and nothing that was in it.
        checks.clear();
        self.spare.checks = checks;
        if let Some(flow) = whole {
            self.spare.keep(flow.into_lists());
        }
        Ok(logits)
    }

    /// Lets the drafter read what the backbone read.
    fn observe(&mut self, flow: Option<&Flow<B>>) -> Result<()> {
        if let (Some(drafter), Some(flow)) = (&mut self.drafter, flow) {
            let shared = Shared {
                be: &self.be,
                ropes: &self.ropes,
                embedding: &self.embedding,
                output: &self.output,
            };
            drafter.observe(&shared, flow, &mut self.memory)?;
        }
        Ok(())
    }

    /// What a step of these parts knows before its first layer.
    fn batch(
        &self,
        lists: BatchLists<B>,
        parts: impl IntoIterator<Item = impl Into<Part>>,
    ) -> Result<Batch<B>> {
        let rooms = self.memory.rooms();
        Ok(Batch::within(lists, &self.be, &self.ropes, rooms, parts)?)
    }

    /// Tells the n-gram tables which rows the step will read.
    fn prefetch(&mut self, tokens: &[TokenId], media: &[bool], batch: &Batch<B>) {
        let Some(ngrams) = &mut self.ngrams else {
            return;
        };
        ngrams.begin();
        for span in batch.spans() {
            let history = &mut self.sequences[span.slot].history;
            let history = history.get_or_insert_with(|| ngrams.history());
            let media = media.get(span.rows.clone()).unwrap_or(&[]);
            ngrams.append(history, &tokens[span.rows.clone()], media);
        }
        ngrams.prefetch();
    }

    /// Runs the rows through some of the layers.
    fn pass(
        &mut self,
        flow: &mut Flow<B>,
        layers: Range<usize>,
        mut carry: Carry<B>,
        checks: &mut Checks<B>,
        mut watch: Option<&mut Watch<'_, B>>,
    ) -> Result<()> {
        let be = &self.be;
        for (index, (layer, plan)) in self
            .layers
            .iter()
            .zip(self.plan.layers())
            .enumerate()
            .take(layers.end)
            .skip(layers.start)
        {
            if plan.tap {
                flow.taps.push(
                    self.plan
                        .numerics()
                        .activation(be, flow.residual.mean(be)?)?,
                );
            }
            let recalled = match (plan.engram, &mut self.ngrams) {
                (Some(table), Some(ngrams)) => Some(ngrams.lookup(be, table)?),
                _ => None,
            };
            let (memory, batch) = (&mut self.memory, &flow.batch);
            if let Some(recalled) = &recalled {
                checks.ask(be, recalled, batch.spans(), Place::Table(index))?;
            }
            let rows = Rows {
                inputs: &flow.inputs,
                recalled: recalled.as_ref(),
            };
            let (residual, routing) =
                layer.forward(be, &flow.residual, &rows, batch, memory, &mut carry)?;
            let place = Place::Layer(index);
            for x in std::iter::once(&residual.streams).chain(&residual.pre) {
                checks.ask(be, x, batch.spans(), place)?;
            }
            checks.choice(be, &mut carry.criteria, batch, place)?;
            checks.ask(be, &routing.scores, batch.spans(), place)?;
            flow.residual = residual;
            if let Some(Watch { trace, given }) = watch.as_deref_mut() {
                let chosen = carry.chosen.as_ref().map(|chosen| chosen.on_host(be));
                trace.routing.push(Routed::of(be, &routing)?);
                trace.chosen.push(chosen.transpose()?);
                trace.streams.push(be.download(&flow.residual.streams)?);
                if let Some(given) = given.get(index + 1) {
                    flow.residual = given.clone();
                }
            }
        }
        Ok(())
    }

    fn embed(&self, tokens: &B::Ids) -> Result<B::Tensor> {
        let rows = self.be.lookup(&self.embedding, tokens)?;
        Ok(self.plan.numerics().activation(&self.be, rows)?)
    }

    /// The logits or ids that the step asks for, and whether all numbers on the way to them were finite:
    /// what the step waits for, once.
    fn logits(
        &mut self,
        step: &Step,
        flow: Option<&Flow<B>>,
        checks: &mut Checks<B>,
    ) -> Result<Logits> {
        let be = &self.be;
        let Spare {
            wanted,
            fetched,
            logits: spent,
            ..
        } = &mut self.spare;
        wanted.fill(step, flow.map_or(&[], |flow| flow.batch.spans()));
        let (mut logits, mut best) = (None, None);
        if let (Some(flow), false) = (flow, wanted.rows.is_empty()) {
            let residual = flow.residual.gather(be, &be.ids(&wanted.rows)?)?;
            let all = self.head.forward(be, &residual, &self.output)?;
            checks.ask(be, &all, &wanted.spans, Place::Head)?;
            let part = |places: &[u32]| match places.len() {
                0 => Ok(None),
                count if count == wanted.rows.len() => Ok(Some(all.clone())),
                _ => be.gather(&all, &be.ids(places)?).map(Some),
            };
            logits = part(&wanted.logits)?;
            best = part(&wanted.best)?
                .map(|rows| be.top_k(&rows, 1))
                .transpose()?;
        }
        let first_flag = usize::from(logits.is_some());
        be.fetch(checks.flags_behind(logits), best.as_slice(), fetched)?;
        for (slot, trouble) in checks.troubles(|flag| fetched.tensor(first_flag + flag)) {
            self.sequences[slot].trouble.get_or_insert(trouble);
        }
        let (vocabulary, mut spent) = (self.plan.config().vocab_size, mem::take(spent));
        let mut values = spent.take_values();
        values.clear();
        if first_flag > 0 {
            values = fetched.take_first(values);
        }
        let logits = spent.again(vocabulary, values, &wanted.counts);
        let best = fetched.lists().next().unwrap_or(&[]);
        Ok(logits.with_best(best, &wanted.best_counts))
    }

    /// Where a rank fails, nothing stays queued that waits for the others: they will meet for another call.
    fn drained<T>(&self, ran: Result<T>) -> Result<T> {
        if ran.is_err() && self.be.world() > 1 {
            // What it says is what failed, or comes of that.
            let _ = self.be.synchronize();
        }
        ran
    }

    /// Begins another life of a place.
    fn discard(&mut self, seq: SeqId) {
        let slot = seq.0 as usize;
        self.begun += 1;
        self.sequences[slot] = Sequence::default();
        self.lives[slot] = Life(self.begun);
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
            let mut free = 0;
            for insert in &span.media {
                assert!(self.encoders.has(insert), "{insert:?} is there");
                assert!(
                    free <= insert.tokens.start && insert.tokens.end <= span.tokens.len(),
                    "{insert:?} in its place"
                );
                free = insert.tokens.end;
            }
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
            drafts: self.drafter.as_ref().map_or(0, Drafter::drafts_max),
            vision: self.plan.config().vision,
            audio: self.plan.config().audio,
            placeholders: self.plan.config().placeholders(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        let ran = self.run(step, None);
        self.drained(ran)
    }

    fn recycle(&mut self, logits: Logits) {
        self.spare.logits = logits;
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
        let mut drafts = vec![Vec::new(); asks.len()];
        let Some(drafter) = &mut self.drafter else {
            return Ok(drafts);
        };
        let mut counts = Vec::with_capacity(asks.len());
        let mut begun = Vec::with_capacity(asks.len());
        for (index, ask) in asks.iter().enumerate() {
            let place = ask.place(self.sequences[ask.seq.0 as usize].position);
            let room = (self.plan.context() as u32).saturating_sub(place.at + 1);
            let count = ask.max.min(drafter.drafts_max()).min(room);
            // What has not begun has nothing to go by.
            if place.at > 0 && count > 0 {
                counts.push((index, count as usize));
                begun.push(place);
            }
        }
        let Some(most) = counts.iter().map(|(_, count)| *count).max() else {
            return Ok(drafts);
        };
        let shared = Shared {
            be: &self.be,
            ropes: &self.ropes,
            embedding: &self.embedding,
            output: &self.output,
        };
        let proposed = drafter.propose(&shared, &mut self.memory, &begun, most);
        let proposed = self.drained(proposed)?;
        for ((index, count), mut tokens) in counts.into_iter().zip(proposed) {
            tokens.truncate(count);
            drafts[index] = tokens;
        }
        Ok(drafts)
    }

    fn save(&mut self, seq: SeqId, extent: Extent) -> Result<SequenceState> {
        let slot = seq.0 as usize;
        let mut state = SequenceState {
            sequence: self.sequences[slot].clone(),
            rows: Vec::new(),
            kind: match extent {
                Extent::Whole => Kind::Whole,
                Extent::Tail => Kind::Tail(Some(self.lives[slot])),
            },
        };
        self.export(slot, &mut state, usize::MAX)?;
        Ok(state)
    }

    fn save_more(&mut self, seq: SeqId, state: &mut SequenceState, bytes: usize) -> Result<bool> {
        let slot = seq.0 as usize;
        if state.rows.is_empty() {
            state.sequence = self.sequences[slot].clone();
            state.kind = Kind::Whole;
        }
        self.export(slot, state, bytes)
    }

    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        let slot = seq.0 as usize;
        let life = self.lives[slot];
        self.vacate(seq, &state.sequence)?;
        if let Kind::Tail(of) = state.kind {
            if of != Some(life) {
                return Err(Error::State);
            }
            self.import(slot, state, 0, usize::MAX)?;
            self.lives[slot] = life;
            return Ok(());
        }
        self.import(slot, state, 0, usize::MAX).map(drop)
    }

    fn load_more(
        &mut self,
        seq: SeqId,
        state: &SequenceState,
        from: usize,
        bytes: usize,
    ) -> Result<Option<usize>> {
        if state.kind != Kind::Whole {
            return Err(Error::State);
        }
        if from == 0 {
            self.vacate(seq, &state.sequence)?;
        }
        self.import(seq.0 as usize, state, from, bytes)
    }

    fn adopt(&mut self, seq: SeqId, tail: &mut SequenceState) -> Result<()> {
        let slot = seq.0 as usize;
        if tail.kind != Kind::Tail(None) || tail.position() > self.sequences[slot].position {
            return Err(Error::State);
        }
        tail.kind = Kind::Tail(Some(self.lives[slot]));
        Ok(())
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        let sequence = &mut self.sequences[seq.0 as usize];
        assert!(
            position <= sequence.position && sequence.reached - position <= REWIND_MAX,
            "from {} back to {position}",
            sequence.reached
        );
        sequence.position = position;
        sequence.settled = sequence.settled.min(position);
        if let Some(history) = &mut sequence.history {
            history.rewind(u64::from(position));
        }
        sequence
            .trouble
            .take_if(|trouble| trouble.position >= position);
    }

    fn resume(&mut self, seq: SeqId, position: u32) {
        self.rewind(seq, position);
        if self.replay.is_some() {
            // The layers behind the cut have read nothing of a prompt that goes on.
            self.sequences[seq.0 as usize].settled = 0;
        }
    }

    fn trouble(&self, seq: SeqId) -> Option<Trouble> {
        self.sequences[seq.0 as usize].trouble
    }

    fn visits(&self) -> Visits {
        self.layers.iter().map(|layer| layer.visits(&self.be)).sum()
    }

    fn forget(&mut self, seq: SeqId) {
        self.discard(seq);
    }

    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        self.encoders.attach(&self.be, media)
    }

    fn release(&mut self, media: MediaId) {
        self.encoders.release(media);
    }
}
