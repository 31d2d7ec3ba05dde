//! Audio and videos as they are named: files or data URLs, opened as often as they are read. With the
//! feature `video`, what is not decoded here is decoded by a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deepseek_audio::{Audio, AudioError, Limits};
use deepseek_core::file;
use deepseek_vision::video::{Track, Video, VideoError};

/// Where audio or a video lies.
#[derive(Debug, Clone)]
pub(crate) enum MediaFile {
    Path(PathBuf),
    Bytes(Arc<[u8]>),
}

impl MediaFile {
    /// What is named, `data` if it came with its name.
    pub(crate) fn new(name: &str, data: Option<Vec<u8>>) -> Self {
        match data {
            Some(bytes) => Self::Bytes(bytes.into()),
            None => Self::Path(name.into()),
        }
    }

    /// The files that are read, as far as they can be found.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Path(path) if are_many(path) => Video::image_files(path).unwrap_or_default(),
            Self::Path(path) => vec![path.clone()],
            Self::Bytes(_) => Vec::new(),
        }
    }
}

/// What decodes files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Opener {
    /// What decodes the rest.
    #[cfg(feature = "video")]
    workers: Option<deepseek_vision::video::ffmpeg::Workers>,
}

impl Opener {
    /// Opens audio at its beginning.
    pub(crate) fn audio(&self, file: &MediaFile) -> Result<Audio, AudioError> {
        let limits = Limits::default();
        let audio = match file {
            MediaFile::Path(path) => Audio::open(file::open(path)?, limits),
            MediaFile::Bytes(bytes) => Audio::from_bytes(Arc::clone(bytes), limits),
        };
        match audio {
            Err(AudioError::Opus) => self.other_audio(file),
            other => other,
        }
    }

    /// Opens a video at its beginning. Numbered images are `fps` frames a second: nothing else says
    /// how fast they follow each other.
    pub(crate) fn video(&self, file: &MediaFile, fps: f64) -> Result<Video, VideoError> {
        match file {
            MediaFile::Path(path) if are_many(path) => Video::from_images(path, fps),
            file => self.one_video(file),
        }
    }

    /// Opens the audio of a video at its beginning.
    pub(crate) fn track(&self, file: &MediaFile, fps: f64) -> Result<Audio, AudioError> {
        let video = self.video(file, fps).map_err(io::Error::other)?;
        let track = video.audio().map_err(io::Error::other)?;
        Ok(audio_of(track.ok_or(AudioError::NoSamples)?))
    }
}

#[cfg(not(feature = "video"))]
impl Opener {
    #[allow(clippy::unused_self, reason = "with the feature it has workers")]
    fn one_video(&self, file: &MediaFile) -> Result<Video, VideoError> {
        open(file)
    }

    #[allow(clippy::unused_self, reason = "with the feature it has workers")]
    fn other_audio(&self, _: &MediaFile) -> Result<Audio, AudioError> {
        Err(AudioError::Opus)
    }
}

#[cfg(feature = "video")]
impl Opener {
    /// One whose `workers` decode what this process does not.
    pub(crate) fn with_workers(workers: deepseek_vision::video::ffmpeg::Workers) -> Self {
        Self {
            workers: Some(workers),
        }
    }

    fn one_video(&self, file: &MediaFile) -> Result<Video, VideoError> {
        let Some(workers) = &self.workers else {
            return open(file);
        };
        match file {
            MediaFile::Path(path) => workers.open(path),
            MediaFile::Bytes(bytes) => workers.from_bytes(Arc::clone(bytes)),
        }
    }

    fn other_audio(&self, file: &MediaFile) -> Result<Audio, AudioError> {
        let workers = self.workers.as_ref().ok_or(AudioError::Opus)?;
        let track = match file {
            MediaFile::Path(path) => workers.audio(path),
            MediaFile::Bytes(bytes) => workers.audio_from_bytes(Arc::clone(bytes)),
        };
        Ok(audio_of(track.map_err(io::Error::other)?))
    }
}

/// Opens a video that is decoded here.
fn open(file: &MediaFile) -> Result<Video, VideoError> {
    match file {
        MediaFile::Path(path) => Video::open(path),
        MediaFile::Bytes(bytes) => Video::from_bytes(Arc::clone(bytes)),
    }
}

fn audio_of(track: Track) -> Audio {
    Audio::from_track(track.rate(), track)
}

/// Whether a name is that of a folder, or a pattern of names.
fn are_many(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().contains('*')
}
