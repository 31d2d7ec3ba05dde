//! The main job, with the model that the program carries.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{self, cargo};

/// Where the questions are.
const SAMPLES: &str = "assets/samples";

/// Builds the program and asks it about an image, audio, a video and a text. The last answer comes
/// with speed and memory.
pub(crate) fn run() -> Result<()> {
    build()?;
    let file = shell::root().join(SAMPLES).join("demo.jsonl");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let questions = text
        .lines()
        .map(|line| question(&serde_json::from_str(line)?))
        .collect::<Result<Vec<_>>>()
        .with_context(|| file.display().to_string())?;
    for (index, question) in questions.iter().enumerate() {
        let mut line = deepseek();
        line.arg("run");
        if index + 1 == questions.len() {
            line.arg("--stats");
        }
        shell::run(line.args(question))?;
    }
    Ok(())
}

/// Builds the program as it is installed.
pub(crate) fn build() -> Result<()> {
    let build = [
        "build",
        "--release",
        "--locked",
        "--package",
        "deepseek-cli",
    ];
    shell::run(cargo().args(build))
}

/// The program, with nobody's settings.
pub(crate) fn deepseek() -> Command {
    unset("target/release/deepseek")
}

/// A program of this workspace, with nobody's settings.
pub(crate) fn unset(path: &str) -> Command {
    let mut program = Command::new(shell::root().join(path));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DEEPSEEK_") {
            program.env_remove(name);
        }
    }
    program.env("DEEPSEEK_CONFIG", "");
    program
}

/// An item of a task file as arguments of `deepseek run`: the files first, then what is asked.
fn question(item: &Value) -> Result<Vec<String>> {
    let content = &item["messages"][0]["content"];
    if let Some(text) = content.as_str() {
        return Ok(vec![text.to_owned()]);
    }
    let mut arguments = Vec::new();
    for part in content.as_array().context("a list of parts")? {
        let (flag, kind) = match part["type"].as_str().unwrap_or("") {
            "text" => {
                arguments.push(part["text"].as_str().context("a text")?.to_owned());
                continue;
            }
            "image_url" => ("--image", "image_url"),
            "audio_url" => ("--audio", "audio_url"),
            "video_url" => ("--video", "video_url"),
            other => bail!("a part of the type {other:?}"),
        };
        let name = part[kind]["url"].as_str().context("a file")?;
        arguments.extend([flag.to_owned(), format!("{SAMPLES}/{name}")]);
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_becomes_a_command_line() -> Result<()> {
        let ask = |content: Value| question(&json!({ "messages": [{ "content": content }] }));
        assert_eq!(ask(json!("1 + 2"))?, ["1 + 2"]);
        let parts = json!([
            { "type": "video_url", "video_url": { "url": "film.avi" } },
            { "type": "text", "text": "What moves?" },
        ]);
        assert_eq!(
            ask(parts)?,
            ["--video", "assets/samples/film.avi", "What moves?"]
        );
        let other = json!([{ "type": "file", "file": {} }]);
        assert!(ask(other).is_err());
        Ok(())
    }
}
