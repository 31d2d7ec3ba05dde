#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod bill;
pub mod block;
pub mod config;
pub mod decoder;
pub mod draft;
mod encoders;
pub mod error;
mod finite;
pub mod flaw;
pub mod inventory;
pub mod limits;
pub mod model;
pub mod names;
mod ngrams;
pub mod plan;
pub mod report;
pub mod saved;

pub use config::{Config, ConfigError, Family, Storage};
pub use decoder::{
    Capacity, Decoder, DraftAsk, Extent, Insert, Logits, Media, MediaId, Place, Placeholders,
    SeqId, SequenceState, Span, Step, TokenId, Trouble, Want,
};
pub use error::{Error, Result};
pub use model::{Extras, Model};
pub use plan::{Ablation, Budget, Plan, PlanError, Prefill};
pub use report::Report;
