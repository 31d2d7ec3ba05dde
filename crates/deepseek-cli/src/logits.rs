//! `deepseek logits`: the tool by which anyone checks the model.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use deepseek_engine::{Prompt, Source};
use deepseek_model::{Config, Decoder, Insert, MediaId, Prefill, SeqId, Span, Step, TokenId, Want};
use serde_json::json;

use crate::args::Logits;
use crate::fault::{Fault, Result};
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::media::{Loader, Senses};
use crate::origin::Origin;
use crate::trouble;

pub(crate) fn run(args: &Logits) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let origin = Origin::open(args.model.folder.as_deref())?;
    let config = origin.config()?.without_drafts();
    let Prompt {
        ids,
        sources,
        placed,
    } = prompt(args, &origin, &config)?;
    check(&ids, &config)?;
    let chunk = ids.len().min(args.chunk as usize);
    let budget = load::budget(&args.model, ids.len(), chunk, Prefill::Full);
    let plan = load::plan(&args.model, &config, budget)?;
    let mut decoder = load::decoder(&args.model, &origin, plan, &interrupt)?;
    let media: Vec<Vec<MediaId>> = sources
        .iter()
        .map(|source| attach(&mut *decoder, source))
        .collect::<Result<_>>()?;

    // A prompt that is cut has one row of logits.
    let cut = budget.prefill == Prefill::Replay && config.sharing.is_some();
    let rows = if cut { 1 } else { ids.len() };
    let mut table = Table::create(&args.out, [rows, config.vocab_size])?;
    let bar = load::bar("running", "{pos}/{len} ids, {eta} left");
    bar.set_length(ids.len() as u64);
    let mut at = 0;
    for tokens in ids.chunks(chunk) {
        if interrupt.poll().is_break() {
            bar.finish_and_clear();
            return Err(Fault::interrupted());
        }
        let end = at + tokens.len();
        let inserts = placed.iter().filter_map(|placed| {
            let places = placed.places();
            let (first, last) = (places.start.max(at), places.end.min(end));
            (first < last).then(|| Insert {
                media: media[placed.source][placed.number],
                tokens: first - at..last - at,
                from: placed.rows.start + first - places.start,
            })
        });
        let span = Span {
            seq: SeqId(0),
            at: at as u32,
            tokens: tokens.to_vec(),
            media: inserts.collect(),
            want: match cut {
                false => Want::All,
                true if end == ids.len() => Want::Last,
                true => Want::Nothing,
            },
        };
        let logits = decoder.step(&Step { spans: vec![span] })?;
        if let Some(trouble) = decoder.trouble(SeqId(0)) {
            bar.finish_and_clear();
            return Err(trouble::explain(trouble, &origin, &config, &interrupt));
        }
        table.push(&logits.into_values())?;
        at = end;
        bar.set_position(at as u64);
    }
    bar.finish_and_clear();
    table.finish()
}

/// Has the decoder take in all that a source has, in its order.
fn attach(decoder: &mut dyn Decoder, source: &Source) -> Result<Vec<MediaId>> {
    let mut media = Vec::new();
    source.each(|medium| {
        media.push(decoder.attach(medium)?);
        Ok::<_, Fault>(())
    })?;
    Ok(media)
}

/// What is run: ids, and which of them are rows of media.
fn prompt(args: &Logits, origin: &Origin, config: &Config) -> Result<Prompt> {
    let mut prompt = Prompt::default();
    match (&args.ids, &args.prompt) {
        (Some(ids), _) => prompt.ids = ids.read()?,
        (None, Some(text)) => {
            let tokenizer = origin.tokenizer()?;
            prompt.ids.push(tokenizer.bos());
            let loader = match args.no_orientation {
                true => Loader::Published,
                false => Loader::Ours,
            };
            let senses = Senses::new(config, &args.watch)?.with_loader(loader);
            for part in &args.media.0 {
                let medium = senses.take(part)?;
                // No id alone means a medium, so any stands for its rows where the config names none.
                prompt.push(&tokenizer, &medium, config.placeholders(), 0)?;
            }
            prompt.ids.extend(tokenizer.encode(text)?);
        }
        (None, None) => unreachable!("one of the two is required"),
    }
    Ok(prompt)
}

