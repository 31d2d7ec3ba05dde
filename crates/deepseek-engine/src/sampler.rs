//! From a row of logits to an id.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use deepseek_model::TokenId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::events::Fault;
use crate::refusal::Invalid;

/// How to draw, as asked for. The default draws from the model's own distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits; 0 takes the most likely id. From 0 to 100.
    pub temperature: f32,
    /// Keeps so many of the most likely ids; 0 keeps all.
    pub top_k: u32,
    /// Keeps the most likely ids that together have this probability, the one that reaches it
    /// included. Above 0, up to 1, which keeps all.
    pub top_p: f32,
    /// Keeps the ids at least this probable relative to the most likely. From 0, which keeps all,
    /// to 1.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of ids that occur in the prompt or
    /// the answer. From 0.1 to 10; 1 changes nothing.
    pub repetition_penalty: f32,
    /// Subtracted once for each time that an id occurs in the answer. From -2 to 2.
    pub frequency_penalty: f32,
    /// Subtracted if an id occurs in the answer. From -2 to 2.
    pub presence_penalty: f32,
    /// The seed of the draws.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: 0,
        }
    }
}

/// How to draw. Every number is within its bounds by construction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sampling(SamplingOptions);

impl Sampling {
    /// Reads what was asked for.
    ///
    /// # Errors
    /// The first field that is out of its bounds. A NaN is out of every bound.
    pub fn new(options: SamplingOptions) -> Result<Self, Invalid> {
        let within = |field, value: f32, low: f32, high: f32| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(Invalid::new(field, value, format!("from {low} to {high}")))
        };
        within("temperature", options.temperature, 0.0, 100.0)?;
        if !(options.top_p > 0.0 && options.top_p <= 1.0) {
            return Err(Invalid::new("top_p", options.top_p, "above 0, up to 1"));
        }
        within("min_p", options.min_p, 0.0, 1.0)?;
        within("repetition_penalty", options.repetition_penalty, 0.1, 10.0)?;
        within("frequency_penalty", options.frequency_penalty, -2.0, 2.0)?;
        within("presence_penalty", options.presence_penalty, -2.0, 2.0)?;
        Ok(Self(options))
    }

    /// Always the most likely id.
    #[must_use]
    pub fn greedy() -> Self {
        Self(SamplingOptions {
            temperature: 0.0,
            ..SamplingOptions::default()
        })
    }

    /// The numbers.
    #[must_use]
    pub fn options(&self) -> &SamplingOptions {
        &self.0
    }

    fn penalises(&self) -> bool {
        let SamplingOptions {
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            ..
        } = self.0;
        repetition_penalty != 1.0 || frequency_penalty != 0.0 || presence_penalty != 0.0
    }
}

/// Draws the ids of one sequence.
///
/// For a row `x: [vocabulary]`, in this order:
///
/// 1. Penalties. For an id that occurs in the prompt or the answer, `x / r` if `x` is positive,
///    else `x * r`; then, for an id that occurs `n > 0` times in the answer, `x - n * f - p`.
/// 2. At temperature 0, the id of the largest `x`. Otherwise weights `w = exp((x - max x) / t)`.
/// 3. Top-k: the `k` largest weights.
/// 4. Top-p: of those, in falling order, the fewest whose sum reaches `p` times the sum of all.
/// 5. Min-p: of those, the ones with `w >= m`; the largest is 1.
/// 6. The draw: with `u` from `[0, 1)`, the first id, counting upwards, at which the running sum
///    of what is left exceeds `u` times its whole.
///
/// Equal values count as falling with the id, so the lowest wins. `u` is the first 53 bits of the
/// 64 that ChaCha8, keyed with the seed, yields at word `2 * position`: it depends on nothing else,
/// neither on the ids drawn before nor on what runs beside.
///
/// The cost is linear in the vocabulary, but for top-k and top-p, which also sort what they keep.
#[derive(Debug, Clone)]
pub struct Sampler {
    sampling: Sampling,
    generator: ChaCha8Rng,
    /// Ids that are not drawn.
    never: Vec<Range<TokenId>>,
    /// How often each id of the sequence occurs in the answer. Kept only if something is penalised.
    occurrences: HashMap<TokenId, u32>,
    penalised: Vec<f32>,
    kept: Vec<(TokenId, f32)>,
}

