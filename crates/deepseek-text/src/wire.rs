//! Messages as JSON, in the chat-completions form with the fields of V4 and V4.1.
//!
//! What clients send comes in several spellings; each is read into one form here. What cannot be
//! read is named by its place, and what is passed over is told.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::error::Error as _;

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::{Map, Number, Value, json};

use crate::error::{Error, Misfit};
use crate::json::Json;
use crate::message::{
    Answer, Brief, Call, Content, Conversation, Message, Part, Reading, Task, Tool, Video,
};

type Result<T, E = Misfit> = std::result::Result<T, E>;

/// Fields passed over that are named; of more it is told that there are more.
const UNREAD_MAX: usize = 16;

impl Conversation {
    /// Reads a conversation as [`Reading::parse`] does, and keeps to itself what was passed over.
    ///
    /// # Errors
    /// [`Error::Conversation`], with the place and the reason.
    pub fn parse(json: &str) -> Result<Self, Error> {
        Ok(Reading::parse(json)?.conversation)
    }
}

impl Reading {
    /// Reads a JSON list of messages in the chat-completions form, with the fields `role`,
    /// `content`, `reasoning_content` or `reasoning`, `tool_calls`, `tool_call_id`, `prefix`, and of
    /// V4 `tools`, `response_format`, `task` and `wo_eos` on a message. Content is a string, or a
    /// list of parts of the type `text`, `image_url`, `input_audio`, `audio_url` or `video_url`, or
    /// as the responses protocol calls them; what the model and reminders say is text alone. In what
    /// a tool returns, other parts are kept as [`Part::Other`]. Tools may be wrapped or flat, or a
    /// `namespace` of functions; arguments are spelled out or an object.
    ///
    /// Or reads a request with such a list as its `messages`: its `tools`, its `response_format` and
    /// a `tool_choice` of `none` go to the messages, which all else stays out of.
    ///
    /// # Errors
    /// [`Error::Conversation`], with the place and the reason.
    pub fn parse(json: &str) -> Result<Self, Error> {
        read(json).map_err(Error::Conversation)
    }
}

impl Tool {
    /// Reads a JSON list of tools, wrapped or flat, or an object that has such a list as its `tools`.
    ///
    /// # Errors
    /// [`Error::Tools`], with the place and the reason.
    pub fn read_all(json: &str) -> Result<Vec<Self>, Error> {
        let read = || {
            let mut node = Node::new("", parse(json)?);
            if node.json.list().is_none() {
                node = node.fields()?.want("tools")?;
            }
            read_tools(&node)
        };
        read().map_err(Error::Tools)
    }
}

/// Takes in a JSON text, which may begin with a byte-order mark.
fn parse(text: &str) -> Result<Json> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Json::parse(text).map_err(|error| match error.source() {
        Some(source) => Misfit::new(&error.to_string(), source),
        None => Misfit::new("", error),
    })
}

/// Reads a list of messages, or a request that has one.
fn read(text: &str) -> Result<Reading> {
    let json = parse(text)?;
    let mut unread = Unread::default();
    let conversation = match json.list() {
        Some(messages) => Conversation {
            messages: read_messages(messages, &mut unread)?,
        },
        None => read_request(json, &mut unread)?,
    };
    Ok(Reading {
        conversation,
        unread: unread.0,
    })
}

/// The fields of a request that say what is asked; how it is to be answered is said elsewhere.
fn read_request(json: Json, unread: &mut Unread) -> Result<Conversation> {
    const WANT: &str = "a list of messages, or a request with such a list as messages";
    let node = Node::new("", json);
    if node.json.members().is_none() {
        return Err(node.wrong(WANT));
    }
    let mut fields = node.fields()?;
    let Some(list) = fields.take("messages") else {
        return Err(Misfit::new(
            "",
            format_args!("an object without messages, expected {WANT}"),
        ));
    };
    let messages = read_messages(list.list()?, unread)?;
    let mut conversation = Conversation { messages };
    let tools = match fields.take("tools") {
        Some(tools) => read_tools(&tools.at_root("tools"))?,
        None => Vec::new(),
    };
    let format = match fields.take("response_format") {
        Some(format) => read_format(&format.at_root("response_format"))?,
        None => None,
    };
    if !tools.is_empty() || format.is_some() {
        let brief = conversation.first_brief();
        brief.tools.extend(tools);
        brief.response_format = brief.response_format.take().or(format);
    }
    match fields.take("tool_choice").map(|choice| choice.json) {
        None => {}
        Some(choice) if choice == Json::from("auto") => {}
        Some(choice) if choice == Json::from("none") => hide_tools(&mut conversation.messages),
        Some(_) => unread.add("tool_choice", ""),
    }
    unread.add_rest(fields, "");
    Ok(conversation)
}

