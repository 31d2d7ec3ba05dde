//! `deepseek eval`: answers held against those that are wanted.

#[cfg(test)]
mod corpus;
mod limits;
mod report;
mod score;
mod swap;
mod task;
mod want;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::anyhow;
use deepseek_chat::limits::{CONTEXT, STEP_TOKENS};
use deepseek_chat::{
    Address, Completion, Description, ModelSource, Orientation, Session, SessionOptions, Turn,
    TurnOptions,
};
use deepseek_engine::{Engine, Limits, Reason, Sampling};
use deepseek_model::{Ablation, Config, Prefill};
use deepseek_text::{Mode, Options, Tokenizer};

use self::report::Report;
use self::task::Item;
use crate::args::{Ablated, Eval, VideoArgs};
use crate::fault::{Fault, Result};
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::media::{self, Notes};
use crate::screen;
use crate::trouble;

pub(crate) fn run(args: &Eval) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let items = items(args)?;
    let bench = Bench::open(args, &items, &interrupt)?;
    let mut report = Report::new(items.len());
    bench.answer_all(&items, &mut report, &interrupt)?;
    let mut out = screen::stdout();
    if args.json {
        report.write_json(&mut out, args)?;
    } else {
        report.write_text(&mut out, args)?;
    }
    out.flush()?;
    if report.interrupted {
        Err(Fault::interrupted())
    } else {
        Ok(())
    }
}

/// The items that are to be answered.
fn items(args: &Eval) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for file in &args.files {
        items.extend(read(file)?);
    }
    let known: BTreeSet<String> = items.iter().map(|item| item.task.clone()).collect();
    if let Some(name) = args.tasks.iter().find(|name| !known.contains(*name)) {
        let names: Vec<String> = known.into_iter().collect();
        let error = anyhow!("--task {name}: no item is of this task");
        return Err(Fault::usage(error).hint(format!("there are {}", names.join(", "))));
    }
    if !args.tasks.is_empty() {
        items.retain(|item| args.tasks.contains(&item.task));
    }
    if args.swap_media {
        items = swap::swap(items);
    }
    if let Some(limit) = args.limit {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        items.retain(|item| {
            let count = counts.entry(item.task.clone()).or_default();
            *count += 1;
            *count <= limit
        });
    }
    match items.is_empty() {
        true if args.swap_media => {
            let error = anyhow!("no two items of a task have media that can be swapped");
            Err(Fault::input(error))
        }
        true => Err(Fault::input(anyhow!("the task files hold no items"))),
        false => Ok(items),
    }
}

/// Reads a task file. Its media are files beside it.
fn read(file: &Path) -> Result<Vec<Item>> {
    let bytes = input::stream(file, limits::FILE_BYTES_MAX)?;
    let mut items = task::read(file, &bytes).map_err(Fault::input)?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let media = items
        .iter_mut()
        .flat_map(|item| item.conversation.media_mut());
    for source in media.filter_map(|part| part.source_mut()) {
        if matches!(Address::of(source), Ok(Address::File)) {
            *source = folder.join(&*source).display().to_string();
        }
    }
    Ok(items)
}

/// A model at work on items.
#[derive(Debug)]
struct Bench {
    source: ModelSource,
    config: Config,
    session: Session,
    notes: Notes,
    /// Items that the engine holds at a time, so that none of its places is ever free.
    ahead: usize,
}

