//! Declarations of C headers, read by bindgen, in the spelling of the tables that are held against them.
#![forbid(unsafe_code)]

mod clang;
mod headers;

pub use clang::{bindings, files};
pub use headers::{Difference, Function, Headers, difference};

/// What bindgen writes of a few declarations, for tests.
pub const EXAMPLE: &str = include_str!("example.txt");
