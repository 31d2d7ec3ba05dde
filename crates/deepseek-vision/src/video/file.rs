//! A video: an open file, the times of its frames, and what keeps a file from becoming one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use deepseek_core::Note;
use deepseek_core::guard::{self, Panicked};

use crate::formats::VIDEOS;
use crate::image::{Image, ImageError};

use super::reader::{self, FrameReader, Source, Timeline, Voice};
use super::track::Track;

/// Frames at their times, read one by one, and perhaps audio. Of the frames no more than two are in
/// memory at once.
pub struct Video {
    pub(super) timeline: Timeline,
    pub(super) reader: Box<dyn FrameReader>,
    pub(super) voice: Option<Voice>,
    /// Why there is no voice, where the file has audio.
    pub(super) unheard: Option<String>,
    pub(super) next: usize,
    pub(super) notes: Vec<Note>,
    /// Frames that were read of which there is something to be told, and the first of them.
    pub(super) damaged: Option<Damaged>,
}

/// Frames that are not as they were meant.
#[derive(Debug)]
pub(super) struct Damaged {
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
        reader::open(&Source::File(at.to_owned()))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Video::open`].
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Self, VideoError> {
        reader::open(&Source::Bytes(bytes.into()))
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
        reader::open_images(at, fps)
    }

    /// The files that [`Video::from_images`] reads, in the order of the frames.
    ///
    /// # Errors
    /// [`VideoError`] for a folder that cannot be read, too many images, or one without a number.
    pub fn image_files(at: &Path) -> Result<Vec<PathBuf>, VideoError> {
        reader::image_files(at)
    }

    /// Seconds from the first frame to each: the first is 0, and they never fall.
    #[must_use]
    pub fn times(&self) -> &[f64] {
        &self.timeline.times
    }

    /// Seconds from the first frame to the end of the last.
    #[must_use]
    pub fn duration(&self) -> f64 {
        self.timeline.duration
    }

    /// The next frame and its time; nothing after the last one.
    ///
    /// # Errors
    /// [`VideoError`] for a frame that is broken or too large.
    pub fn next_frame(&mut self) -> Result<Option<(f64, Image)>, VideoError> {
        let Some(time) = self.timeline.times.get(self.next) else {
            return Ok(None);
        };
        let (reader, next) = (&mut self.reader, self.next);
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
        let mut notes = self.notes.clone();
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
        self.unheard.as_deref()
    }

    /// The same video, its frames rotated as the published loader rotates images: those of TIFF files
    /// alone.
    #[must_use]
    pub fn as_published(mut self) -> Self {
        self.reader.orient_as_published();
        self
    }

    /// The audio, if there is any that is read. It can be read beside the frames, and again.
    ///
    /// # Errors
    /// [`VideoError`] if the file can no longer be read.
    pub fn audio(&self) -> Result<Option<Track>, VideoError> {
        self.voice.as_ref().map(|voice| voice()).transpose()
    }
}

impl fmt::Debug for Video {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Timeline { times, duration } = &self.timeline;
        let frames = times.len();
        write!(f, "Video({frames} frames, {duration} s, at {})", self.next)
    }
}

impl VideoError {
    /// Whether FFmpeg may read the file, of which this crate itself does not know enough.
    #[must_use]
    pub fn may_be_read_by_ffmpeg(&self) -> bool {
        match self {
            Self::UnknownFormat
            | Self::Foreign { .. }
            | Self::Unsupported { .. }
            | Self::Panicked(_) => true,
            Self::Empty
            | Self::Io(_)
            | Self::FileBytes { .. }
            | Self::Still { .. }
            | Self::NoFrames { .. }
            | Self::Frames { .. }
            | Self::Length { .. }
            | Self::Pixels { .. }
            | Self::AllPixels { .. }
            | Self::Rate { .. }
            | Self::Frame { .. }
            | Self::Image { .. }
            | Self::Worker { .. }
            | Self::Unnumbered { .. }
            | Self::Corrupt { .. } => false,
        }
    }
}

/// Why a file is not taken as a video.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// There are no bytes.
    #[error("video: an empty file")]
    Empty,
    /// The system refused to read on.
    #[error("video: the file cannot be read")]
    Io(#[from] io::Error),
    /// The file is too long to be looked at.
    #[error("video: {bytes} bytes, at most {max} are read")]
    FileBytes {
        /// Bytes of the file.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// None of the formats that this crate reads itself, nor one that it knows by name.
    #[error("video: of no kind that is read: {videos}", videos = VIDEOS)]
    UnknownFormat,
    /// A kind that is known by name and not read by this crate itself.
    #[error("video: of a kind that is not read: {kind}")]
    Foreign {
        /// The kind.
        kind: &'static str,
    },
    /// A decoder panicked.
    #[error("video: of a kind that is not read: {0}")]
    Panicked(#[from] Panicked),
    /// An image that does not move.
    #[error("video: a {format} image that does not move")]
    Still {
        /// The format.
        format: &'static str,
    },
    /// There is nothing to be seen.
    #[error("video: {format} without a frame")]
    NoFrames {
        /// The format.
        format: &'static str,
    },
    /// There are too many frames.
    #[error("video: more than {max} frames")]
    Frames {
        /// The bound.
        max: usize,
    },
    /// It lasts too long.
    #[error("video: {seconds} seconds, at most {max} are taken")]
    Length {
        /// How long it lasts.
        seconds: f64,
        /// The bound.
        max: f64,
    },
    /// A frame is empty or too large.
    #[error("video: frames of {width}x{height} pixels, want one to {max} altogether")]
    Pixels {
        /// Pixels of a row, as the file says.
        width: u64,
        /// Rows, as the file says.
        height: u64,
        /// The bound.
        max: u64,
    },
    /// All frames together are too large, where each must be decoded.
    #[error("video: more than {max} pixels of {format} in all frames")]
    AllPixels {
        /// The format.
        format: &'static str,
        /// The bound.
        max: u64,
    },
    /// The rate makes no sense.
    #[error("video: {fps} frames a second")]
    Rate {
        /// Frames a second.
        fps: f64,
    },
    /// A frame cannot be decoded.
    #[error("video: frame {index}")]
    Frame {
        /// Which one.
        index: usize,
        /// Why not.
        source: ImageError,
    },
    /// An image of a folder cannot be decoded.
    #[error("video: image {name}")]
    Image {
        /// Its name.
        name: String,
        /// Why not.
        source: ImageError,
    },
    /// The process that decodes what only FFmpeg reads has failed.
    #[error("video: {why}")]
    Worker {
        /// What it said last.
        why: String,
    },
    /// An image of a folder whose place in it is not known.
    #[error("video: no number in the name {name}")]
    Unnumbered {
        /// The name.
        name: String,
    },
    /// The file is of a kind within its format that is not read.
    #[error("video: {format} of a kind that is not read: {why}")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What it has.
        why: String,
    },
    /// The file ends early or contradicts itself or its format.
    #[error("video: broken {format} data: {why}")]
    Corrupt {
        /// The format.
        format: &'static str,
        /// What is wrong.
        why: String,
    },
}
