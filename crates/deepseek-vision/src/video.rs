//! Videos: frames at their times, and their audio (`docs/models/audio-video.md` §6).
//!
//! [`Video`] opens a file, [`Clip`] is what the model sees of it: the sampled frames with their
//! [`Label`]s, all of one size. [`deal()`] puts the tokens of the audio among them.

pub mod clip;
pub mod config;
pub mod deal;
pub mod error;
#[cfg(feature = "video")]
pub mod ffmpeg;
pub mod label;
mod reader;
pub mod sample;
pub mod track;
mod yuv;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deepseek_core::{Note, guard};

use crate::image::Image;

pub use clip::{Clip, Shot};
pub use config::{ConfigError, Number, VideoConfig};
pub use deal::{AudioTokens, Part, deal};
pub use error::VideoError;
pub use label::Label;
pub(crate) use reader::webp;
pub use sample::sample;
pub use track::Track;

use self::reader::{Parts, Source, Timeline};

/// Frames at their times, read one by one, and perhaps audio. Of the frames no more than two are in
/// memory at once.
pub struct Video {
    parts: Parts,
    next: usize,
    /// Frames that were read of which there is something to be told, and the first of them.
    damaged: Option<Damaged>,
}

/// Frames that are not as they were meant.
#[derive(Debug)]
struct Damaged {
    count: usize,
    first: usize,
    note: Note,
}

impl Video {
    /// Opens a GIF, APNG, animated WebP, Y4M or Motion-JPEG AVI file, told apart by content, and
    /// looks at all of it.
    ///
    /// # Errors
    /// [`VideoError`] for what is no video, a broken one, or one beyond the bounds of
    /// [`limits`](crate::limits). [`VideoError::may_be_read_by_ffmpeg`] tells which may be videos all the
    /// same.
    pub fn open(at: &Path) -> Result<Self, VideoError> {
        Ok(Self::of(reader::open(&Source::File(at.to_owned()))?))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Video::open`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, VideoError> {
        Ok(Self::of(reader::open(&Source::Bytes(bytes.into()))?))
    }

    /// Opens numbered images as `fps` frames a second: all in the folder `at`, or those whose name
    /// fits the last part of `at`, in which one `*` stands for any text. They are in the order of
    /// the last number in their names; of a folder, files that are not named like images are not
    /// looked at.
    ///
    /// # Errors
    /// [`VideoError`] if there are none or too many, if one has no number, or if `fps` is not a
    /// number above zero.
    pub fn from_images(at: &Path, fps: f64) -> Result<Self, VideoError> {
        Ok(Self::of(reader::open_images(at, fps)?))
    }

    /// The files that [`Video::from_images`] reads, in the order of the frames.
    ///
    /// # Errors
    /// [`VideoError`] for a folder that cannot be read, too many images, or one without a number.
    pub fn image_files(at: &Path) -> Result<Vec<PathBuf>, VideoError> {
        reader::image_files(at)
    }

    /// A video at its beginning, of what its reader has found.
    fn of(parts: Parts) -> Self {
        Self {
            parts,
            next: 0,
            damaged: None,
        }
    }

    /// Seconds from the first frame to each: the first is 0, and they never fall.
    #[must_use]
    pub fn times(&self) -> &[f64] {
        &self.parts.timeline.times
    }

    /// Seconds from the first frame to the end of the last.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.parts.timeline.duration
    }

    /// The next frame and its time; nothing after the last one.
    ///
    /// # Errors
    /// [`VideoError`] for a frame that is broken or too large.
    pub fn next_frame(&mut self) -> Result<Option<(f64, Image)>, VideoError> {
        let Some(time) = self.parts.timeline.times.get(self.next) else {
            return Ok(None);
        };
        let (reader, next) = (&mut self.parts.reader, self.next);
        let image = guard::guarded(|| reader.frame(next))??;
        if let Some(note) = image.notes().first() {
            let first = Damaged {
                count: 0,
                first: self.next,
                note: note.clone(),
            };
            self.damaged.get_or_insert(first).count += 1;
        }
        self.next += 1;
        Ok(Some((*time, image)))
    }

    /// Goes on to the frame with this index: [`Video::next_frame`] gives it next. What lies between is
    /// decoded only where the format leaves no choice.
    ///
    /// # Panics
    /// If that frame, or one after it, has been read.
    pub fn skip_to(&mut self, index: usize) {
        assert!(index >= self.next, "frame {index} after {}", self.next);
        self.next = index;
    }

    /// What there is to be told of it, as far as it was read.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = self.parts.notes.clone();
        if let Some(Damaged { count, first, note }) = &self.damaged {
            notes.push(match count {
                1 => Note::new(format!("frame {first}: {note}")),
                _ => Note::new(format!(
                    "{count} frames, of which {first} is the first: {note}"
                )),
            });
        }
        notes
    }

    /// Why the audio that the file has is not read, if that is so.
    #[must_use]
    pub fn unheard(&self) -> Option<&str> {
        match &self.parts.track {
            Some(Err(why)) => Some(why),
            Some(Ok(_)) | None => None,
        }
    }

    /// Whether there is audio that [`Video::audio`] would open. Nothing is opened to find out: what
    /// decodes it may still refuse it.
    #[must_use]
    pub fn has_audio(&self) -> bool {
        matches!(self.parts.track, Some(Ok(_)))
    }

    /// The same video, its frames rotated as the published loader rotates images: those of TIFF files
    /// alone.
    #[must_use]
    pub fn as_published(mut self) -> Self {
        self.parts.reader.orient_as_published();
        self
    }

    /// The audio, if there is any that is read. It can be read beside the frames, and again.
    ///
    /// # Errors
    /// [`VideoError`] if the file can no longer be read.
    pub fn audio(&self) -> Result<Option<Track>, VideoError> {
        match &self.parts.track {
            Some(Ok(open)) => Ok(Some(open()?)),
            Some(Err(_)) | None => Ok(None),
        }
    }
}

impl fmt::Debug for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timeline { times, duration } = &self.parts.timeline;
        let frames = times.len();
        write!(f, "Video({frames} frames, {duration} s, at {})", self.next)
    }
}
