//! The built program, from outside: what it prints, where, and how it ends.

mod assets;
mod bounds;
mod chat;
mod embedded;
mod eval;
mod flaws;
mod help;
mod inspect;
mod logits;
mod media;
mod misuse;
mod program;
mod run;
mod spellings;
mod stored;
mod tokenize;
mod v41;
