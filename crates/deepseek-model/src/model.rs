//! The model on a device, with its memory of sequences.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use deepseek_attn::{Batch, Carry, Memory, MemoryConfig, Part, Ropes, Span, WindowMask};
use deepseek_core::operands::{Inputs, Routing, Runs};
use deepseek_core::weights::{Checkpoint, TensorSource, Tensors};
use deepseek_core::{Backend, HostTensor, Kernels, Loader};
use deepseek_engram::{History, LayerShape, Slots};
use deepseek_vision::Grid;

use crate::block::{Block, Head, Residual, Rows};
use crate::decoder::{
    Capacity, Decoder, Logits, Media, MediaId, Place, SeqId, Step, TokenId, Trouble, Want,
};
use crate::draft::{Ask, Details, Dspark, Mtp, Proposal};
use crate::encoders::Encoders;
use crate::error::{Error, Result};
use crate::finite::Checks;
use crate::limits::{MTP_DRAFTS_MAX, REWIND_MAX};
use crate::names::Renamed;
use crate::ngrams::Ngrams;
use crate::plan::Plan;

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
    output: B::Weight,
    drafter: Option<Drafter<B>>,
    memory: Memory<B>,
    sequences: Vec<Sequence<B>>,
}

/// What a model is made of beside its checkpoint.
#[derive(Debug, Default)]
pub struct Extras<'a> {
    /// The compressed ids of all tokens, which a model with an n-gram memory needs
    /// (`docs/models/deepseek-v41.md` §3.7).
    pub compressed: Option<Vec<u32>>,
    /// The projector of a checkpoint whose audio tower has none of its own, with delimiters if these
    /// are missing there, too.
    pub projector: Option<&'a dyn TensorSource>,
}

impl From<Option<Vec<u32>>> for Extras<'_> {
    fn from(compressed: Option<Vec<u32>>) -> Self {
        Self {
            compressed,
            projector: None,
        }
    }
}

/// What proposes tokens.
#[derive(Debug)]
enum Drafter<B: Kernels> {
    Mtp(Box<Mtp<B>>),
    Dspark(Box<Dspark<B>>),
}

/// What a sequence is beside its rows.
#[derive(Debug)]
struct Sequence<B: Backend> {
    /// Where it stands: the position of its next token.
    position: u32,
    /// Where it stood after its last step.
    reached: u32,
    /// The backbone's rows of its last positions, for an MTP module.
    streams: Option<Kept<B>>,
    /// Rows that have run through the first layers alone, as many as the others may be asked for.
    pending: Option<Kept<B>>,
    /// The position up to which all layers have run.
    settled: u32,
    /// The compressed ids of its last positions.
    history: Option<History>,
    /// Where it first met a number that is not finite.
    trouble: Option<Trouble>,
}

/// Rows on their way through the layers.
#[derive(Debug)]
struct Flow<B: Kernels> {
    residual: Residual<B>,
    tokens: Vec<TokenId>,
    /// Whether each row is one of a medium; empty where none is.
    media: Vec<bool>,
    /// The same on the device.
    inputs: Inputs<B>,
    batch: Batch<B>,
    /// What went into the layers that a drafter reads, `[t, hidden]` each.
    taps: Vec<B::Tensor>,
}

/// The last rows of one sequence. Those at or beyond where it stands have been taken back.
#[derive(Debug)]
struct Kept<B: Backend> {
    residual: Residual<B>,
    tokens: Vec<TokenId>,
    media: Vec<bool>,
    /// The position of the first.
    at: u32,
}

impl<B: Kernels> Kept<B> {
    /// The rows of one span.
    fn of(be: &B, flow: &Flow<B>, span: &Span) -> Result<Self> {
        let rows = span.rows.clone();
        let media = flow.media.get(rows.clone());
        Ok(Self {
            residual: flow.residual.narrow(be, rows.start, rows.len())?,
            media: media.map_or_else(|| vec![false; rows.len()], <[bool]>::to_vec),
            tokens: flow.tokens[rows].to_vec(),
            at: span.at,
        })
    }

