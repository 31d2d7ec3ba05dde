//! What the tests of V4.1's config share: the released one, changes to it, and what comes of them.

use std::fs;
use std::path::Path;

use deepseek_model::Config;
use serde_json::Value;

/// The released form, with the released numbers.
pub(crate) fn released() -> Value {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/configs");
    let text = fs::read_to_string(assets.join("v41-flash/config.json")).expect("a config");
    serde_json::from_str(&text).expect("a JSON file")
}

/// `base` with what `changes` holds, keys that it gives as the string `-` removed. Objects on both
/// sides are changed within.
pub(crate) fn changed(mut base: Value, changes: &Value) -> Value {
    let keys = base.as_object_mut().expect("a config is an object");
    for (key, value) in changes.as_object().expect("changes are an object") {
        match (keys.get_mut(key), value) {
            (_, Value::String(text)) if text == "-" => {
                keys.remove(key);
            }
            (Some(own @ Value::Object(_)), Value::Object(_)) => *own = changed(own.take(), value),
            (_, other) => {
                keys.insert(key.clone(), other.clone());
            }
        }
    }
    base
}

#[track_caller]
pub(crate) fn parse(value: &Value) -> Config {
    Config::parse(&value.to_string()).expect("the config holds together")
}

/// `config` is refused with exactly `want`.
#[track_caller]
pub(crate) fn refuse(config: &Value, want: &str) {
    let error = Config::parse(&config.to_string()).expect_err("the config must be refused");
    assert_eq!(error.to_string(), want);
}
