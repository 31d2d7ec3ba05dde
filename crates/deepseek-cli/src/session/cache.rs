//! The KV cache of a conversation that is kept, in a file beside it. Without it the prompt is run again, so
//! whatever is wrong with it is told and no more.

use std::fs;
use std::io::{BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use deepseek_chat::Session;
use deepseek_core::file;
use deepseek_engine::{RequestId, SavedPlace};
use deepseek_model::report::human;
use deepseek_model::saved::Binding;

use crate::interrupt::Interrupt;
use crate::output::{OutputError, Place};

/// How the names of the files end.
const ENDING: &str = "cache";

/// Where a KV cache is kept.
#[derive(Debug)]
pub(super) struct Cache {
    path: PathBuf,
    /// Bytes that it may have.
    most: u64,
    /// What decides its numbers.
    binding: Binding,
}

/// The file beside that of a conversation.
pub(super) fn path_of(conversation: &Path) -> PathBuf {
    conversation.with_extension(ENDING)
}

/// The bytes of the one beside a conversation, if there is one.
pub(super) fn bytes(conversation: &Path) -> Option<u64> {
    let found = fs::symlink_metadata(path_of(conversation)).ok()?;
    found.is_file().then_some(found.len())
}

/// Removes the one beside a conversation, if there is one.
pub(super) fn remove(conversation: &Path) -> anyhow::Result<()> {
    let path = path_of(conversation);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

impl Cache {
    pub(super) fn beside(conversation: &Path, most: u64, binding: Binding) -> Self {
        Self {
            path: path_of(conversation),
            most,
            binding,
        }
    }

    /// Has a model go on from what is kept, if anything is.
    pub(super) fn load(&self, model: &Session) -> anyhow::Result<()> {
        match self.read()? {
            Some(saved) => Ok(model.load(saved)?),
            None => Ok(()),
        }
    }

    fn read(&self) -> anyhow::Result<Option<SavedPlace>> {
        let file = match file::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let bytes = file.metadata()?.len();
        self.check(bytes)?;
        let mut input = BufReader::new(file);
        Ok(Some(SavedPlace::read(&mut input, bytes, &self.binding)?))
    }

    /// Keeps what an answer left, in place of what was kept before once it is whole. Gives the bytes of it.
    pub(super) fn keep(
        &self,
        model: &Session,
        request: RequestId,
        interrupt: &Interrupt,
    ) -> anyhow::Result<u64> {
        let saved = model.save(request)?;
        let bytes = u64::try_from(saved.bytes())?;
        self.check(bytes)?;
        let (mut output, _litter) = interrupt.open(Place::find(&self.path)?)?;
        let written = saved
            .write(&mut output, &self.binding)
            .and_then(|()| output.flush());
        written.map_err(|source| OutputError::Io {
            place: self.path.clone(),
            source,
        })?;
        output.finish()?;
        Ok(bytes)
    }

    /// Whether so many bytes may be kept.
    fn check(&self, bytes: u64) -> anyhow::Result<()> {
        let most = self.most;
        ensure!(
            bytes <= most,
            "it takes {}, more than --session-cache {}",
            human(bytes),
            human(most)
        );
        Ok(())
    }
}
