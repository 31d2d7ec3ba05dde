//! Sounds and films as they are named: files or data URLs, opened as often as they are read. Where this
//! build has the feature `video`, what it does not decode itself is decoded by a process of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use deepseek_audio::{Audio, AudioError, Limits};
use deepseek_core::file;
use deepseek_vision::video::{Track, Video, VideoError};

/// Where a sound or a film lies.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>),
}

impl Source {
    /// What is named, `data` if it came with its name.
    pub(crate) fn new(name: &str, data: Option<Vec<u8>>) -> Self {
        match data {
            Some(bytes) => Self::Bytes(bytes.into()),
            None => Self::File(name.into()),
        }
    }

    /// The files that are read, as far as they can be found.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::File(path) if are_many(path) => Video::image_files(path).unwrap_or_default(),
            Self::File(path) => vec![path.clone()],
            Self::Bytes(_) => Vec::new(),
        }
    }

    /// Opens a sound at its beginning.
    pub(crate) fn sound(&self) -> Result<Audio, AudioError> {
        let limits = Limits::default();
        let sound = match self {
            Self::File(path) => Audio::open(file::open(path)?, limits),
            Self::Bytes(bytes) => Audio::from_bytes(Arc::clone(bytes), limits),
        };
        match sound {
            Err(AudioError::Opus) => worker::sound(self),
            sound => sound,
        }
    }

    /// Opens a film at its beginning. Numbered pictures are `fps` frames a second: nothing else says
    /// how fast they follow each other.
    pub(crate) fn film(&self, fps: f64) -> Result<Video, VideoError> {
        match self {
            Self::File(path) if are_many(path) => Video::from_images(path, fps),
            source => worker::film(source),
        }
    }

    /// Opens the sound of a film at its beginning.
    pub(crate) fn track(&self, fps: f64) -> Result<Audio, AudioError> {
        let film = self.film(fps).map_err(io::Error::other)?;
        let track = film.audio().map_err(io::Error::other)?;
        Ok(heard(track.ok_or(AudioError::NoSamples)?))
    }
}

fn heard(track: Track) -> Audio {
    Audio::from_track(track.rate(), track)
}

/// Whether a name is that of a folder, or a pattern of names.
fn are_many(path: &Path) -> bool {
    path.is_dir() || path.to_string_lossy().contains('*')
}

#[cfg(not(feature = "video"))]
mod worker {
    //! This build decodes what it decodes itself.

    use super::{Arc, Audio, AudioError, Source, Video, VideoError};

    pub(super) fn film(source: &Source) -> Result<Video, VideoError> {
        match source {
            Source::File(path) => Video::open(path),
            Source::Bytes(bytes) => Video::from_bytes(Arc::clone(bytes)),
        }
    }

    pub(super) fn sound(_: &Source) -> Result<Audio, AudioError> {
        Err(AudioError::Opus)
    }
}

#[cfg(feature = "video")]
pub(crate) mod worker {
    //! The rest is decoded by this program under another name, `video-worker`.

    use std::process::Command;

    use deepseek_vision::video::ffmpeg::{Workers, serve};

    use super::{Arc, Audio, AudioError, Source, Video, VideoError, heard, io};

    /// Decodes for the process that started this one.
    #[allow(clippy::disallowed_methods, reason = "another process reads it")]
    pub(crate) fn run() -> crate::fault::Result<()> {
        Ok(serve(&mut io::stdin().lock(), &mut io::stdout().lock())?)
    }

    fn workers() -> io::Result<Workers> {
        let program = std::env::current_exe()?;
        Ok(Workers::new(move || {
            let mut command = Command::new(&program);
            command.arg("video-worker");
            command
        }))
    }

    pub(super) fn film(source: &Source) -> Result<Video, VideoError> {
        match source {
            Source::File(path) => workers()?.open(path),
            Source::Bytes(bytes) => workers()?.from_bytes(Arc::clone(bytes)),
        }
    }

    pub(super) fn sound(source: &Source) -> Result<Audio, AudioError> {
        let workers = workers()?;
        let track = match source {
            Source::File(path) => workers.audio(path),
            Source::Bytes(bytes) => workers.audio_from_bytes(Arc::clone(bytes)),
        };
        Ok(heard(track.map_err(io::Error::other)?))
    }
}
