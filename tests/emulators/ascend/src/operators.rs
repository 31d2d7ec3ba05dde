//! What the operators compute: the contract of each, then plain loops. Nothing here is shared with a
//! backend, so that a comparison with one proves something.

pub(crate) mod elementwise;
pub(crate) mod experts;
pub(crate) mod gate;
pub(crate) mod hyper;
pub(crate) mod index;
pub(crate) mod matmul;
pub(crate) mod norm;
pub(crate) mod quant;
pub(crate) mod reduce;
pub(crate) mod shapes;
pub(crate) mod sparse;
