//! The primitives on the host.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::operands::Runs;
use deepseek_core::quant::decode_row;
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, Collective, DeviceTensor, Error, Fetched, HostTensor, Lists, Member, NO_ROW, Result,
    Rotation, Rounding, RowFormat, Unary, Use,
};

use crate::buffer::{Buffer, Buffers};
use crate::kernel_set::KernelSet;
use crate::kernels::{self, Dimension, Known, Matrix, Norm, Pool, Roofs, RowPool, Searches};
use crate::shape::Shape;
use crate::tensor::{Ids, Tensor};
use crate::turns::Turns;

/// The host: its threads, its instruction set, and the memory that its tensors take turns in.
#[derive(Debug)]
pub struct Host {
    pool: Pool,
    numbers: Arc<Buffers<f32>>,
    ids: Arc<Buffers<u32>>,
    /// Rows that were chosen.
    runs: Turns<Runs>,
    searches: Searches,
    name: String,
    /// Its place among several ranks, if it is one of them.
    member: Option<Member>,
}

/// A weight matrix as it is stored, borrowed from the mapped file.
#[derive(Debug, Clone)]
pub struct Weight(Arc<Matrix>);

impl Weight {
    /// The matrix where it lies.
    pub(crate) fn view(&self) -> &Matrix {
        &self.0
    }
}

/// A pool of cache rows, packed.
#[derive(Debug)]
pub struct Rows(RowPool);

impl Rows {
    /// The rows where they lie.
    pub(crate) fn pool(&self) -> &RowPool {
        &self.0
    }
}

impl Host {
    /// The host with `threads` threads and the best kernels that its processor runs.
    ///
    /// # Panics
    /// If the system does not give the threads; see [`Host::start`].
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self::start(threads, KernelSet::best()).expect("the system gives threads")
    }

    /// The host with `threads` threads, at least one, and these kernels.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for kernels that this processor does not run, and
    /// [`Error::NoThreads`] if the system does not give the threads.
    pub fn start(threads: usize, kernels: KernelSet) -> Result<Self> {
        let isa = kernels.isa().ok_or_else(|| unsupported(kernels))?;
        Ok(Self {
            pool: Pool::start(threads, isa)?,
            numbers: Arc::default(),
            ids: Arc::default(),
            runs: Turns::default(),
            searches: Searches::default(),
            name: "cpu".to_owned(),
            member: None,
        })
    }

    /// The same as one of several ranks.
    #[must_use]
    pub fn joined(self, member: Member) -> Self {
        Self {
            member: Some(member),
            ..self
        }
    }

    /// Measures what its threads do at most. Takes about half a second and 256 MiB.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where there is less.
    pub fn roofs(&self) -> Result<Roofs> {
        kernels::roofs(&self.pool)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Lists of rows that take turns.
    pub(crate) fn runs(&self) -> &Turns<Runs> {
        &self.runs
    }

    pub(crate) fn searches(&self) -> &Searches {
        &self.searches
    }

    /// Room for a tensor, with whatever was left in it.
    pub(crate) fn room(&self, length: usize) -> Buffer<f32> {
        self.numbers.take(length)
    }

    /// A tensor whose every number `fill` writes.
    pub(crate) fn make(&self, shape: &[usize], fill: impl FnOnce(&mut [f32])) -> Tensor {
        let mut numbers = self.room(shape.iter().product());
        fill(numbers.edit());
        Tensor::new(shape, numbers)
    }

    /// Row numbers, all of which `fill` writes.
    pub(crate) fn list(&self, length: usize, fill: impl FnOnce(&mut [u32])) -> Ids {
        let mut ids = self.ids.take(length);
        fill(ids.edit());
        Ids(ids)
    }
}

fn unsupported(kernels: KernelSet) -> Error {
    let has: Vec<_> = KernelSet::available().map(KernelSet::name).collect();
    Error::Unsupported {
        device: "cpu".to_owned(),
        what: format!(
            "the kernels {kernels}: this processor has {}",
            has.join(", ")
        ),
    }
}

/// Ranks meet in memory that they share.
impl Collective for Host {
    fn rank(&self) -> usize {
        self.member.as_ref().map_or(0, Member::rank)
    }

    fn world(&self) -> usize {
        self.member.as_ref().map_or(1, Member::world)
    }

    fn all_reduce(&self, x: &Tensor) -> Result<Tensor> {
        let Some(member) = &self.member else {
            return Ok(x.clone());
        };
        let mut sum = self.room(x.count());
        member.all_reduce(x.values(), sum.edit())?;
        Ok(Tensor::new(x.shape(), sum))
    }

