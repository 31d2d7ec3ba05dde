//! Media as they are named, by paths and data URLs, to what a prompt has of them.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use deepseek_audio::{AudioConfig, AudioError};
use deepseek_core::{Note, file};
use deepseek_model::Config;
use deepseek_text::{Conversation, Part, Video};
use deepseek_vision::limits::FILE_BYTES_MAX;
use deepseek_vision::video::{self, Clip, ConfigError, VideoConfig, VideoError};
use deepseek_vision::{Canvas, Image, ImageError, VisionConfig};

use crate::address::{Address, AddressError};
use crate::audio_source::AudioSource;
use crate::media_file::{MediaFile, Opener};
use crate::media_item::MediaItem;

/// Loads media as a model wants them. Nothing is fetched: names are paths and data URLs.
#[derive(Debug, Clone)]
pub struct MediaLoader {
    vision: Option<VisionConfig>,
    audio: Option<AudioConfig>,
    options: MediaOptions,
    opener: Opener,
}

/// How media are read.
#[derive(Debug, Clone)]
pub struct MediaOptions {
    /// Which frames of a video are looked at. A conversation may ask otherwise for one of its own.
    pub video: VideoConfig,
    /// At which rate numbered images play, if not at that at which they are looked at.
    pub fps: Option<f64>,
    /// Whether the audio of videos is listened to.
    pub video_audio: VideoAudio,
    /// Whether images are turned.
    pub orientation: Orientation,
}

impl MediaOptions {
    /// As a model's config says.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self {
            video: config.video,
            fps: None,
            video_audio: VideoAudio::Auto,
            orientation: Orientation::Tagged,
        }
    }
}

/// Whether the audio of videos is listened to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum VideoAudio {
    /// Where the video has audio and the model an encoder for it.
    #[default]
    Auto,
    /// In any case; a video without audio is refused.
    On,
    /// Not at all.
    Off,
}

/// Whether images are turned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Orientation {
    /// As their orientation tags say.
    #[default]
    Tagged,
    /// As the published loader does: TIFF alone.
    Published,
}

