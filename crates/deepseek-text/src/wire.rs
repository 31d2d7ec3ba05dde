//! Messages as JSON, in the chat-completions form with the fields of V4 and V4.1.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use serde::Deserialize;
use serde_json::{Number, Value};

use crate::message::{self, Answer, Brief, Call, Part, Task, Tool, Video};

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
    #[serde(alias = "prefix")]
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
    Parts(Vec<PartEntry>),
}

/// A part of a content, as [`Part`] has it.
#[derive(Deserialize)]
#[serde(try_from = "PartFields")]
struct PartEntry(Part);

#[derive(Deserialize)]
struct PartFields {
    r#type: String,
    text: Option<String>,
    image_url: Option<Address>,
    audio_url: Option<Address>,
    input_audio: Option<AudioData>,
    video_url: Option<VideoUrl>,
}

#[derive(Deserialize)]
struct Address {
    url: String,
}

/// A sound in the message itself.
#[derive(Deserialize)]
struct AudioData {
    /// Base64.
    data: String,
    /// Such as `wav`. What the sound is, its bytes tell.
    format: String,
}

#[derive(Deserialize)]
struct VideoUrl {
    url: String,
    fps: Option<Number>,
    max_frames: Option<u32>,
    audio: Option<bool>,
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
#[serde(untagged)]
enum ToolEntry {
    Function {
        function: Value,
    },
    /// A namespace, in the form of the responses protocol: its tools are functions themselves.
    Group {
        name: String,
        #[serde(default)]
        description: String,
        tools: Vec<Value>,
    },
}

impl TryFrom<PartFields> for PartEntry {
    type Error = &'static str;

    /// A note stands in place of what is neither text nor a medium that is known.
    fn try_from(fields: PartFields) -> Result<Self, Self::Error> {
        Ok(Self(match fields.r#type.as_str() {
            "text" => Part::Text(fields.text.unwrap_or_default()),
            "image_url" => {
                let image = fields.image_url.ok_or("a part image_url without its url")?;
                Part::Image(image.url)
            }
            "audio_url" => {
                let audio = fields.audio_url.ok_or("a part audio_url without its url")?;
                Part::Audio(audio.url)
            }
            "input_audio" => {
                let AudioData { data, format } = fields
                    .input_audio
                    .ok_or("a part input_audio without its data")?;
                Part::Audio(format!("data:audio/{format};base64,{data}"))
            }
            "video_url" => {
                let video = fields.video_url.ok_or("a part video_url without its url")?;
                Part::Video(Video {
                    source: video.url,
                    fps: video.fps,
                    max_frames: video.max_frames,
                    audio: video.audio,
                })
            }
            kind => Part::Text(format!("[Unsupported {kind}]")),
        }))
    }
}

impl From<Content> for message::Content {
    fn from(content: Content) -> Self {
        match content {
            Content::Text(text) => text.into(),
            Content::Parts(parts) => Self(parts.into_iter().map(|part| part.0).collect()),
        }
    }
}

impl ToolEntry {
    fn into_tools(self) -> Vec<Tool> {
        match self {
            Self::Function { function } => vec![Tool(function)],
            Self::Group {
                name,
                description,
                tools,
            } => {
                let tool = |function| Tool::grouped(&name, &description, function);
                tools.into_iter().map(tool).collect()
            }
        }
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
        let content: message::Content = wire.content.map(Into::into).unwrap_or_default();
        let task = wire.task;
        let brief = |content| Brief {
            content,
            tools: wire
                .tools
                .into_iter()
                .flatten()
                .flat_map(ToolEntry::into_tools)
                .collect(),
            response_format: wire.response_format,
            task,
        };
        match wire.role {
            Role::System => Self::System(brief(content)),
            Role::Developer => Self::Developer(brief(content)),
            Role::User => Self::User { content, task },
            Role::LatestReminder => Self::LatestReminder {
                text: content.text().into_owned(),
            },
            Role::Assistant => Self::Assistant {
                answer: Answer {
                    reasoning: wire.reasoning_content.unwrap_or_default(),
                    text: content.text().into_owned(),
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
                content,
            },
        }
    }
}

/// What the prompt of V4.1 says of a tool.
#[derive(Deserialize)]
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Value>,
}

/// Reads what is shown of a tool.
pub(crate) fn shown(function: &Value) -> serde_json::Result<Shown> {
    Shown::deserialize(function)
}
