//! A model ready to answer, and an answer on its way to the user: words to stdout, reasoning to
//! stderr.

pub(crate) mod json;

use std::io::{self, Write};
use std::path::PathBuf;

use anstyle::Style;

use deepseek_chat::limits::{CONTEXT, STEP_TOKENS};
use deepseek_chat::{
    Completion, Defaults, Delta, Description, ModelSource, Orientation, Session, SessionOptions,
    Turn, TurnOptions,
};
use deepseek_core::weights::Shard;
use deepseek_engine::{Engine, Limits, Sampling, SamplingOptions};
use deepseek_model::saved::Binding;
use deepseek_model::{Config, Prefill};
use deepseek_text::{Call, Conversation, Message, Mode, Options, Part, ToolChoice};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tracing::info;

use self::json::About;
use crate::args::{self, Generation, Model, Threads};
use crate::device::Devices;
use crate::ending;
use crate::fault::{Fault, Result, note};
use crate::form::Form;
use crate::interrupt::Interrupt;
use crate::load;
use crate::media::{self, Notes};
use crate::screen::{self, Screen};
use crate::stats;
use crate::trouble;

/// What may be asked of answers beside how they are made.
#[derive(Debug, Default)]
pub(crate) struct Wish {
    /// What they have to look like.
    pub(crate) form: Option<Form>,
    /// Of how many tokens in the place of each it is told how likely they were, if of any.
    pub(crate) logprobs: Option<u32>,
    /// How they are shown.
    pub(crate) show: Show,
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Show {
    /// As words, when they come.
    #[default]
    Words,
    /// As one JSON object.
    Object,
    /// As one for each piece, when it comes.
    Lines,
}

/// A model at work, as the user asked for it.
#[derive(Debug)]
pub(crate) struct Opened {
    /// As it was named.
    model: Option<PathBuf>,
    show: Show,
    source: ModelSource,
    config: Config,
    session: Session,
    notes: Notes,
    devices: Devices,
    /// What decides the numbers of a KV cache, but for the weights.
    binding: Binding,
    /// Weights that are in another file.
    projector: Option<PathBuf>,
}

/// How a conversation begins.
pub(crate) fn opening(system: Option<&str>) -> Vec<Message> {
    system.map(Message::system).into_iter().collect()
}

impl Opened {
    /// Loads what the user named.
    pub(crate) fn open(
        (args, threads): (&Model, Threads),
        asked: &Generation,
        wish: &Wish,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        let source = load::source(args.folder.as_deref())?;
        let defaults = source.defaults();
        let sampling = sampling(&asked.sampling, defaults)?;
        let description = load::describe(&source, asked.draft)?;
        let config = &description.config;
        let loader = media::loader(config, &asked.video, Orientation::Tagged)?;
        let prompt = prompt_options(asked, &description, defaults);
        // What the model cannot be told is better known before its weights are loaded.
        deepseek_text::encode(&description.tokenizer, &Conversation::default(), &prompt)?;
        let form = wish.form.as_ref();
        let constraint = form.map(|form| form.compile(&description)).transpose()?;
        let context = asked
            .context
            .map_or(CONTEXT.min(config.max_positions), |n| n as usize);
        let step_tokens = STEP_TOKENS.min(context);
        let budget = load::budget(args, context, step_tokens, Prefill::Replay);
        let plan = load::plan(args, defaults.level, config, budget)?;
        let level = plan.numerics().level();
        let contract = args.devices().contract(level, context);
        let binding = Binding::of(&plan).with("device", contract);
        let decoder = load::decoder(
            args,
            load::threads(threads.threads),
            &source,
            plan,
            interrupt,
        )?;
        let answer = TurnOptions {
            max_tokens: asked.max_tokens,
            sampling,
            constraint,
            logprobs: wish.logprobs,
            drafts: asked.draft,
            keep: true,
            stops: asked.sampling.stop.clone(),
            ends: config.eos.clone(),
            ..TurnOptions::default()
        };
        let engine = Engine::spawn(decoder, Limits::default());
        let options = SessionOptions { prompt, answer };
        let Description { config, tokenizer } = description;
        Ok(Self {
            model: args.folder.clone(),
            show: wish.show,
            source,
            config,
            session: Session::new(engine, tokenizer, loader, options),
            notes: Notes::default(),
            devices: args.devices(),
            binding,
            projector: args.audio_projector.clone(),
        })
    }