/// Why a medium cannot be had. Its message begins with the name, of which long ones are cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// A URL that leads to nothing.
    #[error("{name}")]
    Address {
        /// What was named.
        name: String,
        /// Why.
        source: AddressError,
    },
    /// A file that cannot be read.
    #[error("{name}")]
    File {
        /// What was named.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// What should be an image is none.
    #[error("{name}")]
    Image {
        /// What was named.
        name: String,
        /// Why.
        source: ImageError,
    },
    /// What should be audio is none.
    #[error("{name}")]
    Audio {
        /// What was named.
        name: String,
        /// Why.
        source: AudioError,
    },
    /// What should be a video is none.
    #[error("{name}")]
    Video {
        /// What was named.
        name: String,
        /// Why.
        source: VideoError,
    },
    /// The audio of a video cannot be read, though it is to be.
    #[error("{name}")]
    VideoAudio {
        /// What was named.
        name: String,
        /// Why.
        source: AudioError,
    },
    /// A video has no audio that can be read, though it is to be listened to.
    #[error("{name}: {why}")]
    NoVideoAudio {
        /// What was named.
        name: String,
        /// What is known of it.
        why: String,
    },
    /// The model has no encoder for images.
    #[error("{name}: the model does not look at images")]
    NoVision {
        /// What was named.
        name: String,
    },
    /// The model has no encoder for audio.
    #[error("{name}: the model does not listen to audio: no audio_config in its config.json")]
    NoAudio {
        /// What was named.
        name: String,
    },
    /// What is asked for of videos contradicts itself.
    #[error(transparent)]
    VideoConfig(#[from] ConfigError),
    /// Text was given for a medium.
    #[error("text is no medium")]
    Text,
}

impl MediaLoader {
    /// Loads for a model.
    ///
    /// # Errors
    /// [`MediaError::VideoConfig`].
    pub fn new(config: &Config, options: MediaOptions) -> Result<Self, MediaError> {
        options.video.check()?;
        Ok(Self {
            vision: config.vision,
            audio: config.audio,
            options,
            opener: Opener::default(),
        })
    }

    /// The same, which has `workers` decode what FFmpeg alone reads.
    #[cfg(feature = "video")]
    #[must_use]
    pub fn with_workers(self, workers: video::ffmpeg::Workers) -> Self {
        Self {
            opener: Opener::with_workers(workers),
            ..self
        }
    }

    /// Loads one medium, as far as it is read at once: audio is counted, and read when it is run.
    ///
    /// # Errors
    /// A name that leads to nothing, a file that cannot be read, a model without an encoder for it.
    pub fn load(&self, part: &Part) -> Result<MediaItem, MediaError> {
        self.load_with(part, |path| {
            let bytes = file::read(path, FILE_BYTES_MAX as u64);
            bytes.map_err(|source| MediaError::File {
                name: path.display().to_string(),
                source,
            })
        })
    }

    /// The same, where `read` gives the bytes of an image that is named by a path.
    ///
    /// # Errors
    /// As [`load`](Self::load), and what `read` says.
    pub fn load_with<E: From<MediaError>>(
        &self,
        part: &Part,
        read: impl FnOnce(&Path) -> Result<Vec<u8>, E>,
    ) -> Result<MediaItem, E> {
        match part {
            Part::Image(name) => {
                let vision = self.vision(name)?;
                let bytes = match data(name)? {
                    Some(bytes) => bytes,
                    None => read(Path::new(name))?,
                };
                Ok(self.image(name, &bytes, &vision)?)
            }
            Part::Audio(name) => Ok(self.audio(name)?),
            Part::Video(video) => Ok(self.video(video)?),
            Part::Text(_) | Part::Other(_) => Err(MediaError::Text.into()),
        }
    }

    /// Loads all media of a conversation, in its order. What occurs twice is loaded once.
    ///
    /// # Errors
    /// What `load` says of the first that cannot be had.
    pub fn load_all<E>(
        conversation: &Conversation,
        mut load: impl FnMut(&Part) -> Result<MediaItem, E>,
    ) -> Result<Vec<MediaItem>, E> {
        let mut items: Vec<(&Part, MediaItem)> = Vec::new();
        for part in conversation.media() {
            let known = items.iter().find(|(known, _)| *known == part);
            let item = match known {
                Some((_, item)) => item.clone(),
                None => load(part)?,
            };
            items.push((part, item));
        }
        Ok(items.into_iter().map(|(_, item)| item).collect())
    }

    fn image(
        &self,
        name: &str,
        bytes: &[u8],
        config: &VisionConfig,
    ) -> Result<MediaItem, MediaError> {
        let image = match self.options.orientation {
            Orientation::Tagged => Image::decode(bytes),
            Orientation::Published => Image::decode_as_published(bytes),
        };
        let image = image.map_err(|source| MediaError::Image {
            name: brief(name),
            source,
        })?;
        let item = MediaItem::image(Canvas::new(&image, config));
        Ok(item.with_notes(image.notes()))
    }

    fn audio(&self, name: &str) -> Result<MediaItem, MediaError> {
        let config = self.audio_config(name)?;
        let file = MediaFile::new(name, data(name)?);
        let opener = self.opener.clone();
        let audio = AudioSource::new(config, move || opener.audio(&file));
        let audio = audio.map_err(|source| MediaError::Audio {
            name: brief(name),
            source,
        })?;
        Ok(MediaItem::audio(audio))
    }

    fn video(&self, part: &Video) -> Result<MediaItem, MediaError> {
        let name = &part.source;
        let vision = self.vision(name)?;
        let config = self.video_config(part)?;
        let file = MediaFile::new(name, data(name)?);
        let refuse = |source: VideoError| MediaError::Video {
            name: brief(name),
            source,
        };
        let fps = self.options.fps.unwrap_or(config.fps);
        let mut video = self.opener.video(&file, fps).map_err(refuse)?;
        if self.options.orientation == Orientation::Published {
            video = video.as_published();
        }
        let wanted = match part.audio {
            None => self.options.video_audio,
            Some(true) => VideoAudio::On,
            Some(false) => VideoAudio::Off,
        };
        let (audio, notes) = self.video_audio(name, &video, file, (wanted, fps))?;
        let clip = Clip::new(video, &vision, &config);
        let item = MediaItem::video(clip, &config, audio).map_err(refuse)?;
        Ok(item.with_notes(&notes))
    }

    /// The audio of a video, if there is any and it is wanted, and what there is to be told of it.
    fn video_audio(
        &self,
        name: &str,
        video: &video::Video,
        file: MediaFile,
        (wanted, fps): (VideoAudio, f64),
    ) -> Result<(Option<AudioSource>, Vec<Note>), MediaError> {
        let unheard = |why: &dyn Display| format!("its audio is not read: {why}");
        match (wanted, self.audio, video.has_audio()) {
            (VideoAudio::Off, _, _) | (VideoAudio::Auto, None, _) => Ok((None, Vec::new())),
            (VideoAudio::Auto, Some(_), false) => {
                let notes = video.unheard().map(|why| Note::new(unheard(&why)));
                Ok((None, notes.into_iter().collect()))
            }
            (VideoAudio::On, Some(_), false) => {
                let why = video.unheard().map(|why| unheard(&why));
                Err(MediaError::NoVideoAudio {
                    name: brief(name),
                    why: why.unwrap_or_else(|| "the video has no audio".to_owned()),
                })
            }
            (VideoAudio::On | VideoAudio::Auto, _, _) => {
                let opener = self.opener.clone();
                let config = self.audio_config(name)?;
                match AudioSource::new(config, move || opener.track(&file, fps)) {
                    Ok(audio) => Ok((Some(audio), Vec::new())),
                    Err(error) if wanted == VideoAudio::Auto => {
                        let note = Note::new(unheard(&chain(&error)));
                        Ok((None, vec![note]))
                    }
                    Err(source) => Err(MediaError::VideoAudio {
                        name: brief(name),
                        source,
                    }),
                }
            }
        }
    }

    /// How a video is watched, as the conversation may have asked for.
    fn video_config(&self, video: &Video) -> Result<VideoConfig, MediaError> {
        let mut config = self.options.video;
        if let Some(fps) = video.fps.as_ref().and_then(|fps| fps.as_f64()) {
            config.fps = fps;
        }
        if let Some(frames) = video.max_frames {
            config.max_frames = frames as usize;
            config.min_frames = config.min_frames.min(config.max_frames);
        }
        config.check()?;
        Ok(config)
    }

    fn vision(&self, name: &str) -> Result<VisionConfig, MediaError> {
        let none = || MediaError::NoVision { name: brief(name) };
        self.vision.ok_or_else(none)
    }

    fn audio_config(&self, name: &str) -> Result<AudioConfig, MediaError> {
        let none = || MediaError::NoAudio { name: brief(name) };
        self.audio.ok_or_else(none)
    }
}

/// The files that a medium is read from, as far as they can be found.
#[must_use]
pub fn media_files(part: &Part) -> Vec<PathBuf> {
    let name = match part {
        Part::Text(_) | Part::Other(_) => return Vec::new(),
        Part::Image(name) | Part::Audio(name) => name,
        Part::Video(video) => &video.source,
    };
    match Address::of(name) {
        Ok(Address::File) => MediaFile::new(name, None).files(),
        Ok(Address::Data(_)) | Err(_) => Vec::new(),
    }
}

/// What a data URL holds; nothing where the name is that of a file.
fn data(name: &str) -> Result<Option<Vec<u8>>, MediaError> {
    let refuse = |source: AddressError| MediaError::Address {
        name: brief(name),
        source,
    };
    match Address::of(name).map_err(refuse)? {
        Address::File => Ok(None),
        Address::Data(data) => data.read().map(Some).map_err(refuse),
    }
}

/// A name as messages show it: data URLs can have megabytes.
#[must_use]
pub fn brief(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
