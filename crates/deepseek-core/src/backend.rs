//! What a device is: three kinds of memory and two dozen primitives.

use std::fmt;

use crate::error::Result;
use crate::format::{Rounding, RowFormat};
use crate::host::HostTensor;
use crate::numerics::Level;
use crate::rope::Angles;
use crate::weights::WeightView;

/// An activation as seen from outside its device.
pub trait DeviceTensor: Clone + fmt::Debug + Send + Sync + 'static {
    /// Its dimensions, outermost first.
    fn shape(&self) -> &[usize];

    /// The length of the last dimension; 1 for a scalar.
    fn width(&self) -> usize {
        self.shape().last().copied().unwrap_or(1)
    }

    /// The product of all dimensions but the last.
    fn rows(&self) -> usize {
        self.shape()
            .split_last()
            .map_or(1, |(_, outer)| outer.iter().product())
    }
}

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unary {
    /// `x * mul + add`.
    Affine {
        /// The factor.
        mul: f32,
        /// The term.
        add: f32,
    },
    /// `max(min, min(max, x))`; a bound may be infinite.
    Clamp {
        /// Lower bound.
        min: f32,
        /// Upper bound.
        max: f32,
    },
    /// `e^x`.
    Exp,
    /// `x * (1 + erf(x / sqrt(2))) / 2`: the exact GELU, without its usual approximation.
    Gelu,
    /// `1 / x`.
    Recip,
    /// `max(x, 0)`.
    Relu,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `sqrt(max(|x|, min))` with the sign of `x`; that of zero is positive
    /// (`docs/models/deepseek-v41.md` §3.7).
    SignedSqrt {
        /// Lower bound of the magnitude.
        min: f32,
    },
    /// `x / (1 + e^-x)`.
    Silu,
    /// `sqrt(ln(1 + e^x))`, with `x` for the logarithm beyond 20 (`docs/models/deepseek-v4.md`
    /// §3.7).
    SqrtSoftplus,
}

impl Unary {
    /// `mul * x`.
    #[must_use]
    pub const fn scale(mul: f32) -> Self {
        Self::Affine { mul, add: 0.0 }
    }
}

/// Which way [`Backend::rope`] turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// By the angle.
    Forward,
    /// By minus the angle: undoes `Forward`.
    Back,
}

/// What a weight matrix is for. None is for both: an embedding is looked up, an output matrix
/// multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// [`Backend::linear`], and the verbs that multiply by weights.
    Product,
    /// [`Backend::lookup`].
    Lookup,
}

