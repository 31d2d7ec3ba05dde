//! What stands in a prompt for an image, audio or a video (`docs/models/audio-video.md` §5, §6.4,
//! §6.5).
//!
//! The crates of vision and of audio do not know each other; here the audio of a video is put in step
//! with its frames. Times are text and tokenised as such, each on its own.

use std::ops::Range;
use std::sync::Arc;

use deepseek_audio::chunks;
use deepseek_audio::config::RATE;
use deepseek_model::Media;
use deepseek_vision::video::{AudioTokens, Clip, Part, VideoConfig, VideoError, deal};
use deepseek_vision::{Canvas, Note};

use crate::audio_source::AudioSource;

/// An image, audio or a video as a prompt has it. A clone is a handle.
#[derive(Debug, Clone)]
pub struct MediaItem {
    sources: Vec<MediaRows>,
    segments: Arc<[Segment]>,
    notes: Vec<Note>,
}

/// Media that an item names by their numbers. A clone is a handle.
#[derive(Debug, Clone)]
pub enum MediaRows {
    /// They are at hand.
    Ready(Arc<[Arc<Media>]>),
    /// The chunks of audio, which is read while the prompt is run.
    Audio(Arc<AudioSource>),
}

impl MediaRows {
    /// Rows of one of its media, if there is such a one.
    #[must_use]
    pub fn rows(&self, number: usize) -> Option<usize> {
        match self {
            Self::Ready(media) => media.get(number).map(|media| media.tokens()),
            Self::Audio(source) => source.chunk_rows(number),
        }
    }
}

/// What follows next of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Words.
    Text(String),
    /// Rows of what one of the item's sources has.
    Rows {
        /// Which of the item's sources.
        source: usize,
        /// Which of its media.
        number: usize,
        /// Which rows of it.
        rows: Range<usize>,
    },
}

impl MediaItem {
    /// An image: one block.
    #[must_use]
    pub fn image(canvas: Canvas) -> Self {
        let source = MediaRows::Ready([Arc::new(Media::Image(canvas))].into());
        let segments = [whole(&source, 0, 0)].into();
        Self {
            sources: vec![source],
            segments,
            notes: Vec::new(),
        }
    }

    /// Audio: one block, or several, each behind its time.
    #[must_use]
    pub fn audio(audio: AudioSource) -> Self {
        let (count, seconds) = (audio.chunks(), audio.shape().chunk_seconds);
        let notes = audio.notes().to_vec();
        let source = MediaRows::Audio(audio.into());
        let mut segments = Vec::new();
        for number in 0..count {
            if count > 1 {
                segments.push(Segment::Text(chunks::label(number * seconds)));
            }
            segments.push(whole(&source, 0, number));
        }
        Self {
            sources: vec![source],
            segments: segments.into(),
            notes,
        }
    }

    /// A video: its frames, each behind its time, and the audio of each stretch of time behind its
    /// frames. `config` is the one that `clip` was made with.
    ///
    /// # Errors
    /// A frame that cannot be read.
    pub fn video(
        mut clip: Clip,
        config: &VideoConfig,
        audio: Option<AudioSource>,
    ) -> Result<Self, VideoError> {
        let (labels, duration) = (clip.labels().to_vec(), clip.video().duration());
        let shots = clip.by_ref().map(|shot| Ok(Arc::new(Media::Shot(shot?))));
        let shots: Vec<Arc<Media>> = shots.collect::<Result<_, VideoError>>()?;
        let mut notes = clip.video().notes();
        notes.extend(audio.iter().flat_map(|audio| audio.notes().iter().cloned()));
        let frames = MediaRows::Ready(shots.into());
        let parts = match &audio {
            None => (0..labels.len()).map(Part::Frame).collect(),
            Some(audio) => {
                let audio = AudioTokens {
                    tokens: audio.tokens(),
                    token_ms: audio.shape().pool.samples() as u64 * 1000 / u64::from(RATE),
                    segment_ms: (config.segment_seconds * 1000.0).round() as u64,
                };
                deal(&labels, duration, audio)
            }
        };
        let mut segments = Vec::new();
        for part in parts {
            match (part, &audio) {
                (Part::Frame(number), _) => {
                    segments.push(Segment::Text(labels[number].to_string()));
                    segments.push(whole(&frames, 0, number));
                }
                (Part::Audio(tokens), Some(audio)) => block(audio, tokens, &mut segments),
                (Part::Audio(_), None) => unreachable!("audio is dealt where there is some"),
            }
        }
        let audio = audio.map(|audio| MediaRows::Audio(audio.into()));
        Ok(Self {
            sources: [frames].into_iter().chain(audio).collect(),
            segments: segments.into(),
            notes,
        })
    }

    /// The same item, of which more is to be told.
    #[must_use]
    pub fn with_notes(mut self, notes: &[Note]) -> Self {
        self.notes.extend_from_slice(notes);
        self
    }

    /// Where its rows come from.
    #[must_use]
    pub fn sources(&self) -> &[MediaRows] {
        &self.sources
    }

    /// What there is to be told of it: the user should know, though it could be read.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What stands in the prompt, one behind the other.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// All rows of a medium.
fn whole(of: &MediaRows, source: usize, number: usize) -> Segment {
    Segment::Rows {
        source,
        number,
        rows: 0..of.rows(number).expect("a medium of its source"),
    }
}

/// A block of audio with a start and an end: some tokens of it, of more than one chunk if need be. A chunk has its start before its tokens and its end behind them; all starts are alike, and all
/// ends.
fn block(audio: &AudioSource, tokens: Range<usize>, segments: &mut Vec<Segment>) {
    let each = audio.shape().chunk_tokens();
    let mut push = |number, rows| {
        segments.push(Segment::Rows {
            source: 1,
            number,
            rows,
        });
    };
    let (first, last) = (tokens.start / each, (tokens.end - 1) / each);
    push(first, 0..1);
    for number in first..=last {
        let start = tokens.start.max(number * each) - number * each;
        let end = tokens.end.min((number + 1) * each) - number * each;
        push(number, 1 + start..1 + end);
    }
    let end = audio.chunk_tokens(last).expect("a chunk of the audio") + 1;
    push(last, end..end + 1);
}
