//! Messages as JSON, in the chat-completions form with the fields of V4.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use serde::Deserialize;
use serde_json::Value;

use crate::message::{self, Answer, Brief, Call, Task, Tool};

#[derive(Deserialize)]
pub(crate) struct Message {
    role: Role,
    content: Option<Content>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
    tool_call_id: Option<String>,
    tools: Option<Vec<ToolEntry>>,
    response_format: Option<Value>,
    task: Option<Task>,
    wo_eos: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    Developer,
    User,
    LatestReminder,
    Assistant,
    Tool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

#[derive(Deserialize)]
struct ToolCall {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

#[derive(Deserialize)]
struct ToolEntry {
    function: Value,
}

impl Content {
    /// The text parts, with a note in place of what is no text.
    fn into_text(self) -> String {
        let parts = match self {
            Self::Text(text) => return text,
            Self::Parts(parts) => parts,
        };
        let texts: Vec<String> = parts
            .into_iter()
            .map(|part| match part.r#type.as_str() {
                "text" => part.text.unwrap_or_default(),
                kind => format!("[Unsupported {kind}]"),
            })
            .collect();
        texts.join("\n\n")
    }
}

impl From<ToolCall> for Call {
    fn from(call: ToolCall) -> Self {
        Self {
            id: call.id,
            name: call.function.name,
            arguments: call.function.arguments,
        }
    }
}

impl From<Message> for message::Message {
    fn from(wire: Message) -> Self {
        let text = wire.content.map(Content::into_text).unwrap_or_default();
        let task = wire.task;
        let brief = |text| Brief {
            text,
            tools: wire
                .tools
                .into_iter()
                .flatten()
                .map(|tool| Tool(tool.function))
                .collect(),
            response_format: wire.response_format,
            task,
        };
        match wire.role {
            Role::System => Self::System(brief(text)),
            Role::Developer => Self::Developer(brief(text)),
            Role::User => Self::User { text, task },
            Role::LatestReminder => Self::LatestReminder { text },
            Role::Assistant => Self::Assistant {
                answer: Answer {
                    reasoning: wire.reasoning_content.unwrap_or_default(),
                    text,
                    calls: wire
                        .tool_calls
                        .into_iter()
                        .flatten()
                        .map(Call::from)
                        .collect(),
                },
                task,
                open: wire.wo_eos.unwrap_or(false),
            },
            Role::Tool => Self::Tool {
                call: wire.tool_call_id,
                text,
            },
        }
    }
}
