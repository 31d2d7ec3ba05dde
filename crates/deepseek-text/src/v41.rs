//! The layout of a V4.1 prompt (`docs/models/deepseek-v41.md` §6.2, §6.3).
//!
//! The vendor's renderer takes JSON values, in which long numbers lose digits and arguments of one
//! name lose all but one, and knows neither efforts between its three nor the auxiliary tasks. So
//! the layout stands here; the fixed texts and the prompt type are the vendor's.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use deepseek_recipe_core::prompt;
use deepseek_recipe_core::prompt::{Prompt, Special};

use crate::error::{Error, Result};
use crate::fixed;
use crate::json::Json;
use crate::layout::{Rendered, opener, task_marker};
use crate::message::{Answer, Brief, Call, Content, Conversation, Message, Part, Task, Tool};
use crate::options::{Mode, Options, ToolChoice};
use crate::start::{Stage, Start};
use crate::tokenizer::marker;
use crate::wire;

/// Renders a conversation; `score` is how hard to think.
pub(crate) fn render(
    conversation: &Conversation,
    options: &Options,
    score: Option<u8>,
) -> Result<Rendered> {
    let page = Page::new(conversation, options)?;
    let mut prompt = Prompt::new();
    if options.bos {
        prompt.push_special(marker::BOS);
    }
    page.push_opening(&mut prompt, score);
    for index in 0..page.steps.len() {
        page.push_step(&mut prompt, index);
    }
    page.push_header(&mut prompt);
    Ok(Rendered {
        prompt,
        media: page
            .steps
            .iter()
            .flat_map(|step| step.media.clone())
            .collect(),
        start: page.start(),
    })
}

/// A message in its place.
#[derive(Debug, Clone)]
struct Step<'a> {
    message: &'a Message,
    /// Which of the conversation's media it holds.
    media: Vec<usize>,
}

/// A conversation in the order in which it is written.
#[derive(Debug)]
struct Page<'a> {
    steps: Vec<Step<'a>>,
    /// The tools of the first message, a line each, if any message declares some.
    tools: Option<Vec<String>>,
    /// The schema that the answer has to follow.
    format: Option<&'a Json>,
    options: Options,
}

impl<'a> Page<'a> {
    fn new(conversation: &'a Conversation, options: &Options) -> Result<Self> {
        let messages = &conversation.messages;
        let mut steps: Vec<Step<'_>> = Vec::new();
        let mut media = 0..;
        for message in messages {
            let content = message.content();
            let own = content.map_or(0, |content| {
                content.0.iter().filter(|part| part.is_medium()).count()
            });
            let media = media.by_ref().take(own).collect();
            let is_reminder = |message: &Message| matches!(message, Message::LatestReminder { .. });
            let repeats =
                is_reminder(message) && steps.last().is_some_and(|last| is_reminder(last.message));
            if !repeats {
                steps.push(Step { message, media });
            }
        }
        sort_results(&mut steps);
        let briefs = || messages.iter().filter_map(Message::brief);
        let shows = options.tool_choice != ToolChoice::None;
        let tools = if briefs().any(|brief| shows && !brief.tools.is_empty()) {
            Some(match messages.first().and_then(Message::brief) {
                Some(brief) => lines(&brief.tools)?,
                None => Vec::new(),
            })
        } else {
            None
        };
        // What a later message declares is written with it; better to know now whether it can be.
        for brief in briefs().filter(|_| shows) {
            lines(&brief.tools)?;
        }
        Ok(Self {
            steps,
            tools,
            format: briefs()
                .filter_map(|brief| brief.response_format.as_ref())
                .next_back(),
            options: *options,
        })
    }

    /// Writes what comes before the first message; with it, where that is a system text.
    fn push_opening(&self, prompt: &mut Prompt, score: Option<u8>) {
        let thinks = self.options.mode == Mode::Thinking;
        let begins = self.tools.is_some() || self.format.is_some();
        let first = self.steps.first().and_then(|step| step.message.brief());
        if first.is_some() || begins || (thinks && !self.steps.is_empty()) {
            prompt.push_special(marker::SYSTEM);
            if let Some(score) = score.filter(|_| thinks) {
                *prompt += fixed::score(score);
            }
        }
        if let Some(brief) = first {
            *prompt += words(&brief.content);
        }
        if let Some(tools) = &self.tools {
            *prompt += fixed::tools_v41(tools);
        }
        if let Some(schema) = self.format {
            *prompt += fixed::response_format(schema);
        }
    }