    /// The rows of positions `start..end`. They are gathered, because a part of a tensor may hold on
    /// to all of it, which is a whole step.
    fn narrow(&self, be: &B, start: u32, end: u32) -> Result<Self> {
        let rows = (start - self.at) as usize..(end - self.at) as usize;
        let places: Vec<u32> = rows.clone().map(|row| row as u32).collect();
        Ok(Self {
            residual: self.residual.gather(be, &be.ids(&places)?)?,
            tokens: self.tokens[rows.clone()].to_vec(),
            media: self.media[rows].to_vec(),
            at: start,
        })
    }

    /// These rows as far as position `end`, and those that follow there.
    fn join(&self, be: &B, end: u32, then: &Self) -> Result<Self> {
        let mut all = self.narrow(be, self.at, end)?;
        all.residual = Residual::concat(be, &[&all.residual, &then.residual])?;
        all.tokens.extend(&then.tokens);
        all.media.extend(&then.media);
        Ok(all)
    }
}

/// Whether each row of a step is one of a medium; empty where none is.
fn media_rows(step: &Step) -> Vec<bool> {
    if step.spans.iter().all(|span| span.media.is_empty()) {
        return Vec::new();
    }
    let rows = step.spans.iter().flat_map(|span| {
        let is_media = |row: usize| span.media.iter().any(|own| own.tokens.contains(&row));
        (0..span.tokens.len()).map(is_media)
    });
    rows.collect()
}

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
    /// `[t, each]`, ascending for each row.
    pub experts: Arc<[u32]>,
    /// `[t, each]`.
    pub weights: Vec<f32>,
    /// Experts per token.
    pub each: usize,
}

impl Routed {
    /// Waits for the device.
    fn of<B: Backend>(be: &B, routing: &Routing<B>) -> Result<Self> {
        Ok(Self {
            experts: be.ids_on_host(&routing.experts)?,
            weights: be.download(&routing.weights)?.into_data(),
            each: routing.each,
        })
    }
}

/// Who looks on, and what they put in the way.
struct Watch<'a, B: Backend> {
    trace: Trace,
    /// What is read before each layer and behind the last, if anything.
    given: &'a [Residual<B>],
}

