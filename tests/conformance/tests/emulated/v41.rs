//! V4.1: every fixture against the reference: text, images, drafts, prompts that are cut.

use anyhow::{Context, Result};
use conformance::album::{Album, album, decode, run, spans};
use conformance::compare::close;
use conformance::fixture::{Fixture, folder};
use conformance::fixtures::{
    V41 as FIXTURES, V41_CONFIDENCE as CONFIDENCE, V41_TOLERANCE as TOLERANCE,
};
use conformance::model::{Open, logits, meta, prompt, step, trace};
use deepseek_core::weights::{Checkpoint, Tensors};
use deepseek_core::{Backend, Loader, Numerics, Shares};
use deepseek_model::{Config, Decoder, Prefill, SeqId, TokenId, Want};
use deepseek_vision::{Canvas, Image, Tower};

use super::{at, device, emulated, model, some};

const LEVELS: [(&str, Numerics); 2] = [("none", Numerics::EXACT), ("cache", Numerics::CACHE)];

/// These, and where the weights are stored as released the level that rounds what goes into products.
fn levels(name: &str) -> Vec<(&'static str, Numerics)> {
    let full = name
        .ends_with("-release")
        .then_some(("full", Numerics::FULL));
    LEVELS.into_iter().chain(full).collect()
}

fn expected(name: &str) -> Result<Fixture> {
    Fixture::open(&format!("{name}/expected.safetensors"))
}

fn prompt_len(name: &str) -> Result<usize> {
    let length = meta(name)?["prompt_len"].as_u64().context("prompt_len")?;
    Ok(length as usize)
}

