//! The way from a model's files to a model at work.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;

use anyhow::anyhow;
use deepseek_core::Numerics;
use deepseek_core::weights::{Checkpoint, Shard};
use deepseek_model::bill::Weights;
use deepseek_model::{Budget, Config, Decoder, Extras, Plan, PlanError, Prefill};
use deepseek_text::Tokenizer;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{Level, Model};
use crate::device;
use crate::fault::{Fault, Result, note};
use crate::interrupt::Interrupt;
use crate::memory;
use crate::origin::Origin;

/// Tokens that are run at a time, unless asked otherwise: enough for every expert to be shared by
/// several, few enough to stop soon.
pub(crate) const STEP_TOKENS: usize = 512;

/// What a model says of itself before its weights are loaded. The draft head, which is to propose
/// `drafts` tokens, takes no part where that is 0.
pub(crate) fn describe(origin: &Origin, drafts: u32) -> Result<(Config, Tokenizer)> {
    let config = origin.config()?;
    let tokenizer = origin.tokenizer()?;
    if tokenizer.vocab_size() > config.vocab_size {
        let (ids, most) = (tokenizer.vocab_size(), config.vocab_size);
        let error = anyhow!("{ids} ids in tokenizer.json, {most} in config.json");
        return Err(Fault::input(error).hint("the two files are of different models"));
    }
    if drafts == 0 {
        return Ok((config.without_drafts(), tokenizer));
    }
    if config.mtp_layers == 0 && config.drafter.is_none() {
        let error = anyhow!("--draft {drafts}: the checkpoint has no draft head");
        return Err(Fault::input(error).hint("leave out --draft"));
    }
    Ok((config, tokenizer))
}

/// Lays out a model within `budget`.
pub(crate) fn plan(args: &Model, config: &Config, budget: Budget) -> Result<Plan> {
    Ok(Plan::new(config, numerics(args.numerics), budget)?)
}

/// Loads what `plan` describes, with progress on stderr where that is a terminal.
pub(crate) fn decoder(
    args: &Model,
    origin: &Origin,
    plan: Plan,
    interrupt: &Interrupt,
) -> Result<Box<dyn Decoder>> {
    let threads = threads(args);
    let widened = match args.device.widens() {
        true => Weights::of(plan.config(), plan.config().storage).widened_bytes(),
        false => 0,
    };
    memory::check(&plan, threads, widened)?;
    let checkpoint = origin.checkpoint()?;
    let projector = args.audio_projector.as_ref().map(Shard::open).transpose()?;
    let extras = Extras {
        compressed: origin.compressed_ids(plan.config())?,
        projector: projector.as_ref().map(|file| file as _),
    };
    read_ahead(&checkpoint, interrupt)?;
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
    decoder
}

/// All files that a model is read from.
pub(crate) fn files(args: &Model, origin: &Origin) -> Result<Vec<PathBuf>> {
    let mut files = origin.files()?;
    files.extend(args.audio_projector.clone());
    Ok(files)
}

/// Brings the files into memory, as far as it holds them, so that the first answer does not wait
/// for the disk.
fn read_ahead(checkpoint: &Checkpoint, interrupt: &Interrupt) -> Result<()> {
    let bar = bar("reading", "{bytes}/{total_bytes}, {bytes_per_sec}");
    // Of n-gram tables a token reads a few rows, so they stay where they are.
    let wanted = |name: &str| !name.contains(".engram.embed.");
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
        engram: args.engram_memory.map(|bytes| bytes.0),
        experts: None,
    }
}

/// What the level rounds.
fn numerics(level: Level) -> Numerics {
    match level {
        Level::Exact => Numerics::EXACT,
        Level::Cache => Numerics::CACHE,
        Level::Full => Numerics::FULL,
        Level::Released => Numerics::RELEASED,
    }
}

/// The threads that compute: as asked for, or one for each core that the process may use.
fn threads(args: &Model) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.map_or(cores, usize::from);
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
            error => Self::input(error),
        }
    }
}