    fn all_gather(&self, x: &Tensor) -> Result<Tensor> {
        let Some(member) = &self.member else {
            return Ok(x.clone());
        };
        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("parts of a dimension") *= member.world();
        let mut all = self.room(shape.iter().product());
        member.all_gather(x.values(), x.width(), all.edit())?;
        Ok(Tensor::new(&shape, all).taken(x))
    }
}

impl Backend for Host {
    type Tensor = Tensor;
    type Weight = Weight;
    type Rows = Rows;
    type Ids = Ids;

    fn name(&self) -> &str {
        &self.name
    }

    fn lists(&self) -> Lists {
        Lists::Runs
    }

    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<Tensor> {
        Ok(self.make(shape, |out| out.copy_from_slice(numbers)))
    }

    fn download(&self, t: &Tensor) -> Result<HostTensor> {
        Ok(HostTensor::new(t.shape(), t.values().to_vec()))
    }

    fn ids(&self, host: &[u32]) -> Result<Ids> {
        Ok(self.list(host.len(), |out| out.copy_from_slice(host)))
    }

    fn ids_on_host(&self, ids: &Ids) -> Result<Arc<[u32]>> {
        Ok((**ids).into())
    }

    fn fetch(&self, tensors: &[Tensor], ids: &[Ids], to: &mut Fetched) -> Result<()> {
        to.clear();
        tensors.iter().for_each(|t| to.push_tensor(t.values()));
        ids.iter().for_each(|ids| to.push_ids(ids));
        Ok(())
    }

    fn load(&self, weight: &WeightView, _purpose: Use) -> Result<Weight> {
        Ok(Weight(Arc::new(weight.clone().into())))
    }

    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<Rows> {
        RowPool::new(self.pool.isa(), format, width, count).map(Rows)
    }

    fn write_rows(&self, rows: &mut Rows, at: &Ids, from: &Tensor) -> Result<()> {
        assert_eq!(at.len(), from.shape()[0], "a place for each row");
        rows.0.write(at, from.values());
        Ok(())
    }

    fn read_rows(&self, rows: &Rows, at: &Ids) -> Result<Tensor> {
        let shape = [at.len(), rows.0.width()];
        Ok(self.make(&shape, |out| rows.0.read(at, out)))
    }

    fn export_rows(&self, rows: &Rows, run: Range<u32>) -> Result<Vec<u8>> {
        Ok(rows.0.export(run).to_vec())
    }

