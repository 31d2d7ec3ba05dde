//! Any text as a `config.json`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(config) = deepseek_model::Config::parse(text) {
        // What was accepted can be planned for, or is refused for a reason.
        let _ = deepseek_model::Report::new(&config, deepseek_model::Budget::default());
    }
});
