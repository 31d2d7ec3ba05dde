//! The built program, from outside: what it prints, where, and how it ends.

mod assets;
mod chat;
mod embedded;
mod eval;
mod help;
#[cfg(unix)]
mod inputs;
mod inspect;
mod logits;
mod media;
mod misuse;
#[cfg(unix)]
mod outputs;
mod program;
mod run;
mod tokenize;
mod v41;
