//! Single operations against golden numbers.

use anyhow::Result;
use deepseek_core::operands::{
    Chosen, Fold, Gate, HyperShape, HyperWeights, Inputs, Mix, Pick, ScoreRounding, Select,
    Softmax, StreamShares, WeightRounding,
};
use deepseek_core::rope::{Rope, Yarn};
use deepseek_core::{Fp4Scale, HostTensor, Kernels, Rounding, RowFormat, Turn, Unary, Use};

use crate::compare::{close, same_bits};
use crate::fixture::{Fixture, weight};

/// Agreement with the reference in 32-bit arithmetic.
const TOLERANCE: f32 = 1e-5;

/// Holds every golden operation against `be`.
///
/// # Errors
/// If a fixture cannot be read or the device fails.
///
/// # Panics
/// Where the device is wrong.
pub fn check<B: Kernels>(be: &B) -> Result<()> {
    let ops = Fixture::open("ops-s0/ops.safetensors")?;
    roundings(be, &ops)?;
    rope(be, &ops)?;
    norms(be, &ops)?;
    softplus(be, &ops)?;
    hyper_connections(be, &ops, "", 4)?;
    hyper_connections(be, &ops, "_2", 2)?;
    router(be, &ops)?;
    pooling(be, &ops)?;
    attention(be, &ops, "sink_attention", false)?;
    attention(be, &ops, "sink_attention_bf16", true)?;
    indexer(be, &ops)
}

fn roundings<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let cases = [
        ("bf16", Rounding::Bf16),
        (
            "fp8_round_trip_128",
            Rounding::Fp8 {
                block: 128,
                tail: 0,
            },
        ),
        ("fp8_round_trip_64", Rounding::Fp8 { block: 64, tail: 0 }),
        (
            "fp4_round_trip_32",
            Rounding::Fp4 {
                block: 32,
                scale: Fp4Scale::E8m0,
            },
        ),
    ];
    for (name, rounding) in cases {
        let x = be.upload(&ops.floats(&format!("{name}.x"))?)?;
        let got = be.download(&be.round(&x, rounding)?)?;
        same_bits(name, got.data(), ops.floats(&format!("{name}.out"))?.data());
    }
    Ok(())
}

