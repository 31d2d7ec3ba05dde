//! The layout of a V4.1 prompt: the vendor's renderer, and what it does not know.
//!
//! The renderer writes the whole prompt (spec `deepseek-v41.md` §6.2, §6.3). Ours are efforts
//! between its three, and the auxiliary tasks.

use std::ops::RangeFrom;

use deepseek_recipe_core::conversation::{Conversation as Sheet, ReasoningEffort, ResponseFormat};
use deepseek_recipe_core::messages::{InputMessage, ToolCall};
use deepseek_recipe_core::multimodal::{ImageDetail, ImageSource};
use deepseek_recipe_core::prompt::Prompt;
use deepseek_recipe_core::special_tokens::SpecialTokensMap;
use deepseek_recipe_core::tools::{self, ToolDefinition};
use deepseek_recipe_encoding::PromptEncoding;
use deepseek_recipe_encoding::dsv41::DeepseekV41Encoding;
use serde_json::Map;

use crate::encode::{Mode, Options, Rendered, ToolChoice, opener, task_marker};
use crate::error::{Error, Result};
use crate::fixed::{Piece, join, pieces};
use crate::message::{Brief, Call, Content, Conversation, Message, Part, Task, Tool};
use crate::reader::{Stage, Start};
use crate::tokenizer::marker;
use crate::wire;

/// What the vendor writes for [`ReasoningEffort::High`], the first number of such a prompt.
const SCORE: &str = "75";

/// Renders a conversation; `score` is how hard to think.
pub(crate) fn render(
    conversation: &Conversation,
    options: &Options,
    score: Option<u8>,
) -> Result<Rendered> {
    let sheet = translate(conversation, options)?;
    let encoding = DeepseekV41Encoding::new().with_special_tokens(SpecialTokensMap {
        image: marker::IMAGE.to_owned(),
        ..SpecialTokensMap::default()
    });
    let rendered = encoding.render_conversation(&sheet);
    let pieces = place_tasks(&pieces(&rendered), options.mode);
    let start = start(&pieces, &sheet);
    let mut prompt = join(pieces);
    if let Some(score) = score.filter(|_| sheet.thinking_mode && !sheet.messages.is_empty()) {
        write_score(&mut prompt, score);
    }
    if !options.bos {
        prompt = prompt.split_off(marker::BOS.len());
    }
    let media = rendered.image_sources.into_iter().filter_map(number);
    Ok(Rendered {
        prompt,
        media: media.collect(),
        start,
    })
}

/// The conversation in the vendor's terms. A task becomes a system message that holds its marker
/// alone, which [`place_tasks`] recognises.
fn translate(conversation: &Conversation, options: &Options) -> Result<Sheet> {
    let mut sheet = Sheet {
        thinking_mode: options.mode == Mode::Thinking,
        tool_choice: match options.tool_choice {
            ToolChoice::Auto => tools::ToolChoice::Auto,
            ToolChoice::None => tools::ToolChoice::None,
            ToolChoice::Required => tools::ToolChoice::Required,
        },
        reasoning_effort: Some(ReasoningEffort::High),
        ..Sheet::default()
    };
    let mut messages = conversation.messages.iter().peekable();
    let mut media = 0..;
    let mut before = None;
    while let Some(message) = messages.next() {
        let tools = match message.brief() {
            Some(brief) => declare(&mut sheet, brief, options.tool_choice)?,
            None => None,
        };
        sheet
            .messages
            .push(said(message, &mut media, before, tools));
        before = message.task();
        let is_answered = matches!(
            messages.peek(),
            None | Some(Message::Assistant { .. } | Message::LatestReminder { .. })
        );
        if let Some(task) = before.filter(|_| is_answered) {
            sheet.messages.push(InputMessage::System {
                content: Prompt::special(task_marker(task)),
                image_sources: Vec::new(),
                tools: None,
            });
        }
    }
    Ok(sheet)
}

/// Tells the conversation of what a message declares. Returns the tools that the message lists
/// itself: those of the first are in the tool block.
fn declare(
    sheet: &mut Sheet,
    brief: &Brief,
    choice: ToolChoice,
) -> Result<Option<Vec<ToolDefinition>>> {
    if let Some(schema) = &brief.response_format {
        sheet.response_format = ResponseFormat::JsonSchema(schema.clone());
    }
    if choice == ToolChoice::None {
        return Ok(None);
    }
    let is_later = !sheet.messages.is_empty();
    let tools = definitions(&brief.tools, is_later)?;
    sheet.tools.extend_from_slice(&tools);
    Ok(is_later.then_some(tools))
}

