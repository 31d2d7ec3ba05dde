//! The layout of a prompt as the encoder released with V4 writes it.
//!
//! The vendor's crate renders the prompt of later checkpoints, which differs (see the README), so
//! the layout stands here; the fixed texts and the prompt type are the vendor's.

use std::borrow::Cow;
use std::collections::HashMap;

use deepseek_recipe_core::conversation::ReasoningEffort;
use deepseek_recipe_core::prompt;
use deepseek_recipe_core::prompt::{Prompt, Special};

use crate::fixed;
use crate::json::Json;
use crate::layout::{Rendered, opener, task_marker};
use crate::message::{Answer, Brief, Call, Conversation, Message, Task, Tool};
use crate::options::{Mode, Options, ToolChoice};
use crate::start::{Stage, Start};
use crate::tokenizer::marker;

/// Renders a conversation; `effort` says which order to think harder it begins with.
pub(crate) fn render(
    conversation: &Conversation,
    options: &Options,
    effort: Option<ReasoningEffort>,
) -> Rendered {
    let page = Page::new(conversation, options, effort);
    Rendered {
        prompt: page.render(),
        media: Vec::new(),
        start: page.start(),
    }
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
#[derive(Debug, Clone)]
enum Block<'a> {
    Text(Cow<'a, str>),
    Result { call: &'a str, text: Cow<'a, str> },
}

impl Kind<'_> {
    fn asks(&self) -> bool {
        matches!(self, Self::User(_) | Self::Developer(_))
    }

    fn answers(&self) -> bool {
        matches!(self, Self::Assistant { .. })
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
    effort: Option<ReasoningEffort>,
}

impl<'a> Page<'a> {
    fn new(
        conversation: &'a Conversation,
        options: &Options,
        effort: Option<ReasoningEffort>,
    ) -> Self {
        let mut steps = gather(&conversation.messages);
        sort_results(&mut steps);
        let shows_tools = steps.iter().any(|step| !tools(step, options).is_empty());
        let drops = options.drop_thinking && !shows_tools;
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
            effort,
        }
    }

    fn render(&self) -> Prompt {
        let mut prompt = Prompt::new();
        if self.options.bos {
            prompt.push_special(marker::BOS);
        }
        if !self.steps.is_empty() && self.options.mode == Mode::Thinking {
            prompt += self.effort.map(fixed::effort).unwrap_or_default();
        }
        for (index, step) in self.steps.iter().enumerate() {
            self.push_step(&mut prompt, index, &step.kind);
            let next = self.steps.get(index + 1).map(|step| &step.kind);
            match next {
                None | Some(Kind::Assistant { .. }) => self.push_turn(&mut prompt, index, step),
                Some(Kind::LatestReminder(_)) => self.push_task(&mut prompt, step),
                Some(_) => {}
            }
        }
        if self.opens_calls() {
            let dsml = Special(marker::DSML);
            prompt += prompt!("\n\n<{dsml}tool_calls>\n");
        }
        prompt
    }

    /// Whether tools are shown.
    fn declares(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| !tools(step, &self.options).is_empty())
    }

    /// Whether the prompt ends within a tool block.
    fn opens_calls(&self) -> bool {
        self.options.tool_choice == ToolChoice::Required && self.declares()
    }

    /// Where the model's words begin: what [`push_turn`](Self::push_turn) wrote last.
    fn start(&self) -> Start {
        let stage = match self.steps.last() {
            _ if self.opens_calls() => Stage::Calls,
            Some(Step { kind, task: None }) if !kind.answers() => Stage::of(self.options.mode),
            _ => Stage::Continuation,
        };
        Start {
            stage,
            calls: self.declares(),
        }
    }

    fn push_step(&self, prompt: &mut Prompt, index: usize, kind: &Kind<'_>) {
        match kind {
            Kind::System(brief) => self.push_brief(prompt, brief),
            Kind::Developer(brief) => {
                prompt.push_special(marker::USER);
                self.push_brief(prompt, brief);
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

    fn push_brief(&self, prompt: &mut Prompt, brief: &Brief) {
        prompt.push_plain(brief.content.text());
        if !brief.tools.is_empty() && self.options.tool_choice != ToolChoice::None {
            let lines: Vec<String> = brief.tools.iter().map(|tool| tool.0.spaced()).collect();
            *prompt += fixed::tools(&lines);
        }
        if let Some(schema) = &brief.response_format {
            *prompt += fixed::response_format(schema);
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

    /// Hands the word to the model, where an answer or the end follows. The release does so after
    /// those who ask alone, so that an answer after a system text had no header.
    fn push_turn(&self, prompt: &mut Prompt, index: usize, step: &Step<'_>) {
        if step.task.is_some() {
            self.push_task(prompt, step);
        } else if !step.kind.answers() {
            prompt.push_special(marker::ASSISTANT);
            let is_last = self.last_ask.is_none_or(|ask| index >= ask);
            prompt.push_special(if !self.drops || is_last {
                opener(self.options.mode)
            } else {
                marker::THINK_END
            });
        }
    }

    fn push_task(&self, prompt: &mut Prompt, step: &Step<'_>) {
        let Some(task) = step.task else {
            return;
        };
        if task == Task::Action {
            prompt.push_special(marker::ASSISTANT);
            prompt.push_special(opener(self.options.mode));
        }
        prompt.push_special(task_marker(task));
    }
}

impl Block<'_> {
    fn render(&self) -> String {
        match self {
            Self::Text(text) => text.clone().into_owned(),
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
            Message::User { content, task } => {
                let block = Block::Text(content.text());
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
            Message::Tool { call, content } => {
                let block = Block::Result {
                    call: call.as_deref().unwrap_or_default(),
                    text: content.text(),
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
                    .map(|block| block.clone())
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

/// The tools that a message declares, so far as they are to be shown.
fn tools<'a>(step: &Step<'a>, options: &Options) -> &'a [Tool] {
    match (&step.kind, options.tool_choice) {
        (Kind::System(brief) | Kind::Developer(brief), ToolChoice::Auto | ToolChoice::Required) => {
            &brief.tools
        }
        _ => &[],
    }
}

fn push_calls(prompt: &mut Prompt, calls: &[Call]) {
    if calls.is_empty() {
        return;
    }
    let dsml = Special(marker::DSML);
    *prompt += prompt!("\n\n<{dsml}tool_calls>\n");
    for call in calls {
        let arguments: Vec<Prompt> = call.members().iter().map(argument).collect();
        let (name, arguments) = (&call.name, Prompt::join(&arguments, "\n"));
        *prompt += prompt!("<{dsml}invoke name=\"{name}\">\n{arguments}\n</{dsml}invoke>\n");
    }
    *prompt += prompt!("</{dsml}tool_calls>");
}

fn argument((key, value): &(String, Json)) -> Prompt {
    let dsml = Special(marker::DSML);
    let (is_string, value) = match value.string() {
        Some(text) => ("true", text),
        None => ("false", value.spaced()),
    };
    prompt!("<{dsml}parameter name=\"{key}\" string=\"{is_string}\">{value}</{dsml}parameter>")
}
