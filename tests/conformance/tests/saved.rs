//! Sequences that are saved and put back, drafts in batches, and ids without logits.

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::compare::same_bits;
use conformance::model::{Open, best, open, prompt, step};
use deepseek_core::{HostTensor, Kernels, Numerics};
use deepseek_model::{
    Decoder, DraftAsk, Error, Extent, Insert, Model, Prefill, SeqId, SequenceState, Span, Step,
    TokenId, Want,
};
use deepseek_vision::Grid;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Fixtures, and how a prompt of theirs is read.
const MODELS: [(&str, Prefill); 8] = [
    ("flashy-s0", Prefill::Full),
    ("prolike-s0", Prefill::Full),
    ("realrope-s0", Prefill::Full),
    ("cached-s0", Prefill::Full),
    ("plain-s7-release", Prefill::Full),
    ("plain-s7-bf16", Prefill::Replay),
    ("wide-s3-f32", Prefill::Replay),
    ("wide-s4-release", Prefill::Replay),
];

/// Positions of each fixture at which a sequence is saved.
const POSITIONS: usize = 20;

/// Ids of a prompt that is longer than every window and ring.
const LONG: usize = 300;

fn opened(prefill: Prefill, sequences: usize) -> Open {
    Open {
        numerics: Numerics::CACHE,
        sequences,
        drafts: true,
        prefill,
        ..Open::default()
    }
}

fn span(seq: u32, at: usize, tokens: &[TokenId], want: Want) -> Span {
    let mut span = step(seq, at, tokens).spans.remove(0);
    span.want = want;
    span
}

fn run<B: Kernels>(model: &mut Model<B>, span: Span) -> Result<Vec<f32>> {
    Ok(model.step(&Step { spans: vec![span] })?.into_values())
}

fn draft<B: Kernels>(model: &mut Model<B>, seq: u32, after: TokenId) -> Result<Vec<TokenId>> {
    let seq = SeqId(seq);
    let mut drafts = model.draft(&[DraftAsk { seq, after, max: 3 }])?;
    Ok(drafts.remove(0))
}

/// What follows a sequence at `at`: drafts, logits of what they are drafts of, and after a rewind again.
fn goes_on<B: Kernels>(
    model: &mut Model<B>,
    seq: u32,
    at: usize,
    tokens: &[TokenId],
) -> Result<(Vec<TokenId>, Vec<f32>)> {
    let mut drafts = if at > 0 {
        draft(model, seq, tokens[0])?
    } else {
        Vec::new()
    };
    let mut logits = run(model, span(seq, at, tokens, Want::All))?;
    model.rewind(SeqId(seq), at as u32 + 1);
    drafts.extend(draft(model, seq, tokens[1])?);
    logits.extend(run(model, span(seq, at + 1, &tokens[1..], Want::Last))?);
    Ok((drafts, logits))
}

/// Whether a sequence is saved between the parts of a prompt that goes on, or behind one that ended.
fn save_everywhere<B: Kernels>(name: &str, prefill: Prefill, device: impl Fn() -> B) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let ids = prompt(name)?;
    let mut model = open(device(), name, opened(prefill, 2))?;
    for case in 0..POSITIONS {
        let at = rng.random_range(1..ids.len() - 4);
        let cut = rng.random_range(0..at);
        let want = match case % 2 {
            0 => Want::Last,
            _ => Want::Nothing,
        };
        model.forget(SeqId(0));
        if cut > 0 {
            run(&mut model, span(0, 0, &ids[..cut], Want::Nothing))?;
        }
        run(&mut model, span(0, cut, &ids[cut..at], want))?;
        let state = model.save(SeqId(0), Extent::Whole)?;
        assert_eq!(state.position() as usize, at);
        let next = &ids[at..at + 4];
        let mut other = open(device(), name, opened(prefill, 2))?;
        // Another place, in which another sequence stood.
        run(&mut other, span(1, 0, &ids[..at.max(9)], Want::Last))?;
        other.load(SeqId(1), &state)?;
        assert_eq!(
            other.save(SeqId(1), Extent::Whole)?,
            state,
            "{name} at {at}, saved again"
        );
        let want = goes_on(&mut model, 0, at, next)?;
        let got = goes_on(&mut other, 1, at, next)?;
        assert_eq!(got.0, want.0, "{name} at {at}: drafts");
        same_bits(&format!("{name} at {at}"), &got.1, &want.1);
    }
    Ok(())
}

