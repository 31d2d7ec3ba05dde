//! From the tower's frames to the text model's channels.

use deepseek_core::{Backend, Error, Loader, Result};

use crate::block::Affine;
use crate::config::AudioConfig;

/// Two projections with GELU between them, or one alone (`docs/models/audio-video.md` §3, item 7).
#[derive(Debug)]
pub(crate) struct Projector<B: Backend> {
    first: Affine<B>,
    second: Option<Affine<B>>,
}

impl<B: Backend> Projector<B> {
    /// Reads `linear_1` and `linear_2`, or `linear`.
    pub(crate) fn load(at: &Loader<'_, B>, config: &AudioConfig) -> Result<Self> {
        let inputs = config.hidden * config.pool.stack();
        let load = |name: &str, inputs: usize| {
            let at = at.at(name);
            if config.projector_bias && !at.tensors.has("bias") {
                let name = at.tensors.name("bias");
                return Err(Error::Missing { name });
            }
            Affine::load_bare(&at, [config.out, inputs])
        };
        if at.tensors.has("linear.weight") {
            let first = load("linear", inputs)?;
            return Ok(Self {
                first,
                second: None,
            });
        }
        Ok(Self {
            first: load("linear_1", inputs)?,
            second: Some(load("linear_2", config.out)?),
        })
    }

    /// `x: [tokens, channels]` to `[tokens, out]`.
    pub(crate) fn forward(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        match &self.second {
            Some(second) => second.forward(be, &self.first.forward_gelu(be, x)?),
            None => self.first.forward(be, x),
        }
    }
}
