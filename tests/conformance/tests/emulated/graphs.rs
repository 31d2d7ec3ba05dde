//! Tokens by graphs: replayed in place of the calls that they were captured from, with the same bits.

use std::collections::BTreeMap;

use anyhow::Result;
use backend_offload::{Captures, Options};
use conformance::compare::same_bits;
use conformance::model::{Open, open, step};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, Model, Prefill, Step, TokenId, Want};

use super::{Device, device_with};
use crate::{OPERATORS, REPLAY, Session, UNASKED};

/// V4, and V4.1 with its prompt cut.
pub(crate) const MODELS: [(&str, Prefill); 2] = [
    ("flashy-s0", Prefill::Full),
    ("wide-s4-release", Prefill::Replay),
];

/// Tokens that are decoded, behind as many as keep the lists of visible rows of one length for most of them.
const TOKENS: usize = 50;
pub(crate) const BEFORE: usize = 70;

const CAPTURE: Options = Options {
    memory_bytes: None,
    poison: true,
    capture: true,
};

pub(crate) fn opened(
    session: &Session,
    name: &str,
    prefill: Prefill,
    capture: bool,
) -> Result<Model<Device>> {
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

pub(crate) fn token(at: usize) -> Step {
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
            assert_eq!(more(REPLAY), 1, "{name} at {at}");
            let operators = after
                .keys()
                .filter(|call| call.starts_with(OPERATORS) && more(call) > 0);
            assert_eq!(operators.count(), 0, "{name} at {at}");
            for call in UNASKED {
                assert_eq!(more(call), 0, "{name} at {at}: {call}");
            }
        }
        let captures = model.backend().captures();
        assert_eq!(captures.refused, BTreeMap::new(), "{name}");
        assert!(
            replayed >= TOKENS * 3 / 4,
            "{name}: {replayed} of {TOKENS} replayed"
        );
        assert_eq!(session.calls(REPLAY), captures.replays);
        drop(model);
        session.clean();
    }
    Ok(())
}