#[test]
fn a_saved_sequence_goes_on_in_a_fresh_model() -> Result<()> {
    for (name, prefill) in MODELS {
        save_everywhere(name, prefill, || Host::new(2))?;
    }
    save_everywhere("flashy-s0", Prefill::Full, Candle::plain)
}

/// A prompt that goes on from a saved one, behind an answer that is forgotten or kept, says what it says
/// when it is run anew.
fn resume_everywhere<B: Kernels>(name: &str, prefill: Prefill, device: B) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut model = open(device, name, opened(prefill, 2))?;
    let known = prompt(name)?;
    let ids: Vec<TokenId> = (0..LONG)
        .map(|_| known[rng.random_range(0..known.len())])
        .collect();
    for case in 0..POSITIONS {
        let at = rng.random_range(20..LONG - 30);
        let answered = rng.random_range(1..20);
        let back = rng.random_range(0..4);
        for seq in [0, 1] {
            model.forget(SeqId(seq));
        }
        run(&mut model, span(0, 0, &ids[..at / 2], Want::Nothing))?;
        run(&mut model, span(0, at / 2, &ids[at / 2..at], Want::Last))?;
        let state = model.save(SeqId(0), Extent::Tail)?;
        let whole = model.save(SeqId(0), Extent::Whole)?;
        assert!(state.bytes() < whole.bytes(), "{name}");
        for (place, id) in ids[at..at + answered].iter().enumerate() {
            draft(&mut model, 0, *id)?;
            let drafted = [*id, ids[0], ids[1]];
            run(&mut model, span(0, at + place, &drafted, Want::All))?;
            model.rewind(SeqId(0), (at + place + 1) as u32);
        }
        // The answer stays, or the prompt goes on as if it had not been given.
        let from = if case % 2 == 0 {
            model.resume(SeqId(0), (at + answered) as u32);
            at + answered
        } else {
            model.load(SeqId(0), &state)?;
            model.resume(SeqId(0), (at - back) as u32);
            at - back
        };
        // Shorter than a window of these models, and longer.
        let more = rng.random_range(2..14);
        let other: Vec<_> = ids[from..from + more].iter().rev().copied().collect();
        let fresh = [&ids[..from], &other].concat();
        run(&mut model, span(0, from, &other[..more / 2], Want::Nothing))?;
        let rest = &other[more / 2..];
        let got = run(&mut model, span(0, from + more / 2, rest, Want::Last))?;
        let want = run(&mut model, span(1, 0, &fresh, Want::Last))?;
        same_bits(&format!("{name} from {from} of {at}"), &got, &want);
        for id in [3, 5] {
            let at = model.save(SeqId(0), Extent::Tail)?.position() as usize;
            let got = run(&mut model, span(0, at, &[id], Want::Last))?;
            let want = run(&mut model, span(1, at, &[id], Want::Last))?;
            same_bits(&format!("{name}, the answer at {at}"), &got, &want);
        }
    }
    Ok(())
}

#[test]
fn a_prompt_goes_on_from_where_an_earlier_one_ended() -> Result<()> {
    for (name, prefill) in MODELS {
        resume_everywhere(name, prefill, Host::new(2))?;
    }
    Ok(())
}

#[test]
fn a_tail_is_good_for_the_life_of_its_place_alone() -> Result<()> {
    let mut model = open(Host::new(2), "flashy-s0", opened(Prefill::Full, 2))?;
    let ids = [1, 2, 3, 4, 5, 6];
    for seq in [0, 1] {
        run(&mut model, span(seq, 0, &ids, Want::Last))?;
    }
    let tail = model.save(SeqId(0), Extent::Tail)?;
    let refused = |model: &mut Model<Host>, seq| {
        let error = model.load(SeqId(seq), &tail).expect_err("another life");
        assert!(matches!(error, Error::State), "{error}");
    };
    refused(&mut model, 1);
    model.load(SeqId(0), &tail)?;
    model.forget(SeqId(0));
    run(&mut model, span(0, 0, &ids, Want::Last))?;
    refused(&mut model, 0);
    // The place holds an empty sequence.
    run(&mut model, span(0, 0, &ids, Want::Last))?;
    Ok(())
}

