//! The built library through the product's own loader. Linux only, as that loader is.
#![cfg(target_os = "linux")]

mod captures;
mod collectives;
mod control;
mod devices;
mod events;
mod executors;
mod fused;
mod graph;
mod memory;
mod objects;
mod operands;
mod operators;
mod session;
mod sparse;
mod streams;
mod table;
mod vendor;
