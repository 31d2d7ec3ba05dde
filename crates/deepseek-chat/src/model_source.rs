//! Where a model comes from: a folder, or bytes that a program carries.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use deepseek_core::weights::Checkpoint;
use deepseek_core::{Level, file};
use deepseek_model::limits::CONFIG_BYTES_MAX;
use deepseek_model::{Config, ConfigError, Family};
use deepseek_text::{Edition, Mode, Tokenizer};

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";

/// A model's files. Nothing is read before it is asked for.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// In a folder, as they were released.
    Folder(PathBuf),
    /// In a program.
    Carried(CarriedModel),
}

/// The files of a model that a program carries.
#[derive(Clone, Copy)]
pub struct CarriedModel {
    /// `config.json`.
    pub config: &'static str,
    /// `tokenizer.json`.
    pub tokenizer: &'static [u8],
    /// `model.safetensors`, in memory where a mapped file would lie: at a multiple of 64 bytes.
    pub weights: &'static [u8],
    /// How it answers.
    pub defaults: Defaults,
}

/// How a model answers unless it is asked otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Defaults {
    /// Whether it reasons first.
    pub mode: Mode,
    /// By what its logits are divided; 0 takes the most likely token.
    pub temperature: f32,
    /// What is rounded on the way.
    pub level: Level,
}

impl Default for Defaults {
    /// As released checkpoints are meant to be run: reasoning first, temperature 1, with the roundings
    /// of the released code.
    fn default() -> Self {
        Self {
            mode: Mode::Thinking,
            temperature: 1.0,
            level: Level::Released,
        }
    }
}

/// What a model says of itself before its weights are read.
#[derive(Debug)]
pub struct Description {
    /// Its shape.
    pub config: Config,
    /// Its vocabulary, which is no larger than the config's.
    pub tokenizer: Tokenizer,
}

/// Why a model's files are none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// What should be a folder cannot be looked at.
    #[error("{path}")]
    Folder {
        /// Its name.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// What should be a folder is none.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// Its name.
        path: String,
    },
    /// A file cannot be read.
    #[error("{path}")]
    File {
        /// Its name.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no text.
    #[error("{path} is not UTF-8 text")]
    NotText {
        /// Its name.
        path: String,
    },
    /// The config does not hold.
    #[error("{path}")]
    Config {
        /// Its name.
        path: String,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The tokenizer does not hold.
    #[error("{path}")]
    Tokenizer {
        /// Its name.
        path: String,
        /// What is wrong with it.
        source: deepseek_text::Error,
    },
    /// The tokenizer has ids that the model lacks.
    #[error("{folder}: {ids} ids in tokenizer.json, {vocabulary} in config.json")]
    Vocabulary {
        /// Where the two files lie.
        folder: String,
        /// Ids of the tokenizer.
        ids: usize,
        /// Ids of the model.
        vocabulary: usize,
    },
    /// Drafts are asked for, and there is nothing that makes any.
    #[error("the checkpoint has no draft head")]
    NoDraftHead,
    /// The weights cannot be read.
    #[error(transparent)]
    Weights(#[from] deepseek_core::Error),
}

impl ModelSource {
    /// The model in a folder.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, SourceError> {
        let folder = folder.as_ref();
        let path = || folder.display().to_string();
        let found = file::metadata(folder).map_err(|source| SourceError::Folder {
            path: path(),
            source,
        })?;
        if !found.is_dir() {
            return Err(SourceError::NotAFolder { path: path() });
        }
        Ok(Self::Folder(folder.to_owned()))
    }

    /// How the model answers unless it is asked otherwise.
    #[must_use]
    pub fn defaults(&self) -> Defaults {
        match self {
            Self::Folder(_) => Defaults::default(),
            Self::Carried(model) => model.defaults,
        }
    }

    /// What the model says of itself.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold, or two that do not fit together.
    pub fn describe(&self) -> Result<Description, SourceError> {
        let config = self.config()?;
        let tokenizer = self.tokenizer()?;
        let (ids, vocabulary) = (tokenizer.vocab_size(), config.vocab_size);
        if ids > vocabulary {
            let folder = self.name();
            return Err(SourceError::Vocabulary {
                folder,
                ids,
                vocabulary,
            });
        }
        Ok(Description { config, tokenizer })
    }

    /// Its config.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold.
    pub fn config(&self) -> Result<Config, SourceError> {
        match self {
            Self::Folder(path) => read_config(&path.join(CONFIG)),
            Self::Carried(model) => parse_config(CONFIG, model.config),
        }
    }

    /// Its tokenizer.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold.
    pub fn tokenizer(&self) -> Result<Tokenizer, SourceError> {
        Ok(match self {
            Self::Folder(path) => read_tokenizer(&path.join(TOKENIZER))?,
            Self::Carried(model) => parse_tokenizer(TOKENIZER, model.tokenizer)?,
        })
    }

    /// The bytes of its config.
    pub(crate) fn config_bytes(&self) -> Result<Cow<'static, [u8]>, SourceError> {
        match self {
            Self::Folder(path) => read(&path.join(CONFIG), CONFIG_BYTES_MAX as u64).map(Cow::Owned),
            Self::Carried(model) => Ok(Cow::Borrowed(model.config.as_bytes())),
        }
    }

    /// The bytes of its tokenizer.
    pub(crate) fn tokenizer_bytes(&self) -> Result<Cow<'static, [u8]>, SourceError> {
        match self {
            Self::Folder(path) => {
                read(&path.join(TOKENIZER), Tokenizer::FILE_BYTES_MAX).map(Cow::Owned)
            }
            Self::Carried(model) => Ok(Cow::Borrowed(model.tokenizer)),
        }
    }

    /// The compressed ids of the tokenizer, where the model's n-gram memory is addressed by them.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold.
    pub fn compressed_ids(&self, config: &Config) -> Result<Option<Vec<u32>>, SourceError> {
        if config.engram.is_none() {
            return Ok(None);
        }
        Ok(Some(match self {
            Self::Folder(path) => {
                let path = path.join(TOKENIZER);
                let json = read(&path, Tokenizer::FILE_BYTES_MAX)?;
                let path = path.display().to_string();
                Tokenizer::engram_ids_of(&json)
                    .map_err(|source| SourceError::Tokenizer { path, source })?
            }
            Self::Carried(model) => {
                let path = TOKENIZER.to_owned();
                Tokenizer::engram_ids_of(model.tokenizer)
                    .map_err(|source| SourceError::Tokenizer { path, source })?
            }
        }))
    }

    /// The weights, mapped and proven to lie in their files.
    ///
    /// # Errors
    /// Files that are missing, cut short or contradict each other.
    pub fn checkpoint(&self) -> Result<Checkpoint, SourceError> {
        Ok(match self {
            Self::Folder(path) => Checkpoint::open(path)?,
            Self::Carried(model) => Checkpoint::from_static(WEIGHTS, model.weights)?,
        })
    }

    /// The same, or nothing where a folder has no weights, though it may have their index.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub fn find_checkpoint(&self) -> Result<Option<Checkpoint>, SourceError> {
        let is_there = match self {
            Self::Folder(path) => Checkpoint::is_in(path)?,
            Self::Carried(_) => true,
        };
        is_there.then(|| self.checkpoint()).transpose()
    }

    /// What messages call it.
    fn name(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::Carried(_) => "the embedded model".to_owned(),
        }
    }

    /// The files that it is read from.
    ///
    /// # Errors
    /// An index of weights that does not hold.
    pub fn files(&self) -> Result<Vec<PathBuf>, SourceError> {
        let Self::Folder(path) = self else {
            return Ok(Vec::new());
        };
        let mut files = Checkpoint::files(path)?;
        files.extend([CONFIG, TOKENIZER].map(|name| path.join(name)));
        Ok(files)
    }
}

