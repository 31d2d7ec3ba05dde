//! An answer as JSON, for programs.

use deepseek_chat::{Completion, Delta};
use deepseek_engine::{Logprobs, Usage};
use deepseek_model::TokenId;
use deepseek_text::{Call, Flaw, Json, Tokenizer};
use serde_json::{Value, json};

use crate::ending;

/// What stands beside an answer.
#[derive(Debug)]
pub(crate) struct About<'a> {
    /// The text of ids.
    pub(crate) tokenizer: &'a Tokenizer,
    /// The model, as it was named.
    pub(crate) model: Option<String>,
    /// The device and its kernels.
    pub(crate) device: String,
    /// Whether how long an answer took says anything.
    pub(crate) is_timed: bool,
    /// The seed that gives the answer again.
    pub(crate) seed: u64,
    /// Whether it was asked how likely each token was.
    pub(crate) logprobs: bool,
}

/// A whole answer.
pub(crate) fn whole(said: &Completion, about: &About<'_>) -> Json {
    let calls = Json::list_of(said.answer.calls.iter().map(call));
    let mut members = vec![
        ("text", Json::from(&*said.answer.text)),
        ("reasoning", Json::from(&*said.answer.reasoning)),
        ("calls", calls),
    ];
    members.extend(end_of(said, about));
    if about.logprobs {
        let tokens = said.tokens.iter();
        let tokens = tokens.map(|(id, logprobs)| Json::from(token(about, *id, logprobs)));
        members.push(("logprobs", Json::list_of(tokens)));
    }
    Json::object(members)
}

/// A piece of an answer, if it is one that is shown.
pub(crate) fn piece(delta: &Delta, about: &About<'_>) -> Option<Json> {
    let of = |kind, text: &str| Json::from(json!({ "type": kind, "text": text }));
    Some(match delta {
        Delta::Thinking(text) => of("reasoning", text),
        Delta::Text(text) => of("text", text),
        Delta::ToolCall {
            id,
            name,
            arguments,
        } => {
            let call = call(&Call {
                id: Some(id.clone()),
                name: name.clone(),
                arguments: arguments.clone(),
            });
            Json::object([("type", Json::from("call")), ("call", call)])
        }
        Delta::Token { id, logprobs } => {
            let mut value = token(about, *id, logprobs);
            value["type"] = "token".into();
            Json::from(value)
        }
        _ => return None,
    })
}

/// What is said when nothing follows.
pub(crate) fn end(said: &Completion, about: &About<'_>) -> Json {
    let mut members = vec![("type", Json::from("end"))];
    members.extend(end_of(said, about));
    Json::object(members)
}

fn end_of(said: &Completion, about: &About<'_>) -> Vec<(&'static str, Json)> {
    let flaws: Vec<&str> = said.flaws.iter().map(|flaw| flaw_name(*flaw)).collect();
    let times = about.is_timed.then(|| seconds(&said.usage));
    vec![
        ("finish", Json::from(ending::name(said.reason))),
        ("flaws", Json::from(json!(flaws))),
        ("tokens", Json::from(tokens(&said.usage))),
        ("seconds", Json::from(times.unwrap_or_default())),
        ("seed", Json::from(json!(about.seed))),
        ("model", Json::from(json!(about.model))),
        ("device", Json::from(&*about.device)),
    ]
}

fn tokens(usage: &Usage) -> Value {
    json!({
        "prompt": usage.prompt,
        "cached": usage.cached,
        "images": usage.image_tokens,
        "audio": usage.audio_tokens,
        "generated": usage.generated,
        "drafted": usage.drafted,
        "accepted": usage.accepted,
    })
}

fn seconds(usage: &Usage) -> Value {
    json!({
        "queued": usage.queued.as_secs_f64(),
        "prefill": usage.prefill.as_secs_f64(),
        "first_token": usage.time_to_first_token().as_secs_f64(),
        "decode": usage.decode.as_secs_f64(),
    })
}

/// A token, and how likely it and others were.
fn token(about: &About<'_>, id: TokenId, logprobs: &Logprobs) -> Value {
    let text = |id: TokenId| about.tokenizer.decode(&[id]).unwrap_or_default();
    let one = |id: TokenId, log: f32| json!({ "id": id, "text": text(id), "logprob": log });
    let mut value = one(id, logprobs.drawn);
    let top = logprobs.top.iter();
    value["top"] = top.map(|(id, log)| one(*id, *log)).collect();
    value
}

/// A call, whose arguments keep the digits that the model wrote.
fn call(call: &Call) -> Json {
    let id = call.id.as_deref().map(|id| ("id", Json::from(id)));
    let members = call.to_json().members().unwrap_or_default();
    let members = members.into_iter();
    let rest = members.map(|(key, value)| match key.as_str() {
        "name" => ("name", value),
        _ => ("arguments", value),
    });
    Json::object(id.into_iter().chain(rest))
}

fn flaw_name(flaw: Flaw) -> &'static str {
    match flaw {
        Flaw::OpenReasoning => "open-reasoning",
        Flaw::HalfCall => "half-call",
        Flaw::BadCall => "bad-call",
        Flaw::Trailing => "trailing",
        _ => "other",
    }
}
