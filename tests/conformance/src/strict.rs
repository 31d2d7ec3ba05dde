//! A device that holds callers to what they promised.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use deepseek_core::operands::{ExpertBank, ExpertShare, FeedForward, Residency};
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, Collective, HostTensor, Kernels, Level, Result, Rotation, Rounding, RowFormat, Unary,
    Use,
};

/// Another device's primitives and the provided bodies, less what it was told not to do: it serves
/// some levels of numerics alone, and panics where a weight is used for what it was not loaded for.
#[derive(Debug)]
pub struct Strict<B> {
    /// What computes.
    pub inner: B,
    /// What it serves.
    pub levels: Vec<Level>,
    /// What was asked for ahead of its use since the last look: the experts of a layer each.
    pub prefetched: Mutex<Vec<Arc<[u32]>>>,
}

/// A weight, and what it was loaded for.
#[derive(Debug, Clone)]
pub struct Weight<W> {
    inner: W,
    purpose: Use,
}

impl<W> Weight<W> {
    fn used(&self, purpose: Use) -> &W {
        assert_eq!(self.purpose, purpose, "what a weight was loaded for");
        &self.inner
    }
}

impl<B: Kernels> Backend for Strict<B> {
    type Tensor = B::Tensor;
    type Weight = Weight<B::Weight>;
    type Rows = B::Rows;
    type Ids = B::Ids;

    fn name(&self) -> &str {
        "strict"
    }

    fn levels(&self) -> &[Level] {
        &self.levels
    }

    fn load(&self, weight: &WeightView, purpose: Use) -> Result<Self::Weight> {
        let inner = self.inner.load(weight, purpose)?;
        Ok(Weight { inner, purpose })
    }

    fn lookup(&self, weight: &Self::Weight, at: &B::Ids) -> Result<B::Tensor> {
        self.inner.lookup(weight.used(Use::Lookup), at)
    }

    fn linear(&self, x: &B::Tensor, weight: &Self::Weight) -> Result<B::Tensor> {
        self.inner.linear(x, weight.used(Use::Product))
    }

    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<B::Tensor> {
        self.inner.upload_slice(shape, numbers)
    }

    fn download(&self, t: &B::Tensor) -> Result<HostTensor> {
        self.inner.download(t)
    }

    fn ids(&self, host: &[u32]) -> Result<B::Ids> {
        self.inner.ids(host)
    }

    fn ids_on_host(&self, ids: &B::Ids) -> Result<Arc<[u32]>> {
        self.inner.ids_on_host(ids)
    }

    fn export_rows(&self, rows: &B::Rows, run: Range<u32>) -> Result<Vec<u8>> {
        self.inner.export_rows(rows, run)
    }

    fn import_rows(&self, rows: &mut B::Rows, run: Range<u32>, packed: &[u8]) -> Result<()> {
        self.inner.import_rows(rows, run, packed)
    }

    fn take(&self, x: &B::Tensor, at: &B::Ids, k: usize) -> Result<B::Tensor> {
        self.inner.take(x, at, k)
    }

    fn take_ids(
        &self,
        ids: &B::Ids,
        n: usize,
        at: &B::Ids,
        k: usize,
        block: usize,
    ) -> Result<B::Ids> {
        self.inner.take_ids(ids, n, at, k, block)
    }

    fn cut_ids(&self, ids: &B::Ids, n: usize, rows: Range<usize>, to: usize) -> Result<B::Ids> {
        self.inner.cut_ids(ids, n, rows, to)
    }

    fn mask(&self, ids: &B::Ids, shape: &[usize]) -> Result<B::Tensor> {
        self.inner.mask(ids, shape)
    }

    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<B::Rows> {
        self.inner.rows(format, width, count)
    }

    fn write_rows(&self, rows: &mut B::Rows, at: &B::Ids, from: &B::Tensor) -> Result<()> {
        self.inner.write_rows(rows, at, from)
    }

    fn read_rows(&self, rows: &B::Rows, at: &B::Ids) -> Result<B::Tensor> {
        self.inner.read_rows(rows, at)
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn reshape(&self, t: &B::Tensor, shape: &[usize]) -> Result<B::Tensor> {
        self.inner.reshape(t, shape)
    }

    fn narrow(&self, t: &B::Tensor, dim: usize, start: usize, length: usize) -> Result<B::Tensor> {
        self.inner.narrow(t, dim, start, length)
    }

    fn concat(&self, parts: &[&B::Tensor], dim: usize) -> Result<B::Tensor> {
        self.inner.concat(parts, dim)
    }

    fn gather(&self, t: &B::Tensor, at: &B::Ids) -> Result<B::Tensor> {
        self.inner.gather(t, at)
    }

    fn matmul_t(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.inner.matmul_t(a, b)
    }

    fn matmul(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.inner.matmul(a, b)
    }

    fn add(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.inner.add(a, b)
    }

    fn mul(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.inner.mul(a, b)
    }

    fn map(&self, x: &B::Tensor, f: Unary) -> Result<B::Tensor> {
        self.inner.map(x, f)
    }

    fn sum(&self, x: &B::Tensor, dim: usize) -> Result<B::Tensor> {
        self.inner.sum(x, dim)
    }

    fn max(&self, x: &B::Tensor, dim: usize) -> Result<B::Tensor> {
        self.inner.max(x, dim)
    }

    fn rms_norm(
        &self,
        x: &B::Tensor,
        weight: Option<&B::Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<B::Tensor> {
        self.inner.rms_norm(x, weight, eps, rounding)
    }

    fn rope(&self, x: &B::Tensor, angles: &B::Tensor, rotation: Rotation) -> Result<B::Tensor> {
        self.inner.rope(x, angles, rotation)
    }

    fn top_k(&self, x: &B::Tensor, k: usize) -> Result<B::Ids> {
        self.inner.top_k(x, k)
    }

    fn round(&self, x: &B::Tensor, to: Rounding) -> Result<B::Tensor> {
        self.inner.round(x, to)
    }
}

/// One rank alone.
impl<B: Kernels> Collective for Strict<B> {}

impl<B: Kernels> Kernels for Strict<B> {
    type Experts = ExpertBank<Self>;

    fn load_experts(&self, share: ExpertShare<'_>, _: Residency) -> Result<ExpertBank<Self>> {
        ExpertBank::copied(self, share)
    }

    fn experts_in(&self, bank: &ExpertBank<Self>) -> Range<u32> {
        bank.range()
    }

    fn expert(&self, bank: &ExpertBank<Self>, id: u32) -> Result<FeedForward<Self>> {
        Ok(bank.expert(id))
    }

    fn prefetch(&self, _: &ExpertBank<Self>, ids: &B::Ids) -> Result<()> {
        let ids = self.ids_on_host(ids)?;
        self.prefetched.lock().expect("no panic").push(ids);
        Ok(())
    }
}
