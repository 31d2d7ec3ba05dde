//! Why a call fails, or queued work does.

use std::any::Any;

/// Why a call does not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    /// What it returns.
    pub code: i32,
    /// What is told of it.
    pub text: String,
    /// The check that found it, where a device would not say so, or not say so at once.
    pub violation: Option<&'static str>,
}

/// What a call comes to.
pub type Outcome<T = ()> = Result<T, Failure>;

/// What a device would not notice, or would stop at, while it runs a task.
#[derive(Debug)]
pub struct Fault {
    /// The check that found it.
    pub kind: &'static str,
    /// What is wrong.
    pub text: String,
}

impl Failure {
    /// A failure that a device would have, too.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            violation: None,
        }
    }

    /// A failure that a check found.
    pub fn violation(kind: &'static str, code: i32, text: impl Into<String>) -> Self {
        Self {
            violation: Some(kind),
            ..Self::new(code, text)
        }
    }
}

/// What a panic said.
#[must_use]
pub fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

impl Fault {
    /// A fault that a check found.
    pub fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}
