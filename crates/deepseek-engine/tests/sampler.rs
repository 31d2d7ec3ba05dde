//! The sampler: its bounds, its filters, its distribution, its independence.

use std::collections::BTreeSet;

use deepseek_engine::{Fault, Sampler, Sampling, SamplingOptions};
use deepseek_model::TokenId;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn options() -> SamplingOptions {
    SamplingOptions::default()
}

fn draw(options: SamplingOptions, logits: &[f32], position: u32) -> Result<TokenId, Fault> {
    Sampler::new(Sampling::new(options).unwrap(), &[]).draw(logits, position)
}

/// The ids that occur in two thousand draws.
fn support(options: SamplingOptions, logits: &[f32]) -> Vec<TokenId> {
    let sampler = Sampler::new(Sampling::new(options).unwrap(), &[]);
    let draws = (0..2000).map(|position| sampler.clone().draw(logits, position).unwrap());
    draws.collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn each_option_is_held_to_its_bounds() {
    type Set = fn(&mut SamplingOptions, f32);
    let cases: [(&str, Set, [f32; 2], [f32; 2]); 6] = [
        (
            "temperature",
            |o, x| o.temperature = x,
            [0.0, 100.0],
            [-f32::MIN_POSITIVE, 100.001],
        ),
        (
            "top_p",
            |o, x| o.top_p = x,
            [f32::MIN_POSITIVE, 1.0],
            [0.0, 1.000_001],
        ),
        (
            "min_p",
            |o, x| o.min_p = x,
            [0.0, 1.0],
            [-f32::MIN_POSITIVE, 1.000_001],
        ),
        (
            "repetition_penalty",
            |o, x| o.repetition_penalty = x,
            [0.1, 10.0],
            [0.099_99, 10.001],
        ),
        (
            "frequency_penalty",
            |o, x| o.frequency_penalty = x,
            [-2.0, 2.0],
            [-2.001, 2.001],
        ),
        (
            "presence_penalty",
            |o, x| o.presence_penalty = x,
            [-2.0, 2.0],
            [-2.001, 2.001],
        ),
    ];
    for (field, set, at, past) in cases {
        let parse = |value| {
            let mut options = options();
            set(&mut options, value);
            Sampling::new(options)
        };
        for value in at {
            assert!(parse(value).is_ok(), "{field} {value}");
        }
        for value in past
            .into_iter()
            .chain([f32::NAN, f32::INFINITY, f32::NEG_INFINITY])
        {
            let invalid = parse(value).unwrap_err();
            assert_eq!((invalid.field, invalid.value), (field, value.to_string()));
        }
    }
    let text = Sampling::new(SamplingOptions {
        top_p: 1.5,
        ..options()
    })
    .unwrap_err()
    .to_string();
    assert_eq!(text, "top_p: 1.5, must be above 0, up to 1");
}

#[test]
fn without_temperature_the_largest_wins_and_of_equals_the_first() {
    let greedy = *Sampling::greedy().options();
    assert_eq!(draw(greedy, &[1.0, 3.0, 2.0], 0).unwrap(), 1);
    assert_eq!(draw(greedy, &[1.0, 3.0, 3.0, 3.0], 5).unwrap(), 1);
    assert_eq!(draw(greedy, &[-0.0, 0.0], 0).unwrap(), 0);
    assert_eq!(draw(greedy, &[f32::NEG_INFINITY, -1e38], 0).unwrap(), 1);
}

#[test]
fn logits_that_are_no_numbers_are_a_fault_with_its_position() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for temperature in [0.0, 1.0] {
        let options = SamplingOptions {
            temperature,
            ..options()
        };
        for logits in [
            &[0.0, nan][..],
            &[nan, 0.0],
            &[0.0, inf],
            &[-inf, -inf],
            &[],
        ] {
            let fault = draw(options, logits, 17);
            assert!(
                matches!(fault, Err(Fault::NotANumber { position: 17 })),
                "{logits:?}"
            );
        }
        assert_eq!(draw(options, &[-inf, 0.0, -inf], 17).unwrap(), 1);
    }
}

#[test]
fn extremes_of_temperature_are_numbers_still() {
    for temperature in [f32::MIN_POSITIVE, 1e-30] {
        let options = SamplingOptions {
            temperature,
            ..options()
        };
        assert_eq!(support(options, &[-1e38, 1.0, 1.000_001, -3e38]), [2]);
    }
    let options = SamplingOptions {
        temperature: 100.0,
        ..options()
    };
    assert_eq!(support(options, &[0.0, 1.0, 2.0]), [0, 1, 2]);
}

