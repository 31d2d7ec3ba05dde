//! What each layer is, and what a sequence will cost, before anything is loaded.

use deepseek_attn::{
    AttentionConfig, Choice, Filter, Keys, Pooling, Producer, Role, RopeSet, Ropes, SourceConfig,
    SourceId,
};
use deepseek_core::operands::{HyperShape, Residency, ScoreRounding, WeightRounding};
use deepseek_core::rope::Rope;
use deepseek_core::{Fp4Scale, Numerics, Rounding, RowFormat};
use deepseek_moe::{MixtureShape, RouteBy};

use crate::block::{BlockPlan, BlockShape};
use crate::config::{Config, DsparkConfig, Family, SPARSE_RATIO, SharingConfig};
use crate::limits::REWIND_MAX;

/// Channels of a V4 row that share a scale (`docs/models/deepseek-v4.md` §5.2, item 2).
const V4_ROW_BLOCK: usize = 64;

/// The same for a row of a V4.1 window (`docs/models/deepseek-v41.md` §7.1, item 2).
const V41_WINDOW_BLOCK: usize = 32;

/// The same for a compressed row of V4.1 (item 3 there).
const V41_ENTRY_BLOCK: usize = 16;

/// Rows whose weights are rounded against one peak in V4.1 (item 5 there).
const V41_WEIGHT_CHUNK: usize = 64;

/// Channels of an index key that share a scale, in both.
const KEY_BLOCK: usize = 32;

/// What the memory is laid out for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Positions of the longest sequence.
    pub context: usize,
    /// Sequences at a time.
    pub sequences: usize,
    /// Tokens of one step, over all sequences.
    pub step_tokens: usize,
    /// How much of a prompt runs through the layers behind the last source.
    pub prefill: Prefill,
    /// Bytes of n-gram tables that may stay in memory; none leaves that to the system.
    pub engram: Option<u64>,
    /// Bytes of routed experts that may stay in memory, on devices that read them where they are
    /// stored; none leaves that to the system.
    pub experts: Option<u64>,
}

/// How much of a prompt runs through the layers that only read compressed rows
/// (`docs/models/deepseek-v41.md` §3.10). In V4 there are none, and both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefill {
    /// All of it: the reference.
    #[default]
    Full,
    /// As many of its last positions as the window holds: exact for a prompt that fits the window,
    /// else what the model was tuned for and its service runs, at less than half the work.
    Replay,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            context: 4096,
            sequences: 1,
            step_tokens: 512,
            prefill: Prefill::Full,
            engram: None,
            experts: None,
        }
    }
}

/// A part of a model that is taken out of work, so that what it carries shows in what is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ablation {
    /// The n-gram memory adds nothing to the streams.
    Engram,
    /// In place of each indexer's choice stand as many of the visible rows, sampled at random.
    Indexer {
        /// Where the draws begin.
        seed: u64,
    },
}

/// Why a model cannot be laid out as asked.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanError {
    /// A part of the budget is nothing.
    #[error("{what} is 0, want at least 1")]
    Zero {
        /// Which.
        what: &'static str,
    },
    /// The model was not made for sequences this long.
    #[error("context {context}, the model has {max} positions")]
    Context {
        /// The positions asked for.
        context: usize,
        /// The positions that it has.
        max: usize,
    },
    /// More rows of one kind than row numbers can address.
    #[error("{sequences} sequences of {rows} {what}, {} are addressable", u32::MAX)]
    Rows {
        /// What the rows are.
        what: &'static str,
        /// The sequences asked for.
        sequences: usize,
        /// The rows of one of them.
        rows: usize,
    },
}

/// A model, one line a layer, found to fit the numbers it was asked to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    config: Config,
    numerics: Numerics,
    budget: Budget,
    layers: Vec<BlockPlan>,
}

