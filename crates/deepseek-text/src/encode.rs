//! A conversation to a prompt, as the encoder released with V4 writes it.
//!
//! The vendor's crate renders the prompt of later checkpoints, which differs (see the README), so
//! the layout stands here; the fixed texts, the prompt type and the JSON style are the vendor's.

use std::collections::HashMap;

use deepseek_recipe_core::conversation::ReasoningEffort;
use deepseek_recipe_core::json::stringify_python_style;
use deepseek_recipe_core::prompt;
use deepseek_recipe_core::prompt::{Prompt, Special};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::fixed;
use crate::message::{Answer, Brief, Call, Conversation, Message, Task};
use crate::reader::Start;
use crate::tokenizer::{Tokenizer, marker};

/// How a prompt is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Whether the answer begins with reasoning.
    pub mode: Mode,
    /// How hard to think. Chat mode ignores it.
    pub effort: Effort,
    /// Which words the checkpoint was trained with.
    pub edition: Edition,
    /// Forget the reasoning of earlier answers. Tools anywhere in the conversation overrule it.
    pub drop_thinking: bool,
    /// Begin with the begin-of-sentence marker.
    pub bos: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::Thinking,
            effort: Effort::High,
            edition: Edition::First,
            drop_thinking: true,
            bos: true,
        }
    }
}

/// Whether the answer begins with reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Answer at once.
    Chat,
    /// Reason first.
    Thinking,
}

/// How hard to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Less than usual. The first edition knows no less than usual.
    Low,
    /// As usual.
    High,
    /// All that is possible.
    Max,
}

/// Which words say how hard to think: a fact of the checkpoint, not of the model's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edition {
    /// The first checkpoints: no words but for [`Effort::Max`].
    First,
    /// The refreshed ones: their `High` has the words of the first `Max`, and `Max` new ones.
    Refreshed,
}

/// A prompt, ready for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The prompt with its markers spelled out; to be shown, never to be tokenised again.
    pub text: String,
    /// The prompt.
    pub ids: Vec<u32>,
    /// Where the model's words begin; what the [`Reader`](crate::Reader) has to know.
    pub start: Start,
}

/// Writes a conversation as a prompt. Its markers are control tokens; its text never is.
///
/// # Errors
/// [`Error::MissingMarker`](crate::Error::MissingMarker) if the tokenizer lacks a marker that this
/// conversation needs, and those of [`Tokenizer::encode`].
pub fn encode(
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    options: &Options,
) -> Result<Encoded> {
    let page = Page::new(conversation, options);
    let (text, markers) = page.render().into_parts();
    let ids = tokenizer.encode_ranges(&text, &markers)?;
    Ok(Encoded {
        text,
        ids,
        start: page.start(),
    })
}

/// One stretch of the prompt: a message, or a user turn with the tool results before it.
#[derive(Debug)]
struct Step<'a> {
    kind: Kind<'a>,
    task: Option<Task>,
}

