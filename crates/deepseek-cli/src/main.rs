//! Run DeepSeek-V4 checkpoints from the command line.
fn main() {}