impl Plan {
    /// Lays out the model of `config`.
    ///
    /// # Errors
    /// A budget of nothing, beyond the model's positions, or beyond what rows can be numbered.
    pub fn new(
        config: &Config,
        numerics: impl Into<Numerics>,
        budget: Budget,
    ) -> Result<Self, PlanError> {
        let numerics = numerics.into();
        let Budget {
            context,
            sequences,
            step_tokens,
            ..
        } = budget;
        let parts = [
            ("context", context),
            ("sequences", sequences),
            ("tokens of a step", step_tokens),
        ];
        if let Some((what, _)) = parts.into_iter().find(|(_, value)| *value == 0) {
            return Err(PlanError::Zero { what });
        }
        if context > config.max_positions {
            return Err(PlanError::Context {
                context,
                max: config.max_positions,
            });
        }
        let ring = config
            .window
            .saturating_add(step_tokens)
            .saturating_add(REWIND_MAX as usize);
        let finest = config.ratios.iter().filter(|ratio| **ratio > 0).min();
        let entries = finest.map_or(0, |ratio| context.div_ceil(*ratio as usize));
        for (what, rows) in [("rows of a window", ring), ("compressed rows", entries)] {
            if sequences
                .checked_mul(rows)
                .is_none_or(|rows| u32::try_from(rows).is_err())
            {
                return Err(PlanError::Rows {
                    what,
                    sequences,
                    rows,
                });
            }
        }
        let layers = roles(config)
            .into_iter()
            .enumerate()
            .map(|(layer, role)| BlockPlan {
                role,
                route: match layer < config.experts.hash_layers {
                    true => RouteBy::Token,
                    false => RouteBy::Score {
                        media: config.family == Family::V41,
                    },
                },
                engram: config
                    .engram
                    .as_ref()
                    .and_then(|engram| engram.layers.iter().position(|own| *own == layer)),
                tap: config
                    .drafter
                    .as_ref()
                    .is_some_and(|drafter| drafter.taps.contains(&layer)),
            })
            .collect();
        Ok(Self {
            config: config.clone(),
            numerics,
            budget,
            layers,
        })
    }

    /// The same model with a part out of work. A model without that part is unchanged.
    #[must_use]
    pub fn without(mut self, part: Ablation) -> Self {
        for layer in &mut self.layers {
            match (part, layer.role.choice) {
                (Ablation::Engram, _) => layer.engram = None,
                (Ablation::Indexer { seed }, Choice::Fresh { k, .. }) => {
                    layer.role.choice = Choice::Random { k, seed };
                }
                (Ablation::Indexer { .. }, _) => {}
            }
        }
        self
    }

    /// The numbers of the model.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is rounded.
    #[must_use]
    pub fn numerics(&self) -> Numerics {
        self.numerics
    }

    /// The layers of the backbone.
    #[must_use]
    pub fn layers(&self) -> &[BlockPlan] {
        &self.layers
    }

    /// The layer inside the MTP module, if one takes part. It has nothing but a window and routes by
    /// score.
    #[must_use]
    pub fn mtp(&self) -> Option<BlockPlan> {
        (self.config.mtp_layers > 0).then_some(BlockPlan::draft(false))
    }

    /// The drafter's numbers and its layers' plan, if one takes part.
    #[must_use]
    pub fn dspark(&self) -> Option<(&DsparkConfig, BlockPlan)> {
        let drafter = self.config.drafter.as_ref()?;
        Some((drafter, BlockPlan::draft(true)))
    }

    /// Layers that draft modules have, each with a window of its own.
    #[must_use]
    pub fn draft_layers(&self) -> usize {
        match self.dspark() {
            Some((drafter, _)) => drafter.stages,
            None => usize::from(self.mtp().is_some()),
        }
    }

    /// The layer behind which nothing but the last positions of a prompt need run, if prompts are
    /// cut there.
    #[must_use]
    pub fn cut(&self) -> Option<usize> {
        match self.budget.prefill {
            Prefill::Full => None,
            Prefill::Replay => self.config.sharing.as_ref()?.kv_sources.last().copied(),
        }
    }

    /// Bytes of n-gram tables that may stay in memory.
    #[must_use]
    pub fn engram_resident(&self) -> Option<u64> {
        self.budget.engram
    }

