//! Why a call fails, or queued work does.

/// Why a call does not do what it was asked for.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What it returns.
    pub(crate) code: i32,
    /// What `aclGetRecentErrMsg` says.
    pub(crate) text: String,
    /// The check that found it, where a device would not say so, or not say so at once.
    pub(crate) violation: Option<&'static str>,
}

/// What a call comes to.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// What a device would not notice, or would stop at, while it runs a task.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The check that found it.
    pub(crate) kind: &'static str,
    /// What is wrong.
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(code: i32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            violation: None,
        }
    }

    pub(crate) fn violation(kind: &'static str, code: i32, text: impl Into<String>) -> Self {
        Self {
            violation: Some(kind),
            ..Self::new(code, text)
        }
    }
}

impl Fault {
    pub(crate) fn new(kind: &'static str, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
        }
    }
}
