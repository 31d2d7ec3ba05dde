//! What can be typed, and what the environment says. Words become structs here; what they mean is
//! decided elsewhere.

use std::env;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};
use deepseek_audio::FORMATS;
use deepseek_model::Prefill;
use deepseek_text::{Effort, Part, Video};
use deepseek_vision::formats::{IMAGES, VIDEOS};
use deepseek_vision::video::VideoConfig;

use crate::device::DeviceName;
use crate::ids::Ids;

/// Run DeepSeek-V4 and V4.1 checkpoints.
///
/// A checkpoint is a folder with `config.json`, `tokenizer.json` and safetensors files, as it was
/// released or as transformers saved it again. Nothing is converted, and nothing is fetched. Where
/// none is named, the embedded model answers: a small one that this program carries.
#[derive(Debug, Parser)]
#[command(name = "deepseek", version, max_term_width = 100, after_long_help = AFTER)]
pub(crate) struct Line {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  deepseek run \"What is 12 + 30?\"                        ask the embedded model
  deepseek inspect DIR                                   see what a model needs
  deepseek run --model DIR \"Why is the sky blue?\"        ask once
  deepseek run --model DIR < letter.txt                  ask what a file says
  deepseek chat --model DIR                              talk
  deepseek tokenize --model DIR --count < letter.txt     count tokens
  deepseek logits --model DIR --ids 0,1,2 --out l.safetensors
  deepseek eval --model DIR tasks.jsonl                  count right answers

Answers go to stdout; reasoning, progress, figures and errors go to stderr.

Exit codes:
  0    done; also when the reader of stdout goes away
  1    fault: the device, the disk or the program failed
  2    usage: the command line makes no sense
  3    input: a checkpoint, config, tokenizer, prompt or id that does not hold
  130  interrupted; 128 + N where signal N ended it";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer one prompt.
    ///
    /// The answer is streamed to stdout. Reasoning goes to stderr, dimmed on a terminal. Calls of
    /// tools are printed as JSON, one a line. Ctrl-C ends the answer and the program.
    #[command(after_long_help = "\
Examples:
  deepseek run --model DIR \"Why is the sky blue?\"
  deepseek run --model DIR --no-thinking --temperature 0 \"Name a colour.\"
  deepseek run --model DIR --raw --max-tokens 20 \"Once upon a time\"
  deepseek run --model DIR --image cat.png --image dog.png \"What differs?\"
  deepseek run --model DIR --audio bird.wav --video bird.gif \"Is it the same bird?\"
  deepseek run --model DIR --conversation talk.json
  deepseek run --model DIR \"Sum up this letter.\" < letter.txt
  git diff | deepseek run --model DIR --system \"Review this change.\" --stats

Exit codes: 0 done, 1 fault, 2 usage, 3 bad input, 130 interrupted.")]
    Run(Run),

    /// Hold a conversation.
    ///
    /// Lines are edited and remembered; one that ends in a backslash goes on. `/help` lists the
    /// commands. Ctrl-C stops an answer; at the prompt, twice, it leaves. Without a terminal each
    /// line of stdin is a turn; a line that is refused does not end the conversation, but its exit
    /// code is that of the first.
    #[command(after_long_help = "\
Examples:
  deepseek chat --model DIR
  deepseek chat --model DIR --system \"Answer in verse.\" --no-history

Exit codes: 0 left, 1 fault, 2 usage, 3 bad input, 130 left by Ctrl-C.")]
    Chat(Chat),

    /// Show a model's plan and bill, without loading it.
    ///
    /// Takes a checkpoint or a `config.json` alone: layers and their kinds, parameters in all and
    /// for each token, bytes by component and format, bytes of cache. Where there are files, they are
    /// held against the config.
    #[command(after_long_help = "\
Examples:
  deepseek inspect DIR
  deepseek inspect config.json --context 500000
  deepseek inspect DIR --json

Exit codes: 0 done, 2 usage, 3 the config or the files do not hold.")]
    Inspect(Inspect),

    /// Turn text into ids, or back.
    ///
    /// Prints ids with commas between them. Text is text: a marker spelled in it does not become a
    /// control token, unless --special is given.
    #[command(after_long_help = "\
Examples:
  deepseek tokenize --model DIR \"Hello\"
  deepseek tokenize --tokenizer tokenizer.json --count < letter.txt
  deepseek tokenize --model DIR --decode 19923,2058

Exit codes: 0 done, 2 usage, 3 bad input.")]
    Tokenize(Tokenize),

