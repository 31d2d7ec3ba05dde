//! Conversations that are kept under a name, a file each with the KV cache beside it, and go on another day.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod cache;

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use bytesize::ByteSize;
use deepseek_chat::{Completion, ModelSource};
use deepseek_core::file;
use deepseek_model::limits::CONFIG_BYTES_MAX;
use deepseek_model::report::human;
use deepseek_text::{Conversation, Json};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tracing::info;

use self::cache::Cache;
use crate::answer::Opened;
use crate::args::{self, Sessions};
use crate::fault::{Fault, Result, note};
use crate::interrupt::Interrupt;
use crate::limits::{
    NAMED_TENSOR_BYTES_MAX, NAMED_TENSORS, SESSION_BYTES_MAX, SESSION_NAME_CHARS_MAX,
};
use crate::output::Place;
use crate::screen;

/// Bytes of a config.
#[allow(clippy::as_conversions, reason = "a bound of this program")]
const CONFIG_MAX: u64 = CONFIG_BYTES_MAX as u64;

/// How the names of the files end.
const ENDING: &str = "json";

/// A conversation that is kept.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    /// A number that other models do not have.
    model: String,
    /// What the user called the model.
    named: String,
    /// What stands in the file.
    kept: Conversation,
    /// Where the KV cache is kept, if it is.
    cache: Option<Cache>,
}

impl Session {
    /// Opens the conversation of this name, held with this model, or begins one.
    ///
    /// # Errors
    /// A name that no file can have, and a file that is of another model or does not hold.
    pub(crate) fn open(name: &str, source: &ModelSource, named: Option<&Path>) -> Result<Self> {
        let path = path_of(name)?;
        let named = named.map_or_else(
            || "the embedded model".to_owned(),
            |path| path.display().to_string(),
        );
        let model = fingerprint(source)?;
        let kept = match read(&path)? {
            None => Conversation::default(),
            Some(stored) if stored.model == model => stored.conversation,
            Some(stored) => {
                let error = anyhow!(
                    "session {name} was held with another model, {}",
                    stored.named
                );
                return Err(Fault::input(error)
                    .hint("name that one with --model, or another with --session"));
            }
        };
        Ok(Self {
            path,
            model,
            named,
            kept,
            cache: None,
        })
    }

    /// Keeps the KV cache, too, if it has no more bytes than `most`, and has the model go on from the one that
    /// is kept. What speaks against that is told; the prompt is then run again.
    pub(crate) fn keep_cache(&mut self, opened: &Opened, most: ByteSize) {
        if most.as_u64() == 0 {
            return;
        }
        let binding = match opened.binding() {
            Ok(binding) => binding,
            Err(fault) => {
                note(&format!("the KV cache of the session is not kept: {fault}"));
                return;
            }
        };
        let cache = Cache::beside(&self.path, most.as_u64(), binding);
        if !self.kept.messages.is_empty()
            && let Err(error) = cache.load(opened.session())
        {
            note(&format!(
                "the KV cache of the session is not used, its prompt is run again: {error:#}"
            ));
        }
        self.cache = Some(cache);
    }

    /// Keeps the KV cache that an answer left. Where that fails, no later one is.
    pub(crate) fn keep_answer(&mut self, opened: &Opened, said: &Completion, at: &Interrupt) {
        let Some(cache) = &self.cache else {
            return;
        };
        match cache.keep(opened.session(), said.request, at) {
            Ok(bytes) => info!(bytes, "kept the KV cache"),
            Err(error) => {
                note(&format!(
                    "the KV cache of the session is no longer kept, its prompt will be run again: {error:#}"
                ));
                self.cache = None;
            }
        }
    }

    /// What was said in it.
    pub(crate) fn conversation(&self) -> &Conversation {
        &self.kept
    }

    /// Keeps the conversation as it stands now.
    pub(crate) fn keep(&mut self, now: &Conversation, interrupt: &Interrupt) -> Result<()> {
        if *now == self.kept {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            let made = make_private(folder).with_context(|| folder.display().to_string());
            made.map_err(Fault::machine)?;
        }
        let stored = Json::object([
            ("model", Json::from(self.model.as_str())),
            ("named", Json::from(self.named.as_str())),
            ("messages", Json::list_of(now.to_json())),
        ]);
        let place = Place::find(&self.path)?;
        interrupt.write(place, format!("{stored}\n").as_bytes())?;
        self.kept = now.clone();
        Ok(())
    }
}

