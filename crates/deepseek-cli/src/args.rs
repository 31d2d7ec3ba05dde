//! What can be typed, and what the environment says. Words become structs here; what they mean is
//! decided elsewhere.

mod bench;
mod convert;
mod environment;
mod generation;
mod logging;
mod media;
mod model;
mod number;
mod prompt;
mod settings;

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::bench::Bench;
pub(crate) use self::convert::Convert;
pub(crate) use self::environment::{history_file, hub_cache, sessions_folder, variable};
pub(crate) use self::generation::{Generation, Sampling, ToolChoiceArg};
pub(crate) use self::logging::Logging;
pub(crate) use self::media::{Media, Named, VideoArgs};
pub(crate) use self::model::{Model, PrefillArg, Ranks, Threads};
use self::number::{size, whole};
pub(crate) use self::prompt::Prompt;
pub(crate) use self::settings::{Origin, Setting, Settings};
use crate::device::ChipName;
use crate::ids::Ids;
use crate::version;

/// Run DeepSeek-V4 and V4.1 checkpoints.
///
/// A checkpoint is a folder with `config.json`, `tokenizer.json` and safetensors files, as it was
/// released or as transformers saved it again. Nothing has to be converted, and nothing is fetched. Where
/// none is named, the embedded model answers: a small one that this program carries.
#[derive(Debug, Parser)]
#[command(name = "deepseek", version, long_version = version::long(), max_term_width = 100, after_long_help = AFTER)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) logging: Logging,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER: &str = "\
Examples:
  deepseek run \"What is 12 + 30?\"                        ask the embedded model
  deepseek inspect DIR                                   see what a model needs
  deepseek convert DIR --to w8a8 --out NEW               make integers of its weights
  deepseek run --model DIR \"Why is the sky blue?\"        ask once
  deepseek run --model DIR < letter.txt                  ask what a file says
  deepseek chat --model DIR                              talk
  deepseek tokenize --model DIR --count < letter.txt     count tokens
  deepseek logits --model DIR --ids 0,1,2 --out l.safetensors
  deepseek eval --model DIR tasks.jsonl                  count right answers
  deepseek bench --model DIR                             measure speed
  deepseek doctor --model DIR                            check the machine

Environment: DEEPSEEK_MODEL, DEEPSEEK_CONTEXT and the like set defaults, and so does config.toml in the
user's folder for configuration (or what DEEPSEEK_CONFIG names); deepseek config shows all of them.
NO_COLOR, CLICOLOR_FORCE and TERM=dumb count for colours, HF_HUB_CACHE and HF_HOME for models by name.

Answers go to stdout; reasoning, progress, figures and errors go to stderr.

Exit codes:
  0    done; also when the reader of stdout goes away
  1    fault: the device, the disk or the program failed
  2    usage: the command line makes no sense
  3    invalid input: a checkpoint, config, tokenizer, prompt or token id is missing, malformed or
       inconsistent
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
  deepseek run --model DIR --image cat.png dog.png \"What differs?\"
  deepseek run --model DIR --audio bird.wav --video bird.gif \"Is it the same bird?\"
  deepseek run --model DIR --conversation talk.json
  deepseek run --model DIR --json-schema person.json \"Who wrote Faust?\"
  deepseek run --model DIR --json --logprobs 3 \"Name a colour.\"
  deepseek run --model DIR \"Sum up this letter.\" -f letter.txt
  deepseek run --model DIR --tools tools.json \"Is it raining in Rome?\"
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
  deepseek chat --model DIR --session garden

Exit codes: 0 left, 1 fault, 2 usage, 3 bad input, 130 left by Ctrl-C.")]
    Chat(Chat),

    /// Show a model's architecture, size and memory requirements without loading the weights.
    ///
    /// Takes a checkpoint or a `config.json` alone: layers and their kinds, parameters in all and
    /// for each token, bytes by component and format, the KV cache by context length. Where there are
    /// files, they are held against the config.
    #[command(after_long_help = "\
Examples:
  deepseek inspect DIR
  deepseek inspect config.json --context 500000
  deepseek inspect DIR --json

