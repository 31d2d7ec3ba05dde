//! `deepseek inspect`: the plan and the bill, and whether the files pay it.

use std::io::{self, Write};
use std::path::Path;

use anyhow::anyhow;
use deepseek_chat::limits::STEP_TOKENS;
use deepseek_chat::read_config;
use deepseek_core::weights::{Checkpoint, Dtype, TensorSource, Tensors};
use deepseek_core::{Error, Parallel};
use deepseek_model::bill::{Tally, bytes_on};
use deepseek_model::config::Storage;
use deepseek_model::inventory::{Component, TensorSpec, inventory};
use deepseek_model::names::Renamed;
use deepseek_model::report::{Files, LEVELS, human};
use deepseek_model::{Budget, Config, Plan, Report};
use serde_json::{Map, Value, json};

use crate::args::Inspect;
use crate::device::{self, Choices};
use crate::fault::{Fault, Result, one_line};
use crate::load;
use crate::screen;
use crate::verbs;

/// Flaws that are shown. One cause often has thousands.
const FLAWS_SHOWN: usize = 20;

pub(crate) fn run(args: &Inspect) -> Result<()> {
    let path = args.path.as_deref().or(args.model.as_deref());
    let (mut config, checkpoint) = open(path)?;
    let mut flaws = Vec::new();
    let mut files = None;
    if let Some(checkpoint) = &checkpoint {
        let source = Renamed::new(checkpoint);
        if !has_drafts(&source) {
            config = config.without_drafts();
        }
        flaws = compare(&config, &source);
        files = Some(held(checkpoint));
    }
    let context = args
        .context
        .map_or(config.max_positions, |context| context as usize);
    let budget = Budget {
        context,
        sequences: 1,
        step_tokens: STEP_TOKENS,
        ..Budget::default()
    };
    let mut report = Report::new(&config, budget)?;
    if let Some(files) = files {
        report = report.with_files(files);
    }
    let asked = Asked {
        context,
        cache: match args.context {
            Some(_) => bytes_at(&config, budget)?,
            None => Vec::new(),
        },
        ranks: bytes_on_ranks(&config, budget, args.ranks.parallel())?,
        choices: match &args.device {
            Some(chip) => Some(device::choices(chip, &verbs::of(&config))?),
            None => None,
        },
    };
    let mut out = screen::stdout();
    if args.json {
        write_json(&mut out, &report, &asked, &flaws)?;
    } else {
        write_text(&mut out, &report, &asked, &flaws)?;
    }
    match flaws.first() {
        None => Ok(()),
        Some(first) => {
            let text = format!(
                "{} tensors do not fit the config, the first: {first}",
                flaws.len()
            );
            Err(Fault::input(anyhow!(text))
                .hint("fetch the files again, or the config that is theirs"))
        }
    }
}