#[derive(Debug)]
enum Kind<'a> {
    System(&'a Brief),
    Developer(&'a Brief),
    User(Vec<Block<'a>>),
    LatestReminder(&'a str),
    Assistant { answer: &'a Answer, open: bool },
}

/// A part of a user turn.
#[derive(Debug, Clone, Copy)]
enum Block<'a> {
    Text(&'a str),
    Result { call: &'a str, text: &'a str },
}

impl Kind<'_> {
    fn asks(&self) -> bool {
        matches!(self, Self::User(_) | Self::Developer(_))
    }
}

/// A conversation in the order and the pieces in which it is written.
#[derive(Debug)]
struct Page<'a> {
    steps: Vec<Step<'a>>,
    /// The last step that asks.
    last_ask: Option<usize>,
    /// Whether reasoning before the last question is left out.
    drops: bool,
    options: Options,
}

impl<'a> Page<'a> {
    fn new(conversation: &'a Conversation, options: &Options) -> Self {
        let mut steps = gather(&conversation.messages);
        sort_results(&mut steps);
        let drops = options.drop_thinking && !steps.iter().any(declares_tools);
        if drops && options.mode == Mode::Thinking {
            let last_ask = steps.iter().rposition(|step| step.kind.asks()).unwrap_or(0);
            let mut index = 0..;
            steps.retain(|step| {
                index.next() >= Some(last_ask) || !matches!(step.kind, Kind::Developer(_))
            });
        }
        let last_ask = steps.iter().rposition(|step| step.kind.asks());
        Self {
            steps,
            last_ask,
            drops,
            options: *options,
        }
    }

    fn render(&self) -> Prompt {
        let mut prompt = Prompt::new();
        if self.options.bos {
            prompt.push_special(marker::BOS);
        }
        if !self.steps.is_empty() {
            prompt += self.effort();
        }
        for (index, step) in self.steps.iter().enumerate() {
            self.push_step(&mut prompt, index, &step.kind);
            let next = self.steps.get(index + 1).map(|step| &step.kind);
            if matches!(
                next,
                None | Some(Kind::Assistant { .. } | Kind::LatestReminder(_))
            ) {
                self.push_turn(&mut prompt, index, step);
            }
        }
        prompt
    }

    /// Where the model's words begin.
    fn start(&self) -> Start {
        match self.steps.last() {
            Some(Step { kind, task: None }) if kind.asks() => match self.options.mode {
                Mode::Thinking => Start::Reasoning,
                Mode::Chat => Start::Answer,
            },
            _ => Start::Continuation,
        }
    }

    fn effort(&self) -> Prompt {
        if self.options.mode == Mode::Chat {
            return Prompt::new();
        }
        match (self.options.edition, self.options.effort) {
            (Edition::First, Effort::Low | Effort::High) | (Edition::Refreshed, Effort::Low) => {
                Prompt::new()
            }
            (Edition::First, Effort::Max) | (Edition::Refreshed, Effort::High) => {
                fixed::effort(ReasoningEffort::High)
            }
            (Edition::Refreshed, Effort::Max) => fixed::effort(ReasoningEffort::Max),
        }
    }

    fn push_step(&self, prompt: &mut Prompt, index: usize, kind: &Kind<'_>) {
        match kind {
            Kind::System(brief) => push_brief(prompt, brief),
            Kind::Developer(brief) => {
                prompt.push_special(marker::USER);
                push_brief(prompt, brief);
            }
            Kind::User(blocks) => {
                prompt.push_special(marker::USER);
                let blocks: Vec<String> = blocks.iter().map(Block::render).collect();
                prompt.push_plain(blocks.join("\n\n"));
            }
            Kind::LatestReminder(text) => {
                prompt.push_special(marker::LATEST_REMINDER);
                prompt.push_plain(text);
            }
            Kind::Assistant { answer, open } => {
                if self.shows_reasoning(index) {
                    prompt.push_plain(&answer.reasoning);
                    prompt.push_special(marker::THINK_END);
                }
                prompt.push_plain(&answer.text);
                push_calls(prompt, &answer.calls);
                if !open {
                    prompt.push_special(marker::EOS);
                }
            }
        }
    }

    fn shows_reasoning(&self, index: usize) -> bool {
        let does_task = index
            .checked_sub(1)
            .is_some_and(|before| self.steps[before].task.is_some());
        self.options.mode == Mode::Thinking
            && !does_task
            && (!self.drops || self.last_ask.is_none_or(|ask| index > ask))
    }

    /// Hands the word to the model, where an answer or the end follows.
    fn push_turn(&self, prompt: &mut Prompt, index: usize, step: &Step<'_>) {
        let thinks = self.options.mode == Mode::Thinking;
        let opener = |opens: bool| {
            if opens {
                marker::THINK
            } else {
                marker::THINK_END
            }
        };
        match step.task {
            Some(Task::Action) => {
                prompt.push_special(marker::ASSISTANT);
                prompt.push_special(opener(thinks));
                prompt.push_special(marker::ACTION);
            }
            Some(task) => prompt.push_special(task_marker(task)),
            None if step.kind.asks() => {
                prompt.push_special(marker::ASSISTANT);
                let is_last = self.last_ask.is_none_or(|ask| index >= ask);
                prompt.push_special(opener(thinks && (!self.drops || is_last)));
            }
            None => {}
        }
    }
}

impl Block<'_> {
    fn render(&self) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Result { text, .. } => format!("<tool_result>{text}</tool_result>"),
        }
    }
}

