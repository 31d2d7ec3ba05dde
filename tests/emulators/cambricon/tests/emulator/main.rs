//! The built library through the product's own loader: what each check finds. Linux only, as that loader is.
#![cfg(target_os = "linux")]

mod captures;
mod collectives;
mod descriptors;
mod groups;
mod memory;
mod operators;
mod queues;
mod session;
mod table;
mod vendor;
