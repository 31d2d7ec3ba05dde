//! The audio tower: features to tokens of the text model's width.

use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader, Numerics, Result, Unary};

use crate::block::{Block, LayerNorm, spans};
use crate::chunks::Chunk;
use crate::config::{AudioConfig, Pool};
use crate::projector::Projector;
use crate::stem::Stem;

/// Features to rows of the text model's width: the encoder of Whisper, a pool and a projector
/// (`docs/models/audio-video.md` §3).
///
/// With BF16 asked for, the features and what leaves a product, an activation, a norm,
/// attention or a sum are rounded; scores and probabilities are not.
#[derive(Debug)]
pub struct Tower<B: Backend> {
    config: AudioConfig,
    numerics: Numerics,
    stem: Stem<B>,
    blocks: Vec<Block<B>>,
    norm: LayerNorm<B>,
    projector: Projector<B>,
}

impl<B: Kernels> Tower<B> {
    /// Reads `audio` and `audio_aligner`. [`AudioTensors`](crate::AudioTensors) finds them under
    /// their public names.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    ///
    /// # Panics
    /// If the channels do not divide into heads, or chunks do not fit tokens or positions.
    pub fn load(at: &Loader<'_, B>, config: AudioConfig) -> Result<Self> {
        let AudioConfig { hidden, heads, .. } = config;
        assert_eq!(hidden % (heads * 2), 0, "{hidden} channels, {heads} heads");
        assert!(config.chunk_tokens() > 0, "chunks without tokens");
        let audio = at.at("audio");
        let blocks = audio.at("layers");
        Ok(Self {
            config,
            numerics: at.numerics,
            stem: Stem::load(&audio, &config)?,
            blocks: (0..config.layers)
                .map(|index| Block::load(&blocks.at(&index.to_string()), &config))
                .collect::<Result<_>>()?,
            norm: LayerNorm::load(&audio.at("layer_norm"), hidden)?,
            projector: Projector::load(&at.at("audio_aligner"), &config)?,
        })
    }

    /// The numbers that it was loaded by.
    #[must_use]
    pub fn config(&self) -> &AudioConfig {
        &self.config
    }

    /// The rows of a chunk that count: `[tokens, out]`.
    ///
    /// # Panics
    /// If the chunk was made for a tower of another shape.
    pub fn encode(&self, be: &B, chunk: &Chunk) -> Result<B::Tensor> {
        let rows = self.encode_all(be, &[&chunk.features])?;
        be.narrow(&rows[0], 0, 0, chunk.tokens)
    }

    /// The rows of several chunks at once, `[frames, mels]` to `[frames * 160 / samples of a token,
    /// out]` each. No chunk is padded to another's length and none sees another, so each is to
    /// rounding what it is alone. Attention needs memory for a bounded number of queries at a time.
    ///
    /// # Panics
    /// If there is no chunk, or one has other bands, no whole number of tokens or more frames than
    /// positions.
    pub fn encode_all(&self, be: &B, chunks: &[&HostTensor]) -> Result<Vec<B::Tensor>> {
        let AudioConfig {
            mels,
            positions,
            pool,
            ..
        } = self.config;
        let mut lengths: Vec<usize> = chunks.iter().map(|chunk| chunk.shape()[0]).collect();
        for (chunk, frames) in chunks.iter().zip(&lengths) {
            assert_eq!(chunk.width(), mels, "bands of a chunk");
            assert!(
                *frames > 0 && frames.is_multiple_of(2 * pool.frames()),
                "{frames} frames, a token has {}",
                2 * pool.frames()
            );
            assert!(frames / 2 <= positions, "{frames} frames a chunk");
        }
        let features = chunks
            .iter()
            .map(|chunk| be.upload(chunk))
            .collect::<Result<Vec<_>>>()?;
        let features = be.concat(&features.iter().collect::<Vec<_>>(), 0)?;
        let features = self.numerics.activation(be, features)?;
        let mut x = self.stem.forward(be, &features, &mut lengths)?;
        for block in &self.blocks {
            x = block.forward(be, &x, &lengths)?;
        }
        let rows = self.projector.forward(be, &self.pool(be, &x)?)?;
        debug_assert_eq!(rows.width(), self.config.out);
        for length in &mut lengths {
            *length /= pool.frames();
        }
        spans(&lengths)
            .map(|(first, length)| be.narrow(&rows, 0, first, length))
            .collect()
    }

    /// The final norm, and frames joined to tokens: `[frames, hidden]` to `[tokens, channels]`. Every
    /// chunk is a whole number of tokens, so chunks need not be told apart.
    fn pool(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let (frames, hidden) = (x.rows(), x.width());
        let each = self.config.pool.frames();
        let tokens = frames / each;
        match self.config.pool {
            Pool::Stack4 | Pool::Stack8 => {
                be.reshape(&self.norm.forward(be, x)?, &[tokens, each * hidden])
            }
            Pool::Avg2 => {
                let sums = be.sum(&be.reshape(x, &[tokens, each, hidden])?, 1)?;
                let share = 1.0 / each as f32;
                let means = be.map(&sums, Unary::scale(share))?;
                let means = be.reshape(&means, &[tokens, hidden])?;
                self.norm.forward(be, &self.numerics.activation(be, means)?)
            }
        }
    }
}