fn hide_tools(messages: &mut [Message]) {
    for message in messages {
        if let Message::System(brief) | Message::Developer(brief) = message {
            brief.tools.clear();
        }
    }
}

/// The schema that a request's format stands for.
fn read_format(node: &Node) -> Result<Option<Json>> {
    let mut fields = node.fields()?;
    let kind = fields.want("type")?;
    match kind.string()?.as_str() {
        "text" => Ok(None),
        "json_object" => Ok(Some(node.json.clone())),
        "json_schema" => {
            let mut schema = fields.want("json_schema")?.fields()?;
            Ok(Some(schema.want("schema")?.json))
        }
        _ => Err(kind.wrong("text, json_object or json_schema")),
    }
}

fn read_messages(messages: Vec<Json>, unread: &mut Unread) -> Result<Vec<Message>> {
    let messages = (0..).zip(messages);
    let read =
        |(index, json): (usize, Json)| read_message(&format!("message {index}"), json, unread);
    messages.map(read).collect()
}

fn read_message(place: &str, json: Json, unread: &mut Unread) -> Result<Message> {
    let mut fields = Node::new(place, json).fields()?;
    let role = fields.want("role")?;
    let message = match role.string()?.as_str() {
        "system" => Message::System(read_brief(&mut fields, unread)?),
        "developer" => Message::Developer(read_brief(&mut fields, unread)?),
        "user" => Message::User {
            content: read_content(&mut fields, Holds::Media, unread)?,
            task: read_task(&mut fields)?,
        },
        "latest_reminder" => Message::LatestReminder {
            text: read_content(&mut fields, Holds::Words("a reminder"), unread)?
                .text()
                .into_owned(),
        },
        "assistant" => read_answer(&mut fields, unread)?,
        "tool" => Message::Tool {
            content: read_content(&mut fields, Holds::Anything, unread)?,
            call: fields.string("tool_call_id")?,
        },
        _ => {
            return Err(role.wrong("system, developer, user, assistant, tool or latest_reminder"));
        }
    };
    unread.add_rest(fields, place);
    Ok(message)
}

fn read_brief(fields: &mut Fields, unread: &mut Unread) -> Result<Brief> {
    Ok(Brief {
        content: read_content(fields, Holds::Media, unread)?,
        tools: match fields.take("tools") {
            Some(tools) => read_tools(&tools)?,
            None => Vec::new(),
        },
        response_format: fields.take("response_format").map(|format| format.json),
        task: read_task(fields)?,
    })
}

fn read_answer(fields: &mut Fields, unread: &mut Unread) -> Result<Message> {
    let content = read_content(fields, Holds::Words("an assistant"), unread)?;
    // Two names are in use. Where a client sends both, they hold the same.
    let reasoning = fields.string("reasoning_content")?;
    let other = fields.string("reasoning")?;
    let calls = match fields.take("tool_calls") {
        Some(calls) => calls
            .items("tool call")?
            .iter()
            .map(read_call)
            .collect::<Result<_>>()?,
        None => Vec::new(),
    };
    let open = match fields.flag("prefix")? {
        Some(open) => Some(open),
        None => fields.flag("wo_eos")?,
    };
    Ok(Message::Assistant {
        answer: Answer {
            reasoning: reasoning.or(other).unwrap_or_default(),
            text: content.text().into_owned(),
            calls,
        },
        task: read_task(fields)?,
        open: open.unwrap_or(false),
    })
}

/// A call, its function in an object of its own or not, the arguments spelled out or as an object.
fn read_call(node: &Node) -> Result<Call> {
    let mut fields = node.fields()?;
    let id = fields.string("id")?;
    let mut function = match fields.take("function") {
        Some(function) => function.fields()?,
        None => fields,
    };
    let name = function.want("name")?.string()?;
    let arguments = match function.take("arguments") {
        None => "{}".to_owned(),
        Some(node) if node.json.members().is_some() => node.json.to_string(),
        Some(node) => match node.json.string() {
            Some(text) => text,
            None => return Err(node.wrong("an object, or one spelled out in a string")),
        },
    };
    Ok(Call {
        id,
        name,
        arguments,
    })
}

