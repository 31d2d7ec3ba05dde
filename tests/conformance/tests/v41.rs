//! The V4.1 model on the host against the reference: logits, choices, drafts, images, and the
//! prompt that is cut.

use anyhow::{Context, Result};
use backend_candle::Candle;
use backend_host::Host;
use conformance::album::{Album, album, decode, run, spans};
use conformance::compare::{close, same_bits};
use conformance::fixture::Fixture;
use conformance::fixtures::{
    V41 as FIXTURES, V41_CONFIDENCE as CONFIDENCE, V41_TOLERANCE as TOLERANCE,
};
use conformance::model::{Open, list, logits, meta, open, prompt, step, trace};
use deepseek_core::rope::{Rope, Yarn};
use deepseek_core::{Fp4Scale, Kernels, Numerics, Rotation, Rounding};
use deepseek_model::{Decoder, Prefill, SeqId, Span, TokenId, Want};

fn host() -> Host {
    Host::new(2)
}

fn expected(name: &str) -> Result<Fixture> {
    Fixture::open(&format!("{name}/expected.safetensors"))
}

fn prompt_len(name: &str) -> Result<usize> {
    let length = meta(name)?["prompt_len"].as_u64().context("prompt_len")?;
    Ok(length as usize)
}

/// The levels of the reference that agree to the last digit but for sums.
const LEVELS: [(&str, Numerics); 2] = [("none", Numerics::EXACT), ("cache", Numerics::CACHE)];

/// These, and where the weights are stored as released the level that rounds what goes into products
/// with them: the reference rounds that wherever they are.
fn levels(name: &str) -> Vec<(&'static str, Numerics)> {
    let full = name
        .ends_with("-release")
        .then_some(("full", Numerics::FULL));
    LEVELS.into_iter().chain(full).collect()
}

