//! What is measured, and how often.

use std::path::PathBuf;

use clap::Args;

use super::model::Model;
use super::number::whole;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    pub(crate) model: Model,
    /// Run prompts of so many tokens; 0 runs none.
    #[arg(
        short = 'p',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "512",
        value_parser = whole(0..=u32::MAX),
        allow_negative_numbers = true
    )]
    pub(crate) n_prompt: Vec<u32>,
    /// Run so many tokens one after the other; 0 runs none.
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "128",
        value_parser = whole(0..=u32::MAX),
        allow_negative_numbers = true
    )]
    pub(crate) n_gen: Vec<u32>,
    /// Measure behind so many tokens that stand in the KV cache.
    #[arg(
        short = 'd',
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "0",
        value_parser = whole(0..=u32::MAX),
        allow_negative_numbers = true
    )]
    pub(crate) n_depth: Vec<u32>,
    /// Measure each so often.
    #[arg(short = 'r', long, value_name = "N", default_value_t = 5, value_parser = whole(1_u16..=u16::MAX), allow_negative_numbers = true)]
    pub(crate) repetitions: u16,
    /// Use so many threads [default: one for each core].
    #[arg(short = 't', long, value_name = "N", value_delimiter = ',', value_parser = whole(1_u16..=1024), allow_negative_numbers = true)]
    pub(crate) threads: Vec<u16>,
    /// Run so many tokens of a prompt at a time.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = whole(1_u32..=1 << 16), allow_negative_numbers = true)]
    pub(crate) chunk: u32,
    /// Print JSON: an object for each row, in a list.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print comma-separated values, a row a line, with a head.
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,
    /// Draw speed over depth into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}
