//! `deepseek bench`: how fast a model runs, and what share that is of what the machine could do.

mod chart;
mod table;

use std::time::Instant;

use anyhow::anyhow;
use backend_host::Roofs;
use deepseek_core::Level;
use deepseek_core::operands::Visits;
use deepseek_model::bill::{Flops, Phase, Weights};
use deepseek_model::{
    Config, Decoder, Extent, Plan, Prefill, SeqId, SequenceState, Span, Step, TokenId, Want,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::table::{Roof, Row, Table, Test};
use crate::args::Bench;
use crate::device;
use crate::fault::{self, Fault, Result};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::output::Place;
use crate::stats::Mapped;
use crate::trouble;

/// The one sequence that runs.
const SEQ: SeqId = SeqId(0);

pub(crate) fn run(args: &Bench) -> Result<()> {
    if args.model.device.is_emulated() {
        let error = anyhow!("--device {}: an emulator has no speed", args.model.device);
        return Err(Fault::usage(error).hint("measure a device"));
    }
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let tests = tests(args)?;
    let source = load::source(args.model.folder.as_deref())?;
    let svg = args.svg.as_deref().map(Place::find).transpose()?;
    if let Some(svg) = &svg {
        svg.spare(load::files(&args.model, &source)?)?;
    }
    let config = source.config()?.without_drafts();
    let level = args.model.numerics;
    let level = level.map_or(source.defaults().level, Level::from);
    let plan = || layout(args, level, &config, &tests);
    let prefill = args.model.prefill.map_or(Prefill::Replay, Prefill::from);
    let work = Work::of(plan()?, prefill);
    let counts: Vec<usize> = match args.threads.as_slice() {
        [] => vec![load::threads(None)],
        some => some.iter().map(|n| load::threads(Some(*n))).collect(),
    };
    let rows = counts.len() * args.n_depth.len() * tests.len();
    let mut table = Table::begin(args, &work.weights, level, rows)?;
    let mut mapped = None;
    for threads in counts {
        let roofs = device::roofs(args.model.device, threads)?;
        let decoder = load::decoder(&args.model, threads, &source, plan()?, &interrupt)?;
        mapped = Mapped::now();
        let mut runner = Runner::new(decoder, args.chunk as usize, &interrupt);
        for &depth in &args.n_depth {
            let named = |fault| trouble::name(fault, &source, &config, &interrupt);
            runner.fill(depth).map_err(named)?;
            for &test in &tests {
                // The first time, memory is new and caches are cold.
                runner.rate(test).map_err(named)?;
                let before = runner.decoder.visits();
                let rates = (0..args.repetitions).map(|_| runner.rate(test));
                table.push(Row {
                    threads,
                    test,
                    depth,
                    rates: rates.collect::<Result<_>>().map_err(named)?,
                    resident: resident(before, runner.decoder.visits()),
                    roof: roofs.map(|roofs| work.roof(test, depth, roofs)),
                })?;
            }
        }
    }
    let drawing = chart::draw(&table.title(), table.rows());
    // Where experts come and go, so do their pages.
    let stays = table.rows().iter().all(|row| row.resident.is_none());
    table.finish()?;
    if let Some(said) = mapped.filter(|_| stays).and_then(small_pages) {
        fault::note(&said);
    }
    match svg {
        None => Ok(()),
        Some(svg) => Ok(interrupt.write(svg, drawing.as_bytes())?),
    }
}

/// What to do where the better part of large weights lies in small pages: files that were written lately, or read
/// otherwise, are in the page cache so.
fn small_pages(mapped: Mapped) -> Option<String> {
    /// Bytes from which on it matters.
    const MUCH: u64 = 256 << 20;

    (mapped.all >= MUCH && mapped.huge < mapped.all / 2).then(|| {
        let share = 100 * mapped.huge / mapped.all;
        format!(
            "{share} % of the weights lie in huge pages, which are read faster; `dd if=FILE iflag=nocache count=0` \
             drops a file from the page cache, and the next run reads it into huge ones, where its file system can"
        )
    })
}

/// The share of the visits between two counts that found their expert in memory, where that is known.
fn resident(before: Visits, after: Visits) -> Option<f64> {
    let count = after.count - before.count;
    let fetched = (after.fetched - before.fetched).min(count);
    (count > 0).then(|| (count - fetched) as f64 / count as f64)
}

/// What is asked for, prompts first.
fn tests(args: &Bench) -> Result<Vec<Test>> {
    let prompts = args.n_prompt.iter().map(|n| Test::Prompt(*n));
    let generated = args.n_gen.iter().map(|n| Test::Generate(*n));
    let tests: Vec<Test> = prompts
        .chain(generated)
        .filter(|test| test.tokens() > 0)
        .collect();
    if tests.is_empty() {
        Err(Fault::usage(anyhow!("-p 0 -n 0: nothing to measure")))
    } else {
        Ok(tests)
    }
}

/// Lays out a model with room for the longest of the tests.
fn layout(args: &Bench, level: Level, config: &Config, tests: &[Test]) -> Result<Plan> {
    let deepest = args.n_depth.iter().max().copied().unwrap_or(0) as usize;
    let longest = tests.iter().map(|test| test.tokens()).max().unwrap_or(0) as usize;
    let context = (deepest + longest).max(2);
    let chunk = context.min(args.chunk as usize);
    let budget = load::budget(&args.model, context, chunk, Prefill::Replay);
    load::plan(&args.model, level, config, budget)
}

/// What a token costs.
#[derive(Debug)]
struct Work {
    plan: Plan,
    weights: Weights,
    prefill: Prefill,
}

impl Work {
    fn of(plan: Plan, prefill: Prefill) -> Self {
        let weights = Weights::of(plan.config(), plan.config().storage);
        Self {
            plan,
            weights,
            prefill,
        }
    }

    /// Tokens per second that a test would have if nothing but its roof held it back: reading the weights
    /// for tokens one after the other, multiplying for a prompt.
    fn roof(&self, test: Test, depth: u32, roofs: Roofs) -> Roof {
        match test {
            Test::Generate(_) => Roof {
                of: "reading",
                rate: roofs.read / self.weights.active_bytes.max(1) as f64,
            },
            Test::Prompt(tokens) => {
                let phase = Phase::Prefill(self.prefill);
                let middle = (depth + tokens / 2) as usize;
                let flops = Flops::at(&self.plan, &self.weights, phase, middle);
                Roof {
                    of: "multiplying",
                    rate: roofs.multiply / flops.total().max(1) as f64,
                }
            }
        }
    }
}

/// A model that runs what is measured.
struct Runner<'a> {
    decoder: Box<dyn Decoder>,
    chunk: usize,
    draw: StdRng,
    /// The tokens that stand before what is measured.
    filled: SequenceState,
    interrupt: &'a Interrupt,
}