    /// Writes a message, and the task that follows it.
    fn push_step(&self, prompt: &mut Prompt, index: usize) {
        let step = &self.steps[index];
        let before = index
            .checked_sub(1)
            .map(|before| self.steps[before].message);
        let turn = |prompt: &mut Prompt| match before {
            Some(Message::User { .. } | Message::Tool { .. }) => prompt.push_plain("\n\n"),
            _ => prompt.push_special(marker::USER),
        };
        match step.message {
            Message::System(brief) | Message::Developer(brief) => {
                if index > 0 {
                    self.push_later(prompt, brief);
                }
            }
            Message::User { content, .. } => {
                turn(prompt);
                *prompt += words(content);
            }
            Message::Tool { content, .. } => {
                turn(prompt);
                let content = words(content);
                *prompt += prompt!("<tool_result>{content}</tool_result>");
            }
            Message::LatestReminder { text } => {
                prompt.push_special(marker::LATEST_REMINDER);
                prompt.push_plain(text);
            }
            Message::Assistant { answer, open, .. } => {
                self.push_answer(prompt, index, answer, *open);
            }
        }
        if let Some(task) = self.task_after(index) {
            if task == Task::Action {
                prompt.push_special(marker::ASSISTANT);
                prompt.push_special(opener(self.options.mode));
            }
            prompt.push_special(task_marker(task));
        }
    }

    /// A system text behind others, with the tools that it declares.
    fn push_later(&self, prompt: &mut Prompt, brief: &Brief) {
        prompt.push_special(marker::SYSTEM);
        *prompt += words(&brief.content);
        if self.options.tool_choice != ToolChoice::None && !brief.tools.is_empty() {
            let lines = lines(&brief.tools).expect("they were read before");
            *prompt += fixed::later_tools(&lines);
        }
    }

    fn push_answer(&self, prompt: &mut Prompt, index: usize, answer: &Answer, open: bool) {
        // What answers a task has no header, and was never reasoned about.
        if !self.does_task(index) {
            prompt.push_special(marker::ASSISTANT);
            if self.shows_reasoning(index, open) {
                prompt.push_special(marker::THINK);
                push_grounded(prompt, &answer.reasoning);
                if !(open && is_unbegun(answer)) {
                    prompt.push_special(marker::THINK_END);
                }
            } else {
                prompt.push_special(marker::THINK_END);
            }
        }
        push_grounded(prompt, &answer.text);
        push_calls(prompt, &answer.calls);
        if !open {
            prompt.push_special(marker::EOS);
        }
    }

    /// Hands the word to the model, if it does not have it yet.
    fn push_header(&self, prompt: &mut Prompt) {
        if !self.ends_in_answer() && !self.does_task(self.steps.len()) {
            prompt.push_special(marker::ASSISTANT);
            prompt.push_special(opener(self.options.mode));
        }
        if self.opens_calls() {
            let dsml = Special(marker::DSML);
            *prompt += prompt!("\n\n<{dsml} calls>\n");
        }
    }

    /// Where the model's words begin: what was written last.
    fn start(&self) -> Start {
        let last = self.steps.len().saturating_sub(1);
        let stage = match self.steps.last().map(|step| step.message) {
            _ if self.opens_calls() => Stage::Calls,
            Some(Message::Assistant {
                answer, open: true, ..
            }) => match (is_unbegun(answer), self.shows_reasoning(last, true)) {
                _ if self.does_task(last) => Stage::Continuation,
                (false, _) => Stage::Continuation,
                (true, false) => Stage::Answer,
                (true, true) if answer.reasoning.is_empty() => Stage::Reasoning,
                (true, true) => Stage::OpenReasoning,
            },
            _ if self.does_task(self.steps.len()) => Stage::Continuation,
            _ => Stage::of(self.options.mode),
        };
        Start {
            stage,
            calls: self.tools.is_some(),
        }
    }

    /// Whether the prompt ends within a tool block.
    fn opens_calls(&self) -> bool {
        self.options.tool_choice == ToolChoice::Required && self.tools.is_some()
    }

    /// Whether the model goes on with words of its own.
    fn ends_in_answer(&self) -> bool {
        let last = self.steps.last().map(|step| step.message);
        matches!(last, Some(Message::Assistant { open: true, .. }))
    }

    /// Old reasoning is remembered with tools alone; that of an answer that goes on is no old one.
    /// The first message of all has none.
    fn shows_reasoning(&self, index: usize, open: bool) -> bool {
        let is_first = index == 0 && self.tools.is_none() && self.format.is_none();
        self.options.mode == Mode::Thinking && !is_first && (open || self.tools.is_some())
    }

    /// The task that stands behind a message: where its answer, a reminder or the end follows.
    fn task_after(&self, index: usize) -> Option<Task> {
        let task = self.steps[index].message.task()?;
        let next = self.steps.get(index + 1).map(|step| step.message);
        let stands = matches!(
            next,
            None | Some(Message::Assistant { .. } | Message::LatestReminder { .. })
        );
        stands.then_some(task)
    }

