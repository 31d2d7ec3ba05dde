//! Prompts with images in them.

use anyhow::{Context, Result};
use deepseek_core::{HostTensor, Kernels};
use deepseek_model::{Decoder, Insert, MediaId, Model, SeqId, Span, Step, TokenId, Want};
use deepseek_vision::Grid;

use crate::fixture::Fixture;
use crate::model::{list, meta, step};

/// A prompt of a fixture with images in it, and what is decoded after it.
#[derive(Debug, Clone)]
pub struct Album {
    /// Ids, an image's among them.
    pub tokens: Vec<TokenId>,
    /// What is decoded after it.
    pub after: Vec<TokenId>,
    /// Each image with its first place and how many it takes.
    pub media: Vec<(MediaId, usize, usize)>,
}

/// Has the model look at the images of a prompt of a fixture, and tells where they stand.
///
/// # Errors
/// If the fixture cannot be read, or the model cannot see.
pub fn album<B: Kernels>(model: &mut Model<B>, name: &str, which: &str) -> Result<Album> {
    let (reference, meta) = (
        Fixture::open(&format!("{name}/expected.safetensors"))?,
        meta(name)?,
    );
    let shape = model.capacity().vision.context("a model that sees")?;
    let tokens = list(name, &format!("{which}/input_ids"))?.context("input_ids")?;
    let kinds: Vec<i64> = serde_json::from_value(meta[which]["token_types"].clone())?;
    let mut media = Vec::new();
    let mut at = 0;
    for image in list(name, &format!("{which}/pictures"))?.context("pictures")? {
        let patches = reference.floats(&format!("image_patches_{image}"))?;
        let item = &meta["image"]["items"][image as usize];
        let size = |side: usize| item["size"][side].as_u64().map(|x| x as usize);
        let (width, height) = size(0).zip(size(1)).context("size")?;
        let grid = Grid::fit(width, height, &shape);
        let count = patches.shape()[0];
        let flat = HostTensor::new(&[count, patches.data().len() / count], patches.into_data());
        let first = at
            + kinds[at..]
                .iter()
                .position(|kind| *kind == 0)
                .context("a start")?;
        media.push((model.attach_patches(&flat, &grid)?, first, grid.tokens()));
        at = first + grid.tokens();
    }
    let after = list(name, &format!("{which}/decode_ids"))?.context("decode_ids")?;
    Ok(Album {
        tokens,
        after,
        media,
    })
}

/// A prompt with images, in spans of the given sizes, the last of which repeats; all but the last
/// want nothing unless all logits are wanted.
///
/// # Panics
/// Without sizes.
#[must_use]
pub fn spans(
    tokens: &[TokenId],
    media: &[(MediaId, usize, usize)],
    chunks: &[usize],
    want: Want,
) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut at, mut sizes) = (0, chunks.iter().copied());
    let last = *chunks.last().expect("a size");
    while at < tokens.len() {
        let end = (at + sizes.next().unwrap_or(last)).min(tokens.len());
        let inserts = media.iter().filter_map(|(media, first, count)| {
            let (start, stop) = ((*first).max(at), (first + count).min(end));
            (start < stop).then(|| Insert {
                media: *media,
                tokens: start - at..stop - at,
                from: start - first,
            })
        });
        let goes_on = end < tokens.len() && want == Want::Last;
        spans.push(Span {
            seq: SeqId(0),
            at: at as u32,
            tokens: tokens[at..end].to_vec(),
            media: inserts.collect(),
            want: if goes_on { Want::Nothing } else { want },
        });
        at = end;
    }
    spans
}

/// The logits of all spans, one after the other.
///
/// # Errors
/// A fault of the device.
pub fn run(model: &mut impl Decoder, spans: Vec<Span>) -> Result<Vec<f32>> {
    let mut logits = Vec::new();
    for span in spans {
        logits.extend(model.step(&Step { spans: vec![span] })?.into_values());
    }
    Ok(logits)
}

/// The logits of single tokens from position `at`.
///
/// # Errors
/// A fault of the device.
pub fn decode(model: &mut impl Decoder, at: usize, tokens: &[TokenId]) -> Result<Vec<f32>> {
    let mut logits = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        logits.extend(model.step(&step(0, at + index, &[*token]))?.into_values());
    }
    Ok(logits)
}
