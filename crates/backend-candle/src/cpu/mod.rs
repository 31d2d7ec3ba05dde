//! The kernels of the host: free functions on slices and numbers.
//!
//! Whatever the batch, the tiles, the threads and the instruction set, a row of a result depends on
//! that row's inputs alone, bit for bit: every sum has one order, and every rounding is a fused or
//! a single one. Kernels are written once over [`simd::Simd`] and compiled for each instruction set
//! into a table of function pointers.
#![allow(unsafe_code)]

mod attend;
mod compress;
mod decode;
mod dense;
mod experts;
mod hyper;
mod index;
mod math;
mod par;
mod rows;
mod rows_math;
#[cfg(test)]
mod scalar;
mod simd;
mod table;
#[cfg(test)]
mod tests;
mod top_k;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use attend::attend;
pub(crate) use compress::compress;
pub(crate) use dense::{linear, lookup, matmul, matmul_t};
pub(crate) use experts::experts;
pub(crate) use hyper::{hc_post, hc_pre};
pub(crate) use index::index_topk;
pub(crate) use par::Pool;
pub(crate) use rows::RowPool;
pub(crate) use rows_math::{map, rms_norm, rope, round_rows};
pub(crate) use top_k::top_k;
