//! `deepseek doctor`: what this machine has, whether it computes what it should, and whether a model fits.

use std::collections::BTreeMap;
use std::env::consts::{ARCH, OS};
use std::fmt::Display;
use std::fs;
use std::io::{Stdout, Write};
use std::thread;

use anyhow::anyhow;
use backend_host::KernelSet;
use backend_offload::trial::Found;
use bytesize::ByteSize;
use deepseek_chat::ModelSource;
use deepseek_chat::limits::{CONTEXT, STEP_TOKENS};
use deepseek_core::Level;
use deepseek_model::bill::Weights;
use deepseek_model::{Prefill, SeqId, Span, Step, TokenId, Want};
use serde_json::json;

use crate::args::{Doctor, Model, PrefillArg, Ranks};
use crate::device::{self, Choices, DeviceName, Examined, FEATURES, Tried};
use crate::fault::{Fault, Kind, Result};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::memory;
use crate::output::Place;
use crate::screen::{self, Screen};
use crate::verbs;
use crate::version;

/// Tokens that the self-check runs at once, and then one by one.
const TOKENS_TOGETHER: usize = 192;
const TOKENS_ALONE: usize = 8;

/// The version of a report's form. `cargo xtask devices` reads reports of it.
const REPORT: u32 = 2;

/// How far logits may lie apart where two devices sum in different orders: the README's tolerance.
const APART_MAX: f32 = 1e-3;

pub(crate) fn run(args: &Doctor) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let source = load::source(args.model.folder.as_deref())?;
    let threads = load::threads(args.threads.threads);
    let name = args.model.device;
    let place = args.report.as_deref().map(Place::find).transpose()?;
    if let Some(place) = &place {
        place.spare(load::files(&args.model, &source)?)?;
    }
    let examined = device::examine(name)?;
    let mut page = Page {
        out: screen::stdout(),
        lines: Vec::new(),
        failed: Vec::new(),
    };
    let commit = version::COMMIT.map_or_else(String::new, |commit| format!(", commit {commit}"));
    page.line("deepseek", format!("{}{commit}", env!("CARGO_PKG_VERSION")))?;
    page.line("build", build())?;
    page.line("system", system())?;
    page.line("processor", processor())?;
    page.line("kernels", kernels(name))?;
    page.line("memory", memory_of_process())?;
    for (name, text) in examined.iter().flat_map(|examined| &examined.facts) {
        page.line(name, text)?;
    }
    if let Some(roofs) = device::roofs(name, threads)? {
        let speed = |rate: f64, unit: &str| format!("{:.1} {unit}, {threads} threads", rate / 1e9);
        page.line("reading", speed(roofs.read, "GB/s"))?;
        page.line("multiplying", speed(roofs.multiply, "GFLOP/s"))?;
    }
    // Whatever becomes of one check, the others are made.
    let tried = device::try_operations(name)?;
    for (case, found) in &tried {
        page.check(case.name(), compared(found))?;
    }
    if let Some(graphs) = device::try_graphs(name).transpose() {
        page.check("graphs", graphs)?;
    }
    let config = source.config()?.without_drafts();
    if let Some(choices) = device::choices_on(name, &verbs::of(&config))? {
        page.line("verbs", composed(&choices))?;
    }
    page.check("self-check", self_check(name, threads, &interrupt))?;
    page.check("model", fits(args, &source, threads))?;
    match place {
        None => page.finish(),
        Some(place) => {
            let report = page.report(name, &tried, examined.as_ref());
            interrupt.write(place, format!("{report:#}\n").as_bytes())?;
            page.finish()
        }
    }
}

/// What the operations of a case gave, beside the host's.
fn compared(found: &Result<Found>) -> Result<String> {
    let Found {
        operations,
        worst,
        flaw,
    } = match found {
        Ok(found) => found,
        Err(fault) => return Err(Fault::machine(anyhow!(fault.to_string()))),
    };
    match flaw {
        Some(flaw) => Err(Fault::machine(anyhow!("{flaw}"))),
        None if *worst > 0.0 => Ok(format!(
            "{operations} results, within {:.0} % of what they may differ by",
            worst * 100.0
        )),
        None => Ok(format!("{operations} results, the bits of the host")),
    }
}

/// The verbs that are done whole, and why others are not.
fn composed(choices: &Choices) -> String {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (verb, declined) in &choices.verbs {
        let reason = declined.as_deref().unwrap_or("");
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, verbs)) => verbs.push(verb),
            None => reasons.push((reason, vec![verb])),
        }
    }
    let told = reasons.into_iter().map(|(reason, verbs)| match reason {
        "" => format!("{} whole", verbs.join(", ")),
        why => format!("{} composed: {why}", verbs.join(", ")),
    });
    told.collect::<Vec<_>>().join("; ")
}

