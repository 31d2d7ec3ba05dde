//! Single operations against golden numbers.

use std::sync::Arc;

use anyhow::{Context, Result};
use deepseek_core::operands::{
    Gate, Groups, HyperWeights, Inputs, Mix, MixerConfig, PoolState, Pooling, Runs, ScoreRounding,
    Select, Selection, Softmax, StreamShares, TopK, WeightRounding,
};
use deepseek_core::rope::{Rope, Yarn};
use deepseek_core::{
    Fp4Scale, HostTensor, Kernels, NO_ROW, Rotation, Rounding, RowFormat, Unary, Use,
};

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
    lists(be)?;
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
    let angles = be.upload(&rope.angles(&[0, 7, 65536]).table())?;
    let x = be.upload(&ops.floats("rope_apply.x")?)?;
    let rotated = be.rope(&x, &angles, Rotation::Forward)?;
    let want = ops.floats("rope_apply.out")?;
    close(
        "rope_apply",
        be.download(&rotated)?.data(),
        want.data(),
        TOLERANCE,
    );
    let back = be.download(&be.rope(&rotated, &angles, Rotation::Inverse)?)?;
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
    let config = MixerConfig {
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
            config,
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
        top_k: 3,
        scale: 2.5,
    };
    let tokens = vec![0; logits.shape()[0]];
    let inputs = Inputs::new(be, &tokens, &[])?;
    let routing = be.route(&be.upload(&logits)?, &gate, &inputs)?;
    let experts = be.ids_on_host(&routing.experts)?;
    assert_eq!(*experts, ops.ids("router.ids")?, "chosen experts");
    close(
        "weights",
        be.download(&routing.weights)?.data(),
        ops.floats("router.weights")?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn pooling<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let (kv, gate) = (ops.floats("pooling.kv")?, ops.floats("pooling.gate")?);
    let [groups, rows, width] = kv.shape().try_into()?;
    let flat = |t: HostTensor| be.upload(&HostTensor::new(&[groups * rows, width], t.into_data()));
    let mut members = Runs::default();
    for group in 0..groups {
        members.push(std::iter::once(
            (group * rows) as u32..((group + 1) * rows) as u32,
        ));
    }
    let groups = Groups {
        old: be.ids(&[])?,
        old_count: 0,
        members: Selection::of(be, &Arc::new(members), rows)?,
        count: groups,
        kept: be.ids(&vec![NO_ROW; groups * rows])?,
    };
    let mut state = PoolState {
        kv: be.rows(RowFormat::F32, width, 1)?,
        scores: be.rows(RowFormat::F32, width, 1)?,
    };
    let pooled = be.compress(
        &flat(kv)?,
        &flat(gate)?,
        &mut state,
        &groups,
        Pooling::Plain,
        None,
    )?;
    let pooled = pooled.context("groups")?;
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
    be.write_rows(&mut rows, &be.ids(&places)?, &be.upload(&kv)?)?;
    let mut chosen = Runs::default();
    chosen.push_rows(places);
    let chosen = Selection::of(be, &Arc::new(chosen), count)?;
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
        &be.ids(&(0..count).collect::<Vec<_>>())?,
        &be.upload(&keys)?,
    )?;
    let q = be.upload(&HostTensor::new(&[1, heads, width], q.into_data()))?;
    let weights = be.upload(&HostTensor::new(&[1, heads], weights.into_data()))?;
    let mut seen = Runs::default();
    seen.push(std::iter::once(0..count));
    let seen = Selection::of(be, &Arc::new(seen), count as usize)?;
    for (name, round) in [
        ("rows", None),
        ("rows_bf16", Some(ScoreRounding::ProductsAndSum)),
    ] {
        let top = TopK {
            k: 12,
            blocks: None,
            round,
        };
        let chosen = be.index_topk(&q, &weights, &rows, &seen, &top)?.rows;
        let chosen = chosen.on_host(be)?;
        let want = ops.ids(&format!("index_scores.{name}"))?;
        assert!(
            chosen.rows(0).eq(want.iter().copied()),
            "{name}: {chosen:?}, want {want:?}"
        );
    }
    Ok(())
}

