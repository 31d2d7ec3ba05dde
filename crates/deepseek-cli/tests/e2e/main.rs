//! The built program, from outside: what it prints, where, and how it ends.

mod assets;
mod chat;
mod embedded;
mod eval;
mod help;
mod inspect;
mod logits;
mod media;
mod misuse;
mod program;
mod run;
mod speech;
mod tokenize;
mod v41;