    /// What decides the numbers of its KV caches. Reads some of the weights.
    pub(crate) fn binding(&self) -> Result<Binding> {
        let binding = self.binding.clone().with("weights", self.source.digest()?);
        let Some(path) = &self.projector else {
            return Ok(binding);
        };
        let mut hash = Sha256::new();
        for tensor in Shard::open(path)?.tensors() {
            hash.update(tensor.name());
            let bytes: &[u8] = tensor.bytes();
            hash.update(bytes);
        }
        let digits = hash.finalize().into_iter();
        let digits: String = digits.map(|byte| format!("{byte:02x}")).collect();
        Ok(binding.with("audio projector", digits))
    }

    /// The model at work.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Where it was loaded from.
    pub(crate) fn source(&self) -> &ModelSource {
        &self.source
    }

    /// How prompts are written and answers made, as it was asked for.
    pub(crate) fn options(&self) -> &SessionOptions {
        self.session.options()
    }

    /// Answers a conversation.
    pub(crate) fn answer(
        &self,
        conversation: &Conversation,
        options: &SessionOptions,
        interrupt: &Interrupt,
    ) -> Result<Completion> {
        let media = media::load_all(self.session.loader(), conversation, &self.notes)?;
        let answer = options.answer.clone();
        let turn = self
            .session
            .turn(conversation, &options.prompt, answer, media)?;
        self.show(turn, interrupt)
    }

    /// Shows an answer, and names the tensor that broke it, if one did.
    fn show(&self, turn: Turn, interrupt: &Interrupt) -> Result<Completion> {
        let _watch = interrupt.watch(turn.canceller());
        let said = match self.show {
            Show::Words => in_words(turn),
            Show::Object => self.as_object(turn),
            Show::Lines => self.in_lines(turn),
        };
        let said =
            said.map_err(|fault| trouble::name(fault, &self.source, &self.config, interrupt))?;
        log(&said);
        if let Some(text) = ending::note(&said) {
            note(&text);
        }
        Ok(said)
    }

    fn as_object(&self, turn: Turn) -> Result<Completion> {
        let said = turn.wait()?;
        let mut out = screen::stdout();
        writeln!(out, "{}", json::whole(&said, &self.about()))?;
        Ok(said)
    }

    fn in_lines(&self, turn: Turn) -> Result<Completion> {
        let (mut out, about) = (screen::stdout(), self.about());
        let said = turn.follow(|delta| -> Result<()> {
            if let Some(piece) = json::piece(delta, &about) {
                writeln!(out, "{piece}")?;
                out.flush()?;
            }
            Ok(())
        })?;
        writeln!(out, "{}", json::end(&said, &about))?;
        Ok(said)
    }

    /// What stands beside an answer in JSON.
    fn about(&self) -> About<'_> {
        let answer = &self.session.options().answer;
        let model = self.model.as_ref();
        About {
            tokenizer: self.session.tokenizer(),
            model: model.map(|path| path.display().to_string()),
            device: self.devices.marked(),
            is_timed: !self.devices.are_emulated(),
            seed: answer.sampling.options().seed,
            logprobs: answer.logprobs.is_some(),
        }
    }

    /// Whether a medium can be shown or played.
    pub(crate) fn look(&self, part: &Part) -> Result<()> {
        media::load(self.session.loader(), part, &self.notes).map(drop)
    }

    /// Goes on with a text as it stands.
    pub(crate) fn go_on(&self, text: &str, interrupt: &Interrupt) -> Result<Completion> {
        let turn = self.session.go_on(text)?;
        self.show(turn, interrupt)
    }

    /// Goes on with a prompt that somebody wrote out, its markers spelled.
    pub(crate) fn go_on_with_markers(
        &self,
        text: &str,
        interrupt: &Interrupt,
    ) -> Result<Completion> {
        let turn = self.session.go_on_with_markers(text)?;
        self.show(turn, interrupt)
    }

    /// Says which model answers, and on what.
    pub(crate) fn describe(&self, out: &mut impl Write) -> io::Result<()> {
        let model = self.model.as_ref().map_or_else(
            || "the embedded one".to_owned(),
            |path| path.display().to_string(),
        );
        let context = self.session.engine().capacity().context;
        writeln!(out, "{:<20} {model}", "model")?;
        writeln!(out, "{:<20} {}", "device", self.devices.settled())?;
        writeln!(out, "{:<20} {context}", "context")
    }