/// What a device does with lists of ids that are padded.
fn lists<B: Kernels>(be: &B) -> Result<()> {
    let x = be.upload(&HostTensor::new(
        &[2, 3],
        vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
    ))?;
    let got = be.download(&be.gather(&x, &be.ids(&[1, NO_ROW, 0])?)?)?;
    let want = [4.0, 5.0, 6.0, 0.0, 0.0, 0.0, 1.0, 2.0, 3.0];
    same_bits("gather", got.data(), &want);
    let got = be.download(&be.take(&x, &be.ids(&[2, 0, 1, 1])?, 2)?)?;
    same_bits("take", got.data(), &[3.0, 1.0, 5.0, 5.0]);

    let ids = be.ids(&[10, 11, 12, 20, 21, NO_ROW])?;
    let taken = |at: &[u32], k, block| -> Result<Vec<u32>> {
        let taken = be.take_ids(&ids, 3, &be.ids(at)?, k, block)?;
        Ok(be.ids_on_host(&taken)?.to_vec())
    };
    assert_eq!(taken(&[2, 0, 1, NO_ROW], 2, 1)?, [12, 10, 21, NO_ROW]);
    assert_eq!(taken(&[1, 0], 1, 2)?, [12, NO_ROW, 20, 21]);
    let cut = |rows, to| -> Result<Vec<u32>> {
        Ok(be.ids_on_host(&be.cut_ids(&ids, 3, rows, to)?)?.to_vec())
    };
    assert_eq!(cut(0..2, 2)?, [10, 11, 20, 21]);
    assert_eq!(cut(1..2, 4)?, [20, 21, NO_ROW, NO_ROW]);
    let mask = be.download(&be.mask(&ids, &[2, 1, 3])?)?;
    assert_eq!(mask.shape(), [2, 1, 3]);
    same_bits(
        "mask",
        mask.data(),
        &[0.0, 0.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY],
    );

    let mut rows = be.rows(RowFormat::F32, 3, 4)?;
    be.write_rows(&mut rows, &be.ids(&[3, NO_ROW])?, &x)?;
    let got = be.download(&be.read_rows(&rows, &be.ids(&[NO_ROW, 3, 0])?)?)?;
    let want = [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0];
    same_bits("rows", got.data(), &want);
    let packed = be.export_rows(&rows, 3..4)?;
    be.import_rows(&mut rows, 1..2, &packed)?;
    be.copy_rows(&mut rows, &be.ids(&[3, 0])?, &be.ids(&[0, 3])?)?;
    let got = be.download(&be.read_rows(&rows, &be.ids(&[0, 1, 3])?)?)?;
    let want = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0];
    same_bits("rows that came back, and copied ones", got.data(), &want);
    for other in [&packed[1..], &[&packed[..], &packed].concat()] {
        let refused = be.import_rows(&mut rows, 1..2, other);
        assert!(refused.is_err(), "{} bytes as a row", other.len());
    }
    let pair = |t: &HostTensor| be.upload(&HostTensor::new(&[2, 1, 3], t.data().to_vec()));
    let (a, b) = (pair(&be.download(&x)?)?, pair(&be.download(&x)?)?);
    let products = be.matmul_t(&a, &b)?;
    assert_eq!(be.download(&products)?.shape(), [2, 1, 1]);
    close(
        "matmul_t",
        be.download(&products)?.data(),
        &[14.0, 77.0],
        TOLERANCE,
    );
    let outer = be.matmul(&products, &b)?;
    let want = [14.0, 28.0, 42.0, 308.0, 385.0, 462.0];
    close("matmul", be.download(&outer)?.data(), &want, TOLERANCE);
    Ok(())
}