/// A device: what flows, what is known, what is remembered, and the primitives on them.
///
/// - Work may be queued. A failure of queued work appears at the next call that waits:
///   [`download`](Self::download) or [`synchronize`](Self::synchronize).
/// - Shapes are the caller's promise. A wrong shape is a bug and panics; what a device cannot do is
///   [`Error::Unsupported`](crate::Error::Unsupported), known at load and never within a step.
/// - A tensor holds at least what its last [`round`](Self::round) promised: 32-bit floats where it
///   was never rounded, and after a rounding to BF16 a device may keep BF16. Rounding is exact, so
///   that every device rounds alike. Which levels of numerics a device serves, it says in
///   [`levels`](Self::levels).
/// - [`linear`](Self::linear) takes every format that [`load`](Self::load) took. On the host, a row
///   of its result depends on that row of `x` alone, bit for bit, whatever the batch.
pub trait Backend: fmt::Debug + Send + Sync + Sized + 'static {
    /// What flows: an activation. A clone is a handle, never a copy.
    type Tensor: DeviceTensor;
    /// What is known: a weight matrix, packed as the device likes it, never written again.
    type Weight: fmt::Debug + Send + Sync + 'static;
    /// What is remembered: a pool of cache rows, written in place.
    type Rows: fmt::Debug + Send + 'static;

    /// The device in a word or two, as in messages.
    fn name(&self) -> &str;

    /// The levels of numerics that it serves: all, unless its operators keep less than
    /// [`Level::Exact`] asks for. A model of another level is refused when it is loaded.
    fn levels(&self) -> &[Level] {
        &Level::ALL
    }

    /// Copies numbers to the device.
    fn upload(&self, host: &HostTensor) -> Result<Self::Tensor>;
    /// Copies numbers from the device, after all work queued before.
    fn download(&self, t: &Self::Tensor) -> Result<HostTensor>;
    /// Takes a weight matrix for one `purpose`, so that a device may pack it for that alone: what was
    /// loaded for the other is a bug. On the host this borrows the mapped file.
    fn load(&self, weight: &WeightView, purpose: Use) -> Result<Self::Weight>;
    /// Makes a pool of `count` rows of `width` channels. Untouched rows cost no memory on the host.
    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<Self::Rows>;
    /// Stores `from: [n, width]` at the rows `at`, converting to the pool's format.
    fn write_rows(&self, rows: &mut Self::Rows, at: &[u32], from: &Self::Tensor) -> Result<()>;
    /// Reads the rows `at` as `[n, width]`.
    fn read_rows(&self, rows: &Self::Rows, at: &[u32]) -> Result<Self::Tensor>;
    /// Waits for all queued work.
    fn synchronize(&self) -> Result<()>;

    /// The same numbers under another shape.
    fn reshape(&self, t: &Self::Tensor, shape: &[usize]) -> Result<Self::Tensor>;
    /// `length` entries of dimension `dim` from `start`. May hold on to the memory of all of `t`; what
    /// is kept beyond a step is gathered.
    fn narrow(
        &self,
        t: &Self::Tensor,
        dim: usize,
        start: usize,
        length: usize,
    ) -> Result<Self::Tensor>;
    /// Joins along `dim`.
    fn concat(&self, parts: &[&Self::Tensor], dim: usize) -> Result<Self::Tensor>;
    /// Entries `at` of the first dimension, in memory of their own.
    fn gather(&self, t: &Self::Tensor, at: &[u32]) -> Result<Self::Tensor>;

    /// Rows `at` of a weight matrix loaded for [`Use::Lookup`], widened: `[n, columns]`.
    fn lookup(&self, weight: &Self::Weight, at: &[u32]) -> Result<Self::Tensor>;
    /// `x · wᵀ` by a weight matrix loaded for [`Use::Product`]: `[.., in]` with `[out, in]` gives
    /// `[.., out]`.
    fn linear(&self, x: &Self::Tensor, weight: &Self::Weight) -> Result<Self::Tensor>;
    /// `a · bᵀ` of two activations: `[m, k]` with `[n, k]` gives `[m, n]`.
    fn matmul_t(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// `a · b` of two activations: `[m, k]` with `[k, n]` gives `[m, n]`.
    fn matmul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Elementwise sum; dimensions of length 1, and missing outer ones, are repeated.
    fn add(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// Elementwise product; dimensions of length 1, and missing outer ones, are repeated.
    fn mul(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// `f` of every number.
    fn map(&self, x: &Self::Tensor, f: Unary) -> Result<Self::Tensor>;
    /// The sum over `dim`, which stays with length 1.
    fn sum(&self, x: &Self::Tensor, dim: usize) -> Result<Self::Tensor>;
    /// The largest over `dim`, which stays with length 1.
    fn max(&self, x: &Self::Tensor, dim: usize) -> Result<Self::Tensor>;
    /// `weight ⊙ x / sqrt(mean(x²) + eps)` over the last dimension, then rounded; no weight means
    /// ones.
    fn rms_norm(
        &self,
        x: &Self::Tensor,
        weight: Option<&Self::Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<Self::Tensor>;
    /// Rotates adjacent pairs of the last `2 * angles.pairs()` channels of `x: [t, .., width]`, row
    /// `i` of the first dimension by row `i` of `angles` (`docs/models/deepseek-v4.md` §3.3).
    fn rope(&self, x: &Self::Tensor, angles: &Angles, turn: Turn) -> Result<Self::Tensor>;
    /// The indices of the `k` largest of each row of `x: [t, n]`, ties to the lower index, in
    /// ascending order: `t * k` numbers on the host.
    fn top_k(&self, x: &Self::Tensor, k: usize) -> Result<Vec<u32>>;
    /// The round trip through a stored format, exact on every device.
    fn round(&self, x: &Self::Tensor, to: Rounding) -> Result<Self::Tensor>;

    /// Whether every number is finite. One number comes to the host.
    fn is_finite(&self, x: &Self::Tensor) -> Result<bool> {
        let flat = self.reshape(x, &[1, x.shape().iter().product()])?;
        // What is not finite, times zero, is no number, and so is every sum with it.
        let zeros = self.map(&flat, Unary::scale(0.0))?;
        let sum = self.download(&self.sum(&zeros, 1)?)?;
        Ok(sum.data().iter().all(|x| x.is_finite()))
    }
}
