//! The media that sequences look at and listen to, as rows in place of embedded tokens.

use deepseek_audio::{self as audio, AudioShape, AudioTensors};
use deepseek_core::weights::{Checkpoint, TensorSource, Tensors};
use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader};
use deepseek_vision::{self as vision, Grid, VisionShape};

use crate::decoder::{Insert, Media, MediaId, Step};
use crate::error::{Error, Result};

/// The towers, and what they made of the media at hand.
#[derive(Debug)]
pub(crate) struct Gallery<B: Backend> {
    eyes: Option<Eyes<B>>,
    ears: Option<Ears<B>>,
    /// `[tokens, hidden]` each, by the number of the medium.
    rows: Vec<Option<B::Tensor>>,
}

#[derive(Debug)]
struct Eyes<B: Backend> {
    tower: vision::Tower<B>,
    delimiters: vision::Delimiters<B>,
}

#[derive(Debug)]
struct Ears<B: Backend> {
    tower: audio::Tower<B>,
    delimiters: audio::Delimiters<B>,
}

impl<B: Kernels> Eyes<B> {
    fn load(at: &Loader<'_, B>, shape: VisionShape) -> Result<Self> {
        Ok(Self {
            tower: vision::Tower::load(at, shape)?,
            delimiters: vision::Delimiters::load(at, shape.out)?,
        })
    }
}

impl<B: Kernels> Ears<B> {
    /// Reads the tower from the checkpoint, whoever named its tensors, and the projector from a file of
    /// its own where there is one.
    fn load(
        at: &Loader<'_, B>,
        shape: AudioShape,
        (source, checkpoint): (&dyn TensorSource, &Checkpoint),
        projector: Option<&dyn TensorSource>,
    ) -> Result<Self> {
        let tensors = AudioTensors::new(source, projector)?;
        tensors.check(shape.layers, checkpoint.names())?;
        let at = Loader {
            tensors: Tensors::new(&tensors, [1, 1]),
            ..*at
        };
        Ok(Self {
            tower: audio::Tower::load(&at, shape)?,
            delimiters: audio::Delimiters::load(&at, shape.out)?,
        })
    }
}

impl<B: Kernels> Gallery<B> {
    pub(crate) fn load(
        at: &Loader<'_, B>,
        (vision, audio): (Option<VisionShape>, Option<AudioShape>),
        checkpoint: (&dyn TensorSource, &Checkpoint),
        projector: Option<&dyn TensorSource>,
    ) -> Result<Self> {
        let eyes = vision.map(|shape| Eyes::load(at, shape)).transpose()?;
        let ears = audio.map(|shape| Ears::load(at, shape, checkpoint, projector));
        Ok(Self {
            eyes,
            ears: ears.transpose()?,
            rows: Vec::new(),
        })
    }

    /// Looks at a medium, or listens to it, once.
    pub(crate) fn attach(&mut self, be: &B, media: &Media) -> Result<MediaId> {
        let eyes = self.eyes.as_ref().ok_or(Error::NoVision);
        let rows = match media {
            Media::Image(canvas) => {
                let Eyes { tower, delimiters } = eyes?;
                vision::embed(be, tower, delimiters, canvas)?
            }
            Media::Shot(shot) => {
                let Eyes { tower, delimiters } = eyes?;
                shot.embed(be, tower, delimiters)?
            }
            Media::Audio(chunk) => {
                let Ears { tower, delimiters } = self.ears.as_ref().ok_or(Error::NoAudio)?;
                audio::embed(be, tower, delimiters, chunk)?
            }
        };
        Ok(self.keep(rows))
    }

    /// Looks at an image that is cut up already: its patches, and how they lie.
    pub(crate) fn attach_patches(
        &mut self,
        be: &B,
        patches: &HostTensor,
        grid: &Grid,
    ) -> Result<MediaId> {
        let Eyes { tower, delimiters } = self.eyes.as_ref().ok_or(Error::NoVision)?;
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
