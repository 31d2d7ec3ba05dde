//! A decode step on the host asks for no memory, once steps like it have been made.
#![allow(clippy::print_stderr, reason = "it tells where memory was asked for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use backend_host::{Host, KernelSet};
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Budget, Config, Decoder, Model, Plan, Prefill, SeqId, Span, Step, Want};
use deepseek_text::Tokenizer;
use serde_json::Value;

/// Calls for memory so far, on all threads.
static ASKED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Whether it is told where this thread asks for memory.
    static TELLS: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, counted.
struct Counting;

fn count() {
    ASKED.fetch_add(1, Ordering::Relaxed);
    // Telling asks for memory, too.
    if TELLS.replace(false) {
        eprintln!("{}", Backtrace::force_capture());
        TELLS.set(true);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one that the system's allocator asks for.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Tokens of the prompt.
const PROMPT: u32 = 60;
/// Where counting begins: windows are full, rings have come round, and every ratio has had whole groups.
const WARM: u32 = 250;
/// Steps that are counted. Within them, too, rows of every ratio are made.
const COUNTED: u32 = 20;

struct Case {
    name: &'static str,
    config: String,
    checkpoint: Checkpoint,
    /// The compressed ids of tokens, where the model has an n-gram memory.
    compressed: Option<Vec<u32>>,
}

impl Case {
    fn fixture(name: &'static str) -> Result<Self, Box<dyn Error>> {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
        let read = |file: &str| std::fs::read_to_string(fixtures.join(name).join(file));
        let meta: Value = serde_json::from_str(&read("meta.json")?)?;
        Ok(Self {
            name,
            config: read("config.json")?,
            checkpoint: Checkpoint::open(&fixtures.join(name))?,
            compressed: serde_json::from_value(meta["engram_token_map"].clone())?,
        })
    }

    fn embedded() -> Result<Self, Box<dyn Error>> {
        let weights = deepseek_assets::WEIGHTS;
        let tokenizer = Tokenizer::parse(deepseek_assets::TOKENIZER)?;
        Ok(Self {
            name: "the embedded model",
            config: deepseek_assets::CONFIG.to_owned(),
            checkpoint: Checkpoint::from_static("model.safetensors", weights)?,
            compressed: Some(tokenizer.engram_ids()?),
        })
    }

    fn model(&self, numerics: Numerics, be: Host) -> Result<Model<Host>, Box<dyn Error>> {
        let config = Config::parse(&self.config)?;
        let budget = Budget {
            context: 512,
            prefill: Prefill::Replay,
            ..Budget::default()
        };
        let plan = Plan::new(&config, numerics, budget)?;
        let compressed = self.compressed.clone();
        let progress = &mut |_, _| ControlFlow::Continue(());
        Ok(Model::load(
            be,
            plan,
            &self.checkpoint,
            compressed,
            progress,
        )?)
    }
}

/// Takes one step for each of `positions`, and gives back what it gave.
fn decode(
    model: &mut Model<Host>,
    step: &mut Step,
    positions: std::ops::Range<u32>,
) -> Result<(), Box<dyn Error>> {
    for at in positions {
        step.spans[0].at = at;
        step.spans[0].tokens[0] = token(at);
        let logits = model.step(step)?;
        assert_eq!(logits.span(0).count(), 1);
        model.recycle(logits);
    }
    Ok(())
}

/// Some id that every vocabulary here has.
fn token(at: u32) -> u32 {
    3 + at * 7919 % 250
}

#[test]
fn a_decode_step_asks_for_no_memory() -> Result<(), Box<dyn Error>> {
    let cases = [
        Case::fixture("v4/flashy-s0")?,
        Case::fixture("v41/wide-s4-release")?,
        Case::embedded()?,
    ];
    // Each kernel set by itself, and the one that is chosen with two threads.
    let sets: Vec<_> = KernelSet::available().map(|set| (1, Some(set))).collect();
    let hosts = [&sets[..], &[(2, None)]].concat();
    let levels = [Numerics::EXACT, Numerics::RELEASED];
    let all = cases
        .iter()
        .flat_map(|case| levels.map(|numerics| (case, numerics)));
    for ((case, numerics), (threads, set)) in
        all.flat_map(|what| hosts.iter().map(move |host| (what, *host)))
    {
        let be = match set {
            Some(set) => Host::start(threads, set)?,
            None => Host::new(threads),
        };
        let mut model = case.model(numerics, be)?;
        let span = |tokens, want| Span {
            seq: SeqId(0),
            at: 0,
            tokens,
            media: Vec::new(),
            want,
        };
        let prompt = span((0..PROMPT).map(token).collect(), Want::Last);
        model.step(&Step {
            spans: vec![prompt],
        })?;
        let mut step = Step {
            spans: vec![span(vec![0], Want::Last)],
        };
        decode(&mut model, &mut step, PROMPT..WARM)?;
        let before = ASKED.load(Ordering::Relaxed);
        decode(&mut model, &mut step, WARM..WARM + COUNTED)?;
        let asked = ASKED.load(Ordering::Relaxed) - before;
        // Which thread takes which turn is not always the same, and each needs its own room once.
        // One call a step would be more.
        let (few, end) = (16 * (threads - 1), WARM + COUNTED);
        if asked > few {
            TELLS.set(true);
            let told = decode(&mut model, &mut step, end..end + COUNTED);
            TELLS.set(false);
            told?;
        }
        let set = set.map_or("the set that is chosen", KernelSet::name);
        let what = format!("{}, {numerics:?}, {threads} threads, {set}", case.name);
        assert!(asked <= few, "{what}: {asked} calls in {COUNTED} steps");
        // What is not given back is asked for anew, and counted.
        for at in end..end + 2 {
            step.spans[0].at = at;
            drop(model.step(&step)?);
        }
        let again = ASKED.load(Ordering::Relaxed) - before - asked;
        assert!(again > 0, "{what}: {again} calls for logits");
    }
    Ok(())
}
