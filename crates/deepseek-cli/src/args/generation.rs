//! How an answer is made, and how its tokens are drawn.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use deepseek_text::{Effort, ToolChoice};

use super::media::VideoArgs;
use super::number::whole;

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
    #[arg(
        long,
        value_name = "EFFORT",
        default_value = "high",
        conflicts_with = "no_thinking"
    )]
    pub(crate) effort: Effort,
    /// Offer these tools: a JSON list in the chat-completions form, or a request that has one. Calls are
    /// printed, not made.
    #[arg(long, value_name = "FILE")]
    pub(crate) tools: Option<PathBuf>,
    /// Let the model call tools as it likes, have it call one, or hide them [default: auto].
    #[arg(long, value_name = "WHEN")]
    pub(crate) tool_choice: Option<ToolChoiceArg>,
    /// Write at most so many tokens [default: what the context holds].
    #[arg(short = 'n', long, value_name = "N", value_parser = whole(1..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) max_tokens: Option<u32>,
    /// Hold so many tokens, prompt and answer together [default: 8192, or the model's limit].
    #[arg(short, long, value_name = "N", value_parser = whole(2..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) context: Option<u32>,
    /// Have the draft head, if the checkpoint has one, propose up to N tokens at once.
    ///
    /// The text is the same with and without. Off by default: the draft head takes memory, and a
    /// rejected proposal costs time.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) draft: u32,
    /// Report speed, time to the first token, memory and the seed.
    #[arg(long)]
    pub(crate) stats: bool,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

/// How tokens are drawn.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct Sampling {
    /// Divide the logits by this; 0 takes the most likely token [default: 1; the embedded model: 0].
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub(crate) temperature: Option<f32>,
    /// Keep the most likely tokens that together have this probability.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub(crate) top_p: f32,
    /// Keep so many of the most likely tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = 0, value_parser = whole(0..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) top_k: u32,
    /// Keep tokens at least this probable relative to the most likely.
    #[arg(
        long,
        value_name = "P",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub(crate) min_p: f32,
    /// Make tokens that occurred less likely by this factor; 1 changes nothing.
    #[arg(
        long,
        value_name = "R",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
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
    #[arg(short, long, value_name = "N", value_parser = whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: Option<u64>,
    /// End the answer before this string. May be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

/// Whether tools are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ToolChoiceArg {
    /// As the model likes.
    Auto,
    /// One must be called; wants --no-thinking.
    Required,
    /// None is shown.
    None,
}

impl From<ToolChoiceArg> for ToolChoice {
    fn from(arg: ToolChoiceArg) -> Self {
        match arg {
            ToolChoiceArg::Auto => Self::Auto,
            ToolChoiceArg::Required => Self::Required,
            ToolChoiceArg::None => Self::None,
        }
    }
}
