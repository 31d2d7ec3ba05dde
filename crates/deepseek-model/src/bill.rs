//! What a model costs: bytes and parameters of its weights, arithmetic of a token.

use std::collections::BTreeMap;

use deepseek_core::weights::Dtype;

use crate::config::{Config, SPARSE_RATIO, Storage};
use crate::inventory::{Component, inventory};

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
    /// Parameters of the backbone, embedding and head included.
    pub backbone: u64,
    /// Parameters of the draft modules.
    pub mtp: u64,
    /// Parameters of the matrices of the backbone that one token is multiplied with, the head
    /// included.
    pub active: u64,
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
            mtp: 0,
            active: 0,
        };
        let mut routed = 0;
        for spec in inventory(config, storage) {
            let bytes = spec.bytes();
            weights.total.add(bytes);
            weights
                .components
                .entry(spec.component)
                .or_default()
                .add(bytes);
            weights.dtypes.entry(spec.dtype).or_default().add(bytes);
            match spec.component {
                Component::Mtp => weights.mtp += spec.parameters(),
                Component::RoutedExperts => routed += spec.parameters(),
                _ => {
                    weights.backbone += spec.parameters();
                    weights.active += if spec.is_matrix() {
                        spec.parameters()
                    } else {
                        0
                    };
                }
            }
        }
        weights.backbone += routed;
        weights.active += routed / config.experts.count as u64 * config.experts.each as u64;
        weights
    }
}

/// Floating-point operations of one decoded token, two for a multiplication with its addition
/// (spec `deepseek-v4.md` §7.1).
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
    /// A token after `context` others. `active` is [`Weights::active`].
    #[must_use]
    pub fn at(config: &Config, active: u64, context: usize) -> Self {
        let (mut rows, mut keys) = (0, 0);
        for ratio in &config.ratios {
            let made = context.checked_div(*ratio as usize).unwrap_or(0);
            let sparse = *ratio == SPARSE_RATIO;
            rows += config.window
                + if sparse {
                    made.min(config.index.topk)
                } else {
                    made
                };
            keys += if sparse { made } else { 0 };
        }
        Self {
            linear: 2 * active,
            core: 4 * (config.heads * config.head_dim) as u64 * rows as u64,
            // Each head multiplies a key, and its score enters the sum over heads.
            indexer: 2 * (config.index.heads * (config.index.head_dim + 1)) as u64 * keys as u64,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.linear + self.core + self.indexer
    }
}
