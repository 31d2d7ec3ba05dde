//! What a model costs: bytes and parameters of its weights, arithmetic of a token.

use std::collections::BTreeMap;

use deepseek_attn::{Choice, Filter};
use deepseek_core::weights::Dtype;

use crate::config::{Config, Family, Storage};
use crate::inventory::{Component, TensorSpec, inventory};
use crate::plan::{Plan, Prefill};

/// What a token is there for, which decides how much of the model it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The next one is asked for: all layers and the head.
    Decode,
    /// It is one of a prompt: no head, and with [`Prefill::Replay`] no layer behind the last source,
    /// of which it meets what makes rows. What the last positions of the prompt take once more, at
    /// its end, is not counted.
    Prefill(Prefill),
}

impl Phase {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 3] = [
        Self::Decode,
        Self::Prefill(Prefill::Full),
        Self::Prefill(Prefill::Replay),
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Prefill(Prefill::Full) => "prefill, full",
            Self::Prefill(Prefill::Replay) => "prefill, replay",
        }
    }

    /// The layer that a token meets no more than the making of rows of; none if it meets all.
    fn end(self, config: &Config) -> Option<usize> {
        match self {
            Self::Decode | Self::Prefill(Prefill::Full) => None,
            Self::Prefill(Prefill::Replay) => config.sharing.as_ref()?.kv_sources.last().copied(),
        }
    }

    /// Whether a token is multiplied with a matrix of the backbone, or of an expert that it is sent to.
    fn meets(self, config: &Config, spec: &TensorSpec) -> bool {
        let within = match (self.end(config), spec.layer) {
            (Some(end), Some(layer)) => layer < end || (layer == end && spec.makes_rows()),
            (None, _) | (_, None) => true,
        };
        within && (self == Self::Decode || spec.component != Component::Head)
    }
}

/// Tensors and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many tensors.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.tensors += 1;
        self.bytes += bytes;
    }
}

/// The weights of a model, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weights {
    /// All tensors.
    pub total: Tally,
    /// The parts of the model that have any.
    pub components: BTreeMap<Component, Tally>,
    /// The types that occur.
    pub dtypes: BTreeMap<Dtype, Tally>,
    /// Parameters of the backbone, embedding and head included, n-gram tables not.
    pub backbone: u64,
    /// Parameters of the n-gram tables.
    pub tables: u64,
    /// Parameters of the draft modules.
    pub mtp: u64,
    /// Parameters of the image tower, its aligner and its delimiters.
    pub vision: u64,
    /// Parameters of the audio tower, its aligner and its delimiters.
    pub audio: u64,
    /// Parameters of the matrices of the backbone that one token is multiplied with when the next is
    /// asked for, the head included.
    pub active: u64,
    /// Bytes of these matrices as they are stored, with their scales: what is read for the next token.
    pub active_bytes: u64,
    /// Parameters that a token of a prompt is multiplied with that runs through all layers.
    pub active_full: u64,
    /// The same for one that runs through the first layers alone.
    pub active_replay: u64,
    /// See [`Weights::widened_bytes`].
    widened: u64,
}

impl Weights {
    /// Counts the tensors of `config` as `storage` keeps them.
    #[must_use]
    pub fn of(config: &Config, storage: Storage) -> Self {
        let mut weights = Self {
            total: Tally::default(),
            components: BTreeMap::new(),
            dtypes: BTreeMap::new(),
            backbone: 0,
            tables: 0,
            mtp: 0,
            vision: 0,
            audio: 0,
            active: 0,
            active_bytes: 0,
            active_full: 0,
            active_replay: 0,
            widened: 0,
        };
        let (mut dense, mut routed) = ([0; 3], [0; 3]);
        let (mut dense_bytes, mut routed_bytes) = (0, 0);
        for spec in inventory(config, storage) {
            weights.add(&spec, storage);
            let met = match spec.component {
                Component::EngramTables
                | Component::Mtp
                | Component::Drafter
                | Component::Vision
                | Component::Aligner
                | Component::Delimiters
                | Component::Audio
                | Component::AudioAligner
                | Component::AudioDelimiters => continue,
                Component::RoutedExperts => (&mut routed, &mut routed_bytes),
                _ => (&mut dense, &mut dense_bytes),
            };
            let (met, bytes) = met;
            if (spec.is_matrix() || spec.is_scale()) && Phase::Decode.meets(config, &spec) {
                *bytes += spec.bytes();
            }
            for (met, phase) in met.iter_mut().zip(Phase::ALL) {
                if spec.is_matrix() && phase.meets(config, &spec) {
                    *met += spec.parameters();
                }
            }
        }
        let (count, top_k) = (config.experts.count as u64, config.experts.top_k as u64);
        let active = [0, 1, 2].map(|phase| dense[phase] + routed[phase] / count * top_k);
        [weights.active, weights.active_full, weights.active_replay] = active;
        weights.active_bytes = dense_bytes + routed_bytes / count * top_k;
        weights
    }

