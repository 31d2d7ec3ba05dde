//! What a model is asked to serve, held against what it can.

use crate::config::Config;
use crate::limits::REWIND_MAX;

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
    /// As many ranks cannot divide a part of the model.
    #[error("{count} {what} cannot be divided among {ranks} ranks")]
    Ranks {
        /// What would be divided.
        what: &'static str,
        /// How many of it there are.
        count: usize,
        /// The ranks.
        ranks: usize,
    },
    /// Ranks that divide heads and ranks that divide experts are not the same.
    #[error("{tensor} ranks for heads and {expert} for experts, want one a multiple of the other")]
    Grid {
        /// Ranks for heads.
        tensor: usize,
        /// Ranks for experts.
        expert: usize,
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

impl Budget {
    /// Whether the model of `config` can be laid out so.
    pub(super) fn check(&self, config: &Config) -> Result<(), PlanError> {
        let Self {
            context,
            sequences,
            step_tokens,
            ..
        } = *self;
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
        Ok(())
    }
}