    fn import_rows(&self, rows: &mut Rows, run: Range<u32>, packed: &[u8]) -> Result<()> {
        rows.0.import(run, packed)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn reshape(&self, t: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let count = shape.iter().product::<usize>();
        assert_eq!(count, t.count(), "{:?} as {shape:?}", t.shape());
        Ok(t.view(0, shape))
    }

    fn narrow(&self, t: &Tensor, dim: usize, start: usize, length: usize) -> Result<Tensor> {
        let whole = t.shape();
        assert!(
            start + length <= whole[dim],
            "{length} from {start} of dimension {dim} of {whole:?}"
        );
        let inner: usize = whole[dim + 1..].iter().product();
        let mut shape = Shape::from(whole);
        shape[dim] = length;
        if whole[..dim].iter().all(|outer| *outer == 1) {
            return Ok(t.view(start * inner, &shape));
        }
        let (block, piece) = (whole[dim] * inner, length * inner);
        let from = t.values();
        let part = self.make(&shape, |out| {
            let blocks = from.chunks_exact(block.max(1));
            for (out, from) in out.chunks_exact_mut(piece.max(1)).zip(blocks) {
                out.copy_from_slice(&from[start * inner..][..piece]);
            }
        });
        Ok(part.taken(t))
    }

    fn concat(&self, parts: &[&Tensor], dim: usize) -> Result<Tensor> {
        if let [one] = parts {
            return Ok((*one).clone());
        }
        let mut shape = Shape::from(parts[0].shape());
        shape[dim] = parts.iter().map(|part| part.shape()[dim]).sum();
        for part in parts {
            let mut others = Shape::from(part.shape());
            others[dim] = shape[dim];
            assert_eq!(others, shape, "parts alike but in dimension {dim}");
        }
        let block: usize = shape[dim..].iter().product();
        Ok(self.make(&shape, |out| {
            let mut first = 0;
            for part in parts {
                let piece: usize = part.shape()[dim..].iter().product();
                let pieces = part.values().chunks_exact(piece.max(1));
                for (out, from) in out.chunks_exact_mut(block.max(1)).zip(pieces) {
                    out[first..first + piece].copy_from_slice(from);
                }
                first += piece;
            }
        }))
    }

    fn gather(&self, t: &Tensor, at: &Ids) -> Result<Tensor> {
        let mut shape = Shape::from(t.shape());
        let piece: usize = shape[1..].iter().product();
        shape[0] = at.len();
        let from = t.values();
        let gathered = self.make(&shape, |out| {
            for (out, row) in out.chunks_exact_mut(piece.max(1)).zip(at.iter()) {
                match *row {
                    NO_ROW => out.fill(0.0),
                    row => out.copy_from_slice(&from[row as usize * piece..][..piece]),
                }
            }
        });
        Ok(gathered.taken(t))
    }

    fn lookup(&self, weight: &Weight, at: &Ids) -> Result<Tensor> {
        let width = weight.0.shape[1];
        Ok(self.make(&[at.len(), width], |out| {
            for (row, out) in at.iter().zip(out.chunks_exact_mut(width)) {
                decode_row(&weight.0, *row as usize, out);
            }
        }))
    }

    fn linear(&self, x: &Tensor, weight: &Weight) -> Result<Tensor> {
        let mut shape = Shape::from(x.shape());
        *shape.last_mut().expect("a product has inputs") = weight.0.shape[0];
        Ok(self.make(&shape, |out| {
            kernels::linear(&self.pool, x.values(), &weight.0, Known::Nothing, None, out);
        }))
    }

    fn matmul_t(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (n, width) = (rows_of(b), a.width());
        Ok(self.products(a, b, n, |a, b, out| {
            kernels::matmul_t(&self.pool, a, b, width, out);
        }))
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (n, width) = (b.width(), a.width());
        Ok(self.products(a, b, n, |a, b, out| {
            kernels::matmul(&self.pool, a, b, width, out);
        }))
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(self.join(a, b, |a, b| a + b))
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        Ok(self.join(a, b, |a, b| a * b))
    }

    fn map(&self, x: &Tensor, f: Unary) -> Result<Tensor> {
        Ok(self.make(x.shape(), |out| {
            kernels::map(&self.pool, x.values(), f, out);
        }))
    }

    fn sum(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        Ok(self.reduce(x, dim, kernels::sum))
    }

    fn max(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        Ok(self.reduce(x, dim, kernels::max))
    }

    fn rms_norm(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        let norm = Norm {
            weight: weight.map(Tensor::values),
            eps,
            rounding,
        };
        let normed = self.make(x.shape(), |out| {
            kernels::rms_norm(&self.pool, x.values(), x.width(), norm, out);
        });
        Ok(normed.rounded(rounding))
    }

    fn rope(&self, x: &Tensor, angles: &Tensor, rotation: Rotation) -> Result<Tensor> {
        let rows = (x.shape()[0], x.width());
        let table = (angles.values(), angles.width());
        Ok(self.make(x.shape(), |out| {
            kernels::rope(&self.pool, x.values(), rows, table, rotation, out);
        }))
    }

    fn top_k(&self, x: &Tensor, k: usize) -> Result<Ids> {
        let k = k.min(x.width());
        Ok(self.list(x.rows() * k, |best| {
            let rows = x.values().chunks_exact(x.width().max(1));
            for (row, best) in rows.zip(best.chunks_exact_mut(k.max(1))) {
                kernels::top_k(&self.pool, row, best);
            }
        }))
    }

    fn take(&self, x: &Tensor, at: &Ids, k: usize) -> Result<Tensor> {
        let rows = x.values().chunks_exact(x.width());
        Ok(self.make(&[x.rows(), k], |out| {
            let taken = out.chunks_exact_mut(k).zip(at.chunks_exact(k));
            for ((out, at), row) in taken.zip(rows) {
                let entries = out.iter_mut().zip(at);
                entries.for_each(|(out, at)| *out = row[*at as usize]);
            }
        }))
    }

    fn take_ids(&self, ids: &Ids, n: usize, at: &Ids, k: usize, block: usize) -> Result<Ids> {
        Ok(self.list(at.len() * block, |out| {
            let rows = ids.chunks(n).zip(at.chunks(k));
            for (out, (ids, at)) in out.chunks_mut(k * block).zip(rows) {
                for (out, at) in out.chunks_exact_mut(block).zip(at) {
                    let first = (*at as usize).saturating_mul(block);
                    for (place, out) in out.iter_mut().enumerate() {
                        let id = ids.get(first.saturating_add(place));
                        *out = id.copied().unwrap_or(NO_ROW);
                    }
                }
            }
        }))
    }

    fn cut_ids(&self, ids: &Ids, n: usize, rows: Range<usize>, to: usize) -> Result<Ids> {
        Ok(self.list(rows.len() * to, |out| {
            let rows = ids[rows.start * n..rows.end * n].chunks(n);
            for (out, row) in out.chunks_exact_mut(to.max(1)).zip(rows) {
                let kept = n.min(to);
                out[..kept].copy_from_slice(&row[..kept]);
                out[kept..].fill(NO_ROW);
            }
        }))
    }

    fn mask(&self, ids: &Ids, shape: &[usize]) -> Result<Tensor> {
        Ok(self.make(shape, |out| {
            for (out, id) in out.iter_mut().zip(ids.iter()) {
                *out = match *id {
                    NO_ROW => f32::NEG_INFINITY,
                    _ => 0.0,
                };
            }
        }))
    }

    fn finite(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.shape()[0];
        Ok(self.make(&[rows], |out| kernels::finite(x.values(), out)))
    }

    fn round(&self, x: &Tensor, to: Rounding) -> Result<Tensor> {
        let rounded = self.make(x.shape(), |out| {
            kernels::round_rows(&self.pool, x.values(), x.width(), to, out);
        });
        Ok(rounded.rounded(Some(to)))
    }
}

/// The rows of each matrix of a tensor.
fn rows_of(t: &Tensor) -> usize {
    let [.., rows, _] = t.shape() else {
        panic!("{:?}: a matrix has rows", t.shape());
    };
    *rows
}

impl Host {
    /// The products of the matrices of `a` with those of `b`, `n` numbers wide.
    fn products(
        &self,
        a: &Tensor,
        b: &Tensor,
        n: usize,
        product: impl Fn(&[f32], &[f32], &mut [f32]),
    ) -> Tensor {
        let mut shape = Shape::from(a.shape());
        *shape.last_mut().expect("a matrix has columns") = n;
        let [m, k] = [rows_of(a), a.width()];
        self.make(&shape, |out| {
            let pairs = a
                .values()
                .chunks_exact(m * k)
                .zip(b.values().chunks_exact(n * k));
            for (out, (a, b)) in out.chunks_exact_mut(m * n).zip(pairs) {
                product(a, b, out);
            }
        })
    }

