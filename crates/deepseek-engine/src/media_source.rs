//! How media reach the engine: numbered in the order in which a prompt first reads them, described
//! before any is at hand, and given one by one.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use deepseek_model::Media;
use futures_core::Stream;

/// The media of one prompt.
///
/// A request is held against the shapes before it is taken; the media themselves are asked for when
/// the prompt gets there, so that their memory does not grow with their number. Each takes as many
/// rows as was said of it: whoever finds that it does not, because a file was changed meanwhile,
/// ends the stream with an error.
pub trait MediaSource: fmt::Debug + Send + Sync {
    /// What there is, by number.
    fn shapes(&self) -> &[MediaShape];

    /// What a medium is, in short: media of the same key are the same, whatever prompt they are in.
    /// Nothing where that is not known: no later prompt then goes on from behind it.
    fn key(&self, number: usize) -> Option<MediaKey> {
        let _ = number;
        None
    }

    /// Begins to give the media from number `first` on. May be called more than once.
    ///
    /// The engine polls the stream on its thread, between two steps: whatever takes time is done
    /// elsewhere, and wakes.
    fn open(&self, first: usize) -> MediaStream;
}

/// A number that two media have in common only if they are the same, even where somebody tries to make two
/// that do: a cryptographic hash. It outlives the process, with the places that are saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MediaKey(pub [u8; 32]);

/// Media in the order of their numbers.
pub type MediaStream = Pin<Box<dyn Stream<Item = Result<Arc<Media>, MediaError>> + Send>>;

/// Why a medium cannot be had.
pub type MediaError = Arc<dyn Error + Send + Sync>;

/// A source of media that is not as good as its word.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenSource {
    #[error("its source ended before it")]
    Ended,
    #[error("{kind} of {rows} rows, {} of {} announced", want.kind, want.rows)]
    Other {
        kind: MediaKind,
        rows: usize,
        want: MediaShape,
    },
}

/// What is known of a medium before it is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaShape {
    /// Which encoder it is for.
    pub kind: MediaKind,
    /// Positions that it takes in a prompt.
    pub rows: usize,
}

impl From<&Media> for MediaShape {
    fn from(media: &Media) -> Self {
        Self {
            kind: match media {
                Media::Audio(_) => MediaKind::Audio,
                _ => MediaKind::Image,
            },
            rows: media.tokens(),
        }
    }
}

/// Which encoder a medium is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaKind {
    /// Vision: an image, or frames of a video.
    Image,
    /// Audio.
    Audio,
}

impl fmt::Display for MediaKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "an image",
            Self::Audio => "audio",
        })
    }
}
