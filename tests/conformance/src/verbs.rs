//! Overrides against the provided bodies, on random shapes.

use std::ops::Range;

use anyhow::Result;
use deepseek_core::kernels::{
    Blocks, Chosen, Experts, FeedForward, Fold, HyperShape, HyperWeights, Mix, Pick, Routing,
    ScoreRounding, Softmax, SwiGlu, WeightRounding,
};
use deepseek_core::{Fp4Scale, HostTensor, Kernels, Rounding, RowFormat, reference};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::compare::{relative, same_bits};
use crate::fixture::weight;

/// What an override may differ by, relative to the largest magnitude of the result.
const TOLERANCE: f32 = 1e-5;

/// Holds every verb of `be` against its provided body, for each seed.
///
/// # Errors
/// If the device fails.
///
/// # Panics
/// Where an override differs; the message names the seed.
pub fn check<B: Kernels>(be: &B, seeds: Range<u64>) -> Result<()> {
    for seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let draw = &mut Draw {
            rng: &mut rng,
            seed,
        };
        hyper_connections(be, draw)?;
        compress(be, draw)?;
        index_topk(be, draw)?;
        attend(be, draw)?;
        experts(be, draw)?;
    }
    Ok(())
}

struct Draw<'a> {
    rng: &'a mut ChaCha8Rng,
    seed: u64,
}

impl Draw<'_> {
    fn count(&mut self, range: Range<usize>) -> usize {
        self.rng.random_range(range)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    fn flag(&mut self) -> bool {
        self.rng.random()
    }

    /// Numbers of unit scale, the sum of a few uniform ones.
    fn tensor(&mut self, shape: &[usize]) -> HostTensor {
        let count = shape.iter().product();
        let number = |rng: &mut ChaCha8Rng| (0..4).map(|_| rng.random_range(-0.87..0.87)).sum();
        HostTensor::new(shape, (0..count).map(|_| number(self.rng)).collect())
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb}, seed {}", self.seed)
    }
}

fn hyper_connections<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let n = draw.pick(&[2, 4]);
    let (tokens, hidden) = (draw.count(1..7), draw.pick(&[1, 15, 16, 33, 64]));
    let rows = (2 + n) * n;
    let mut projection = draw.tensor(&[rows, n * hidden]).into_data();
    let norm = ((n * hidden) as f32).sqrt();
    projection.iter_mut().for_each(|x| *x /= norm);
    let weights = HyperWeights {
        projection: be.load(&weight(
            "fn",
            &HostTensor::new(&[rows, n * hidden], projection),
        ))?,
        scale: be.upload(&draw.tensor(&[rows]))?,
        base: be.upload(&draw.tensor(&[rows]))?,
        shape: HyperShape {
            streams: n,
            sinkhorn: 20,
            eps: 1e-6,
            norm_eps: 1e-6,
        },
    };
    let streams = be.upload(&draw.tensor(&[tokens, n, hidden]))?;
    let carried = be.upload(&draw.tensor(&[tokens, n]))?;
    let carried = draw.flag().then_some(&carried);
    let (y, mix) = be.hc_pre(&streams, &weights, carried)?;
    let (want_y, want) = reference::hc_pre(be, &streams, &weights, carried)?;
    for (name, got, want) in [
        ("hc_pre", &y, &want_y),
        ("pre", &mix.pre, &want.pre),
        ("post", &mix.post, &want.post),
        ("comb", &mix.comb, &want.comb),
    ] {
        let (got, want) = (be.download(got)?, be.download(want)?);
        assert_eq!(got.shape(), want.shape(), "{}", draw.what(name));
        relative(&draw.what(name), got.data(), want.data(), TOLERANCE);
    }

    let f = be.upload(&draw.tensor(&[tokens, hidden]))?;
    let mix: Mix<B> = want;
    let got = be.download(&be.hc_post(&f, &streams, &mix)?)?;
    let want = be.download(&reference::hc_post(be, &f, &streams, &mix)?)?;
    relative(&draw.what("hc_post"), got.data(), want.data(), TOLERANCE);
    Ok(())
}

