//! The verbs: fused on the host, the provided bodies elsewhere.

use deepseek_core::Kernels;

use crate::backend::Candle;

impl Kernels for Candle {}
