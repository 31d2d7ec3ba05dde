//! `deepseek logits`: the tool by which anyone checks the model.

use std::path::PathBuf;

use anyhow::anyhow;
use deepseek_chat::{ModelSource, Orientation, Prompt, PromptMedia, media_files};
use deepseek_core::Level;
use deepseek_model::{Config, Decoder, Insert, MediaId, Prefill, SeqId, Span, Step, TokenId, Want};
use serde_json::json;

use crate::args::Logits;
use crate::fault::{Fault, Result};
use crate::ids::Ids;
use crate::input;
use crate::interrupt::{Interrupt, Second};
use crate::load;
use crate::media::{self, Notes};
use crate::output::{Output, OutputError, Place};
use crate::trouble;

pub(crate) fn run(args: &Logits) -> Result<()> {
    let interrupt = Interrupt::listen(Second::Leaves)?;
    let source = load::source(args.model.folder.as_deref())?;
    let place = Place::find(&args.out).map_err(unwritten)?;
    place.spare(inputs(args, &source)?).map_err(unwritten)?;
    let config = source.config()?.without_drafts();
    let Prompt { ids, spans, media } = prompt(args, &source, &config)?;
    let from = match args.ids {
        Some(_) => "--ids",
        None => "--prompt",
    };
    check(&ids, from, &config)?;
    let chunk = ids.len().min(args.chunk as usize);
    let budget = load::budget(&args.model, ids.len(), chunk, Prefill::Full);
    let plan = load::plan(&args.model, Level::Exact, &config, budget)?;
    let (output, _litter) = interrupt.open(place).map_err(unwritten)?;
    let threads = load::threads(args.threads.threads);
    let mut decoder = load::decoder(&args.model, threads, &source, plan, &interrupt)?;
    let media = attach(&mut *decoder, &media)?;

    // A prompt that is cut has one row of logits.
    let cut = budget.prefill == Prefill::Replay && config.sharing.is_some();
    let rows = if cut { 1 } else { ids.len() };
    let mut table = Table::begin(output, [rows, config.vocab_size])?;
    let bar = load::bar("running", "{pos}/{len} ids, {eta} left");
    bar.set_length(ids.len() as u64);
    let mut at = 0;
    for tokens in ids.chunks(chunk) {
        if interrupt.poll().is_break() {
            bar.finish_and_clear();
            return Err(Fault::interrupted());
        }
        let end = at + tokens.len();
        let inserts = spans.iter().filter_map(|span| {
            let places = span.places();
            let (first, last) = (places.start.max(at), places.end.min(end));
            (first < last).then(|| Insert {
                media: media[span.media],
                tokens: first - at..last - at,
                from: span.rows.start + first - places.start,
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
            return Err(trouble::explain(trouble, &source, &config, &interrupt));
        }
        table.push(&logits.into_values())?;
        at = end;
        bar.set_position(at as u64);
    }
    bar.finish_and_clear();
    table.finish()
}

/// All files that are read.
fn inputs(args: &Logits, source: &ModelSource) -> Result<Vec<PathBuf>> {
    let mut files = load::files(&args.model, source)?;
    files.extend(args.ids.as_ref().and_then(Ids::file).map(input::name));
    let media = media::parts(args.media.0.clone());
    files.extend(media.iter().flat_map(media_files));
    Ok(files)
}

fn unwritten(error: OutputError) -> Fault {
    match error {
        OutputError::Folder(_) => Fault::usage(anyhow!("--out {error}")),
        OutputError::Io { .. } => {
            Fault::machine(error).hint("--out wants a file in a folder that exists and takes files")
        }
        error => error.into(),
    }
}

/// Has the decoder take in all media of the prompt, in their order.
fn attach(decoder: &mut dyn Decoder, media: &PromptMedia) -> Result<Vec<MediaId>> {
    let mut ids = Vec::new();
    media.each(|medium| {
        ids.push(decoder.attach(medium)?);
        Ok::<_, Fault>(())
    })?;
    Ok(ids)
}

/// What is run: ids, and which of them are rows of media.
fn prompt(args: &Logits, source: &ModelSource, config: &Config) -> Result<Prompt> {
    let mut prompt = Prompt::default();
    match (&args.ids, &args.prompt) {
        (Some(ids), _) => prompt.ids = ids.read()?,
        (None, Some(text)) => {
            let tokenizer = source.tokenizer()?;
            prompt.ids.push(tokenizer.bos());
            let orientation = if args.no_orientation {
                Orientation::Published
            } else {
                Orientation::Tagged
            };
            let loader = media::loader(config, &args.video, orientation)?;
            let notes = Notes::default();
            for part in media::parts(args.media.0.clone()) {
                let item = media::load(&loader, &part, &notes)?;
                // No id alone means a medium, so any stands for its rows where the config names none.
                prompt.push(&tokenizer, &item, config.placeholders(), 0)?;
            }
            prompt.ids.extend(tokenizer.encode(text)?);
        }
        (None, None) => unreachable!("one of the two is required"),
    }
    Ok(prompt)
}

/// Whether the model can run these ids, which come `from` a flag.
fn check(ids: &[TokenId], from: &str, config: &Config) -> Result<()> {
    if let Some((index, id)) = ids
        .iter()
        .enumerate()
        .find(|(_, id)| **id as usize >= config.vocab_size)
    {
        let error = anyhow!(
            "token id {id} (item {} of {from}) is out of range: the vocabulary has {} ids",
            index + 1,
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

/// A safetensors file of one tensor, written row after row.
#[derive(Debug)]
struct Table {
    output: Output,
    /// Floats that are still to come.
    missing: usize,
}

impl Table {
    fn begin(mut output: Output, shape: [usize; 2]) -> Result<Self> {
        output.push(&header(shape))?;
        Ok(Self {
            output,
            missing: shape[0] * shape[1],
        })
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
        Ok(self.output.push(&bytes)?)
    }

    fn finish(self) -> Result<()> {
        assert_eq!(self.missing, 0, "floats that never came");
        Ok(self.output.finish()?)
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
    use std::fs;
    use std::path::Path;

    use safetensors::SafeTensors;

    use super::*;

    fn table(place: &Path, shape: [usize; 2]) -> Table {
        let output = Place::find(place).and_then(Place::open);
        Table::begin(output.expect("the folder takes files"), shape).expect("there is room")
    }

    #[test]
    fn a_table_is_a_safetensors_file() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let place = folder.path().join("x.safetensors");
        let mut table = table(&place, [2, 3]);
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
        let mut table = table(&folder.path().join("x"), [2, 3]);
        table.push(&[1.0, 2.0, 3.0]).expect("there is room");
        drop(table);
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }
}