    /// Writes the figures of an answer that was made so.
    pub(crate) fn report(
        &self,
        out: &mut impl Write,
        said: &Completion,
        answer: &TurnOptions,
    ) -> io::Result<()> {
        let seed = answer.sampling.options().seed;
        stats::write(out, said, seed, answer.drafts > 0, self.devices)
    }
}

/// Shows an answer as it comes.
fn in_words(turn: Turn) -> Result<Completion> {
    let (out, err) = (screen::stdout(), screen::stderr());
    let mut terminal = Terminal::new(out, err, screen::styles_stderr());
    let said = turn.follow(|delta| terminal.show(delta).map_err(Fault::from));
    // Whatever happened, the terminal is left as it was found.
    terminal.close()?;
    said
}

/// Logs what an answer took.
fn log(said: &Completion) {
    let usage = &said.usage;
    info!(
        prompt = usage.prompt,
        cached = usage.cached,
        generated = usage.generated,
        finish = ending::name(said.reason),
        prefill_seconds = usage.prefill.as_secs_f64(),
        decode_seconds = usage.decode.as_secs_f64(),
        "answered"
    );
}

/// Draws as asked, by a seed of our own where none is given.
fn sampling(args: &args::Sampling, defaults: Defaults) -> Result<Sampling> {
    Ok(Sampling::new(SamplingOptions {
        temperature: args.temperature.unwrap_or(defaults.temperature),
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        seed: args.seed.unwrap_or_else(rand::random),
    })?)
}

/// How prompts are written.
fn prompt_options(asked: &Generation, description: &Description, defaults: Defaults) -> Options {
    Options {
        mode: match (asked.thinking, asked.no_thinking) {
            (true, _) => Mode::Thinking,
            (_, true) => Mode::Chat,
            (false, false) => defaults.mode,
        },
        effort: asked.effort,
        tool_choice: asked.tool_choice.map_or(ToolChoice::Auto, ToolChoice::from),
        edition: description.edition(),
        ..Options::default()
    }
}

/// Where an answer is shown: words on `out`, reasoning on `err`.
#[derive(Debug)]
struct Terminal<O, E> {
    out: Screen<O>,
    err: Screen<E>,
    /// Whether reasoning is dimmed.
    dims: bool,
    place: Place,
    /// How much of the prompt has been read, until the first words come.
    prompt: Option<ProgressBar>,
}

/// What was shown last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Nothing that wants a line's end.
    LineStart,
    /// Reasoning.
    Thinking,
    /// The answer, within a line.
    Text,
}

/// How reasoning looks.
const DIMMED: Style = Style::new().dimmed();

impl<O: Write, E: Write> Terminal<O, E> {
    fn new(out: Screen<O>, err: Screen<E>, dims: bool) -> Self {
        Self {
            out,
            err,
            dims,
            place: Place::LineStart,
            prompt: None,
        }
    }

    fn show(&mut self, delta: &Delta) -> io::Result<()> {
        match delta {
            Delta::Prefill { done, total } => self.progress(*done, *total),
            Delta::Thinking(text) => self.think(text)?,
            Delta::Text(text) => self.say(text)?,
            Delta::ToolCall {
                name, arguments, ..
            } => self.call(name, arguments)?,
            // The end shows nothing. New kinds of pieces want a new program to show them.
            _ => {}
        }
        Ok(())
    }

    fn progress(&mut self, done: u32, total: u32) {
        let bar = self
            .prompt
            .get_or_insert_with(|| load::bar("prompt", "{pos}/{len} tokens"));
        bar.set_length(total.into());
        bar.set_position(done.into());
    }

