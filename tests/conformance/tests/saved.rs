//! Sequences that are saved and put back, drafts in batches, and ids without logits.

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::compare::same_bits;
use conformance::fixtures::SAVED as MODELS;
use conformance::model::{Open, best, open, prompt, step};
use deepseek_core::{HostTensor, Kernels, Level, Numerics};
use deepseek_model::saved::{Binding, Reader, SavedError, Writer};
use deepseek_model::{
    Decoder, DraftAsk, Error, Extent, Insert, Model, Prefill, SeqId, SequenceState, Span, Step,
    TokenId, Want,
};
use deepseek_vision::Grid;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

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

/// A state as bytes.
fn bytes_of(state: &SequenceState, binding: &Binding) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = Writer::begin(&mut bytes, binding)?;
    state.write(&mut writer)?;
    writer.end()?;
    Ok(bytes)
}

fn read(mut bytes: &[u8], binding: &Binding) -> Result<SequenceState, SavedError> {
    let count = bytes.len() as u64;
    let mut reader = Reader::begin(&mut bytes, count, binding)?;
    let state = SequenceState::read(&mut reader)?;
    reader.end()?;
    Ok(state)
}

/// A state that another process has read.
fn through_bytes<B: Kernels>(model: &Model<B>, state: &SequenceState) -> Result<SequenceState> {
    let binding = Binding::of(model.plan());
    Ok(read(&bytes_of(state, &binding)?, &binding)?)
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
        let saved = state;
        let state = through_bytes(&model, &saved)?;
        assert_eq!(state, saved, "{name} at {at}, read again");
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

/// A tail that was read from bytes goes on behind its whole in a fresh model, as if the answer between the
/// two had not been given.
fn adopt_everywhere(name: &str, prefill: Prefill) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(13);
    let mut model = open(Host::new(2), name, opened(prefill, 2))?;
    let known = prompt(name)?;
    let ids: Vec<TokenId> = (0..LONG)
        .map(|_| known[rng.random_range(0..known.len())])
        .collect();
    for _ in 0..POSITIONS / 4 {
        let at = rng.random_range(20..LONG - 30);
        let answered = rng.random_range(1..20);
        let back = rng.random_range(0..4);
        for seq in [0, 1] {
            model.forget(SeqId(seq));
        }
        run(&mut model, span(0, 0, &ids[..at], Want::Last))?;
        let tail = model.save(SeqId(0), Extent::Tail)?;
        for (place, id) in ids[at..at + answered].iter().enumerate() {
            run(&mut model, span(0, at + place, &[*id], Want::Last))?;
        }
        let whole = model.save(SeqId(0), Extent::Whole)?;
        let mut other = open(Host::new(2), name, opened(prefill, 2))?;
        let mut tail = through_bytes(&model, &tail)?;
        assert_eq!(tail.extent(), Extent::Tail);
        let error = other.load(SeqId(1), &tail).expect_err("a tail of nothing");
        assert!(matches!(error, Error::State), "{error}");
        let error = other.adopt(SeqId(1), &mut tail).expect_err("nor is it");
        assert!(matches!(error, Error::State), "{error}");
        other.load(SeqId(1), &through_bytes(&model, &whole)?)?;
        other.adopt(SeqId(1), &mut tail)?;
        other.load(SeqId(1), &tail)?;
        let from = at - back;
        other.resume(SeqId(1), from as u32);
        let more = rng.random_range(2..14);
        let next: Vec<_> = ids[from..from + more].iter().rev().copied().collect();
        let got = run(&mut other, span(1, from, &next, Want::Last))?;
        let fresh = [&ids[..from], &next].concat();
        let want = run(&mut model, span(1, 0, &fresh, Want::Last))?;
        same_bits(&format!("{name} from {from} of {at}"), &got, &want);
    }
    Ok(())
}

#[test]
fn a_tail_goes_on_behind_its_whole_in_a_fresh_model() -> Result<()> {
    for (name, prefill) in MODELS {
        adopt_everywhere(name, prefill)?;
    }
    Ok(())
}

#[test]
fn a_sequence_is_saved_and_loaded_in_parts_while_another_takes_steps() -> Result<()> {
    /// Bytes of a part.
    const PART: usize = 4096;

    let ids = prompt("plain-s7-bf16")?;
    let open = || open(Host::new(2), "plain-s7-bf16", opened(Prefill::Replay, 2));
    let (mut model, at) = (open()?, ids.len() / 2);
    run(&mut model, span(0, 0, &ids[..at], Want::Last))?;
    let want = model.save(SeqId(0), Extent::Whole)?;
    let mut state = SequenceState::new(0, Vec::new());
    let mut parts = 0;
    while !model.save_more(SeqId(0), &mut state, PART)? {
        run(&mut model, span(1, parts, &ids[parts..=parts], Want::Last))?;
        parts += 1;
    }
    assert!(parts > 3, "{parts} parts");
    assert_eq!(state, want);
    let (mut other, mut next, mut parts) = (open()?, Some(0), 0);
    while let Some(from) = next {
        next = other.load_more(SeqId(1), &state, from, PART)?;
        run(&mut other, span(0, parts, &ids[parts..=parts], Want::Last))?;
        parts += 1;
    }
    assert!(parts > 3, "{parts} parts");
    let next = &ids[at..at + 4];
    let want = goes_on(&mut model, 0, at, next)?;
    let got = goes_on(&mut other, 1, at, next)?;
    assert_eq!(got.0, want.0);
    same_bits("in parts", &got.1, &want.1);
    // A tail is a part of another thing.
    let tail = model.save(SeqId(0), Extent::Tail)?;
    let error = other.load_more(SeqId(1), &tail, 0, PART);
    assert!(matches!(error, Err(Error::State)), "{error:?}");
    Ok(())
}