fn compress<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let width = draw.pick(&[1, 16, 24, 40]);
    let overlap = draw.flag();
    let ratio = if overlap { 4 } else { draw.pick(&[2, 5, 128]) };
    let groups = draw.count(1..4);
    let first = draw.count(0..2);
    let ranges: Vec<_> = (first..first + groups)
        .map(|group| {
            let before = usize::from(overlap && group > 0);
            (group - before) * ratio..(group + 1) * ratio
        })
        .collect();
    let rows = (first + groups) * ratio + draw.count(0..3);
    let wide = if overlap { 2 * width } else { width };
    let fold = if overlap {
        Fold::Overlap { ratio }
    } else {
        Fold::Plain
    };
    let kv = be.upload(&draw.tensor(&[rows, wide]))?;
    let scores = be.upload(&draw.tensor(&[rows, wide]))?;
    let got = be.download(&be.compress(&kv, &scores, &ranges, fold)?)?;
    let want = be.download(&reference::compress(be, &kv, &scores, &ranges, fold)?)?;
    assert_eq!(got.shape(), [groups, width]);
    relative(&draw.what("compress"), got.data(), want.data(), TOLERANCE);
    Ok(())
}

fn index_topk<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, heads) = (draw.count(1..6), draw.pick(&[1, 3, 8]));
    let width = draw.pick(&[32, 64, 128]);
    let count = draw.pick(&[1, 5, 63, 64, 65, 200]);
    let round = draw.pick(&[
        None,
        Some(ScoreRounding::Products),
        Some(ScoreRounding::ProductsAndSum),
    ]);
    let size = draw.pick(&[2, 8]);
    let pick = Pick {
        k: draw.pick(&[1, 4, 32]),
        blocks: draw.flag().then_some(Blocks {
            size,
            keep: 32 / size,
        }),
        round,
    };
    let format = draw.pick(&[
        RowFormat::F32,
        RowFormat::Fp4 {
            block: 32,
            scale: Fp4Scale::E8m0,
        },
    ]);
    let mut keys = be.rows(format, width, count + 4)?;
    let at: Vec<u32> = (0..count as u32).map(|row| row + 3).collect();
    let values = be.upload(&draw.tensor(&[count, width]))?;
    let values = match format {
        RowFormat::F32 => values,
        _ => be.round(
            &values,
            Rounding::Fp4 {
                block: 32,
                scale: Fp4Scale::E8m0,
            },
        )?,
    };
    be.write_rows(&mut keys, &at, &values)?;
    let q = be.upload(&draw.tensor(&[tokens, heads, width]))?;
    let weights = be.upload(&draw.tensor(&[tokens, heads]))?;
    let mut seen = Chosen::default();
    let scattered = draw.flag();
    for _ in 0..tokens {
        let visible = 3..3 + draw.count(0..count + 1) as u32;
        match scattered {
            // What an earlier layer left of them: every other block of four.
            true => seen.push_rows(visible.filter(|row| row / 4 % 2 == 0)),
            false => seen.push([visible]),
        }
    }
    let got = be.index_topk(&q, &weights, &keys, &seen, &pick)?;
    let want = reference::index_topk(be, &q, &weights, &keys, &seen, &pick)?;
    let what = draw.what("index_topk");
    alike(&what, &got.rows, &want.rows, 1, round.is_some());
    assert_eq!(got.candidates.is_some(), pick.blocks.is_some(), "{what}");
    if let (Some(got), Some(want)) = (&got.candidates, &want.candidates) {
        alike(&what, got, want, size, round.is_some());
    }
    Ok(())
}

/// Holds two choices against each other. A difference is a fault unless the scores in question are
/// as good as tied, which with rounded products they often are: then `most` rows may differ.
fn alike(what: &str, got: &Chosen, want: &Chosen, most: usize, tied: bool) {
    assert_eq!(got.queries(), want.queries(), "{what}");
    for query in 0..got.queries() {
        let (got, want): (Vec<u32>, Vec<u32>) =
            (got.rows(query).collect(), want.rows(query).collect());
        let differ = got.iter().filter(|row| !want.contains(row)).count();
        assert!(
            got == want || tied && differ <= most,
            "{what}: {got:?}, want {want:?}"
        );
    }
}

