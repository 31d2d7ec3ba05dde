//! The fixed texts of the V4 prompt, as the vendor's renderer writes them.
//!
//! The texts are not copied: a conversation that holds nothing else is rendered, and what the
//! renderer puts around it is taken off. The vectors hold the bytes to account.

use deepseek_recipe_core::conversation::{Conversation, ReasoningEffort, ResponseFormat};
use deepseek_recipe_core::json::stringify_python_style;
use deepseek_recipe_core::prompt::Prompt;
use deepseek_recipe_core::tools::ToolDefinition;
use deepseek_recipe_encoding::dsv4::DeepseekV4Encoding;
use deepseek_recipe_encoding::{PromptEncoding, RenderedPrompt};
use serde_json::Value;

use crate::tokenizer::marker;

/// What an order to think harder says, ending with two line breaks.
pub(crate) fn effort(effort: ReasoningEffort) -> Prompt {
    body(&Conversation {
        reasoning_effort: Some(effort),
        ..Conversation::default()
    })
}

/// The tool block: two line breaks, the instructions, one object a line, the reminder.
pub(crate) fn tools<'a>(functions: impl Iterator<Item = &'a Value>) -> Prompt {
    let nameless = ToolDefinition {
        name: String::new(),
        description: None,
        parameters: Value::Null,
        strict: None,
        defer_loading: false,
    };
    let mut head = body(&Conversation {
        thinking_mode: false,
        tools: vec![nameless],
        ..Conversation::default()
    });
    let line = r#"{"name": "", "description": "", "parameters": null}"#;
    let at = head
        .as_str()
        .find(line)
        .expect("the vendor prints a tool as one line");
    let mut tail = head.split_off(at);
    let tail = tail.split_off(line.len());
    let lines: Vec<String> = functions.map(stringify_python_style).collect();
    head.push_plain(lines.join("\n"));
    head + &tail
}

/// The order to follow a schema: two line breaks, the order, the schema.
pub(crate) fn response_format(schema: &Value) -> Prompt {
    let mut prompt = body(&Conversation {
        thinking_mode: false,
        response_format: ResponseFormat::JsonSchema(Value::Null),
        ..Conversation::default()
    });
    let at = prompt.as_str().len() - "null".len();
    drop(prompt.split_off(at));
    prompt.push_plain(stringify_python_style(schema));
    prompt
}

/// What the vendor renders between the begin-of-sentence and the header of the answer.
fn body(conversation: &Conversation) -> Prompt {
    let rendered = DeepseekV4Encoding::new().render_conversation(conversation);
    let opener = if conversation.thinking_mode {
        marker::THINK
    } else {
        marker::THINK_END
    };
    let mut prompt = join(pieces(&rendered));
    let end = prompt.as_str().len() - marker::ASSISTANT.len() - opener.len();
    drop(prompt.split_off(end));
    prompt.split_off(marker::BOS.len())
}

/// A piece of what the vendor renders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Plain(&'a str),
    Marker(&'a str),
}

/// A rendered prompt, piece by piece; none is empty.
pub(crate) fn pieces(rendered: &RenderedPrompt) -> Vec<Piece<'_>> {
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
pub(crate) fn join<'a>(pieces: impl IntoIterator<Item = Piece<'a>>) -> Prompt {
    let mut prompt = Prompt::new();
    for piece in pieces {
        match piece {
            Piece::Plain(text) => prompt.push_plain(text),
            Piece::Marker(text) => prompt.push_special(text),
        }
    }
    prompt
}