    /// Whether a task stands right before a place.
    fn does_task(&self, index: usize) -> bool {
        let before = index.checked_sub(1);
        before.is_some_and(|before| self.task_after(before).is_some())
    }
}

/// Whether nothing of the answer itself is there.
fn is_unbegun(answer: &Answer) -> bool {
    answer.text.is_empty() && answer.calls.is_empty()
}

/// Puts the results of each turn that have an id into the order of the calls; one of no known call
/// counts as first.
fn sort_results(steps: &mut [Step<'_>]) {
    let mut order: HashMap<&str, usize> = HashMap::new();
    for turn in steps.chunk_by_mut(|step, next| is_turn(step) && is_turn(next)) {
        if let [
            Step {
                message: Message::Assistant { answer, .. },
                ..
            },
        ] = turn
            && !answer.calls.is_empty()
        {
            let ids = answer.calls.iter().rev();
            let ids = ids.map(|call| call.id.as_deref().unwrap_or_default());
            order = ids.zip((0..answer.calls.len()).rev()).collect();
        }
        sort_turn(turn, &order);
    }
}

fn is_turn(step: &Step<'_>) -> bool {
    matches!(step.message, Message::User { .. } | Message::Tool { .. })
}

fn sort_turn(turn: &mut [Step<'_>], order: &HashMap<&str, usize>) {
    let id = |step: &Step<'_>| match step.message {
        Message::Tool { call, .. } => call.clone(),
        _ => None,
    };
    let mut results: Vec<Step<'_>> = turn
        .iter()
        .filter(|step| id(step).is_some())
        .cloned()
        .collect();
    results.sort_by_key(|step| {
        id(step)
            .and_then(|id| order.get(&*id).copied())
            .unwrap_or(0)
    });
    let places = turn.iter_mut().filter(|step| id(step).is_some());
    for (place, result) in places.zip(results) {
        *place = result;
    }
}

/// Text with a placeholder for each medium.
fn words(content: &Content) -> Prompt {
    let word = |part: &Part| match part {
        Part::Text(_) | Part::Other(_) => Prompt::plain(part.text()),
        Part::Image(_) => Prompt::special(marker::IMAGE),
        Part::Audio(_) => Prompt::special(marker::AUDIO),
        Part::Video(_) => Prompt::special(marker::VIDEO),
    };
    let words: Vec<Prompt> = content.0.iter().map(word).collect();
    Prompt::join(&words, "\n\n")
}

/// The model's own words, in which the markers of grounding mean what they say.
fn push_grounded(prompt: &mut Prompt, text: &str) {
    let markers = AhoCorasick::new(marker::GROUNDING).expect("eight words make a matcher");
    let (mut rest, mut read) = (text, 0);
    for found in markers.find_iter(text) {
        let (plain, tail) = rest.split_at(found.start() - read);
        let (marker, tail) = tail.split_at(found.len());
        prompt.push_plain(plain);
        prompt.push_special(marker);
        (rest, read) = (tail, found.end());
    }
    prompt.push_plain(rest);
}

fn push_calls(prompt: &mut Prompt, calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    let dsml = Special(marker::DSML);
    let call = |call: &Call| {
        let arguments: Vec<Prompt> = call.members().iter().map(argument).collect();
        let (name, arguments) = (&call.name, Prompt::join(&arguments, "\n"));
        prompt!("<{dsml} invoke name=\"{name}\">\n{arguments}\n</{dsml} invoke>")
    };
    let calls: Vec<Prompt> = calls.iter().map(call).collect();
    let calls = Prompt::join(&calls, "\n");
    *prompt += prompt!("\n\n<{dsml} calls>\n{calls}\n</{dsml} calls>");
}

fn argument((key, value): &(String, Json)) -> Prompt {
    let dsml = Special(marker::DSML);
    let (is_string, value) = match value.string() {
        Some(text) => ("true", text),
        None => ("false", value.spaced()),
    };
    prompt!("<{dsml} parameter name=\"{key}\" string=\"{is_string}\">{value}</{dsml} parameter>")
}

/// The tools of a message, each as a line.
fn lines(tools: &[Tool]) -> Result<Vec<String>> {
    let line = |(index, tool): (usize, &Tool)| {
        let function = wire::shown(&tool.0).map_err(|source| Error::Tool { index, source })?;
        let line = Json::object([
            ("name", Json::from(&*function.name)),
            ("description", Json::from(&*function.description)),
            ("parameters", function.parameters),
        ]);
        Ok(line.spaced())
    };
    tools.iter().enumerate().map(line).collect()
}
