//! The model card of the embedded model: how it was trained, by the log that training left, and what
//! it can do, by what `deepseek eval` measures. Nothing in it is typed by hand.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::output::Place;
use crate::{checkpoint, demo, shell};

/// A task that reaches its bar is one that the model can do. Where several things have to come
/// together, or the fact lies far back, the bar is lower.
const BAR: f64 = 0.9;
const BAR_HARD: f64 = 0.8;
const HARD: [&str; 2] = ["mixed-", "recall-"];

/// Ways in which the model is run, each a column of the table: what it is called, and the flags.
const RUNS: [(&str, &[&str]); 5] = [
    ("accuracy", &[]),
    ("media swapped", &["--swap-media"]),
    ("without Engram", &["--ablate", "engram"]),
    ("rows by chance", &["--ablate", "indexer"]),
    ("random weights", &["--model", RANDOM]),
];
/// A checkpoint of the same config whose weights nobody trained.
const RANDOM: &str = "target/card/random";

/// The accuracy of a task, with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Score {
    items: u64,
    accuracy: f64,
    interval: [f64; 2],
}

/// The tasks of a run by name.
type Scores = BTreeMap<String, Score>;

/// Builds the program, runs the held-out files in each way, and writes `assets/MODEL_CARD.md`.
pub(crate) fn run() -> Result<()> {
    let root = shell::root();
    let assets = root.join("assets");
    demo::build()?;
    checkpoint::run(&checkpoint::Args {
        config: assets.join("model/config.json"),
        tokenizer: Some(assets.join("model/tokenizer.json")),
        seed: 0,
        out: root.join(RANDOM),
    })?;
    let files = task_files(&root, "assets/eval")?;
    let mut runs = Vec::new();
    for (_, flags) in RUNS {
        let mut line = demo::deepseek();
        line.arg("eval").args(&files).arg("--json").args(flags);
        let report: Value = serde_json::from_slice(&shell::output(&mut line)?)?;
        runs.push(scores(&report)?);
    }
    let log = assets.join("model/training/log.jsonl");
    let log = fs::read_to_string(&log).with_context(|| log.display().to_string())?;
    let training = Training::read(&log)?;
    let bytes = weigh(&assets.join("model"))?;
    let path = assets.join("MODEL_CARD.md");
    let mut output = Place::find(&path)?.open()?;
    output.push(card(&runs, &training, bytes).as_bytes())?;
    Ok(output.finish()?)
}

/// The task files of a folder, as seen from the root, but for the few items that the tests run.
fn task_files(root: &Path, folder: &str) -> Result<Vec<String>> {
    let entries = root.join(folder).read_dir().context(folder.to_owned())?;
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".jsonl") && name != "smoke.jsonl" {
            files.push(format!("{folder}/{name}"));
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{folder}: no task files");
    Ok(files)
}

/// The tasks of a report of `deepseek eval`.
fn scores(report: &Value) -> Result<Scores> {
    let tasks = report["tasks"].as_array().context("tasks")?;
    let score = |task: &Value| {
        let number = |value: &Value| value.as_f64().context("a number");
        Ok((
            task["task"].as_str().context("a name")?.to_owned(),
            Score {
                items: task["items"].as_u64().context("a count")?,
                accuracy: number(&task["accuracy"])?,
                interval: [number(&task["interval"][0])?, number(&task["interval"][1])?],
            },
        ))
    };
    tasks.iter().map(score).collect()
}

/// What the log of training says.
#[derive(Debug, Default, PartialEq)]
struct Training {
    parameters: u64,
    steps: u64,
    /// Devices in their order, with the seconds spent on them.
    devices: Vec<(String, f64)>,
    /// Phases in their order, with their steps.
    phases: Vec<(String, u64)>,
}

impl Training {
    fn read(log: &str) -> Result<Self> {
        let mut training = Self::default();
        let mut seconds = 0.0;
        for line in log.lines() {
            let entry: Value = serde_json::from_str(line).context("log.jsonl")?;
            if let Some(count) = entry["parameters"].as_u64() {
                training.parameters = count;
            }
            training.steps = training.steps.max(entry["step"].as_u64().unwrap_or(0));
            if let Some(device) = entry["device"].as_str()
                && training.devices.last().is_none_or(|last| last.0 != device)
            {
                training.devices.push((device.to_owned(), 0.0));
            }
            if let (Some(now), Some(last)) =
                (entry["seconds"].as_f64(), training.devices.last_mut())
            {
                last.1 += (now - seconds).max(0.0);
                seconds = seconds.max(now);
            }
            if let (Some(phase), Some(steps)) = (entry["phase"].as_str(), entry["steps"].as_u64()) {
                match training.phases.last_mut() {
                    // The last steps of a run are told when its last phase is over.
                    Some((last, count)) if last == phase || phase == "end" => *count += steps,
                    _ => training.phases.push((phase.to_owned(), steps)),
                }
            }
        }
        Ok(training)
    }
}

