//! Videos from files: good ones against what others see in them, and hostile ones.

mod build;
#[path = "../bytes/mod.rs"]
mod bytes;
mod golden;
mod hostile;
mod read;
