//! What CANN and its custom operators do whole, beside the same of the host.

use backend_offload::trial::{Case, Trial};
use backend_offload::{Address, Chip, DType, Declined, Driver, Matrix, Verb, View};
use deepseek_core::Result;
use emulator_support::SEEDS;
use serde_json::{Value, json};

use crate::Session;
use crate::driver::open;

/// An emulator with custom operators.
fn custom(family: &str) -> Value {
    json!({"family": family, "provider": "cann91+vllm_ascend_0.23"})
}

#[test]
fn verbs_that_are_taken_are_those_of_the_host() -> Result<()> {
    for (seed, family) in SEEDS.zip(["a2", "a3"].into_iter().cycle()) {
        for case in Case::WHOLE {
            let session = Session::lazy(&custom(family));
            let mut trial = Trial::new(open(&session)?);
            let found = trial.run(case, seed)?;
            assert_eq!(found.flaw, None, "{case}, seed {seed}");
            assert!(found.operations > 0, "{case}, seed {seed}");
            drop(trial);
            session.clean();
        }
    }
    Ok(())
}

#[test]
fn nothing_is_tried_of_what_is_declined() -> Result<()> {
    for config in [json!({}), custom("a5")] {
        let session = Session::lazy(&config);
        let mut trial = Trial::new(open(&session)?);
        for case in Case::WHOLE {
            assert_eq!(trial.run(case, 1)?.operations, 0, "{case}");
        }
        drop(trial);
        session.clean();
    }
    Ok(())
}

fn half(dims: &[usize]) -> View {
    View::new(Address(0), DType::Bf16, dims)
}

fn float(dims: &[usize]) -> View {
    View::new(Address(0), DType::F32, dims)
}

fn written(streams: View, dtype: DType) -> Verb<()> {
    let [t, n, hidden] = [0, 1, 2].map(|at| streams.dims[at]);
    Verb::HcPost {
        y: View {
            dims: [t, hidden].into(),
            ..streams
        },
        streams,
        post: float(&[t, n]),
        comb: float(&[t, n, n]),
        dtype,
    }
}

/// A product by INT8, or by a stack of it.
fn integers(stacked: Option<usize>, dtype: DType) -> Verb<()> {
    let dims = |last: &[usize]| {
        let dims: Vec<_> = stacked.into_iter().chain(last.iter().copied()).collect();
        dims
    };
    let codes = View::new(Address(0), DType::I8, &dims(&[1, 2, 16, 32])[..]);
    let weight = Matrix {
        form: (),
        shape: [8, 32],
        stacked,
        parts: vec![codes, float(&dims(&[8]))],
    }
    .into();
    let x = half(&[1, 32]);
    match stacked {
        None => Verb::Project {
            x,
            products: vec![(weight, dtype)],
        },
        Some(count) => Verb::Grouped {
            x,
            weight,
            ends: View::new(Address(0), DType::I32, [count]),
            dtype,
        },
    }
}

/// What a chip says of a verb: why it declines it, or nothing.
fn said(config: &Value, verb: &Verb<()>) -> Result<String> {
    let session = Session::lazy(config);
    let driver = open(&session)?;
    let taken = driver.chip().takes(verb);
    drop(driver);
    session.clean();
    Ok(taken.err().map_or_else(String::new, |Declined(why)| why))
}

#[test]
fn what_is_declined_names_the_operator_its_provider_and_what_does_not_fit() -> Result<()> {
    let streams = half(&[2, 4, 8]);
    let (a2, plain) = (custom("a2"), json!({}));
    for (config, verb, want) in [
        (&a2, written(streams, DType::Bf16), ""),
        (&a2, written(float(&[2, 4, 8]), DType::F32), ""),
        (&a2, written(streams, DType::F32), "keeps f32"),
        (
            &a2,
            written(half(&[2, 2, 8]), DType::Bf16),
            "2 streams, 4 are taken",
        ),
        (
            &plain,
            written(streams, DType::Bf16),
            "HcPost of vllm-ascend 0.23.0 on A2: not installed",
        ),
        (
            &custom("a5"),
            written(streams, DType::Bf16),
            "HcPost of vllm-ascend 0.23.0 on A5: it has no kernels for this chip",
        ),
        (&plain, integers(None, DType::Bf16), ""),
        (&plain, integers(Some(2), DType::F32), ""),
        (
            &plain,
            integers(None, DType::F32),
            "a result that the level does not round: with Int8 QuantMatmulWeightNz gives BF16",
        ),
        (
            &json!({"family": "a5"}),
            integers(None, DType::Bf16),
            "A5: integers are multiplied on A2 and A3",
        ),
    ] {
        let said = said(config, &verb)?;
        assert!(
            said.ends_with(want) && said.is_empty() == want.is_empty(),
            "{said}, want {want}"
        );
    }
    Ok(())
}