impl Sampler {
    /// Begins after `prompt`.
    #[must_use]
    pub fn new(sampling: Sampling, prompt: &[TokenId]) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&sampling.0.seed.to_le_bytes());
        let occurrences = if sampling.penalises() {
            prompt.iter().map(|&id| (id, 0)).collect()
        } else {
            HashMap::new()
        };
        Self {
            sampling,
            generator: ChaCha8Rng::from_seed(seed),
            never: Vec::new(),
            occurrences,
            penalised: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Draws none of these ids, whatever their logits: those that stand for media, and those that
    /// stand for nothing.
    #[must_use]
    pub fn never(self, ids: Vec<Range<TokenId>>) -> Self {
        Self { never: ids, ..self }
    }

    /// Draws the id for `position` and remembers it as part of the answer.
    ///
    /// # Errors
    /// [`Fault::NotANumber`] if a logit, penalties applied, is NaN or infinite, or all are `-inf`.
    /// Single ones may be `-inf`: they are never drawn.
    ///
    /// # Panics
    /// If the prompt, the answer or what is never drawn holds an id for which there is no logit.
    pub fn draw(&mut self, logits: &[f32], position: u32) -> Result<TokenId, Fault> {
        self.draw_among(logits, position, None)
    }

    /// The same among the ids whose bits are set in `allowed`, 32 in a word, the lowest first.
    ///
    /// # Errors
    /// As [`draw`](Self::draw), and [`Fault::DeadEnd`] where none of those allowed can be drawn.
    ///
    /// # Panics
    /// As [`draw`](Self::draw), and if there are bits for fewer ids than logits.
    pub fn draw_among(
        &mut self,
        logits: &[f32],
        position: u32,
        allowed: Option<&[u32]>,
    ) -> Result<TokenId, Fault> {
        let mut penalised = std::mem::take(&mut self.penalised);
        let changes = self.sampling.penalises() || !self.never.is_empty() || allowed.is_some();
        let logits = if changes {
            penalised.clear();
            penalised.extend_from_slice(logits);
            self.penalise(&mut penalised);
            for ids in &self.never {
                penalised[ids.start as usize..ids.end as usize].fill(f32::NEG_INFINITY);
            }
            if let Some(allowed) = allowed.filter(|_| largest(&penalised).is_some()) {
                shut_out(&mut penalised, allowed);
                largest(&penalised).ok_or(Fault::DeadEnd { position })?;
            }
            &penalised
        } else {
            logits
        };
        let (most_likely, max) = largest(logits).ok_or(Fault::NotANumber { position })?;
        let id = if self.sampling.0.temperature == 0.0 {
            most_likely
        } else {
            self.weigh(logits, max);
            let u = self.uniform(position);
            pick(&self.kept, u)
        };
        self.penalised = penalised;
        if self.sampling.penalises() {
            *self.occurrences.entry(id).or_default() += 1;
        }
        Ok(id)
    }

    fn penalise(&self, logits: &mut [f32]) {
        let SamplingOptions {
            repetition_penalty,
            frequency_penalty,
            presence_penalty,
            ..
        } = self.sampling.0;
        for (&id, &count) in &self.occurrences {
            let x = &mut logits[id as usize];
            *x = if *x > 0.0 {
                *x / repetition_penalty
            } else {
                *x * repetition_penalty
            };
            if count > 0 {
                *x -= count as f32 * frequency_penalty + presence_penalty;
            }
        }
    }

    /// Fills `kept` with the ids that can be drawn and their weights, ids rising.
    fn weigh(&mut self, logits: &[f32], max: f32) {
        let SamplingOptions {
            temperature,
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling.0;
        let kept = &mut self.kept;
        kept.clear();
        kept.extend((0..).zip(logits.iter().map(|x| ((x - max) / temperature).exp())));
        let k = top_k as usize;
        if 0 < k && k < kept.len() {
            kept.select_nth_unstable_by(k - 1, by_weight);
            kept.truncate(k);
            kept.sort_unstable_by_key(|&(id, _)| id);
        }
        let reach = sum(kept) * f64::from(top_p);
        // What is kept by top-p and by min-p are both heads of one order, so the shorter head is
        // the same whichever is cut first, once the sum is known.
        kept.retain(|&(_, weight)| weight >= min_p && weight > 0.0);
        if top_p < 1.0 {
            keep_reach(kept, reach);
            kept.sort_unstable_by_key(|&(id, _)| id);
        }
    }

    fn uniform(&mut self, position: u32) -> f64 {
        self.generator.set_word_pos(2 * u128::from(position));
        (self.generator.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }
}

/// Takes away what is not allowed.
fn shut_out(logits: &mut [f32], allowed: &[u32]) {
    assert!(allowed.len() * 32 >= logits.len(), "a bit for each id");
    for (logits, word) in logits.chunks_mut(32).zip(allowed) {
        for (bit, x) in logits.iter_mut().enumerate() {
            if word >> bit & 1 == 0 {
                *x = f32::NEG_INFINITY;
            }
        }
    }
}

/// The first of the largest, or nothing if no choice can be made.
fn largest(logits: &[f32]) -> Option<(TokenId, f32)> {
    let (mut most_likely, mut max) = (0, f32::NEG_INFINITY);
    for (id, &x) in (0..).zip(logits) {
        if x.is_nan() {
            return None;
        }
        if x > max {
            (most_likely, max) = (id, x);
        }
    }
    max.is_finite().then_some((most_likely, max))
}

/// Heaviest first, then lowest id.
fn by_weight(a: &(TokenId, f32), b: &(TokenId, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn sum(kept: &[(TokenId, f32)]) -> f64 {
    kept.iter().map(|&(_, weight)| f64::from(weight)).sum()
}

/// Cuts to the fewest heaviest whose sum reaches `reach`. Sorts a growing head only, because as a
/// rule few ids hold nearly all of the weight.
fn keep_reach(kept: &mut Vec<(TokenId, f32)>, reach: f64) {
    const HEAD_FIRST: usize = 64;
    let (mut start, mut head, mut mass) = (0, HEAD_FIRST, 0.0);
    while start < kept.len() {
        let end = kept.len().min(start + head);
        if end < kept.len() {
            kept[start..].select_nth_unstable_by(end - start - 1, by_weight);
        }
        kept[start..end].sort_unstable_by(by_weight);
        for index in start..end {
            mass += f64::from(kept[index].1);
            if mass >= reach {
                return kept.truncate(index + 1);
            }
        }
        (start, head) = (end, head * 4);
    }
}

/// The id at which the running sum first exceeds `u` of the whole.
fn pick(kept: &[(TokenId, f32)], u: f64) -> TokenId {
    let target = sum(kept) * u;
    let mut mass = 0.0;
    let found = kept.iter().find(|&&(_, weight)| {
        mass += f64::from(weight);
        mass > target
    });
    // Rounding can lift the target to the whole sum; then the last one is meant.
    found
        .or(kept.last())
        .expect("the most likely id is always kept")
        .0
}
