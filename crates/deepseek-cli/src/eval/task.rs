//! Task files: JSON, an item a line. They come from anywhere, and what does not hold in them is an
//! error that names the line.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use deepseek_text::{Conversation, Json, JsonError};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::limits::{ANSWER_TOKENS, ITEMS_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX};
use super::want::Want;

/// A question, and the answer that is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The kind of question.
    pub(crate) task: String,
    /// What the item is called.
    pub(crate) id: String,
    /// The file that it stands in.
    pub(crate) file: Arc<Path>,
    /// Where it stands there, from 1.
    pub(crate) line: usize,
    /// What is asked. Media are named as the file names them.
    pub(crate) conversation: Conversation,
    /// What is to come.
    pub(crate) want: Want,
    /// Whether the answer begins with reasoning.
    pub(crate) thinking: bool,
    /// Tokens of the answer, reasoning included, at most.
    pub(crate) max_tokens: u32,
}

impl Item {
    /// Where it stands, for messages.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What does not hold in a task file.
#[derive(Debug, thiserror::Error)]
#[error("{}:{line}", file.display())]
pub(crate) struct TaskError {
    /// The file.
    pub(crate) file: PathBuf,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    #[source]
    pub(crate) flaw: Flaw,
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    /// It is no text.
    #[error("not UTF-8 text")]
    Text,
    /// It is too long.
    #[error("{bytes} bytes, at most {LINE_BYTES_MAX} are read")]
    Length {
        /// Its bytes.
        bytes: usize,
    },
    /// There are too many before it.
    #[error("more than {ITEMS_MAX} items")]
    Count,
    /// It is no JSON, or not that of an item.
    #[error("not an item")]
    Json(#[source] serde_json::Error),
    /// A name is empty, too long, or holds control characters.
    #[error("{field} of {bytes} bytes, want 1 to {NAME_BYTES_MAX} without control characters")]
    Name {
        /// Whose name.
        field: &'static str,
        /// Its bytes.
        bytes: usize,
    },
    /// The messages are none.
    #[error("messages")]
    Messages(#[source] deepseek_text::Error),
    /// It is nested too deep.
    #[error("not an item")]
    Value(#[source] JsonError),
    /// There are no messages.
    #[error("no messages")]
    Silent,
    /// The answer is not of the kind that its match asks for.
    #[error("answer {found}, want {want}")]
    Answer {
        /// What stands there.
        found: &'static str,
        /// What the match asks for.
        want: &'static str,
    },
    /// An answer of no tokens.
    #[error("max_tokens 0, want at least 1")]
    Tokens,
}

/// A line as it is written. Other fields, such as a seed, are passed over. Messages and answers are
/// read from the text, in which numbers have all their digits.
#[derive(Deserialize)]
struct Wire {
    task: String,
    id: String,
    #[serde(rename = "messages")]
    _messages: IgnoredAny,
    #[serde(rename = "answer")]
    _answer: IgnoredAny,
    #[serde(default)]
    r#match: Match,
    #[serde(default)]
    thinking: bool,
    max_tokens: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Match {
    #[default]
    Exact,
    Contains,
    LastLine,
    JsonCall,
}

/// Reads the items of a file, which is called `file`. Empty lines are passed over.
///
/// # Errors
/// The first line that does not hold.
pub(crate) fn read(file: &Path, bytes: &[u8]) -> Result<Vec<Item>, TaskError> {
    let shared: Arc<Path> = file.into();
    let mut items = Vec::new();
    for (line, bytes) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        let item = if items.len() < ITEMS_MAX {
            item((&shared, line), bytes)
        } else {
            Err(Flaw::Count)
        };
        items.push(item.map_err(|flaw| TaskError {
            file: file.to_owned(),
            line,
            flaw,
        })?);
    }
    Ok(items)
}

fn item((file, line): (&Arc<Path>, usize), bytes: &[u8]) -> Result<Item, Flaw> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Flaw::Length { bytes: bytes.len() });
    }
    let text = str::from_utf8(bytes).map_err(|_| Flaw::Text)?;
    let wire: Wire = serde_json::from_str(text).map_err(Flaw::Json)?;
    let json = Json::parse(text).map_err(Flaw::Value)?;
    let conversation = Conversation::parse(member(&json, "messages").as_str());
    let conversation = conversation.map_err(Flaw::Messages)?;
    if conversation.messages.is_empty() {
        return Err(Flaw::Silent);
    }
    conversation.check().map_err(Flaw::Messages)?;
    let max_tokens = wire.max_tokens.unwrap_or(ANSWER_TOKENS);
    if max_tokens == 0 {
        return Err(Flaw::Tokens);
    }
    Ok(Item {
        task: name("task", wire.task)?,
        id: name("id", wire.id)?,
        file: Arc::clone(file),
        line,
        conversation,
        want: want(wire.r#match, &member(&json, "answer"))?,
        thinking: wire.thinking,
        max_tokens,
    })
}

/// A member of an object that has it.
fn member(json: &Json, name: &str) -> Json {
    let members = json.members().unwrap_or_default();
    let member = members.into_iter().find(|(key, _)| key == name);
    member.map_or(Json::from(""), |(_, value)| value)
}

fn name(field: &'static str, name: String) -> Result<String, Flaw> {
    let bytes = name.len();
    let holds = (1..=NAME_BYTES_MAX).contains(&bytes) && !name.chars().any(char::is_control);
    holds.then_some(name).ok_or(Flaw::Name { field, bytes })
}

fn want(rule: Match, answer: &Json) -> Result<Want, Flaw> {
    let found = match answer.kind() {
        "a string" => "a text",
        kind => kind,
    };
    let flaw = |want| Flaw::Answer { found, want };
    match (rule, answer.string()) {
        (Match::JsonCall, text) => {
            // As an object, or spelled out.
            let spelled = text.and_then(|text| Json::parse(&text).ok());
            let call = spelled.as_ref().unwrap_or(answer);
            let call = call.members().and_then(|members| {
                let member = |name| members.iter().rfind(|(key, _)| key == name);
                let (_, name) = member("name")?;
                let (_, arguments) = member("arguments")?;
                Some((name.string()?, arguments.clone()))
            });
            let (name, arguments) = call.ok_or(flaw("a call with its name and arguments"))?;
            Ok(Want::Call { name, arguments })
        }
        (_, Some(text)) if text.trim().is_empty() => Err(Flaw::Answer {
            found: "of nothing",
            want: "a text",
        }),
        (Match::Exact, Some(text)) => Ok(Want::Exact(text)),
        (Match::Contains, Some(text)) => Ok(Want::Contains(text)),
        (Match::LastLine, Some(text)) => Ok(Want::LastLine(text)),
        (Match::Exact | Match::Contains | Match::LastLine, None) => Err(flaw("a text")),
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, clippy::indexing_slicing)]
mod tests {
    use std::error::Error;

