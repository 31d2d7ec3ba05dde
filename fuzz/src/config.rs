//! Reads bytes as a `config.json`, and plans for what they say.

/// Whether the bytes were a good config.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    match deepseek_model::Config::parse(text) {
        Ok(config) => {
            // What was accepted can be planned for, or is refused for a reason.
            let _ = deepseek_model::Report::new(&config, deepseek_model::Budget::default());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
