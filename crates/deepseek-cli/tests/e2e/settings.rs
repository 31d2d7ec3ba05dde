//! Defaults from the environment and from a file, and where each is told to come from.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Checkpoint, Ran, deepseek};

/// A home with a file of settings in it.
struct Home(TempDir);

impl Home {
    fn new(settings: &str) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let folder = home.path().join(".config/deepseek");
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("config.toml"), settings).expect("a file");
        Self(home)
    }

    fn file(&self) -> String {
        let path = self.0.path().join(".config/deepseek/config.toml");
        path.display().to_string()
    }

    fn run(&self, variables: &[(&str, &str)], line: &[&str]) -> Ran {
        let mut command = deepseek(line);
        command
            .env("HOME", self.0.path())
            .env_remove("DEEPSEEK_CONFIG");
        command.envs(variables.iter().copied());
        command.output().expect("it starts").into()
    }

    /// What `config` says of a setting: its value and its origin.
    fn setting(&self, variables: &[(&str, &str)], name: &str) -> [String; 2] {
        let json = self.run(variables, &["config", "--json"]).done();
        let json: Value = serde_json::from_str(&json).expect("JSON");
        let all = json["settings"].as_array().expect("a list");
        let found = all.iter().find(|setting| setting["name"] == name);
        let found = found.unwrap_or_else(|| panic!("{name} in {json}"));
        ["value", "origin"].map(|key| found[key].as_str().expect("text").to_owned())
    }
}

#[test]
fn what_is_typed_counts_before_the_environment_and_that_before_the_file() {
    let checkpoint = Checkpoint::new();
    let model = format!(
        "model = {:?}\nmax-tokens = 5\nseed = 3\n",
        checkpoint.path()
    );
    let home = Home::new(&model);
    let ask = |variables: &[(&str, &str)], more: &[&str]| {
        home.run(
            variables,
            &[&["run", "--raw", "-t", "1"], more, &["once"]].concat(),
        )
    };
    let by_hand = |more: &[&str]| checkpoint.run("run", &[&["--raw"], more, &["once"]].concat());
    let five = by_hand(&["-n", "5", "-s", "3"]);
    assert_eq!(five.code, Some(0), "{five:?}");
    assert_eq!(ask(&[], &[]), five);
    let seven = by_hand(&["-n", "7", "-s", "3"]);
    assert_eq!(ask(&[("DEEPSEEK_MAX_TOKENS", "7")], &[]), seven);
    assert_eq!(ask(&[("DEEPSEEK_MAX_TOKENS", "7")], &["-n", "5"]), five);
    // An empty variable says nothing.
    assert_eq!(ask(&[("DEEPSEEK_MAX_TOKENS", "")], &[]), five);

    assert_eq!(home.setting(&[], "max-tokens"), ["5", "file"]);
    let variables = [("DEEPSEEK_MAX_TOKENS", "7")];
    assert_eq!(home.setting(&variables, "max-tokens"), ["7", "environment"]);
    assert_eq!(home.setting(&[], "device"), ["cpu", "default"]);
    let page = home.run(&variables, &["config"]).done();
    let line = page.lines().find(|line| line.starts_with("max-tokens"));
    let words: Vec<&str> = line.expect("a line").split_whitespace().collect();
    assert_eq!(words, ["max-tokens", "7", "DEEPSEEK_MAX_TOKENS"]);
    assert!(page.contains(&home.file()), "{page}");
}

#[test]
fn a_setting_counts_where_its_flag_is() {
    let checkpoint = Checkpoint::new();
    let home = Home::new("context = 64\n");
    let model = ("DEEPSEEK_MODEL", checkpoint.path());
    let page = home.run(&[model], &["doctor"]).done();
    assert!(page.contains("for 64 tokens"), "{page}");
    // A report is of what was typed.
    let report = home.run(&[model], &["inspect"]).done();
    assert!(!report.contains("at 64"), "{report}");
    assert!(
        report.contains("deepseek_v4") || report.contains("model "),
        "{report}"
    );
    home.run(
        &[model, ("DEEPSEEK_NUMERICS", "released")],
        &["tokenize", "x"],
    )
    .done();
}

#[test]
fn what_does_not_hold_is_told_with_its_origin() {
    let hint = "deepseek config shows all settings";
    let home = Home::new("");
    home.run(&[("DEEPSEEK_CONTEXT", "1")], &["run", "x"]).failed(
        2,
        "DEEPSEEK_CONTEXT: invalid value '1' for '--context <N>': want a whole number from 2 to",
        hint,
    );
    let home = Home::new("device = \"gpu\"\n");
    let error = format!(
        "{}: invalid value 'gpu' for '--device <DEVICE>'",
        home.file()
    );
    home.run(&[], &["run", "x"]).failed(3, &error, hint);
    for (text, error, hint) in [
        (
            "contxt = 5\n",
            "\"contxt\" is no setting",
            "settings are model, ",
        ),
        ("context =\n", "TOML parse error at line 1", ""),
        ("context = [5]\n", "context: want a text or a number", ""),
    ] {
        let home = Home::new(text);
        home.run(&[], &["run", "x"]).failed(3, error, hint);
        // Help is given all the same.
        assert!(home.run(&[], &["run", "--help"]).done().contains("Usage"));
    }
    // Another file, or none.
    let home = Home::new("context = [5]\n");
    let page = home.run(&[("DEEPSEEK_CONFIG", "")], &["config"]).done();
    assert!(page.starts_with("config file    none\n"), "{page}");
    let missing = home
        .run(&[("DEEPSEEK_CONFIG", "missing.toml")], &["config"])
        .done();
    assert!(
        missing.contains("missing.toml, which is not there"),
        "{missing}"
    );
}
