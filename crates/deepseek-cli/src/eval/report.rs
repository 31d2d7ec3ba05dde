//! What came of it: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use deepseek_chat::{Address, Completion};
use deepseek_text::{Message, Part};
use serde_json::{Value, json};

use super::score::Score;
use super::task::Item;
use super::want;
use crate::args::Eval;
use crate::ending;
use crate::fault::one_line;

/// The items answered so far.
#[derive(Debug)]
pub(super) struct Report {
    tasks: BTreeMap<String, Score>,
    failures: Vec<Failure>,
    /// Items that were to be answered.
    items: usize,
    /// Answers by how they ended.
    finish: BTreeMap<&'static str, u32>,
    prompt_tokens: u64,
    generated_tokens: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
    /// From the first question to the last answer.
    pub(super) elapsed: Duration,
    /// Whether Ctrl-C came before the end.
    pub(super) interrupted: bool,
}

/// An answer that is not what was wanted.
#[derive(Debug)]
struct Failure {
    task: String,
    id: String,
    place: String,
    question: String,
    expected: String,
    got: String,
    finish: &'static str,
}

impl Report {
    /// Nothing yet, of so many items.
    pub(super) fn new(items: usize) -> Self {
        Self {
            tasks: BTreeMap::new(),
            failures: Vec::new(),
            items,
            finish: BTreeMap::new(),
            prompt_tokens: 0,
            generated_tokens: 0,
            drafted_tokens: 0,
            accepted_tokens: 0,
            elapsed: Duration::ZERO,
            interrupted: false,
        }
    }

    /// Takes in an answer.
    pub(super) fn add(&mut self, item: &Item, said: &Completion) {
        let right = item.want.is_met_by(&said.answer);
        self.tasks.entry(item.task.clone()).or_default().add(right);
        let finish = ending::name(said.reason);
        *self.finish.entry(finish).or_default() += 1;
        self.prompt_tokens += u64::from(said.usage.prompt);
        self.generated_tokens += u64::from(said.usage.generated);
        self.drafted_tokens += u64::from(said.usage.drafted);
        self.accepted_tokens += u64::from(said.usage.accepted);
        if !right {
            self.failures.push(Failure {
                task: item.task.clone(),
                id: item.id.clone(),
                place: item.place(),
                question: question(&item.conversation.messages),
                expected: item.want.show(),
                got: want::show(&said.answer),
                finish,
            });
        }
    }

    fn total(&self) -> Score {
        self.tasks
            .values()
            .copied()
            .fold(Score::default(), Score::plus)
    }

    /// Writes a line for each task and one for all, and what went wrong if `failures` are asked for.
    pub(super) fn write_text(&self, out: &mut impl Write, args: &Eval) -> io::Result<()> {
        let names = self.tasks.keys().map(String::as_str);
        let width = names
            .chain(["task"])
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        writeln!(
            out,
            "{:<width$}  items  right  accuracy  95 % interval",
            "task"
        )?;
        let total = self.total();
        let tasks = self
            .tasks
            .iter()
            .map(|(name, score)| (name.as_str(), *score));
        for (name, score) in tasks.chain([("all", total)]) {
            let Score { items, right } = score;
            let [low, high] = score.interval().map(percent);
            let accuracy = percent(score.accuracy());
            writeln!(
                out,
                "{name:<width$}  {items:>5}  {right:>5}  {accuracy:>6} %  {low:>5} to {high:>5} %"
            )?;
        }
        write!(out, "\n{} of {} items", total.items, self.items)?;
        if args.model.device.is_emulated() {
            writeln!(out)?;
        } else {
            let seconds = self.elapsed.as_secs_f64();
            let rate = f64::from(total.items) / seconds.max(f64::MIN_POSITIVE);
            writeln!(out, " in {seconds:.1} s, {rate:.1} items/s")?;
        }
        if !args.failures {
            return Ok(());
        }
        for failure in &self.failures {
            let Failure {
                task,
                id,
                place,
                question,
                expected,
                got,
                finish,
            } = failure;
            let place = one_line(place);
            writeln!(out, "\n{task} {id} ({place})\n  question  {question:?}")?;
            writeln!(out, "  expected  {expected:?}\n  got       {got:?}")?;
            writeln!(out, "  finish    {finish}")?;
        }
        Ok(())
    }

    /// Writes an object: `tasks` with `task`, `items`, `right`, `accuracy` and `interval`; `total`
    /// with the same; `finish` with answers by how they ended; `seconds`, `tokens`, what was asked
    /// for, and `drafts` and `failures` if they were.
    pub(super) fn write_json(&self, out: &mut impl Write, args: &Eval) -> io::Result<()> {
        let tasks: Vec<Value> = self
            .tasks
            .iter()
            .map(|(name, score)| {
                let mut value = figures(*score);
                value["task"] = json!(name);
                value
            })
            .collect();
        let ablate: Vec<&str> = args.ablate.iter().map(|part| part.name()).collect();
        let mut value = json!({
            "tasks": tasks,
            "total": figures(self.total()),
            "asked": self.items,
            "interrupted": self.interrupted,
            "finish": self.finish,
            "seconds": (!args.model.device.is_emulated()).then_some(self.elapsed.as_secs_f64()),
            "tokens": { "prompt": self.prompt_tokens, "generated": self.generated_tokens },
            "swap_media": args.swap_media,
            "ablate": ablate,
        });
        if args.draft > 0 {
            let (drafted, accepted) = (self.drafted_tokens, self.accepted_tokens);
            value["drafts"] = json!({ "drafted": drafted, "accepted": accepted });
        }
        if args.failures {
            let failures = self.failures.iter().map(Failure::to_json);
            value["failures"] = failures.collect();
        }
        writeln!(out, "{value:#}")
    }
}

impl Failure {
    fn to_json(&self) -> Value {
        json!({
            "task": self.task,
            "id": self.id,
            "place": self.place,
            "question": self.question,
            "expected": self.expected,
            "got": self.got,
            "finish": self.finish,
        })
    }
}

fn figures(score: Score) -> Value {
    json!({
        "items": score.items,
        "right": score.right,
        "accuracy": score.accuracy(),
        "interval": score.interval(),
    })
}

/// A share from 0 to 1 as percent.
fn percent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// The last thing that the user or a tool said, media by their names.
fn question(messages: &[Message]) -> String {
    let content = messages.iter().rev().find_map(|message| match message {
        Message::User { content, .. } | Message::Tool { content, .. } => Some(content),
        _ => None,
    });
    let shown = |part: &Part| match part {
        Part::Text(text) | Part::Other(text) => text.clone(),
        Part::Image(source) | Part::Audio(source) => named(source),
        Part::Video(video) => named(&video.source),
    };
    let parts = content.into_iter().flat_map(|content| &content.0);
    parts.map(shown).collect::<Vec<_>>().join(" ")
}

/// The name of a medium, but not the whole of one that is its own name.
fn named(source: &str) -> String {
    match (Address::of(source), source.split_once(',')) {
        (Ok(Address::Data(_)), Some((kind, _))) => format!("[{kind}]"),
        _ => format!("[{source}]"),
    }
}
