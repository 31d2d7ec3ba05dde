//! `deepseek convert`: a checkpoint for devices that multiply integers.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use deepseek_chat::ModelSource;
use deepseek_convert::{Conversion, Error, Other, Report, Target, journal};
use deepseek_core::file;
use deepseek_core::weights::Checkpoint;
use deepseek_model::limits::CONFIG_BYTES_MAX;
use deepseek_model::report::human;
use serde_json::json;

use crate::args::Convert;
use crate::fault::{Fault, Result, note};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::screen;

const CONFIG: &str = "config.json";

pub(crate) fn run(args: &Convert) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let target = Target::from(args.to);
    let path = args.path.as_deref().or(args.model.as_deref());
    let source = load::source(path)?;
    let config = source.config()?;
    let checkpoint = source.checkpoint()?;
    let conversion = match &source {
        ModelSource::Carried(model) => {
            let conversion = Conversion::new(&config, model.config, &checkpoint, target)?;
            conversion.with_others(vec![Other::Carried("tokenizer.json", model.tokenizer)])
        }
        ModelSource::Folder(folder) => {
            let text = config_text(&folder.join(CONFIG))?;
            let conversion = Conversion::new(&config, &text, &checkpoint, target)?;
            let conversion = conversion.with_others(others(folder)?);
            conversion.from_folder(folder)
        }
    };
    let [before, after] = [conversion.bytes_before(), conversion.bytes_after()].map(human);
    let mut what = Some(format!(
        "{before} of tensors become {after} of {target} in {}",
        args.out.display()
    ));
    let bar = load::bar(
        "converting",
        "{bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
    );
    let threads = load::threads(args.threads.threads);
    let done = conversion.run(&args.out, threads, &mut |progress| {
        // Now that nothing is refused.
        if let Some(what) = what.take() {
            note(&what);
        }
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        interrupt.poll()
    });
    bar.finish_and_clear();
    if matches!(done, Err(Error::Interrupted)) {
        note("finished files are kept: the same command goes on");
    }
    let report = done?;
    let mut out = screen::stdout();
    if args.json {
        writeln!(out, "{:#}", to_json(&report, target))?;
    } else {
        let Report { made, kept, .. } = report;
        write!(out, "{report}")?;
        writeln!(
            out,
            "files of weights: {made} made, {kept} kept from an earlier run"
        )?;
        let journal = args.out.join(journal::NAME);
        writeln!(out, "every tensor by itself: {}", journal.display())?;
    }
    Ok(out.flush()?)
}

/// What the config says, as it stands there.
fn config_text(path: &Path) -> Result<String> {
    let bytes = file::read(path, CONFIG_BYTES_MAX as u64)
        .map_err(|error| Fault::input(error).at(path.display().to_string()))?;
    String::from_utf8(bytes)
        .map_err(|_| Fault::input(anyhow!("{}: not UTF-8 text", path.display())))
}

/// The files of a folder that go with the weights: all but those, their index, the config, what is
/// hidden, and what is in folders of its own.
fn others(folder: &Path) -> Result<Vec<Other>> {
    let named = |error| Fault::machine(error).at(folder.display().to_string());
    let known = Checkpoint::files(folder)?;
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_ours = name == CONFIG || name == journal::NAME || name.starts_with('.');
        if !is_ours && !known.contains(&path) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().map(Other::File).collect())
}

fn to_json(report: &Report, target: Target) -> serde_json::Value {
    let kinds = report.kinds.iter().map(|kind| {
        json!({
            "name": kind.name,
            "from": kind.from,
            "to": kind.to,
            "tensors": kind.tensors,
            "not_finite": kind.not_finite,
            "relative_rms": kind.relative_rms,
            "worst_relative_rms": kind.worst_rms,
            "max_error": kind.max_error,
        })
    });
    json!({
        "target": target.name(),
        "bytes_before": report.bytes_before,
        "bytes_after": report.bytes_after,
        "files": { "made": report.made, "kept": report.kept },
        "kinds": kinds.collect::<Vec<_>>(),
    })
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        const ELSEWHERE: &str = "name a folder that is empty, or not there yet, for --out";
        match error {
            Error::Weights(error) => error.into(),
            Error::Interrupted => Self::interrupted(),
            Error::Config { .. } => Self::input(error),
            Error::Converted { .. } => {
                Self::input(error).hint("convert the checkpoint that it was made of")
            }
            Error::Nothing { .. } => Self::input(error).hint("use it as it is"),
            Error::Same { .. } | Error::Occupied { .. } | Error::Other { .. } => {
                Self::usage(error).hint(ELSEWHERE)
            }
            Error::Journal { .. } => Self::input(error).hint("remove the folder, and begin anew"),
            error => Self::machine(error),
        }
    }
}
