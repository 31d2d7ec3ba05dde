//! Where the audio of a video stands among its frames.

use std::ops::Range;

use super::label::Label;

/// Audio past the end of the video that is still heard, in thousandths of a second.
const TAIL_MS: u64 = 1000;

/// A piece of a video, in the order of the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The frame with this index.
    Frame(usize),
    /// The tokens of a block of audio.
    Audio(Range<usize>),
}

/// The audio of a video as tokens, the first of which begins with the first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioTokens {
    /// How many there are.
    pub tokens: usize,
    /// What one stands for, in thousandths of a second.
    pub token_ms: u64,
    /// What stands together, in thousandths of a second. It is rounded down to whole tokens, of which
    /// it has at least one.
    pub segment_ms: u64,
}

/// Deals the audio among the frames (`docs/models/audio-video.md` §6.5): of each segment first the
/// frames, then the tokens that begin in it. `labels` never fall; `duration` is the video's, in
/// seconds, and tokens that begin more than a second after it are left out.
///
/// # Panics
/// If a token stands for no time.
#[must_use]
pub fn deal(labels: &[Label], duration: f64, audio: AudioTokens) -> Vec<Part> {
    let AudioTokens { token_ms, .. } = audio;
    let each = (audio.segment_ms / token_ms).max(1);
    let end_ms = (duration * 1000.0).round() as u64 + TAIL_MS;
    let tokens = (audio.tokens as u64).min(end_ms.div_ceil(token_ms));
    let segment = |label: &Label| label.milliseconds() / (each * token_ms);
    let mut parts = Vec::new();
    let mut blocks = (0..tokens.div_ceil(each)).map(|index| {
        let range = index * each..((index + 1) * each).min(tokens);
        (index, Part::Audio(range.start as usize..range.end as usize))
    });
    let mut next = blocks.next();
    for (index, label) in labels.iter().enumerate() {
        while let Some((_, part)) = next.take_if(|(before, _)| *before < segment(label)) {
            parts.push(part);
            next = blocks.next();
        }
        parts.push(Part::Frame(index));
    }
    parts.extend(next.into_iter().chain(blocks).map(|(_, part)| part));
    parts
}