Exit codes: 0 done, 2 usage, 3 the config or the files do not hold.")]
    Inspect(Inspect),

    /// Convert a checkpoint's weights to integers, for devices that multiply those.
    ///
    /// Devices without FP8 and FP4 multiply 8-bit integers: activations are rounded to INT8 as they come,
    /// each row under a scale of its own, and weights are stored so. What the release stores in FP8
    /// becomes INT8, one scale a row (w8a8); its routed experts INT8, or INT4 with one scale for 128
    /// columns of a row (w4a8: half the bytes, and more is lost). All else is copied: other tensors byte by
    /// byte, tokenizer and further files as they are. The result is a checkpoint that all commands take.
    ///
    /// Files are made one after the other and appear when they are whole, `config.json` last. Broken off,
    /// or killed, the same command goes on: what is finished is held against its digest and kept.
    /// Memory does not grow with the model. What each tensor lost stands in `conversion.json`: the root
    /// mean square of the error as a share of the numbers' own, the ratio of signal to noise, the largest.
    /// What that means for answers, `eval` measures.
    #[command(after_long_help = "\
Examples:
  deepseek convert DIR --to w8a8 --out DIR-w8a8
  deepseek convert DIR --to w4a8 --out DIR-w4a8 --threads 16
  deepseek convert --to w4a8 --out small --json          the embedded model
  deepseek run --model DIR-w8a8 \"Why is the sky blue?\"
  deepseek eval --model DIR-w8a8 tasks.jsonl             what is left of its accuracy

Exit codes: 0 done, 1 fault, 2 usage, 3 bad input, 130 interrupted.")]
    Convert(Convert),

    /// Turn text into token ids, or back.
    ///
    /// Prints token ids with commas between them. Text is text: a marker spelled in it does not become a
    /// control token, unless --special is given.
    #[command(after_long_help = "\
Examples:
  deepseek tokenize --model DIR \"Hello\"
  deepseek tokenize --tokenizer tokenizer.json --count < letter.txt
  deepseek tokenize --model DIR --decode 19923,2058

Exit codes: 0 done, 2 usage, 3 bad input.")]
    Tokenize(Tokenize),

    /// Write the logits after each of some token ids to a file.
    ///
    /// The file holds one tensor, `logits`, F32 [ids, vocabulary]. Row i is what the model expects
    /// after id i; an image counts as many ids as it has rows. With --prefill replay there is one
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

    /// Score the model's answers against expected ones.
    ///
    /// A task file is JSON, an item a line: `task`, `id`, `messages` in the chat-completions form and
    /// `answer`; perhaps `match` (exact, contains, last-line or json-call), `thinking` and
    /// `max_tokens`. Media are files beside it, or data URLs. The most likely answers are taken; each
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

    /// Measure speed.
    ///
    /// Runs prompts of random ids and single tokens behind them, as llama-bench does, and prints the mean
    /// and the standard deviation of tokens per second. On the host it measures, too, how fast the same
    /// threads read memory and multiply, and prints the share of that: of reading the weights for tokens,
    /// of multiplying for prompts. Lists have commas; each combination is a row. Ctrl-C ends it.
    #[command(after_long_help = "\
Examples:
  deepseek bench
  deepseek bench --model DIR
  deepseek bench --model DIR -p 512 -n 128 -d 0,4096 -r 5 -t 1,2
  deepseek bench --model DIR -p 0 -n 32 --device cpu:avx2 --json

Exit codes: 0 done, 1 fault, 2 usage, 3 bad input, 130 interrupted.")]
    Bench(Bench),

    /// Check this machine, and whether a model fits it.
    ///
    /// Prints a page to paste into a report: the build, the processor and its kernels, memory, how fast
    /// memory is read and numbers are multiplied. Then it runs the embedded model on the device and holds
    /// its logits against those of other kernels, bit for bit where they promise that, and holds what the
    /// named model takes against the memory. On an accelerator each operation is run beside the host's
    /// before that.
    #[command(after_long_help = "\
Examples:
  deepseek doctor
  deepseek doctor --model DIR --context 1048576
  deepseek doctor --device cpu:avx2
  deepseek doctor --report doctor.json

Exit codes: 0 all is well, 1 a check failed, 2 usage, 3 bad input, 130 interrupted.")]
    Doctor(Doctor),

    /// List what this build can compute on, on this machine.
    ///
    /// A device with a hyphen before it is not there: the line says why.
    #[command(after_long_help = "\
Examples:
  deepseek devices
  deepseek devices --json

Exit codes: 0 done, 2 usage.")]
    Devices(Devices),

    /// Show the settings, and where each comes from.
    ///
    /// A setting is a flag by its long name. What is typed counts before the environment (DEEPSEEK_CONTEXT
    /// for --context), that before the file, and the file before what is built in. The file holds lines such
    /// as `context = 16384` and `model = \"deepseek-ai/DeepSeek-V4-Flash\"` (TOML).
    #[command(after_long_help = "\