impl Description {
    /// The same model, whose draft head is to propose `drafts` tokens at once, and takes no part where
    /// that is 0.
    ///
    /// # Errors
    /// [`SourceError::NoDraftHead`].
    pub fn with_drafts(mut self, drafts: u32) -> Result<Self, SourceError> {
        if drafts == 0 {
            self.config = self.config.without_drafts();
        } else if self.config.mtp_layers == 0 && self.config.drafter.is_none() {
            return Err(SourceError::NoDraftHead);
        }
        Ok(self)
    }

    /// Which words the model knows. The refreshed checkpoints have other words for effort, and another
    /// drafter by which they are known (`docs/models/deepseek-v4.md` §1.4).
    #[must_use]
    pub fn edition(&self) -> Edition {
        match (self.config.family, self.config.dspark) {
            (Family::V41, _) => Edition::V41,
            (Family::V4, true) => Edition::Refreshed,
            (Family::V4, false) => Edition::First,
        }
    }
}

impl std::fmt::Debug for CarriedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CarriedModel")
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

/// Reads a `config.json` by its path.
///
/// # Errors
/// A file that cannot be read or does not hold.
pub fn read_config(path: &Path) -> Result<Config, SourceError> {
    let json = read(path, CONFIG_BYTES_MAX as u64)?;
    let json = String::from_utf8(json).map_err(|_| SourceError::NotText {
        path: path.display().to_string(),
    })?;
    parse_config(&path.display().to_string(), &json)
}

fn parse_config(path: &str, json: &str) -> Result<Config, SourceError> {
    Config::parse(json).map_err(|source| SourceError::Config {
        path: path.to_owned(),
        source,
    })
}

/// Reads a `tokenizer.json` by its path.
///
/// # Errors
/// A file that cannot be read or does not hold.
pub fn read_tokenizer(path: &Path) -> Result<Tokenizer, SourceError> {
    let json = read(path, Tokenizer::FILE_BYTES_MAX)?;
    parse_tokenizer(&path.display().to_string(), &json)
}

fn parse_tokenizer(path: &str, json: &[u8]) -> Result<Tokenizer, SourceError> {
    Tokenizer::parse(json).map_err(|source| SourceError::Tokenizer {
        path: path.to_owned(),
        source,
    })
}

impl SourceError {
    /// Whether it may be that something else than a model's folder was named.
    #[must_use]
    pub fn names_no_model(&self) -> bool {
        match self {
            Self::Folder { .. } | Self::NotAFolder { .. } => true,
            Self::File { source, .. } => source.kind() != ErrorKind::FileTooLarge,
            _ => false,
        }
    }
}

/// Reads a file of a model.
fn read(path: &Path, most: u64) -> Result<Vec<u8>, SourceError> {
    file::read(path, most).map_err(|source| SourceError::File {
        path: path.display().to_string(),
        source,
    })
}