#[test]
fn a_prompt_whole_and_in_odd_chunks_gives_the_logits_of_the_reference() -> Result<()> {
    for name in some(0, &FIXTURES) {
        let (reference, ids) = (expected(name)?, prompt(name)?);
        for (seed, (level, numerics)) in (1..).zip(levels(name)) {
            let key = format!("logits_full.{level}");
            emulated(seed, |session| {
                let mut model = model(session, name, at(numerics))?;
                for chunks in [&[512][..], &[5, 1, 17, 13, 2, 7]] {
                    let got = logits(&mut model, &ids, chunks)?;
                    let what = format!("{name} {level} in chunks of {chunks:?}");
                    reference.holds(&what, got.data(), &key, TOLERANCE)?;
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

#[test]
fn single_tokens_give_the_logits_of_the_reference() -> Result<()> {
    let name = "plain-s7-bf16";
    let (reference, ids) = (expected(name)?, prompt(name)?);
    emulated(10, |session| {
        let got = logits(&mut model(session, name, Open::default())?, &ids, &[1])?;
        reference.holds(name, got.data(), "logits_full.none", TOLERANCE)
    })
}

#[test]
fn experts_and_rows_are_those_of_the_reference() -> Result<()> {
    for (seed, name) in (20..).zip(FIXTURES) {
        let (reference, ids) = (expected(name)?, prompt(name)?);
        emulated(seed, |session| {
            let mut model = model(session, name, Open::default())?;
            let trace = trace(&mut model, &ids)?;
            let mut compared = 0;
            for (layer, routing) in trace.routing.iter().enumerate() {
                let what = format!("{name} layer {layer}");
                let (_, want) = reference.integers(&format!("experts.{layer}"))?;
                let experts: Vec<i32> = routing.experts.iter().map(|id| *id as i32).collect();
                let pairs = experts
                    .chunks(routing.top_k)
                    .zip(want.chunks(routing.top_k));
                for (row, (got, want)) in pairs.enumerate() {
                    let mut want = want.to_vec();
                    want.sort_unstable();
                    assert_eq!(got, want, "{what}: experts of row {row}");
                }
                let rows = format!("chosen.{layer}");
                if reference.has(&rows) {
                    let (shape, want) = reference.integers(&rows)?;
                    let chosen = trace.chosen[layer].as_ref().context("a layer with rows")?;
                    for (query, want) in want.chunks(shape[1]).enumerate() {
                        let want = want.iter().filter_map(|row| u32::try_from(*row).ok());
                        let mut want: Vec<u32> = want.collect();
                        want.sort_unstable();
                        assert!(chosen.rows(query).eq(want), "{what}: rows of query {query}");
                    }
                    compared += 1;
                }
            }
            assert!(compared >= 3, "{name} holds choices to compare");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn the_drafter_proposes_what_the_reference_does() -> Result<()> {
    for name in some(1, &FIXTURES) {
        let (reference, ids, n) = (expected(name)?, prompt(name)?, prompt_len(name)?);
        let (level, numerics) = *levels(name).last().context("a level")?;
        let (shape, tokens) = reference.integers(&format!("draft_tokens.{level}"))?;
        let confidence = reference.floats(&format!("draft_confidence.{level}"))?;
        emulated(30, |session| {
            let opened = Open {
                drafts: true,
                ..at(numerics)
            };
            let mut model = model(session, name, opened)?;
            model.step(&step(0, 0, &ids[..n]))?;
            for at in n..ids.len() {
                let what = format!("{name} {level} drafts at {at}");
                let proposal = model.propose(SeqId(0), ids[at], shape[1])?;
                let proposal = proposal.context("a drafter")?;
                let row = (at - n) * shape[1];
                let want = &tokens[row..row + shape[1]];
                let want: Vec<TokenId> = want.iter().map(|id| *id as u32).collect();
                assert_eq!(proposal.tokens, want, "{what}");
                let want = &confidence.data()[row..row + shape[1]];
                close(&what, &proposal.confidence, want, CONFIDENCE);
                model.step(&step(0, at, &ids[at..=at]))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_cut_prompt_gives_what_the_reference_gives_then() -> Result<()> {
    for name in some(1, &FIXTURES) {
        let (reference, ids, n) = (expected(name)?, prompt(name)?, prompt_len(name)?);
        for (seed, (level, numerics)) in (40..).zip(levels(name)) {
            let opened = Open {
                drafts: true,
                prefill: Prefill::Replay,
                ..at(numerics)
            };
            let key = format!("logits_replay.{level}");
            emulated(seed, |session| {
                let mut model = model(session, name, opened)?;
                let chunks = &[5, 1, 17, 13, 2, 7];
                let mut got = run(&mut model, spans(&ids[..n], &[], chunks, Want::Last))?;
                got.extend(decode(&mut model, n, &ids[n..])?);
                reference.holds(&format!("{name} {level} cut"), &got, &key, TOLERANCE)
            })?;
        }
    }
    Ok(())
}

#[test]
fn images_in_a_prompt_give_the_logits_of_the_reference() -> Result<()> {
    for name in some(2, &FIXTURES) {
        let reference = expected(name)?;
        for (which, prefill) in [
            ("image", Prefill::Full),
            ("mixed", Prefill::Full),
            ("image", Prefill::Replay),
            ("mixed", Prefill::Replay),
        ] {
            let opened = Open {
                prefill,
                drafts: true,
                ..Open::default()
            };
            emulated(50, |session| {
                let mut model = model(session, name, opened)?;
                let Album {
                    tokens,
                    after,
                    media,
                } = album(&mut model, name, which)?;
                let what = format!("{name} {which} {prefill:?}");
                let chunks = &[6, 1, 7, 512];
                if prefill == Prefill::Replay {
                    let prompt = spans(&tokens, &media, chunks, Want::Last);
                    let mut got = run(&mut model, prompt)?;
                    got.extend(decode(&mut model, tokens.len(), &after)?);
                    let key = format!("logits_{which}_replay.none");
                    return reference.holds(&what, &got, &key, TOLERANCE);
                }
                let got = run(&mut model, spans(&tokens, &media, chunks, Want::All))?;
                reference.holds(&what, &got, &format!("logits_{which}.none"), TOLERANCE)?;
                let got = decode(&mut model, tokens.len(), &after)?;
                let key = format!("logits_{which}_decode.none");
                reference.holds(&what, &got, &key, TOLERANCE)
            })?;
        }
    }
    Ok(())
}

/// The tower by itself, on images of every size.
#[test]
fn features_of_images_are_those_of_the_reference() -> Result<()> {
    let name = "vision-s5";
    let reference = expected(name)?;
    let json = std::fs::read_to_string(folder(name).join("config.json"))?;
    // The fixture is a tower alone, without tables for the n-gram memory of its config.
    let mut config: serde_json::Value = serde_json::from_str(&json)?;
    config["text_config"]["engram_layer_ids"] = serde_json::json!([]);
    let shape = Config::parse(&config.to_string())?.vision;
    let shape = shape.context("a tower")?;
    let checkpoint = Checkpoint::open(&folder(name))?;
    let images = meta(name)?["pictures"].take();
    emulated(70, |session| {
        let be = &device(session)?;
        let at = Loader {
            be,
            tensors: Tensors::new(&checkpoint, [32, 32]),
            numerics: Numerics::EXACT,
            input_block: 32,
            shares: Shares::WHOLE,
        };
        let tower = Tower::load(&at, shape)?;
        for about in images.as_array().context("pictures")? {
            let [width, height] = [0, 1].map(|side| about["size"][side].as_u64());
            let size = format!(
                "{}x{}",
                width.context("a width")?,
                height.context("a height")?
            );
            let path = folder(name).join(format!("pictures/{size}.png"));
            let canvas = Canvas::new(&Image::decode(&std::fs::read(path)?)?, &shape);
            let got = tower.encode(be, &canvas.patches(shape.patch), canvas.grid())?;
            let want = reference.floats(&format!("features.{size}"))?;
            close(&size, be.download(&got)?.data(), want.data(), TOLERANCE);
        }
        Ok(())
    })
}