fn attend<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, heads) = (draw.count(1..6), draw.pick(&[1, 2, 5]));
    let width = draw.pick(&[16, 20, 64, 128]);
    let formats = [RowFormat::F32, RowFormat::Bf16];
    let mut pools = Vec::new();
    for _ in 0..2 {
        let count = draw.count(1..90);
        let mut rows = be.rows(draw.pick(&formats), width, count)?;
        let at: Vec<u32> = (0..count as u32).collect();
        let values = be.round(&be.upload(&draw.tensor(&[count, width]))?, Rounding::Bf16)?;
        be.write_rows(&mut rows, &at, &values)?;
        let mut chosen = Chosen::default();
        for _ in 0..tokens {
            if draw.flag() {
                let (a, b) = (draw.count(0..count) as u32, draw.count(0..count) as u32);
                chosen.push([a.max(b)..count as u32, 0..a.min(b) + 1]);
            } else {
                chosen.push_rows((0..count as u32).filter(|row| row % 3 != 1));
            }
        }
        pools.push((rows, chosen));
    }
    let from: Vec<_> = pools.iter().map(|(rows, chosen)| (rows, chosen)).collect();
    let q = be.upload(&draw.tensor(&[tokens, heads, width]))?;
    let sink = be.upload(&draw.tensor(&[heads]))?;
    let chunks = [64, 7].map(|rows| Some(WeightRounding::Chunks(rows)));
    for round in [[None, Some(WeightRounding::OnePeak)], chunks].concat() {
        let softmax = Softmax {
            scale: (width as f32).powf(-0.5),
            round,
        };
        let got = be.download(&be.attend(&q, &from, &sink, softmax)?)?;
        let want = be.download(&reference::attend(be, &q, &from, &sink, softmax)?)?;
        // A rounded exponential may fall to the neighbouring brain float.
        let tolerance = match round {
            Some(_) => 2.0_f32.powi(-8),
            None => TOLERANCE,
        };
        relative(&draw.what("attend"), got.data(), want.data(), tolerance);

        // A query yields the same bits alone.
        let alone = be.narrow(&q, 0, tokens - 1, 1)?;
        let last: Vec<_> = pools
            .iter()
            .map(|(rows, chosen)| {
                let mut one = Chosen::default();
                one.push(chosen.runs(tokens - 1).iter().cloned());
                (rows, one)
            })
            .collect();
        let last: Vec<_> = last.iter().map(|(rows, chosen)| (*rows, chosen)).collect();
        let alone = be.download(&be.attend(&alone, &last, &sink, softmax)?)?;
        let size = heads * width;
        same_bits(
            &draw.what("attend alone"),
            alone.data(),
            &got.data()[(tokens - 1) * size..],
        );
    }
    Ok(())
}

/// A few random experts.
#[derive(Debug)]
struct Bank<B: Kernels>(Vec<FeedForward<B>>);

impl<B: Kernels> Experts<B> for Bank<B> {
    fn expert(&self, id: u32) -> deepseek_core::Result<&FeedForward<B>> {
        Ok(&self.0[id as usize])
    }
}

fn experts<B: Kernels>(be: &B, draw: &mut Draw<'_>) -> Result<()> {
    let (tokens, each, count) = (draw.count(1..9), 2, 5);
    let (hidden, inner) = (draw.pick(&[16, 31, 64]), draw.pick(&[8, 32]));
    let mut matrix = |shape: &[usize]| -> Result<B::Weight> {
        Ok(be.load(&weight("expert", &draw.tensor(shape)))?)
    };
    let bank = (0..count)
        .map(|_| {
            Ok(FeedForward {
                gate: matrix(&[inner, hidden])?,
                up: matrix(&[inner, hidden])?,
                down: matrix(&[hidden, inner])?,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let bank = Bank(bank);
    let mut chosen = Vec::new();
    for _ in 0..tokens {
        let first = draw.count(0..count - 1);
        chosen.extend([first as u32, draw.count(first + 1..count) as u32]);
    }
    let weights = draw.tensor(&[tokens * each]).into_data();
    let routing = Routing {
        experts: chosen.into(),
        weights: weights.into(),
        each,
    };
    let x = be.upload(&draw.tensor(&[tokens, hidden]))?;
    for (input, bf16) in [
        (None, false),
        (Some(Rounding::Fp8 { block: 32, tail: 0 }), true),
    ] {
        let form = SwiGlu {
            limit: 1.0,
            input,
            bf16,
        };
        let got = be.download(&be.experts(&x, &routing, &bank, form)?)?;
        let want = be.download(&reference::experts(be, &x, &routing, &bank, form)?)?;
        let tolerance = if bf16 { 2.0_f32.powi(-6) } else { TOLERANCE };
        relative(&draw.what("experts"), got.data(), want.data(), tolerance);
    }
    Ok(())
}