    /// Write the logits after each of some ids to a file.
    ///
    /// The file holds one tensor, `logits`, F32 [ids, vocabulary]. Row i is what the model expects
    /// after id i; a picture counts as many ids as it has rows. With --prefill replay there is one
    /// row, the last. Any chunk gives the same bits. The file appears when it is whole. Stdin is read for
    /// --ids @- alone.
    #[command(after_long_help = "\
Examples:
  deepseek logits --model DIR --ids 0,128803,1 --out logits.safetensors
  deepseek logits --model DIR --ids @ids.txt --numerics released --out logits.safetensors
  deepseek logits --model DIR --prompt \"Once upon a time\" --out logits.safetensors
  deepseek logits --model DIR --image cat.png --prompt \"A \" --prefill replay --out logits.safetensors

Exit codes: 0 done, 1 fault, 2 usage, 3 bad input, 130 interrupted.")]
    Logits(Logits),

    /// Hold answers against those that are wanted.
    ///
    /// A task file is JSON, an item a line: `task`, `id`, `messages` in the chat-completions form and
    /// `answer`; perhaps `match` (exact, contains, last-line or json-call), `thinking` and
    /// `max_tokens`. Media are files beside it, or data URLs. The likeliest answers are taken; each
    /// task's accuracy comes with its 95 % confidence interval (Wilson's). Ctrl-C ends it with what
    /// has been answered.
    #[command(after_long_help = "\
Examples:
  deepseek eval --model DIR tasks.jsonl
  deepseek eval --model DIR tasks.jsonl --task count --limit 100 --failures
  deepseek eval --model DIR tasks.jsonl --swap-media --json
  deepseek eval --model DIR tasks.jsonl --ablate engram

Exit codes: 0 done, 1 fault, 2 usage, 3 bad input, 130 interrupted.")]
    Eval(Eval),

    /// Decode a film for another process of this program.
    #[cfg(feature = "video")]
    #[command(hide = true)]
    VideoWorker,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Continue the text as it stands, without the markers of a conversation.
    #[arg(long, conflicts_with_all = ["system", "thinking", "no_thinking", "effort", "image", "audio", "video"])]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) media: Media,
    /// Answer this conversation: a JSON list of messages in the chat-completions form, or a request
    /// with one, whose media are files or data URLs; `-` is stdin. A prompt, if there is one, comes after
    /// it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "system"])]
    pub(crate) conversation: Option<PathBuf>,
    /// Go on with the answer that the conversation ends with. Only what follows is printed.
    #[arg(long, requires = "conversation", conflicts_with_all = ["prompt", "image", "audio", "video"])]
    pub(crate) r#continue: bool,
    /// Ask this; `-` reads it from stdin.
    ///
    /// Where stdin is no terminal, what it holds follows the prompt behind a blank line. In a script or a
    /// loop whose stdin is meant for others, keep it out with `< /dev/null`.
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) generation: Generation,
}

/// Arguments of `chat`.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Forget the lines typed when leaving, and read none from earlier.
    #[arg(long)]
    pub(crate) no_history: bool,
    #[command(flatten)]
    pub(crate) generation: Generation,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Look at this checkpoint or config [default: the embedded model].
    #[arg(value_name = "DIR|config.json")]
    pub(crate) path: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Add the bytes of cache at so many positions.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) context: Option<u32>,
}

/// Arguments of `tokenize`.
#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    /// Use the tokenizer of this checkpoint [default: the embedded model's].
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Use this tokenizer.json.
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Print the text of these ids: `1,2,3` or `@FILE`; `@-` is stdin.
    #[arg(long, value_name = "IDS", conflicts_with_all = ["text", "count", "special"])]
    pub(crate) decode: Option<Ids>,
    /// Print how many ids there are.
    #[arg(long)]
    pub(crate) count: bool,
    /// Print JSON: ids with their texts.
    #[arg(long, conflicts_with = "count")]
    pub(crate) json: bool,
    /// Let markers spelled in the text become control tokens.
    #[arg(long)]
    pub(crate) special: bool,
    /// Take this text; `-`, or nothing where stdin is no terminal, reads stdin, which else is left alone.
    pub(crate) text: Option<String>,
}

