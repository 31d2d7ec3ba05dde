//! The built program, from outside: what it prints, where, and how it ends.

mod about;
mod assets;
mod bench;
mod bounds;
mod caches;
mod chat;
mod convert;
mod decoding;
mod doctor;
mod embedded;
#[cfg(target_os = "linux")]
mod emulated;
mod eval;
mod experts;
mod flags;
mod flaws;
mod forms;
mod help;
#[cfg(unix)]
mod inputs;
mod inspect;
mod logits;
mod media;
mod misuse;
mod models;
#[cfg(unix)]
mod outputs;
mod program;
mod prompts;
mod ranks;
mod run;
mod sessions;
mod settings;
mod speech;
mod spellings;
mod stored;
#[cfg(target_os = "linux")]
mod tables;
#[cfg(unix)]
mod terminal;
mod tokenize;
mod v41;
