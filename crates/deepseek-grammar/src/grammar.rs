//! From a source to a grammar, and a text on its way through it.

use std::fmt;
use std::sync::mpsc::sync_channel;
use std::thread;

use deepseek_core::guard::guarded;
use xgrammar::{CompiledGrammar, GrammarCompiler, GrammarMatcher, get_bitmask_size};

use crate::error::Error;
use crate::limits::{Limits, STACK_BYTES, THREADS};
use crate::schema;
use crate::vocabulary::{Vocabulary, signed};

/// What texts have to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form<'a> {
    /// JSON that validates against this schema, on one line.
    JsonSchema(&'a str),
    /// A whole match of this regular expression.
    Regex(&'a str),
    /// A text of this grammar, in the EBNF of XGrammar, of its rule `root`.
    Ebnf(&'a str),
}

impl<'a> Form<'a> {
    fn source(self) -> &'a str {
        match self {
            Self::JsonSchema(source) | Self::Regex(source) | Self::Ebnf(source) => source,
        }
    }

    fn compile(self, compiler: &GrammarCompiler) -> Result<CompiledGrammar, Error> {
        Ok(match self {
            Self::JsonSchema(schema) => {
                compiler.compile_json_schema(schema, false, None, None, true, None)?
            }
            Self::Regex(regex) => compiler.compile_regex(regex)?,
            Self::Ebnf(grammar) => compiler.compile_grammar_ebnf(grammar, "root")?,
        })
    }
}

/// A compiled grammar. A clone is a handle.
#[derive(Clone)]
pub struct Grammar {
    compiled: CompiledGrammar,
}

impl Grammar {
    /// Compiles a source, on a thread of its own.
    ///
    /// # Errors
    /// A source that is too long, does not hold, asks for what cannot be enforced, or takes longer or
    /// more memory than it may. One that takes too long is not stopped: nothing waits for its thread.
    pub fn compile(vocabulary: &Vocabulary, form: Form<'_>, limits: Limits) -> Result<Self, Error> {
        let (bytes, max) = (form.source().len(), limits.source_bytes_max);
        if bytes > max {
            return Err(Error::TooLong { bytes, max });
        }
        if let Form::JsonSchema(schema) = form {
            schema::check(&serde_json::from_str(schema)?)?;
        }
        let compiled = on_a_thread(vocabulary, form, limits)?;
        let (bytes, max) = (compiled.memory_size_bytes(), limits.compiled_bytes_max);
        if bytes > max {
            Err(Error::TooLarge { bytes, max })
        } else {
            Ok(Self { compiled })
        }
    }

    /// A text that begins.
    #[must_use]
    pub fn begin(&self) -> Text {
        Text {
            matcher: GrammarMatcher::from_compiled_grammar(&self.compiled, false),
            words: Vec::new(),
        }
    }

    /// The ids with which a text may end.
    #[must_use]
    pub fn ends(&self) -> Vec<u32> {
        let ends = self.compiled.tokenizer_info().stop_token_ids();
        ends.iter()
            .filter_map(|id| u32::try_from(*id).ok())
            .collect()
    }
}

impl fmt::Debug for Grammar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grammar({} bytes)", self.compiled.memory_size_bytes())
    }
}

/// Compiles where the stack is deep enough, and waits for as long as it may take.
fn on_a_thread(
    vocabulary: &Vocabulary,
    form: Form<'_>,
    limits: Limits,
) -> Result<CompiledGrammar, Error> {
    let compiler = GrammarCompiler::new(vocabulary.info().clone(), THREADS, false, -1);
    let source = form.source().to_owned();
    let again: fn(&str) -> Form<'_> = match form {
        Form::JsonSchema(_) => |source| Form::JsonSchema(source),
        Form::Regex(_) => |source| Form::Regex(source),
        Form::Ebnf(_) => |source| Form::Ebnf(source),
    };
    let (sender, receiver) = sync_channel(1);
    let thread = thread::Builder::new()
        .name("grammar".to_owned())
        .stack_size(STACK_BYTES);
    let compile = move || {
        let compiled = guarded(|| again(&source).compile(&compiler));
        // Nobody listens any more where it took too long.
        let _ = sender.send(compiled.unwrap_or(Err(Error::Panicked)));
    };
    thread.spawn(compile).map_err(Error::Thread)?;
    let most = limits.compile_time_max;
    receiver.recv_timeout(most).unwrap_or(Err(Error::Slow {
        seconds: most.as_secs(),
    }))
}

/// A text on its way through a grammar.
pub struct Text {
    matcher: GrammarMatcher,
    words: Vec<i32>,
}

impl Text {
    /// Clears the bits of the ids that may not follow; 32 stand in a word, the lowest first.
    ///
    /// # Panics
    /// If there are fewer bits than ids of the vocabulary.
    pub fn narrow(&mut self, allowed: &mut [u32]) {
        let size = get_bitmask_size(self.matcher.tokenizer_info().vocab_size());
        let count = usize::try_from(size).expect("a vocabulary has no fewer than no ids");
        self.words.clear();
        self.words.resize(count, -1);
        let narrows = self
            .matcher
            .fill_next_token_bitmask(&mut self.words, &[i64::from(size)], 0);
        match narrows {
            Ok(false) => {}
            Ok(true) => {
                assert!(allowed.len() >= count, "a bit for each id");
                for (word, own) in allowed.iter_mut().zip(&self.words) {
                    *word &= own.cast_unsigned();
                }
            }
            // A text that has ended has nothing behind it.
            Err(_) => allowed.fill(0),
        }
    }

    /// Takes up the next id, and says whether it was one that may follow; else nothing changes.
    pub fn accept(&mut self, id: u32) -> bool {
        self.matcher.accept_token(signed(id))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Text")
            .field("may_end", &self.matcher.is_completed())
            .finish_non_exhaustive()
    }
}
