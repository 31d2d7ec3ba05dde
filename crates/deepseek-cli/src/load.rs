//! A checkpoint's folder, and the way from there to a model at work.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow};
use deepseek_core::Numerics;
use deepseek_core::weights::{Checkpoint, Shard};
use deepseek_model::limits::CONFIG_BYTES_MAX;
use deepseek_model::{Budget, Config, Decoder, Extras, Plan, PlanError, Prefill};
use deepseek_text::Tokenizer;
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{Level, Model};
use crate::device;
use crate::fault::{FOLDER, Fault, Result};
use crate::input;
use crate::interrupt::Interrupt;

/// Tokens that are run at a time, unless asked otherwise: enough for every expert to be shared by
/// several, few enough to stop soon.
pub(crate) const STEP_TOKENS: usize = 512;

/// A checkpoint on disk.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let found = path
            .metadata()
            .with_context(|| path.display().to_string())
            .map_err(|error| Fault::input(error).hint(FOLDER))?;
        match found.is_dir() {
            true => Ok(Self {
                path: path.to_owned(),
            }),
            false => Err(Fault::input(anyhow!("{} is not a folder", path.display())).hint(FOLDER)),
        }
    }

    pub(crate) fn config(&self) -> Result<Config> {
        read_config(&self.path.join("config.json"))
    }

    /// The compressed ids of the tokenizer, where the model's n-gram memory is addressed by them.
    fn compressed_ids(&self, config: &Config) -> Result<Option<Vec<u32>>> {
        if config.engram.is_none() {
            return Ok(None);
        }
        let path = self.path.join("tokenizer.json");
        let bytes = input::file(&path, Tokenizer::FILE_BYTES_MAX as usize)?;
        Ok(Some(Tokenizer::engram_ids_of(&bytes)?))
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(Tokenizer::open(self.path.join("tokenizer.json"))?)
    }

    /// The weights, or nothing where the folder has none.
    pub(crate) fn weights(&self) -> Result<Option<Checkpoint>> {
        let some = ["model.safetensors.index.json", "model.safetensors"]
            .iter()
            .any(|name| self.path.join(name).exists());
        if some {
            self.checkpoint().map(Some)
        } else {
            Ok(None)
        }
    }

    pub(crate) fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(Checkpoint::open(&self.path)?)
    }
}

/// Reads a config, no further than one can reach.
pub(crate) fn read_config(path: &Path) -> Result<Config> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(CONFIG_BYTES_MAX as u64 + 1)
            .read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    };
    let bytes = read()
        .with_context(|| path.display().to_string())
        .map_err(|error| Fault::input(error).hint(FOLDER))?;
    let json = String::from_utf8(bytes)
        .map_err(|_| Fault::input(anyhow!("{} is not UTF-8 text", path.display())))?;
    Ok(Config::parse(&json)?)
}

/// What a model says of itself before its weights are loaded. The draft head, which is to propose
/// `drafts` tokens, takes no part where that is 0.
pub(crate) fn describe(folder: &Folder, drafts: u32) -> Result<(Config, Tokenizer)> {
    let config = folder.config()?;
    let tokenizer = folder.tokenizer()?;
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
    folder: &Folder,
    plan: Plan,
    interrupt: &Interrupt,
) -> Result<Box<dyn Decoder>> {
    let checkpoint = folder.checkpoint()?;
    let projector = args.audio_projector.as_ref().map(Shard::open).transpose()?;
    let extras = Extras {
        compressed: folder.compressed_ids(plan.config())?,
        projector: projector.as_ref().map(|file| file as _),
    };
    read_ahead(&checkpoint, interrupt)?;
    let threads = args.threads.map_or_else(cores, usize::from);
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
    }
}

/// What the level rounds.
fn numerics(level: Level) -> Numerics {
    match level {
        Level::Exact => Numerics::EXACT,
        Level::Cache => Numerics::CACHE,
        Level::Released => Numerics::RELEASED,
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
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
