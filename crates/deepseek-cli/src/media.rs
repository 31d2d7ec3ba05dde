//! Media that the user names: how they are read, what is told of them, and what can be done about
//! those that are refused.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::Path;

use anyhow::Error;
use deepseek_audio::FORMATS;
use deepseek_chat::{
    Address, AddressError, MediaError, MediaItem, MediaLoader, MediaOptions, Orientation, brief,
};
use deepseek_model::Config;
use deepseek_text::{Conversation, Part};
use deepseek_vision::formats::{IMAGES, VIDEOS};
use deepseek_vision::limits::FILE_BYTES_MAX;
use deepseek_vision::video::VideoError;

use crate::args::{self, Named, VideoArgs};
use crate::fault::{Fault, Result, note};
use crate::input;

/// What loads media for a model, which watches videos as asked.
pub(crate) fn loader(
    config: &Config,
    args: &VideoArgs,
    orientation: Orientation,
) -> Result<MediaLoader> {
    let mut options = MediaOptions {
        fps: args.fps,
        video_audio: args.video_audio.into(),
        orientation,
        ..MediaOptions::of(config)
    };
    let video = &mut options.video;
    for setting in &args.video_config {
        let set = setting.apply(video);
        set.map_err(Error::msg).map_err(Fault::usage)?;
    }
    if let Some(fps) = args.video_fps {
        video.fps = fps;
    }
    if let Some(frames) = args.video_max_frames {
        video.max_frames = frames as usize;
        video.min_frames = video.min_frames.min(video.max_frames);
    }
    let loader = MediaLoader::new(config, options)?;
    #[cfg(feature = "video")]
    let loader = loader.with_workers(worker::workers().map_err(Fault::machine)?);
    Ok(loader)
}

/// The media that were named, in their order, and the prompt, where it stands behind them: the last word
/// behind a flag, but not the only one, if it is neither a file nor an address.
pub(crate) fn sort(media: &args::Media) -> (Vec<Part>, Option<String>) {
    let mut named = media.0.clone();
    let ends_so = |named: &Named| {
        let last = named.words.last().filter(|_| named.words.len() > 1);
        last.is_some_and(|word| !names_medium(word))
    };
    let behind = named.iter_mut().rfind(|named| ends_so(named));
    let prompt = behind.and_then(|named| named.words.pop());
    (parts(named), prompt)
}

/// The media of flags behind which there is no prompt.
pub(crate) fn parts(media: Vec<Named>) -> Vec<Part> {
    let parts = media.into_iter().flat_map(|Named { kind, words }| {
        words
            .into_iter()
            .map(move |word| args::Media::part(kind, word))
    });
    parts.collect()
}

/// Whether a word is a file, be it a link that leads nowhere, an address, stdin or a pattern of files.
fn names_medium(word: &str) -> bool {
    let is_address = !matches!(Address::of(word), Ok(Address::File));
    let is_pattern = word.contains('*') && !word.contains(char::is_whitespace);
    is_address || is_pattern || word == input::STDIN || Path::new(word).symlink_metadata().is_ok()
}

/// Notes that were printed: media are read again with each answer.
#[derive(Debug, Default)]
pub(crate) struct Notes(RefCell<HashSet<String>>);

impl Notes {
    /// Prints a note, if it has not been printed before.
    fn tell(&self, text: String) {
        let mut told = self.0.borrow_mut();
        if !told.contains(&text) {
            note(&text);
            told.insert(text);
        }
    }
}

/// Loads one medium; an image may be on stdin. What there is to be told of it is told.
pub(crate) fn load(loader: &MediaLoader, part: &Part, notes: &Notes) -> Result<MediaItem> {
    let item = loader.load_with(part, |path| input::stream(path, FILE_BYTES_MAX as u64))?;
    for note in item.notes() {
        notes.tell(format!("{}: {note}", brief(name(part))));
    }
    Ok(item)
}

/// Loads the media of a conversation, in its order.
pub(crate) fn load_all(
    loader: &MediaLoader,
    conversation: &Conversation,
    notes: &Notes,
) -> Result<Vec<MediaItem>> {
    MediaLoader::load_all(conversation, |part| load(loader, part, notes))
}

/// The name of a medium.
fn name(part: &Part) -> &str {
    match part {
        Part::Text(_) | Part::Other(_) => "",
        Part::Image(name) | Part::Audio(name) => name,
        Part::Video(video) => &video.source,
    }
}

impl From<MediaError> for Fault {
    fn from(error: MediaError) -> Self {
        let hint = match &error {
            MediaError::Address {
                source: AddressError::Remote,
                ..
            } => "name a file, or put the data into a data URL".to_owned(),
            MediaError::Image { .. } => {
                format!("read are {IMAGES}; videos go with --video, audio with --audio")
            }
            MediaError::Audio { .. } => format!("{FORMATS} are read"),
            MediaError::Video { source, .. } => way_out(source),
            MediaError::VideoAudio { .. } | MediaError::NoVideoAudio { .. } => {
                VIDEO_AUDIO.to_owned()
            }
            MediaError::NoVision { .. } => {
                "images want a V4.1 checkpoint with a vision tower".to_owned()
            }
            MediaError::NoAudio { .. } => {
                let hint = "audio wants a checkpoint with an audio tower";
                return Self::usage(error).hint(hint);
            }
            MediaError::VideoConfig(_) => return Self::usage(error),
            _ => return Self::input(error),
        };
        Self::input(error).hint(hint)
    }
}

/// How a video becomes one that is read.
const CONVERT: &str = "ffmpeg -i FILE -c:v mjpeg -q:v 3 -c:a pcm_s16le OUT.avi";

/// What can be done about the audio of a video.
const VIDEO_AUDIO: &str = "leave it to --video-audio auto; PCM in AVI is read";

/// What can be done about a video that is refused.
fn way_out(error: &VideoError) -> String {
    match error {
        error if error.may_be_read_by_ffmpeg() => if cfg!(feature = "video") { format!("convert it: {CONVERT}") } else { format!(
            "read are {VIDEOS}; more by a build with --features video; or convert it: {CONVERT}"
        ) },
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

#[cfg(feature = "video")]
pub(crate) mod worker {
    //! What FFmpeg alone reads is decoded by this program under another name, `video-worker`.

    use std::io;
    use std::process::Command;

    use deepseek_vision::video::ffmpeg::{Workers, serve};

    /// Decodes for the process that started this one.
    #[allow(clippy::disallowed_methods, reason = "another process reads it")]
    pub(crate) fn run() -> crate::fault::Result<()> {
        Ok(serve(&mut io::stdin().lock(), &mut io::stdout().lock())?)
    }

    pub(super) fn workers() -> io::Result<Workers> {
        let program = std::env::current_exe()?;
        Ok(Workers::new(move || {
            let mut command = Command::new(&program);
            command.arg("video-worker");
            command
        }))
    }
}
