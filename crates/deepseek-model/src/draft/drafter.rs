//! What proposes tokens: an MTP module with the streams that it needs of every sequence, or DSpark.

use std::ops::Range;

use deepseek_attn::memory::{export, import};
use deepseek_attn::rooms::ring_runs;
use deepseek_attn::{Batch, BatchLists, Memory, Ropes};
use deepseek_core::{DeviceTensor, Fetched, Few, HostTensor, Kernels, Loader, NO_ROW, RowFormat};

use super::{Ask, Dspark, Mtp};
use crate::block::Output;
use crate::decoder::TokenId;
use crate::error::Result;
use crate::limits::{MTP_DRAFTS_MAX, REWIND_MAX};
use crate::model::Flow;
use crate::plan::Plan;

/// What a drafter shares with the backbone.
#[derive(Debug)]
pub(crate) struct Shared<'a, B: Kernels> {
    pub(crate) be: &'a B,
    pub(crate) ropes: &'a Ropes,
    /// The weights of token ids.
    pub(crate) embedding: &'a B::Weight,
    /// What makes logits of rows.
    pub(crate) output: &'a Output<B>,
}

/// What proposes tokens.
#[derive(Debug)]
pub(crate) enum Drafter<B: Kernels> {
    Mtp(Box<MtpDrafter<B>>),
    Dspark(Box<Dspark<B>>),
}

impl<B: Kernels> Drafter<B> {
    /// The drafter that the plan has, if any; `layer` is the number of its first window in the memory.
    pub(crate) fn load(at: &Loader<'_, B>, plan: &Plan, layer: usize) -> Result<Option<Self>> {
        if let Some((config, stage)) = plan.dspark() {
            let block = plan.dspark_config(config);
            let drafter = Dspark::load(at, (config, stage), layer, &block)?;
            return Ok(Some(Self::Dspark(drafter.into())));
        }
        let Some(block) = plan.mtp() else {
            return Ok(None);
        };
        let module = Mtp::load(&at.at("mtp.0"), block, layer, &plan.block_config())?;
        let width = plan.config().hyper.streams * plan.config().hidden_size;
        let rows = plan.sequences() * STREAMS_RING as usize;
        let drafter = MtpDrafter {
            module,
            streams: at.be.rows(RowFormat::F32, width, rows)?,
            lists: None,
        };
        Ok(Some(Self::Mtp(drafter.into())))
    }

    /// Tokens that it proposes at once.
    pub(crate) fn drafts_max(&self) -> u32 {
        match self {
            Self::Mtp(_) => MTP_DRAFTS_MAX,
            Self::Dspark(drafter) => drafter.block() as u32,
        }
    }

    /// Reads what the backbone read.
    pub(crate) fn observe(
        &mut self,
        shared: &Shared<'_, B>,
        flow: &Flow<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        match self {
            Self::Mtp(drafter) => drafter.observe(shared, flow, memory),
            Self::Dspark(drafter) => {
                let taps: Few<_> = flow.taps.iter().collect();
                let taps = shared.be.concat(&taps, 1)?;
                Ok(drafter.observe(shared.be, &taps, &flow.batch, memory)?)
            }
        }
    }

    /// Proposes `count` tokens for each ask, all in one batch; waits once.
    pub(crate) fn propose(
        &self,
        shared: &Shared<'_, B>,
        memory: &mut Memory<B>,
        asks: &[Ask],
        count: usize,
    ) -> Result<Vec<Vec<TokenId>>> {
        match self {
            Self::Mtp(drafter) => drafter.propose(shared, memory, asks, count),
            Self::Dspark(drafter) => Ok(drafter.propose(shared, memory, asks, count)?),
        }
    }

    /// What it keeps of a sequence that stands at `end`, beside its windows: packed rows.
    pub(crate) fn export(&self, be: &B, slot: usize, end: u32) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Mtp(drafter) => Ok(vec![export(be, &drafter.streams, &kept(slot, end))?]),
            Self::Dspark(_) => Ok(Vec::new()),
        }
    }

    /// Puts back what [`Drafter::export`] gave.
    pub(crate) fn import<'a>(
        &mut self,
        be: &B,
        slot: usize,
        end: u32,
        packed: &mut impl Iterator<Item = &'a Vec<u8>>,
    ) -> Result<()> {
        match self {
            Self::Mtp(drafter) => {
                let packed = packed.next().map_or(&[][..], Vec::as_slice);
                Ok(import(be, &mut drafter.streams, &kept(slot, end), packed)?)
            }
            Self::Dspark(_) => Ok(()),
        }
    }
}

/// Rows of a sequence's ring of streams: the last one, and those before it that it may go back to.
const STREAMS_RING: u32 = REWIND_MAX + 1;

fn ring_row(slot: usize, position: u32) -> u32 {
    slot as u32 * STREAMS_RING + position % STREAMS_RING
}

/// The rows that a sequence which stands at `end` has in its ring.
fn kept(slot: usize, end: u32) -> [Range<u32>; 2] {
    ring_runs(slot, STREAMS_RING, end.saturating_sub(STREAMS_RING)..end)
}

/// An MTP module, and the backbone's streams of the last positions of every sequence.
#[derive(Debug)]
pub(crate) struct MtpDrafter<B: Kernels> {
    module: Mtp<B>,
    /// `[n * hidden]` each, in rings by position.
    streams: B::Rows,
    /// Memory for the next batch that is observed.
    lists: Option<BatchLists<B>>,
}

