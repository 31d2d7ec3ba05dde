//! A model ready to answer, and an answer on its way to the user: words to stdout, reasoning to
//! stderr.

use std::io::{self, IsTerminal, Write};

use anyhow::anyhow;
use deepseek_engine::{
    Engine, Event, Events, Limits, Reason, Request, Sampling, SamplingOptions, Usage,
};
use deepseek_model::TokenId;
use deepseek_text::{
    Answer, Brief, Call, Conversation, Delta, Effort, Message, Mode, Options, Reader, Start,
    Tokenizer, encode,
};
use serde_json::{Value, json};

use crate::args::{self, Generation, Model};
use crate::fault::{Fault, Result};
use crate::interrupt::Interrupt;
use crate::load::{self, Folder, STEP_TOKENS};
use crate::stats;

/// Positions of a sequence, unless asked otherwise or the model has fewer.
const CONTEXT: usize = 8192;

/// A model at work, and how it is to answer.
#[derive(Debug)]
pub(crate) struct Engaged {
    engine: Engine,
    tokenizer: Tokenizer,
    /// What each request asks for; its prompt is empty.
    request: Request,
    stops: Vec<String>,
    options: Options,
}

/// An answer, and what it took.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) answer: Answer,
    pub(crate) reason: Reason,
    pub(crate) usage: Usage,
}

/// How a conversation begins.
pub(crate) fn opening(system: Option<&str>) -> Vec<Message> {
    let brief = |text: &str| Brief { text: text.to_owned(), ..Brief::default() };
    system.map(|text| Message::System(brief(text))).into_iter().collect()
}

impl Engaged {
    /// Loads what the user named.
    pub(crate) fn open(args: &Model, asked: &Generation, interrupt: &Interrupt) -> Result<Self> {
        let sampling = sampling(&asked.sampling)?;
        let folder = Folder::open(&args.folder)?;
        let mut config = folder.config()?;
        let tokenizer = folder.tokenizer()?;
        if asked.draft == 0 {
            config = config.without_mtp();
        } else if config.mtp_layers == 0 {
            let error = anyhow!("--draft {}: the checkpoint has no draft head", asked.draft);
            return Err(Fault::input(error).hint("leave out --draft"));
        }
        let context = asked.context.map_or(CONTEXT.min(config.max_positions), |n| n as usize);
        let room = (context, STEP_TOKENS.min(context));
        let decoder = load::decoder(args, (&folder, &config), room, interrupt)?;
        let mut stop_ids = config.eos.clone();
        if !stop_ids.contains(&tokenizer.eos()) {
            stop_ids.push(tokenizer.eos());
        }
        let request = Request {
            max_tokens: asked.max_tokens,
            stop_ids,
            sampling,
            drafts: asked.draft,
            ..Request::new(Vec::new())
        };
        Ok(Self {
            engine: Engine::spawn(decoder, Limits::default()),
            tokenizer,
            request,
            stops: asked.sampling.stop.clone(),
            options: options(asked),
        })
    }

    /// How prompts are written, as it was asked for.
    pub(crate) fn options(&self) -> Options {
        self.options
    }

    /// Answers a conversation.
    pub(crate) fn answer(
        &self,
        conversation: &Conversation,
        options: &Options,
        interrupt: &Interrupt,
    ) -> Result<Said> {
        let prompt = encode(&self.tokenizer, conversation, options)?;
        self.stream(prompt.ids, prompt.start, interrupt)
    }

    /// Goes on with a text as it stands.
    pub(crate) fn go_on(&self, text: &str, interrupt: &Interrupt) -> Result<Said> {
        let ids = [vec![self.tokenizer.bos()], self.tokenizer.encode(text)?].concat();
        self.stream(ids, Start::Continuation, interrupt)
    }

