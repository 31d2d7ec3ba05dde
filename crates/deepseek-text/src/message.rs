//! A conversation as the prompt knows it.

use std::borrow::Cow;

use serde_json::Number;

use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::json::Json;

/// The messages of a conversation, in order.
///
/// All text is plain: a marker spelled in it stays letters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The messages.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Whether there is something to answer, and all of it can be written as the model knows it.
    ///
    /// # Errors
    /// [`Error::Silent`] without a message; [`Error::Answered`] if the last is a finished answer
    /// that no task follows; [`Error::Part`] with a part of a kind that is not known.
    pub fn check(&self) -> Result<()> {
        match self.messages.last() {
            None => return Err(Error::Silent),
            Some(Message::Assistant {
                task: None,
                open: false,
                ..
            }) => {
                let message = self.messages.len() - 1;
                return Err(Error::Answered { message });
            }
            Some(_) => {}
        }
        for (message, content) in self.messages.iter().map(Message::content).enumerate() {
            for (part, kind) in content.iter().flat_map(|content| &content.0).enumerate() {
                if let Part::Other(kind) = kind {
                    let kind = kind.chars().take(60).collect();
                    return Err(Error::Part {
                        message,
                        part,
                        kind,
                    });
                }
            }
        }
        Ok(())
    }

    /// A conversation of one question.
    pub fn ask(content: impl Into<Content>) -> Self {
        Self {
            messages: vec![Message::user(content)],
        }
    }

    /// The instructions with which it begins, and which the tools and the schema of a request belong to.
    /// Where it begins otherwise, empty ones are put before it.
    pub fn first_brief(&mut self) -> &mut Brief {
        if self.messages.first().and_then(Message::brief).is_none() {
            self.messages.insert(0, Message::System(Brief::default()));
        }
        match self.messages.first_mut() {
            Some(Message::System(brief) | Message::Developer(brief)) => brief,
            _ => unreachable!("such a message was put there"),
        }
    }

    /// Whether a tool is declared anywhere in it.
    #[must_use]
    pub fn has_tools(&self) -> bool {
        let mut briefs = self.messages.iter().filter_map(Message::brief);
        briefs.any(|brief| !brief.tools.is_empty())
    }

    /// The media, in the order of the messages.
    pub fn media(&self) -> impl Iterator<Item = &Part> {
        let contents = self.messages.iter().filter_map(Message::content);
        contents
            .flat_map(|content| &content.0)
            .filter(|part| part.is_medium())
    }

    /// The same, to be named anew or replaced.
    pub fn media_mut(&mut self) -> impl Iterator<Item = &mut Part> {
        let contents = self.messages.iter_mut().filter_map(Message::content_mut);
        contents
            .flat_map(|content| &mut content.0)
            .filter(|part| part.is_medium())
    }
}

/// A conversation, and what of its JSON has no place in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The conversation.
    pub conversation: Conversation,
    /// Fields that were passed over, by their names and the first message that has them: settings of
    /// a request, and what a message says that no prompt does. At most a handful.
    pub unread: Vec<String>,
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
    /// An image.
    Image(String),
    /// Audio.
    Audio(String),
    /// A video.
    Video(Video),
    /// What calls itself so and is not known, in what a tool returns: the released encoder writes a
    /// note in its place.
    Other(String),
}

/// A video, and how it is to be watched where that was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Video {
    /// Its name.
    pub source: String,
    /// Frames a second to be looked at.
    pub fps: Option<Number>,
    /// Most frames to be looked at.
    pub max_frames: Option<u32>,
    /// Whether its audio is to be heard.
    pub audio: Option<bool>,
}

impl Content {
    /// The words, with a note in place of each medium.
    pub fn text(&self) -> Cow<'_, str> {
        match self.0.as_slice() {
            [part] => part.text(),
            parts => {
                let texts: Vec<Cow<'_, str>> = parts.iter().map(Part::text).collect();
                texts.join("\n\n").into()
            }
        }
    }
}

