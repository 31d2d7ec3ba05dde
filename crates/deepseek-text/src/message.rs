//! A conversation as the V4 prompt knows it.

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::reader::Delta;
use crate::wire;

/// The messages of a conversation, in order.
///
/// All text is plain: a marker spelled in it stays letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Reads a JSON list of messages in the chat-completions form, with the fields `role`,
    /// `content`, `reasoning_content`, `tool_calls`, `tool_call_id`, and of V4 `tools`,
    /// `response_format`, `task` and `wo_eos` on a message.
    ///
    /// # Errors
    /// [`Error::Conversation`], with the place and the reason.
    pub fn parse(json: &str) -> Result<Self> {
        let messages: Vec<wire::Message> =
            serde_json::from_str(json).map_err(Error::Conversation)?;
        Ok(Self {
            messages: messages.into_iter().map(Message::from).collect(),
        })
    }

    /// A conversation of one question.
    pub fn ask(text: impl Into<String>) -> Self {
        Self {
            messages: vec![Message::User {
                text: text.into(),
                task: None,
            }],
        }
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What holds for the whole conversation.
    System(Brief),
    /// A user turn with tools and a schema of its own; an internal role of the released encoder.
    /// Without tools, thinking mode forgets those before the last user turn.
    Developer(Brief),
    /// What the user said.
    User {
        /// The words.
        text: String,
        /// The auxiliary task to be done instead of an answer.
        task: Option<Task>,
    },
    /// A reminder between the system text and the user, such as the date.
    LatestReminder {
        /// The words.
        text: String,
    },
    /// What the model said.
    Assistant {
        /// Reasoning, text and calls.
        answer: Answer,
        /// The auxiliary task to be done after it.
        task: Option<Task>,
        /// Whether the answer is unfinished: no end-of-sentence follows, and the model goes on.
        open: bool,
    },
    /// What a tool returned.
    Tool {
        /// The id of the call that it answers.
        call: Option<String>,
        /// The result.
        text: String,
    },
}

/// Instructions with what they declare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Brief {
    /// The words.
    pub text: String,
    /// Tools that may be called.
    pub tools: Vec<Tool>,
    /// JSON schema that the answer has to follow.
    pub response_format: Option<serde_json::Value>,
    /// The auxiliary task to be done instead of an answer.
    pub task: Option<Task>,
}

/// A tool as the model is shown it: the `function` object, printed key by key as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool(pub serde_json::Value);

/// What the model said, whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// What it thought.
    pub reasoning: String,
    /// What it wrote.
    pub text: String,
    /// The tools that it called.
    pub calls: Vec<Call>,
}

impl Answer {
    /// Adds the next piece of a completion.
    pub fn push(&mut self, delta: &Delta) {
        match delta {
            Delta::Thinking(text) => self.reasoning.push_str(text),
            Delta::Text(text) => self.text.push_str(text),
            Delta::Call { name, .. } => {
                self.calls.push(Call {
                    id: None,
                    name: name.clone(),
                    arguments: String::new(),
                });
            }
            Delta::Arguments { index, json } => {
                if let Some(call) = self.calls.get_mut(*index) {
                    call.arguments.push_str(json);
                }
            }
            Delta::Finished { .. } => {}
        }
    }
}

/// One call of a tool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Call {
    /// The name by which results refer to it. The model writes none.
    pub id: Option<String>,
    /// The tool.
    pub name: String,
    /// The arguments, a JSON object as text. The model may have written another thing.
    pub arguments: String,
}

/// An auxiliary task: a short judgement in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Whether to search or to answer.
    Action,
    /// The words to search for.
    Query,
    /// How much authority the question asks for.
    Authority,
    /// The field of the question.
    Domain,
    /// A title for the conversation.
    Title,
    /// Whether an address should be read.
    ReadUrl,
}