/// `deepseek sessions`: what is kept.
pub(crate) fn run(args: &Sessions) -> Result<()> {
    if let Some(name) = &args.remove {
        let path = path_of(name)?;
        let removed = fs::remove_file(&path).with_context(|| path.display().to_string());
        removed.map_err(Fault::input)?;
        return cache::remove(&path).map_err(Fault::machine);
    }
    let mut all = Vec::new();
    for path in args::sessions_folder().map(files).unwrap_or_default() {
        let name = path.file_stem().unwrap_or_default();
        all.push(Listed {
            name: name.to_string_lossy().into_owned(),
            cache: cache::bytes(&path),
            stored: read(&path),
        });
    }
    let mut out = screen::stdout();
    if args.json {
        let all: Vec<Value> = all.iter().map(to_json).collect();
        writeln!(out, "{:#}", Value::from(all))?;
        return Ok(());
    }
    for listed in all {
        let name = listed.name;
        match listed.stored {
            Ok(Some(stored)) => {
                let count = stored.conversation.messages.len();
                let cache = match listed.cache {
                    Some(bytes) => format!("{} of KV cache", human(bytes)),
                    None => "no KV cache".to_owned(),
                };
                writeln!(
                    out,
                    "{name:<24} {count:>5} messages  {cache:>19}  {}",
                    stored.named
                )?;
            }
            Ok(None) => {}
            Err(fault) => writeln!(out, "{name:<24} {fault}")?,
        }
    }
    Ok(())
}

/// A session that is listed.
#[derive(Debug)]
struct Listed {
    name: String,
    /// Bytes of its KV cache, if that is kept.
    cache: Option<u64>,
    stored: Result<Option<Stored>>,
}

fn to_json(listed: &Listed) -> Value {
    let name = &listed.name;
    match &listed.stored {
        Ok(Some(stored)) => json!({
            "name": name,
            "messages": stored.conversation.messages.len(),
            "model": stored.named,
            "cache_bytes": listed.cache,
        }),
        Ok(None) => json!({ "name": name }),
        Err(fault) => json!({ "name": name, "error": fault.to_string() }),
    }
}

/// The files of a folder that are sessions, by their names.
fn files(folder: PathBuf) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
    files.sort();
    files
}

/// What a file holds.
#[derive(Debug)]
struct Stored {
    model: String,
    named: String,
    conversation: Conversation,
}

/// Reads a file, if it is there.
fn read(path: &Path) -> Result<Option<Stored>> {
    let shown = || path.display().to_string();
    let bytes = match file::read(path, SESSION_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::input(error).at(shown())),
    };
    let parse = || {
        let text = String::from_utf8(bytes).map_err(|_| anyhow!("not UTF-8 text"))?;
        let members = Json::parse(&text)?.members().unwrap_or_default();
        let member = |name: &str| {
            let found = members.iter().find(|(key, _)| key == name);
            let found = found.map(|(_, value)| value);
            found.ok_or_else(|| anyhow!("{name} is missing"))
        };
        let string = |name: &str| -> anyhow::Result<String> {
            let value = member(name)?.string();
            value.ok_or_else(|| anyhow!("{name} is no text"))
        };
        anyhow::Ok(Stored {
            model: string("model")?,
            named: string("named")?,
            conversation: Conversation::parse(member("messages")?.as_str())?,
        })
    };
    parse().map(Some).with_context(shown).map_err(Fault::input)
}

/// The file of a session.
fn path_of(name: &str) -> Result<PathBuf> {
    let is_letter = |c: char| c.is_alphanumeric() || ['-', '_', '.'].contains(&c);
    let is_name = !name.is_empty()
        && name.chars().count() <= SESSION_NAME_CHARS_MAX
        && !name.starts_with('.')
        && name.chars().all(is_letter);
    if !is_name {
        let error = anyhow!("{name:?} is no name of a session");
        let hint =
            format!("want letters, digits, -, _ and ., {SESSION_NAME_CHARS_MAX} of them at most");
        return Err(Fault::usage(error).hint(hint));
    }
    match args::sessions_folder() {
        Some(folder) => Ok(folder.join(format!("{name}.{ENDING}"))),
        None => Err(Fault::machine(anyhow!(
            "the system names no folder for data"
        ))),
    }
}

/// Makes a folder that nobody else may look into.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// A name of a model by its content: its config, the size of its weights, and some small tensors of them.
fn fingerprint(source: &ModelSource) -> Result<String> {
    let mut hash = Sha256::new();
    match source {
        ModelSource::Folder(folder) => {
            let path = folder.join("config.json");
            let config = file::read(&path, CONFIG_MAX);
            let config = config.with_context(|| path.display().to_string());
            hash.update(config.map_err(Fault::input)?);
        }
        ModelSource::Carried(model) => hash.update(model.config),
    }
    let checkpoint = source.checkpoint()?;
    hash.update(checkpoint.bytes().to_le_bytes());
    let small = checkpoint.tensors().filter(|tensor| {
        let bytes: &[u8] = tensor.bytes();
        bytes.len() <= NAMED_TENSOR_BYTES_MAX
    });
    for tensor in small.take(NAMED_TENSORS) {
        hash.update(tensor.name());
        let bytes: &[u8] = tensor.bytes();
        hash.update(bytes);
    }
    let mut name = String::new();
    for byte in hash.finalize() {
        write!(name, "{byte:02x}").map_err(Fault::machine)?;
    }
    Ok(name)
}