#[test]
fn top_k_keeps_the_k_largest_and_of_equals_the_first() {
    let keep = |top_k, logits: &[f32]| support(SamplingOptions { top_k, ..options() }, logits);
    let logits = [0.5, 2.0, 1.0, 1.5];
    assert_eq!(keep(0, &logits), [0, 1, 2, 3]);
    assert_eq!(keep(1, &logits), [1]);
    assert_eq!(keep(2, &logits), [1, 3]);
    assert_eq!(keep(3, &logits), [1, 2, 3]);
    assert_eq!(keep(4, &logits), [0, 1, 2, 3]);
    assert_eq!(keep(u32::MAX, &logits), [0, 1, 2, 3]);
    assert_eq!(keep(2, &[1.0; 5]), [0, 1]);
}

#[test]
fn top_p_keeps_the_id_that_reaches_it() {
    let keep = |top_p, logits: &[f32]| support(SamplingOptions { top_p, ..options() }, logits);
    let even = [1.0; 4];
    assert_eq!(keep(f32::MIN_POSITIVE, &even), [0]);
    assert_eq!(keep(0.25, &even), [0]);
    assert_eq!(keep(0.250_001, &even), [0, 1]);
    assert_eq!(keep(0.5, &even), [0, 1]);
    assert_eq!(keep(0.75, &even), [0, 1, 2]);
    assert_eq!(keep(0.750_001, &even), [0, 1, 2, 3]);
    assert_eq!(keep(1.0, &even), [0, 1, 2, 3]);
    // Probabilities 0.064, 0.644, 0.237, 0.055.
    let logits = [0.0, 2.31, 1.31, -0.15];
    assert_eq!(keep(0.6, &logits), [1]);
    assert_eq!(keep(0.7, &logits), [1, 2]);
    assert_eq!(keep(0.9, &logits), [0, 1, 2]);
}

#[test]
fn top_p_is_of_what_top_k_has_left() {
    let options = SamplingOptions {
        top_k: 2,
        top_p: 0.5,
        ..options()
    };
    assert_eq!(support(options, &[1.0; 4]), [0]);
    let options = SamplingOptions {
        top_p: 0.500_001,
        ..options
    };
    assert_eq!(support(options, &[1.0; 4]), [0, 1]);
}

#[test]
fn min_p_is_relative_to_the_most_likely() {
    let keep = |min_p, logits: &[f32]| support(SamplingOptions { min_p, ..options() }, logits);
    // One, a half, a quarter.
    let logits = [0.0, -0.693, -1.386];
    assert_eq!(keep(0.0, &logits), [0, 1, 2]);
    assert_eq!(keep(0.24, &logits), [0, 1, 2]);
    assert_eq!(keep(0.26, &logits), [0, 1]);
    assert_eq!(keep(0.51, &logits), [0]);
    assert_eq!(keep(1.0, &logits), [0]);
    assert_eq!(keep(1.0, &[3.0, 3.0, 2.999]), [0, 1]);
}

#[test]
fn repetition_weighs_on_the_prompt_and_the_answer() {
    let options = SamplingOptions {
        temperature: 0.0,
        repetition_penalty: 2.0,
        ..options()
    };
    let sampling = Sampling::new(options).unwrap();
    let first =
        |prompt: &[TokenId], logits| Sampler::new(sampling, prompt).draw(logits, 0).unwrap();
    assert_eq!(first(&[], &[4.0, 3.0]), 0);
    assert_eq!(first(&[0], &[4.0, 3.0]), 1);
    assert_eq!(
        first(&[0, 0, 0], &[4.0, 2.0]),
        0,
        "a penalty counts once, and equals go to the first"
    );
    assert_eq!(first(&[0], &[-1.0, -1.5]), 1);
    let mut sampler = Sampler::new(sampling, &[]);
    assert_eq!(sampler.draw(&[4.0, 3.0], 0).unwrap(), 0);
    assert_eq!(sampler.draw(&[4.0, 3.0], 1).unwrap(), 1);
    assert_eq!(sampler.draw(&[4.0, 3.0], 2).unwrap(), 0);
}

