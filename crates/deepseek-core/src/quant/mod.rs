//! The number formats of checkpoints, released and converted, as plain scalar code.
//!
//! These functions define the formats (`docs/models/deepseek-v4.md` §2.3, §2.4, §5.2): a device
//! that rounds or widens in any other way is wrong.

pub mod e8m0;
pub mod f16;
pub mod fp4;
pub mod fp8;
pub mod int;

mod decode;
mod encode;
mod round;
mod rows;

pub use decode::{decode_packed, decode_row};
pub use encode::{Encoded, encode_row, encode_rows};
pub use round::{bf16, fp4_scale, fp8_scale, hadamard, int8_scale, round_row};
pub use rows::{pack_row, unpack_row};
