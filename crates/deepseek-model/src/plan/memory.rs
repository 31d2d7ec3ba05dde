//! What a sequence remembers, in rows and bytes.

use deepseek_attn::{Compression, Keys};

use super::Plan;
use crate::config::Numbers;
use crate::limits::REWIND_MAX;

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

impl Plan {
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

    /// What one sequence remembers.
    #[must_use]
    pub fn sequence(&self) -> SequenceMemory {
        let Numbers {
            head_dim,
            index,
            hidden_size,
            hyper,
            window,
            ..
        } = *self.config;
        let rewind = REWIND_MAX as usize;
        let entry = self.entry_format().row_bytes(head_dim);
        let key = self.key_format().row_bytes(index.head_dim);
        let ring = self.ring_rows() * self.window_format().row_bytes(head_dim);
        let streams = hyper.streams * hidden_size * 4;
        // Values and scores of the tokens in unfinished groups, 32-bit floats, twice as many of
        // either where groups overlap.
        let tail = |ratio: usize, width: usize, compression: Compression| match compression {
            Compression::Each => 0,
            Compression::Gated { overlap: true, .. } => (2 * ratio + rewind) * 2 * 2 * width * 4,
            Compression::Gated { overlap: false, .. } => (ratio + rewind) * 2 * width * 4,
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
            memory.tails += tail(ratio as usize, head_dim, producer.compression) as u64;
            if producer.keys == Keys::Compressed {
                memory.tails += tail(ratio as usize, index.head_dim, producer.compression) as u64;
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