/// Joins tool results, and what the user says after them, into one user turn.
fn gather(messages: &[Message]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for message in messages {
        let (kind, task) = match message {
            Message::System(brief) => (Kind::System(brief), brief.task),
            Message::Developer(brief) => (Kind::Developer(brief), brief.task),
            Message::LatestReminder { text } => (Kind::LatestReminder(text), None),
            Message::Assistant { answer, task, open } => (
                Kind::Assistant {
                    answer,
                    open: *open,
                },
                *task,
            ),
            Message::User { text, task } => {
                let block = Block::Text(text);
                // A turn that asks for a task is closed to words, though not to results.
                if let Some(Step {
                    kind: Kind::User(blocks),
                    task: None,
                }) = steps.last_mut()
                {
                    blocks.push(block);
                    continue;
                }
                (Kind::User(vec![block]), *task)
            }
            Message::Tool { call, text } => {
                let block = Block::Result {
                    call: call.as_deref().unwrap_or_default(),
                    text,
                };
                if let Some(Step {
                    kind: Kind::User(blocks),
                    ..
                }) = steps.last_mut()
                {
                    blocks.push(block);
                    continue;
                }
                (Kind::User(vec![block]), None)
            }
        };
        steps.push(Step { kind, task });
    }
    steps
}

/// Puts the results of a turn into the order of the calls; one of no known call counts as first.
fn sort_results(steps: &mut [Step<'_>]) {
    let mut order: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        match &mut step.kind {
            Kind::Assistant { answer, .. } if !answer.calls.is_empty() => {
                let ids = answer
                    .calls
                    .iter()
                    .map(|call| call.id.as_deref().unwrap_or_default());
                order = ids.zip(0..).filter(|(id, _)| !id.is_empty()).collect();
            }
            Kind::User(blocks) => {
                let is_result = |block: &&mut Block<'_>| matches!(block, Block::Result { .. });
                let mut results: Vec<Block<'_>> = blocks
                    .iter_mut()
                    .filter(is_result)
                    .map(|block| *block)
                    .collect();
                results.sort_by_key(|block| match block {
                    Block::Result { call, .. } => order.get(call).copied().unwrap_or(0),
                    Block::Text(_) => 0,
                });
                for (place, result) in blocks.iter_mut().filter(is_result).zip(results) {
                    *place = result;
                }
            }
            _ => {}
        }
    }
}

fn declares_tools(step: &Step<'_>) -> bool {
    match step.kind {
        Kind::System(brief) | Kind::Developer(brief) => !brief.tools.is_empty(),
        Kind::User(_) | Kind::LatestReminder(_) | Kind::Assistant { .. } => false,
    }
}

fn push_brief(prompt: &mut Prompt, brief: &Brief) {
    prompt.push_plain(&brief.text);
    if !brief.tools.is_empty() {
        *prompt += fixed::tools(brief.tools.iter().map(|tool| &tool.0));
    }
    if let Some(schema) = &brief.response_format {
        *prompt += fixed::response_format(schema);
    }
}

fn push_calls(prompt: &mut Prompt, calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    let dsml = Special(marker::DSML);
    *prompt += prompt!("\n\n<{dsml}tool_calls>\n");
    for call in calls {
        let arguments: Vec<Prompt> = arguments(call).iter().map(argument).collect();
        let (name, arguments) = (&call.name, Prompt::join(&arguments, "\n"));
        *prompt += prompt!("<{dsml}invoke name=\"{name}\">\n{arguments}\n</{dsml}invoke>\n");
    }
    *prompt += prompt!("</{dsml}tool_calls>");
}

fn argument((key, value): (&String, &Value)) -> Prompt {
    let dsml = Special(marker::DSML);
    let (is_string, value) = match value {
        Value::String(text) => ("true", text.clone()),
        other => ("false", stringify_python_style(other)),
    };
    prompt!("<{dsml}parameter name=\"{key}\" string=\"{is_string}\">{value}</{dsml}parameter>")
}

/// The arguments by name; what is no JSON object becomes one string of the name `arguments`.
fn arguments(call: &Call) -> Map<String, Value> {
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| {
        Map::from_iter([(
            "arguments".to_owned(),
            Value::String(call.arguments.clone()),
        )])
    })
}

fn task_marker(task: Task) -> &'static str {
    match task {
        Task::Action => marker::ACTION,
        Task::Query => marker::QUERY,
        Task::Authority => marker::AUTHORITY,
        Task::Domain => marker::DOMAIN,
        Task::Title => marker::TITLE,
        Task::ReadUrl => marker::READ_URL,
    }
}