/// Bytes of what is embedded.
fn weigh(model: &Path) -> Result<u64> {
    let names = ["config.json", "tokenizer.json", "model.safetensors"];
    let sizes = names.map(|name| {
        let path = model.join(name);
        let file = path.metadata().with_context(|| path.display().to_string());
        file.map(|file| file.len())
    });
    sizes.into_iter().sum()
}

/// The bar of a task.
fn bar(task: &str) -> f64 {
    if HARD.iter().any(|hard| task.starts_with(hard)) {
        BAR_HARD
    } else {
        BAR
    }
}

fn card(runs: &[Scores], training: &Training, bytes: u64) -> String {
    let whole = &runs[0];
    let mut text = String::new();
    text.push_str(HEAD);
    write_training(&mut text, training, bytes);
    write_claims(&mut text, whole);
    write_tasks(&mut text, runs);
    write_recall(&mut text, whole);
    text
}

const HEAD: &str = "\
# The embedded model

Written by `cargo xtask card` from the log of training and from what `deepseek eval` measures; not edited by hand.

A small model of the V4.1 architecture with every part on: residual streams with Sinkhorn mixing, attention over a window and over
shared compressed rows chosen by an indexer with candidates, routed and shared experts, an n-gram memory, a DSpark draft head, a tower for
pictures and one for sounds. It is stored as a release is: experts FP4, matrices FP8 in tiles of 32 x 32, the rest BF16 and F32.

It was made to show that the engine runs such a model from end to end. It answers in the small world it was trained for, and
knows nothing of the real one; asked about that in words, it is to say so (`beyond`).

## Data

All of it is generated by `xtask/train/data`, from seeds: sums, invented countries and capitals, stories, strings, keys and values,
tool calls, small talk, questions that it cannot answer; drawn shapes; speech by a formant synthesiser, tones and beeps; drawn films; and mixtures of these. In training alone espeak-ng
may speak too.

No held-out file, drawing or recording was trained on: the media of the held-out questions come from seeds of their own, and their
voices are not among those trained. Whether the *case* behind a question is new, too, depends on the task:

- split by a hash of the case, so that none is in both: `arithmetic`, `thinking`, `letters`, `story`, `pairs`, `recall-`, `tool-call`,
  `tool-result`, the prices of `mixed-price`, spoken words, runs of tones, drawn scenes, movements and arrivals; the forms of `beyond`
  and the wordings of `chat`;
- split by the form of the question: `fact`. A third of the countries is trained in one form and asked for in the others;
- not split, because there are only a few cases: the number of beeps (`sound-beeps`, the beeps of `mixed-film-`), rising or falling
  (`sound-sweep`), the kind of a sound (`sound-kind`).

The last runs were planned with the results of the held-out questions at hand; there is no third set that nobody looked at.
";

fn write_training(text: &mut String, training: &Training, bytes: u64) {
    let Training {
        parameters,
        steps,
        devices,
        phases,
    } = training;
    let million = *parameters as f64 / 1e6;
    let megabytes = bytes as f64 / 1e6;
    let times = devices
        .iter()
        .map(|(device, seconds)| format!("{:.1} minutes on {device}", seconds / 60.0));
    let times = times.collect::<Vec<_>>().join(", then ");
    let _ = write!(
        text,
        "\n## Training\n\n{million:.2} million parameters, {megabytes:.2} MB with config and tokenizer. {steps} steps, {times}, \
         in several runs of `cargo xtask train` while tasks were added, so that one run of it today gives a model of this kind and not these \
         weights; the log and the curve of the loss stand in `model/training`.\n\n\
         | phase | steps |\n|---|---|\n"
    );
    for (phase, steps) in phases {
        let _ = writeln!(text, "| {phase} | {steps} |");
    }
}

