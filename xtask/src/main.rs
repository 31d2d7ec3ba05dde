//! House rules, fixtures and set-up.
fn main() {}
