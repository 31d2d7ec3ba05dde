//! Tokens by graphs: replayed in place of the calls that they were captured from, with the same bits.

use std::collections::BTreeMap;

use anyhow::Result;
use backend_offload::{Captures, Options};
use conformance::compare::same_bits;
use conformance::model::{Open, open, step};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, Model, Prefill, Step, TokenId, Want};
use serde_json::json;

use crate::Session;
use crate::emulated::{Device, device_with};

/// V4, and V4.1 with its prompt cut.
const MODELS: [(&str, Prefill); 2] = [
    ("flashy-s0", Prefill::Full),
    ("wide-s4-release", Prefill::Replay),
];

/// Tokens that are decoded, behind as many as keep the lists of visible rows of one length for most of them.
const TOKENS: usize = 50;
const BEFORE: usize = 70;

const CAPTURE: Options = Options {
    memory_bytes: None,
    poison: true,
    capture: true,
};

fn opened(session: &Session, name: &str, prefill: Prefill, capture: bool) -> Result<Model<Device>> {
    let levels = Open {
        numerics: Numerics::RELEASED,
        prefill,
        ..Open::default()
    };
    let options = Options { capture, ..CAPTURE };
    let mut model = open(device_with(session, options)?, name, levels)?;
    let prompt: Vec<TokenId> = (0..BEFORE).map(|at| at as TokenId % 11 + 1).collect();
    model.step(&step(0, 0, &prompt))?;
    Ok(model)
}

fn token(at: usize) -> Step {
    let mut step = step(0, at, &[at as TokenId % 7 + 1]);
    step.spans[0].want = Want::Last;
    step
}

fn calls(session: &Session) -> BTreeMap<String, u64> {
    let report = session.report();
    let calls = report["calls"].as_object().into_iter().flatten();
    calls
        .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
        .collect()
}

#[test]
fn fifty_tokens_by_graphs_have_the_bits_of_those_by_calls() -> Result<()> {
    for (seed, (name, prefill)) in (1..).zip(MODELS) {
        let session = Session::random(seed);
        let mut eager = opened(&session, name, prefill, false)?;
        let want = (BEFORE..BEFORE + TOKENS).map(|at| Ok(eager.step(&token(at))?.into_values()));
        let want = want.collect::<Result<Vec<_>>>()?;
        assert_eq!(eager.backend().captures(), Captures::default());
        drop(eager);
        session.clean();

        let session = Session::random(seed);
        let mut model = opened(&session, name, prefill, true)?;
        let (mut replayed, mut graphs) = (0, 0);
        for (at, want) in (BEFORE..).zip(&want) {
            let (before, replays) = (calls(&session), model.backend().captures().replays);
            let got = model.step(&token(at))?.into_values();
            same_bits(&format!("{name} at {at}"), &got, want);
            let captures = model.backend().captures();
            replayed += usize::from(captures.replays > replays);
            // What is captured behind the step before may be counted here.
            let is_captured = std::mem::replace(&mut graphs, captures.graphs) != captures.graphs;
            if captures.replays == replays || is_captured {
                continue;
            }
            // One copy in, the graph, and one copy out: no operator is planned or launched.
            let after = calls(&session);
            let more = |name: &str| after.get(name).unwrap_or(&0) - before.get(name).unwrap_or(&0);
            assert_eq!(more("aclmdlRIExecuteAsync"), 1, "{name} at {at}");
            let operators = after
                .keys()
                .filter(|call| call.starts_with("aclnn") && more(call) > 0);
            assert_eq!(operators.count(), 0, "{name} at {at}");
            for call in [
                "aclrtMemsetAsync",
                "aclrtMalloc",
                "aclrtFree",
                "aclrtSynchronizeStream",
            ] {
                assert_eq!(more(call), 0, "{name} at {at}: {call}");
            }
        }
        let captures = model.backend().captures();
        assert_eq!(captures.refused, BTreeMap::new(), "{name}");
        assert!(
            replayed >= TOKENS * 3 / 4,
            "{name}: {replayed} of {TOKENS} replayed"
        );
        assert_eq!(session.calls("aclmdlRIExecuteAsync"), captures.replays);
        drop(model);
        session.clean();
    }
    Ok(())
}

/// Where the device has no room for graphs, steps are asked for anew, and why is told.
#[test]
fn steps_that_there_is_no_graph_for_are_asked_for_anew() -> Result<()> {
    let (name, prefill) = MODELS[0];

    let session = Session::new(&json!({"schedule": "lazy", "limits": {"graphs": 0}}));
    let mut model = opened(&session, name, prefill, true)?;
    for at in BEFORE..BEFORE + 8 {
        model.step(&token(at))?;
    }
    let captures = model.backend().captures();
    assert_eq!((captures.graphs, captures.replays), (0, 0));
    let why: Vec<_> = captures.refused.keys().collect();
    assert!(
        matches!(&why[..], [why] if why.contains("ACL_ERROR_RT_NO_MODEL_RESOURCE")),
        "{why:?}"
    );
    drop(model);
    session.clean();
    Ok(())
}

/// A fault of a replay is the step's, with the vendor's code; a device that goes on is asked anew, one that is lost stays so.
#[test]
fn a_fault_in_a_replay_is_a_typed_error() -> Result<()> {
    let (name, prefill) = MODELS[0];
    for (code, is_lost) in [(107_017, false), (507_015, true)] {
        let fault = json!([{"call": "aclmdlRIExecuteAsync", "nth": 3, "code": code}]);
        let session = Session::new(&json!({"schedule": "lazy", "faults": fault}));
        let mut model = opened(&session, name, prefill, true)?;
        let steps = (BEFORE..BEFORE + 12).map(|at| model.step(&token(at)));
        let failed = steps
            .filter_map(std::result::Result::err)
            .collect::<Vec<_>>();
        let text = format!("{failed:?}");
        assert!(text.contains("aclmdlRIExecuteAsync: "), "{text}");
        assert!(text.contains(&code.to_string()), "{text}");
        if is_lost {
            assert!(failed.len() > 1, "{text}");
        } else {
            assert_eq!(failed.len(), 1, "{text}");
            assert_eq!(model.backend().captures().replays, 2);
        }
        drop(model);
        assert_eq!(session.violations(), Vec::<String>::new());
    }
    Ok(())
}
