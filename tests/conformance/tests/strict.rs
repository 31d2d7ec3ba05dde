//! What callers promise a device, and what a device says it does not do.

use std::sync::Mutex;

use anyhow::Result;
use backend_candle::Candle;
use conformance::compare::same_bits;
use conformance::model::{Open, draft, logits, open, prompt, trace};
use conformance::strict::Strict;
use deepseek_core::{Level, Numerics};
use deepseek_model::Decoder;

/// Both releases, each with a draft head, and DSpark.
const FIXTURES: [&str; 3] = ["flashy-s0", "plain-s7-release", "dspark-s0"];

fn strict(levels: &[Level]) -> Strict<Candle> {
    Strict {
        inner: Candle::plain(),
        levels: levels.to_vec(),
        prefetched: Mutex::default(),
    }
}

#[test]
fn weights_are_used_for_what_they_were_loaded_for() -> Result<()> {
    for name in FIXTURES {
        let opened = Open {
            drafts: true,
            ..Open::default()
        };
        let mut model = open(strict(&Level::ALL), name, opened)?;
        let ids: Vec<_> = prompt(name)?.into_iter().take(12).collect();
        let got = logits(&mut model, &ids, &[8, 1])?;
        let want = logits(&mut open(Candle::plain(), name, opened)?, &ids, &[8, 1])?;
        same_bits(name, got.data(), want.data());

        logits(&mut model, &ids[..8], &[8])?;
        model.step(&conformance::model::step(0, 0, &ids[..8]))?;
        draft(&mut model, ids[8], 2)?;
    }
    Ok(())
}

#[test]
fn experts_that_the_ids_name_are_asked_for_before_they_are_visited() -> Result<()> {
    let mut model = open(strict(&Level::ALL), "flashy-s0", Open::default())?;
    let ids: Vec<_> = prompt("flashy-s0")?.into_iter().take(12).collect();
    let routing = trace(&mut model, &ids)?.routing;
    let be = model.backend();
    let asked = std::mem::take(&mut *be.prefetched.lock().expect("no panic"));
    assert!(!asked.is_empty(), "layers that route by id");
    for (asked, routing) in asked.iter().zip(&routing) {
        assert_eq!(asked, &routing.experts);
    }
    Ok(())
}

#[test]
fn a_level_that_a_device_does_not_serve_is_refused_at_load() -> Result<()> {
    let served = [Level::Full, Level::Released];
    let load = |numerics| {
        let opened = Open {
            numerics,
            ..Open::default()
        };
        open(strict(&served), "flashy-s0", opened)
    };
    for level in Level::ALL {
        let loaded = load(level.into());
        if served.contains(&level) {
            loaded?;
            continue;
        }
        let error = loaded.expect_err("not served").to_string();
        let want = format!("strict does not serve the level {level}, but full, released");
        assert_eq!(error, want);
    }
    // What is no level at all rounds less than it may.
    let mixed = Numerics {
        inputs: true,
        ..Numerics::EXACT
    };
    let error = load(mixed).expect_err("not served").to_string();
    assert!(error.contains("the level exact"), "{error}");
    Ok(())
}