/// Names of symbols, by whose they are and by the file that has them.
type Symbols<'a> = BTreeMap<&'a str, BTreeMap<&'a str, Vec<&'a str>>>;

/// What is printed, and what failed of it.
#[derive(Debug)]
struct Page {
    out: Screen<Stdout>,
    /// What was printed.
    lines: Vec<(String, String)>,
    failed: Vec<&'static str>,
}

impl Page {
    fn line(&mut self, name: &str, text: impl Display) -> Result<()> {
        let text = text.to_string();
        writeln!(self.out, "{name:<12} {text}")?;
        self.lines.push((name.to_owned(), text));
        Ok(self.out.flush()?)
    }

    /// A line about what was checked: that it holds, or why not.
    fn check(&mut self, name: &'static str, checked: Result<String>) -> Result<()> {
        match checked {
            Ok(text) => self.line(name, format_args!("ok: {text}")),
            Err(fault) if fault.kind() == Kind::Interrupted => Err(fault),
            Err(fault) => {
                self.failed.push(name);
                self.line(name, format_args!("failed: {fault}"))
            }
        }
    }

    /// The page as JSON, with what does not fit one.
    fn report(
        &self,
        name: DeviceName,
        tried: &[Tried],
        examined: Option<&Examined>,
    ) -> serde_json::Value {
        let lines = self.lines.iter().map(|(name, text)| json!([name, text]));
        let operations = tried.iter().map(|(case, found)| match found {
            Ok(found) => json!({
                "case": case.name(),
                "results": found.operations,
                "worst": found.worst,
                "flaw": found.flaw,
            }),
            Err(fault) => json!({ "case": case.name(), "error": fault.to_string() }),
        });
        let chip = examined.map(|examined| {
            json!({
                "name": examined.chip,
                "about": examined.about,
                "software": examined.software,
            })
        });
        let (mut symbols, mut missing) = (Symbols::new(), BTreeMap::new());
        for (provider, name, library) in examined.iter().flat_map(|examined| &examined.symbols) {
            let names: &mut Vec<_> = match library {
                Some(library) => {
                    let libraries = symbols.entry(provider.as_str()).or_default();
                    libraries.entry(library.as_str()).or_default()
                }
                None => missing.entry(provider.as_str()).or_default(),
            };
            names.push(*name);
        }
        json!({
            "report": REPORT,
            "program": env!("CARGO_PKG_VERSION"),
            "commit": version::COMMIT,
            "device": name.to_string(),
            "is_emulated": name.is_emulated(),
            "chip": chip,
            "failed": self.failed,
            "page": lines.collect::<Vec<_>>(),
            "operations": operations.collect::<Vec<_>>(),
            "symbols": symbols,
            "missing": missing,
        })
    }

    fn finish(self) -> Result<()> {
        match self.failed.as_slice() {
            [] => Ok(()),
            failed => Err(Fault::machine(anyhow!("failed: {}", failed.join(", ")))
                .hint("the page above says why; with a report, send all of it")),
        }
    }
}

/// What was built in.
fn build() -> String {
    let names = |there: bool| {
        let names = FEATURES.iter().filter(|(_, is)| *is == there);
        names.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    match (names(true).as_str(), names(false).as_str()) {
        ("", without) => format!("without {without}"),
        (with, "") => format!("with {with}"),
        (with, without) => format!("with {with}; without {without}"),
    }
}

fn system() -> String {
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(release) => format!("{OS} {}, {ARCH}", release.trim()),
        Err(_) => format!("{OS}, {ARCH}"),
    }
}

fn processor() -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == "model name").then(|| value.trim())
    });
    format!(
        "{}, {cores} cores for this process",
        name.unwrap_or("unnamed")
    )
}