impl Part {
    /// The name of a medium; words have none.
    pub fn source_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Text(_) | Self::Other(_) => None,
            Self::Image(source) | Self::Audio(source) => Some(source),
            Self::Video(video) => Some(&mut video.source),
        }
    }

    pub(crate) fn is_medium(&self) -> bool {
        matches!(self, Self::Image(_) | Self::Audio(_) | Self::Video(_))
    }

    /// The words, or a note in their place.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => text.into(),
            Self::Image(_) => "[Unsupported image_url]".into(),
            Self::Audio(_) => "[Unsupported input_audio]".into(),
            Self::Video(_) => "[Unsupported video_url]".into(),
            Self::Other(kind) => format!("[Unsupported {kind}]").into(),
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

    /// The words and media that it holds; what the model and reminders say is text.
    pub(crate) fn content(&self) -> Option<&Content> {
        match self {
            Self::System(Brief { content, .. })
            | Self::Developer(Brief { content, .. })
            | Self::User { content, .. }
            | Self::Tool { content, .. } => Some(content),
            Self::LatestReminder { .. } | Self::Assistant { .. } => None,
        }
    }

    fn content_mut(&mut self) -> Option<&mut Content> {
        match self {
            Self::System(Brief { content, .. })
            | Self::Developer(Brief { content, .. })
            | Self::User { content, .. }
            | Self::Tool { content, .. } => Some(content),
            Self::LatestReminder { .. } | Self::Assistant { .. } => None,
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
    pub response_format: Option<Json>,
    /// The auxiliary task to be done instead of an answer.
    pub task: Option<Task>,
}

/// A tool as the model is shown it: the `function` object. V4 sees it key by key as it came, V4.1
/// sees `name`, `description` and `parameters`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool(pub Json);

impl Tool {
    /// Its name, if it has one.
    pub fn name(&self) -> Option<String> {
        let members = self.0.members()?;
        let name = members.iter().rfind(|(key, _)| key == "name");
        name.and_then(|(_, value)| value.string())
    }

    /// A function of a group of tools, as V4.1 names it: `group::name`, with the text of the group
    /// above its own.
    pub fn grouped(group: &str, text: &str, function: &Json) -> Self {
        let mut members = function.members().unwrap_or_default();
        let mut change = |key: &str, change: &dyn Fn(String) -> String| {
            let found = members.iter_mut().rfind(|(own, _)| own == key);
            let own = found.as_ref().and_then(|(_, value)| value.string());
            let value = Json::from(&*change(own.unwrap_or_default()));
            match found {
                Some((_, own)) => *own = value,
                None => members.push((key.to_owned(), value)),
            }
        };
        change("name", &|own| format!("{group}::{own}"));
        if !text.is_empty() {
            change("description", &|own| format!("{text}\n{own}"));
        }
        Self(Json::object(members))
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
            Delta::Call {
                name, arguments, ..
            } => self.calls.push(Call {
                id: None,
                name: name.clone(),
                arguments: arguments.clone(),
            }),
            Delta::Flaw(_) | Delta::Finished { .. } => {}
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
    /// The arguments, a JSON object as text. A client may have sent another thing.
    pub arguments: String,
}

impl Call {
    /// Its name and its arguments, which are a string if they are no JSON.
    pub fn to_json(&self) -> Json {
        let arguments = Json::parse(&self.arguments);
        let arguments = arguments.unwrap_or_else(|_| Json::from(&*self.arguments));
        Json::object([("name", Json::from(&*self.name)), ("arguments", arguments)])
    }

    /// The arguments by name; what is no JSON object becomes one string of the name `arguments`.
    pub(crate) fn members(&self) -> Vec<(String, Json)> {
        let object = Json::parse(&self.arguments).ok();
        let members = object.and_then(|object| object.members());
        members.unwrap_or_else(|| {
            let text = Json::from(&*self.arguments);
            vec![("arguments".to_owned(), text)]
        })
    }
}

/// An auxiliary task: a short judgement in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// What the wire calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Query => "query",
            Self::Authority => "authority",
            Self::Domain => "domain",
            Self::Title => "title",
            Self::ReadUrl => "read_url",
        }
    }
}
