//! Speed, measured: kernels against their plain twins, models against what the machine could do, and a
//! peer in turns with ours. All of it goes into one report.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::demo::{build, deepseek};
use crate::shell::{self, cargo, root};
use crate::synth::{self, Like};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Measure models of such layers, one that compresses four positions and one that compresses 128. They
    /// are made where they are not there yet: flash takes 9 GB.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tiny,attn")]
    like: Vec<Like>,
    /// Measure this checkpoint instead. May be repeated.
    #[arg(long = "model", value_name = "DIR", conflicts_with = "like")]
    models: Vec<PathBuf>,
    /// Run prompts of so many tokens.
    #[arg(short = 'p', long, value_name = "LIST", default_value = "512")]
    n_prompt: String,
    /// Run so many tokens one after the other.
    #[arg(short = 'n', long, value_name = "LIST", default_value = "32")]
    n_gen: String,
    /// Measure behind so many tokens.
    #[arg(short = 'd', long, value_name = "LIST", default_value = "0,4096")]
    n_depth: String,
    /// Use so many threads [default: one for each core].
    #[arg(short = 't', long, value_name = "LIST")]
    threads: Option<String>,
    /// Measure each so often.
    #[arg(short = 'r', long, value_name = "N", default_value_t = 3)]
    repetitions: u32,
    /// Round as this level does.
    #[arg(long, value_name = "LEVEL", default_value = "released")]
    numerics: String,
    /// Run another program in turns with ours, and print the ratios: llama-bench=PATH, which is llama.cpp's
    /// or that of a fork. Wants one model.
    #[arg(long, value_name = "llama-bench=PATH", requires = "gguf")]
    peer: Option<Peer>,
    /// The same layers in the form that the peer reads.
    #[arg(long, value_name = "FILE", requires = "peer")]
    gguf: Option<PathBuf>,
    /// Turns of each with a peer.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Leave out the kernels alone.
    #[arg(long)]
    no_kernels: bool,
    /// Write the report here.
    #[arg(long, value_name = "FILE", default_value = "target/bench/report.html")]
    out: PathBuf,
}

/// A program to compare with.
#[derive(Debug, Clone)]
struct Peer(PathBuf);

impl std::str::FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("llama-bench", path)) if !path.is_empty() => Ok(Self(path.into())),
            _ => Err("want llama-bench=PATH".to_owned()),
        }
    }
}

/// What a row measures: threads, depth, tokens of the prompt, tokens generated.
type Test = [u64; 4];

/// Tokens per second of each test, each time that it was measured.
type Rates = BTreeMap<Test, Vec<f64>>;

/// Measures and writes the report.
pub(crate) fn run(args: &Args) -> Result<()> {
    // Commands run in the root of the workspace, wherever this one was typed.
    let out = absolute(&args.out)?;
    let models = models(args)?;
    build()?;
    let mut report = Report::default();
    report.text("Machine", &text(deepseek().arg("doctor"))?);
    if !args.no_kernels {
        let bench = [
            "bench",
            "--locked",
            "--package",
            "backend-host",
            "--bench",
            "kernels",
        ];
        let table = text(cargo().args(bench))?;
        shell::say(&table);
        report.text("Kernels", &table);
    }
    match (&args.peer, &args.gguf) {
        (Some(peer), Some(gguf)) => {
            let [model] = models.as_slice() else {
                bail!("--peer: {} models, want one", models.len());
            };
            let table = compare(args, model, peer, &absolute(gguf)?)?;
            shell::say(&table);
            report.text(&format!("{} beside a peer", model.display()), &table);
        }
        _ => {
            for model in &models {
                let drawing = tempfile::NamedTempFile::with_suffix(".svg")?;
                let mut line = ours(args, model);
                line.arg("--svg").arg(drawing.path());
                let table = text(&mut line)?;
                shell::say(&table);
                report.text(&model.display().to_string(), &table);
                report.drawing(&fs::read_to_string(drawing.path())?);
            }
        }
    }
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(&out, report.finish()).with_context(|| out.display().to_string())?;
    shell::say(&format!("report: {}\n", out.display()));
    Ok(())
}

/// The checkpoints, made where they are not there.
fn models(args: &Args) -> Result<Vec<PathBuf>> {
    if !args.models.is_empty() {
        return args
            .models
            .iter()
            .map(|model| Ok(absolute(model)?))
            .collect();
    }
    let make = |like: &Like| {
        let folder = root().join("target/bench").join(like.name());
        // The config is written last.
        if !folder.join("config.json").exists() {
            synth::make(*like, &synth::RATIOS, 0, &folder)?;
        }
        Ok(folder)
    };
    args.like.iter().map(make).collect()
}

/// What a program writes to stdout.
fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8(shell::output(command)?)?)
}

/// Our measurement of a model.
fn ours(args: &Args, model: &Path) -> Command {
    let mut line = deepseek();
    line.arg("bench").arg("--model").arg(model);
    line.args(["--numerics", &args.numerics]);
    measures(&mut line, args, args.repetitions);
    line
}

/// What both programs are told in the same words.
fn measures(line: &mut Command, args: &Args, repetitions: u32) {
    line.args(["-p", &args.n_prompt, "-n", &args.n_gen, "-d", &args.n_depth]);
    line.args(["-r", &repetitions.to_string()]);
    if let Some(threads) = &args.threads {
        line.args(["-t", threads]);
    }
}