    use deepseek_text::Message;
    use serde_json::{Value, json};

    use super::*;

    /// A line with some fields set anew; null takes one away.
    fn line(change: &Value) -> String {
        let mut item = json!({
            "task": "sum",
            "id": "sum-1",
            "seed": 7,
            "messages": [{ "role": "user", "content": "1 + 2" }],
            "answer": "3",
        });
        let fields = item.as_object_mut().expect("an object");
        for (key, value) in change.as_object().into_iter().flatten() {
            match value {
                Value::Null => fields.remove(key),
                value => fields.insert(key.clone(), value.clone()),
            };
        }
        item.to_string()
    }

    fn reads(bytes: &[u8]) -> Result<Vec<Item>, TaskError> {
        read(Path::new("tasks.jsonl"), bytes)
    }

    fn one(change: &Value) -> Item {
        reads(line(change).as_bytes()).expect("an item").remove(0)
    }

    /// The error and its causes in one line.
    fn refused(bytes: &[u8]) -> String {
        let error = reads(bytes).expect_err("a flaw");
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    #[test]
    fn an_item_has_defaults_for_what_is_not_said() {
        let item = one(&json!({}));
        assert_eq!(
            (item.task.as_str(), item.id.as_str(), item.line),
            ("sum", "sum-1", 1)
        );
        assert_eq!(item.want, Want::Exact("3".to_owned()));
        assert_eq!((item.thinking, item.max_tokens), (false, ANSWER_TOKENS));
        let item = one(&json!({ "thinking": true, "max_tokens": 5, "match": "last-line" }));
        assert_eq!(item.want, Want::LastLine("3".to_owned()));
        assert_eq!((item.thinking, item.max_tokens), (true, 5));
        let item = one(&json!({ "match": "contains" }));
        assert_eq!(item.want, Want::Contains("3".to_owned()));
    }

    #[test]
    fn a_call_is_wanted_as_an_object_or_spelled_out() {
        let call = json!({ "name": "find", "arguments": { "x": 1 } });
        let want = Want::Call {
            name: "find".to_owned(),
            arguments: json!({ "x": 1 }).into(),
        };
        for answer in [call.clone(), call.to_string().into()] {
            assert_eq!(
                one(&json!({ "match": "json-call", "answer": answer })).want,
                want
            );
        }
    }

    #[test]
    fn the_order_of_keys_in_what_is_asked_is_kept() {
        let parameters = r#"{"zebra":1,"ant":2}"#;
        let text = format!(
            r#"{{"task":"t","id":"i","answer":"a","messages":[{{"role":"system","content":"",
            "tools":[{{"type":"function","function":{{"name":"f","parameters":{parameters}}}}}]}}]}}"#
        );
        let items = reads(text.replace('\n', " ").as_bytes()).expect("an item");
        let Message::System(brief) = &items[0].conversation.messages[0] else {
            unreachable!("the role is system");
        };
        let members = brief.tools[0].0.members().expect("an object");
        assert_eq!(members[1].1.as_str(), parameters);
    }

    #[test]
    fn lines_are_counted_from_one_and_empty_ones_passed_over() {
        let item = line(&json!({}));
        let items = reads(format!("\n{item}\r\n  \n{item}").as_bytes()).expect("two items");
        let lines: Vec<usize> = items.iter().map(|item| item.line).collect();
        assert_eq!(lines, [2, 4]);
        assert_eq!(reads(b"\n\n").expect("nothing"), []);
    }

    #[test]
    fn what_does_not_hold_is_named_with_its_line() {
        let good = line(&json!({}));
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let cases = [
            ("{".to_owned(), "tasks.jsonl:2: not an item: EOF"),
            ("[1]".to_owned(), "tasks.jsonl:2: not an item: invalid"),
            (line(&json!({ "task": null })), "missing field `task`"),
            (line(&json!({ "answer": null })), "missing field `answer`"),
            (
                line(&json!({ "match": "regex" })),
                "unknown variant `regex`",
            ),
            (
                line(&json!({ "max_tokens": -1 })),
                "tasks.jsonl:2: not an item",
            ),
            (
                line(&json!({ "max_tokens": 0 })),
                "tasks.jsonl:2: max_tokens 0, want at least 1",
            ),
            (
                line(&json!({ "answer": 3 })),
                "tasks.jsonl:2: answer a number, want a text",
            ),
            (
                line(&json!({ "answer": " " })),
                "tasks.jsonl:2: answer of nothing, want a text",
            ),
            (
                line(&json!({ "match": "json-call" })),
                "tasks.jsonl:2: answer a text, want a call",
            ),
            (
                line(&json!({ "task": long })),
                "tasks.jsonl:2: task of 129 bytes",
            ),
            (line(&json!({ "id": "" })), "tasks.jsonl:2: id of 0 bytes"),
            (
                line(&json!({ "id": "a\nb" })),
                "tasks.jsonl:2: id of 3 bytes",
            ),
            (
                line(&json!({ "messages": [] })),
                "tasks.jsonl:2: no messages",
            ),
            (
                line(&json!({ "messages": "hello" })),
                "tasks.jsonl:2: messages: ",
            ),
            (
                line(&json!({ "messages": [{ "role": "nobody" }] })),
                "tasks.jsonl:2: messages: ",
            ),
            (
                format!("{{\"messages\":{}", "[".repeat(10_000)),
                "tasks.jsonl:2: not an item: EOF",
            ),
            (
                good.replace("\"1 + 2\"", &("[".repeat(10_000) + &"]".repeat(10_000))),
                "tasks.jsonl:2: not an item: nested deeper than 100 levels",
            ),
            (
                line(&json!({ "messages": [{ "role": "assistant", "content": "a" }] })),
                "tasks.jsonl:2: messages: conversation: message 0 is the assistant's and the last",
            ),
        ];
        for (bad, want) in cases {
            let text = refused(format!("{good}\n{bad}\n{good}").as_bytes());
            assert!(text.contains(want), "no {want:?} in {text:?}");
        }
        let text = refused(&[good.as_bytes(), b"\n\xff"].concat());
        assert_eq!(text, "tasks.jsonl:2: not UTF-8 text");
    }

    #[test]
    fn bounds_hold_on_either_side() {
        let id = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(one(&json!({ "id": id.clone() })).id, id);
        let item = line(&json!({}));
        let padded = |bytes: usize| {
            let pad = bytes - item.len() - ",\"pad\":\"\"".len();
            format!(
                "{},\"pad\":\"{}\"}}",
                item.trim_end_matches('}'),
                "x".repeat(pad)
            )
        };
        assert!(reads(padded(LINE_BYTES_MAX).as_bytes()).is_ok());
        let text = refused(padded(LINE_BYTES_MAX + 1).as_bytes());
        assert_eq!(
            text,
            "tasks.jsonl:1: 67108865 bytes, at most 67108864 are read"
        );
        let many = format!("{item}\n").repeat(ITEMS_MAX);
        assert_eq!(
            reads(many.as_bytes()).expect("all of them").len(),
            ITEMS_MAX
        );
        let text = refused(format!("{many}{item}").as_bytes());
        assert_eq!(text, "tasks.jsonl:100001: more than 100000 items");
    }
}
