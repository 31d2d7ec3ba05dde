//! With images in the prompt, too, nothing changes a bit that should not: chunking, neighbours,
//! threads, what was taken back, drafts.

use anyhow::Result;
use backend_host::Host;
use conformance::album::{Album, album, decode, run, spans};
use conformance::compare::same_bits;
use conformance::model::{Open, Spoken, draft, open, speak, step};
use deepseek_core::Numerics;
use deepseek_model::{Decoder, Model, Prefill, SeqId, Span, Step, TokenId, Want};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const FIXTURES: [&str; 3] = ["plain-s7-release", "wide-s3-f32", "wide-s4-release"];
const LEVELS: [(&str, Numerics); 3] = [
    ("exact", Numerics::EXACT),
    ("cache", Numerics::CACHE),
    ("released", Numerics::RELEASED),
];

/// Every fixture, level and way to read a prompt.
fn each(mut check: impl FnMut(&str, &str, Open) -> Result<()>) -> Result<()> {
    for name in FIXTURES {
        for (level, numerics) in LEVELS {
            for prefill in [Prefill::Full, Prefill::Replay] {
                let opened = Open {
                    numerics,
                    prefill,
                    drafts: true,
                    ..Open::default()
                };
                check(name, &format!("{name} {level} {prefill:?}"), opened)?;
            }
        }
    }
    Ok(())
}

/// The logits after a prompt and after each token that follows.
fn answer(model: &mut Model<Host>, album: &Album, chunks: &[usize]) -> Result<Vec<f32>> {
    let prompt = spans(&album.tokens, &album.media, chunks, Want::Last);
    // Of a prompt that is read whole, the last row alone counts.
    let mut logits = run(model, prompt)?;
    let width = model.capacity().vocabulary as usize;
    logits.drain(..logits.len() - width);
    logits.extend(decode(model, album.tokens.len(), &album.after)?);
    model.forget(SeqId(0));
    Ok(logits)
}

#[test]
fn any_chunking_and_any_number_of_threads_give_the_same_bits() -> Result<()> {
    each(|name, what, opened| {
        let mut model = open(Host::new(2), name, opened)?;
        let album = album(&mut model, name, "image")?;
        let want = answer(&mut model, &album, &[512])?;
        for chunks in [&[1][..], &[6, 1, 7, 3], &[2], &[13]] {
            let got = answer(&mut model, &album, chunks)?;
            same_bits(&format!("{what} in chunks of {chunks:?}"), &got, &want);
        }
        let mut three = open(Host::new(3), name, opened)?;
        let album = self::album(&mut three, name, "image")?;
        same_bits(what, &answer(&mut three, &album, &[9])?, &want);
        Ok(())
    })
}

#[test]
fn an_image_beside_other_sequences_is_what_it_is_alone() -> Result<()> {
    each(|name, what, opened| {
        let mut alone = open(Host::new(2), name, opened)?;
        let mut want = Vec::new();
        for which in ["image", "mixed"] {
            let album = album(&mut alone, name, which)?;
            want.push(answer(&mut alone, &album, &[512])?);
        }
        let both = Open {
            sequences: 2,
            ..opened
        };
        let mut model = open(Host::new(2), name, both)?;
        let albums = [
            album(&mut model, name, "image")?,
            album(&mut model, name, "mixed")?,
        ];
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut queues: Vec<std::vec::IntoIter<Span>> = albums
            .iter()
            .enumerate()
            .map(|(seq, album)| {
                let chunks: Vec<usize> = (0..40).map(|_| rng.random_range(1..9)).collect();
                let prompt = spans(&album.tokens, &album.media, &chunks, Want::Last);
                let later = album.after.iter().enumerate().map(|(index, token)| {
                    let mut spans = step(0, album.tokens.len() + index, &[*token]).spans;
                    spans.remove(0)
                });
                let all: Vec<Span> = prompt
                    .into_iter()
                    .chain(later)
                    .map(|span| Span {
                        seq: SeqId(seq as u32),
                        ..span
                    })
                    .collect();
                all.into_iter()
            })
            .collect();
        let mut got = [Vec::new(), Vec::new()];
        loop {
            let spans: Vec<Span> = queues
                .iter_mut()
                .filter_map(|queue| {
                    if rng.random_bool(0.7) {
                        queue.next()
                    } else {
                        None
                    }
                })
                .collect();
            if spans.is_empty() {
                if queues.iter().all(|queue| queue.len() == 0) {
                    break;
                }
                continue;
            }
            let step = Step { spans };
            let logits = model.step(&step)?;
            for (index, span) in step.spans.iter().enumerate() {
                let rows: Vec<f32> = logits.span(index).flatten().copied().collect();
                got[span.seq.0 as usize].extend(rows);
            }
        }
        for (seq, want) in want.iter().enumerate() {
            same_bits(&format!("{what}, sequence {seq}"), &got[seq], want);
        }
        Ok(())
    })
}

#[test]
fn what_was_taken_back_behind_an_image_leaves_no_trace() -> Result<()> {
    each(|name, what, opened| {
        let mut model = open(Host::new(2), name, opened)?;
        let album = album(&mut model, name, "mixed")?;
        let want = answer(&mut model, &album, &[512])?;
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let prompt = spans(&album.tokens, &album.media, &[7], Want::Last);
        let mut got = run(&mut model, prompt)?;
        for (index, token) in album.after.iter().enumerate() {
            let at = album.tokens.len() + index;
            let wrong: Vec<TokenId> = (0..rng.random_range(0..=16))
                .map(|_| rng.random_range(9..300))
                .collect();
            draft(&mut model, *token, 3)?;
            if !wrong.is_empty() {
                model.step(&step(0, at, &wrong))?;
                model.rewind(SeqId(0), at as u32);
            }
            got.extend(model.step(&step(0, at, &[*token]))?.into_values());
        }
        same_bits(what, &got, &want);
        Ok(())
    })
}

#[test]
fn drafts_change_how_often_the_model_runs_and_never_what_it_says() -> Result<()> {
    each(|name, what, opened| {
        let mut model = open(Host::new(2), name, opened)?;
        let album = album(&mut model, name, "image")?;
        let width = model.capacity().vocabulary as usize;
        let mut say = |drafts: u32| -> Result<Spoken> {
            let prompt = spans(&album.tokens, &album.media, &[512], Want::Last);
            let logits = run(&mut model, prompt)?;
            let last = &logits[logits.len() - width..];
            speak(&mut model, last, album.tokens.len(), 40, drafts)
        };
        let plain = say(0)?;
        for drafts in [1, 3, 15] {
            let drafted = say(drafts)?;
            assert_eq!(drafted.ids, plain.ids, "{what}: {drafts} drafts");
            let [steps, each] = [drafted.steps, plain.steps];
            assert!(steps <= each, "{what}: {steps} steps for {each}");
        }
        Ok(())
    })
}