/// What a report has beside the model itself.
struct Asked {
    context: usize,
    /// Bytes of a sequence of so many positions, at each level; nothing where no context was named.
    cache: Vec<(&'static str, u64)>,
    /// Bytes of the weights of each rank, where there are several.
    ranks: Option<(Parallel, Vec<u64>)>,
    choices: Option<Choices>,
}

/// A model with its files, or a config alone. A folder need not hold weights.
fn open(path: Option<&Path>) -> Result<(Config, Option<Checkpoint>)> {
    if let Some(path) = path
        && path.exists()
        && !path.is_dir()
        && !path
            .extension()
            .is_some_and(|own| own == "safetensors" || own == "gguf")
    {
        return Ok((read_config(path)?, None));
    }
    let source = load::source(path)?;
    Ok((source.config()?, source.find_checkpoint()?))
}

/// Whether the files hold draft modules: those that transformers writes do not.
fn has_drafts(source: &dyn TensorSource) -> bool {
    !matches!(source.find("mtp.0.attn_norm.weight"), Ok(None))
}

fn held(checkpoint: &Checkpoint) -> Files {
    let tensors = Tally {
        tensors: checkpoint.len() as u64,
        bytes: checkpoint.bytes(),
    };
    Files {
        shards: checkpoint.shards().len() as u64,
        tensors,
    }
}

/// What is missing from the files or has another shape than the config says, in any format.
fn compare(config: &Config, source: &dyn TensorSource) -> Vec<Error> {
    let tensors = Tensors::new(source, config.fp8_tile);
    // With storage as floats each tensor is listed once, in its own shape and without scales; those
    // are looked for where the files are quantised.
    let specs = inventory(config, Storage::F32);
    specs
        .filter_map(|spec| fits(&spec, &tensors).err())
        .collect()
}

fn fits(spec: &TensorSpec, tensors: &Tensors<'_>) -> Result<(), Error> {
    match (spec.dtype, spec.shape.as_slice()) {
        (Dtype::F32, &[rows, columns]) => {
            // Rows of n-gram tables have scales of their own (`docs/models/deepseek-v41.md` §2.3).
            let tensors = match spec.component {
                Component::EngramTables => &tensors.tiled([1, 32]),
                _ => tensors,
            };
            tensors.matrix(&spec.name, [rows, columns]).map(drop)
        }
        (Dtype::I64, &[rows, columns]) => tensors.table(&spec.name, [rows, columns]).map(drop),
        (_, shape) => tensors.floats(&spec.name, shape).map(drop),
    }
}

/// Bytes of a sequence as long as the budget allows, at each level of rounding.
fn bytes_at(config: &Config, budget: Budget) -> Result<Vec<(&'static str, u64)>> {
    LEVELS
        .into_iter()
        .map(|level| {
            Ok((
                level.name(),
                Plan::new(config, level, budget)?.memory_bytes(),
            ))
        })
        .collect()
}

/// The same of the weights that each rank holds, n-gram tables aside; nothing where there is one rank.
fn bytes_on_ranks(
    config: &Config,
    budget: Budget,
    parallel: Parallel,
) -> Result<Option<(Parallel, Vec<u64>)>> {
    if parallel == Parallel::ALONE {
        return Ok(None);
    }
    let plan = Plan::new(config, LEVELS[0], budget)?.divided(parallel)?;
    let bytes = (0..parallel.world()).map(|rank| bytes_on(&plan, rank));
    Ok(Some((parallel, bytes.collect())))
}

fn write_text(
    out: &mut impl Write,
    report: &Report,
    asked: &Asked,
    flaws: &[Error],
) -> io::Result<()> {
    write!(out, "{report}")?;
    if !asked.cache.is_empty() {
        writeln!(out, "\nKV cache at a context of {} tokens", asked.context)?;
    }
    for (name, bytes) in &asked.cache {
        write_bytes(out, name, *bytes)?;
    }
    if let Some((parallel, bytes)) = &asked.ranks {
        writeln!(
            out,
            "\nweights of each of {} ranks ({parallel})",
            bytes.len()
        )?;
        for (rank, bytes) in bytes.iter().enumerate() {
            write_bytes(out, &format!("rank {rank}"), *bytes)?;
        }
    }
    if let Some(Choices { chip, verbs }) = &asked.choices {
        writeln!(out, "\noperations on {chip}")?;
        for (verb, declined) in verbs {
            match declined {
                None => writeln!(out, "  {verb:<10} whole")?,
                Some(why) => writeln!(out, "  {verb:<10} composed: {why}")?,
            }
        }
    }
    if !flaws.is_empty() {
        writeln!(out, "\nflaws")?;
    }
    for flaw in flaws.iter().take(FLAWS_SHOWN) {
        writeln!(out, "  {}", one_line(&flaw.to_string()))?;
    }
    if flaws.len() > FLAWS_SHOWN {
        writeln!(out, "  and {} more", flaws.len() - FLAWS_SHOWN)?;
    }
    Ok(())
}

fn write_bytes(out: &mut impl Write, name: &str, bytes: u64) -> io::Result<()> {
    writeln!(out, "  {name:<10} {:>9}  {bytes:>17} bytes", human(bytes))
}

fn write_json(
    out: &mut impl Write,
    report: &Report,
    asked: &Asked,
    flaws: &[Error],
) -> io::Result<()> {
    let mut value = report.to_json();
    if !asked.cache.is_empty() {
        let bytes: Map<String, Value> = asked
            .cache
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), json!(bytes)))
            .collect();
        value["context"] = json!({ "positions": asked.context, "bytes": bytes });
    }
    if let Some((Parallel { tensor, expert }, bytes)) = &asked.ranks {
        value["ranks"] = json!({ "tensor": tensor, "expert": expert, "weight_bytes": bytes });
    }
    if let Some(Choices { chip, verbs }) = &asked.choices {
        let verbs = verbs.iter().map(|(verb, declined)| {
            json!({ "verb": verb, "is_whole": declined.is_none(), "why": declined })
        });
        value["chip"] = json!({ "name": chip, "verbs": verbs.collect::<Vec<_>>() });
    }
    let flaws = flaws.iter().map(|flaw| one_line(&flaw.to_string()));
    value["flaws"] = flaws.collect();
    writeln!(out, "{value:#}")
}
