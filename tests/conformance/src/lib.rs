//! One suite for every device.
//!
//! [`ops`] holds a device against golden numbers of single operations, made by the Python reference;
//! [`primitives`] holds its primitives against those of another device, and [`verbs`] its overrides
//! against the provided bodies, on random shapes.
#![forbid(unsafe_code)]

pub mod album;
pub mod compare;
pub mod counting;
pub mod fixture;
pub mod fixtures;
pub mod footprint;
pub mod forced;
pub mod model;
pub mod ops;
pub mod oracle;
pub mod primitives;
pub mod ranks;
pub mod strict;
pub mod verbs;