    /// Bytes of the weights, n-gram tables aside, as floats: what they take on a device that cannot
    /// multiply them as they are stored. Scales that are powers of two leave BF16, others 32-bit floats.
    #[must_use]
    pub fn widened_bytes(&self) -> u64 {
        self.widened
    }

    fn add(&mut self, spec: &TensorSpec, storage: Storage) {
        let bytes = spec.bytes();
        let is_short = match storage {
            Storage::Released | Storage::Bf16 => spec.dtype != Dtype::F32,
            Storage::Base | Storage::F32 | Storage::W8a8 | Storage::W4a8 => {
                spec.dtype == Dtype::Bf16
            }
        };
        if spec.component != Component::EngramTables {
            self.widened += spec.parameters() * if is_short { 2 } else { 4 };
        }
        self.total.add(bytes);
        self.components
            .entry(spec.component)
            .or_default()
            .add(bytes);
        self.dtypes.entry(spec.dtype).or_default().add(bytes);
        let part = match spec.component {
            Component::EngramTables => &mut self.tables,
            Component::Mtp | Component::Drafter => &mut self.mtp,
            Component::Vision | Component::Aligner | Component::Delimiters => &mut self.vision,
            Component::Audio | Component::AudioAligner | Component::AudioDelimiters => {
                &mut self.audio
            }
            _ => &mut self.backbone,
        };
        *part += spec.parameters();
    }

    /// Parameters of the matrices that one token is multiplied with.
    #[must_use]
    pub fn active_in(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Decode => self.active,
            Phase::Prefill(Prefill::Full) => self.active_full,
            Phase::Prefill(Prefill::Replay) => self.active_replay,
        }
    }
}

/// Bytes of the weights that a rank holds, n-gram tables aside, which stay on the host.
#[must_use]
pub fn bytes_on(plan: &Plan, rank: usize) -> u64 {
    let (config, shares) = (plan.config(), plan.parallel().shares(rank));
    inventory(config, config.storage)
        .filter(|spec| spec.component != Component::EngramTables)
        .map(|spec| spec.bytes_on(&shares))
        .sum()
}

/// Floating-point operations of one token, two for a multiplication with its addition
/// (`docs/models/deepseek-v4.md` §7.1, `docs/models/deepseek-v41.md` §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flops {
    /// Products with weights.
    pub linear: u64,
    /// Attention over the window and the chosen rows.
    pub core: u64,
    /// The indexers' scan of their keys.
    pub indexer: u64,
}

impl Flops {
    /// A token after `context` others.
    #[must_use]
    pub fn at(plan: &Plan, weights: &Weights, phase: Phase, context: usize) -> Self {
        let config = plan.config();
        let layers = phase.end(config).unwrap_or(config.layers);
        let sharing = config.sharing.as_ref();
        let candidates = sharing.and_then(|sharing| sharing.candidates);
        let candidates = candidates.map_or(usize::MAX, |(_, blocks)| blocks.size * blocks.keep);
        let (mut rows, mut keys) = (0, 0);
        for layer in &plan.layers()[..layers] {
            let made = context.checked_div(layer.role.ratio as usize).unwrap_or(0);
            rows += config.window
                + match layer.role.choice {
                    Choice::None => 0,
                    Choice::All => made,
                    Choice::Random { k, .. } => made.min(k),
                    Choice::Fresh { .. } | Choice::Carried => made.min(config.index.topk),
                };
            keys += match layer.role.choice {
                Choice::None | Choice::All | Choice::Random { .. } | Choice::Carried => 0,
                Choice::Fresh { filter, .. } => match filter {
                    Filter::Open | Filter::Keep(_) => made,
                    Filter::Use => made.min(candidates),
                },
            };
        }
        // Each head multiplies a key. That its score then enters the sum over heads, the published
        // figures of V4 count, and those of V4.1 do not.
        let key = match config.family {
            Family::V4 => config.index.head_dim + 1,
            Family::V41 => config.index.head_dim,
        };
        Self {
            linear: 2 * weights.active_in(phase),
            core: 4 * (config.heads * config.head_dim) as u64 * rows as u64,
            indexer: 2 * (config.index.heads * key) as u64 * keys as u64,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.linear + self.core + self.indexer
    }
}
