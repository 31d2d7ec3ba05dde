//! What the program says about itself.

use crate::program::run;

const COMMANDS: [&str; 13] = [
    "run",
    "chat",
    "inspect",
    "convert",
    "tokenize",
    "logits",
    "eval",
    "bench",
    "doctor",
    "devices",
    "config",
    "sessions",
    "completions",
];

#[test]
fn the_help_names_each_command_and_each_exit_code() {
    let help = run(&["--help"]).done();
    for command in COMMANDS {
        assert!(
            help.contains(&format!("\n  {command} ")),
            "{command} in {help}"
        );
    }
    assert!(help.contains("Exit codes:"), "{help}");
    for code in ["  0 ", "  1 ", "  2 ", "  3 ", "  130 "] {
        assert!(
            help.lines().any(|line| line.starts_with(code)),
            "{code:?} in {help}"
        );
    }
}

#[test]
fn the_help_of_each_command_has_examples_and_exit_codes() {
    for command in COMMANDS {
        let help = run(&[command, "--help"]).done();
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.contains("Exit codes: 0 "), "{help}");
        let first = help.lines().next().unwrap_or_default();
        assert!(first.ends_with('.'), "{first:?} is no sentence");
    }
}

#[test]
fn defaults_are_shown() {
    let help = run(&["run", "--help"]).done();
    for default in [
        "default: released",
        "[default: cpu]",
        "8192",
        "one for each core",
    ] {
        assert!(help.contains(default), "{default} in {help}");
    }
}

#[test]
fn no_command_shows_the_help_and_is_misuse() {
    let ran = run::<&str>(&[]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("Usage: deepseek"), "{}", ran.err);
}

#[test]
fn audio_formats_are_the_same_everywhere() {
    let help = run(&["run", "--help"]).done();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let papers = ["../../README.md", "../deepseek-audio/README.md"].map(|name| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        std::fs::read_to_string(path).expect("a README")
    });
    for text in [&help, &papers[0], &papers[1]] {
        assert!(text.contains(deepseek_audio::FORMATS), "{text}");
    }
}