    /// The layers whose compressed rows are kept, in order.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceConfig> {
        self.producers()
            .map(|(ratio, producer)| SourceConfig {
                ratio,
                pooling: producer.pooling,
                keys: producer.keys,
            })
            .collect()
    }

    /// How each source makes its rows, and how many tokens one stands for.
    fn producers(&self) -> impl Iterator<Item = (u32, Producer)> + '_ {
        self.layers
            .iter()
            .filter_map(|layer| Some((layer.role.ratio, layer.role.produces?)))
    }

    /// The numbers that shape every layer of the backbone.
    #[must_use]
    pub fn block_shape(&self) -> BlockShape {
        let Config {
            hidden_size,
            index,
            experts,
            hyper,
            norm_eps,
            family,
            ..
        } = self.config;
        let Numerics { bf16, .. } = self.numerics;
        let v4_row = Rounding::Fp8 {
            block: V4_ROW_BLOCK,
            tail: self.config.rope_dim,
        };
        let (window, entry, key, scores, weights) = match family {
            Family::V4 => {
                let block = KEY_BLOCK;
                let key = Rounding::HadamardFp4 { block, bf16 };
                let (scores, weights) = (ScoreRounding::ProductsAndSum, WeightRounding::OnePeak);
                (v4_row, v4_row, key, scores, weights)
            }
            Family::V41 => (
                Rounding::Fp8 {
                    block: V41_WINDOW_BLOCK,
                    tail: 0,
                },
                Rounding::Fp4 {
                    block: V41_ENTRY_BLOCK,
                    scale: Fp4Scale::E4m3,
                },
                Rounding::Fp4 {
                    block: KEY_BLOCK,
                    scale: Fp4Scale::E8m0,
                },
                ScoreRounding::Products,
                WeightRounding::Chunks(V41_WEIGHT_CHUNK),
            ),
        };
        BlockShape {
            attention: AttentionConfig {
                hidden: hidden_size,
                heads: self.config.heads,
                head_dim: self.config.head_dim,
                latent: self.config.q_lora_rank,
                groups: self.config.o_groups,
                group_latent: self.config.o_lora_rank,
                index_heads: index.heads,
                index_width: index.head_dim,
                norm_eps,
                head_norm: family == Family::V4,
                window_rounding: self.numerics.entries.then_some(window),
                entry_rounding: self.numerics.entries.then_some(entry),
                index_rounding: self.numerics.indexer.then_some(key),
                score_rounding: bf16.then_some(scores),
                weight_rounding: bf16.then_some(weights),
            },
            mixture: MixtureShape {
                hidden: hidden_size,
                inner: experts.inner,
                experts: experts.count,
                each: experts.each,
                scale: experts.scale,
                limit: experts.limit.unwrap_or(f32::INFINITY),
                vocabulary: self.config.vocab_size,
                residency: self.expert_residency(),
            },
            hyper: HyperShape {
                streams: hyper.streams,
                sinkhorn: hyper.sinkhorn,
                eps: hyper.eps,
                norm_eps,
            },
            single_pass: family == Family::V41,
        }
    }

    /// What a layer's experts may take of the memory that all may.
    fn expert_residency(&self) -> Residency {
        let layers = (self.layers.len() + self.draft_layers()).max(1) as u64;
        Residency {
            bytes: self.budget.experts.map(|bytes| bytes / layers),
        }
    }

    /// The same for the layers of a DSpark drafter.
    #[must_use]
    pub fn dspark_shape(&self, drafter: &DsparkConfig) -> BlockShape {
        let shape = self.block_shape();
        BlockShape {
            mixture: MixtureShape {
                experts: drafter.experts,
                each: drafter.each,
                ..shape.mixture
            },
            ..shape
        }
    }

    /// Both sets of rotary frequencies.
    #[must_use]
    pub fn ropes(&self) -> Ropes {
        let (width, rope) = (self.config.rope_dim, self.config.rope);
        Ropes {
            window: Rope::new(width, rope.theta, None),
            compressed: Rope::new(width, rope.compress_theta, rope.yarn),
        }
    }

    /// How the rows of windows are kept: packed where they are rounded so, else as wide as
    /// activations are.
    #[must_use]
    pub fn window_format(&self) -> RowFormat {
        if !self.numerics.entries {
            return self.float_format();
        }
        let tail_bytes = if self.numerics.bf16 { 2 } else { 4 };
        match self.config.family {
            Family::V4 => RowFormat::Fp8 {
                block: V4_ROW_BLOCK,
                tail: self.config.rope_dim,
                tail_bytes,
            },
            Family::V41 => RowFormat::Fp8 {
                block: V41_WINDOW_BLOCK,
                tail: 0,
                tail_bytes,
            },
        }
    }

    /// How compressed rows are kept.
    #[must_use]
    pub fn entry_format(&self) -> RowFormat {
        match self.config.family {
            Family::V41 if self.numerics.entries => RowFormat::Fp4 {
                block: V41_ENTRY_BLOCK,
                scale: Fp4Scale::E4m3,
            },
            Family::V4 | Family::V41 => self.window_format(),
        }
    }

    /// How the indexers' keys are kept.
    #[must_use]
    pub fn key_format(&self) -> RowFormat {
        match self.numerics.indexer {
            true => RowFormat::Fp4 {
                block: KEY_BLOCK,
                scale: Fp4Scale::E8m0,
            },
            false => self.float_format(),
        }
    }

    fn float_format(&self) -> RowFormat {
        if self.numerics.bf16 {
            RowFormat::Bf16
        } else {
            RowFormat::F32
        }
    }

    /// Rows of a window's ring: the window itself, a step that is written before it is read, and
    /// what may be taken back.
    #[must_use]
    pub fn ring_rows(&self) -> usize {
        self.config.window + self.budget.step_tokens + REWIND_MAX as usize
    }

    /// Compressed rows of the longest sequence where one stands for `ratio` tokens.
    ///
    /// # Panics
    /// If the ratio is 0.
    #[must_use]
    pub fn rows(&self, ratio: u32) -> usize {
        self.budget.context.div_ceil(ratio as usize)
    }

    /// Positions of the longest sequence.
    #[must_use]
    pub fn context(&self) -> usize {
        self.budget.context
    }

    /// Sequences at a time.
    #[must_use]
    pub fn sequences(&self) -> usize {
        self.budget.sequences
    }

    /// Tokens of one step.
    #[must_use]
    pub fn step_tokens(&self) -> usize {
        self.budget.step_tokens
    }

    /// What one sequence remembers.
    #[must_use]
    pub fn sequence(&self) -> SequenceMemory {
        let Config {
            head_dim,
            index,
            hidden_size,
            hyper,
            window,
            ..
        } = self.config;
        let rewind = REWIND_MAX as usize;
        let entry = self.entry_format().row_bytes(head_dim);
        let key = self.key_format().row_bytes(index.head_dim);
        let ring = self.ring_rows() * self.window_format().row_bytes(head_dim);
        let streams = hyper.streams * hidden_size * 4;
        // Values and scores of the tokens in unfinished groups, 32-bit floats, twice as many of
        // either where groups overlap.
        let tail = |ratio: usize, width: usize, pooling: Pooling| match pooling {
            Pooling::Each => 0,
            Pooling::Gated { overlap: true, .. } => (2 * ratio + rewind) * 2 * 2 * width * 4,
            Pooling::Gated { overlap: false, .. } => (ratio + rewind) * 2 * width * 4,
        };
        let mut memory = SequenceMemory {
            windows: (self.layers.len() * ring) as u64,
            tails: 0,
            drafts: match self.mtp() {
                Some(_) => (ring + (rewind + 1) * streams) as u64,
                None => (self.draft_layers() * ring) as u64,
            },
            replay: match self.cut() {
                None => 0,
                Some(_) => ((window + rewind) * (streams + hyper.streams * 4)) as u64,
            },
            sources: Vec::new(),
        };
        for (ratio, producer) in self.producers() {
            let keyed = producer.keys != Keys::None;
            let keys = if keyed { key } else { 0 };
            memory.sources.push((ratio, (entry + keys) as u64));
            memory.tails += tail(ratio as usize, head_dim, producer.pooling) as u64;
            if producer.keys == Keys::Compressed {
                memory.tails += tail(ratio as usize, index.head_dim, producer.pooling) as u64;
            }
        }
        memory
    }

    /// Bytes that all sequences need at full length.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.sequence().at(self.budget.context) * self.budget.sequences as u64
    }
}

