//! The way from a model's files to a model at work.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::anyhow;
use deepseek_chat::{CarriedModel, Defaults, Description, ModelSource, SourceError};
use deepseek_core::Level;
use deepseek_core::weights::{Checkpoint, Shard};
use deepseek_model::bill::Weights;
use deepseek_model::{Budget, Config, Decoder, Extras, Plan, PlanError, Prefill};
use deepseek_text::Mode;
use indicatif::{ProgressBar, ProgressStyle};
use tracing::{debug, info};

use crate::args::Model;
use crate::device::{self, DeviceName};
use crate::fault::{Fault, Result, note};
use crate::interrupt::Interrupt;
use crate::memory;
use crate::model_path;

/// Where the model lies that the user named, or else the one in this program.
pub(crate) fn source(named: Option<&Path>) -> Result<ModelSource> {
    let Some(named) = named else {
        debug!("the embedded model");
        return Ok(embedded());
    };
    let folder = model_path::resolve(named)?;
    debug!(model = %named.display(), folder = %folder.display(), "found");
    Ok(ModelSource::open(folder)?)
}

/// The model in this program. It was trained to answer at once where nothing has to be worked out, and
/// knows one answer to a question.
fn embedded() -> ModelSource {
    ModelSource::Carried(CarriedModel {
        config: deepseek_assets::CONFIG,
        tokenizer: deepseek_assets::TOKENIZER,
        weights: deepseek_assets::WEIGHTS,
        defaults: Defaults {
            mode: Mode::Chat,
            temperature: 0.0,
            level: Level::Exact,
        },
    })
}

/// What a model says of itself before its weights are loaded. The draft head, which is to propose
/// `drafts` tokens, takes no part where that is 0.
pub(crate) fn describe(source: &ModelSource, drafts: u32) -> Result<Description> {
    let description = source.describe()?.with_drafts(drafts);
    description.map_err(|error| match error {
        SourceError::NoDraftHead => {
            let error = anyhow!("--draft {drafts}: {error}");
            Fault::input(error).hint("leave out --draft")
        }
        error => error.into(),
    })
}

/// Lays out a model within `budget`, rounded as was asked or else as `level` says.
pub(crate) fn plan(args: &Model, level: Level, config: &Config, budget: Budget) -> Result<Plan> {
    let level = args.numerics.map_or(level, Level::from);
    let plan = Plan::new(config, level, budget)?.divided(args.ranks.parallel())?;
    let memory = plan.memory_bytes();
    info!(numerics = level.name(), memory_bytes = memory, "laid out");
    Ok(plan)
}

/// Loads what `plan` describes, with progress on stderr where that is a terminal.
pub(crate) fn decoder(
    args: &Model,
    threads: usize,
    source: &ModelSource,
    plan: Plan,
    interrupt: &Interrupt,
) -> Result<Box<dyn Decoder>> {
    check_memory(args.device, threads, &plan)?;
    let began = Instant::now();
    let checkpoint = source.checkpoint()?;
    debug!(
        files = checkpoint.shards().len(),
        tensors = checkpoint.len(),
        bytes = checkpoint.bytes(),
        "mapped"
    );
    let projector = args.audio_projector.as_ref().map(Shard::open).transpose()?;
    let extras = Extras {
        compressed: source.compressed_ids(plan.config())?,
        projector: projector.as_ref().map(|file| file as _),
    };
    read_ahead(&checkpoint, args.expert_memory.is_none(), interrupt)?;
    let bar = bar("loading", "{pos}/{len} layers");
    let mut progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
        interrupt.poll()
    };
    let decoder = device::load(
        args.device,
        threads,
        plan,
        &checkpoint,
        extras,
        &mut progress,
    );
    bar.finish_and_clear();
    let decoder = decoder?;
    let capacity = decoder.capacity();
    info!(
        device = %args.devices().marked(),
        threads,
        context = capacity.context,
        seconds = began.elapsed().as_secs_f64(),
        "loaded"
    );
    Ok(decoder)
}

/// Whether there is memory for what `plan` describes, as far as it is more than a view of the files.
pub(crate) fn check_memory(device: DeviceName, threads: usize, plan: &Plan) -> Result<()> {
    let widened = if device.widens() {
        Weights::of(plan.config(), plan.config().storage).widened_bytes()
    } else {
        0
    };
    memory::check(plan, threads, widened)
}

/// All files that a model is read from.
pub(crate) fn files(args: &Model, source: &ModelSource) -> Result<Vec<PathBuf>> {
    let mut files = source.files()?;
    files.extend(args.audio_projector.clone());
    Ok(files)
}

/// Brings the files into memory, as far as it holds them, so that the first answer does not wait
/// for the disk; routed experts if `experts` says so.
fn read_ahead(checkpoint: &Checkpoint, experts: bool, interrupt: &Interrupt) -> Result<()> {
    let bar = bar("reading", "{bytes}/{total_bytes}, {bytes_per_sec}");
    // Of n-gram tables a token reads a few rows, so they stay where they are.
    let wanted =
        |name: &str| !name.contains(".engram.embed.") && (experts || !name.contains(".experts."));
    let flow = checkpoint.warm(&wanted, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        interrupt.poll()
    });
    bar.finish_and_clear();
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Fault::interrupted()),
    }
}

/// A progress bar on stderr; nothing where that is no terminal.
pub(crate) fn bar(what: &'static str, figures: &str) -> ProgressBar {
    let template = format!("{{msg}} {{bar:40}} {figures}");
    let style =
        ProgressStyle::with_template(&template).expect("the templates stand in this program");
    ProgressBar::new(1).with_style(style).with_message(what)
}

/// What the memory is laid out for, as asked.
pub(crate) fn budget(args: &Model, context: usize, step_tokens: usize, prefill: Prefill) -> Budget {
    Budget {
        context,
        sequences: 1,
        step_tokens,
        prefill: args.prefill.map_or(prefill, Prefill::from),
        engram: args.engram_memory.map(|size| size.as_u64()),
        experts: args.expert_memory.map(|size| size.as_u64()),
    }
}

/// The threads that compute: as asked for, or one for each core that the process may use.
pub(crate) fn threads(asked: Option<u16>) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = asked.map_or(cores, usize::from);
    if threads > cores {
        note(&format!(
            "--threads {threads} on {cores} cores is slower than --threads {cores}"
        ));
    }
    threads
}

impl From<PlanError> for Fault {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Context { max, .. } => {
                Self::input(error).hint(format!("the model takes --context {max} at most"))
            }
            PlanError::Ranks { .. } | PlanError::Grid { .. } => Self::input(error)
                .hint("other numbers for --tensor-parallel-size and --expert-parallel-size"),
            error => Self::input(error),
        }
    }
}
