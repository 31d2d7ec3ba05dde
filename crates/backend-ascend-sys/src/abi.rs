//! The tables: what CANN and the packages of custom operators export, as facts about their C interface.
//!
//! Names are the vendor's, parameters included, so that a line can be laid beside its header.
#![allow(
    non_camel_case_types,
    non_snake_case,
    reason = "the names of the C interface"
)]

pub mod capture;
pub mod collectives;
pub mod emulator;
pub mod operators;
pub mod runtime;
pub mod tensors;
pub mod vllm_ascend_0_23_0;
pub mod vllm_ascend_0_30_0rc2;

use crate::table::Symbol;

/// The symbols of all tables, table by table.
pub const TABLES: [&[Symbol]; 9] = [
    runtime::Runtime::SYMBOLS,
    capture::GraphCapture::SYMBOLS,
    tensors::TensorLayer::SYMBOLS,
    operators::OperatorQueries::SYMBOLS,
    operators::Operators::SYMBOLS,
    collectives::Collectives::SYMBOLS,
    vllm_ascend_0_23_0::Operators::SYMBOLS,
    vllm_ascend_0_30_0rc2::Operators::SYMBOLS,
    emulator::Emulator::SYMBOLS,
];

/// Every symbol that the tables declare.
pub fn symbols() -> impl Iterator<Item = &'static Symbol> {
    TABLES.into_iter().flatten()
}