    fn join(&self, a: &Tensor, b: &Tensor, f: impl Fn(f32, f32) -> f32 + Sync) -> Tensor {
        let shape = kernels::joined(a.shape(), b.shape());
        let (a, b) = ((a.values(), a.shape()), (b.values(), b.shape()));
        self.make(&shape, |out| kernels::zip(&self.pool, a, b, out, f))
    }

    fn reduce(
        &self,
        x: &Tensor,
        dim: usize,
        kernel: fn(&Pool, &[f32], Dimension, &mut [f32]),
    ) -> Tensor {
        let mut shape = Shape::from(x.shape());
        let over = Dimension::of(&shape, dim);
        shape[dim] = 1;
        self.make(&shape, |out| kernel(&self.pool, x.values(), over, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kernel_set_starts_or_is_refused_with_those_there_are() {
        for set in KernelSet::ALL {
            let started = Host::start(1, set);
            if KernelSet::available().any(|there| there == set) {
                let x = started.expect("it is there");
                let one = x.upload(&HostTensor::new(&[1], vec![1.0])).expect("room");
                assert_eq!(x.add(&one, &one).expect("room").values(), [2.0]);
            } else {
                let error = started.expect_err("it is not there").to_string();
                assert_eq!(error, unsupported(set).to_string());
            }
        }
        let said = unsupported(KernelSet::Avx512).to_string();
        let begin = "cpu does not support the kernels avx512: this processor has ";
        assert!(said.starts_with(begin) && said.ends_with("plain"), "{said}");
    }

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        let be = Host::new(1);
        for lost in [
            None,
            Some(f32::NAN),
            Some(f32::INFINITY),
            Some(f32::NEG_INFINITY),
        ] {
            for at in [0, 17, 59] {
                let mut values = vec![f32::MAX; 60];
                values[1..30].fill(-0.0);
                values[30..45].fill(f32::MIN);
                values[at] = lost.unwrap_or(1.0);
                let x = be.upload(&HostTensor::new(&[3, 4, 5], values));
                let finite = be.finite(&x.expect("room")).expect("room");
                for (row, finite) in finite.values().iter().enumerate() {
                    let want = lost.is_none() || row != at / 20;
                    assert_eq!(*finite == 0.0, want, "{lost:?} at {at}, row {row}");
                }
            }
        }
    }
}