fn read_task(fields: &mut Fields) -> Result<Option<Task>> {
    let Some(node) = fields.take("task") else {
        return Ok(None);
    };
    let name = node.string()?;
    let task = Task::ALL.into_iter().find(|task| task.name() == name);
    match task {
        Some(task) => Ok(Some(task)),
        None => Err(node.wrong(&Task::ALL.map(Task::name).join(", "))),
    }
}

fn read_tools(node: &Node) -> Result<Vec<Tool>> {
    let mut tools = Vec::new();
    for node in node.items("tool")? {
        let mut fields = node.fields()?;
        let kind = fields.string("type")?;
        match kind.as_deref() {
            None | Some("function") if !fields.has("tools") => {
                tools.push(Tool(read_function(&node)?));
            }
            None | Some("namespace") => {
                // A group, in the form of the responses protocol.
                let name = fields.want("name")?.string()?;
                let text = fields.string("description")?.unwrap_or_default();
                for node in fields.want("tools")?.items("tool")? {
                    tools.push(Tool::grouped(&name, &text, &read_function(&node)?));
                }
            }
            Some(other) => {
                let kind = node.child("type", Json::from(other));
                return Err(kind.wrong("function or namespace"));
            }
        }
    }
    Ok(tools)
}

/// A function, which may stand in an object of its own or lie flat in its tool.
fn read_function(node: &Node) -> Result<Json> {
    let mut fields = node.fields()?;
    if let Some(function) = fields.take("function") {
        function.fields()?.want("name")?.string()?;
        return Ok(function.json);
    }
    fields.take("type");
    let rest = Json::object(fields.members.clone());
    fields.want("name")?.string()?;
    Ok(rest)
}

