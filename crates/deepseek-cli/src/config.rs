//! `deepseek config`: what is set, and where.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;

use clap::{Args, CommandFactory};
use serde_json::{Value, json};

use crate::args::{self, Chat, Line, Origin, Run, Setting, Settings, ShowConfig};
use crate::fault::Result;
use crate::screen;

pub(crate) fn run(args: &ShowConfig, settings: &Settings) -> Result<()> {
    let mut out = screen::stdout();
    let file = settings.file.as_deref().map(shown);
    let [hub, history] = [args::hub_cache(), args::history_file()];
    let [hub, history] = [&hub, &history].map(|path| path.as_deref().map(shown));
    if args.json {
        let all: Vec<Value> = settings.all.iter().map(to_json).collect();
        let value = json!({
            "file": file,
            "file_is_there": settings.has_file,
            "hub_cache": hub,
            "history": history,
            "settings": all,
        });
        writeln!(out, "{value:#}")?;
        return Ok(());
    }
    let none = "none";
    let there = match (&file, settings.has_file) {
        (Some(_), false) => ", which is not there",
        _ => "",
    };
    writeln!(
        out,
        "{:<14} {}{there}",
        "config file",
        file.as_deref().unwrap_or(none)
    )?;
    writeln!(
        out,
        "{:<14} {}",
        "hub cache",
        hub.as_deref().unwrap_or(none)
    )?;
    writeln!(
        out,
        "{:<14} {}\n",
        "history",
        history.as_deref().unwrap_or(none)
    )?;
    for setting in &settings.all {
        let (value, origin) = match &setting.set {
            Some((value, Origin::Environment)) => (text(value), setting.variable()),
            Some((value, Origin::File)) => (text(value), "config file".to_owned()),
            None => (built_in(setting.name), "default".to_owned()),
        };
        writeln!(out, "{:<14} {value:<24} {origin}", setting.name)?;
    }
    Ok(())
}

fn to_json(setting: &Setting) -> Value {
    let (value, origin) = match &setting.set {
        Some((value, Origin::Environment)) => (text(value), "environment"),
        Some((value, Origin::File)) => (text(value), "file"),
        None => (built_in(setting.name), "default"),
    };
    json!({
        "name": setting.name,
        "value": value,
        "origin": origin,
        "variable": setting.variable(),
    })
}

/// The default of a flag, as far as it does not depend on the model or the machine.
fn built_in(name: &str) -> String {
    let flags = [Run::augment_args, Chat::augment_args].map(|augment| augment(Line::command()));
    let mut flags = flags.iter().flat_map(clap::Command::get_arguments);
    let flag = flags.find(|arg| arg.get_long() == Some(name));
    let default = flag.and_then(|arg| arg.get_default_values().first());
    default.map_or_else(|| "-".to_owned(), |value| text(value.as_os_str()))
}

fn text(value: &OsStr) -> String {
    value.to_string_lossy().into_owned()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
