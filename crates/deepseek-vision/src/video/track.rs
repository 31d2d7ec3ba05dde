//! The audio of a video, on its way to whoever listens.

use std::{fmt, io};

/// Samples of one channel in blocks, the first of them at the time of the video's first frame: audio
/// that begins later has silence before it, earlier audio is cut. Channels are averaged.
pub struct Track {
    rate: u32,
    blocks: Box<dyn Iterator<Item = io::Result<Vec<f32>>> + Send>,
}

impl Track {
    pub(crate) fn new(
        rate: u32,
        blocks: impl Iterator<Item = io::Result<Vec<f32>>> + Send + 'static,
    ) -> Self {
        let blocks = Box::new(blocks);
        Self { rate, blocks }
    }

    /// Samples a second; not zero.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate
    }
}

impl Iterator for Track {
    type Item = io::Result<Vec<f32>>;

    /// The next samples, of which there is at least one. After an error there are no more.
    fn next(&mut self) -> Option<Self::Item> {
        self.blocks.next()
    }
}

impl fmt::Debug for Track {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Track({})", self.rate)
    }
}