fn check(ids: &[TokenId], config: &Config) -> Result<()> {
    if let Some((index, id)) = ids
        .iter()
        .enumerate()
        .find(|(_, id)| **id as usize >= config.vocab_size)
    {
        let error = anyhow!(
            "id {id} at place {index}, the vocabulary has {}",
            config.vocab_size
        );
        return Err(Fault::input(error));
    }
    if ids.len() > config.max_positions {
        let error = anyhow!(
            "{} ids, the model has {} positions",
            ids.len(),
            config.max_positions
        );
        return Err(Fault::input(error));
    }
    Ok(())
}

/// A safetensors file of one tensor, written row after row beside its place and moved there when it
/// is whole.
#[derive(Debug)]
struct Table {
    file: BufWriter<File>,
    place: PathBuf,
    partial: Partial,
    /// Floats that are still to come.
    missing: usize,
}

/// A file that is removed unless it is moved away.
#[derive(Debug)]
struct Partial(PathBuf);

impl Table {
    fn create(place: &Path, shape: [usize; 2]) -> Result<Self> {
        let Some(name) = place.file_name() else {
            return Err(Fault::usage(anyhow!(
                "--out {}: want a file",
                place.display()
            )));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.partial", std::process::id()));
        let path = place.with_file_name(hidden);
        let file = File::create_new(&path).with_context(|| place.display().to_string());
        let file = file.map_err(|error| {
            Fault::machine(error).hint("--out wants a file in a folder that exists and takes files")
        })?;
        let mut table = Self {
            file: BufWriter::new(file),
            place: place.to_owned(),
            partial: Partial(path),
            missing: shape[0] * shape[1],
        };
        table.write(&header(shape))?;
        Ok(table)
    }

    fn push(&mut self, rows: &[f32]) -> Result<()> {
        assert!(
            rows.len() <= self.missing,
            "{} floats for {}",
            rows.len(),
            self.missing
        );
        self.missing -= rows.len();
        let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.write(&bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written
            .with_context(|| self.place.display().to_string())
            .map_err(Fault::machine)
    }

    fn finish(mut self) -> Result<()> {
        assert_eq!(self.missing, 0, "floats that never came");
        let mut move_there = || {
            self.file.flush()?;
            self.file.get_ref().sync_all()?;
            fs::rename(&self.partial.0, &self.place)
        };
        move_there()
            .with_context(|| self.place.display().to_string())
            .map_err(Fault::machine)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the move there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}

/// The head of the file: the length of the JSON, and the JSON, padded so that the floats are
/// aligned.
fn header([rows, columns]: [usize; 2]) -> Vec<u8> {
    let bytes = rows * columns * 4;
    let logits = json!({ "dtype": "F32", "shape": [rows, columns], "data_offsets": [0, bytes] });
    let mut json = json!({ "logits": logits }).to_string();
    while !json.len().is_multiple_of(8) {
        json.push(' ');
    }
    let mut head = (json.len() as u64).to_le_bytes().to_vec();
    head.extend_from_slice(json.as_bytes());
    head
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn a_table_is_a_safetensors_file() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("x.safetensors");
        let mut table = Table::create(&place, [2, 3]).expect("the folder takes files");
        table.push(&[1.0, 2.0, 3.0]).expect("there is room");
        assert!(!place.exists(), "half a file has appeared");
        table.push(&[4.0, 5.0, 6.0]).expect("there is room");
        table.finish().expect("it can be moved");
        let bytes = fs::read(&place)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let logits = tensors.tensor("logits")?;
        assert_eq!(logits.shape(), [2, 3]);
        assert_eq!(logits.dtype(), safetensors::Dtype::F32);
        let values: Vec<f32> = logits
            .data()
            .chunks(4)
            .map(|x| f32::from_le_bytes(x.try_into().expect("4")))
            .collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(fs::read_dir(folder.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn half_a_table_leaves_nothing() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let mut table = Table::create(&folder.path().join("x"), [2, 3]).expect("it takes files");
        table.push(&[1.0, 2.0, 3.0]).expect("there is room");
        drop(table);
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