#[test]
fn a_whole_prompt_single_tokens_and_odd_chunks_give_the_logits_of_the_reference() -> Result<()> {
    for name in FIXTURES {
        let (reference, ids) = (expected(name)?, prompt(name)?);
        for (level, numerics) in levels(name) {
            let opened = Open {
                numerics,
                ..Open::default()
            };
            let mut model = open(host(), name, opened)?;
            let key = format!("logits_full.{level}");
            for chunks in [&[512][..], &[1], &[5, 1, 17, 13, 2, 7]] {
                let got = logits(&mut model, &ids, chunks)?;
                let what = format!("{name} {level} in chunks of {chunks:?}");
                reference.holds(&what, got.data(), &key, TOLERANCE)?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_provided_bodies_give_the_logits_of_the_reference() -> Result<()> {
    for name in ["plain-s7-release", "wide-s3-f32"] {
        let ids = prompt(name)?;
        let mut model = open(Candle::plain(), name, Open::default())?;
        let want = expected(name)?.floats("logits_full.none")?;
        let got = logits(&mut model, &ids, &[32])?;
        close(&format!("{name} plain"), got.data(), want.data(), TOLERANCE);
    }
    Ok(())
}

#[test]
fn experts_rows_and_streams_are_those_of_the_reference() -> Result<()> {
    for name in FIXTURES {
        let (reference, ids) = (expected(name)?, prompt(name)?);
        let mut model = open(host(), name, Open::default())?;
        let trace = trace(&mut model, &ids)?;
        let streams = reference.floats("streams.none")?;
        let kept = list(name, "stream_rows")?.context("stream_rows")?;
        let (mut got, mut compared) = (Vec::new(), 0);
        for layer in 0..trace.routing.len() {
            let what = format!("{name} layer {layer}");
            let (_, want) = reference.integers(&format!("experts.{layer}"))?;
            let experts: Vec<i32> = trace.routing[layer]
                .experts
                .iter()
                .map(|id| *id as i32)
                .collect();
            let top_k = trace.routing[layer].top_k;
            for (row, (got, want)) in experts.chunks(top_k).zip(want.chunks(top_k)).enumerate() {
                let mut want = want.to_vec();
                want.sort_unstable();
                assert_eq!(got, want, "{what}: experts of row {row}");
            }
            let rows = format!("chosen.{layer}");
            if reference.has(&rows) {
                let (shape, want) = reference.integers(&rows)?;
                let chosen = trace.chosen[layer].as_ref().expect("a layer with rows");
                for (query, want) in want.chunks(shape[1]).enumerate() {
                    let mut want: Vec<u32> = want
                        .iter()
                        .filter_map(|row| u32::try_from(*row).ok())
                        .collect();
                    want.sort_unstable();
                    let got: Vec<u32> = chosen.rows(query).collect();
                    assert_eq!(got, want, "{what}: rows of query {query}");
                }
                compared += 1;
            }
            let width = trace.streams[layer].data().len() / ids.len();
            for row in &kept {
                let row = *row as usize * width;
                got.extend_from_slice(&trace.streams[layer].data()[row..row + width]);
            }
        }
        assert!(compared >= 3, "{name} holds choices to compare");
        close(&format!("{name} streams"), &got, streams.data(), TOLERANCE);
    }
    Ok(())
}

#[test]
fn the_drafter_proposes_what_the_reference_does() -> Result<()> {
    for name in FIXTURES {
        let (reference, ids, n) = (expected(name)?, prompt(name)?, prompt_len(name)?);
        for (level, numerics) in levels(name) {
            let opened = Open {
                numerics,
                drafts: true,
                ..Open::default()
            };
            let mut model = open(host(), name, opened)?;
            model.step(&step(0, 0, &ids[..n]))?;
            let (shape, tokens) = reference.integers(&format!("draft_tokens.{level}"))?;
            let confidence = reference.floats(&format!("draft_confidence.{level}"))?;
            let logits = match level {
                "none" => Some(reference.floats("draft_logits.none")?),
                _ => None,
            };
            for at in n..ids.len() {
                let what = format!("{name} {level} drafts at {at}");
                let proposal = model
                    .propose(SeqId(0), ids[at], shape[1])?
                    .context("a drafter")?;
                let row = (at - n) * shape[1];
                let want: Vec<TokenId> = tokens[row..row + shape[1]]
                    .iter()
                    .map(|id| *id as u32)
                    .collect();
                assert_eq!(proposal.tokens, want, "{what}");
                let want = &confidence.data()[row..row + shape[1]];
                close(&what, &proposal.confidence, want, CONFIDENCE);
                if let Some(logits) = &logits {
                    let width = logits.width();
                    let got = proposal.logits.concat();
                    let want = &logits.data()[row * width..(row + shape[1]) * width];
                    close(&what, &got, want, TOLERANCE);
                }
                model.step(&step(0, at, &ids[at..=at]))?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_cut_prompt_gives_what_the_reference_gives_then() -> Result<()> {
    for name in FIXTURES {
        let (reference, ids, n) = (expected(name)?, prompt(name)?, prompt_len(name)?);
        for (level, numerics) in levels(name) {
            let opened = Open {
                numerics,
                drafts: true,
                prefill: Prefill::Replay,
                ..Open::default()
            };
            let mut model = open(host(), name, opened)?;
            let key = format!("logits_replay.{level}");
            for chunks in [&[512][..], &[1], &[5, 1, 17, 13, 2, 7]] {
                let what = format!("{name} {level} cut, in chunks of {chunks:?}");
                let mut got = run(&mut model, spans(&ids[..n], &[], chunks, Want::Last))?;
                got.extend(decode(&mut model, n, &ids[n..])?);
                model.forget(SeqId(0));
                reference.holds(&what, &got, &key, TOLERANCE)?;
            }
        }
    }
    Ok(())
}

#[test]
fn a_prompt_that_fits_the_window_loses_nothing_by_being_cut() -> Result<()> {
    let levels = [Numerics::EXACT, Numerics::RELEASED];
    for (name, numerics) in FIXTURES
        .into_iter()
        .flat_map(|name| levels.map(|level| (name, level)))
    {
        let ids = prompt(name)?;
        let fits = &ids[..8];
        let opened = Open {
            numerics,
            ..Open::default()
        };
        let replay = Open {
            prefill: Prefill::Replay,
            ..opened
        };
        let mut cut = open(host(), name, replay)?;
        let mut full = open(host(), name, opened)?;
        for chunks in [&[8][..], &[3, 5], &[1]] {
            let got = run(&mut cut, spans(fits, &[], chunks, Want::Last))?;
            let want = run(&mut full, spans(fits, &[], chunks, Want::Last))?;
            same_bits(name, &got, &want);
            // A continuation that fits does not either.
            let got = run(&mut cut, continued(&ids[8..15], 8))?;
            let want = run(&mut full, continued(&ids[8..15], 8))?;
            same_bits(name, &got, &want);
            cut.forget(SeqId(0));
            full.forget(SeqId(0));
        }
    }
    Ok(())
}

/// Tokens from position `at` in two spans.
fn continued(tokens: &[TokenId], at: u32) -> Vec<Span> {
    let mut spans = spans(tokens, &[], &[3, 512], Want::Last);
    spans.iter_mut().for_each(|span| span.at += at);
    spans
}

#[test]
fn images_in_a_prompt_give_the_logits_of_the_reference() -> Result<()> {
    for name in FIXTURES {
        let reference = expected(name)?;
        for (level, numerics) in LEVELS {
            for which in ["image", "mixed"] {
                let opened = Open {
                    numerics,
                    drafts: true,
                    ..Open::default()
                };
                let mut model = open(host(), name, opened)?;
                let album = album(&mut model, name, which)?;
                let Album {
                    tokens,
                    after,
                    media,
                } = &album;
                let key = format!("logits_{which}.{level}");
                let later = format!("logits_{which}_decode.{level}");
                for chunks in [&[512][..], &[1], &[6, 1, 7, 3]] {
                    let what = format!("{name} {level} {which} in chunks of {chunks:?}");
                    let got = run(&mut model, spans(tokens, media, chunks, Want::All))?;
                    reference.holds(&what, &got, &key, TOLERANCE)?;
                    let got = decode(&mut model, tokens.len(), after)?;
                    reference.holds(&what, &got, &later, TOLERANCE)?;
                    model.forget(SeqId(0));
                }
                let cut = Open {
                    prefill: Prefill::Replay,
                    ..opened
                };
                let mut model = open(host(), name, cut)?;
                let album = self::album(&mut model, name, which)?;
                let key = format!("logits_{which}_replay.{level}");
                for chunks in [&[512][..], &[1], &[6, 1, 7, 3]] {
                    let what = format!("{name} {level} {which} cut, in chunks of {chunks:?}");
                    let prompt = spans(&album.tokens, &album.media, chunks, Want::Last);
                    let mut got = run(&mut model, prompt)?;
                    got.extend(decode(&mut model, album.tokens.len(), &album.after)?);
                    reference.holds(&what, &got, &key, TOLERANCE)?;
                    model.forget(SeqId(0));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_token_that_only_looks_like_an_image_is_text() -> Result<()> {
    let name = "wide-s3-f32";
    let mut model = open(host(), name, Open::default())?;
    let album = album(&mut model, name, "image")?;
    let seen = run(
        &mut model,
        spans(&album.tokens, &album.media, &[512], Want::Last),
    )?;
    model.forget(SeqId(0));
    let spelled = run(&mut model, spans(&album.tokens, &[], &[512], Want::Last))?;
    assert_ne!(seen, spelled);
    Ok(())
}

#[test]
fn of_two_readings_ours_is_the_one_that_is_documented() -> Result<()> {
    let name = "plain-s7-bf16";
    let (reference, ids, n) = (expected(name)?, prompt(name)?, prompt_len(name)?);
    let largest = |left: &[f32], right: &[f32]| {
        let pairs = left.iter().zip(right);
        pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
    };
    let opened = Open {
        drafts: true,
        ..Open::default()
    };
    let mut model = open(host(), name, opened)?;
    let (mut decoded, mut confidence) = (Vec::new(), Vec::new());
    model.step(&step(0, 0, &ids[..n]))?;
    for at in n..ids.len() {
        let proposal = model.propose(SeqId(0), ids[at], 3)?.context("a drafter")?;
        confidence.extend(proposal.confidence);
        decoded.extend(model.step(&step(0, at, &ids[at..=at]))?.into_values());
    }
    // The runner's one-token decode scores against keys that another layer left behind.
    let stale = reference.floats("reading.stale_index_keys")?;
    let apart = largest(&decoded, stale.data());
    assert!(apart > 10.0 * TOLERANCE, "stale keys: {apart}");
    // Retrained drafters feed the normed row to the confidence head.
    let normed = reference.floats("reading.normed_confidence")?;
    let apart = largest(&confidence, normed.data());
    assert!(apart > 10.0 * CONFIDENCE, "normed confidence: {apart}");
    // Others round the input of the grouped output projection as well.
    let (name, full) = ("plain-s7-release", Numerics::FULL);
    let opened = Open {
        numerics: full,
        ..Open::default()
    };
    let (reference, ids) = (expected(name)?, prompt(name)?);
    let got = logits(&mut open(host(), name, opened)?, &ids, &[512])?;
    let rounded = reference.floats("reading.rounded_wo_a")?;
    let apart = largest(got.data(), rounded.data());
    assert!(apart > 10.0 * TOLERANCE, "rounded inputs of wo_a: {apart}");
    Ok(())
}

#[test]
fn roundings_and_rotations_are_those_of_the_reference_bit_for_bit() -> Result<()> {
    roundings_and_rotations_are_those_of_the_reference_bit_for_bit_on(&Host::new(2))?;
    roundings_and_rotations_are_those_of_the_reference_bit_for_bit_on(&Candle::plain())
}

fn roundings_and_rotations_are_those_of_the_reference_bit_for_bit_on<B: Kernels>(
    be: &B,
) -> Result<()> {
    let ops = expected("ops-s1")?;
    let kinds = [
        ("fp8_ue8m0", Rounding::Fp8 { block: 32, tail: 0 }),
        (
            "fp4_ue8m0",
            Rounding::Fp4 {
                block: 32,
                scale: Fp4Scale::E8m0,
            },
        ),
        (
            "fp4_e4m3",
            Rounding::Fp4 {
                block: 16,
                scale: Fp4Scale::E4m3,
            },
        ),
    ];
    for (kind, rounding) in kinds {
        for rows in ["wide", "edge"] {
            let what = format!("{kind}.{rows}");
            let x = be.upload(&ops.floats(&format!("{what}.in"))?)?;
            let got = be.download(&be.round(&x, rounding)?)?;
            let want = ops.floats(&format!("{what}.out"))?;
            same_bits(&what, got.data(), want.data());
        }
    }
    let (_, positions) = ops.integers("rope.positions")?;
    let positions: Vec<u32> = positions.iter().map(|at| *at as u32).collect();
    let yarn = Yarn {
        factor: 16.0,
        original: 65536.0,
        beta_fast: 32.0,
        beta_slow: 1.0,
    };
    let x = be.upload(&ops.floats("rope.in")?)?;
    for (name, rope) in [
        ("rope.near", Rope::new(64, 10_000.0, None)),
        ("rope.far", Rope::new(64, 160_000.0, Some(yarn))),
    ] {
        let want = ops.floats(&format!("{name}.frequencies"))?;
        same_bits(name, rope.frequencies(), want.data());
        let angles = be.upload(&rope.angles(&positions).table())?;
        let got = be.rope(&x, &angles, Rotation::Forward)?;
        let back = be.download(&be.rope(&x, &angles, Rotation::Inverse)?)?;
        for (what, got) in [("out", be.download(&got)?), ("back", back)] {
            let want = ops.floats(&format!("{name}.{what}"))?;
            let largest = want
                .data()
                .iter()
                .fold(0.0_f32, |most, x| most.max(x.abs()));
            close(
                &format!("{name}.{what}"),
                got.data(),
                want.data(),
                1e-6 * largest,
            );
        }
    }
    Ok(())
}
