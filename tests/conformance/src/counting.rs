//! A device that counts what is asked of it. It has no verbs but the provided bodies, so that what they
//! cost a device is counted, and its lists are padded, as those of accelerators are, or fixed.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use deepseek_core::operands::{ExpertBank, ExpertShare, FeedForward, Residency, Routing, SwiGlu};
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, Collective, DeviceTensor, Fetched, HostTensor, Kernels, Level, Lists, Result,
    Rotation, Rounding, RowFormat, Unary, Use, reference,
};

/// What has been asked of a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that wait for queued work.
    pub waits: usize,
    /// Calls that bring something to the device, and their bytes.
    pub uploads: usize,
    /// Bytes to the device.
    pub bytes_up: usize,
    /// Bytes from the device.
    pub bytes_down: usize,
    /// Bytes of the weight matrices that were loaded, as they are stored.
    pub bytes_loaded: usize,
    /// Every call, in order.
    pub calls: Vec<&'static str>,
    /// The shape of every tensor that they made, in order.
    pub shapes: Vec<Vec<usize>>,
}

/// A device whose calls are counted, with experts as grouped products have them: which experts a row
/// visits is known on the device alone.
#[derive(Debug)]
pub struct Counting<B: Backend> {
    inner: B,
    /// `[experts, experts]`: row `id` is 1 at `id` and 0 elsewhere.
    identity: B::Tensor,
    lists: Lists,
    counts: Mutex<Counts>,
}

impl<B: Backend> Counting<B> {
    /// Counts what is asked of `inner` by layers with at most so many experts.
    ///
    /// # Errors
    /// What the device says.
    pub fn new(inner: B, experts: usize) -> Result<Self> {
        let mut identity = vec![0.0; experts * experts];
        identity
            .iter_mut()
            .step_by(experts + 1)
            .for_each(|one| *one = 1.0);
        Ok(Self {
            identity: inner.upload(&HostTensor::new(&[experts, experts], identity))?,
            inner,
            lists: Lists::Padded,
            counts: Mutex::default(),
        })
    }

    /// The same with lists of another kind.
    #[must_use]
    pub fn with(mut self, lists: Lists) -> Self {
        self.lists = lists;
        self
    }

    /// The device itself.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// What has been asked since the last time.
    pub fn take(&self) -> Counts {
        std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, name: &'static str, note: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.calls.push(name);
        note(&mut counts);
    }

    fn called(&self, name: &'static str) -> &B {
        self.count(name, |_| ());
        &self.inner
    }

    /// A call that makes a tensor.
    fn makes(
        &self,
        name: &'static str,
        made: impl FnOnce(&B) -> Result<B::Tensor>,
    ) -> Result<B::Tensor> {
        let made = made(&self.inner)?;
        self.count(name, |counts| counts.shapes.push(made.shape().to_vec()));
        Ok(made)
    }

    fn waits(&self, name: &'static str, bytes: usize) {
        self.count(name, |counts| {
            counts.waits += 1;
            counts.bytes_down += bytes;
        });
    }

    fn brings(&self, name: &'static str, bytes: usize) -> &B {
        self.count(name, |counts| {
            counts.uploads += 1;
            counts.bytes_up += bytes;
        });
        &self.inner
    }
}

impl<B: Backend> Backend for Counting<B> {
    type Tensor = B::Tensor;
    type Weight = B::Weight;
    type Rows = B::Rows;
    type Ids = B::Ids;

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn levels(&self) -> &[Level] {
        self.inner.levels()
    }

    fn lists(&self) -> Lists {
        self.lists
    }

    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<B::Tensor> {
        self.brings("upload", size_of_val(numbers))
            .upload_slice(shape, numbers)
    }

    fn download(&self, t: &B::Tensor) -> Result<HostTensor> {
        let host = self.inner.download(t)?;
        self.waits("download", host.data().len() * 4);
        Ok(host)
    }

    fn ids(&self, host: &[u32]) -> Result<B::Ids> {
        self.brings("ids", host.len() * 4).ids(host)
    }

    fn ids_on_host(&self, ids: &B::Ids) -> Result<Arc<[u32]>> {
        let host = self.inner.ids_on_host(ids)?;
        self.waits("ids_on_host", host.len() * 4);
        Ok(host)
    }

    fn fetch(&self, tensors: &[B::Tensor], ids: &[B::Ids], to: &mut Fetched) -> Result<()> {
        self.inner.fetch(tensors, ids, to)?;
        self.waits("fetch", to.bytes());
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.waits("synchronize", 0);
        self.inner.synchronize()
    }