/// A message with the `tools` that it lists, after one that asked for the task `before`. `media`
/// numbers what is no text.
fn said(
    message: &Message,
    media: &mut RangeFrom<usize>,
    before: Option<Task>,
    tools: Option<Vec<ToolDefinition>>,
) -> InputMessage {
    match message {
        Message::System(Brief { content, .. }) | Message::Developer(Brief { content, .. }) => {
            let (content, image_sources) = words(content, media);
            InputMessage::System {
                content,
                image_sources,
                tools,
            }
        }
        Message::User { content, .. } => {
            let (content, image_sources) = words(content, media);
            InputMessage::User {
                content,
                image_sources,
            }
        }
        Message::Tool { call, content } => {
            let (content, image_sources) = words(content, media);
            InputMessage::Tool {
                content,
                image_sources,
                tool_call_id: call.clone(),
            }
        }
        Message::LatestReminder { text } => InputMessage::LatestReminder {
            content: text.clone(),
        },
        Message::Assistant { answer, open, .. } => InputMessage::Assistant {
            content: answer.text.clone(),
            // What answers a task was never reasoned about.
            reasoning_content: before.is_none().then(|| answer.reasoning.clone()),
            tool_calls: Some(answer.calls.iter().map(call).collect()),
            prefix: *open,
        },
    }
}

/// Text with a placeholder for each medium, and the media. The vendor's renderer knows pictures
/// alone, but looks at none of them: whatever it is, a medium goes through it as a number.
fn words(content: &Content, media: &mut RangeFrom<usize>) -> (Prompt, Vec<ImageSource>) {
    let mut sources = Vec::new();
    let mut words = Vec::new();
    for part in &content.0 {
        let marker = match part {
            Part::Text(text) => {
                words.push(Prompt::plain(text));
                continue;
            }
            Part::Image(_) => marker::IMAGE,
            Part::Audio(_) => marker::AUDIO,
            Part::Video(_) => marker::VIDEO,
        };
        words.push(Prompt::special(marker));
        sources.extend(media.next().map(|number| ImageSource::Url {
            url: number.to_string(),
            detail: ImageDetail::default(),
            path: String::new(),
        }));
    }
    (Prompt::join(&words, "\n\n"), sources)
}

fn number(source: ImageSource) -> Option<usize> {
    match source {
        ImageSource::Url { url, .. } => url.parse().ok(),
        ImageSource::DataUrl { .. } | ImageSource::Bytes { .. } => None,
    }
}

fn call(call: &Call) -> ToolCall {
    ToolCall {
        id: call.id.clone().unwrap_or_default(),
        name: call.name.clone(),
        arguments: call.arguments.clone(),
    }
}

/// The tools of a message. Those of a `later` one stand in it, and not in the tool block.
fn definitions(tools: &[Tool], is_later: bool) -> Result<Vec<ToolDefinition>> {
    let definition = |(index, tool): (usize, &Tool)| {
        let function = wire::shown(&tool.0).map_err(|source| Error::Tool { index, source })?;
        Ok(ToolDefinition {
            name: function.name,
            description: function.description,
            parameters: function.parameters.unwrap_or_else(|| Map::new().into()),
            strict: None,
            defer_loading: is_later,
        })
    };
    tools.iter().enumerate().map(definition).collect()
}

/// Puts each task where the release has it: in the place of the header of the answer, or behind it.
fn place_tasks<'a>(pieces: &[Piece<'a>], mode: Mode) -> Vec<Piece<'a>> {
    let is_header = |piece: &Piece<'_>| {
        [marker::ASSISTANT, marker::THINK, marker::THINK_END]
            .map(Piece::Marker)
            .contains(piece)
    };
    let mut placed = Vec::with_capacity(pieces.len());
    let mut rest = pieces;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match tail {
            [Piece::Marker(task), tail @ ..]
                if *first == Piece::Marker(marker::SYSTEM) && is_task(task) =>
            {
                if *task == marker::ACTION {
                    placed.extend([marker::ASSISTANT, opener(mode)].map(Piece::Marker));
                }
                placed.push(Piece::Marker(task));
                let header = tail.iter().take_while(|piece| is_header(piece)).count();
                rest = &tail[header..];
            }
            _ => placed.push(*first),
        }
    }
    placed
}

fn is_task(text: &str) -> bool {
    Task::ALL.into_iter().any(|task| task_marker(task) == text)
}

/// Where the model's words begin, by what was written last.
fn start(pieces: &[Piece<'_>], sheet: &Sheet) -> Start {
    let calls = !sheet.tools.is_empty();
    let header = pieces
        .iter()
        .rposition(|piece| *piece == Piece::Marker(marker::ASSISTANT));
    let answer = header.map_or(&[][..], |at| &pieces[at + 1..]);
    let closed = Piece::Marker(marker::THINK_END);
    let stage = match answer {
        _ if calls && sheet.tool_choice == tools::ToolChoice::Required => Stage::Calls,
        [.., Piece::Marker(task)] if is_task(task) => Stage::Continuation,
        [Piece::Marker(marker::THINK)] => Stage::Reasoning,
        [Piece::Marker(marker::THINK_END)] => Stage::Answer,
        [Piece::Marker(marker::THINK), words @ ..] if !words.contains(&closed) => {
            Stage::OpenReasoning
        }
        _ => Stage::Continuation,
    };
    Start { stage, calls }
}

/// Says how hard to think, in the place of the vendor's word for it.
fn write_score(prompt: &mut Prompt, score: u8) {
    let at = prompt
        .as_str()
        .find(SCORE)
        .expect("the prompt begins with the effort");
    let tail = prompt.split_off(at).split_off(SCORE.len());
    prompt.push_plain(score.to_string());
    *prompt += tail;
}
