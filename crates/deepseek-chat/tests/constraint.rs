//! Answers that have to look like something, whatever the model would rather say.

mod carried;

use backend_host::Host;
use carried::carried;
use deepseek_chat::{Completion, Form, LoadOptions, Session, TurnOptions};
use deepseek_engine::{Reason, Sampling, SamplingOptions};
use deepseek_text::{Conversation, Mode, Options};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// Schemas that answers are held against.
const SCHEMAS: u64 = 100;

fn session() -> Session {
    let load = LoadOptions {
        context: Some(4096),
        drafts: 2,
        ..LoadOptions::default()
    };
    carried().load(Host::new(2), load).unwrap()
}

/// The answer to a question, by a seed; greedy where there is none.
fn ask(session: &Session, form: Form<'_>, mode: Mode, seed: Option<u64>) -> Completion {
    let description = carried().describe().unwrap();
    let options = session.options();
    let sampling = match seed {
        None => Sampling::greedy(),
        Some(seed) => Sampling::new(SamplingOptions {
            temperature: 1.5,
            seed,
            ..SamplingOptions::default()
        })
        .unwrap(),
    };
    let answer = TurnOptions {
        constraint: Some(description.constraint(form).unwrap()),
        sampling,
        ..options.answer.clone()
    };
    let prompt = Options {
        mode,
        ..options.prompt
    };
    let asked = Conversation::ask("What is 12 + 30?");
    let turn = session.turn(&asked, &prompt, answer, Vec::new()).unwrap();
    turn.wait().unwrap()
}

/// A schema whose answers end, `depth` levels deep at most.
fn schema(rng: &mut ChaCha8Rng, depth: u32) -> Value {
    let kinds = if depth == 0 { 6 } else { 9 };
    match rng.random_range(0..kinds) {
        0 => json!({ "type": "boolean" }),
        1 => json!({ "type": "null" }),
        2 => {
            let low = rng.random_range(-500..500);
            json!({ "type": "integer", "minimum": low, "maximum": low + rng.random_range(0..700) })
        }
        3 => {
            let least = rng.random_range(0..4);
            let most = least + rng.random_range(0..6);
            json!({ "type": "string", "minLength": least, "maxLength": most })
        }
        4 => {
            let words = ["red", "grün", "\"", "a\\b", ""];
            let some = words.choose_multiple(rng, 3).collect::<Vec<_>>();
            json!({ "enum": some })
        }
        5 => json!({ "const": rng.random_range(0..1000) }),
        6 => {
            let least = rng.random_range(0..2);
            let most = least + rng.random_range(0..3);
            let items = schema(rng, depth - 1);
            json!({ "type": "array", "items": items, "minItems": least, "maxItems": most })
        }
        7 => json!({ "anyOf": [schema(rng, depth - 1), schema(rng, depth - 1)] }),
        _ => {
            let mut properties = Map::new();
            for name in ["a", "name", "größe", "x y"] {
                if rng.random_bool(0.6) {
                    properties.insert(name.to_owned(), schema(rng, depth - 1));
                }
            }
            let required: Vec<&String> =
                properties.keys().filter(|_| rng.random_bool(0.5)).collect();
            json!({
                "type": "object",
                "required": required,
                "properties": properties,
                "additionalProperties": false,
            })
        }
    }
}

/// Whether a value is one of a schema that [`schema`] makes.
fn validates(schema: &Value, value: &Value) -> bool {
    if let Some(all) = schema["anyOf"].as_array() {
        return all.iter().any(|schema| validates(schema, value));
    }
    if let Some(all) = schema["enum"].as_array() {
        return all.contains(value);
    }
    if let Some(one) = schema.get("const") {
        return one == value;
    }
    let within = |count: usize, least: &str, most: &str| {
        let count = count as u64;
        schema[least].as_u64().unwrap() <= count && count <= schema[most].as_u64().unwrap()
    };
    match (schema["type"].as_str().unwrap(), value) {
        ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        ("integer", Value::Number(number)) => number.as_i64().is_some_and(|number| {
            schema["minimum"].as_i64().unwrap() <= number
                && number <= schema["maximum"].as_i64().unwrap()
        }),
        ("string", Value::String(text)) => within(text.chars().count(), "minLength", "maxLength"),
        ("array", Value::Array(items)) => {
            within(items.len(), "minItems", "maxItems")
                && items.iter().all(|item| validates(&schema["items"], item))
        }
        ("object", Value::Object(members)) => {
            let known = schema["properties"].as_object().unwrap();
            let required = schema["required"].as_array().unwrap();
            let holds = |(key, value): (&String, &Value)| {
                known
                    .get(key)
                    .is_some_and(|schema| validates(schema, value))
            };
            members.iter().all(holds)
                && required
                    .iter()
                    .all(|key| members.contains_key(key.as_str().unwrap()))
        }
        _ => false,
    }
}

#[test]
fn a_hundred_schemas_are_kept_greedy_and_drawn() {
    let session = session();
    let mut said_differs = 0;
    for seed in 0..SCHEMAS {
        let schema = schema(&mut ChaCha8Rng::seed_from_u64(seed), 3);
        let text = schema.to_string();
        let [greedy, drawn] = [None, Some(seed)].map(|seed| {
            let said = ask(&session, Form::JsonSchema(&text), Mode::Chat, seed);
            assert_eq!(said.reason, Reason::Stop, "{schema}: {}", said.answer.text);
            let value: Value = serde_json::from_str(&said.answer.text)
                .unwrap_or_else(|error| panic!("{schema}: {:?}: {error}", said.answer.text));
            assert!(validates(&schema, &value), "{schema}: {value}");
            value
        });
        said_differs += usize::from(greedy != drawn);
    }
    // What the model says counts where there is a choice.
    assert!(said_differs > 10, "{said_differs}");
}

#[test]
fn what_the_model_would_say_anyway_is_said() {
    let session = session();
    let free = session.ask("What is 12 + 30?").unwrap().wait().unwrap();
    let kept = ask(&session, Form::Regex("[0-9]+"), Mode::Chat, None);
    assert_eq!(kept.answer, free.answer);
    let other = ask(&session, Form::Regex("yes|no"), Mode::Chat, None);
    assert!(
        ["yes", "no"].contains(&other.answer.text.as_str()),
        "{other:?}"
    );
}

#[test]
fn reasoning_before_the_answer_is_free() {
    let session = session();
    for seed in [None, Some(1), Some(2), Some(3)] {
        let said = ask(&session, Form::Regex("[0-9]{3}"), Mode::Thinking, seed);
        if said.reason == Reason::Stop {
            let text = &said.answer.text;
            assert!(
                text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()),
                "{said:?}"
            );
        }
        assert!(!said.answer.reasoning.is_empty(), "{said:?}");
        assert!(seed.is_some() || said.reason == Reason::Stop, "{said:?}");
    }
}