    fn load(&self, weight: &WeightView, purpose: Use) -> Result<B::Weight> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.bytes_loaded += weight.bytes();
        drop(counts);
        self.inner.load(weight, purpose)
    }

    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<B::Rows> {
        self.inner.rows(format, width, count)
    }

    fn write_rows(&self, rows: &mut B::Rows, at: &B::Ids, from: &B::Tensor) -> Result<()> {
        self.called("write_rows").write_rows(rows, at, from)
    }

    fn read_rows(&self, rows: &B::Rows, at: &B::Ids) -> Result<B::Tensor> {
        self.makes("read_rows", |be| be.read_rows(rows, at))
    }

    fn export_rows(&self, rows: &B::Rows, run: Range<u32>) -> Result<Vec<u8>> {
        let packed = self.inner.export_rows(rows, run)?;
        self.waits("export_rows", packed.len());
        Ok(packed)
    }

    fn import_rows(&self, rows: &mut B::Rows, run: Range<u32>, packed: &[u8]) -> Result<()> {
        self.brings("import_rows", packed.len())
            .import_rows(rows, run, packed)
    }

    fn reshape(&self, t: &B::Tensor, shape: &[usize]) -> Result<B::Tensor> {
        self.makes("reshape", |be| be.reshape(t, shape))
    }

    fn narrow(&self, t: &B::Tensor, dim: usize, start: usize, length: usize) -> Result<B::Tensor> {
        self.makes("narrow", |be| be.narrow(t, dim, start, length))
    }

    fn concat(&self, parts: &[&B::Tensor], dim: usize) -> Result<B::Tensor> {
        self.makes("concat", |be| be.concat(parts, dim))
    }

    fn gather(&self, t: &B::Tensor, at: &B::Ids) -> Result<B::Tensor> {
        self.makes("gather", |be| be.gather(t, at))
    }

    fn lookup(&self, weight: &B::Weight, at: &B::Ids) -> Result<B::Tensor> {
        self.makes("lookup", |be| be.lookup(weight, at))
    }

    fn linear(&self, x: &B::Tensor, weight: &B::Weight) -> Result<B::Tensor> {
        self.makes("linear", |be| be.linear(x, weight))
    }

    fn matmul_t(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.makes("matmul_t", |be| be.matmul_t(a, b))
    }

    fn matmul(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.makes("matmul", |be| be.matmul(a, b))
    }

    fn add(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.makes("add", |be| be.add(a, b))
    }

    fn mul(&self, a: &B::Tensor, b: &B::Tensor) -> Result<B::Tensor> {
        self.makes("mul", |be| be.mul(a, b))
    }

    fn map(&self, x: &B::Tensor, f: Unary) -> Result<B::Tensor> {
        self.makes("map", |be| be.map(x, f))
    }

    fn sum(&self, x: &B::Tensor, dim: usize) -> Result<B::Tensor> {
        self.makes("sum", |be| be.sum(x, dim))
    }

    fn max(&self, x: &B::Tensor, dim: usize) -> Result<B::Tensor> {
        self.makes("max", |be| be.max(x, dim))
    }

    fn rms_norm(
        &self,
        x: &B::Tensor,
        weight: Option<&B::Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<B::Tensor> {
        self.makes("rms_norm", |be| be.rms_norm(x, weight, eps, rounding))
    }

    fn rope(&self, x: &B::Tensor, angles: &B::Tensor, rotation: Rotation) -> Result<B::Tensor> {
        self.makes("rope", |be| be.rope(x, angles, rotation))
    }

    fn top_k(&self, x: &B::Tensor, k: usize) -> Result<B::Ids> {
        self.called("top_k").top_k(x, k)
    }

    fn take(&self, x: &B::Tensor, at: &B::Ids, k: usize) -> Result<B::Tensor> {
        self.makes("take", |be| be.take(x, at, k))
    }

    fn take_ids(
        &self,
        ids: &B::Ids,
        n: usize,
        at: &B::Ids,
        k: usize,
        block: usize,
    ) -> Result<B::Ids> {
        self.called("take_ids").take_ids(ids, n, at, k, block)
    }

    fn cut_ids(&self, ids: &B::Ids, n: usize, rows: Range<usize>, to: usize) -> Result<B::Ids> {
        self.called("cut_ids").cut_ids(ids, n, rows, to)
    }

    fn mask(&self, ids: &B::Ids, shape: &[usize]) -> Result<B::Tensor> {
        self.makes("mask", |be| be.mask(ids, shape))
    }

    fn round(&self, x: &B::Tensor, to: Rounding) -> Result<B::Tensor> {
        self.makes("round", |be| be.round(x, to))
    }

    fn finite(&self, x: &B::Tensor) -> Result<B::Tensor> {
        self.makes("finite", |be| be.finite(x))
    }
}

impl<B: Collective> Collective for Counting<B> {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn world(&self) -> usize {
        self.inner.world()
    }

    fn all_reduce(&self, x: &B::Tensor) -> Result<B::Tensor> {
        self.makes("all_reduce", |be| be.all_reduce(x))
    }

    fn all_gather(&self, x: &B::Tensor) -> Result<B::Tensor> {
        self.makes("all_gather", |be| be.all_gather(x))
    }
}

impl<B: Collective> Kernels for Counting<B> {
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

    /// Every expert on every row, those that a row does not visit with weight 0: what grouped products
    /// give, with nothing of the routing on the host.
    fn experts(
        &self,
        x: &B::Tensor,
        routing: &Routing<Self>,
        bank: &ExpertBank<Self>,
        form: SwiGlu,
    ) -> Result<B::Tensor> {
        let (tokens, experts) = (x.rows(), self.identity.width());
        let visits = self.gather(&self.identity, &routing.experts)?;
        let visits = self.reshape(&visits, &[tokens, routing.top_k, experts])?;
        let weights = self.reshape(&routing.weights, &[tokens, routing.top_k, 1])?;
        let weights = self.sum(&self.mul(&visits, &weights)?, 1)?;
        let weights = self.reshape(&weights, &[tokens, experts])?;
        let mut total = None;
        for id in bank.range() {
            let weight = self.narrow(&weights, 1, id as usize, 1)?;
            let network = bank.expert(id);
            let y = reference::feed_forward(self, x, &network, Some(&weight), form)?;
            total = Some(match total {
                None => y,
                Some(total) => self.add(&total, &y)?,
            });
        }
        Ok(total.expect("a layer has experts"))
    }
}
