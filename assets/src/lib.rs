#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

/// `config.json`, as a release has it.
pub static CONFIG: &str = include_str!("../model/config.json");

/// `tokenizer.json`.
pub static TOKENIZER: &[u8] = include_bytes!("../model/tokenizer.json");

/// `model.safetensors`. The first byte lies where a mapped file's would, as far as any vector
/// instruction cares.
pub static WEIGHTS: &[u8] = &ALIGNED.0;

/// What follows one another in memory as in the file, from a multiple of the longest vector on.
#[derive(Debug)]
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static ALIGNED: &Aligned<[u8]> = &Aligned(*include_bytes!("../model/model.safetensors"));