Examples:
  deepseek config
  DEEPSEEK_CONTEXT=16384 deepseek config --json

Exit codes: 0 done, 2 a variable that does not hold, 3 a file that does not hold.")]
    Config(ShowConfig),

    /// List the conversations that are kept under a name.
    ///
    /// `chat --session NAME` keeps one, with its KV cache, whose size is shown. Only their owner may read them.
    #[command(after_long_help = "\
Examples:
  deepseek sessions
  deepseek sessions --remove garden

Exit codes: 0 done, 2 usage, 3 no such session.")]
    Sessions(Sessions),

    /// Print a script that completes commands and flags in a shell.
    ///
    /// Where the script belongs, the shell's own documentation says; some places are below.
    #[command(after_long_help = "\
Examples:
  deepseek completions bash > ~/.local/share/bash-completion/completions/deepseek
  deepseek completions zsh > ~/.zfunc/_deepseek
  deepseek completions fish > ~/.config/fish/completions/deepseek.fish

Exit codes: 0 done, 2 usage.")]
    Completions(Completions),

    /// Write the manual pages into a folder.
    #[command(hide = true)]
    Man(Man),

    /// Decode a video for another process of this program.
    #[cfg(feature = "video")]
    #[command(hide = true)]
    VideoWorker,
}

/// What an answer that has to look like something cannot be besides.
const FREE: [&str; 4] = ["tools", "tool_choice", "stop", "continue"];

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Continue the text as it stands, without the markers of a conversation.
    #[arg(long, conflicts_with_all = ["system", "thinking", "no_thinking", "effort", "tools", "tool_choice", "image", "audio", "video"])]
    pub(crate) raw: bool,
    /// Let markers spelled in the text become control tokens, as in a prompt that somebody wrote out.
    #[arg(long, requires = "raw")]
    pub(crate) special: bool,
    #[command(flatten)]
    pub(crate) media: Media,
    /// Answer this conversation: a JSON list of messages in the chat-completions form, or a request
    /// with one, whose media are files or data URLs; `-` is stdin. A prompt, if there is one, comes after
    /// it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "system"])]
    pub(crate) conversation: Option<PathBuf>,
    /// Have the answer be JSON that validates against the schema in this file. The model is told of the
    /// schema, too.
    #[arg(long, value_name = "FILE", group = "form", conflicts_with_all = FREE)]
    pub(crate) json_schema: Option<PathBuf>,
    /// Have the answer match this regular expression from its first character to its last.
    #[arg(long, value_name = "PATTERN", group = "form", conflicts_with_all = FREE)]
    pub(crate) regex: Option<String>,
    /// Have the answer follow the grammar in this file: EBNF as XGrammar reads it, from its rule `root`.
    #[arg(long, value_name = "FILE", group = "form", conflicts_with_all = FREE)]
    pub(crate) grammar: Option<PathBuf>,
    /// Print one JSON object: text, reasoning, calls, how it ended, tokens, times in seconds.
    #[arg(long, group = "object")]
    pub(crate) json: bool,
    /// Print a JSON object a line for each piece as it comes, and one for the end.
    #[arg(long, group = "object")]
    pub(crate) jsonl: bool,
    /// Tell, in that JSON, how likely each token was, and which N were the most likely in its place.
    #[arg(long, value_name = "N", requires = "object", value_parser = whole(0_u32..=20), allow_negative_numbers = true)]
    pub(crate) logprobs: Option<u32>,
    /// Go on with the answer that the conversation ends with. Only what follows is printed.
    #[arg(long, requires = "conversation", conflicts_with_all = ["text", "prompt", "prompt_file", "image", "audio", "video"])]
    pub(crate) r#continue: bool,
    #[command(flatten)]
    pub(crate) prompt: Prompt,
    #[command(flatten)]
    pub(crate) generation: Generation,
}

