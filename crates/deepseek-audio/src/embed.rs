//! The audio's rows of the prompt: features and the delimiters around them.

use deepseek_core::{Backend, Kernels, Loader, Result};

use crate::chunks::Chunk;
use crate::tower::Tower;

/// The learned vectors that stand where a block of audio begins and where it ends: `[1, out]` each.
/// They replace the embedding of the audio's token id.
#[derive(Debug)]
pub struct Delimiters<B: Backend> {
    /// Before the first moment.
    pub audio_start: B::Tensor,
    /// After the last.
    pub audio_end: B::Tensor,
}

impl<B: Backend> Delimiters<B> {
    /// Reads `audio_start` and `audio_end`, of `out` channels each.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(at: &Loader<'_, B>, out: usize) -> Result<Self> {
        let row = |name| at.be.reshape(&at.vector(name, out)?, &[1, out]);
        Ok(Self {
            audio_start: row("audio_start")?,
            audio_end: row("audio_end")?,
        })
    }
}

/// The rows of a chunk in the order of [`Chunk::layout`]: `[tokens + 2, out]`
/// (`docs/models/audio-video.md` §4).
///
/// # Panics
/// If the chunk was made for a tower of another shape.
pub fn embed<B: Kernels>(
    be: &B,
    tower: &Tower<B>,
    delimiters: &Delimiters<B>,
    chunk: &Chunk,
) -> Result<B::Tensor> {
    embed_features(be, delimiters, &tower.encode(be, chunk)?)
}

/// The same for features at hand, `[tokens, out]`: any run of the tokens of audio.
pub fn embed_features<B: Kernels>(
    be: &B,
    delimiters: &Delimiters<B>,
    features: &B::Tensor,
) -> Result<B::Tensor> {
    be.concat(
        &[&delimiters.audio_start, features, &delimiters.audio_end],
        0,
    )
}
