//! The host's kernels: free functions on slices and numbers.
//!
//! One rule holds for all of them: a row of a result depends on that row's inputs alone, bit for
//! bit, whatever the batch, the tiling, the number of threads or the instruction set. So there is
//! one order of summation. A dot product runs over sixteen lanes, lane `i` taking elements `i`,
//! `i + 16`, ... with fused multiply-adds, and then folds the lanes in halves.
//!
//! The set `avx512-bf16` has another order where both sides of a product are exact in BF16 ([`pairs`]): the
//! same for any batch, tiling and number of threads, too. Rows that were rounded to INT8 are multiplied with
//! weights of INT8 and INT4 as integers ([`integers`]), on every set with the same bits.

mod attend;
mod codes;
mod dense;
mod elementwise;
mod experts;
mod form;
mod formats;
mod hyper;
mod index;
mod integers;
mod lanes;
mod matrix;
mod neon;
mod pairs;
mod pool;
mod product;
mod reduce;
mod roofs;
mod route;
mod rows;
mod team;

pub(crate) use attend::attend;
pub(crate) use dense::{
    Norm, finite, linear, linear_grouped, matmul, matmul_t, rms_norm, rope, round_in_place,
    round_rows,
};
pub(crate) use elementwise::{joined, map, zip};
pub(crate) use experts::{Network, feed_forward, sum_rows};
pub(crate) use form::Known;
pub(crate) use hyper::{Pooled, Read, compress, hc_post, hc_pre};
pub(crate) use index::{Found, Searches, top_k};
pub(crate) use lanes::Isa;
pub(crate) use matrix::Matrix;
pub(crate) use pool::Pool;
pub(crate) use reduce::{Dimension, max, sum};
pub use roofs::Roofs;
pub(crate) use roofs::roofs;
pub(crate) use route::route_weights;
pub(crate) use rows::RowPool;
