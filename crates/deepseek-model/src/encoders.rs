//! The encoders of media, and what they made: rows in place of embedded tokens.

use deepseek_audio::{self as audio, AudioConfig, AudioTensors};
use deepseek_core::weights::{Checkpoint, TensorSource, Tensors};
use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader};
use deepseek_vision::{self as vision, Grid, VisionConfig};

use crate::decoder::{Insert, Media, MediaId, Step};
use crate::error::{Error, Result};

/// The encoders, and what they made of the media that are attached.
#[derive(Debug)]
pub(crate) struct Encoders<B: Backend> {
    vision: Option<VisionEncoder<B>>,
    audio: Option<AudioEncoder<B>>,
    /// `[tokens, hidden]` each, by the number of the medium.
    rows: Vec<Option<B::Tensor>>,
}

/// Images and frames to rows.
#[derive(Debug)]
struct VisionEncoder<B: Backend> {
    tower: vision::Tower<B>,
    delimiters: vision::Delimiters<B>,
}

/// Chunks of audio to rows.
#[derive(Debug)]
struct AudioEncoder<B: Backend> {
    tower: audio::Tower<B>,
    delimiters: audio::Delimiters<B>,
}

impl<B: Kernels> VisionEncoder<B> {
    fn load(at: &Loader<'_, B>, config: VisionConfig) -> Result<Self> {
        Ok(Self {
            tower: vision::Tower::load(at, config)?,
            delimiters: vision::Delimiters::load(at, config.out)?,
        })
    }
}

impl<B: Kernels> AudioEncoder<B> {
    /// Reads the tower from the checkpoint, whoever named its tensors, and the projector from a file of
    /// its own where there is one.
    fn load(
        at: &Loader<'_, B>,
        config: AudioConfig,
        (source, checkpoint): (&dyn TensorSource, &Checkpoint),
        projector: Option<&dyn TensorSource>,
    ) -> Result<Self> {
        let tensors = AudioTensors::new(source, projector)?;
        tensors.check(config.layers, checkpoint.names())?;
        let at = Loader {
            tensors: Tensors::new(&tensors, [1, 1]),
            ..*at
        };
        Ok(Self {
            tower: audio::Tower::load(&at, config)?,
            delimiters: audio::Delimiters::load(&at, config.out)?,
        })
    }
}

impl<B: Kernels> Encoders<B> {
    pub(crate) fn load(
        at: &Loader<'_, B>,
        (vision, audio): (Option<VisionConfig>, Option<AudioConfig>),
        checkpoint: (&dyn TensorSource, &Checkpoint),
        projector: Option<&dyn TensorSource>,
    ) -> Result<Self> {
        let vision = vision.map(|config| VisionEncoder::load(at, config));
        let audio = audio.map(|config| AudioEncoder::load(at, config, checkpoint, projector));
        Ok(Self {
            vision: vision.transpose()?,
            audio: audio.transpose()?,
            rows: Vec::new(),
        })
    }

    /// Encodes a medium, once.
    pub(crate) fn attach(&mut self, be: &B, media: &Media) -> Result<MediaId> {
        let vision = self.vision.as_ref().ok_or(Error::NoVision);
        let rows = match media {
            Media::Image(canvas) => {
                let VisionEncoder { tower, delimiters } = vision?;
                vision::embed(be, tower, delimiters, canvas)?
            }
            Media::Shot(shot) => {
                let VisionEncoder { tower, delimiters } = vision?;
                shot.embed(be, tower, delimiters)?
            }
            Media::Audio(chunk) => {
                let AudioEncoder { tower, delimiters } =
                    self.audio.as_ref().ok_or(Error::NoAudio)?;
                audio::embed(be, tower, delimiters, chunk)?
            }
        };
        Ok(self.keep(rows))
    }

    /// Encodes an image that is cut up already: its patches, and how they lie.
    pub(crate) fn attach_patches(
        &mut self,
        be: &B,
        patches: &HostTensor,
        grid: &Grid,
    ) -> Result<MediaId> {
        let VisionEncoder { tower, delimiters } = self.vision.as_ref().ok_or(Error::NoVision)?;
        let rows = vision::embed_patches(be, tower, delimiters, (patches, grid))?;
        Ok(self.keep(rows))
    }

    fn keep(&mut self, rows: B::Tensor) -> MediaId {
        let free = self.rows.iter().position(Option::is_none);
        let id = free.unwrap_or(self.rows.len());
        match free {
            Some(id) => self.rows[id] = Some(rows),
            None => self.rows.push(Some(rows)),
        }
        MediaId(id as u32)
    }

    pub(crate) fn release(&mut self, media: MediaId) {
        self.rows[media.0 as usize] = None;
    }

    /// Whether the medium is there and has the rows that are asked for.
    pub(crate) fn has(&self, insert: &Insert) -> bool {
        let rows = self.rows.get(insert.media.0 as usize);
        matches!(rows, Some(Some(rows)) if insert.from + insert.tokens.len() <= rows.rows())
    }

    /// The embedded rows of a step, `[t, hidden]`, with those of media in their places.
    pub(crate) fn place(&self, be: &B, embedded: &B::Tensor, step: &Step) -> Result<B::Tensor> {
        let mut parts = Vec::new();
        let (mut placed, mut start) = (0, 0);
        for span in &step.spans {
            for insert in &span.media {
                let at = start + insert.tokens.start;
                if at > placed {
                    parts.push(be.narrow(embedded, 0, placed, at - placed)?);
                }
                let rows = self.rows[insert.media.0 as usize].as_ref();
                let rows = rows.expect("a medium that is there");
                parts.push(be.narrow(rows, 0, insert.from, insert.tokens.len())?);
                placed = start + insert.tokens.end;
            }
            start += span.tokens.len();
        }
        if start > placed {
            parts.push(be.narrow(embedded, 0, placed, start - placed)?);
        }
        Ok(be.concat(&parts.iter().collect::<Vec<_>>(), 0)?)
    }
}
