//! Where a model comes from: a folder that is named, or this program, which carries a small one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deepseek_core::file;
use deepseek_core::weights::Checkpoint;
use deepseek_model::Config;
use deepseek_model::limits::CONFIG_BYTES_MAX;
use deepseek_text::{Mode, Tokenizer};

use crate::fault::{FOLDER, Fault, Result};
use crate::input;

/// A model's files.
#[derive(Debug)]
pub(crate) enum Origin {
    /// In a folder, as they were released.
    Folder(PathBuf),
    /// In this program.
    Program,
}

/// How a model answers unless it is asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Habits {
    /// Whether it reasons first.
    pub(crate) mode: Mode,
    /// By what its logits are divided.
    pub(crate) temperature: f32,
}

impl Origin {
    /// The folder, if one is named.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self> {
        let Some(path) = folder else {
            return Ok(Self::Program);
        };
        let found = file::metadata(path)
            .with_context(|| path.display().to_string())
            .map_err(|error| Fault::input(error).hint(FOLDER))?;
        match found.is_dir() {
            true => Ok(Self::Folder(path.to_owned())),
            false => Err(Fault::input(anyhow!("{} is not a folder", path.display())).hint(FOLDER)),
        }
    }

    /// How the model answers unless it is asked otherwise. The one in this program was trained to
    /// answer at once where nothing has to be worked out, and knows one answer to a question.
    pub(crate) fn habits(&self) -> Habits {
        match self {
            Self::Folder(_) => Habits {
                mode: Mode::Thinking,
                temperature: 1.0,
            },
            Self::Program => Habits {
                mode: Mode::Chat,
                temperature: 0.0,
            },
        }
    }

    pub(crate) fn config(&self) -> Result<Config> {
        match self {
            Self::Folder(path) => read_config(&path.join(CONFIG)),
            Self::Program => Ok(Config::parse(deepseek_assets::CONFIG)?),
        }
    }

    pub(crate) fn tokenizer(&self) -> Result<Tokenizer> {
        Ok(match self {
            Self::Folder(path) => read_tokenizer(&path.join(TOKENIZER))?,
            Self::Program => Tokenizer::parse(deepseek_assets::TOKENIZER)?,
        })
    }

    /// The compressed ids of the tokenizer, where the model's n-gram memory is addressed by them.
    pub(crate) fn compressed_ids(&self, config: &Config) -> Result<Option<Vec<u32>>> {
        if config.engram.is_none() {
            return Ok(None);
        }
        let ids = match self {
            Self::Folder(path) => {
                let json = read(&path.join(TOKENIZER), Tokenizer::FILE_BYTES_MAX)?;
                Tokenizer::engram_ids_of(&json)?
            }
            Self::Program => Tokenizer::engram_ids_of(deepseek_assets::TOKENIZER)?,
        };
        Ok(Some(ids))
    }

    /// The weights, or nothing where a folder has none, though it may have their index.
    pub(crate) fn weights(&self) -> Result<Option<Checkpoint>> {
        let there = match self {
            Self::Folder(path) => Checkpoint::is_in(path)?,
            Self::Program => true,
        };
        there.then(|| self.checkpoint()).transpose()
    }

    /// The files that it is read from.
    pub(crate) fn files(&self) -> Result<Vec<PathBuf>> {
        let Self::Folder(path) = self else {
            return Ok(Vec::new());
        };
        let mut files = Checkpoint::files(path)?;
        files.extend([CONFIG, TOKENIZER].map(|name| path.join(name)));
        Ok(files)
    }

    pub(crate) fn checkpoint(&self) -> Result<Checkpoint> {
        Ok(match self {
            Self::Folder(path) => Checkpoint::open(path)?,
            Self::Program => Checkpoint::from_static(WEIGHTS, deepseek_assets::WEIGHTS)?,
        })
    }
}

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

/// Reads a config.
pub(crate) fn read_config(path: &Path) -> Result<Config> {
    let json = input::utf8(
        &path.display().to_string(),
        read(path, CONFIG_BYTES_MAX as u64)?,
    )?;
    Ok(Config::parse(&json)?)
}

/// Reads a tokenizer.
pub(crate) fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    Ok(Tokenizer::parse(&read(path, Tokenizer::FILE_BYTES_MAX)?)?)
}

/// Reads a file of a model.
fn read(path: &Path, most: u64) -> Result<Vec<u8>> {
    file::read(path, most).map_err(|error| {
        let too_large = error.kind() == ErrorKind::FileTooLarge;
        let fault = Fault::input(error).at(path.display().to_string());
        match too_large {
            true => fault,
            false => fault.hint(FOLDER),
        }
    })
}
