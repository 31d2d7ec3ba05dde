//! The pictures that sequences look at, as rows in place of embedded tokens.

use deepseek_core::{Backend, DeviceTensor, HostTensor, Kernels, Loader, Result};
use deepseek_vision::{Delimiters, Grid, Tower, VisionShape, embed_patches};

use crate::decoder::{Insert, MediaId, Step};

/// The tower, and what it made of the pictures at hand.
#[derive(Debug)]
pub(crate) struct Pictures<B: Backend> {
    tower: Tower<B>,
    delimiters: Delimiters<B>,
    /// `[tokens, hidden]` each, by the number of the picture.
    rows: Vec<Option<B::Tensor>>,
}

impl<B: Kernels> Pictures<B> {
    pub(crate) fn load(at: &Loader<'_, B>, shape: VisionShape) -> Result<Self> {
        Ok(Self {
            tower: Tower::load(at, shape)?,
            delimiters: Delimiters::load(at, shape.out)?,
            rows: Vec::new(),
        })
    }

    /// Looks at a picture, once: its patches, and how they lie.
    pub(crate) fn attach(&mut self, be: &B, patches: &HostTensor, grid: &Grid) -> Result<MediaId> {
        let rows = embed_patches(be, &self.tower, &self.delimiters, (patches, grid))?;
        let free = self.rows.iter().position(Option::is_none);
        let id = free.unwrap_or(self.rows.len());
        match free {
            Some(id) => self.rows[id] = Some(rows),
            None => self.rows.push(Some(rows)),
        }
        Ok(MediaId(id as u32))
    }

    pub(crate) fn release(&mut self, media: MediaId) {
        self.rows[media.0 as usize] = None;
    }

    /// Whether the picture is there and has the rows that are asked for.
    pub(crate) fn has(&self, insert: &Insert) -> bool {
        let rows = self.rows.get(insert.media.0 as usize);
        matches!(rows, Some(Some(rows)) if insert.from + insert.tokens.len() <= rows.rows())
    }

    /// The embedded rows of a step, `[t, hidden]`, with those of pictures in their places.
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
                let rows = rows.expect("a picture that is there");
                parts.push(be.narrow(rows, 0, insert.from, insert.tokens.len())?);
                placed = start + insert.tokens.end;
            }
            start += span.tokens.len();
        }
        if start > placed {
            parts.push(be.narrow(embedded, 0, placed, start - placed)?);
        }
        be.concat(&parts.iter().collect::<Vec<_>>(), 0)
    }
}
