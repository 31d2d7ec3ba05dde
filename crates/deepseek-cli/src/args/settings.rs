//! Defaults of one's own: from the environment, or from one file in the user's folder for configuration.
//!
//! A setting is a flag, by its long name. What is typed counts before the environment, that before the file,
//! and the file before what is built in.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Arg, Args};
use deepseek_core::file;
use toml_edit::{Document, Item, Value};

use super::environment::{settings_file, variable};
use super::{Chat, Line, Run};
use crate::fault::{Fault, Result};
use crate::limits::SETTINGS_BYTES_MAX;

/// The flags that may be set, and for which commands: all that have the flag where none is named. How
/// answers are made is set for those who read them: what is measured is to depend on what is typed.
const SETTINGS: [(&str, &[&str]); 17] = [
    ("model", &[]),
    ("device", DEVICES),
    ("threads", &[]),
    ("expert-memory", &[]),
    ("engram-memory", &[]),
    ("context", &["run", "chat", "doctor"]),
    ("max-tokens", ANSWERS),
    ("numerics", ANSWERS),
    ("effort", ANSWERS),
    ("draft", ANSWERS),
    ("temperature", ANSWERS),
    ("top-p", ANSWERS),
    ("top-k", ANSWERS),
    ("min-p", ANSWERS),
    ("seed", ANSWERS),
    ("session-cache", &[]),
    ("log", &[]),
];
const ANSWERS: &[&str] = &["run", "chat"];
/// Those that compute: what a plan is made for is not where it is run.
const DEVICES: &[&str] = &["run", "chat", "logits", "eval", "bench", "doctor"];

/// What is set.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The file, be it there or not.
    pub(crate) file: Option<PathBuf>,
    /// Whether it is there.
    pub(crate) has_file: bool,
    /// All that may be set, in the order in which they are shown.
    pub(crate) all: Vec<Setting>,
}

/// What may be set.
#[derive(Debug)]
pub(crate) struct Setting {
    /// The flag.
    pub(crate) name: &'static str,
    /// The commands for which it counts; all where there is none.
    commands: &'static [&'static str],
    /// Its value and where that comes from, if it is set.
    pub(crate) set: Option<(OsString, Origin)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Environment,
    File,
}

impl Setting {
    /// The variable of the environment that sets it.
    pub(crate) fn variable(&self) -> String {
        format!("DEEPSEEK_{}", self.name.replace('-', "_").to_uppercase())
    }
}

impl Settings {
    /// Reads the environment and the file.
    ///
    /// # Errors
    /// A file that cannot be read or does not hold, and a value that the flag does not take.
    pub(crate) fn read() -> Result<Self> {
        let file = settings_file();
        let stored = match &file {
            Some(path) => stored(path)?,
            None => None,
        };
        let mut settings = Self {
            has_file: stored.is_some(),
            file,
            all: Vec::new(),
        };
        let mut stored = stored.unwrap_or_default();
        for (name, commands) in SETTINGS {
            let mut setting = Setting {
                name,
                commands,
                set: None,
            };
            let at = stored.iter().position(|(key, _)| key == name);
            let of_file = at.map(|at| stored.swap_remove(at).1);
            setting.set = match (variable(&setting.variable()), of_file) {
                (Some(value), _) => Some((value, Origin::Environment)),
                (None, Some(value)) => Some((value.into(), Origin::File)),
                (None, None) => None,
            };
            settings.check(&setting)?;
            settings.all.push(setting);
        }
        match stored.first() {
            None => Ok(settings),
            Some((key, _)) => {
                let names = SETTINGS.map(|(name, _)| name).join(", ");
                let error = anyhow!("{}: {key:?} is no setting", settings.shown());
                Err(Fault::input(error).hint(format!("settings are {names}")))
            }
        }
    }

    /// Makes them the defaults of the flags.
    pub(crate) fn apply(&self, command: clap::Command) -> clap::Command {
        let command = command.mut_args(|arg| self.with_default(arg, ""));
        command.mut_subcommands(|command| {
            let name = command.get_name().to_owned();
            command.mut_args(|arg| self.with_default(arg, &name))
        })
    }

    fn with_default(&self, arg: Arg, command: &str) -> Arg {
        let meant = |setting: &&Setting| {
            let counts = setting.commands.is_empty() || setting.commands.contains(&command);
            counts && arg.get_long() == Some(setting.name)
        };
        let set = self.all.iter().find(meant);
        match set.and_then(|setting| setting.set.as_ref()) {
            Some((value, _)) => arg.default_value(value.clone()),
            None => arg,
        }
    }

    /// Whether the flag takes the value.
    fn check(&self, setting: &Setting) -> Result<()> {
        let Some((value, origin)) = &setting.set else {
            return Ok(());
        };
        let mut flag = OsString::from(format!("--{}=", setting.name));
        flag.push(value);
        let mut line = vec![OsString::from("deepseek"), flag];
        if setting.name == "log" {
            line.push("config".into());
        }
        let probe = match setting.name {
            "log" => <Line as clap::CommandFactory>::command(),
            "session-cache" => Chat::augment_args(clap::Command::new("deepseek")),
            _ => Run::augment_args(clap::Command::new("deepseek")),
        };
        let Err(error) = probe.try_get_matches_from(line) else {
            return Ok(());
        };
        let error = anyhow!(crate::misuse(&error.to_string()).to_string());
        Err(match origin {
            Origin::Environment => Fault::usage(error.context(setting.variable())),
            Origin::File => Fault::input(error.context(self.shown())),
        }
        .hint("deepseek config shows all settings"))
    }

    /// The name of the file.
    fn shown(&self) -> String {
        let path = self.file.as_deref().unwrap_or(Path::new(""));
        path.display().to_string()
    }
}

/// The keys of a file and their values as text; `None` where there is no such file.
fn stored(path: &Path) -> Result<Option<Vec<(String, String)>>> {
    let shown = || path.display().to_string();
    let bytes = match file::read(path, SETTINGS_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound && path.symlink_metadata().is_err() => {
            return Ok(None);
        }
        Err(error) => return Err(Fault::input(error).at(shown())),
    };
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("not UTF-8 text"));
    let text = text.with_context(shown).map_err(Fault::input)?;
    let document = Document::parse(text.as_str());
    let document = document.with_context(shown).map_err(Fault::input)?;
    let mut values = Vec::new();
    for (key, item) in document.iter() {
        let text = match item {
            Item::Value(Value::String(text)) => text.value().clone(),
            Item::Value(Value::Integer(number)) => number.value().to_string(),
            Item::Value(Value::Float(number)) => number.value().to_string(),
            _ => {
                let error = anyhow!("{}: {key}: want a text or a number", shown());
                return Err(Fault::input(error));
            }
        };
        values.push((key.to_owned(), text));
    }
    Ok(Some(values))
}