/// What each layer has to do with compressed rows.
pub(crate) fn roles(config: &Config) -> Vec<Role> {
    match &config.sharing {
        None => own_roles(config),
        Some(sharing) => shared_roles(config, sharing),
    }
}

/// What each layer has to do with compressed rows where it keeps its own (V4).
fn own_roles(config: &Config) -> Vec<Role> {
    let mut sources = 0..;
    let role = |ratio: &u32| {
        if *ratio == 0 {
            return Role::WINDOW;
        }
        let sparse = *ratio == SPARSE_RATIO;
        Role {
            source: sources.next().map(SourceId),
            ratio: *ratio,
            produces: Some(Producer {
                pooling: Pooling::Gated {
                    bias: true,
                    overlap: sparse,
                },
                keys: if sparse { Keys::Compressed } else { Keys::None },
            }),
            choice: match sparse {
                true => Choice::Fresh {
                    k: config.index.topk,
                    filter: Filter::Open,
                },
                false => Choice::All,
            },
            rope: RopeSet::Compressed,
        }
    };
    config.ratios.iter().map(role).collect()
}

/// The same where layers share rows and choices (V4.1).
fn shared_roles(config: &Config, sharing: &SharingConfig) -> Vec<Role> {
    let role = |(layer, ratio): (usize, &u32)| {
        let source = sharing.kv_sources.iter().rposition(|own| *own <= layer);
        let (Some(source), 1..) = (source, *ratio) else {
            return Role::WINDOW;
        };
        let filter = match sharing.candidates {
            Some((first, blocks)) if first == layer => Filter::Keep(blocks),
            Some((first, _)) if first < layer => Filter::Use,
            Some(_) | None => Filter::Open,
        };
        Role {
            source: Some(SourceId(source)),
            ratio: *ratio,
            produces: sharing.kv_sources.contains(&layer).then_some(Producer {
                pooling: match ratio {
                    1 => Pooling::Each,
                    _ => Pooling::Gated {
                        bias: false,
                        overlap: false,
                    },
                },
                keys: Keys::Projected,
            }),
            choice: match sharing.index_sources.contains(&layer) {
                true => Choice::Fresh {
                    k: config.index.topk,
                    filter,
                },
                false => Choice::Carried,
            },
            rope: RopeSet::Compressed,
        }
    };
    config.ratios.iter().enumerate().map(role).collect()
}

