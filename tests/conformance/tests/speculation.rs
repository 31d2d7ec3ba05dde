//! Drafts change how many steps an answer takes, never a bit of what it is: the fixtures' models, by
//! the engine and by a loop of our own, greedy and sampled.

use std::time::Duration;

use anyhow::{Context, Result};
use backend_host::Host;
use conformance::compare::same_bits;
use conformance::model::{Open, draft, open, prompt, step};
use deepseek_core::Numerics;
use deepseek_engine::{Engine, Event, Limits, Request, Sampler, Sampling, SamplingOptions};
use deepseek_model::{
    Capacity, Decoder, DraftAsk, Logits, Media, MediaId, Model, SeqId, Step, TokenId,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Those with a draft head, MTP and DSpark.
const FIXTURES: [&str; 8] = [
    "flashy-s0",
    "prolike-s0",
    "realrope-s0",
    "cached-s0",
    "base-s0",
    "plain-s7-release",
    "wide-s3-f32",
    "wide-s4-release",
];

/// Tokens of a prompt, and of what is said then.
const PROMPT: usize = 20;
const ANSWER: usize = 40;

/// Of a hundred drafts of a [`Prompted`] model, those that are right.
const RIGHT_PERCENT: u32 = 75;

/// A model whose drafts are those of its own head, for the most part put right by who knows what will be
/// said: heads with random weights are hardly ever right.
#[derive(Debug)]
struct Prompted {
    model: Model<Host>,
    /// Prompt and answer, as far as known.
    known: Vec<TokenId>,
    rng: ChaCha8Rng,
    position: usize,
}

impl Prompted {
    fn open(name: &str, numerics: Numerics, known: &[TokenId]) -> Result<Self> {
        let opened = Open {
            numerics,
            drafts: true,
            ..Open::default()
        };
        Ok(Self {
            model: open(Host::new(2), name, opened)?,
            known: known.to_vec(),
            rng: ChaCha8Rng::seed_from_u64(known.len() as u64),
            position: 0,
        })
    }
}

impl Decoder for Prompted {
    fn capacity(&self) -> Capacity {
        self.model.capacity()
    }

    fn step(&mut self, step: &Step) -> deepseek_model::Result<Logits> {
        let span = &step.spans[0];
        self.position = span.at as usize + span.tokens.len();
        self.model.step(step)
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> deepseek_model::Result<Vec<Vec<TokenId>>> {
        let mut drafted = self.model.draft(asks)?;
        // The id that the drafts follow stands at the position that comes next.
        let known = self.known.get(self.position + 1..).unwrap_or(&[]);
        for (draft, right) in drafted.iter_mut().flatten().zip(known) {
            if self.rng.random_ratio(RIGHT_PERCENT, 100) {
                *draft = *right;
            }
        }
        Ok(drafted)
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        self.position = position as usize;
        self.model.rewind(seq, position);
    }

    fn forget(&mut self, seq: SeqId) {
        self.model.forget(seq);
    }

    fn attach(&mut self, media: &Media) -> deepseek_model::Result<MediaId> {
        self.model.attach(media)
    }

    fn release(&mut self, media: MediaId) {
        self.model.release(media);
    }
}

/// What was said, and what it took.
#[derive(Debug, PartialEq)]
struct Said {
    ids: Vec<TokenId>,
    drafted: u32,
    accepted: u32,
}

/// Says so many ids with drafts, without an engine, and gives the logits from which each was sampled.
fn say(
    decoder: &mut dyn Decoder,
    ids: &[TokenId],
    sampling: Sampling,
    drafts: u32,
) -> Result<(Said, Vec<f32>)> {
    let width = decoder.capacity().vocabulary as usize;
    let never = decoder
        .capacity()
        .placeholders
        .iter()
        .map(|id| id..id + 1)
        .collect();
    let mut sampler = Sampler::new(sampling, ids).never(never);
    let mut all = ids.to_vec();
    let (mut fed, mut rows) = (0, Vec::new());
    let (mut drafted, mut accepted) = (0, 0);
    while all.len() < ids.len() + ANSWER {
        let left = (ids.len() + ANSWER - all.len()) as u32;
        // A prompt that has not run is followed by nothing that could be drafted.
        let proposed = match drafts.min(left - 1) {
            most if most > 0 && fed > 0 => {
                let after = *all.last().context("a prompt")?;
                draft(decoder, after, most)?
            }
            _ => Vec::new(),
        };
        let tokens = [&all[fed..], &proposed].concat();
        let logits = decoder.step(&step(0, fed, &tokens))?.into_values();
        let first = all.len() - fed - 1;
        fed = all.len();
        for (index, row) in logits.chunks(width).skip(first).enumerate() {
            let id = sampler.draw(row, all.len() as u32)?;
            rows.extend_from_slice(row);
            all.push(id);
            if proposed.get(index) != Some(&id) {
                break;
            }
            fed += 1;
            accepted += 1;
        }
        drafted += proposed.len() as u32;
        decoder.rewind(SeqId(0), fed as u32);
    }
    decoder.forget(SeqId(0));
    let ids = all.split_off(ids.len());
    let said = Said {
        ids,
        drafted,
        accepted,
    };
    Ok((said, rows))
}

/// The same by an engine.
fn ask(decoder: Prompted, ids: &[TokenId], sampling: Sampling, drafts: u32) -> Result<Said> {
    // Nobody who reads slowly keeps drafts from being made.
    let limits = Limits {
        unread_max: 2 * ANSWER,
        ..Limits::default()
    };
    let engine = Engine::spawn(Box::new(decoder), limits);
    let request = Request {
        max_tokens: Some(ANSWER as u32),
        sampling,
        drafts,
        ..Request::new(ids.to_vec())
    };
    let mut said = Vec::new();
    let mut usage = None;
    for event in engine.submit(request)? {
        match event {
            Event::Token { id, .. } => said.push(id),
            Event::Finished { usage: took, .. } => usage = Some(took),
            Event::Failed(fault) => return Err(fault.into()),
            _ => {}
        }
    }
    engine.close(Duration::MAX)?;
    let usage = usage.context("an end")?;
    Ok(Said {
        ids: said,
        drafted: usage.drafted,
        accepted: usage.accepted,
    })
}

/// Ways of sampling: the most likely, and by three seeds, the last with everything that can be asked for.
fn samplings() -> Result<Vec<Sampling>> {
    let options = SamplingOptions {
        temperature: 0.9,
        ..SamplingOptions::default()
    };
    let all = SamplingOptions {
        temperature: 1.3,
        top_k: 30,
        top_p: 0.95,
        min_p: 0.01,
        repetition_penalty: 1.2,
        frequency_penalty: 0.2,
        presence_penalty: -0.1,
        seed: 3,
    };
    let mut samplings = vec![Sampling::greedy(), Sampling::new(all)?];
    for seed in [1, 2] {
        samplings.push(Sampling::new(SamplingOptions { seed, ..options })?);
    }
    Ok(samplings)
}

#[test]
fn with_drafts_and_without_the_ids_and_the_logits_are_the_same() -> Result<()> {
    for name in FIXTURES {
        let prompt = prompt(name)?;
        let ids = &prompt[..PROMPT];
        for numerics in [Numerics::EXACT, Numerics::RELEASED] {
            let (mut drafted, mut accepted) = (0, 0);
            for sampling in samplings()? {
                let mut plain = Prompted::open(name, numerics, &[])?;
                let (without, rows) = say(&mut plain, ids, sampling, 0)?;
                let known = [ids, &without.ids].concat();
                for drafts in 1..=plain.capacity().drafts {
                    let what = format!("{name}, {drafts} drafts, {sampling:?}");
                    let open = || Prompted::open(name, numerics, &known);
                    let (with, same) = say(&mut open()?, ids, sampling, drafts)?;
                    assert_eq!(with.ids, without.ids, "{what}");
                    same_bits(&what, &same, &rows);
                    let engine = ask(open()?, ids, sampling, drafts)?;
                    assert_eq!(engine, with, "{what}");
                    drafted += with.drafted;
                    accepted += with.accepted;
                }
            }
            // Some were put right, and some were not.
            assert!(accepted > drafted / 3, "{name}: {accepted} of {drafted}");
            assert!(accepted < drafted, "{name}: {accepted} of {drafted}");
        }
    }
    Ok(())
}
