//! Why there is no grammar.

/// Why there is no grammar.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The source is too long.
    #[error("{bytes} bytes, at most {max} are compiled")]
    TooLong {
        /// Bytes of the source.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
    /// A schema is no JSON.
    #[error("not JSON")]
    Json(#[from] serde_json::Error),
    /// A schema asks for what would not be held.
    #[error("{place}: {keyword} cannot be enforced")]
    Keyword {
        /// Where in the schema, as a JSON pointer.
        place: String,
        /// The keyword.
        keyword: String,
    },
    /// The source does not hold.
    #[error(transparent)]
    Compile(#[from] xgrammar::CompileError),
    /// Compiling it took too long, and goes on in vain.
    #[error("not compiled within {seconds} s")]
    Slow {
        /// The seconds that it was given.
        seconds: u64,
    },
    /// What was compiled is too large.
    #[error("{bytes} bytes when compiled, at most {max} are kept")]
    TooLarge {
        /// Bytes of the compiled grammar.
        bytes: usize,
        /// How many may be.
        max: usize,
    },
    /// The compiler gave up.
    #[error("the compiler failed")]
    Panicked,
    /// The system has no thread to compile on.
    #[error("no thread to compile on")]
    Thread(#[source] std::io::Error),
    /// The vocabulary is none that can be used.
    #[error("the vocabulary cannot be used")]
    Vocabulary(#[from] xgrammar::TokenizerError),
    /// The tokenizer has fewer or more ids than it says.
    #[error(transparent)]
    Tokenizer(#[from] deepseek_text::Error),
}