#[test]
fn a_sequence_goes_on_in_another_context_that_holds_it() -> Result<()> {
    for (name, prefill) in MODELS {
        let ids = prompt(name)?;
        let at = ids.len() - 5;
        let mut model = open(Host::new(2), name, opened(prefill, 1))?;
        run(&mut model, span(0, 0, &ids[..at], Want::Last))?;
        let state = model.save(SeqId(0), Extent::Whole)?;
        let state = through_bytes(&model, &state)?;
        let want = goes_on(&mut model, 0, at, &ids[at..at + 4])?;
        // With room for as many drafts.
        for context in [at + 12, 700] {
            let other = Open {
                context,
                step_tokens: 32,
                ..opened(prefill, 1)
            };
            let mut other = open(Host::new(2), name, other)?;
            other.load(SeqId(0), &state)?;
            let got = goes_on(&mut other, 0, at, &ids[at..at + 4])?;
            assert_eq!(got.0, want.0, "{name}: drafts");
            same_bits(&format!("{name} in {context}"), &got.1, &want.1);
        }
        let short = Open {
            context: at - 1,
            step_tokens: 32,
            ..opened(prefill, 1)
        };
        let error = open(Host::new(2), name, short)?.load(SeqId(0), &state);
        assert!(matches!(error, Err(Error::State)), "{error:?}");
    }
    Ok(())
}

/// Numbers that no sequence has are refused, whatever they are: a step must not rely on them.
#[test]
fn any_bytes_with_a_right_checksum_are_refused_or_run() -> Result<()> {
    /// Of the numbers that stand before the rows, and of their lengths.
    const CHANGED: usize = 160;
    const CASES: usize = 400;

    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let mut loaded = 0;
    for (name, prefill) in [
        ("plain-s7-bf16", Prefill::Replay),
        ("flashy-s0", Prefill::Full),
    ] {
        let ids = prompt(name)?;
        let mut model = open(Host::new(2), name, opened(prefill, 1))?;
        run(&mut model, span(0, 0, &ids[..20], Want::Last))?;
        let binding = Binding::of(model.plan());
        let state = model.save(SeqId(0), Extent::Whole)?;
        let good = bytes_of(&state, &binding)?;
        let mut head = Vec::new();
        Writer::begin(&mut head, &binding)?;
        for _ in 0..CASES {
            let mut bytes = good[..good.len() - 32].to_vec();
            for _ in 0..rng.random_range(1..3) {
                let at = head.len() + rng.random_range(0..CHANGED);
                bytes[at] = match rng.random_range(0..3) {
                    0 => rng.random(),
                    1 => bytes[at].wrapping_add(1),
                    _ => bytes[at].wrapping_sub(1),
                };
            }
            let checksum = Sha256::digest(&bytes);
            bytes.extend(checksum);
            let Ok(state) = read(&bytes, &binding) else {
                continue;
            };
            if model.load(SeqId(0), &state).is_err() {
                continue;
            }
            loaded += 1;
            let at = state.position() as usize;
            run(&mut model, span(0, at, &ids[..4], Want::All))?;
            // Where it is said to have been further, it cannot be taken back.
            if (state.reached() as usize) < at + 8 {
                model.resume(SeqId(0), at as u32 + 2);
                run(&mut model, span(0, at + 2, &ids[..8], Want::Last))?;
            }
        }
    }
    assert!(loaded > 20, "{loaded} of {} loaded", 2 * CASES);
    Ok(())
}

#[test]
fn a_sequence_is_bound_to_how_its_model_was_laid_out() -> Result<()> {
    let (name, prefill) = ("plain-s7-bf16", Prefill::Replay);
    let mut model = open(Host::new(2), name, opened(prefill, 1))?;
    run(&mut model, span(0, 0, &[1, 2, 3], Want::Last))?;
    let own = Binding::of(model.plan());
    let bytes = bytes_of(&model.save(SeqId(0), Extent::Whole)?, &own)?;
    let check = |other: Open, want: &str| -> Result<()> {
        let other = open(Host::new(2), name, other)?;
        let error = read(&bytes, &Binding::of(other.plan())).expect_err(want);
        assert_eq!(error.to_string(), want);
        Ok(())
    };
    let same = opened(prefill, 1);
    let numerics = Level::Released.into();
    check(
        Open { numerics, ..same },
        "numerics cache then, released now",
    )?;
    let whole = Prefill::Full;
    let other = Open {
        prefill: whole,
        ..same
    };
    check(other, "prefill replay then, full now")?;
    let other = Open {
        drafts: false,
        ..same
    };
    check(other, "draft head dspark then, none now")
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
