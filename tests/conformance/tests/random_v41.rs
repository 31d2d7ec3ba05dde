//! A random V4.1 checkpoint in the released format: it is what the bill says, the model takes it, and
//! every part of it runs.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::Result;
use backend_host::Host;
use conformance::model::draft;
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::bill::{Tally, Weights};
use deepseek_model::{
    Budget, Config, Decoder, Error, Insert, Media, Model, Plan, Prefill, SeqId, Span, Step,
    Storage, TokenId, Want,
};
use deepseek_testkit::{tiny_v41_config, write_checkpoint};
use deepseek_vision::{Canvas, Image};
use serde_json::Value;

const VOCABULARY: usize = 320;
const COMPRESSED: usize = 254;

/// Ids that are alike when compressed, as many as the config has.
fn compressed() -> Vec<u32> {
    (0..VOCABULARY)
        .map(|id| id.min(COMPRESSED - 1) as u32)
        .collect()
}

fn load(
    folder: &Path,
    json: &str,
    numerics: Numerics,
    prefill: Prefill,
    compressed: Vec<u32>,
) -> deepseek_model::Result<Model<Host>> {
    let config = Config::parse(json).expect("the config holds together");
    let budget = Budget {
        context: 256,
        prefill,
        ..Budget::default()
    };
    let plan = Plan::new(&config, numerics, budget).expect("the budget is sound");
    let checkpoint = Checkpoint::open(folder)?;
    Model::load(
        Host::new(2),
        plan,
        &checkpoint,
        Some(compressed),
        &mut |_, _| ControlFlow::Continue(()),
    )
}

/// The tiny config with its matrices as floats.
fn floats(dtype: &str) -> Result<String> {
    let mut config: Value = serde_json::from_str(&tiny_v41_config(VOCABULARY, COMPRESSED)?)?;
    config["quantization_config"] = Value::Null;
    config["dtype"] = dtype.into();
    Ok(config.to_string())
}

#[test]
fn the_files_hold_what_the_bill_says() -> Result<()> {
    let released = tiny_v41_config(VOCABULARY, COMPRESSED)?;
    for (json, storage) in [
        (released, Storage::Released),
        (floats("bfloat16")?, Storage::Bf16),
        (floats("float32")?, Storage::F32),
    ] {
        let folder = tempfile::tempdir()?;
        write_checkpoint(folder.path(), &json, 1)?;
        let config = Config::parse(&json)?;
        assert_eq!(config.storage, storage);
        let checkpoint = Checkpoint::open(folder.path())?;
        let found = Tally {
            tensors: checkpoint.len() as u64,
            bytes: checkpoint.bytes(),
        };
        assert_eq!(found, Weights::of(&config, storage).total, "{storage:?}");
        load(
            folder.path(),
            &json,
            Numerics::EXACT,
            Prefill::Full,
            compressed(),
        )?;
    }
    Ok(())
}

#[test]
fn the_same_seed_gives_the_same_bytes() -> Result<()> {
    let json = tiny_v41_config(VOCABULARY, COMPRESSED)?;
    let shard = |seed| -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        write_checkpoint(folder.path(), &json, seed)?;
        Ok(std::fs::read(
            folder.path().join("model-00001-of-00001.safetensors"),
        )?)
    };
    let first = shard(7)?;
    assert!(first == shard(7)?, "two bytes for one seed");
    assert!(first != shard(8)?, "one checkpoint for two seeds");
    Ok(())
}

/// A prompt with an image, longer than what the candidates cover, and a draft behind it.
#[test]
fn every_part_of_the_model_runs() -> Result<()> {
    let json = tiny_v41_config(VOCABULARY, COMPRESSED)?;
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), &json, 3)?;
    for numerics in [Numerics::EXACT, Numerics::CACHE, Numerics::RELEASED] {
        for prefill in [Prefill::Full, Prefill::Replay] {
            let mut model = load(folder.path(), &json, numerics, prefill, compressed())?;
            let shape = model.capacity().vision.expect("the model has a tower");
            let image = Image::from_rgb(24, 16, (0..24 * 16 * 3).map(|x| x as u8).collect());
            let image = Media::Image(Canvas::new(&image, &shape));
            let media = model.attach(&image)?;
            let rows = 20..20 + image.tokens();
            let mut tokens: Vec<TokenId> = (0..90).map(|at| (at * 37 + 5) % 256).collect();
            tokens[rows.clone()].fill(272);
            let step = Step {
                spans: vec![Span {
                    seq: SeqId(0),
                    at: 0,
                    tokens,
                    media: vec![Insert {
                        media,
                        tokens: rows,
                        from: 0,
                    }],
                    want: Want::Last,
                }],
            };
            let logits = model.step(&step)?;
            let row = logits.span(0).next().expect("one row is wanted");
            assert!(row.iter().all(|logit| logit.is_finite()));
            assert!(row.iter().any(|logit| logit.abs() > 0.1));
            let drafts = draft(&mut model, 9, 5)?;
            assert_eq!(drafts.len(), 5, "{numerics:?} {prefill:?}");
        }
    }
    Ok(())
}

#[test]
fn the_ids_must_be_those_of_the_model() -> Result<()> {
    let json = tiny_v41_config(VOCABULARY, COMPRESSED)?;
    let folder = tempfile::tempdir()?;
    write_checkpoint(folder.path(), &json, 1)?;
    let refuse = |ids: Vec<u32>| {
        let loaded = load(folder.path(), &json, Numerics::EXACT, Prefill::Full, ids);
        let error = loaded.expect_err("other ids than the model's");
        assert!(matches!(error, Error::CompressedIds { .. }), "{error}");
    };
    refuse((0..VOCABULARY as u32).collect());
    refuse(compressed()[1..].to_vec());
    Ok(())
}