#[test]
fn frequency_and_presence_weigh_on_the_answer_alone() {
    let ids = |frequency_penalty, presence_penalty| {
        let options = SamplingOptions {
            temperature: 0.0,
            frequency_penalty,
            presence_penalty,
            ..options()
        };
        let mut sampler = Sampler::new(Sampling::new(options).unwrap(), &[0, 0, 0]);
        (0..6)
            .map(|at| sampler.draw(&[1.25, 0.0], at).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(0.0, 0.0), [0, 0, 0, 0, 0, 0]);
    assert_eq!(ids(0.5, 0.0), [0, 0, 0, 1, 0, 1]);
    assert_eq!(ids(0.0, 1.5), [0, 1, 0, 0, 0, 0]);
}

#[test]
fn draws_follow_the_distribution() {
    let logits = [0.0, 1.0, -1.0, 2.0, 0.5, -3.0, 1.5, 0.0];
    for (temperature, seed) in [(0.5, 1), (1.0, 2), (2.0, 3)] {
        let options = SamplingOptions {
            temperature,
            seed,
            ..options()
        };
        let mut counts = [0.0; 8];
        let sampler = Sampler::new(Sampling::new(options).unwrap(), &[]);
        for position in 0..20_000 {
            counts[sampler.clone().draw(&logits, position).unwrap() as usize] += 1.0;
        }
        let weights = logits.map(|x| f64::from(x / temperature).exp());
        let sum: f64 = weights.iter().sum();
        let chi_square: f64 = std::iter::zip(weights, counts)
            .map(|(weight, count): (f64, f64)| {
                let expected = 20_000.0 * weight / sum;
                (count - expected).powi(2) / expected
            })
            .sum();
        // Seven degrees of freedom exceed this once in a thousand times.
        assert!(
            chi_square < 24.3,
            "{chi_square} at temperature {temperature}: {counts:?}"
        );
    }
}

#[test]
fn a_draw_depends_on_seed_and_position_alone() {
    let logits = [0.0; 1000];
    let options = SamplingOptions {
        seed: 0x0123_4567_89ab_cdef,
        ..options()
    };
    // The plain way: the keyed stream from its start, one draw of it for each position.
    let mut key = [0; 32];
    key[..8].copy_from_slice(&options.seed.to_le_bytes());
    let mut stream = ChaCha8Rng::from_seed(key);
    let want: Vec<TokenId> = (0..50)
        .map(|_| ((stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * 1000.0) as TokenId)
        .collect();
    let mut sampler = Sampler::new(Sampling::new(options).unwrap(), &[]);
    for position in (0..50).rev() {
        assert_eq!(
            sampler.draw(&logits, position).unwrap(),
            want[position as usize]
        );
    }
    let other = SamplingOptions {
        seed: options.seed + 1,
        ..options
    };
    let same = (0..50).filter(|&at| draw(other, &logits, at).unwrap() == want[at as usize]);
    assert!(same.count() < 5);
}

fn below(rng: &mut ChaCha8Rng, bound: u32) -> u32 {
    rng.next_u32() % bound
}

/// The documented steps with everything sorted, for one row without history.
fn plainly(options: &SamplingOptions, logits: &[f32], u: f64) -> TokenId {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut all: Vec<(TokenId, f32)> = (0..)
        .zip(
            logits
                .iter()
                .map(|x| ((x - max) / options.temperature).exp()),
        )
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    if options.top_k > 0 {
        all.truncate(options.top_k as usize);
    }
    let sum = |ids: &[(TokenId, f32)]| ids.iter().map(|&(_, w)| f64::from(w)).sum::<f64>();
    let reach = f64::from(options.top_p) * sum(&all);
    let reached = (1..=all.len()).find(|&count| sum(&all[..count]) >= reach);
    all.truncate(reached.unwrap_or(all.len()));
    all.retain(|&(_, weight)| weight >= options.min_p);
    all.sort_by_key(|&(id, _)| id);
    let target = u * sum(&all);
    let index = (1..=all.len()).find(|&count| sum(&all[..count]) > target);
    all[index.unwrap_or(all.len()) - 1].0
}

#[test]
fn selecting_gives_what_sorting_would() {
    for seed in 0..300 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let wide = f32::from(below(rng, 8) as u16);
        let logits: Vec<f32> = (0..1 + below(rng, 700))
            .map(|_| below(rng, 1 << 16) as f32 / 65536.0 * wide)
            .collect();
        let options = SamplingOptions {
            temperature: 0.9,
            top_p: [0.5, 0.9, 0.99, 1.0][below(rng, 4) as usize],
            top_k: [0, 40, 400][below(rng, 3) as usize],
            min_p: [0.0, 0.05][below(rng, 2) as usize],
            seed,
            ..options()
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&options.seed.to_le_bytes());
        let mut stream = ChaCha8Rng::from_seed(key);
        for position in 0..5 {
            let u = (stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
            let want = plainly(&options, &logits, u);
            assert_eq!(
                draw(options, &logits, position).unwrap(),
                want,
                "seed {seed}: {options:?}"
            );
        }
    }
}
