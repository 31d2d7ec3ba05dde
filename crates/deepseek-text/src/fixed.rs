//! The fixed texts of the prompts of V4 and V4.1, as the vendor's renderers write them.
//!
//! The texts are not copied: a conversation that holds nothing else is rendered, and what the
//! renderer puts around it is taken off. The vectors hold the bytes to account.

use deepseek_recipe_core::conversation::{Conversation, ReasoningEffort, ResponseFormat};
use deepseek_recipe_core::messages::InputMessage;
use deepseek_recipe_core::prompt::Prompt;
use deepseek_recipe_core::tools::ToolDefinition;
use deepseek_recipe_encoding::dsv4::DeepseekV4Encoding;
use deepseek_recipe_encoding::dsv41::DeepseekV41Encoding;
use deepseek_recipe_encoding::{PromptEncoding, RenderedPrompt};
use serde_json::Value;

use crate::json::Json;
use crate::tokenizer::marker;

/// What an order to think harder says to V4, ending with two line breaks.
pub(crate) fn effort(effort: ReasoningEffort) -> Prompt {
    body(&DeepseekV4Encoding::new(), &thoughtful(effort))
}

/// What V4.1 is told about how hard to think, ending with two line breaks.
pub(crate) fn score(score: u8) -> Prompt {
    const HIGH: &str = "75";
    let line = body(
        &DeepseekV41Encoding::new(),
        &thoughtful(ReasoningEffort::High),
    );
    Prompt::plain(line.as_str().replacen(HIGH, &score.to_string(), 1))
}

fn thoughtful(effort: ReasoningEffort) -> Conversation {
    Conversation {
        reasoning_effort: Some(effort),
        messages: vec![system(None)],
        ..Conversation::default()
    }
}

/// The tool block of V4: two line breaks, the instructions, one tool a line, the reminder.
pub(crate) fn tools(lines: &[String]) -> Prompt {
    tool_block(&DeepseekV4Encoding::new(), lines)
}

/// The same for V4.1.
pub(crate) fn tools_v41(lines: &[String]) -> Prompt {
    tool_block(&DeepseekV41Encoding::new(), lines)
}

fn tool_block(encoding: &impl PromptEncoding, lines: &[String]) -> Prompt {
    let block = body(
        encoding,
        &Conversation {
            thinking_mode: false,
            tools: vec![nameless()],
            ..Conversation::default()
        },
    );
    replace(block, NAMELESS, &lines.join("\n"))
}

/// What V4.1 says of tools that are declared later, one a line.
pub(crate) fn later_tools(lines: &[String]) -> Prompt {
    let listed = body(
        &DeepseekV41Encoding::new(),
        &Conversation {
            thinking_mode: false,
            messages: vec![system(Some(vec![nameless()]))],
            ..Conversation::default()
        },
    );
    replace(listed, NAMELESS, &lines.join("\n"))
}

/// The order to follow a schema: two line breaks, the order, the schema.
pub(crate) fn response_format(schema: &Json) -> Prompt {
    let order = body(
        &DeepseekV4Encoding::new(),
        &Conversation {
            thinking_mode: false,
            response_format: ResponseFormat::JsonSchema(Value::Null),
            ..Conversation::default()
        },
    );
    replace(order, "null", &schema.spaced())
}

/// How the vendor prints a tool without anything.
const NAMELESS: &str = r#"{"name": "", "description": "", "parameters": null}"#;

fn nameless() -> ToolDefinition {
    ToolDefinition {
        name: String::new(),
        description: None,
        parameters: Value::Null,
        strict: None,
        defer_loading: false,
    }
}

fn system(tools: Option<Vec<ToolDefinition>>) -> InputMessage {
    InputMessage::System {
        content: Prompt::new(),
        image_sources: Vec::new(),
        tools,
    }
}

/// Puts words in the place of the last `stand_in`.
fn replace(mut prompt: Prompt, stand_in: &str, words: &str) -> Prompt {
    let found = prompt.as_str().rfind(stand_in);
    let mut tail = prompt.split_off(found.expect("the vendor prints what it is given"));
    let tail = tail.split_off(stand_in.len());
    prompt.push_plain(words);
    prompt + &tail
}

/// What the vendor renders between the first markers and the header of the answer.
fn body(encoding: &impl PromptEncoding, conversation: &Conversation) -> Prompt {
    let rendered = encoding.render_conversation(conversation);
    let pieces = pieces(&rendered);
    let head = [marker::BOS, marker::SYSTEM].map(Piece::Marker);
    let foot = [marker::ASSISTANT, marker::THINK, marker::THINK_END].map(Piece::Marker);
    let from = pieces
        .iter()
        .take_while(|piece| head.contains(piece))
        .count();
    let tail = pieces
        .iter()
        .rev()
        .take_while(|piece| foot.contains(piece))
        .count();
    join(&pieces[from..pieces.len() - tail])
}

/// A piece of what the vendor renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece<'a> {
    Plain(&'a str),
    Marker(&'a str),
}

/// A rendered prompt, piece by piece; none is empty.
fn pieces(rendered: &RenderedPrompt) -> Vec<Piece<'_>> {
    let text = |range| {
        let found = rendered.prompt.get(range);
        found.expect("markers lie on characters")
    };
    let mut pieces = Vec::new();
    let mut from = 0;
    for range in &rendered.special_ranges {
        pieces.push(Piece::Plain(text(from..range.start)));
        pieces.push(Piece::Marker(text(range.clone())));
        from = range.end;
    }
    pieces.push(Piece::Plain(text(from..rendered.prompt.len())));
    pieces.retain(|piece| *piece != Piece::Plain(""));
    pieces
}

/// The prompt that pieces make.
fn join(pieces: &[Piece<'_>]) -> Prompt {
    let mut prompt = Prompt::new();
    for piece in pieces {
        match piece {
            Piece::Plain(text) => prompt.push_plain(text),
            Piece::Marker(text) => prompt.push_special(text),
        }
    }
    prompt
}
