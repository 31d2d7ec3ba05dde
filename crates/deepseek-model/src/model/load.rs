//! From a checkpoint to a model on a device.

use std::ops::ControlFlow;

use deepseek_attn::{Memory, MemoryConfig};
use deepseek_core::weights::{Checkpoint, TensorSource, Tensors};
use deepseek_core::{Kernels, Loader};
use deepseek_engram::LayerConfig;

use super::replay::Replay;
use super::spare::Spare;
use super::{Model, Sequence};
use crate::block::{Block, Head, Output};
use crate::decoder::Life;
use crate::draft::Drafter;
use crate::encoders::Encoders;
use crate::error::{Error, Result};
use crate::limits::REWIND_MAX;
use crate::names::Renamed;
use crate::ngrams::Ngrams;
use crate::plan::Plan;

/// What a model is made of beside its checkpoint.
#[derive(Debug, Clone, Default)]
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

impl<B: Kernels> Model<B> {
    /// Loads the model that `plan` describes, or what the device has of it as one of several ranks. `progress` hears, before each layer, how many of how
    /// many are done, and may end the loading.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format; a device without room,
    /// or that does not serve the plan's numerics, or is one of another number of ranks;
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
        let parallel = plan.parallel();
        if be.world() != parallel.world() {
            return Err(Error::Ranks {
                plan: parallel,
                ranks: be.world(),
            });
        }
        let source = Renamed::new(checkpoint);
        let config = plan.config();
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let block = plan.block_config();
        let ropes = plan.ropes();
        let at = Loader {
            be: &be,
            tensors: Tensors::new(&source, config.fp8_tile),
            numerics: plan.numerics(),
            input_block: config.fp8_tile[1],
            shares: parallel.shares(be.rank()),
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
        let engram = config.engram.as_ref().map(|engram| LayerConfig {
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
            layers.push(Block::load(&at, *layer, index, &block, engram)?);
        }
        let first = layers.len();
        report(first)?;
        let drafter = Drafter::load(&at, &plan, first)?;
        let towers = (config.vision, config.audio);
        let projector = projector.map(Renamed::new);
        let projector = projector.as_ref().map(|file| file as _);
        let encoders = Encoders::load(&at, towers, (&source, checkpoint), projector)?;
        let head = Head::load(&at, &block)?;
        let embedding = at.embedding("embed.weight", [vocabulary, hidden])?;
        let output = Output::load(&at, vocabulary, hidden)?;
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
        let replay = match plan.cut() {
            None => None,
            Some(_) => Some(Replay::new(&be, &plan)?),
        };
        let sequences = vec![Sequence::default(); plan.sequences()];
        let begun = sequences.len() as u64;
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
            replay,
            memory,
            sequences,
            lives: (0..begun).map(Life).collect(),
            begun,
            spare: Spare::default(),
        })
    }
}