/// Bytes of what one sequence remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceMemory {
    /// The windows' rings of the backbone.
    pub windows: u64,
    /// The compressors' unfinished groups, at their largest.
    pub tails: u64,
    /// The draft head's rings and the streams kept for it.
    pub drafts: u64,
    /// Streams of a prompt's last positions, kept for the layers that run once it is whole.
    pub replay: u64,
    /// The ratio of each source, and the bytes of one of its rows with its key.
    sources: Vec<(u32, u64)>,
}

impl SequenceMemory {
    /// Bytes that do not grow with the sequence.
    #[must_use]
    pub fn fixed(&self) -> u64 {
        self.windows + self.tails + self.drafts + self.replay
    }

    /// Bytes of the compressed rows of `context` positions.
    #[must_use]
    pub fn rows(&self, context: usize) -> u64 {
        self.sources
            .iter()
            .map(|(ratio, row)| (context as u64).div_ceil(u64::from(*ratio)) * row)
            .sum()
    }

    /// Bytes of a sequence of `context` positions.
    #[must_use]
    pub fn at(&self, context: usize) -> u64 {
        self.fixed() + self.rows(context)
    }

    /// Bytes by which a position lets a sequence grow, on average.
    #[must_use]
    pub fn per_token(&self) -> f64 {
        self.sources
            .iter()
            .map(|(ratio, row)| *row as f64 / f64::from(*ratio))
            .sum()
    }
}