impl<B: Kernels> MtpDrafter<B> {
    /// The module needs token `i + 1` for position `i`, so each span takes up the position before it
    /// and leaves its own last one for later.
    fn observe(
        &mut self,
        shared: &Shared<'_, B>,
        flow: &Flow<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let be = shared.be;
        let streams = &flow.residual.streams;
        let [tokens, n, hidden] = dims(streams);
        let flat = be.reshape(streams, &[tokens, n * hidden])?;
        let spans = flow.batch.spans();
        let old: Few<u32> = spans
            .iter()
            .filter(|span| span.at > 0)
            .map(|span| ring_row(span.slot, span.at - 1))
            .collect();
        let (mut rows, mut next) = (Few::<u32>::new(), Few::<TokenId>::new());
        let (mut parts, mut kept) = (Few::new(), Few::<u32>::new());
        let mut before = 0..old.len() as u32;
        for span in spans {
            let first = rows.len();
            if span.at > 0 {
                rows.extend(before.next());
            }
            let own = span.rows.start..span.rows.end - 1;
            rows.extend(own.map(|row| (old.len() + row) as u32));
            let count = rows.len() - first;
            if count > 0 {
                next.extend_from_slice(&flow.tokens[span.rows.end - count..span.rows.end]);
                parts.push((span.slot, span.at.saturating_sub(1), count));
            }
            kept.extend(span.positions().map(|position| {
                if position + STREAMS_RING < span.end() {
                    NO_ROW
                } else {
                    ring_row(span.slot, position)
                }
            }));
        }
        if !parts.is_empty() {
            let all = if old.is_empty() {
                flat.clone()
            } else {
                be.concat(&[&be.read_rows(&self.streams, &be.ids(&old)?)?, &flat], 0)?
            };
            let joined = be.gather(&all, &be.ids(&rows)?)?;
            let joined = be.reshape(&joined, &[rows.len(), n, hidden])?;
            let (next, lists) = (be.ids(&next)?, self.lists.take().unwrap_or_default());
            let (_, lists) = self.run(shared, &joined, &parts, next, memory, lists)?;
            self.lists = Some(lists);
        }
        Ok(be.write_rows(&mut self.streams, &be.ids(&kept)?, &flat)?)
    }

    /// Runs the module over `parts` of `(slot, at, tokens)`, each position with its next token, in a batch
    /// made in the memory of another.
    fn run(
        &self,
        shared: &Shared<'_, B>,
        streams: &B::Tensor,
        parts: &[(usize, u32, usize)],
        next: B::Ids,
        memory: &mut Memory<B>,
        lists: BatchLists<B>,
    ) -> Result<(B::Tensor, BatchLists<B>)> {
        let be = shared.be;
        let parts = parts.iter().copied();
        let batch = Batch::windows_within(lists, be, shared.ropes, memory.rooms(), parts)?;
        let embedded = self.module.embed(be, shared.embedding, &next)?;
        let own = self
            .module
            .forward(be, (streams, &embedded), next, &batch, memory)?;
        Ok((own, batch.into_lists()))
    }

    /// A chain of proposals for each ask.
    fn propose(
        &self,
        shared: &Shared<'_, B>,
        memory: &mut Memory<B>,
        asks: &[Ask],
        count: usize,
    ) -> Result<Vec<Vec<TokenId>>> {
        let be = shared.be;
        let last: Vec<u32> = asks
            .iter()
            .map(|ask| ring_row(ask.slot, ask.at - 1))
            .collect();
        let streams = be.read_rows(&self.streams, &be.ids(&last)?)?;
        let [n, hidden] = self.module.streams(streams.width());
        let mut streams = be.reshape(&streams, &[asks.len(), n, hidden])?;
        let after: Vec<u32> = asks.iter().map(|ask| ask.after).collect();
        let mut next = be.ids(&after)?;
        let mut drafts = Vec::with_capacity(count);
        let mut lists = BatchLists::default();
        for index in 0..count as u32 {
            let part = |ask: &Ask| (ask.slot, ask.at - 1 + index, 1);
            let parts: Vec<_> = asks.iter().map(part).collect();
            (streams, lists) = self.run(shared, &streams, &parts, next, memory, lists)?;
            let logits = self.module.logits(be, &streams, shared.output)?;
            next = be.top_k(&logits, 1)?;
            drafts.push(next.clone());
        }
        let mut fetched = Fetched::default();
        be.fetch(&[], &drafts, &mut fetched)?;
        let tokens = |ask: usize| fetched.lists().map(|ids| ids[ask]).collect();
        Ok((0..asks.len()).map(tokens).collect())
    }

    /// The logits of all positions of a fresh sequence but the last, given the backbone's streams.
    pub(crate) fn logits_of(
        &self,
        shared: &Shared<'_, B>,
        streams: &B::Tensor,
        (slot, tokens): (usize, &[TokenId]),
        memory: &mut Memory<B>,
    ) -> Result<HostTensor> {
        let (be, count) = (shared.be, tokens.len() - 1);
        let streams = be.narrow(streams, 0, 0, count)?;
        let next = be.ids(&tokens[1..])?;
        let (parts, lists) = ([(slot, 0, count)], BatchLists::default());
        let (own, _) = self.run(shared, &streams, &parts, next, memory, lists)?;
        Ok(be.download(&self.module.logits(be, &own, shared.output)?)?)
    }
}

fn dims<T: DeviceTensor>(streams: &T) -> [usize; 3] {
    streams
        .shape()
        .try_into()
        .expect("streams are [tokens, streams, hidden]")
}
