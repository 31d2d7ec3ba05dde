//! What a step asks of the vendor's library: one wait, the same calls, no memory.

use std::collections::BTreeMap;

use anyhow::Result;
use backend_offload::Options;
use conformance::model::{Open, draft, open, prompt, step};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, Model, Prefill, Step, TokenId, Want};
use serde_json::json;

use super::{Device, device_with};
use crate::{CONTROL, MEMORY, Session, WAITS};

/// V4, V4.1, and V4.1 with its prompt cut.
const MODELS: [(&str, Prefill); 4] = [
    ("flashy-s0", Prefill::Full),
    ("prolike-s0", Prefill::Full),
    ("plain-s7-release", Prefill::Full),
    ("wide-s4-release", Prefill::Replay),
];

/// Nothing runs before somebody waits.
fn lazy() -> Session {
    Session::new(&json!({"schedule": "lazy"}))
}

fn opened(session: &Session, name: &str, opened: Open) -> Result<Model<Device>> {
    open(device_with(session, Options::default())?, name, opened)
}

fn span(at: usize, tokens: &[TokenId], want: Want) -> Step {
    let mut step = step(0, at, tokens);
    step.spans[0].want = want;
    step
}

/// How often each function has been called since `before`, but for the report itself.
fn calls(session: &Session, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let report = session.report();
    let all = report["calls"].as_object().into_iter().flatten();
    let since = all.filter_map(|(name, count)| {
        let more = count.as_u64()? - before.get(name).copied().unwrap_or(0);
        (more > 0 && !name.starts_with(CONTROL)).then(|| (name.clone(), more))
    });
    since.collect()
}

/// What one step asks for.
fn asked(session: &Session, step: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, u64>> {
    let before = calls(session, &BTreeMap::new());
    step()?;
    Ok(calls(session, &before))
}

#[test]
fn a_step_waits_once() -> Result<()> {
    for (name, prefill) in MODELS {
        let session = lazy();
        let drafts = Open {
            drafts: true,
            prefill,
            ..Open::default()
        };
        let mut model = opened(&session, name, drafts)?;
        let ids = prompt(name)?;
        let [first, second] = [ids.len() / 2, ids.len() - 4];
        for (what, step) in [
            (
                "a prompt that goes on",
                span(0, &ids[..first], Want::Nothing),
            ),
            ("its end", span(first, &ids[first..second], Want::Last)),
            ("a token", span(second, &ids[second..=second], Want::Last)),
            ("drafts", span(second + 1, &ids[second + 1..], Want::All)),
        ] {
            let before = model.backend().usage().waits;
            model.step(&step)?;
            let waits = model.backend().usage().waits - before;
            assert_eq!(waits, 1, "{name}: {what}");
        }
        let before = model.backend().usage().waits;
        assert_eq!(draft(&mut model, ids[0], 2)?.len(), 2, "{name}");
        let waits = model.backend().usage().waits - before;
        assert_eq!(waits, 1, "{name}: proposals");
        drop(model);
        session.clean();
    }
    Ok(())
}

/// Lists of visible rows grow by powers of two, so the shapes of a step change rarely; within a shape each
/// step makes the same calls, gives and takes no memory, and is waited for as often as its one copy out wants.
#[test]
fn tokens_ask_for_the_same_calls_and_for_no_memory() -> Result<()> {
    for (name, prefill) in MODELS {
        let session = lazy();
        let levels = Open {
            numerics: Numerics::RELEASED,
            prefill,
            ..Open::default()
        };
        let mut model = opened(&session, name, levels)?;
        model.step(&span(0, &[1; 65], Want::Last))?;
        let mut seen = Vec::new();
        for at in 65..90 {
            let token = [at as TokenId % 7 + 1];
            let asked = asked(&session, || {
                model.step(&span(at, &token, Want::Last))?;
                Ok(())
            })?;
            seen.push(asked);
        }
        let last = seen.last().expect("steps");
        // What is made once is made by the first of them.
        for (at, step) in (65..).zip(&seen).skip(3) {
            assert_eq!(step, last, "{name} at {at}");
            for call in MEMORY {
                assert_eq!(step.get(call), None, "{name} at {at}");
            }
            for (call, count) in WAITS {
                let called = step.get(call).copied().unwrap_or(0);
                assert_eq!(called, count, "{name} at {at}: {call}");
            }
        }
        drop(model);
        session.clean();
    }
    Ok(())
}
