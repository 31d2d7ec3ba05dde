//! Media, and how videos are watched.

use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, ValueEnum};
use deepseek_audio::FORMATS;
use deepseek_chat::VideoAudio;
use deepseek_text::{Part, Video};
use deepseek_vision::formats::{IMAGES, VIDEOS};
use deepseek_vision::video::VideoConfig;

use super::number::whole;

/// Media before the prompt, in the order in which they are typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Media(pub(crate) Vec<Named>);

/// The words behind one flag. The first names a medium; the others do as far as they are files.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// `image`, `audio` or `video`.
    pub(crate) kind: &'static str,
    /// At least one.
    pub(crate) words: Vec<String>,
}

impl Media {
    /// The flags, in the order of the help: what each does, and what it reads.
    const KINDS: [(&str, &str, &str); 3] = [
        (
            "image",
            "Show this image before the prompt. Words behind it that are files are shown, too; the last \
             word may be the prompt. May be repeated, as --audio and --video may; their order counts \
             (V4.1)",
            IMAGES,
        ),
        ("audio", "Play this audio before the prompt", FORMATS),
        (
            "video",
            "Show this video before the prompt: a file, a folder of numbered images, or a pattern with \
             one *",
            VIDEOS,
        ),
    ];

    /// A medium of a kind, by its name.
    pub(crate) fn part(kind: &str, name: String) -> Part {
        match kind {
            "image" => Part::Image(name),
            "audio" => Part::Audio(name),
            _ => Part::Video(Video {
                source: name,
                ..Video::default()
            }),
        }
    }
}

impl Args for Media {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        for (kind, help, formats) in Self::KINDS {
            let help = format!("{help}. Read are {formats}");
            let arg = Arg::new(kind).long(kind).value_name("FILE").help(help);
            command = command.arg(arg.action(ArgAction::Append).num_args(1..));
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Media {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut media = Self::default();
        media.update_from_arg_matches(matches)?;
        Ok(media)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let mut all = Vec::new();
        for (kind, ..) in Self::KINDS {
            let mut indices = matches.indices_of(kind).unwrap_or_default();
            for words in matches.get_occurrences::<String>(kind).unwrap_or_default() {
                let words: Vec<String> = words.cloned().collect();
                let index = indices.by_ref().take(words.len()).last();
                all.push((index, Named { kind, words }));
            }
        }
        all.sort_by_key(|(index, _)| *index);
        self.0 = all.into_iter().map(|(_, named)| named).collect();
        Ok(())
    }
}

/// How videos are watched.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Videos")]
pub(crate) struct VideoArgs {
    /// Look at so many frames of a video a second [default: 2, or what the checkpoint says].
    #[arg(long, value_name = "F", allow_negative_numbers = true)]
    pub(crate) video_fps: Option<f64>,
    /// Take numbered images for so many frames a second [default: for as many as are looked at].
    #[arg(long, value_name = "F", value_parser = rate, allow_negative_numbers = true)]
    pub(crate) fps: Option<f64>,
    /// Look at no more than so many frames of a video [default: 512, or what the checkpoint says].
    #[arg(long, value_name = "N", value_parser = whole(1_u32..=1 << 16), allow_negative_numbers = true)]
    pub(crate) video_max_frames: Option<u32>,
    /// Watch videos otherwise than by the checkpoint's `video_config`. KEY is `fps`, `min_frames`,
    /// `max_frames`, `frame_max_tokens`, `frame_min_tokens`, `frame_min_pixels`, `max_tokens`,
    /// `temporal_merge` or `segment_seconds`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) video_config: Vec<Setting>,
    /// Listen to the audio of videos.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) video_audio: VideoAudioArg,
}

/// A number of a [`VideoConfig`], and what it is to be.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    name: String,
    value: f64,
}

impl Setting {
    /// Sets it, or says what may be set.
    pub(crate) fn apply(&self, config: &mut VideoConfig) -> Result<(), String> {
        let Some(number) = config.number(&self.name) else {
            let names = config.numbers().map(|(name, _)| name);
            return Err(format!("want one of {}", names.join(", ")));
        };
        number.set(self.value)
    }
}

impl FromStr for Setting {
    type Err = String;

    /// Reads one that can be applied.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("want KEY=VALUE")?;
        let setting = Self {
            name: name.to_owned(),
            value: value.parse().map_err(|_| "want a number")?,
        };
        setting.apply(&mut VideoConfig::default())?;
        Ok(setting)
    }
}

/// A number of frames a second.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(rate),
        _ => Err("want a number above 0".to_owned()),
    }
}

/// Whether the audio of videos is listened to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum VideoAudioArg {
    /// Where the video has audio and the model an audio tower.
    #[default]
    Auto,
    /// In any case; a video without audio is refused.
    On,
    /// Not at all.
    Off,
}

impl From<VideoAudioArg> for VideoAudio {
    fn from(arg: VideoAudioArg) -> Self {
        match arg {
            VideoAudioArg::Auto => Self::Auto,
            VideoAudioArg::On => Self::On,
            VideoAudioArg::Off => Self::Off,
        }
    }
}
