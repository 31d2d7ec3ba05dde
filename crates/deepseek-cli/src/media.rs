//! Media that the user names: files, and data URLs in conversations.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, anyhow};
use deepseek_audio::{AudioShape, FORMATS};
use deepseek_core::Note;
use deepseek_engine::{Medium, Tape};
use deepseek_model::Config;
use deepseek_text::{Conversation, Part, Video};
use deepseek_vision::formats::{IMAGES, VIDEOS};
use deepseek_vision::limits::FILE_BYTES_MAX;
use deepseek_vision::video::{Clip, VideoConfig, VideoError};
use deepseek_vision::{Canvas, Image, VisionShape};

use crate::address::{Address, AddressError};
use crate::args::{Hearing, Watch};
use crate::clips::Source;
use crate::fault::{Fault, Result, note};
use crate::input;

/// Whose way of reading images is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loader {
    /// Turned as their orientation tags say.
    Ours,
    /// That of the published code, which turns TIFF alone.
    Published,
}

/// What the model can look at and listen to, and how.
#[derive(Debug, Clone)]
pub(crate) struct Senses {
    vision: Option<VisionShape>,
    audio: Option<AudioShape>,
    video: VideoConfig,
    /// At which rate numbered pictures play, if not at that at which they are looked at.
    fps: Option<f64>,
    hearing: Hearing,
    loader: Loader,
    /// Notes that were printed.
    told: RefCell<HashSet<String>>,
}

impl Senses {
    /// Those of a model, which watches films as asked.
    pub(crate) fn new(config: &Config, watch: &Watch) -> Result<Self> {
        let mut video = config.video;
        for setting in &watch.video_config {
            let set = setting.apply(&mut video);
            set.map_err(Error::msg).map_err(Fault::usage)?;
        }
        watch_at(&mut video, watch.video_fps, watch.video_max_frames)?;
        Ok(Self {
            vision: config.vision,
            audio: config.audio,
            video,
            fps: watch.fps,
            hearing: watch.video_audio,
            loader: Loader::Ours,
            told: RefCell::default(),
        })
    }

    /// The same, which reads images as another loader does.
    pub(crate) fn with_loader(self, loader: Loader) -> Self {
        Self { loader, ..self }
    }

    /// The media of a conversation, in its order.
    pub(crate) fn take_in(&self, conversation: &Conversation) -> Result<Vec<Medium>> {
        let mut media: Vec<(&Part, Medium)> = Vec::new();
        for part in conversation.media() {
            let known = media.iter().find(|(known, _)| *known == part);
            let medium = match known {
                Some((_, medium)) => medium.clone(),
                None => self.take(part)?,
            };
            media.push((part, medium));
        }
        Ok(media.into_iter().map(|(_, medium)| medium).collect())
    }

    /// One medium, as far as it is read at once.
    pub(crate) fn take(&self, part: &Part) -> Result<Medium> {
        let (name, medium) = match part {
            Part::Text(_) | Part::Other(_) => unreachable!("what is said is no medium"),
            Part::Image(name) => (name, self.picture(name)?),
            Part::Audio(name) => (name, self.sound(name)?),
            Part::Video(video) => (&video.source, self.film(video)?),
        };
        for note in medium.notes() {
            self.tell(format!("{}: {note}", brief(name)));
        }
        Ok(medium)
    }

    /// Prints a note, if it has not been printed before: media are read again with each answer.
    fn tell(&self, text: String) {
        let mut told = self.told.borrow_mut();
        if !told.contains(&text) {
            note(&text);
            told.insert(text);
        }
    }

    fn picture(&self, name: &str) -> Result<Medium> {
        let shape = self.vision(name)?;
        let bytes = match data(name)? {
            Some(bytes) => bytes,
            None => input::stream(Path::new(name), FILE_BYTES_MAX as u64)?,
        };
        let picture = match self.loader {
            Loader::Ours => Image::decode(&bytes),
            Loader::Published => Image::decode_as_published(&bytes),
        };
        let picture = picture.with_context(|| brief(name)).map_err(|error| {
            let hint = format!("read are {IMAGES}; videos go with --video, sounds with --audio");
            Fault::input(error).hint(hint)
        })?;
        let medium = Medium::picture(Canvas::new(&picture, &shape));
        Ok(medium.with_notes(picture.notes()))
    }

    fn sound(&self, name: &str) -> Result<Medium> {
        let shape = self.audio(name)?;
        let source = Source::new(name, data(name)?);
        let tape = Tape::new(shape, move || source.sound());
        let tape = tape
            .with_context(|| brief(name))
            .map_err(|error| Fault::input(error).hint(format!("{FORMATS} are read")))?;
        Ok(Medium::sound(tape))
    }

