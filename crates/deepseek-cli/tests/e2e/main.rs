//! The built program, from outside: what it prints, where, and how it ends.

mod chat;
mod help;
mod inspect;
mod logits;
mod misuse;
mod program;
mod run;
mod tokenize;
mod v41;
