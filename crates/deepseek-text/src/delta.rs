//! The pieces of a completion.

/// A piece of a completion. It is certain: no marker and no stop string can begin in its text, and a
/// call is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// More reasoning.
    Thinking(String),
    /// More of the answer.
    Text(String),
    /// A tool is called.
    Call {
        /// The place of the call among those of this completion, from zero.
        index: usize,
        /// The tool.
        name: String,
        /// What it is called with: a JSON object, whatever the model wrote. Numbers have the digits
        /// that it wrote, and a value that it marked as JSON and that is none is a string.
        arguments: String,
    },
    /// Something is not as it should be.
    Flaw(Flaw),
    /// Nothing follows.
    Finished {
        /// The stop string that ended it, if one did.
        stop: Option<String>,
    },
}

/// What is not as it should be in a completion. Nothing is lost by it but what says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Flaw {
    /// The reasoning has no end, and so the answer no beginning.
    OpenReasoning,
    /// The completion ends within a call, whose text was given as it was written.
    HalfCall,
    /// A call could not be read; its text was given as it was written.
    BadCall,
    /// What came after the calls was passed over, as the release does.
    Trailing,
}
