//! Sequences that are saved and put back, taken back, and run beside others.

use anyhow::Result;
use conformance::compare::same_bits;
use conformance::fixtures::SAVED as MODELS;
use conformance::model::{Open, draft, prompt, step};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, Extent, Model, Prefill, SeqId, Step, TokenId};

use super::{Device, emulated, model, some};

fn opened(prefill: Prefill) -> Open {
    Open {
        numerics: Numerics::CACHE,
        sequences: 2,
        drafts: true,
        prefill,
        ..Open::default()
    }
}

fn run(model: &mut Model<Device>, seq: u32, at: usize, tokens: &[TokenId]) -> Result<Vec<f32>> {
    Ok(model.step(&step(seq, at, tokens))?.into_values())
}

#[test]
fn a_saved_sequence_goes_on_in_another_model() -> Result<()> {
    for (seed, (name, prefill)) in (1..).zip(some(0, &MODELS)) {
        let ids = prompt(name)?;
        emulated(seed, |session| {
            let mut first = model(session, name, opened(prefill))?;
            let mut second = model(session, name, opened(prefill))?;
            for at in [ids.len() / 3, ids.len() - 6] {
                first.forget(SeqId(0));
                second.forget(SeqId(1));
                run(&mut first, 0, 0, &ids[..at])?;
                let state = first.save(SeqId(0), Extent::Whole)?;
                // Another place, in which another sequence stood.
                run(&mut second, 1, 0, &ids[..at.min(20)])?;
                second.load(SeqId(1), &state)?;
                let again = second.save(SeqId(1), Extent::Whole)?;
                assert_eq!(again, state, "{name} at {at}, saved again");
                let next = &ids[at..at + 4];
                let want = run(&mut first, 0, at, next)?;
                let got = run(&mut second, 1, at, next)?;
                same_bits(&format!("{name} at {at}"), &got, &want);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn what_was_drafted_and_taken_back_leaves_no_trace() -> Result<()> {
    for (seed, (name, prefill)) in (20..).zip(some(1, &MODELS)) {
        let ids = prompt(name)?;
        let at = ids.len() / 2;
        emulated(seed, |session| {
            let mut model = model(session, name, opened(prefill))?;
            run(&mut model, 0, 0, &ids[..at])?;
            run(&mut model, 1, 0, &ids[..at])?;
            for (place, id) in ids[at..at + 2].iter().enumerate() {
                let at = at + place;
                let drafted = draft(&mut model, *id, 3)?;
                let tokens = [&[*id][..], &drafted].concat();
                let got = run(&mut model, 0, at, &tokens)?;
                model.rewind(SeqId(0), at as u32 + 1);
                let want = run(&mut model, 1, at, &[*id])?;
                conformance::compare::close(name, &got[..want.len()], &want, 1e-4);
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_sequence_beside_another_says_what_it_says_alone() -> Result<()> {
    for (seed, (name, prefill)) in (40..).zip([MODELS[0], MODELS[7]]) {
        let ids = prompt(name)?;
        let (one, other) = (&ids[..24], &ids[7..20]);
        emulated(seed, |session| {
            let mut model = model(session, name, opened(prefill))?;
            let alone = [run(&mut model, 0, 0, one)?, run(&mut model, 1, 0, other)?];
            model.forget(SeqId(0));
            model.forget(SeqId(1));
            let spans = [step(0, 0, one), step(1, 0, other)]
                .map(|step| step.spans)
                .concat();
            let both = model.step(&Step { spans })?.into_values();
            conformance::compare::close(name, &both, &alone.concat(), 1e-4);
            Ok(())
        })?;
    }
    Ok(())
}
