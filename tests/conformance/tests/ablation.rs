//! Parts of the model out of work: what is left is the model without them, and nothing else moves.

use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context, Result};
use backend_host::Host;
use conformance::compare::same_bits;
use conformance::model::logits;
use deepseek_core::Numerics;
use deepseek_core::weights::Checkpoint;
use deepseek_model::{Ablation, Budget, Config, Model, Plan, TokenId};
use deepseek_testkit::{tiny_v41_config, write_checkpoint};
use safetensors::SafeTensors;
use tempfile::TempDir;

const VOCABULARY: usize = 320;
const COMPRESSED: usize = 254;
/// Positions up to which every query sees no more rows than it may choose: 8 of one token each.
const SHORT: usize = 8;

struct Tiny {
    folder: TempDir,
    config: Config,
}

impl Tiny {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let json = tiny_v41_config(VOCABULARY, COMPRESSED)?;
        write_checkpoint(folder.path(), &json, 11)?;
        let config = Config::parse(&json)?.without_drafts();
        Ok(Self { folder, config })
    }

    /// The logits of every position, without `part`, in chunks.
    fn logits(
        &self,
        part: Option<Ablation>,
        ids: &[TokenId],
        chunks: &[usize],
    ) -> Result<Vec<f32>> {
        let budget = Budget {
            context: 256,
            ..Budget::default()
        };
        let plan = Plan::new(&self.config, Numerics::EXACT, budget)?;
        let plan = match part {
            None => plan,
            Some(part) => plan.without(part),
        };
        let checkpoint = Checkpoint::open(self.folder.path())?;
        let compressed = (0..VOCABULARY).map(|id| id.min(COMPRESSED - 1) as u32);
        let mut model = Model::load(
            Host::new(2),
            plan,
            &checkpoint,
            Some(compressed.collect()),
            &mut |_, _| ControlFlow::Continue(()),
        )?;
        Ok(logits(&mut model, ids, chunks)?.into_data())
    }
}

fn ids(count: usize) -> Vec<TokenId> {
    (0..count as u32).map(|at| (at * 37 + 5) % 256).collect()
}

/// Sets all bytes of the tensors whose names end so to zero.
fn clear(folder: &Path, ending: &str) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_none_or(|ending| ending != "safetensors")
        {
            continue;
        }
        let mut bytes = std::fs::read(&path)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes)?;
        for (name, tensor) in metadata.tensors() {
            if name.ends_with(ending) {
                let (start, end) = tensor.data_offsets;
                bytes[8 + header + start..8 + header + end].fill(0);
            }
        }
        std::fs::write(&path, bytes)?;
    }
    Ok(())
}

#[test]
fn without_engram_is_as_if_nothing_were_recalled() -> Result<()> {
    let tiny = Tiny::new()?;
    let ids = ids(60);
    let whole = tiny.logits(None, &ids, &[512])?;
    let without = tiny.logits(Some(Ablation::Engram), &ids, &[512])?;
    assert_ne!(whole, without);
    clear(tiny.folder.path(), "engram.wkv.weight")?;
    let empty = tiny.logits(None, &ids, &[512])?;
    same_bits("a memory that says nothing", &without, &empty);
    Ok(())
}

#[test]
fn without_indexers_rows_are_drawn_where_there_is_a_choice() -> Result<()> {
    let tiny = Tiny::new()?;
    let drawn = |seed| Some(Ablation::Indexer { seed });
    let short = ids(SHORT);
    let whole = tiny.logits(None, &short, &[512])?;
    same_bits("no choice", &tiny.logits(drawn(1), &short, &[512])?, &whole);

    let long = ids(90);
    let first = tiny.logits(drawn(1), &long, &[512])?;
    assert_ne!(first, tiny.logits(None, &long, &[512])?);
    assert_ne!(first, tiny.logits(drawn(2), &long, &[512])?);
    same_bits(
        "in chunks",
        &tiny.logits(drawn(1), &long, &[7, 1, 30])?,
        &first,
    );
    Ok(())
}

#[test]
fn what_a_model_lacks_cannot_be_taken_from_it() -> Result<()> {
    let json = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../assets/configs/v4-flash/config.json"
    ))
    .context("the config of V4-Flash")?;
    let plan = Plan::new(&Config::parse(&json)?, Numerics::EXACT, Budget::default())?;
    assert_eq!(plan.clone().without(Ablation::Engram), plan);
    assert_ne!(plan.clone().without(Ablation::Indexer { seed: 0 }), plan);
    Ok(())
}