fn rope<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let yarn = Yarn {
        factor: 16.0,
        original: 65536.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    let rope = Rope::new(64, 160_000.0, Some(yarn));
    let angles = rope.angles(&[0, 7, 65536]);
    let x = be.upload(&ops.floats("rope_apply.x")?)?;
    let rotated = be.rope(&x, &angles, Turn::Forward)?;
    let want = ops.floats("rope_apply.out")?;
    close(
        "rope_apply",
        be.download(&rotated)?.data(),
        want.data(),
        TOLERANCE,
    );
    let back = be.download(&be.rope(&rotated, &angles, Turn::Back)?)?;
    close(
        "rope_apply, undone",
        back.data(),
        be.download(&x)?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn norms<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let x = be.upload(&ops.floats("rms_norm.x")?)?;
    let weight = be.upload(&ops.floats("rms_norm.weight")?)?;
    let got = be.download(&be.rms_norm(&x, Some(&weight), 1e-6, None)?)?;
    close(
        "rms_norm",
        got.data(),
        ops.floats("rms_norm.out")?.data(),
        TOLERANCE,
    );
    let x = be.upload(&ops.floats("head_norm.x")?)?;
    let got = be.download(&be.rms_norm(&x, None, 1e-6, None)?)?;
    close(
        "head_norm",
        got.data(),
        ops.floats("head_norm.out")?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn softplus<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let x = be.upload(&ops.floats("sqrt_softplus.x")?)?;
    let got = be.download(&be.map(&x, Unary::SqrtSoftplus)?)?;
    let want = ops.floats("sqrt_softplus.out")?;
    for ((x, got), want) in be
        .download(&x)?
        .data()
        .iter()
        .zip(got.data())
        .zip(want.data())
    {
        // Relative, because routing weights are shares: a small score beside small ones counts.
        let near = (got - want).abs() <= TOLERANCE * want.abs() + f32::MIN_POSITIVE.sqrt();
        assert!(near, "sqrt_softplus of {x}: {got}, want {want}");
    }
    Ok(())
}

fn hyper_connections<B: Kernels>(be: &B, ops: &Fixture, which: &str, n: usize) -> Result<()> {
    let shape = HyperShape {
        streams: n,
        sinkhorn: 20,
        eps: 1e-6,
        norm_eps: 1e-6,
    };
    let mixer = |at: &str, rows: &[usize]| -> Result<HyperWeights<B>> {
        let factors = ops.floats(&format!("{at}.scale"))?;
        let scale: Vec<f32> = rows
            .iter()
            .zip(factors.data())
            .flat_map(|(rows, f)| vec![*f; *rows])
            .collect();
        Ok(HyperWeights {
            projection: be.load(&weight(at, &ops.floats(&format!("{at}.fn"))?), Use::Product)?,
            scale: be.upload(&HostTensor::new(&[scale.len()], scale))?,
            base: be.upload(&ops.floats(&format!("{at}.base"))?)?,
            shape,
        })
    };
    let at = format!("hyper_connection{which}");
    let golden = |name: &str| ops.floats(&format!("{at}.{name}"));
    let x = be.upload(&golden("x")?)?;
    let (y, mix) = be.hc_pre(&x, &mixer(&at, &[n, n, n * n])?, None, None)?;
    close(
        "collapsed",
        be.download(&y)?.data(),
        golden("collapsed")?.data(),
        TOLERANCE,
    );
    close(
        "post",
        be.download(&mix.post)?.data(),
        golden("post")?.data(),
        TOLERANCE,
    );
    close(
        "comb",
        be.download(&mix.comb)?.data(),
        golden("comb")?.data(),
        TOLERANCE,
    );

    let golden_mix = Mix {
        pre: mix.pre,
        post: be.upload(&golden("post")?)?,
        comb: be.upload(&golden("comb")?)?,
    };
    let mixed = be.hc_post(&be.upload(&golden("f")?)?, &x, &golden_mix, None)?;
    close(
        "mixed",
        be.download(&mixed)?.data(),
        golden("mixed")?.data(),
        TOLERANCE,
    );

    let at = format!("hyper_head{which}");
    let x = be.upload(&ops.floats(&format!("{at}.x"))?)?;
    let head = be.download(&be.hc_read(&x, StreamShares::Mixer(&mixer(&at, &[n])?), None)?)?;
    close(
        "head",
        head.data(),
        ops.floats(&format!("{at}.out"))?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn router<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let logits = ops.floats("router.logits")?;
    let experts = logits.width();
    let mut identity = vec![0.0; experts * experts];
    identity
        .iter_mut()
        .step_by(experts + 1)
        .for_each(|one| *one = 1.0);
    let identity = HostTensor::new(&[experts, experts], identity);
    let gate = Gate {
        projection: be.load(&weight("gate", &identity), Use::Product)?,
        select: Select::Score {
            bias: be.reshape(&be.upload(&ops.floats("router.bias")?)?, &[1, experts])?,
        },
        each: 3,
        scale: 2.5,
    };
    let tokens = vec![0; logits.shape()[0]];
    let routing = be.route(&be.upload(&logits)?, &gate, Inputs::text(&tokens))?;
    assert_eq!(*routing.experts, ops.ids("router.ids")?, "chosen experts");
    close(
        "weights",
        &routing.weights,
        ops.floats("router.weights")?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn pooling<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let (kv, gate) = (ops.floats("pooling.kv")?, ops.floats("pooling.gate")?);
    let [groups, rows, width] = kv.shape().try_into()?;
    let flat = |t: HostTensor| be.upload(&HostTensor::new(&[groups * rows, width], t.into_data()));
    let ranges: Vec<_> = (0..groups)
        .map(|group| group * rows..(group + 1) * rows)
        .collect();
    let pooled = be.compress(&flat(kv)?, &flat(gate)?, &ranges, Fold::Plain)?;
    close(
        "pooling",
        be.download(&pooled)?.data(),
        ops.floats("pooling.out")?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn attention<B: Kernels>(be: &B, ops: &Fixture, at: &str, bf16: bool) -> Result<()> {
    let golden = |name: &str| ops.floats(&format!("{at}.{name}"));
    let (q, kv) = (golden("q")?, golden("kv")?);
    let [heads, width] = q.shape().try_into()?;
    let count = kv.shape()[0];
    let mut rows = be.rows(RowFormat::F32, width, count + 3)?;
    let places: Vec<u32> = (2..2 + count as u32).collect();
    be.write_rows(&mut rows, &places, &be.upload(&kv)?)?;
    let mut chosen = Chosen::default();
    chosen.push_rows(places);
    let q = be.upload(&HostTensor::new(&[1, heads, width], q.into_data()))?;
    let sink = be.upload(&golden("sink")?)?;
    let softmax = Softmax {
        scale: (width as f32).powf(-0.5),
        round: bf16.then_some(WeightRounding::OnePeak),
    };
    let mut out = be.attend(&q, &[(&rows, &chosen)], &sink, softmax)?;
    if bf16 {
        out = be.round(&out, Rounding::Bf16)?;
    }
    // Where the result is rounded, it may fall to the neighbouring BF16 value.
    let tolerance = if bf16 { 2.0_f32.powi(-8) } else { TOLERANCE };
    close(
        at,
        be.download(&out)?.data(),
        golden("out")?.data(),
        tolerance,
    );
    Ok(())
}

fn indexer<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let golden = |name: &str| ops.floats(&format!("index_scores.{name}"));
    let (q, keys, weights) = (golden("q")?, golden("keys")?, golden("weights")?);
    let [heads, width] = q.shape().try_into()?;
    let count = keys.shape()[0] as u32;
    let mut rows = be.rows(RowFormat::F32, width, count as usize)?;
    be.write_rows(
        &mut rows,
        &(0..count).collect::<Vec<_>>(),
        &be.upload(&keys)?,
    )?;
    let q = be.upload(&HostTensor::new(&[1, heads, width], q.into_data()))?;
    let weights = be.upload(&HostTensor::new(&[1, heads], weights.into_data()))?;
    let mut seen = Chosen::default();
    seen.push(std::iter::once(0..count));
    for (name, round) in [
        ("rows", None),
        ("rows_bf16", Some(ScoreRounding::ProductsAndSum)),
    ] {
        let pick = Pick {
            k: 12,
            blocks: None,
            round,
        };
        let chosen = be.index_topk(&q, &weights, &rows, &seen, &pick)?.rows;
        let want = ops.ids(&format!("index_scores.{name}"))?;
        assert!(
            chosen.rows(0).eq(want.iter().copied()),
            "{name}: {chosen:?}, want {want:?}"
        );
    }
    Ok(())
}