impl Bench {
    /// Loads the model with room for the longest of the items.
    fn open(args: &Eval, items: &[Item], interrupt: &Interrupt) -> Result<Self> {
        let source = load::source(args.model.folder.as_deref())?;
        let description = load::describe(&source, args.draft)?;
        let config = &description.config;
        let loader = media::loader(config, &VideoArgs::default(), Orientation::Tagged)?;
        let mut options = SessionOptions::of(&description, source.defaults());
        options.answer.drafts = args.draft;
        options.answer.sampling = Sampling::greedy();
        let longest = longest(items, &description.tokenizer, &options.prompt)?;
        let context = args
            .context
            .map_or(longest.max(CONTEXT).min(config.max_positions), |n| {
                n as usize
            });
        let sequences = (args.batch as usize).min(items.len());
        let mut budget = load::budget(
            &args.model,
            context,
            STEP_TOKENS.min(context),
            Prefill::Replay,
        );
        budget.sequences = sequences;
        let mut plan = load::plan(&args.model, source.defaults().level, config, budget)?;
        for part in &args.ablate {
            plan = plan.without(match part {
                Ablated::Engram => Ablation::Engram,
                Ablated::Indexer => Ablation::Indexer { seed: args.seed },
            });
        }
        let threads = load::threads(args.threads.threads);
        let decoder = load::decoder(&args.model, threads, &source, plan, interrupt)?;
        let engine = Engine::spawn(decoder, Limits::default());
        let Description { config, tokenizer } = description;
        Ok(Self {
            session: Session::new(engine, tokenizer, loader, options),
            notes: Notes::default(),
            ahead: 2 * sequences,
            source,
            config,
        })
    }

    /// Asks all items, several at a time, and takes in the answers in their order. Ctrl-C ends it
    /// with those that are there.
    fn answer_all(&self, items: &[Item], report: &mut Report, interrupt: &Interrupt) -> Result<()> {
        let start = Instant::now();
        let bar = load::bar("answering", "{pos}/{len} items, {eta} left");
        bar.set_length(items.len() as u64);
        let mut asked = VecDeque::with_capacity(self.ahead);
        let mut rest = items.iter();
        loop {
            while asked.len() < self.ahead
                && interrupt.poll().is_continue()
                && let Some(item) = rest.next()
            {
                let turn = self.ask(item).map_err(|fault| fault.at(item.place()))?;
                asked.push_back((item, turn));
            }
            let Some((item, turn)) = asked.pop_front() else {
                break;
            };
            let said = hear(turn, interrupt).map_err(|fault| {
                trouble::name(fault, &self.source, &self.config, interrupt).at(item.place())
            })?;
            if said.reason == Reason::Cancelled {
                break;
            }
            report.add(item, &said);
            bar.inc(1);
        }
        bar.finish_and_clear();
        report.elapsed = start.elapsed();
        report.interrupted = interrupt.poll().is_break();
        Ok(())
    }

    fn ask(&self, item: &Item) -> Result<Turn> {
        let SessionOptions { prompt, answer } = self.session.options();
        let answer = TurnOptions {
            max_tokens: Some(item.max_tokens),
            ..answer.clone()
        };
        let conversation = &item.conversation;
        let media = media::load_all(self.session.loader(), conversation, &self.notes)?;
        let prompt = prompt_options(item, prompt);
        Ok(self.session.turn(conversation, &prompt, answer, media)?)
    }
}

/// Positions that the longest item needs as far as its text goes.
fn longest(items: &[Item], tokenizer: &Tokenizer, prompt: &Options) -> Result<usize> {
    let mut longest = 0;
    for item in items {
        let options = prompt_options(item, prompt);
        let encoded = deepseek_text::encode(tokenizer, &item.conversation, &options)
            .map_err(|error| Fault::from(error).at(item.place()))?;
        longest = longest.max(encoded.ids.len() + item.max_tokens as usize);
    }
    Ok(longest)
}

fn prompt_options(item: &Item, prompt: &Options) -> Options {
    Options {
        mode: if item.thinking {
            Mode::Thinking
        } else {
            Mode::Chat
        },
        ..*prompt
    }
}

/// An answer, whole. Ctrl-C stops it.
fn hear(turn: Turn, interrupt: &Interrupt) -> Result<Completion> {
    let _watch = interrupt.watch(turn.canceller());
    Ok(turn.wait()?)
}