/// The kernels that compute on the host, and which others the processor runs.
fn kernels(name: DeviceName) -> String {
    let (runs, lacks): (Vec<_>, Vec<_>) = KernelSet::ALL
        .iter()
        .partition(|set| KernelSet::available().any(|own| own == **set));
    let names = |sets: &[KernelSet]| {
        sets.iter()
            .map(|set| set.name())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let text = format!("{}; the processor runs {}", name.settled(), names(&runs));
    match lacks.as_slice() {
        [] => text,
        lacks => format!("{text}, not {}", names(lacks)),
    }
}

fn memory_of_process() -> String {
    memory::available().map_or_else(
        || "unknown".to_owned(),
        |bytes| format!("{} for this process", memory::size(bytes)),
    )
}

/// Runs the embedded model on a device and holds its logits against those of another: kernels for an
/// instruction set against the plain ones, whose bits they promise, all others within a tolerance.
fn self_check(name: DeviceName, threads: usize, interrupt: &Interrupt) -> Result<String> {
    let (reference, same_bits) = name.reference();
    let got = logits(name, threads, interrupt)?;
    let want = logits(reference, threads, interrupt)?;
    let what = format!(
        "the embedded model's logits after {} tokens",
        TOKENS_TOGETHER + TOKENS_ALONE
    );
    let differs = got
        .iter()
        .zip(&want)
        .filter(|(a, b)| a.to_bits() != b.to_bits());
    let differs = differs.count();
    if same_bits {
        return match differs {
            0 => Ok(format!("{what} have the bits of {reference}")),
            some => Err(Fault::machine(anyhow!(
                "{some} of {} of {what} differ from {reference}",
                want.len()
            ))),
        };
    }
    // A NaN stays in the sum and is no less than any bound.
    let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, |most: f32, own| {
        if own > most || own.is_nan() {
            own
        } else {
            most
        }
    });
    let text = format!("{what} are within {apart:.1e} of {reference}");
    if apart <= APART_MAX {
        Ok(text)
    } else {
        Err(Fault::machine(anyhow!("{text}, not {APART_MAX:.0e}")))
    }
}

/// The embedded model's logits on a device, all of them.
fn logits(name: DeviceName, threads: usize, interrupt: &Interrupt) -> Result<Vec<f32>> {
    let args = Model {
        folder: None,
        numerics: None,
        device: name,
        ranks: Ranks::ALONE,
        prefill: Some(PrefillArg::Full),
        engram_memory: None,
        expert_memory: None,
        audio_projector: None,
    };
    let source = load::source(None)?;
    let config = source.config()?.without_drafts();
    let context = TOKENS_TOGETHER + TOKENS_ALONE;
    let budget = load::budget(&args, context, TOKENS_TOGETHER, Prefill::Full);
    let plan = load::plan(&args, Level::Exact, &config, budget)?;
    let mut decoder = load::decoder(&args, threads, &source, plan, interrupt)?;
    let ids: Vec<TokenId> = (0..context)
        .map(|at| (at * 97 % config.vocab_size) as TokenId)
        .collect();
    let (together, alone) = ids.split_at(TOKENS_TOGETHER);
    let mut logits = Vec::new();
    let mut at = 0;
    for tokens in std::iter::once(together).chain(alone.chunks(1)) {
        if interrupt.poll().is_break() {
            return Err(Fault::interrupted());
        }
        let span = Span {
            seq: SeqId(0),
            at,
            tokens: tokens.to_vec(),
            media: Vec::new(),
            want: Want::All,
        };
        logits.extend(decoder.step(&Step { spans: vec![span] })?.into_values());
        at += tokens.len() as u32;
    }
    Ok(logits)
}

/// Whether what the model holds beside its weights has room, and what its weights are.
fn fits(args: &Doctor, source: &ModelSource, threads: usize) -> Result<String> {
    let config = source.config()?.without_drafts();
    let context = args
        .context
        .map_or(CONTEXT.min(config.max_positions), |n| n as usize);
    let budget = load::budget(
        &args.model,
        context,
        STEP_TOKENS.min(context),
        Prefill::Replay,
    );
    let plan = load::plan(&args.model, source.defaults().level, &config, budget)?;
    load::check_memory(args.model.device, threads, &plan)?;
    let weights = Weights::of(&config, config.storage);
    let bytes = ByteSize::b;
    let name = args.model.folder.as_deref().map_or_else(
        || "the embedded one".to_owned(),
        |folder| folder.display().to_string(),
    );
    let mut text = format!(
        "{name} takes {} of cache and buffers for {context} tokens, and has {} of weights, of which a \
         token reads {}",
        bytes(plan.memory_bytes()).display().si(),
        bytes(weights.total.bytes).display().si(),
        bytes(weights.active_bytes).display().si(),
    );
    if memory::available().is_some_and(|memory| weights.total.bytes > memory) {
        text.push_str("; they do not fit the memory, so the disk is read again and again");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_set_is_named_once() {
        let text = kernels(DeviceName::default());
        let (chosen, sets) = text.split_once("; the processor runs ").expect("both");
        assert_eq!(chosen, format!("cpu:{}", KernelSet::best()));
        let words = sets.split([',', ' ']);
        for set in KernelSet::ALL {
            let named = words.clone().filter(|word| *word == set.name());
            assert_eq!(named.count(), 1, "{text}");
        }
    }

    #[test]
    fn each_feature_is_named_once() {
        for (feature, _) in FEATURES {
            assert_eq!(build().matches(feature).count(), 1, "{}", build());
        }
    }
}