impl<B: Kernels> Model<B> {
    /// Loads the model that `plan` describes. `progress` hears, before each layer, how many of how
    /// many are done, and may end the loading.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format; a device without room,
    /// or that does not serve the plan's numerics;
    /// compressed ids that are not those of the model;
    /// [`Error::Interrupted`] when `progress` says so.
    pub fn load<'a>(
        be: B,
        plan: Plan,
        checkpoint: &Checkpoint,
        extras: impl Into<Extras<'a>>,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<Self> {
        let Extras {
            compressed,
            projector,
        } = extras.into();
        plan.numerics().served_by(&be)?;
        let source = Renamed::new(checkpoint);
        let config = plan.config();
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let shape = plan.block_shape();
        let ropes = plan.ropes();
        let at = Loader {
            be: &be,
            tensors: Tensors::new(&source, config.fp8_tile),
            numerics: plan.numerics(),
            input_block: config.fp8_tile[1],
        };
        let total = plan.layers().len() + plan.draft_layers();
        let mut report = |done| match progress(done, total) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Interrupted),
        };
        let ngrams = match &config.engram {
            None => None,
            Some(engram) => {
                let ids = compressed.ok_or(Error::NoCompressedIds)?;
                let resident = plan.engram_resident();
                Some(Ngrams::load(&at.tensors, config, engram, ids, resident)?)
            }
        };
        let engram = config.engram.as_ref().map(|engram| LayerShape {
            hidden,
            streams: config.hyper.streams,
            columns: (engram.ngram - 1) * engram.heads,
            head_dim: engram.head_dim,
            eps: config.norm_eps,
        });
        let mut layers = Vec::with_capacity(plan.layers().len());
        for (index, layer) in plan.layers().iter().enumerate() {
            report(index)?;
            let at = at.at(&format!("layers.{index}"));
            let engram = layer.engram.and(engram);
            layers.push(Block::load(&at, *layer, index, &shape, engram)?);
        }
        let first = layers.len();
        report(first)?;
        let drafter = if let Some((config, layer)) = plan.dspark() {
            let shape = plan.dspark_shape(config);
            let drafter = Dspark::load(&at, (config, layer), first, &shape)?;
            Some(Drafter::Dspark(drafter.into()))
        } else if let Some(layer) = plan.mtp() {
            let mtp = Mtp::load(&at.at("mtp.0"), layer, first, &shape)?;
            Some(Drafter::Mtp(mtp.into()))
        } else {
            None
        };
        let towers = (config.vision, config.audio);
        let projector = projector.map(Renamed::new);
        let projector = projector.as_ref().map(|file| file as _);
        let encoders = Encoders::load(&at, towers, (&source, checkpoint), projector)?;
        let head = Head::load(&at, &shape)?;
        let embedding = at.embedding("embed.weight", [vocabulary, hidden])?;
        let output = at.weight("head.weight", [vocabulary, hidden])?;
        report(total)?;

        let memory_shape = MemoryConfig {
            sequences: plan.sequences(),
            window: config.window,
            ring: plan.ring_rows(),
            context: plan.context(),
            rewind: REWIND_MAX,
            width: config.head_dim,
            windows: plan.window_format(),
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
            ngrams,
            encoders,
            head,
            output,
            drafter,
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
        self.step_given(step, &[])
    }

    /// As [`Model::step_traced`], but each layer but the first, and the head, reads what is `given`
    /// in the place of what the one before left: the residual before each layer and behind the last.
    /// So a difference shows in the layer that makes it, and not in all that follow.
    ///
    /// # Errors
    /// A fault of the device.
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
    /// [`Decoder::attach`] does for one of pixels.
    ///
    /// # Errors
    /// A model that does not look at images, or a fault of the device.
    pub fn attach_patches(&mut self, patches: &HostTensor, grid: &Grid) -> Result<MediaId> {
        self.encoders.attach_patches(&self.be, patches, grid)
    }

    /// The MTP module's logits `[n - 1, vocabulary]` over a fresh sequence of `n` tokens: what the
    /// reference gives.
    ///
    /// # Errors
    /// A fault of the device.
    ///
    /// # Panics
    /// Without such a module, or if the sequence has begun.
    pub fn draft_logits(&mut self, seq: SeqId, tokens: &[TokenId]) -> Result<HostTensor> {
        assert_eq!(
            self.sequences[seq.0 as usize].position, 0,
            "a fresh sequence"
        );
        let slot = seq.0 as usize;
        let batch = self.batch([(slot, 0, tokens.len())])?;
        let inputs = Inputs::text(self.be.ids(tokens)?);
        let embedded = self.embed(&inputs.tokens)?;
        let residual = Residual::start(&self.be, &embedded, &self.plan.block_shape())?;
        let mut flow = Flow {
            residual,
            tokens: tokens.to_vec(),
            media: Vec::new(),
            inputs,
            batch,
            taps: Vec::new(),
        };
        let (all, carry) = (0..self.layers.len(), Carry::default());
        self.pass(&mut flow, all, None, carry, &mut Checks::default(), None)?;
        self.sequences[slot].position = tokens.len() as u32;
        let streams = &flow.residual.streams;
        let streams = self.be.narrow(streams, 0, 0, tokens.len() - 1)?;
        let next = self.be.ids(&tokens[1..])?;
        let own = self.mtp_rows(&streams, &[(slot, 0, tokens.len() - 1)], next)?;
        let logits = self.mtp().logits(&self.be, &own, &self.output)?;
        Ok(self.be.download(&logits)?)
    }

    /// What the DSpark drafter proposes to follow `after`, which itself follows the sequence;
    /// nothing without one.
    ///
    /// # Errors
    /// A fault of the device.
    pub fn propose(&mut self, seq: SeqId, after: TokenId, max: usize) -> Result<Option<Proposal>> {
        let Some(Drafter::Dspark(drafter)) = &self.drafter else {
            return Ok(None);
        };
        let slot = seq.0 as usize;
        let ask = Ask {
            slot,
            at: self.sequences[slot].position,
            after,
        };
        let weights = (&self.embedding, &self.output);
        let memory = (&self.ropes, &mut self.memory);
        let mut proposals =
            drafter.propose(&self.be, memory, weights, &[ask], max, Details::All)?;
        Ok(proposals.pop())
    }

    fn mtp(&self) -> &Mtp<B> {
        match &self.drafter {
            Some(Drafter::Mtp(mtp)) => mtp,
            Some(Drafter::Dspark(_)) | None => unreachable!("asked only with an MTP module"),
        }
    }

    fn run(&mut self, step: &Step, watch: Option<&mut Watch<'_, B>>) -> Result<Logits> {
        self.check(step);
        let parts = step
            .spans
            .iter()
            .map(|span| (span.seq.0 as usize, span.at, span.tokens.len()));
        let batch = self.batch(parts)?;
        let tokens: Vec<TokenId> = step
            .spans
            .iter()
            .flat_map(|span| span.tokens.iter().copied())
            .collect();
        let media = media_rows(step);
        let slots = self.prefetch(&tokens, &media, &batch);
        let inputs = Inputs::new(&self.be, &tokens, &media)?;
        for layer in &self.layers {
            layer.prefetch(&self.be, &inputs.tokens, tokens.len())?;
        }
        let mut embedded = self.embed(&inputs.tokens)?;
        if !media.is_empty() {
            embedded = self.encoders.place(&self.be, &embedded, step)?;
        }
        let mut checks = Checks::default();
        checks.embedding(&self.be, &embedded, batch.spans(), &media)?;
        let mut flow = Flow {
            residual: Residual::start(&self.be, &embedded, &self.plan.block_shape())?,
            tokens,
            media,
            inputs,
            batch,
            taps: Vec::new(),
        };
        let (slots, last) = (slots.as_ref(), self.layers.len());
        let ends: Vec<_> = flow
            .batch
            .spans()
            .iter()
            .map(|s| (s.slot, s.end()))
            .collect();
        let carry = Carry::default();
        match self.plan.cut() {
            None => self.pass(&mut flow, 0..last, slots, carry, &mut checks, watch)?,
            Some(cut) => {
                self.pass(&mut flow, 0..cut, slots, carry, &mut checks, None)?;
                let Flow {
                    residual, batch, ..
                } = &flow;
                self.layers[cut].produce(&self.be, residual, batch, &mut self.memory)?;
                flow = self.replay(step, flow)?;
                let carry = Carry {
                    produced: self.plan.layers()[cut].role.source,
                    ..Carry::default()
                };
                self.pass(&mut flow, cut..last, None, carry, &mut checks, watch)?;
            }
        }
        self.follow(&flow)?;
        for (slot, end) in ends {
            self.sequences[slot].position = end;
            self.sequences[slot].reached = end;
        }
        self.logits(step, &flow, checks)
    }

    /// What a step of these parts knows before its first layer.
    fn batch(&self, parts: impl IntoIterator<Item = impl Into<Part>>) -> Result<Batch<B>> {
        Ok(Batch::new(
            &self.be,
            &self.ropes,
            self.memory.rooms(),
            parts,
        )?)
    }

    /// Tells the n-gram tables which rows the step will read.
    fn prefetch(&mut self, tokens: &[TokenId], media: &[bool], batch: &Batch<B>) -> Option<Slots> {
        let ngrams = self.ngrams.as_ref()?;
        let mut slots = ngrams.slots();
        for span in batch.spans() {
            let history = &mut self.sequences[span.slot].history;
            let history = history.get_or_insert_with(|| ngrams.history());
            let media = media.get(span.rows.clone()).unwrap_or(&[]);
            slots.extend(&ngrams.append(history, &tokens[span.rows.clone()], media));
        }
        ngrams.prefetch(&slots);
        Some(slots)
    }

    /// Runs the rows through some of the layers.
    fn pass(
        &mut self,
        flow: &mut Flow<B>,
        layers: Range<usize>,
        slots: Option<&Slots>,
        mut carry: Carry<B>,
        checks: &mut Checks<B>,
        mut watch: Option<&mut Watch<'_, B>>,
    ) -> Result<()> {
        let be = &self.be;
        if flow.tokens.is_empty() {
            return Ok(());
        }
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
            let recalled = match (plan.engram, &self.ngrams, slots) {
                (Some(table), Some(ngrams), Some(slots)) => Some(ngrams.lookup(be, table, slots)?),
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
            checks.ask(be, &residual.streams, batch.spans(), Place::Layer(index))?;
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

    /// Of rows that have run through the first layers, those that run through the others now: of a
    /// prompt that goes on none, of one that ends its last ones (`docs/models/deepseek-v41.md`
    /// §3.10).
    ///
    /// Which rows those are depends on the prompt alone, not on how it was cut into steps: what may
    /// be needed later is kept.
    fn replay(&mut self, step: &Step, flow: Flow<B>) -> Result<Flow<B>> {
        let be = &self.be;
        let window = self.plan.config().window as u32;
        let mut parts = Vec::new();
        let mut places = Vec::new();
        let (mut tokens, mut media) = (Vec::new(), Vec::new());
        for (span, place) in step.spans.iter().zip(flow.batch.spans()) {
            let sequence = &mut self.sequences[place.slot];
            let own = Kept::of(be, &flow, place)?;
            let all = match sequence.pending.take() {
                Some(pending) if pending.at < place.at => pending.join(be, place.at, &own)?,
                _ => own,
            };
            let end = place.end();
            let whole = all.at <= sequence.settled;
            let start = match span.want {
                Want::Nothing => {
                    let from = end.saturating_sub(window + REWIND_MAX).max(all.at);
                    sequence.pending = Some(all.narrow(be, from, end)?);
                    continue;
                }
                // A continuation that fits the window, behind rows that have run through all layers.
                Want::Last if whole && end - sequence.settled <= window => sequence.settled,
                Want::Last => end.saturating_sub(window).max(all.at),
                Want::All => sequence.settled.max(all.at),
            };
            let from = if whole && start == sequence.settled {
                0
            } else {
                start
            };
            let rows = all.narrow(be, start, end)?;
            parts.push(Part {
                slot: place.slot,
                at: start,
                tokens: rows.tokens.len(),
                mask: WindowMask::Causal { from },
            });
            tokens.extend(rows.tokens);
            media.extend(rows.media);
            places.push(rows.residual);
            sequence.settled = end;
        }
        let residual = if places.is_empty() {
            flow.residual
        } else {
            Residual::concat(be, &places.iter().collect::<Vec<_>>())?
        };
        if !media.contains(&true) {
            media.clear();
        }
        Ok(Flow {
            residual,
            inputs: Inputs::new(be, &tokens, &media)?,
            tokens,
            media,
            batch: self.batch(parts)?,
            taps: Vec::new(),
        })
    }

    fn embed(&self, tokens: &B::Ids) -> Result<B::Tensor> {
        let rows = self.be.lookup(&self.embedding, tokens)?;
        Ok(self.plan.numerics().activation(&self.be, rows)?)
    }

    /// The logits that the step asks for, and whether all numbers on the way to them were finite: what
    /// the step waits for, once.
    fn logits(&mut self, step: &Step, flow: &Flow<B>, mut checks: Checks<B>) -> Result<Logits> {
        let mut rows = Vec::new();
        let mut counts = Vec::with_capacity(step.spans.len());
        let mut spans = Vec::with_capacity(step.spans.len());
        let mut places = flow.batch.spans().iter().peekable();
        for span in &step.spans {
            // A prompt that goes on may have no rows left here.
            let place = places.next_if(|place| place.slot == span.seq.0 as usize);
            let count = match (span.want, place) {
                (Want::Nothing, _) | (_, None) => 0,
                (Want::Last, Some(_)) => 1,
                (Want::All, Some(_)) => span.tokens.len(),
            };
            counts.push(count);
            if let Some(place) = place {
                spans.push(Span {
                    at: place.end() - count as u32,
                    rows: rows.len()..rows.len() + count,
                    ..place.clone()
                });
                rows.extend((place.rows.end - count..place.rows.end).map(|row| row as u32));
            }
        }
        let be = &self.be;
        let vocabulary = self.plan.config().vocab_size;
        let logits = if rows.is_empty() {
            None
        } else {
            let residual = flow.residual.gather(be, &be.ids(&rows)?)?;
            let logits = self.head.forward(be, &residual, &self.output)?;
            checks.ask(be, &logits, &spans, Place::Head)?;
            Some(logits)
        };
        let asked = logits.iter().chain(checks.flags());
        let mut fetched = be.fetch(&asked.collect::<Vec<_>>(), &[])?.tensors;
        let flags = fetched.split_off(usize::from(logits.is_some()));
        for (slot, trouble) in checks.troubles(&flags) {
            self.sequences[slot].trouble.get_or_insert(trouble);
        }
        let values = fetched.pop().map(HostTensor::into_data);
        Ok(Logits::new(vocabulary, values.unwrap_or_default(), &counts))
    }

    /// Lets the draft head read what the backbone read.
    fn follow(&mut self, flow: &Flow<B>) -> Result<()> {
        match &self.drafter {
            None => Ok(()),
            Some(Drafter::Dspark(_)) if flow.tokens.is_empty() => Ok(()),
            Some(Drafter::Dspark(drafter)) => {
                let taps = self.be.concat(&flow.taps.iter().collect::<Vec<_>>(), 1)?;
                Ok(drafter.observe(&self.be, &taps, &flow.batch, &mut self.memory)?)
            }
            Some(Drafter::Mtp(_)) => self.follow_by_mtp(flow),
        }
    }

    /// The MTP module needs token `i + 1` for position `i`, so each span takes up the position
    /// before it and leaves its own last one for later.
    fn follow_by_mtp(&mut self, flow: &Flow<B>) -> Result<()> {
        let be = &self.be;
        let mut joined = Vec::new();
        let mut next = Vec::new();
        let mut parts = Vec::new();
        let mut kept = Vec::new();
        for span in flow.batch.spans() {
            let own = Kept::of(be, flow, span)?;
            let all = match self.sequences[span.slot].streams.take() {
                Some(before) if before.at < span.at => before.join(be, span.at, &own)?,
                _ => own,
            };
            let start = span.at.saturating_sub(1);
            let count = (span.end() - 1 - start) as usize;
            if count > 0 {
                let rows = all.narrow(be, start, span.end() - 1)?;
                joined.push(rows.residual.streams);
                next.extend_from_slice(&flow.tokens[span.rows.end - count..span.rows.end]);
                parts.push((span.slot, start, count));
            }
            let from = span.end().saturating_sub(REWIND_MAX + 1).max(all.at);
            kept.push((span.slot, all.narrow(be, from, span.end())?));
        }
        if !parts.is_empty() {
            let joined = be.concat(&joined.iter().collect::<Vec<_>>(), 0)?;
            let next = be.ids(&next)?;
            self.mtp_rows(&joined, &parts, next)?;
        }
        for (slot, streams) in kept {
            self.sequences[slot].streams = Some(streams);
        }
        Ok(())
    }

    /// Runs the MTP module over `parts` of `(slot, at, tokens)`, each position with its next token.
    fn mtp_rows(
        &mut self,
        streams: &B::Tensor,
        parts: &[(usize, u32, usize)],
        next: B::Ids,
    ) -> Result<B::Tensor> {
        let rooms = self.memory.rooms();
        let batch = Batch::windows(&self.be, &self.ropes, rooms, parts.iter().copied())?;
        let embedded = self.embed(&next)?;
        let Some(Drafter::Mtp(mtp)) = &self.drafter else {
            unreachable!("asked only with an MTP module");
        };
        let (be, memory) = (&self.be, &mut self.memory);
        Ok(mtp.forward(be, (streams, &embedded), next, &batch, memory)?)
    }

    /// The MTP module's chain of proposals.
    fn draft_by_mtp(&mut self, slot: usize, after: TokenId, count: u32) -> Result<Vec<TokenId>> {
        let position = self.sequences[slot].position;
        let last = self.sequences[slot]
            .streams
            .as_ref()
            .expect("a sequence that has begun keeps its last streams")
            .narrow(&self.be, position - 1, position)?;
        let mut streams = last.residual.streams;
        let mut drafts = Vec::with_capacity(count as usize);
        let mut next = self.be.ids(&[after])?;
        for index in 0..count {
            streams = self.mtp_rows(&streams, &[(slot, position - 1 + index, 1)], next)?;
            let logits = self.mtp().logits(&self.be, &streams, &self.output)?;
            next = self.be.top_k(&logits, 1)?;
            drafts.push(next.clone());
        }
        let drafts = self.be.fetch(&[], &drafts.iter().collect::<Vec<_>>())?.ids;
        Ok(drafts.iter().map(|ids| ids[0]).collect())
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

impl<B: Backend> Default for Sequence<B> {
    fn default() -> Self {
        Self {
            position: 0,
            reached: 0,
            streams: None,
            pending: None,
            settled: 0,
            history: None,
            trouble: None,
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
            drafts: match (&self.drafter, self.plan.dspark()) {
                (None, _) => 0,
                (Some(_), Some((drafter, _))) => drafter.block as u32,
                (Some(_), None) => MTP_DRAFTS_MAX,
            },
            vision: self.plan.config().vision,
            audio: self.plan.config().audio,
            placeholders: self.plan.config().placeholders(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        self.run(step, None)
    }

    fn draft(&mut self, seq: SeqId, after: TokenId, max: u32) -> Result<Vec<TokenId>> {
        let slot = seq.0 as usize;
        let position = self.sequences[slot].position;
        let room = (self.plan.context() as u32).saturating_sub(position + 1);
        if position == 0 {
            return Ok(Vec::new());
        }
        let count = max.min(self.capacity().drafts).min(room);
        match &self.drafter {
            None => Ok(Vec::new()),
            Some(Drafter::Mtp(_)) => self.draft_by_mtp(slot, after, count),
            Some(Drafter::Dspark(_)) => {
                let proposal = self.propose(seq, after, count as usize)?;
                Ok(proposal.map(|proposal| proposal.tokens).unwrap_or_default())
            }
        }
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

    fn trouble(&self, seq: SeqId) -> Option<Trouble> {
        self.sequences[seq.0 as usize].trouble
    }

    fn forget(&mut self, seq: SeqId) {
        self.sequences[seq.0 as usize] = Sequence::default();
    }

    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        self.encoders.attach(&self.be, media)
    }

    fn release(&mut self, media: MediaId) {
        self.encoders.release(media);
    }
}