impl<'a> Runner<'a> {
    fn new(decoder: Box<dyn Decoder>, chunk: usize, interrupt: &'a Interrupt) -> Self {
        Self {
            chunk: chunk.min(decoder.capacity().step_tokens as usize),
            decoder,
            draw: StdRng::seed_from_u64(0),
            filled: SequenceState::new(0, Vec::new()),
            interrupt,
        }
    }

    /// Runs so many tokens, behind which all that follows is measured.
    fn fill(&mut self, depth: u32) -> Result<()> {
        self.decoder.forget(SEQ);
        self.prompt(0, depth)?;
        self.filled = self.decoder.save(SEQ, Extent::Whole)?;
        Ok(())
    }

    /// Tokens per second of a test.
    fn rate(&mut self, test: Test) -> Result<f64> {
        self.decoder.load(SEQ, &self.filled)?;
        let at = self.filled.position();
        let start = Instant::now();
        match test {
            Test::Prompt(tokens) => self.prompt(at, tokens)?,
            Test::Generate(tokens) => {
                for index in 0..tokens {
                    self.step(at + index, 1, Want::Last)?;
                }
            }
        }
        Ok(f64::from(test.tokens()) / start.elapsed().as_secs_f64())
    }

    /// Runs a prompt, in chunks, up to the logits after it.
    fn prompt(&mut self, at: u32, tokens: u32) -> Result<()> {
        let end = at + tokens;
        for first in (at..end).step_by(self.chunk) {
            let count = self.chunk.min((end - first) as usize);
            let is_last = first + count as u32 == end;
            self.step(
                first,
                count,
                if is_last { Want::Last } else { Want::Nothing },
            )?;
        }
        Ok(())
    }

    fn step(&mut self, at: u32, count: usize, want: Want) -> Result<()> {
        if self.interrupt.poll().is_break() {
            return Err(Fault::interrupted());
        }
        let vocabulary = self.decoder.capacity().vocabulary;
        let tokens: Vec<TokenId> = (0..count)
            .map(|_| self.draw.random_range(0..vocabulary))
            .collect();
        let span = Span {
            seq: SEQ,
            at,
            tokens,
            media: Vec::new(),
            want,
        };
        let logits = self.decoder.step(&Step { spans: vec![span] })?;
        self.decoder.recycle(logits);
        match self.decoder.trouble(SEQ) {
            None => Ok(()),
            Some(trouble) => Err(deepseek_engine::Fault::NotFinite(trouble).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pages_are_told_of_where_they_cost_something() {
        let said = |all: u64, huge: u64| {
            small_pages(Mapped {
                all: all << 20,
                huge: huge << 20,
            })
        };
        assert!(said(100, 0).is_none() && said(4096, 4096).is_none() && said(4096, 2048).is_none());
        let told = said(4096, 1024).expect("a note");
        assert!(told.starts_with("25 % of the weights"), "{told}");
    }
}
