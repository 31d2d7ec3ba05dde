//! What of a schema the compiler holds an answer to. What it would pass over is refused here.

use serde_json::{Map, Value};

use crate::error::Error;

/// Keywords that say nothing about what is valid, or nothing where a format is an annotation.
const SAYS_NOTHING: [&str; 13] = [
    "$comment",
    "$id",
    "$schema",
    "$anchor",
    "title",
    "description",
    "default",
    "deprecated",
    "examples",
    "format",
    "readOnly",
    "writeOnly",
    "discriminator",
];
/// Keywords that are enforced and hold no schemas.
const PLAIN: [&str; 16] = [
    "$ref",
    "type",
    "enum",
    "const",
    "required",
    "minProperties",
    "maxProperties",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
];
/// Those that hold one schema, a list of them, and some by name.
const HOLDS_ONE: [&str; 3] = ["additionalProperties", "items", "propertyNames"];
const HOLDS_LIST: [&str; 2] = ["anyOf", "prefixItems"];
const HOLDS_NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];

/// Refuses a schema with a keyword that would not be enforced.
pub(crate) fn check(schema: &Value) -> Result<(), Error> {
    check_at("#", schema)
}

fn check_at(place: &str, schema: &Value) -> Result<(), Error> {
    let Value::Object(members) = schema else {
        // What is neither an object nor true or false the compiler refuses.
        return Ok(());
    };
    let refused = |keyword: &str| Error::Keyword {
        place: place.to_owned(),
        keyword: keyword.to_owned(),
    };
    for (keyword, value) in members {
        let below = format!("{place}/{keyword}");
        match (keyword.as_str(), value) {
            (name, _) if SAYS_NOTHING.contains(&name) || PLAIN.contains(&name) => {}
            (name, schema) if HOLDS_ONE.contains(&name) => check_at(&below, schema)?,
            (name, Value::Array(all)) if HOLDS_LIST.contains(&name) => {
                for (index, schema) in all.iter().enumerate() {
                    check_at(&format!("{below}/{index}"), schema)?;
                }
            }
            (name, Value::Object(all)) if HOLDS_NAMED.contains(&name) => {
                for (key, schema) in all {
                    check_at(&format!("{below}/{key}"), schema)?;
                }
            }
            ("multipleOf", _) if members.get("type").is_some_and(|kind| kind == "integer") => {}
            ("uniqueItems", Value::Bool(false)) => {}
            (name, _) => return Err(refused(name)),
        }
    }
    match clash(members) {
        None => Ok(()),
        Some(keyword) => Err(refused(keyword)),
    }
}

/// A keyword that is not enforced beside another one.
fn clash(members: &Map<String, Value>) -> Option<&'static str> {
    let has = |name: &str| members.contains_key(name);
    let bounds = ["minLength", "maxLength"]
        .into_iter()
        .find(|name| has(name));
    match (has("pattern"), has("format")) {
        (true, true) => Some("pattern beside format"),
        (true, _) | (_, true) if bounds.is_some() => Some("a length beside pattern or format"),
        _ if has("$ref") && members.keys().any(|key| is_rule(key)) => Some("a keyword beside $ref"),
        _ if has("anyOf") && members.keys().any(|key| key != "anyOf" && is_rule(key)) => {
            Some("a keyword beside anyOf")
        }
        _ if has("enum") && has("const") => Some("const beside enum"),
        _ => None,
    }
}

/// Whether a keyword says what is valid where it stands, `$ref` and schemas for reference aside.
fn is_rule(key: &str) -> bool {
    !SAYS_NOTHING.contains(&key) && !["$ref", "$defs", "definitions"].contains(&key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(schema: &Value, want: &str) {
        let error = check(schema).expect_err("refused");
        assert_eq!(error.to_string(), want);
    }

    #[test]
    fn what_would_be_passed_over_is_named_with_its_place() {
        refused(&json!({ "not": {} }), "#: not cannot be enforced");
        refused(
            &json!({ "properties": { "a": { "items": { "uniqueItems": true } } } }),
            "#/properties/a/items: uniqueItems cannot be enforced",
        );
        refused(
            &json!({ "anyOf": [{ "type": "number", "multipleOf": 3 }] }),
            "#/anyOf/0: multipleOf cannot be enforced",
        );
        refused(
            &json!({ "pattern": "a", "maxLength": 3 }),
            "#: a length beside pattern or format cannot be enforced",
        );
        refused(&json!({ "oneOf": [{}] }), "#: oneOf cannot be enforced");
        refused(
            &json!({ "$ref": "#/$defs/a", "minimum": 3, "$defs": { "a": {} } }),
            "#: a keyword beside $ref cannot be enforced",
        );
    }

    #[test]
    fn names_of_properties_are_no_keywords() {
        let schema = json!({
            "title": "T",
            "type": "object",
            "properties": { "not": { "type": "integer", "multipleOf": 5 }, "oneOf": { "const": 1 } },
            "required": ["not"],
            "additionalProperties": false,
        });
        assert!(check(&schema).is_ok());
        assert!(check(&json!(true)).is_ok());
    }
}
