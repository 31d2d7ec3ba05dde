//! What each layer is, and what a sequence will cost, before anything is loaded.

mod budget;
mod formats;
mod memory;
mod ranks;
mod roles;

use deepseek_attn::{AttentionConfig, Choice, Producer, Ropes, SourceConfig};
use deepseek_core::operands::{MixerConfig, Residency};
use deepseek_core::rope::Rope;
use deepseek_core::{Numerics, Parallel};
use deepseek_moe::{MixtureConfig, RouteBy};

pub use self::budget::{Budget, PlanError, Prefill};
use self::formats::{Packing, Release};
pub use self::memory::SequenceMemory;
pub(crate) use self::roles::roles;
use crate::block::{BlockConfig, BlockPlan};
use crate::config::{Config, DsparkConfig, Numbers};

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

/// A model, one line a layer, found to fit the numbers it was asked to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    config: Config,
    numerics: Numerics,
    budget: Budget,
    parallel: Parallel,
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
        budget.check(config)?;
        let media = Release::of(config.family).media_bias;
        let layers = roles(config)
            .into_iter()
            .enumerate()
            .map(|(layer, role)| BlockPlan {
                role,
                route: if layer < config.experts.hash_layers {
                    RouteBy::Token
                } else {
                    RouteBy::Score { media }
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
            numerics: numerics.into(),
            budget,
            parallel: Parallel::ALONE,
            layers,
        })
    }

    /// The same model, divided among ranks.
    ///
    /// # Errors
    /// Numbers of ranks that do not divide what they would divide, or each other.
    pub fn divided(self, parallel: Parallel) -> Result<Self, PlanError> {
        ranks::check(parallel, &self.config)?;
        Ok(Self { parallel, ..self })
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

    /// How it is divided among ranks.
    #[must_use]
    pub fn parallel(&self) -> Parallel {
        self.parallel
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

    /// Bytes of n-gram tables that may stay in a rank's memory.
    #[must_use]
    pub fn engram_resident(&self) -> Option<u64> {
        self.of_a_rank(self.budget.engram)
    }

    /// What a rank has of memory that all share.
    fn of_a_rank(&self, bytes: Option<u64>) -> Option<u64> {
        bytes.map(|bytes| bytes / self.parallel.world() as u64)
    }

    /// The layers whose compressed rows are kept, in order.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceConfig> {
        self.producers()
            .map(|(ratio, producer)| SourceConfig {
                ratio,
                compression: producer.compression,
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
    pub fn block_config(&self) -> BlockConfig {
        let Numbers {
            hidden_size,
            index,
            experts,
            hyper,
            norm_eps,
            ..
        } = *self.config;
        let (numerics, release) = (self.numerics, self.release());
        let rounding = |packing: &Packing| packing.rounding(&self.config, numerics);
        BlockConfig {
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
                head_norm: release.head_norm,
                window_rounding: numerics.entries.then(|| rounding(&release.window)),
                entry_rounding: numerics.entries.then(|| rounding(&release.entry)),
                index_rounding: numerics.indexer.then(|| rounding(&release.key)),
                score_rounding: numerics.bf16.then_some(release.scores),
                weight_rounding: numerics.bf16.then_some(release.weights),
            },
            mixture: MixtureConfig {
                hidden: hidden_size,
                inner: experts.inner,
                experts: experts.count,
                top_k: experts.top_k,
                scale: experts.scale,
                limit: experts.limit.unwrap_or(f32::INFINITY),
                vocabulary: self.config.vocab_size,
                residency: self.expert_residency(),
            },
            hyper: MixerConfig {
                streams: hyper.streams,
                sinkhorn: hyper.sinkhorn,
                eps: hyper.eps,
                norm_eps,
            },
            single_pass: release.single_pass,
        }
    }

    /// What a layer's experts may take of the memory that all may.
    fn expert_residency(&self) -> Residency {
        let layers = (self.layers.len() + self.draft_layers()).max(1) as u64;
        Residency {
            bytes: self
                .of_a_rank(self.budget.experts)
                .map(|bytes| bytes / layers),
        }
    }

    /// The same for the layers of a DSpark drafter.
    #[must_use]
    pub fn dspark_config(&self, drafter: &DsparkConfig) -> BlockConfig {
        let block = self.block_config();
        BlockConfig {
            mixture: MixtureConfig {
                experts: drafter.experts,
                top_k: drafter.top_k,
                ..block.mixture
            },
            ..block
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
}