    fn film(&self, video: &Video) -> Result<Medium> {
        let name = &video.source;
        let shape = self.vision(name)?;
        let mut config = self.video;
        let wanted = video.fps.as_ref().and_then(serde_json::Number::as_f64);
        watch_at(&mut config, wanted, video.max_frames)?;
        let source = Source::new(name, data(name)?);
        let refuse = |error: VideoError| {
            let hint = way_out(&error);
            let error = Error::new(error).context(brief(name));
            Fault::input(error).hint(hint)
        };
        let fps = self.fps.unwrap_or(config.fps);
        let mut film = source.film(fps).map_err(refuse)?;
        if self.loader == Loader::Published {
            film = film.as_published();
        }
        let hearing = match video.audio {
            None => self.hearing,
            Some(true) => Hearing::On,
            Some(false) => Hearing::Off,
        };
        let has_sound = film.audio().map_err(refuse)?.is_some();
        let mut notes = Vec::new();
        let mut unheard =
            |why: &dyn Display| notes.push(Note::new(format!("its sound is not read: {why}")));
        let tape = match (hearing, self.audio) {
            (Hearing::Off, _) | (Hearing::Auto, None) => None,
            (Hearing::Auto, Some(_)) if !has_sound => {
                film.unheard().into_iter().for_each(|why| unheard(&why));
                None
            }
            (Hearing::On, Some(_)) if !has_sound => {
                let why = film
                    .unheard()
                    .map(|why| format!("its sound is not read: {why}"));
                let why = why.unwrap_or_else(|| "the film has no sound".to_owned());
                let error = anyhow!("{}: {why}", brief(name));
                return Err(Fault::input(error).hint(SOUND));
            }
            (Hearing::On | Hearing::Auto, _) => {
                match Tape::new(self.audio(name)?, move || source.track(fps)) {
                    Ok(tape) => Some(tape),
                    Err(error) if hearing == Hearing::Auto => {
                        unheard(&format!("{:#}", Error::new(error)));
                        None
                    }
                    Err(error) => {
                        let error = Error::new(error).context(brief(name));
                        return Err(Fault::input(error).hint(SOUND));
                    }
                }
            }
        };
        let clip = Clip::new(film, &shape, &config);
        let medium = Medium::film(clip, &config, tape).map_err(refuse)?;
        Ok(medium.with_notes(&notes))
    }

    fn vision(&self, name: &str) -> Result<VisionShape> {
        self.vision.ok_or_else(|| {
            let error = anyhow!("{}: the model does not look at pictures", brief(name));
            let hint = "pictures want a V4.1 checkpoint with a vision tower";
            Fault::input(error).hint(hint)
        })
    }

    fn audio(&self, name: &str) -> Result<AudioShape> {
        self.audio.ok_or_else(|| {
            let error = anyhow!(
                "{}: the model does not listen to sounds: no audio_config in its config.json",
                brief(name)
            );
            Fault::usage(error).hint("sounds want a checkpoint with an audio tower")
        })
    }
}

/// The files that a medium is read from.
pub(crate) fn files(part: &Part) -> Vec<PathBuf> {
    let name = match part {
        Part::Text(_) | Part::Other(_) => return Vec::new(),
        Part::Image(name) | Part::Audio(name) => name,
        Part::Video(video) => &video.source,
    };
    match Address::of(name) {
        Ok(Address::File) => Source::new(name, None).files(),
        Ok(Address::Data(_)) | Err(_) => Vec::new(),
    }
}

/// How a film becomes one that is read.
const CONVERT: &str = "ffmpeg -i FILE -c:v mjpeg -q:v 3 -c:a pcm_s16le OUT.avi";

/// What can be done about the sound of a film.
const SOUND: &str = "leave it to --video-audio auto; PCM in AVI is read";

/// What can be done about a film that is refused.
fn way_out(error: &VideoError) -> String {
    match error {
        error if error.may_be_read_by_ffmpeg() => match cfg!(feature = "video") {
            true => format!("convert it: {CONVERT}"),
            false => format!(
                "read are {VIDEOS}; more by a build with --features video; or convert it: {CONVERT}"
            ),
        },
        VideoError::Still { .. } => "show it with --image".to_owned(),
        VideoError::Empty | VideoError::Io(_) => {
            "want a file, a folder of numbered images, or a pattern such as 'frames/*.png'".to_owned()
        }
        VideoError::Rate { .. } => "--fps says how many numbered images make a second".to_owned(),
        VideoError::NoFrames { .. } | VideoError::Unnumbered { .. } => {
            "numbered images have names such as frame-001.png".to_owned()
        }
        VideoError::Image { .. } => format!("as images are read {IMAGES}"),
        VideoError::FileBytes { .. }
        | VideoError::Frames { .. }
        | VideoError::Length { .. }
        | VideoError::Pixels { .. }
        | VideoError::AllPixels { .. } => {
            "shorten it or make it smaller: ffmpeg -i FILE -t 600 -vf scale=640:-2 -c:v mjpeg OUT.avi"
                .to_owned()
        }
        _ => format!("write it anew: {CONVERT}"),
    }
}

/// Watches films at another rate, or for fewer frames.
fn watch_at(config: &mut VideoConfig, fps: Option<f64>, frames: Option<u32>) -> Result<()> {
    if let Some(fps) = fps {
        config.fps = fps;
    }
    if let Some(frames) = frames {
        config.max_frames = frames as usize;
        config.min_frames = config.min_frames.min(config.max_frames);
    }
    config.check().map_err(Fault::usage)
}

/// What a data URL holds; nothing where the name is that of a file.
fn data(name: &str) -> Result<Option<Vec<u8>>> {
    let refuse = |error: AddressError| {
        let is_remote = matches!(error, AddressError::Remote);
        let fault = Fault::input(Error::new(error).context(brief(name)));
        match is_remote {
            true => fault.hint("name a file, or put the data into a data URL"),
            false => fault,
        }
    };
    match Address::of(name).map_err(refuse)? {
        Address::File => Ok(None),
        Address::Data(data) => data.read().map(Some).map_err(refuse),
    }
}

/// A name as messages show it.
fn brief(name: &str) -> String {
    match name.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}