/// Arguments of `logits`.
#[derive(Debug, Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Run these ids: `1,2,3`, or `@FILE` with commas or spaces between them; `@-` is stdin.
    #[arg(long, value_name = "IDS", required_unless_present = "prompt", conflicts_with_all = ["image", "audio", "video"])]
    pub(crate) ids: Option<Ids>,
    /// Run the begin-of-sentence marker and this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) media: Media,
    #[command(flatten)]
    pub(crate) watch: Watch,
    /// Turn no image as its orientation tag says, but for TIFF: as the published loader does.
    #[arg(long)]
    pub(crate) no_orientation: bool,
    /// Run so many ids at a time.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) chunk: u32,
    /// Write this file. One that is there is replaced when the new one is whole, unless it is read-only or
    /// read by this command; a FIFO or a device is written into.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub(crate) struct Eval {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Take the items of these task files; `-` is stdin.
    #[arg(value_name = "FILE.jsonl", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Take the items of this task alone. May be repeated.
    #[arg(long = "task", value_name = "NAME")]
    pub(crate) tasks: Vec<String>,
    /// Take no more than so many items of each task, the first ones.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Show each item the media of another one of its task whose answer differs: who has looked and
    /// listened is wrong now. Items without media are left out.
    #[arg(long)]
    pub(crate) swap_media: bool,
    /// Run without this part of the model, to see what it carries. May be repeated.
    #[arg(long, value_name = "PART")]
    pub(crate) ablate: Vec<Ablated>,
    /// Draw the rows that stand in place of an indexer's choice by this seed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what was asked, wanted and said where the two differ.
    #[arg(long)]
    pub(crate) failures: bool,
    /// Answer so many items at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=32))]
    pub(crate) batch: u16,
    /// Hold so many tokens of an item, prompt and answer together [default: what the longest text
    /// needs, at least 8192, or the model's limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) context: Option<u32>,
    /// Have the draft head propose up to N tokens at once: the answers are the same.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) draft: u32,
}

/// A part of the model that can be taken out of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ablated {
    /// The n-gram memory: it adds nothing (V4.1).
    Engram,
    /// The indexers: as many rows as they choose are drawn by chance.
    Indexer,
}

impl Ablated {
    /// Its name, as it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Engram => "engram",
            Self::Indexer => "indexer",
        }
    }
}

/// The checkpoint, and how it is run.
#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Load this checkpoint [default: the embedded model, a small one that this program carries].
    #[arg(long = "model", value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Round as this level does.
    #[arg(long, value_name = "LEVEL", default_value = "exact")]
    pub(crate) numerics: Level,
    /// Compute on this device.
    #[arg(long, value_name = "DEVICE", default_value_t, long_help = DeviceName::HELP)]
    pub(crate) device: DeviceName,
    /// Run this much of a prompt through the layers that make no rows of their own (V4.1).
    ///
    /// [default: replay for answers, full for logits]
    #[arg(long, value_name = "MUCH")]
    pub(crate) prefill: Option<HowMuch>,
    /// Hold so many bytes of n-gram tables in memory, such as 512M or 8G (V4.1) [default: what the
    /// system finds room for].
    #[arg(long, value_name = "BYTES")]
    pub(crate) engram_memory: Option<Bytes>,
    /// Take the projector of the audio tower from this safetensors file, for a checkpoint that has
    /// none (V4.1).
    #[arg(long, value_name = "FILE")]
    pub(crate) audio_projector: Option<PathBuf>,
    /// Use so many threads [default: one for each core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// Media before the prompt, in the order in which they are typed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Media(pub(crate) Vec<Part>);

impl Media {
    /// The flags, in the order of the help: what each does, and what it reads.
    const KINDS: [(&str, &str, &str); 3] = [
        (
            "image",
            "Show this picture before the prompt. May be repeated, as --audio and --video may; their \
             order counts (V4.1)",
            IMAGES,
        ),
        ("audio", "Play this sound before the prompt", FORMATS),
        (
            "video",
            "Show this film before the prompt: a file, a folder of numbered images, or a pattern with \
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
            command = command.arg(arg.action(ArgAction::Append));
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
            let names = matches.get_many::<String>(kind).unwrap_or_default();
            let indices = matches.indices_of(kind).unwrap_or_default();
            all.extend(
                indices
                    .zip(names)
                    .map(|(index, name)| (index, Self::part(kind, name.clone()))),
            );
        }
        all.sort_by_key(|(index, _)| *index);
        self.0 = all.into_iter().map(|(_, part)| part).collect();
        Ok(())
    }
}

/// How films are watched.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Films")]
pub(crate) struct Watch {
    /// Look at so many frames of a film a second [default: 2, or what the checkpoint says].
    #[arg(long, value_name = "F")]
    pub(crate) video_fps: Option<f64>,
    /// Take numbered pictures for so many frames a second [default: for as many as are looked at].
    #[arg(long, value_name = "F", value_parser = rate)]
    pub(crate) fps: Option<f64>,
    /// Look at no more than so many frames of a film [default: 512, or what the checkpoint says].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    pub(crate) video_max_frames: Option<u32>,
    /// Watch otherwise than by the checkpoint's `video_config`. KEY is `fps`, `min_frames`,
    /// `max_frames`, `frame_max_tokens`, `frame_min_tokens`, `frame_min_pixels`, `max_tokens`,
    /// `temporal_merge` or `segment_seconds`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) video_config: Vec<Setting>,
    /// Listen to the sound of films.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) video_audio: Hearing,
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

/// Whether the sound of films is listened to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Hearing {
    /// Where the film has a sound and the model an audio tower.
    #[default]
    Auto,
    /// In any case; a film without sound is refused.
    On,
    /// Not at all.
    Off,
}

