//! What each layer is, and what a sequence will cost, before anything is loaded.

use deepseek_attn::{AttentionShape, Choice, Role, RopeSet, Ropes, SourceId};
use deepseek_core::kernels::HyperShape;
use deepseek_core::rope::Rope;
use deepseek_core::{Numerics, Rounding, RowFormat};
use deepseek_moe::{MixtureShape, RouteBy};

use crate::block::{BlockPlan, BlockShape};
use crate::config::{Config, SPARSE_RATIO};
use crate::limits::REWIND_MAX;

/// Channels of an entry that share a scale (spec `deepseek-v4.md` §5.2, item 2).
const ENTRY_BLOCK: usize = 64;

/// Channels of an index key that share a scale (item 3 there).
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
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            context: 4096,
            sequences: 1,
            step_tokens: 512,
        }
    }
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
    pub fn new(config: &Config, numerics: Numerics, budget: Budget) -> Result<Self, PlanError> {
        let Budget {
            context,
            sequences,
            step_tokens,
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
        let mut sources = 0..;
        let layers = config
            .ratios
            .iter()
            .enumerate()
            .map(|(layer, ratio)| BlockPlan {
                role: role(*ratio, config.index.topk, || {
                    SourceId(sources.next().expect("an open range does not end"))
                }),
                route: match layer < config.experts.hash_layers {
                    true => RouteBy::Token,
                    false => RouteBy::Score,
                },
            })
            .collect();
        Ok(Self {
            config: config.clone(),
            numerics,
            budget,
            layers,
        })
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

    /// The layer inside the draft module, if one takes part. It has nothing but a window and routes
    /// by score.
    #[must_use]
    pub fn mtp(&self) -> Option<BlockPlan> {
        (self.config.mtp_layers > 0).then_some(BlockPlan {
            role: Role::WINDOW,
            route: RouteBy::Score,
        })
    }

    /// Whether a draft module takes part.
    #[must_use]
    pub fn drafts(&self) -> bool {
        self.mtp().is_some()
    }

    /// The layers whose compressed rows are kept, in order: the ratio, and whether an indexer keeps
    /// keys.
    #[must_use]
    pub fn sources(&self) -> Vec<(u32, bool)> {
        self.layers
            .iter()
            .filter(|layer| layer.role.publishes)
            .map(|layer| (layer.role.ratio, layer.role.is_sparse()))
            .collect()
    }

    /// The numbers that shape every layer.
    #[must_use]
    pub fn block_shape(&self) -> BlockShape {
        let Config {
            hidden_size,
            index,
            experts,
            hyper,
            norm_eps,
            ..
        } = self.config;
        BlockShape {
            attention: AttentionShape {
                hidden: hidden_size,
                heads: self.config.heads,
                head_dim: self.config.head_dim,
                latent: self.config.q_lora_rank,
                groups: self.config.o_groups,
                group_latent: self.config.o_lora_rank,
                index_heads: index.heads,
                index_width: index.head_dim,
                norm_eps,
                entry_rounding: self.numerics.entries.then_some(Rounding::Fp8 {
                    block: ENTRY_BLOCK,
                    tail: self.config.rope_dim,
                }),
                index_rounding: self.numerics.indexer.then_some(Rounding::HadamardFp4 {
                    block: KEY_BLOCK,
                    bf16: self.numerics.bf16,
                }),
            },
            mixture: MixtureShape {
                hidden: hidden_size,
                inner: experts.inner,
                experts: experts.count,
                each: experts.each,
                scale: experts.scale,
                limit: experts.limit.unwrap_or(f32::INFINITY),
                vocabulary: self.config.vocab_size,
            },
            hyper: HyperShape {
                streams: hyper.streams,
                sinkhorn: hyper.sinkhorn,
                eps: hyper.eps,
                norm_eps,
            },
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

    /// How rows of keys and values are kept: packed where they are rounded so, else as wide as
    /// activations are.
    #[must_use]
    pub fn entry_format(&self) -> RowFormat {
        if !self.numerics.entries {
            return self.float_format();
        }
        let tail_bytes = if self.numerics.bf16 { 2 } else { 4 };
        RowFormat::Fp8 {
            block: ENTRY_BLOCK,
            tail: self.config.rope_dim,
            tail_bytes,
        }
    }

    /// How the indexers' keys are kept.
    #[must_use]
    pub fn key_format(&self) -> RowFormat {
        match self.numerics.indexer {
            true => RowFormat::Fp4 { block: KEY_BLOCK },
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
            ..
        } = self.config;
        let rewind = REWIND_MAX as usize;
        let entry = self.entry_format().row_bytes(head_dim);
        let key = self.key_format().row_bytes(index.head_dim);
        let ring = self.ring_rows() * entry;
        // Values and scores of the tokens in unfinished groups, 32-bit floats, twice as many of
        // either where groups overlap.
        let tail = |ratio: usize, width: usize, sparse: bool| match sparse {
            true => (2 * ratio + rewind) * 2 * 2 * width * 4,
            false => (ratio + rewind) * 2 * width * 4,
        };
        let mut memory = SequenceMemory {
            windows: (self.layers.len() * ring) as u64,
            tails: 0,
            drafts: match self.drafts() {
                false => 0,
                true => (ring + (rewind + 1) * hyper.streams * hidden_size * 4) as u64,
            },
            sources: Vec::new(),
        };
        for (ratio, sparse) in self.sources() {
            let keys = if sparse { key } else { 0 };
            memory.sources.push((ratio, (entry + keys) as u64));
            memory.tails += tail(ratio as usize, head_dim, sparse) as u64;
            if sparse {
                memory.tails += tail(ratio as usize, index.head_dim, sparse) as u64;
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

/// What a layer with this ratio has to do with compressed rows: in V4 each keeps its own.
fn role(ratio: u32, topk: usize, source: impl FnOnce() -> SourceId) -> Role {
    if ratio == 0 {
        return Role::WINDOW;
    }
    Role {
        source: Some(source()),
        ratio,
        publishes: true,
        choice: match ratio {
            SPARSE_RATIO => Choice::Fresh { k: topk },
            _ => Choice::All,
        },
        rope: RopeSet::Compressed,
    }
}

/// Bytes of what one sequence remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceMemory {
    /// The windows' rings of the backbone.
    pub windows: u64,
    /// The compressors' unfinished groups, at their largest.
    pub tails: u64,
    /// The draft head's ring and the streams kept for it.
    pub drafts: u64,
    /// The ratio of each source, and the bytes of one of its rows with its key.
    sources: Vec<(u32, u64)>,
}

impl SequenceMemory {
    /// Bytes that do not grow with the sequence.
    #[must_use]
    pub fn fixed(&self) -> u64 {
        self.windows + self.tails + self.drafts
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
