//! Films from files: good ones against what others see in them, and hostile ones.

mod build;
mod golden;
mod hostile;
mod read;