/// What a message may hold.
#[derive(Clone, Copy)]
enum Holds {
    /// Words and media.
    Media,
    /// Words alone: the model has no form for others from whoever says it.
    Words(&'static str),
    /// Words and media, and what the release leaves a note for.
    Anything,
}

fn read_content(fields: &mut Fields, holds: Holds, unread: &mut Unread) -> Result<Content> {
    let Some(node) = fields.take("content") else {
        return Ok(Content::default());
    };
    if let Some(text) = node.json.string() {
        return Ok(text.into());
    }
    if node.json.list().is_none() {
        return Err(node.wrong("a string or a list of parts"));
    }
    let parts = node.items("part")?.into_iter();
    let parts: Result<Vec<Part>> = parts.map(|part| read_part(&part, holds, unread)).collect();
    parts.map(Content)
}

fn read_part(node: &Node, holds: Holds, unread: &mut Unread) -> Result<Part> {
    let mut fields = node.fields()?;
    let kind = fields.want("type")?;
    let name = kind.string()?;
    let part = match name.as_str() {
        "text" | "input_text" | "output_text" => Part::Text(fields.want("text")?.string()?),
        "refusal" => Part::Text(fields.want("refusal")?.string()?),
        "image_url" | "input_image" => Part::Image(read_address(&fields.want("image_url")?)?),
        "audio_url" => Part::Audio(read_address(&fields.want("audio_url")?)?),
        "input_audio" => Part::Audio(read_audio(&fields.want("input_audio")?)?),
        "video_url" => Part::Video(read_video(&fields.want("video_url")?)?),
        _ => match holds {
            Holds::Anything => return Ok(Part::Other(name)),
            Holds::Words(_) => return Err(kind.wrong("text")),
            Holds::Media => {
                return Err(kind.wrong("text, image_url, input_audio, audio_url or video_url"));
            }
        },
    };
    if let (Holds::Words(who), Part::Image(_) | Part::Audio(_) | Part::Video(_)) = (holds, &part) {
        return Err(kind.wrong(&format!("text: {who} has no media")));
    }
    fields.take("detail");
    unread.add_rest(fields, &node.place);
    Ok(part)
}

/// A name, or an object that has it as its `url`.
fn read_address(node: &Node) -> Result<String> {
    match node.json.string() {
        Some(url) => Ok(url),
        None => match node.json.members() {
            Some(_) => node.fields()?.want("url")?.string(),
            None => Err(node.wrong("a string, or an object with a url")),
        },
    }
}

/// Audio in the message itself: base64, and what it is called. What it is, its bytes tell.
fn read_audio(node: &Node) -> Result<String> {
    let mut fields = node.fields()?;
    let data = fields.want("data")?.string()?;
    let format = fields.want("format")?;
    let name = format.string()?;
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-+.".contains(c))
    {
        return Err(format.wrong("a name such as wav"));
    }
    // Some clients put the address of the data where the data belong.
    match data.get(..5) {
        Some(scheme) if scheme.eq_ignore_ascii_case("data:") => Ok(data),
        _ => Ok(format!("data:audio/{name};base64,{data}")),
    }
}

fn read_video(node: &Node) -> Result<Video> {
    if let Some(source) = node.json.string() {
        return Ok(Video {
            source,
            ..Video::default()
        });
    }
    let mut fields = node.fields()?;
    Ok(Video {
        source: fields.want("url")?.string()?,
        fps: fields.number::<Number>("fps", "a number")?,
        max_frames: fields.number::<u32>("max_frames", "a whole number")?,
        audio: fields.flag("audio")?,
    })
}

impl Conversation {
    /// Its messages in the chat-completions form, each a JSON object that [`Conversation::parse`] reads
    /// as the same message.
    pub fn to_json(&self) -> Vec<Json> {
        self.messages.iter().map(message_json).collect()
    }
}

fn message_json(message: &Message) -> Json {
    let mut members = Vec::new();
    let mut add = |key: &'static str, value: Json| members.push((key, value));
    let content = |content: &Content| Json::from(serde_json::to_value(content).unwrap_or_default());
    match message {
        Message::System(brief) | Message::Developer(brief) => {
            let is_system = matches!(message, Message::System(_));
            add(
                "role",
                Json::from(if is_system { "system" } else { "developer" }),
            );
            add("content", content(&brief.content));
            if !brief.tools.is_empty() {
                add("tools", Json::list_of(brief.tools.iter().map(tool_json)));
            }
            if let Some(format) = &brief.response_format {
                add("response_format", format.clone());
            }
        }
        Message::User { content: said, .. } => {
            add("role", Json::from("user"));
            add("content", content(said));
        }
        Message::LatestReminder { text } => {
            add("role", Json::from("latest_reminder"));
            add("content", Json::from(text.as_str()));
        }
        Message::Assistant { answer, open, .. } => {
            add("role", Json::from("assistant"));
            add("content", Json::from(answer.text.as_str()));
            if !answer.reasoning.is_empty() {
                add("reasoning_content", Json::from(answer.reasoning.as_str()));
            }
            if !answer.calls.is_empty() {
                add(
                    "tool_calls",
                    Json::list_of(answer.calls.iter().map(call_json)),
                );
            }
            if *open {
                add("prefix", Json::from(Value::Bool(true)));
            }
        }
        Message::Tool {
            call,
            content: said,
        } => {
            add("role", Json::from("tool"));
            if let Some(id) = call {
                add("tool_call_id", Json::from(id.as_str()));
            }
            add("content", content(said));
        }
    }
    if let Some(task) = message.task() {
        add("task", Json::from(task.name()));
    }
    Json::object(members)
}

fn tool_json(tool: &Tool) -> Json {
    Json::object([
        ("type", Json::from("function")),
        ("function", tool.0.clone()),
    ])
}

fn call_json(call: &Call) -> Json {
    let function = Json::object([
        ("name", Json::from(call.name.as_str())),
        ("arguments", Json::from(call.arguments.as_str())),
    ]);
    let id = call.id.as_deref().map(|id| ("id", Json::from(id)));
    let rest = [("type", Json::from("function")), ("function", function)];
    Json::object(id.into_iter().chain(rest))
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
            Self::Other(kind) => json!({ "type": kind }),
        };
        part.serialize(serializer)
    }
}

/// What the wire says of a video: its address, and what else is said.
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

/// What the prompt of V4.1 says of a tool.
pub(crate) struct Shown {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) parameters: Json,
}