    fn stream(&self, prompt: Vec<TokenId>, start: Start, interrupt: &Interrupt) -> Result<Said> {
        let events = self.engine.submit(Request { prompt, ..self.request.clone() })?;
        let _watch = interrupt.watch(events.canceller());
        let reader = Reader::new(&self.tokenizer, start, self.stops.clone());
        let mut page = Page::new();
        let said = follow(events, reader, &mut page);
        // Whatever happened, the terminal is left as it was found.
        page.close()?;
        said
    }

    /// Shows the figures of an answer.
    pub(crate) fn report(&self, said: &Said) -> io::Result<()> {
        self.write_report(&mut io::stderr().lock(), said)
    }

    pub(crate) fn write_report(&self, out: &mut impl Write, said: &Said) -> io::Result<()> {
        let seed = self.request.sampling.options().seed;
        stats::write(out, &said.usage, seed, self.request.drafts > 0)
    }
}

/// Shows the answer as it comes.
fn follow(mut events: Events, mut reader: Reader, page: &mut Page) -> Result<Said> {
    let mut answer = Answer::default();
    while let Some(event) = events.recv() {
        let (deltas, end) = match event {
            Event::Token { id } => (reader.push(id)?, None),
            Event::Finished { reason, usage } => (reader.finish()?, Some((reason, usage))),
            Event::Failed(fault) => return Err(fault.into()),
            _ => continue,
        };
        for delta in &deltas {
            answer.push(delta);
            match delta {
                Delta::Thinking(text) => page.think(text)?,
                Delta::Text(text) => page.say(text)?,
                Delta::Finished { stop: Some(_) } => events.canceller().cancel(),
                _ => {}
            }
        }
        if let Some((reason, usage)) = end {
            for call in &answer.calls {
                page.call(call)?;
            }
            return Ok(Said { answer, reason, usage });
        }
    }
    unreachable!("every request has an end")
}

/// Draws as asked, by a seed of our own where none is given.
fn sampling(args: &args::Sampling) -> Result<Sampling> {
    Ok(Sampling::new(SamplingOptions {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        frequency_penalty: args.frequency_penalty,
        presence_penalty: args.presence_penalty,
        seed: args.seed.unwrap_or_else(rand::random),
    })?)
}

fn options(asked: &Generation) -> Options {
    Options {
        mode: if asked.no_thinking { Mode::Chat } else { Mode::Thinking },
        effort: match asked.effort {
            args::Effort::Low => Effort::Low,
            args::Effort::High => Effort::High,
            args::Effort::Max => Effort::Max,
        },
        ..Options::default()
    }
}

/// Where an answer is shown.
#[derive(Debug)]
struct Page {
    /// Whether reasoning is dimmed.
    dims: bool,
    place: Place,
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

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Page {
    fn new() -> Self {
        let dims = io::stderr().is_terminal() && !args::wants_no_colour();
        Self { dims, place: Place::LineStart }
    }

    fn think(&mut self, text: &str) -> io::Result<()> {
        if self.place != Place::Thinking {
            self.close()?;
            self.place = Place::Thinking;
            if self.dims {
                write!(io::stderr(), "{DIM}")?;
            }
        }
        write!(io::stderr(), "{text}")
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        if self.place == Place::Thinking {
            self.close()?;
        }
        if !text.is_empty() {
            self.place = if text.ends_with('\n') { Place::LineStart } else { Place::Text };
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// A call of a tool, a line of its own. Arguments that are no JSON are shown as the text they
    /// are.
    fn call(&mut self, call: &Call) -> io::Result<()> {
        self.close()?;
        let arguments: Value =
            serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!(call.arguments));
        let line = json!({ "name": call.name, "arguments": arguments });
        writeln!(io::stdout().lock(), "{line}")
    }

    /// Ends the line and the dimming.
    fn close(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.place, Place::LineStart) {
            Place::LineStart => Ok(()),
            Place::Thinking if self.dims => writeln!(io::stderr(), "{PLAIN}"),
            Place::Thinking => writeln!(io::stderr()),
            Place::Text => writeln!(io::stdout().lock()),
        }
    }
}
