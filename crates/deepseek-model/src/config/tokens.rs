//! The ids that a config names.

use serde_json::Value;

use super::keys::{Keys, whole};
use super::{ConfigError, Result};
use crate::limits::{STOPS_MAX, VOCABULARY_MAX};

/// A token id. Its bound, the vocabulary, is checked once that is known.
pub(super) fn id(name: &str, value: Option<&Value>) -> Result<u32> {
    let value = value.ok_or_else(|| ConfigError::Missing {
        key: name.to_owned(),
    })?;
    let id = whole(name, value, 0..=VOCABULARY_MAX)?;
    Ok(u32::try_from(id).unwrap_or(u32::MAX))
}

/// A token id that may be absent.
pub(super) fn token(keys: &Keys, key: &str) -> Result<Option<u32>> {
    match keys.value(key) {
        None => Ok(None),
        found => Ok(Some(id(&keys.name(key), found)?)),
    }
}

/// One end-of-text id, or several.
pub(super) fn stops(keys: &Keys) -> Result<Vec<u32>> {
    let name = keys.name("eos_token_id");
    match keys.value("eos_token_id") {
        Some(Value::Array(list)) if (1..=STOPS_MAX).contains(&list.len()) => {
            list.iter().map(|value| id(&name, Some(value))).collect()
        }
        Some(Value::Array(list)) => Err(ConfigError::Range {
            key: name,
            value: format!("{} ids", list.len()),
            want: format!("1 to {STOPS_MAX}"),
        }),
        one => Ok(vec![id(&name, one)?]),
    }
}