/// Reads what is shown of a tool.
pub(crate) fn shown(function: &Json) -> Result<Shown> {
    let mut fields = Node::new("", function.clone()).fields()?;
    Ok(Shown {
        name: fields.want("name")?.string()?,
        description: fields.string("description")?.unwrap_or_default(),
        parameters: match fields.take("parameters") {
            Some(parameters) => parameters.json,
            None => Json::object::<&str>([]),
        },
    })
}

/// A value, and where it stands.
struct Node {
    place: String,
    json: Json,
}

impl Node {
    fn new(place: &str, json: Json) -> Self {
        let place = place.to_owned();
        Self { place, json }
    }

    /// The same value under a name of its own.
    fn at_root(self, place: &str) -> Self {
        Self::new(place, self.json)
    }

    fn child(&self, name: &str, json: Json) -> Self {
        let place = match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}: {name}"),
        };
        Self { place, json }
    }

    fn fields(&self) -> Result<Fields> {
        let Some(mut members) = self.json.members() else {
            return Err(self.wrong("an object"));
        };
        // Null is what some clients write for what is not there.
        members.retain(|(_, value)| !value.is_null());
        Ok(Fields {
            place: self.place.clone(),
            members,
        })
    }

    fn list(&self) -> Result<Vec<Json>> {
        self.json.list().ok_or_else(|| self.wrong("a list"))
    }

    /// The items of a list, each a `kind` with its number.
    fn items(&self, kind: &str) -> Result<Vec<Self>> {
        let items = (0..).zip(self.list()?);
        let item = |(index, json): (usize, Json)| self.child(&format!("{kind} {index}"), json);
        Ok(items.map(item).collect())
    }

    fn string(&self) -> Result<String> {
        self.json.string().ok_or_else(|| self.wrong("a string"))
    }

    /// What stands here is not what is wanted. Values are shown if they are short names.
    fn wrong(&self, want: &str) -> Misfit {
        let found = match self.json.string() {
            Some(text) => brief(&text),
            None => self.json.kind().to_owned(),
        };
        Misfit::new(&self.place, format_args!("{found}, expected {want}"))
    }
}

/// The members of an object that have not been read yet.
struct Fields {
    place: String,
    members: Vec<(String, Json)>,
}

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.members.iter().any(|(key, _)| key == name)
    }

    /// Takes a field out, the last of its name.
    fn take(&mut self, name: &str) -> Option<Node> {
        let mut found = None;
        self.members.retain(|(key, value)| {
            if key == name {
                found = Some(value.clone());
            }
            key != name
        });
        found.map(|json| self.node(name, json))
    }

    fn want(&mut self, name: &str) -> Result<Node> {
        match self.take(name) {
            Some(node) => Ok(node),
            None => Err(Misfit::new(&self.place, format_args!("{name} is missing"))),
        }
    }

    fn string(&mut self, name: &str) -> Result<Option<String>> {
        self.take(name).map(|node| node.string()).transpose()
    }

    fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        self.number(name, "true or false")
    }

    /// A value of another kind than text.
    fn number<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &str,
        want: &str,
    ) -> Result<Option<T>> {
        let value =
            |node: Node| serde_json::from_str(node.json.as_str()).map_err(|_| node.wrong(want));
        self.take(name).map(value).transpose()
    }

    fn node(&self, name: &str, json: Json) -> Node {
        Node::new(&self.place, Json::from("")).child(name, json)
    }
}

/// Names of fields that were passed over, each once.
#[derive(Default)]
struct Unread(Vec<String>);

impl Unread {
    /// What is left of an object. Empty lists say nothing.
    fn add_rest(&mut self, fields: Fields, place: &str) {
        for (name, value) in fields.members {
            if value.as_str() != "[]" {
                self.add(&name, place);
            }
        }
    }

    fn add(&mut self, name: &str, place: &str) {
        let name = brief(name);
        let known = |known: &String| known.split(" of ").next() == Some(&*name);
        if self.0.len() > UNREAD_MAX || self.0.iter().any(known) {
            return;
        }
        self.0.push(match (self.0.len(), place) {
            (UNREAD_MAX, _) => "others".to_owned(),
            (_, "") => name,
            (_, place) => format!("{name} of {place}"),
        });
    }
}

/// A name as messages show it: in quotes, and not the whole of a long one.
fn brief(name: &str) -> String {
    const CHARS_MAX: usize = 60;
    match name.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("\"{}…\"", name.get(..end).unwrap_or_default()),
        None => format!("\"{name}\""),
    }
}
