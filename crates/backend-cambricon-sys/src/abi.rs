//! The tables: what Neuware's libraries export, as facts about their C interface.
//!
//! Names are the vendor's, parameters included, so that a line can be laid beside its header.
#![allow(
    non_camel_case_types,
    non_snake_case,
    reason = "the names of the C interface"
)]

pub mod collectives;
pub mod driver;
pub mod emulator;
pub mod fusions;
pub mod operators;
pub mod runtime;

use crate::table::Symbol;

/// The symbols of all tables, table by table.
pub const TABLES: [&[Symbol]; 6] = [
    runtime::Runtime::SYMBOLS,
    driver::Driver::SYMBOLS,
    operators::Operators::SYMBOLS,
    fusions::Fusions::SYMBOLS,
    collectives::Collectives::SYMBOLS,
    emulator::Emulator::SYMBOLS,
];

/// Every symbol that the tables declare.
pub fn symbols() -> impl Iterator<Item = &'static Symbol> {
    TABLES.into_iter().flatten()
}
