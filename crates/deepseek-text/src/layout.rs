//! What the layouts of V4 and of V4.1 have in common.

use deepseek_recipe_core::prompt::Prompt;

use crate::message::Task;
use crate::options::Mode;
use crate::start::Start;
use crate::tokenizer::marker;

/// A prompt before it is tokenised.
#[derive(Debug)]
pub(crate) struct Rendered {
    pub(crate) prompt: Prompt,
    /// The media in order, each as its number in the conversation.
    pub(crate) media: Vec<usize>,
    pub(crate) start: Start,
}

/// The marker with which an answer begins.
pub(crate) fn opener(mode: Mode) -> &'static str {
    match mode {
        Mode::Thinking => marker::THINK,
        Mode::Chat => marker::THINK_END,
    }
}

/// The marker that asks for a task.
pub(crate) fn task_marker(task: Task) -> &'static str {
    match task {
        Task::Action => marker::ACTION,
        Task::Query => marker::QUERY,
        Task::Authority => marker::AUTHORITY,
        Task::Domain => marker::DOMAIN,
        Task::Title => marker::TITLE,
        Task::ReadUrl => marker::READ_URL,
    }
}
