//! A conversation as the prompt knows it.

use std::borrow::Cow;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};

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
    /// `content`, `reasoning_content`, `tool_calls`, `tool_call_id`, `prefix`, and of V4 `tools`,
    /// `response_format`, `task` and `wo_eos` on a message. Content is a string, or a list of parts
    /// of the type `text`, `image_url`, `input_audio`, `audio_url` or `video_url`; a note stands for
    /// other parts, and for media in what the model or a reminder says. A tool may be a `namespace`
    /// of functions.
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
    pub fn ask(content: impl Into<Content>) -> Self {
        Self {
            messages: vec![Message::user(content)],
        }
    }

    /// The parts that are no text, in the order of the messages.
    pub fn media(&self) -> impl Iterator<Item = &Part> {
        let parts = self.messages.iter().flat_map(|message| match message {
            Message::System(Brief { content, .. })
            | Message::Developer(Brief { content, .. })
            | Message::User { content, .. }
            | Message::Tool { content, .. } => content.0.as_slice(),
            Message::LatestReminder { .. } | Message::Assistant { .. } => &[],
        });
        parts.filter(|part| !matches!(part, Part::Text(_)))
    }

    /// The same, to be named anew or replaced.
    pub fn media_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let parts = self.messages.iter_mut().flat_map(|message| match message {
            Message::System(Brief { content, .. })
            | Message::Developer(Brief { content, .. })
            | Message::User { content, .. }
            | Message::Tool { content, .. } => content.0.as_mut_slice(),
            Message::LatestReminder { .. } | Message::Assistant { .. } => &mut [],
        });
        parts.filter(|part| !matches!(part, Part::Text(_)))
    }
}

/// Text and media, in order. A text alone is `"…".into()`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content(pub Vec<Part>);

/// A part of what is said; a blank line stands between two. Media are named as the caller names
/// them: by a path or an address, which is not looked at here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture.
    Image(String),
    /// A sound.
    Audio(String),
    /// A film.
    Video(Video),
}

/// A film, and how it is to be watched where that was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Video {
    /// Its name.
    pub source: String,
    /// Frames a second to be looked at.
    pub fps: Option<Number>,
    /// Most frames to be looked at.
    pub max_frames: Option<u32>,
    /// Whether its sound is to be heard.
    pub audio: Option<bool>,
}

impl Content {
    /// The words, with a note in place of each medium.
    pub fn text(&self) -> Cow<'_, str> {
        match self.0.as_slice() {
            [part] => part.text().into(),
            parts => {
                let texts: Vec<&str> = parts.iter().map(Part::text).collect();
                texts.join("\n\n").into()
            }
        }
    }
}

impl Part {
    /// The name of a medium; words have none.
    pub fn source_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Text(_) => None,
            Self::Image(source) | Self::Audio(source) => Some(source),
            Self::Video(video) => Some(&mut video.source),
        }
    }

    /// The words, or a note in their place.
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Image(_) => "[Unsupported image_url]",
            Self::Audio(_) => "[Unsupported input_audio]",
            Self::Video(_) => "[Unsupported video_url]",
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self(vec![Part::Text(text)])
    }
}

impl From<Vec<Part>> for Content {
    fn from(parts: Vec<Part>) -> Self {
        Self(parts)
    }
}

/// In the chat-completions form, which [`Conversation::parse`] reads: a string, or a list of parts.
impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_str(""),
            [Part::Text(text)] => serializer.serialize_str(text),
            parts => serializer.collect_seq(parts),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let part = match self {
            Self::Text(text) => json!({ "type": "text", "text": text }),
            Self::Image(url) => json!({ "type": "image_url", "image_url": { "url": url } }),
            Self::Audio(url) => json!({ "type": "audio_url", "audio_url": { "url": url } }),
            Self::Video(video) => json!({ "type": "video_url", "video_url": fields(video) }),
        };
        part.serialize(serializer)
    }
}

/// What the wire says of a film: its address, and what else is said.
fn fields(video: &Video) -> Map<String, Value> {
    let Video {
        source,
        fps,
        max_frames,
        audio,
    } = video;
    let all = json!({ "url": source, "fps": fps, "max_frames": max_frames, "audio": audio });
    let all = all.as_object().cloned().unwrap_or_default();
    let said = all.into_iter().filter(|(_, value)| !value.is_null());
    said.collect()
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What holds for the whole conversation.
    System(Brief),
    /// A user turn with tools and a schema of its own; an internal role of the encoder released
    /// with V4. Without tools, thinking mode forgets those before the last user turn. To V4.1 it is
    /// as [`Message::System`].
    Developer(Brief),
    /// What the user said.
    User {
        /// The words, and media.
        content: Content,
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
        content: Content,
    },
}

impl Message {
    /// Instructions that declare nothing.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::System(Brief {
            content: content.into(),
            ..Brief::default()
        })
    }

    /// What the user says.
    pub fn user(content: impl Into<Content>) -> Self {
        let content = content.into();
        Self::User {
            content,
            task: None,
        }
    }

    /// What the model said, to the end.
    pub fn assistant(answer: Answer) -> Self {
        Self::Assistant {
            answer,
            task: None,
            open: false,
        }
    }

    /// What a call returned.
    pub fn tool(call: impl Into<String>, content: impl Into<Content>) -> Self {
        Self::Tool {
            call: Some(call.into()),
            content: content.into(),
        }
    }

    /// What it declares.
    pub(crate) fn brief(&self) -> Option<&Brief> {
        match self {
            Self::System(brief) | Self::Developer(brief) => Some(brief),
            Self::User { .. }
            | Self::LatestReminder { .. }
            | Self::Assistant { .. }
            | Self::Tool { .. } => None,
        }
    }

    /// The task that it asks for.
    pub(crate) fn task(&self) -> Option<Task> {
        match self {
            Self::System(brief) | Self::Developer(brief) => brief.task,
            Self::User { task, .. } | Self::Assistant { task, .. } => *task,
            Self::LatestReminder { .. } | Self::Tool { .. } => None,
        }
    }
}

/// Instructions with what they declare.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Brief {
    /// The words, and media.
    pub content: Content,
    /// Tools that may be called. V4.1 is taught how to call by the first message; what a later one
    /// declares is listed there.
    pub tools: Vec<Tool>,
    /// JSON schema that the answer has to follow; `{"type": "json_object"}` for any JSON. V4.1
    /// knows one for the whole conversation: the last.
    pub response_format: Option<Value>,
    /// The auxiliary task to be done instead of an answer.
    pub task: Option<Task>,
}

/// A tool as the model is shown it: the `function` object. V4 sees it key by key as it came, V4.1
/// sees `name`, `description` and `parameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool(pub Value);

impl Tool {
    /// A function of a group of tools, as V4.1 names it: `group::name`, with the text of the group
    /// above its own.
    pub fn grouped(group: &str, text: &str, mut function: Value) -> Self {
        let own = |key| {
            function
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let name = format!("{group}::{}", own("name"));
        let description = format!("{text}\n{}", own("description"));
        if let Some(function) = function.as_object_mut() {
            function.insert("name".to_owned(), name.into());
            if !text.is_empty() {
                function.insert("description".to_owned(), description.into());
            }
        }
        Self(function)
    }
}

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

impl Task {
    pub(crate) const ALL: [Self; 6] = [
        Self::Action,
        Self::Query,
        Self::Authority,
        Self::Domain,
        Self::Title,
        Self::ReadUrl,
    ];
}