    fn think(&mut self, text: &str) -> io::Result<()> {
        if self.place != Place::Thinking {
            self.close()?;
            self.place = Place::Thinking;
            if self.dims {
                self.err.steer(DIMMED.render())?;
            }
        }
        write!(self.err, "{text}")?;
        self.err.flush()
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        if self.place != Place::Text {
            self.close()?;
        }
        self.place = if text.ends_with('\n') {
            Place::LineStart
        } else {
            Place::Text
        };
        write!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A call of a tool, a line of its own.
    fn call(&mut self, name: &str, arguments: &str) -> io::Result<()> {
        self.close()?;
        let call = Call {
            id: None,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        writeln!(self.out, "{}", call.to_json())?;
        self.out.flush()
    }

    /// Ends the line, the dimming and the progress.
    fn close(&mut self) -> io::Result<()> {
        if let Some(bar) = self.prompt.take() {
            bar.finish_and_clear();
        }
        match std::mem::replace(&mut self.place, Place::LineStart) {
            Place::LineStart => Ok(()),
            Place::Thinking => {
                if self.dims {
                    self.err.steer(DIMMED.render_reset())?;
                }
                writeln!(self.err)
            }
            Place::Text => writeln!(self.out),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What `show` leaves on stdout and on stderr, which are dimmed terminals if `dims`.
    fn shown(
        dims: bool,
        show: impl FnOnce(&mut Terminal<&mut Vec<u8>, &mut Vec<u8>>),
    ) -> [String; 2] {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let screens = (Screen::new(&mut out, dims), Screen::new(&mut err, dims));
        let mut terminal = Terminal::new(screens.0, screens.1, dims);
        show(&mut terminal);
        terminal.close().expect("memory takes all");
        [out, err].map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn reasoning_is_dimmed_on_a_terminal_alone() {
        let show = |terminal: &mut Terminal<&mut Vec<u8>, &mut Vec<u8>>| {
            for text in ["so ", "it is"] {
                terminal.think(text).expect("memory takes all");
            }
            terminal.say("It is.").expect("memory takes all");
        };
        assert_eq!(shown(true, show), ["It is.\n", "\x1b[2mso it is\x1b[0m\n"]);
        assert_eq!(shown(false, show), ["It is.\n", "so it is\n"]);
    }

    #[test]
    fn reasoning_that_was_stopped_leaves_the_terminal_plain() {
        let show = |terminal: &mut Terminal<&mut Vec<u8>, &mut Vec<u8>>| {
            terminal.think("so").expect("memory takes all");
        };
        assert_eq!(shown(true, show), ["", "\x1b[2mso\x1b[0m\n"]);
    }

    #[test]
    fn an_answer_ends_its_line_once() {
        for text in ["one", "one\n"] {
            let [out, _] = shown(false, |terminal| {
                terminal.say(text).expect("memory takes all");
            });
            assert_eq!(out, "one\n");
        }
        assert_eq!(shown(true, |_| ()), ["", ""]);
    }

    #[test]
    fn an_answer_does_nothing_to_a_terminal() {
        let show = |terminal: &mut Terminal<&mut Vec<u8>, &mut Vec<u8>>| {
            for text in ["\x1b", "[0mI am out"] {
                terminal.think(text).expect("memory takes all");
            }
            for text in ["\x1b", "]0;title\x07"] {
                terminal.say(text).expect("memory takes all");
            }
            terminal
                .call("\x7f", "{ \"a\": \"\u{9b}\" }")
                .expect("memory takes all");
        };
        let [out, err] = shown(true, show);
        let (said, call) = out.split_once('\n').expect("two lines");
        assert_eq!(said, r"\u001b]0;title\u0007");
        assert!(!call.contains(['\x7f', '\u{9b}']), "{call}");
        let call: Value = serde_json::from_str(call).expect("JSON");
        assert_eq!(
            call,
            serde_json::json!({ "name": "\x7f", "arguments": { "a": "\u{9b}" } })
        );
        assert_eq!(err, "\x1b[2m\\u001b[0mI am out\x1b[0m\n");

        let [out, err] = shown(false, show);
        assert!(out.starts_with("\x1b]0;title\x07\n"), "{out:?}");
        assert_eq!(err, "\x1b[0mI am out\n");
    }

    #[test]
    fn calls_are_json_a_line_each() {
        let [out, _] = shown(false, |terminal| {
            terminal.say("Looking.").expect("memory takes all");
            terminal
                .call("find", r#"{ "x": 1 }"#)
                .expect("memory takes all");
            terminal
                .call("find", r#"{ "x": "#)
                .expect("memory takes all");
        });
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "Looking.");
        let values = lines[1..]
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        assert_eq!(
            values.collect::<Vec<Value>>(),
            [
                serde_json::json!({ "name": "find", "arguments": { "x": 1 } }),
                serde_json::json!({ "name": "find", "arguments": "{ \"x\": " }),
            ]
        );
    }
}