#[test]
fn a_sequence_is_saved_with_what_it_read_of_media() -> Result<()> {
    let name = "plain-s7-release";
    let mut model = open(Host::new(2), name, opened(Prefill::Replay, 1))?;
    let vision = model.capacity().vision.context("a tower")?;
    let grid = Grid::fit(64, 64, &vision);
    let count = grid.patches[0] * grid.patches[1];
    let width = 3 * vision.patch * vision.patch;
    let patches = (0..count * width)
        .map(|at| (at as f32 * 0.1).sin())
        .collect();
    let media = model.attach_patches(&HostTensor::new(&[count, width], patches), &grid)?;
    let mut first = span(0, 0, &vec![5; grid.tokens() + 3], Want::Nothing);
    first.media = vec![Insert {
        media,
        tokens: 2..2 + grid.tokens(),
        from: 0,
    }];
    let at = first.tokens.len();
    run(&mut model, first)?;
    model.release(media);
    let state = model.save(SeqId(0), Extent::Whole)?;
    let mut other = open(Host::new(2), name, opened(Prefill::Replay, 1))?;
    other.load(SeqId(0), &state)?;
    let next = [3, 4, 5, 6];
    let want = run(&mut model, span(0, at, &next, Want::Last))?;
    let got = run(&mut other, span(0, at, &next, Want::Last))?;
    same_bits(name, &got, &want);
    Ok(())
}

#[test]
fn a_state_of_another_model_is_refused() -> Result<()> {
    let mut model = open(Host::new(2), "flashy-s0", opened(Prefill::Full, 1))?;
    run(&mut model, span(0, 0, &[1, 2, 3, 4, 5, 6], Want::Last))?;
    let state = model.save(SeqId(0), Extent::Whole)?;
    let mut other = open(Host::new(2), "prolike-s0", opened(Prefill::Full, 1))?;
    other
        .load(SeqId(0), &state)
        .expect_err("rows of other widths");
    let more = SequenceState::new(0, vec![vec![0; 64]; 500]);
    let error = model.load(SeqId(0), &more).expect_err("bytes of nothing");
    assert!(matches!(error, Error::Core(_) | Error::State), "{error}");
    let far = SequenceState::new(1 << 20, Vec::new());
    let error = model.load(SeqId(0), &far).expect_err("beyond the context");
    assert!(matches!(error, Error::State), "{error}");
    // The place holds an empty sequence.
    run(&mut model, span(0, 0, &[1, 2, 3], Want::Last))?;
    Ok(())
}

#[test]
fn drafts_in_a_batch_are_those_of_each_sequence_alone() -> Result<()> {
    for (name, prefill) in MODELS {
        let ids = prompt(name)?;
        let mut model = open(Host::new(2), name, opened(prefill, 3))?;
        let lengths = [ids.len() / 3, ids.len() / 2, ids.len() - 5];
        for (seq, length) in lengths.into_iter().enumerate() {
            run(&mut model, span(seq as u32, 0, &ids[..length], Want::Last))?;
        }
        let ask = |seq: usize, max| DraftAsk {
            seq: SeqId(seq as u32),
            after: ids[lengths[seq]],
            max,
        };
        let asks = [ask(2, 3), ask(0, 1), ask(1, 2)];
        let alone = asks
            .iter()
            .map(|ask| Ok(model.draft(&[*ask])?.remove(0)))
            .collect::<Result<Vec<_>>>()?;
        assert_eq!(model.draft(&asks)?, alone, "{name}");
        let counts: Vec<_> = alone.iter().map(Vec::len).collect();
        assert!(counts.iter().all(|count| *count > 0), "{name}: {counts:?}");
    }
    Ok(())
}

#[test]
fn ids_without_logits_are_the_most_likely_ones() -> Result<()> {
    for (name, prefill) in MODELS {
        let ids = prompt(name)?;
        let mut model = open(Host::new(2), name, opened(prefill, 2))?;
        let width = model.capacity().vocabulary as usize;
        for seq in [0, 1] {
            run(&mut model, span(seq, 0, &ids[..20], Want::Last))?;
        }
        let spans = [
            span(0, 20, &ids[20..24], Want::Best),
            span(1, 20, &ids[20..24], Want::All),
        ];
        let logits = model.step(&Step {
            spans: spans.into(),
        })?;
        assert_eq!(
            (logits.span(0).len(), logits.span(1).len()),
            (0, 4),
            "{name}"
        );
        let rows: Vec<TokenId> = logits.span(1).map(best).collect();
        assert_eq!(logits.best(0), rows, "{name}");
        assert!(logits.best(1).is_empty(), "{name}");
        assert_eq!(logits.into_values().len(), 4 * width, "{name}");
    }
    Ok(())
}
