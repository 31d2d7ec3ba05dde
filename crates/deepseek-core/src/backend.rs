//! What a device is: three kinds of memory and two dozen primitives.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::format::{Rounding, RowFormat};
use crate::host::{Fetched, HostTensor};
use crate::numerics::Level;
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

/// Which way [`Backend::rope`] rotates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// By the angle.
    Forward,
    /// By minus the angle: undoes `Forward`.
    Inverse,
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

/// How a device takes the lists of rows of a step that the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// As runs, however many there are, and with no work for rows that a step does not complete.
    Runs,
    /// As ids on the device, padded so that what a step of so many tokens calls does not depend on where
    /// its sequences stand. What grows with a text is padded to powers of two: shapes change a few times
    /// in its life, and work grows with it.
    Padded,
    /// The same, padded to all that the context has: neither calls nor shapes depend on where sequences
    /// stand, so one captured step serves a whole text. A short text costs what a full one does.
    Fixed,
}

/// The id that names no row: it is read as a row of zeros, and a write to it is skipped. Lists of ids
/// are padded with it to a common length.
pub const NO_ROW: u32 = u32::MAX;

/// A device: what flows, what is known, what is remembered, and the primitives on them.
///
/// - Work may be queued. A failure of queued work appears at the next call that waits:
///   [`download`](Self::download), [`ids_on_host`](Self::ids_on_host),
///   [`fetch`](Self::fetch) or [`synchronize`](Self::synchronize). No other call waits, so nothing that a device chose has to
///   come to the host within a step.
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
    /// What is known: a weight matrix, packed as the device likes it, never written again. A clone
    /// is a handle, never a copy.
    type Weight: Clone + fmt::Debug + Send + Sync + 'static;
    /// What is remembered: a pool of cache rows, written in place.
    type Rows: fmt::Debug + Send + 'static;
    /// A list of row numbers, on the device. A clone is a handle, never a copy.
    type Ids: Clone + fmt::Debug + Send + Sync + 'static;

    /// The device in a word or two, as in messages.
    fn name(&self) -> &str;

    /// The levels of numerics that it serves: all, unless its operators keep less than
    /// [`Level::Exact`] asks for. A model of another level is refused when it is loaded.
    fn levels(&self) -> &[Level] {
        &Level::ALL
    }

    /// How lists of rows are handed to the device.
    fn lists(&self) -> Lists {
        Lists::Padded
    }

    /// Copies numbers to the device, under a shape that holds just as many. Waits for nothing: the copy
    /// may be queued like other work.
    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<Self::Tensor>;
    /// The same of numbers that have their shape with them.
    fn upload(&self, host: &HostTensor) -> Result<Self::Tensor> {
        self.upload_slice(host.shape(), host.data())
    }
    /// Copies numbers from the device, after all work queued before: waits, except on the host.
    fn download(&self, t: &Self::Tensor) -> Result<HostTensor>;
    /// Copies row numbers to the device, without waiting.
    fn ids(&self, host: &[u32]) -> Result<Self::Ids>;
    /// Copies row numbers from the device, after all work queued before: waits, except on the host.
    fn ids_on_host(&self, ids: &Self::Ids) -> Result<Arc<[u32]>>;
    /// Takes a weight matrix for one `purpose`, so that a device may pack it for that alone: what was
    /// loaded for the other is a bug. On the host this borrows the mapped file; elsewhere it copies, and
    /// may widen what the device has no products for.
    fn load(&self, weight: &WeightView, purpose: Use) -> Result<Self::Weight>;
    /// Makes a pool of `count` rows of `width` channels. Untouched rows cost no memory on the host.
    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<Self::Rows>;
    /// Stores `from: [n, width]` at the rows `at`, converting to the pool's format: in place, queued.
    /// What would go to [`NO_ROW`] is skipped.
    fn write_rows(&self, rows: &mut Self::Rows, at: &Self::Ids, from: &Self::Tensor) -> Result<()>;
    /// Copies the rows `at`, widened, as `[n, width]`; [`NO_ROW`] is a row of zeros.
    fn read_rows(&self, rows: &Self::Rows, at: &Self::Ids) -> Result<Self::Tensor>;
    /// A run of rows as the pool packs them, after all work queued before: waits.
    fn export_rows(&self, rows: &Self::Rows, run: Range<u32>) -> Result<Vec<u8>>;
    /// Puts as many rows that a pool of the same format and width exported in the place of a run.
    ///
    /// # Errors
    /// [`Error::Rows`](crate::Error::Rows) if these are not just so many bytes.
    fn import_rows(&self, rows: &mut Self::Rows, run: Range<u32>, packed: &[u8]) -> Result<()>;
    /// Copies the rows `from` to the rows `to` of the same pool.
    fn copy_rows(&self, rows: &mut Self::Rows, from: &Self::Ids, to: &Self::Ids) -> Result<()> {
        let copied = self.read_rows(rows, from)?;
        self.write_rows(rows, to, &copied)
    }
    /// Several of either at once, so that a device waits no more than once. What `to` held before is
    /// forgotten.
    fn fetch(&self, tensors: &[Self::Tensor], ids: &[Self::Ids], to: &mut Fetched) -> Result<()> {
        to.clear();
        for t in tensors {
            to.push_tensor(self.download(t)?.data());
        }
        for ids in ids {
            to.push_ids(&self.ids_on_host(ids)?);
        }
        Ok(())
    }
    /// Waits for all queued work.
    fn synchronize(&self) -> Result<()>;

    /// The same numbers under another shape: a handle, without a copy where they lie in one piece.
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
    /// Joins along `dim`: a copy of all parts.
    fn concat(&self, parts: &[&Self::Tensor], dim: usize) -> Result<Self::Tensor>;
    /// Entries `at` of the first dimension, in memory of their own; [`NO_ROW`] is an entry of zeros.
    fn gather(&self, t: &Self::Tensor, at: &Self::Ids) -> Result<Self::Tensor>;

    /// Rows `at` of a weight matrix loaded for [`Use::Lookup`], widened: `[n, columns]`.
    fn lookup(&self, weight: &Self::Weight, at: &Self::Ids) -> Result<Self::Tensor>;
    /// `x · wᵀ` by a weight matrix loaded for [`Use::Product`]: `[.., in]` with `[out, in]` gives
    /// `[.., out]`.
    fn linear(&self, x: &Self::Tensor, weight: &Self::Weight) -> Result<Self::Tensor>;
    /// `a · bᵀ` of two activations: `[.., m, k]` with `[.., n, k]` gives `[.., m, n]`, the outer
    /// dimensions being alike.
    fn matmul_t(&self, a: &Self::Tensor, b: &Self::Tensor) -> Result<Self::Tensor>;
    /// `a · b` of two activations: `[.., m, k]` with `[.., k, n]` gives `[.., m, n]`, the outer
    /// dimensions being alike.
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
    /// Rotates adjacent pairs of the last `2 * pairs` channels of `x: [t, .., width]`, row `i` of the
    /// first dimension by row `i` of `angles: [t, 2, pairs]`, cosines and then sines, as
    /// [`Angles::table`](crate::rope::Angles::table) gives them (`docs/models/deepseek-v4.md` §3.3).
    fn rope(
        &self,
        x: &Self::Tensor,
        angles: &Self::Tensor,
        rotation: Rotation,
    ) -> Result<Self::Tensor>;
    /// The indices of the `k` largest of each row of `x: [t, n]`, ties to the lower index, in
    /// ascending order: `[t, k]`.
    fn top_k(&self, x: &Self::Tensor, k: usize) -> Result<Self::Ids>;
    /// The entries of each row of `x: [t, n]` that `at: [t, k]` names: `[t, k]`.
    fn take(&self, x: &Self::Tensor, at: &Self::Ids, k: usize) -> Result<Self::Tensor>;
    /// The same of ids `[t, n]`, in blocks of `block` neighbours: `[t, k * block]`. What lies behind
    /// the end of a row, as [`NO_ROW`] does, is [`NO_ROW`].
    fn take_ids(
        &self,
        ids: &Self::Ids,
        n: usize,
        at: &Self::Ids,
        k: usize,
        block: usize,
    ) -> Result<Self::Ids>;
    /// Some rows of `ids: [t, n]`, each cut or padded with [`NO_ROW`] to `to` ids.
    fn cut_ids(
        &self,
        ids: &Self::Ids,
        n: usize,
        rows: Range<usize>,
        to: usize,
    ) -> Result<Self::Ids>;
    /// 0 for each id that names a row, `-∞` for each that is [`NO_ROW`], in this shape.
    fn mask(&self, ids: &Self::Ids, shape: &[usize]) -> Result<Self::Tensor>;
    /// The round trip through a stored format, exact on every device.
    fn round(&self, x: &Self::Tensor, to: Rounding) -> Result<Self::Tensor>;

    /// For each entry of the first dimension of `x`, 0 where all its numbers are finite and else NaN:
    /// `[t]`. Nothing comes to the host.
    fn finite(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        let rows = x.shape()[0];
        let width = x.shape()[1..].iter().product();
        // What is not finite, times zero, is no number, and so is every sum with it.
        let zeros = self.map(&self.reshape(x, &[rows, width])?, Unary::scale(0.0))?;
        self.reshape(&self.sum(&zeros, 1)?, &[rows])
    }
}