/// How much of a prompt runs through all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HowMuch {
    /// All of it: the reference.
    Full,
    /// The last positions alone, as many as a window holds: what the vendor's service does, at less
    /// than half the work. The same as full for a prompt that fits the window.
    Replay,
}

impl From<HowMuch> for Prefill {
    fn from(much: HowMuch) -> Self {
        match much {
            HowMuch::Full => Self::Full,
            HowMuch::Replay => Self::Replay,
        }
    }
}

/// A number of bytes, as `512M` or `8G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shift = match text.as_bytes().last().map(u8::to_ascii_uppercase) {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            Some(b'T') => 40,
            _ => 0,
        };
        let digits = text.trim_end_matches(|c: char| shift > 0 && c.is_ascii_alphabetic());
        let number: u64 = digits
            .parse()
            .map_err(|_| "want a number, with K, M, G or T")?;
        let bytes = number
            .checked_mul(1 << shift)
            .ok_or("more than can be counted")?;
        Ok(Self(bytes))
    }
}

/// Which roundings the model applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// 32-bit floats throughout, nothing rounded.
    Exact,
    /// Round the stored cache and the indexer alone: less memory for long contexts.
    Cache,
    /// Round these and what goes into products with FP8 and FP4 weights: memory as with cache.
    Full,
    /// Round all that the vendor's own code rounds.
    Released,
}

/// How an answer is made.
#[derive(Debug, Args)]
pub(crate) struct Generation {
    /// Begin with these instructions.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Reason before answering: the default, but for the embedded model.
    #[arg(long, overrides_with = "no_thinking")]
    pub(crate) thinking: bool,
    /// Answer at once.
    #[arg(long, overrides_with = "thinking")]
    pub(crate) no_thinking: bool,
    /// Think this hard: low, high or max; V4.1 counts from 1 to 100, too.
    #[arg(long, value_name = "EFFORT", default_value = "high")]
    pub(crate) effort: Effort,
    /// Write at most so many tokens [default: what the context holds].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// Hold so many tokens, prompt and answer together [default: 8192, or the model's limit].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) context: Option<u32>,
    /// Have the draft head, if the checkpoint has one, propose up to N tokens at once.
    ///
    /// The text is the same with and without. Off by default: the draft head takes memory, and a
    /// rejected proposal costs time.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) draft: u32,
    /// Report speed, time to the first token, memory and the seed.
    #[arg(long)]
    pub(crate) stats: bool,
    #[command(flatten)]
    pub(crate) watch: Watch,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

/// How tokens are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Sampling {
    /// Divide the logits by this; 0 takes the likeliest token [default: 1; the embedded model: 0].
    #[arg(long, value_name = "T")]
    pub(crate) temperature: Option<f32>,
    /// Keep the likeliest tokens that together have this probability.
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    pub(crate) top_p: f32,
    /// Keep so many of the likeliest tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: u32,
    /// Keep tokens at least this probable relative to the likeliest.
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(crate) min_p: f32,
    /// Make tokens that occurred less likely by this factor; 1 changes nothing.
    #[arg(long, value_name = "R", default_value_t = 1.0)]
    pub(crate) repetition_penalty: f32,
    /// Subtract this for each time that a token occurs in the answer.
    #[arg(
        long,
        value_name = "F",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub(crate) frequency_penalty: f32,
    /// Subtract this if a token occurs in the answer.
    #[arg(
        long,
        value_name = "F",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub(crate) presence_penalty: f32,
    /// Draw by this seed; the same seed gives the same text [default: a random one].
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// End the answer before this string. May be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

/// The file in which `chat` remembers lines: `deepseek/history` in the user's folder for data.
/// `None` if the environment names no such folder.
pub(crate) fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local").join("share")))
        .or_else(|| folder("LOCALAPPDATA"))?;
    Some(data.join("deepseek").join("history"))
}

/// Whether the environment asks for text without colours (<https://no-color.org>).
pub(crate) fn wants_no_colour() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_last_of_thinking_and_no_thinking_counts() {
        let parse = |flags: &[&str]| {
            let line = ["deepseek", "run", "--model", "DIR"].iter().chain(flags);
            let Command::Run(run) = Line::parse_from(line).command else {
                unreachable!("the line says run");
            };
            !run.generation.no_thinking
        };
        assert!(parse(&[]));
        assert!(!parse(&["--no-thinking"]));
        assert!(parse(&["--no-thinking", "--thinking"]));
        assert!(!parse(&["--thinking", "--no-thinking"]));
    }
}
