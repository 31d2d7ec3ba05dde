//! Single operations against golden numbers.

use anyhow::Result;
use deepseek_core::kernels::{Chosen, Fold, Gate, HyperShape, HyperWeights, Mix, Select, Softmax};
use deepseek_core::rope::{Rope, Yarn};
use deepseek_core::{HostTensor, Kernels, Rounding, RowFormat, Turn, reference};

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
    hyper_connections(be, &ops)?;
    router(be, &ops)?;
    pooling(be, &ops)?;
    attention(be, &ops)
}

fn roundings<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let cases = [
        (
            "fp8_round_trip_128",
            Rounding::Fp8 {
                block: 128,
                tail: 0,
            },
        ),
        ("fp8_round_trip_64", Rounding::Fp8 { block: 64, tail: 0 }),
        ("fp4_round_trip_32", Rounding::Fp4 { block: 32 }),
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
    let turned = be.rope(&x, &angles, Turn::Forward)?;
    let want = ops.floats("rope_apply.out")?;
    close(
        "rope_apply",
        be.download(&turned)?.data(),
        want.data(),
        TOLERANCE,
    );
    let back = be.download(&be.rope(&turned, &angles, Turn::Back)?)?;
    close(
        "rope_apply, undone",
        back.data(),
        be.download(&x)?.data(),
        TOLERANCE,
    );
    Ok(())
}

fn hyper_connections<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let shape = HyperShape {
        streams: 4,
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
            projection: be.load(&weight(at, &ops.floats(&format!("{at}.fn"))?))?,
            scale: be.upload(&HostTensor::new(&[scale.len()], scale))?,
            base: be.upload(&ops.floats(&format!("{at}.base"))?)?,
            shape,
        })
    };
    let x = be.upload(&ops.floats("hyper_connection.x")?)?;
    let (y, mix) = be.hc_pre(&x, &mixer("hyper_connection", &[4, 4, 16])?, None)?;
    let golden = |name: &str| ops.floats(&format!("hyper_connection.{name}"));
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
    let mixed = be.hc_post(&be.upload(&golden("f")?)?, &x, &golden_mix)?;
    close(
        "mixed",
        be.download(&mixed)?.data(),
        golden("mixed")?.data(),
        TOLERANCE,
    );

    let x = be.upload(&ops.floats("hyper_head.x")?)?;
    let head = reference::hc_head(be, &x, &mixer("hyper_head", &[4])?)?;
    close(
        "head",
        be.download(&head)?.data(),
        ops.floats("hyper_head.out")?.data(),
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
    let gate = Gate {
        projection: be.load(&weight(
            "gate",
            &HostTensor::new(&[experts, experts], identity),
        ))?,
        select: Select::Score {
            bias: be.upload(&ops.floats("router.bias")?)?,
        },
        each: 3,
        scale: 2.5,
    };
    let tokens = vec![0; logits.shape()[0]];
    let routing = be.route(&be.upload(&logits)?, &gate, &tokens)?;
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

fn attention<B: Kernels>(be: &B, ops: &Fixture) -> Result<()> {
    let (q, kv) = (
        ops.floats("sink_attention.q")?,
        ops.floats("sink_attention.kv")?,
    );
    let [heads, width] = q.shape().try_into()?;
    let count = kv.shape()[0];
    let mut rows = be.rows(RowFormat::F32, width, count + 3)?;
    let at: Vec<u32> = (2..2 + count as u32).collect();
    be.write_rows(&mut rows, &at, &be.upload(&kv)?)?;
    let mut chosen = Chosen::default();
    chosen.push_rows(at);
    let q = be.upload(&HostTensor::new(&[1, heads, width], q.into_data()))?;
    let sink = be.upload(&ops.floats("sink_attention.sink")?)?;
    let softmax = Softmax {
        scale: (width as f32).powf(-0.5),
        bf16: false,
    };
    let out = be.attend(&q, &[(&rows, &chosen)], &sink, softmax)?;
    let want = ops.floats("sink_attention.out")?;
    close(
        "sink_attention",
        be.download(&out)?.data(),
        want.data(),
        TOLERANCE,
    );
    Ok(())
}
