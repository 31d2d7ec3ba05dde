//! The built program, from outside: what it prints, where, and how it ends.

mod assets;
mod chat;
mod decoding;
mod embedded;
mod eval;
mod flags;
mod help;
mod inspect;
mod logits;
mod media;
mod misuse;
mod program;
mod run;
mod speech;
#[cfg(target_os = "linux")]
mod tables;
#[cfg(unix)]
mod terminal;
mod tokenize;
mod v41;
