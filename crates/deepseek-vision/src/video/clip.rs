//! What the model sees of a video.

use deepseek_core::{Kernels, Result};

use crate::canvas::Canvas;
use crate::config::VisionConfig;
use crate::embed::{Delimiters, embed_features};
use crate::grid::Grid;
use crate::tower::Tower;

use super::config::VideoConfig;
use super::label::Label;
use super::sample::sample;
use super::{Video, VideoError};

/// The sampled frames of a video, in order, each fitted into the grid of the first
/// (`docs/models/audio-video.md` §6.2, 6.3).
#[derive(Debug)]
pub struct Clip {
    video: Video,
    /// Of the sampled frames that are not read yet.
    chosen: std::vec::IntoIter<usize>,
    labels: Vec<Label>,
    merge: usize,
    vision: VisionConfig,
    grid: Option<Grid>,
}

/// A block of a video: one frame, or as many as are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// The time of its first frame.
    pub label: Label,
    /// The frames, at least one, all of one grid.
    pub frames: Vec<Canvas>,
}

impl Clip {
    /// Samples `video`. `vision` is the tower's; frames have fewer tokens than its images.
    ///
    /// # Panics
    /// If the config does not pass [`VideoConfig::check`].
    #[must_use]
    pub fn new(video: Video, vision: &VisionConfig, config: &VideoConfig) -> Self {
        let chosen = sample(video.times(), video.duration(), config);
        let firsts = chosen.iter().step_by(config.temporal_merge);
        let labels = firsts
            .map(|index| Label::at(video.times()[*index]))
            .collect();
        Self {
            vision: config.vision(chosen.len(), vision),
            chosen: chosen.into_iter(),
            labels,
            merge: config.temporal_merge,
            video,
            grid: None,
        }
    }

    /// The labels of all its blocks, those behind included.
    #[must_use]
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The video.
    #[must_use]
    pub fn video(&self) -> &Video {
        &self.video
    }

    fn shot(&mut self, indices: &[usize]) -> std::result::Result<Shot, VideoError> {
        let mut label = None;
        let mut frames = Vec::with_capacity(indices.len());
        for index in indices {
            self.video.skip_to(*index);
            let (time, image) = self.video.next_frame()?.expect("it was counted");
            label.get_or_insert(Label::at(time));
            let [width, height] = [image.width(), image.height()];
            let fit = || Grid::fit(width, height, &self.vision);
            let grid = *self.grid.get_or_insert_with(fit);
            frames.push(Canvas::on(grid, &image, &self.vision));
        }
        let label = label.expect("a block has a frame");
        Ok(Shot { label, frames })
    }
}

impl Iterator for Clip {
    type Item = std::result::Result<Shot, VideoError>;

    /// The next block. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        let indices: Vec<usize> = self.chosen.by_ref().take(self.merge).collect();
        if indices.is_empty() {
            return None;
        }
        let shot = self.shot(&indices);
        if shot.is_err() {
            self.chosen = Vec::new().into_iter();
        }
        Some(shot)
    }
}

impl Shot {
    /// The grid of its frames.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        self.frames[0].grid()
    }

    /// The rows of the block, `[tokens, out]` as [`embed`](crate::embed()) gives them for an image:
    /// features of several frames are averaged, position by position.
    ///
    /// # Panics
    /// If the frames were made for patches of another size than the tower's.
    pub fn embed<B: Kernels>(
        &self,
        be: &B,
        tower: &Tower<B>,
        delimiters: &Delimiters<B>,
    ) -> Result<B::Tensor> {
        let grid = self.grid();
        let mut frames = self.frames.iter().map(|frame| {
            let patches = frame.patches(tower.config().patch);
            tower.encode(be, &patches, grid)
        });
        let mut features = frames.next().expect("a block has a frame")?;
        for other in frames {
            features = be.add(&features, &other?)?;
        }
        if self.frames.len() > 1 {
            let mul = 1.0 / self.frames.len() as f32;
            features = be.map(&features, deepseek_core::Unary::scale(mul))?;
        }
        embed_features(be, delimiters, &features, grid)
    }
}
