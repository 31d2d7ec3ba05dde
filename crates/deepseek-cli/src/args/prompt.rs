//! Where a prompt comes from.

use std::path::PathBuf;

use clap::Args;

/// What is asked: typed, in a file, or both, the file behind what is typed.
#[derive(Debug, Args)]
pub(crate) struct Prompt {
    /// Ask this; `-` reads it from stdin.
    ///
    /// Where stdin is no terminal, what it holds, at most 8 MiB, follows the prompt behind a blank line.
    /// In a script or a loop whose stdin is meant for others, keep it out with `< /dev/null`.
    #[arg(value_name = "PROMPT")]
    text: Option<String>,
    /// Ask this: the same as a flag.
    #[arg(short, long, value_name = "TEXT", conflicts_with = "text")]
    prompt: Option<String>,
    /// Ask what this file says, at most 8 MiB, behind what is typed; `-` is stdin.
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) prompt_file: Option<PathBuf>,
}

impl Prompt {
    /// What was typed.
    pub(crate) fn typed(&self) -> Option<&str> {
        self.text.as_deref().or(self.prompt.as_deref())
    }
}