/// Runs ours and the peer in turns; a table of medians and of their ratio.
fn compare(args: &Args, model: &Path, peer: &Peer, gguf: &Path) -> Result<String> {
    let (mut our, mut their) = (Rates::new(), Rates::new());
    for _ in 0..args.rounds {
        let json = text(ours(args, model).arg("--json"))?;
        collect(&mut our, &json, &OURS)?;
        let mut line = Command::new(&peer.0);
        line.arg("-m").arg(gguf).args(["-o", "json"]);
        measures(&mut line, args, args.repetitions);
        collect(&mut their, &text(&mut line)?, &THEIRS)?;
    }
    let mut table = format!(
        "{:>7}  {:<20} {:>12} {:>12} {:>8}\n",
        "threads", "test", "ours", "peer", "ratio"
    );
    for (test, rates) in &our {
        let [threads, depth, prompt, generated] = test;
        let name = match prompt {
            0 => format!("tg{generated} @ d{depth}"),
            _ => format!("pp{prompt} @ d{depth}"),
        };
        let ours = median(rates);
        table += &match their.get(test) {
            Some(rates) => {
                let peer = median(rates);
                format!(
                    "{threads:>7}  {name:<20} {ours:>12.2} {peer:>12.2} {:>7.2}x\n",
                    ours / peer
                )
            }
            None => format!(
                "{threads:>7}  {name:<20} {ours:>12.2} {:>12} {:>8}\n",
                "-", "-"
            ),
        };
    }
    Ok(table)
}

/// What a row calls its threads, its depth, the tokens of its prompt, those generated, and each rate.
type Words = ([&'static str; 4], &'static str);
const OURS: Words = (["threads", "n_depth", "n_prompt", "n_gen"], "samples");
const THEIRS: Words = (["n_threads", "n_depth", "n_prompt", "n_gen"], "samples_ts");

/// Adds the rows of a measurement.
fn collect(rates: &mut Rates, json: &str, (test, samples): &Words) -> Result<()> {
    let rows: Vec<Value> = serde_json::from_str(json).context("a list of rows")?;
    for row in rows {
        let count = |name: &str| {
            row[name]
                .as_u64()
                .with_context(|| format!("no {name} in {row}"))
        };
        let test = [
            count(test[0])?,
            count(test[1])?,
            count(test[2])?,
            count(test[3])?,
        ];
        let measured = row[samples]
            .as_array()
            .with_context(|| format!("no {samples} in {row}"))?;
        let measured: Vec<f64> = measured.iter().filter_map(Value::as_f64).collect();
        ensure!(!measured.is_empty(), "no rate in {row}");
        rates.entry(test).or_default().extend(measured);
    }
    Ok(())
}

fn median(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_unstable_by(f64::total_cmp);
    let (left, right) = (rates[(rates.len() - 1) / 2], rates[rates.len() / 2]);
    f64::midpoint(left, right)
}

/// A page of what was measured.
#[derive(Debug, Default)]
struct Report {
    body: String,
}

impl Report {
    fn text(&mut self, title: &str, text: &str) {
        let [title, text] = [title, text].map(escape);
        self.body += &format!("<h2>{title}</h2>\n<pre>{text}</pre>\n");
    }

    fn drawing(&mut self, svg: &str) {
        self.body += svg;
        self.body.push('\n');
    }

    fn finish(self) -> String {
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Speed</title>\n\
             <style>body{{font-family:sans-serif;margin:2rem}}</style>\n<h1>Speed</h1>\n{}</html>\n",
            self.body
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_programs_meet() -> Result<()> {
        let (mut our, mut their) = (Rates::new(), Rates::new());
        let ours = r#"[{"threads":2,"n_depth":0,"n_prompt":512,"n_gen":0,"samples":[3.0,1.0]}]"#;
        let theirs = r#"[{"n_threads":2,"n_depth":0,"n_prompt":512,"n_gen":0,"samples_ts":[4.0]}]"#;
        collect(&mut our, ours, &OURS)?;
        collect(&mut our, ours, &OURS)?;
        collect(&mut their, theirs, &THEIRS)?;
        assert_eq!(our[&[2, 0, 512, 0]], [3.0, 1.0, 3.0, 1.0]);
        assert!(our.keys().eq(their.keys()));
        assert!(collect(&mut our, theirs, &OURS).is_err());
        assert!(collect(&mut our, "{}", &OURS).is_err());
        Ok(())
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
    }

    #[test]
    fn a_page_shows_text_as_it_is() {
        let mut report = Report::default();
        report.text("a<b", "1 & 2 > 0");
        let page = report.finish();
        assert!(
            page.contains("<h2>a&lt;b</h2>\n<pre>1 &amp; 2 &gt; 0</pre>"),
            "{page}"
        );
    }

    #[test]
    fn a_peer_has_a_name_and_a_path() {
        let peer: Peer = "llama-bench=/a/b=c".parse().expect("a peer");
        assert_eq!(peer.0, Path::new("/a/b=c"));
        for other in ["", "llama-bench", "llama-bench=", "other=/a"] {
            assert!(other.parse::<Peer>().is_err(), "{other}");
        }
    }
}