/// Arguments of `chat`.
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Keep this conversation under a name, after each turn, and go on with it where it is kept already:
    /// with the same model.
    #[arg(long, value_name = "NAME")]
    pub(crate) session: Option<String>,
    /// Keep the KV cache with the session as long as it takes no more than this, such as 4GiB, so that of its
    /// prompt only what is new is run when it goes on; 0 keeps none. The whole cache is written after each
    /// turn.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = size, allow_negative_numbers = true)]
    pub(crate) session_cache: ByteSize,
    /// Forget the lines typed when leaving, and read none from earlier.
    #[arg(long)]
    pub(crate) no_history: bool,
    #[command(flatten)]
    pub(crate) generation: Generation,
}

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// Look at this checkpoint, or at a config alone [default: the embedded model].
    #[arg(value_name = "MODEL|config.json")]
    pub(crate) path: Option<PathBuf>,
    /// The same as a flag.
    #[arg(short, long, value_name = "MODEL", conflicts_with = "path")]
    pub(crate) model: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Add the KV cache at a context of so many tokens.
    #[arg(short, long, value_name = "N", value_parser = whole(2..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) context: Option<u32>,
    /// Add which operations of the model this chip does whole and which are composed, and why.
    #[arg(long, value_name = "CHIP", long_help = ChipName::HELP)]
    pub(crate) device: Option<ChipName>,
    #[command(flatten)]
    pub(crate) ranks: Ranks,
}

/// Arguments of `tokenize`.
#[derive(Debug, Args)]
pub(crate) struct Tokenize {
    /// Use the tokenizer of this checkpoint [default: the embedded model's].
    #[arg(short, long, value_name = "MODEL")]
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
    /// Take the text of this file; `-` is stdin.
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["text", "decode"])]
    pub(crate) file: Option<PathBuf>,
    /// Take this text; `-`, or nothing where stdin is no terminal, reads stdin, which else is left alone.
    /// At most 8 MiB are read.
    pub(crate) text: Option<String>,
}

/// Arguments of `logits`.
#[derive(Debug, Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Run these ids: `1,2,3`, or `@FILE` with commas or spaces between them; `@-` is stdin.
    #[arg(long, value_name = "IDS", required_unless_present = "prompt", conflicts_with_all = ["image", "audio", "video"])]
    pub(crate) ids: Option<Ids>,
    /// Run the begin-of-sentence marker and this text.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) prompt: Option<String>,
    #[command(flatten)]
    pub(crate) media: Media,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
    /// Turn no image as its orientation tag says, but for TIFF: as the published loader does.
    #[arg(long)]
    pub(crate) no_orientation: bool,
    /// Run so many ids at a time.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = whole(1..=u32::MAX), allow_negative_numbers = true)]
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
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Take the items of these task files; `-` is stdin.
    #[arg(value_name = "FILE.jsonl", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Take the items of this task alone. May be repeated.
    #[arg(long = "task", value_name = "NAME")]
    pub(crate) tasks: Vec<String>,
    /// Take no more than so many items of each task, the first ones.
    #[arg(long, value_name = "N", value_parser = whole(1..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) limit: Option<u32>,
    /// Show each item the media of another one of its task whose answer differs: who has looked and
    /// listened is wrong now. Items without media are left out.
    #[arg(long)]
    pub(crate) swap_media: bool,
    /// Run without this part of the model, to see what it carries. May be repeated.
    #[arg(long, value_name = "PART")]
    pub(crate) ablate: Vec<Ablated>,
    /// Draw the rows that stand in place of an indexer's choice by this seed.
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = whole(0..=u64::MAX), allow_negative_numbers = true)]
    pub(crate) seed: u64,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show what was asked, wanted and said where the two differ.
    #[arg(long)]
    pub(crate) failures: bool,
    /// Answer so many items at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = whole(1_u16..=32), allow_negative_numbers = true)]
    pub(crate) batch: u16,
    /// Hold so many tokens of an item, prompt and answer together [default: what the longest text
    /// needs, at least 8192, or the model's limit].
    #[arg(short, long, value_name = "N", value_parser = whole(2..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) context: Option<u32>,
    /// Have the draft head propose up to N tokens at once: the answers are the same.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole(0..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) draft: u32,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) model: Model,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// Make room for so many tokens, prompt and answer together [default: 8192, or the model's limit].
    #[arg(short, long, value_name = "N", value_parser = whole(2..=u32::MAX), allow_negative_numbers = true)]
    pub(crate) context: Option<u32>,
    /// Write a report into this file, as JSON, to be sent: the page, and on an accelerator each operation and
    /// each symbol of its vendor's library.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// Arguments of `devices`.
#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub(crate) struct ShowConfig {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `sessions`.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Remove this one.
    #[arg(long, value_name = "NAME", conflicts_with = "json")]
    pub(crate) remove: Option<String>,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Write for this shell.
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write into this folder, which is made if it is not there.
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
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
