//! Typed access to the keys of a JSON object, with errors that name the key.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::ConfigError;

/// The keys of one object. A key that is null counts as absent, except for [`Keys::contains`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// What stands before a key in messages: empty, or the object's own key and a full stop.
    prefix: String,
    map: BTreeMap<String, Value>,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Unique;
        impl<'de> Visitor<'de> for Unique {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Keys, A::Error> {
                let mut keys = Keys::default();
                while let Some((key, value)) = from.next_entry::<String, Value>()? {
                    if keys.map.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("the key {key} occurs twice")));
                    }
                    keys.map.insert(key, value);
                }
                Ok(keys)
            }
        }
        from.deserialize_map(Unique)
    }
}

impl Keys {
    /// Whether the key is there, even if it is null.
    pub(super) fn contains(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The key as messages name it.
    pub(super) fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Makes what may be absent required.
    pub(super) fn need<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| ConfigError::Missing {
            key: self.name(key),
        })
    }

    /// An object.
    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                prefix: format!("{}.", self.name(key)),
                map: map
                    .iter()
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect(),
            })),
            Some(other) => Err(self.mismatch(key, other, "an object")),
        }
    }

    /// A list.
    pub(super) fn list(&self, key: &str) -> Result<Option<&[Value]>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(self.mismatch(key, other, "a list")),
        }
    }

    /// A string.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mismatch(key, other, "a string")),
        }
    }

    /// A whole number within `range`.
    pub(super) fn whole(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        self.value(key)
            .map(|value| whole(&self.name(key), value, range))
            .transpose()
    }

    /// A whole number within `range` that must be there.
    pub(super) fn size(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<usize, ConfigError> {
        self.need(key, self.whole(key, range)?)
    }

    /// A finite number that is not negative, as a 32-bit float.
    pub(super) fn number(&self, key: &str) -> Result<Option<f32>, ConfigError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match f32::deserialize(value) {
            Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
            Ok(_) => Err(ConfigError::Range {
                key: self.name(key),
                value: value.to_string(),
                want: "a finite number of at least 0".to_owned(),
            }),
            Err(_) => Err(self.mismatch(key, value, "a number")),
        }
    }

    /// A finite number.
    pub(super) fn real(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.mismatch(key, value, "a number")),
            },
        }
    }

    /// Whether or not.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.mismatch(key, other, "true or false")),
        }
    }

    /// A finite number above 0, as a 32-bit float, that must be there.
    pub(super) fn positive(&self, key: &str) -> Result<f32, ConfigError> {
        match self.need(key, self.number(key)?)? {
            0.0 => Err(ConfigError::Range {
                key: self.name(key),
                value: self.value(key).map(Value::to_string).unwrap_or_default(),
                want: "a number above 0".to_owned(),
            }),
            number => Ok(number),
        }
    }

    /// Whatever the key holds.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    fn mismatch(&self, key: &str, found: &Value, want: &'static str) -> ConfigError {
        ConfigError::Kind {
            key: self.name(key),
            found: brief(found),
            want,
        }
    }
}

/// `value` as a whole number within `range`; `name` is for messages.
pub(super) fn whole(
    name: &str,
    value: &Value,
    range: RangeInclusive<usize>,
) -> Result<usize, ConfigError> {
    let Some(number) = value.as_u64() else {
        let (key, found) = (name.to_owned(), brief(value));
        return Err(ConfigError::Kind {
            key,
            found,
            want: "a whole number",
        });
    };
    match usize::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(ConfigError::Range {
            key: name.to_owned(),
            value: number.to_string(),
            want: format!("{} to {}", range.start(), range.end()),
        }),
    }
}

/// A value as messages show it: at most a line.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::Array(list) => format!("a list of {}", list.len()),
        Value::Object(map) => format!("an object of {}", map.len()),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