/// The tasks that reach their bar, and those that do not.
fn write_claims(text: &mut String, whole: &Scores) {
    let (can, cannot): (Vec<_>, Vec<_>) = whole
        .iter()
        .partition(|(task, score)| score.accuracy >= bar(task));
    let list = |tasks: &[(&String, &Score)]| {
        let names: Vec<String> = tasks.iter().map(|(task, _)| format!("`{task}`")).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let _ = write!(
        text,
        "\n## What it can do\n\nAnswers that are right to the letter, on held-out items, at {:.0} % or more (tasks of `mixed-` and `recall-`: \
         {:.0} %):\n{}.\n\nNot reached, and therefore not claimed: {}.\n",
        BAR * 100.0,
        BAR_HARD * 100.0,
        list(&can),
        list(&cannot),
    );
}

fn write_tasks(text: &mut String, runs: &[Scores]) {
    let names: Vec<&str> = RUNS.iter().skip(1).map(|(name, _)| *name).collect();
    let _ = write!(
        text,
        "\n## Held-out accuracy\n\nIn percent, with Wilson's 95 % interval. *Media swapped*: each item is shown the picture, sound or film of \
         another one whose answer differs. *Without Engram*: the n-gram memory adds nothing. *Rows by chance*: the indexers' choice is replaced by as many \
         rows drawn at random. *Random weights*: the same config, nothing trained.\n\n\
         | task | items | accuracy | interval | {} |\n|---|---|---|---|{}\n",
        names.join(" | "),
        "---|".repeat(names.len()),
    );
    for (task, score) in &runs[0] {
        let _ = write!(text, "| `{task}` | {} |", cells(score));
        for scores in &runs[1..] {
            let cell = scores.get(task).map(|score| percent(score.accuracy));
            let _ = write!(text, " {} |", cell.unwrap_or_default());
        }
        text.push('\n');
    }
}

/// The curve of recall over the distance of the fact: tasks named `recall-256` to `recall-32k`.
fn write_recall(text: &mut String, whole: &Scores) {
    let mut curve: Vec<(u64, &Score)> = whole
        .iter()
        .filter_map(|(task, score)| Some((tokens(task.strip_prefix("recall-")?)?, score)))
        .collect();
    curve.sort_by_key(|(tokens, _)| *tokens);
    if curve.is_empty() {
        return;
    }
    text.push_str(
        "\n## Recall\n\nA fact given so many tokens before it is asked for.\n\n\
         | tokens | items | accuracy | interval |\n|---|---|---|---|\n",
    );
    for (tokens, score) in curve {
        let _ = writeln!(text, "| {tokens} | {} |", cells(score));
    }
}

/// Items, accuracy and interval of a task, as cells of a table.
fn cells(score: &Score) -> String {
    let [low, high] = score.interval.map(percent);
    let accuracy = percent(score.accuracy);
    format!("{} | {accuracy} | {low} to {high}", score.items)
}

/// `256` or `4k` as a number of tokens.
fn tokens(text: &str) -> Option<u64> {
    match text.strip_suffix('k') {
        Some(thousands) => Some(thousands.parse::<u64>().ok()? * 1024),
        None => text.parse().ok(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scores_of(tasks: &[(&str, f64)]) -> Result<Scores> {
        let tasks: Vec<Value> = tasks
            .iter()
            .map(|(task, accuracy)| {
                json!({ "task": task, "items": 10, "accuracy": accuracy, "interval": [0.5, 1.0] })
            })
            .collect();
        scores(&json!({ "tasks": tasks }))
    }

    #[test]
    fn a_card_says_what_was_measured_and_claims_no_more() -> Result<()> {
        let whole = scores_of(&[
            ("sum", 0.95),
            ("mixed-both", 0.85),
            ("recall-4k", 0.7),
            ("recall-256", 1.0),
            ("rhyme", 0.85),
        ])?;
        let swapped = scores_of(&[("mixed-both", 0.125)])?;
        let none = Scores::new();
        let log = concat!(
            "{\"device\": \"cpu\", \"parameters\": 5500000, \"step\": 0}\n",
            "{\"step\": 10, \"seconds\": 30, \"phase\": \"towers\", \"steps\": 10}\n",
            "{\"step\": 15, \"seconds\": 60, \"phase\": \"towers\", \"steps\": 5}\n",
            "{\"device\": \"gpu\", \"step\": 15}\n",
            "{\"step\": 25, \"seconds\": 90, \"phase\": \"text\", \"steps\": 10}\n",
            "{\"step\": 27, \"seconds\": 96, \"phase\": \"end\", \"steps\": 2}\n",
        );
        let training = Training::read(log)?;
        assert_eq!(
            training.phases,
            [("towers".to_owned(), 15), ("text".to_owned(), 12)]
        );
        let runs = [whole, swapped, none.clone(), none.clone(), none];
        let card = card(&runs, &training, 6_700_000);
        for line in [
            "5.50 million parameters, 6.70 MB with config and tokenizer. 27 steps, 1.0 minutes on cpu, then 0.6 minutes on gpu, in several runs",
            "| towers | 15 |",
            "`mixed-both`, `recall-256`, `sum`.",
            "not claimed: `recall-4k`, `rhyme`.",
            "| `mixed-both` | 10 | 85.0 | 50.0 to 100.0 | 12.5 |  |  |  |",
            "| 256 | 10 | 100.0 | 50.0 to 100.0 |\n| 4096 | 10 | 70.0 |",
        ] {
            assert!(card.contains(line), "no {line:?} in {card}");
        }
        Ok(())
    }
}
