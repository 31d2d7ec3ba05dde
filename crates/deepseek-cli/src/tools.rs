//! Tools that the user offers to the model.

use std::path::Path;

use anyhow::{Context, anyhow};
use deepseek_text::{Conversation, Tool};

use crate::args::{Generation, ToolChoiceArg};
use crate::fault::{Fault, Result};
use crate::input;

/// The tools of a file.
pub(crate) fn read(file: &Path) -> Result<Vec<Tool>> {
    let tools = Tool::read_all(&input::file(file)?);
    tools
        .with_context(|| file.display().to_string())
        .map_err(Fault::input)
}

/// Declares the tools that the user named beside those of the conversation.
pub(crate) fn offer(conversation: &mut Conversation, asked: &Generation) -> Result<()> {
    if let Some(file) = &asked.tools {
        let tools = read(file)?;
        conversation.first_brief().tools.extend(tools);
    }
    if asked.tool_choice == Some(ToolChoiceArg::Required) && !conversation.has_tools() {
        let error = anyhow!("--tool-choice required: there are no tools");
        return Err(Fault::usage(error).hint("--tools FILE offers some"));
    }
    Ok(())
}
