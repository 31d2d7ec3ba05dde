//! The bounds of what is compiled.

use std::time::Duration;

/// The bounds of what is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a schema, an expression or a grammar.
    pub source_bytes_max: usize,
    /// Time to compile it.
    pub compile_time_max: Duration,
    /// Bytes of what comes of that.
    pub compiled_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            source_bytes_max: 256 << 10,
            compile_time_max: Duration::from_secs(30),
            compiled_bytes_max: 512 << 20,
        }
    }
}

/// Bytes of the stack on which a source is compiled: the compiler goes down as deep as its parentheses.
pub(crate) const STACK_BYTES: usize = 256 << 20;

/// Threads that compile one source.
pub(crate) const THREADS: i32 = 2;
