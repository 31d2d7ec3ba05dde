//! The primitives, as candle has them.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{D, DType, Device};
use deepseek_core::operands::{ExpertBank, ExpertShare, FeedForward, Residency};
use deepseek_core::quant::{decode_row, round_row};
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, Collective, DeviceTensor, Error, Format, HostTensor, Kernels, Member, NO_ROW, Result,
    Rotation, Rounding, RowFormat, ScaleFormat, Unary, Use,
};

use crate::tensor::{Tensor, fault};

/// A device that candle knows: CUDA, Metal, or the host as those compute.
#[derive(Debug)]
pub struct Candle {
    device: Device,
    name: String,
    /// Its place among several ranks, if it is one of them.
    member: Option<Member>,
}

/// A weight matrix, widened: BF16 where it holds every value, else 32-bit floats.
#[derive(Debug, Clone)]
pub struct Weight(candle_core::Tensor);

/// A pool of cache rows as 32-bit floats `[count, width]`.
#[derive(Debug)]
pub struct Rows(candle_core::Tensor);

/// A list of row numbers, `[n]`. candle reads zeros for the largest number of a type, and skips what is
/// written there: that is [`NO_ROW`].
#[derive(Debug, Clone)]
pub struct Ids(candle_core::Tensor);

/// The verbs are their provided bodies, and experts are widened like other weights: all stay.
impl Kernels for Candle {
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
}

/// Ranks meet in the host's memory, whatever computes: slow, but right.
impl Collective for Candle {
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
        let own = self.download(x)?;
        let mut sum = vec![0.0; own.data().len()];
        member.all_reduce(own.data(), &mut sum)?;
        self.upload(&HostTensor::new(x.shape(), sum))
    }

    fn all_gather(&self, x: &Tensor) -> Result<Tensor> {
        let Some(member) = &self.member else {
            return Ok(x.clone());
        };
        let own = self.download(x)?;
        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("parts of a dimension") *= member.world();
        let mut all = vec![0.0; shape.iter().product()];
        member.all_gather(own.data(), x.width(), &mut all)?;
        self.upload(&HostTensor::new(&shape, all))
    }
}

impl Candle {
    /// The host as other devices compute: candle's primitives and the provided bodies alone. The plain
    /// twin that the kernels of the host are tested against.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            device: Device::Cpu,
            name: "cpu (plain)".to_owned(),
            member: None,
        }
    }

    /// The same as one of several ranks.
    #[must_use]
    pub fn joined(self, member: Member) -> Self {
        Self {
            member: Some(member),
            ..self
        }
    }

    /// A CUDA device by number.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in a build without the feature `cuda`, or without such a device.
    pub fn cuda(ordinal: usize) -> Result<Self> {
        Self::device(format!("cuda:{ordinal}"), Device::new_cuda(ordinal))
    }

    /// A Metal device by number.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in a build without the feature `metal`, or without such a device.
    pub fn metal(ordinal: usize) -> Result<Self> {
        Self::device(format!("metal:{ordinal}"), Device::new_metal(ordinal))
    }

    fn device(name: String, device: candle_core::Result<Device>) -> Result<Self> {
        match device {
            Ok(device) => Ok(Self {
                device,
                name,
                member: None,
            }),
            Err(error) => Err(Error::Unsupported {
                device: name,
                what: format!("this build or machine ({})", first_line(&error.to_string())),
            }),
        }
    }
}

/// Errors of candle carry a backtrace below their first line.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

impl Backend for Candle {
    type Tensor = Tensor;
    type Weight = Weight;
    type Rows = Rows;
    type Ids = Ids;

    fn name(&self) -> &str {
        &self.name
    }

    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<Tensor> {
        candle_core::Tensor::from_slice(numbers, shape, &self.device)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn download(&self, t: &Tensor) -> Result<HostTensor> {
        let values = t
            .inner()
            .flatten_all()
            .and_then(|t| t.to_vec1())
            .map_err(fault)?;
        Ok(HostTensor::new(t.shape(), values))
    }

    fn ids(&self, host: &[u32]) -> Result<Ids> {
        let ids = candle_core::Tensor::from_slice(host, host.len(), &self.device);
        ids.map(Ids).map_err(fault)
    }

    fn ids_on_host(&self, ids: &Ids) -> Result<Arc<[u32]>> {
        ids.0.to_vec1::<u32>().map(Arc::from).map_err(fault)
    }

    fn load(&self, weight: &WeightView, _purpose: Use) -> Result<Weight> {
        let mut values = vec![0.0; weight.shape[0] * weight.shape[1]];
        for (row, out) in values.chunks_exact_mut(weight.shape[1]).enumerate() {
            decode_row(weight, row, out);
        }
        let shape = (weight.shape[0], weight.shape[1]);
        let widened = candle_core::Tensor::from_vec(values, shape, &Device::Cpu).map_err(fault)?;
        // Powers of two as scales leave few significant bits, so BF16 holds every value.
        let exact = !matches!(
            weight.format,
            Format::F32
                | Format::F16
                | Format::Fp8 {
                    scale: ScaleFormat::F32,
                    ..
                }
                | Format::Fp4 {
                    scale: ScaleFormat::F32,
                    ..
                }
                | Format::Int8
                | Format::Int4 { .. }
        );
        let dtype = if exact { DType::BF16 } else { DType::F32 };
        let widened = widened
            .to_dtype(dtype)
            .and_then(|w| w.to_device(&self.device));
        widened.map(Weight).map_err(fault)
    }

    fn rows(&self, _format: RowFormat, width: usize, count: usize) -> Result<Rows> {
        candle_core::Tensor::zeros((count, width), DType::F32, &self.device)
            .map(Rows)
            .map_err(fault)
    }

    fn write_rows(&self, rows: &mut Rows, at: &Ids, from: &Tensor) -> Result<()> {
        let at = at.0.unsqueeze(1);
        at.and_then(|at| at.broadcast_as(from.shape())?.contiguous())
            .and_then(|at| rows.0.scatter_set(&at, from.inner(), 0))
            .map_err(fault)
    }

    fn read_rows(&self, rows: &Rows, at: &Ids) -> Result<Tensor> {
        rows.0
            .index_select(&at.0, 0)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn export_rows(&self, rows: &Rows, run: Range<u32>) -> Result<Vec<u8>> {
        let rows = rows.0.narrow(0, run.start as usize, run.len());
        let values = rows.and_then(|rows| rows.flatten_all()?.to_vec1::<f32>());
        let values = values.map_err(fault)?;
        Ok(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }

    fn import_rows(&self, rows: &mut Rows, run: Range<u32>, packed: &[u8]) -> Result<()> {
        let pool = &rows.0;
        let width = pool.dims()[1];
        let want = 4 * width * run.len();
        if packed.len() != want {
            return Err(Error::Rows {
                bytes: packed.len(),
                want,
            });
        }
        let numbers = packed.as_chunks::<4>().0.iter();
        let values = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        candle_core::Tensor::from_vec(values, (run.len(), width), &self.device)
            .and_then(|rows| pool.slice_set(&rows, 0, run.start as usize))
            .map_err(fault)
    }

    fn synchronize(&self) -> Result<()> {
        self.device.synchronize().map_err(fault)
    }

    fn reshape(&self, t: &Tensor, shape: &[usize]) -> Result<Tensor> {
        t.inner()
            .reshape(shape)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn narrow(&self, t: &Tensor, dim: usize, start: usize, length: usize) -> Result<Tensor> {
        t.inner()
            .narrow(dim, start, length)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn concat(&self, parts: &[&Tensor], dim: usize) -> Result<Tensor> {
        let parts: Vec<_> = parts.iter().map(|part| part.inner()).collect();
        candle_core::Tensor::cat(&parts, dim)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn gather(&self, t: &Tensor, at: &Ids) -> Result<Tensor> {
        t.inner()
            .index_select(&at.0, 0)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn lookup(&self, weight: &Weight, at: &Ids) -> Result<Tensor> {
        let rows = weight.0.index_select(&at.0, 0);
        rows.and_then(|rows| rows.to_dtype(DType::F32))
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn linear(&self, x: &Tensor, weight: &Weight) -> Result<Tensor> {
        let (rows, mut shape) = (x.rows(), x.shape().to_vec());
        let last = shape.last_mut().expect("a product has inputs");
        let inputs = std::mem::replace(last, weight.0.dims()[0]);
        let product = x.inner().reshape((rows, inputs)).and_then(|x| {
            x.matmul(&weight.0.to_dtype(DType::F32)?.t()?)?
                .reshape(shape)
        });
        product.map_err(fault).and_then(Tensor::new)
    }

    fn matmul_t(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let product = b.inner().t().and_then(|b| a.inner().matmul(&b));
        product.map_err(fault).and_then(Tensor::new)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.inner()
            .matmul(b.inner())
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.inner()
            .broadcast_add(b.inner())
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        a.inner()
            .broadcast_mul(b.inner())
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn map(&self, x: &Tensor, f: Unary) -> Result<Tensor> {
        let x = x.inner();
        let y = match f {
            Unary::Affine { mul, add } => x.affine(f64::from(mul), f64::from(add)),
            Unary::Clamp { min, max } => x.clamp(min, max),
            Unary::Exp => x.exp(),
            Unary::Gelu => x.gelu_erf(),
            Unary::Recip => x.recip(),
            Unary::Relu => x.relu(),
            Unary::Rsqrt => x.sqrt().and_then(|x| x.recip()),
            Unary::Sigmoid => x.neg().and_then(|x| (x.exp()? + 1.0)?.recip()),
            Unary::SignedSqrt { min } => x
                .abs()
                .and_then(|x| x.clamp(min, f32::INFINITY)?.sqrt())
                .and_then(|root| x.ge(0.0)?.where_cond(&root, &root.neg()?)),
            Unary::Silu => x.silu(),
            Unary::SqrtSoftplus => {
                // ln(1 + e^x) without overflow is max(x, 0) + ln(1 + a) with a = e^-|x|. The second
                // term is corrected for what 1 + a loses of a small a.
                x.abs().and_then(|x| x.neg()?.exp()).and_then(|a| {
                    let u = (&a + 1.0)?;
                    let lost = ((&a - (&u - 1.0)?)? / &u)?;
                    ((u.log()? + lost)? + x.relu()?)?.sqrt()
                })
            }
        };
        y.map_err(fault).and_then(Tensor::new)
    }

    fn sum(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        x.inner()
            .sum_keepdim(dim)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn max(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        x.inner()
            .max_keepdim(dim)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn rms_norm(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        let norm = || {
            let x = x.inner();
            let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(eps))?;
            let y = x.broadcast_div(&mean.sqrt()?)?;
            weight.map_or(Ok(y.clone()), |weight| y.broadcast_mul(weight.inner()))
        };
        let y = norm().map_err(fault).and_then(Tensor::new)?;
        rounding.map_or(Ok(y.clone()), |rounding| self.round(&y, rounding))
    }

    fn rope(&self, x: &Tensor, angles: &Tensor, rotation: Rotation) -> Result<Tensor> {
        let (rows, width, pairs) = (x.shape()[0], x.width(), angles.width());
        let inner = x.rows() / rows.max(1);
        let rotate = || {
            let flat = x.inner().reshape((rows, inner, width))?;
            let still = flat.narrow(2, 0, width - 2 * pairs)?;
            let moving = flat.narrow(2, width - 2 * pairs, 2 * pairs)?;
            let moving = moving.reshape((rows, inner, pairs, 2))?;
            let (a, b) = (moving.narrow(3, 0, 1)?, moving.narrow(3, 1, 1)?);
            let table = |which| {
                let table = angles.inner().narrow(1, which, 1)?;
                table.reshape((rows, 1, pairs, 1))
            };
            let (cos, sin) = (table(0)?, table(1)?);
            let sin = match rotation {
                Rotation::Forward => sin,
                Rotation::Inverse => sin.neg()?,
            };
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
            let rotated = candle_core::Tensor::cat(&[&first, &second], 3)?;
            let rotated = rotated.reshape((rows, inner, 2 * pairs))?;
            candle_core::Tensor::cat(&[&still, &rotated], 2)?.reshape(x.shape())
        };
        rotate().map_err(fault).and_then(Tensor::new)
    }

    fn top_k(&self, x: &Tensor, k: usize) -> Result<Ids> {
        // candle's sort says nothing of ties, so this waits on its devices.
        let host = self.download(x)?;
        let mut best = Vec::with_capacity(x.rows() * k);
        for row in 0..x.rows() {
            best.extend(top_k(host.row(row), k));
        }
        self.ids(&best)
    }

    fn take(&self, x: &Tensor, at: &Ids, k: usize) -> Result<Tensor> {
        let at = at.0.reshape((x.rows(), k));
        at.and_then(|at| x.inner().gather(&at, 1))
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn take_ids(&self, ids: &Ids, n: usize, at: &Ids, k: usize, block: usize) -> Result<Ids> {
        let taken = || {
            let (device, rows) = (&self.device, ids.0.elem_count() / n);
            let places = candle_core::Tensor::arange(0_i64, block as i64, device)?;
            let at = at.0.to_dtype(DType::I64)?.reshape((rows, k, 1))?;
            let at = (at * block as f64)?.broadcast_add(&places)?;
            let at = at.reshape((rows, k * block))?.clamp(0_i64, n as i64)?;
            // Behind the last id stands one that is none.
            let none = candle_core::Tensor::full(NO_ROW, (rows, 1), device)?;
            let ids = candle_core::Tensor::cat(&[&ids.0.reshape((rows, n))?, &none], 1)?;
            ids.gather(&at.contiguous()?, 1)?.flatten_all()
        };
        taken().map(Ids).map_err(fault)
    }

    fn cut_ids(&self, ids: &Ids, n: usize, rows: Range<usize>, to: usize) -> Result<Ids> {
        let cut = || {
            let ids = ids.0.narrow(0, rows.start * n, rows.len() * n)?;
            let ids = ids.reshape((rows.len(), n))?;
            if to <= n {
                return ids.narrow(1, 0, to)?.flatten_all();
            }
            let padding = candle_core::Tensor::full(NO_ROW, (rows.len(), to - n), &self.device)?;
            candle_core::Tensor::cat(&[&ids, &padding], 1)?.flatten_all()
        };
        cut().map(Ids).map_err(fault)
    }

    fn mask(&self, ids: &Ids, shape: &[usize]) -> Result<Tensor> {
        let mask = || {
            let of = ids.0.shape();
            let zeros = candle_core::Tensor::zeros(of, DType::F32, &self.device)?;
            let low = candle_core::Tensor::full(f32::NEG_INFINITY, of, &self.device)?;
            ids.0.eq(NO_ROW)?.where_cond(&low, &zeros)?.reshape(shape)
        };
        mask().map_err(fault).and_then(Tensor::new)
    }

    fn finite(&self, x: &Tensor) -> Result<Tensor> {
        // What is not finite, times zero, is no number, and so is every sum with it.
        let zeros = x.inner().affine(0.0, 0.0);
        let sums = zeros.and_then(|zeros| zeros.reshape((x.shape()[0], ()))?.sum(1));
        sums.map_err(fault).and_then(Tensor::new)
    }

    fn round(&self, x: &Tensor, to: Rounding) -> Result<Tensor> {
        // Rounding must be exact, and candle has no such casts on every device: through the host.
        let mut values = self.download(x)?.into_data();
        values
            .chunks_exact_mut(x.width())
            .for_each(|row| round_row(row, to));
        self.upload(&HostTensor::new(x.shape(), values))
    }
}

/// The indices of the `k` largest, ascending, ties to the lower index. Not a number counts as least.
fn top_k(row: &[f32], k: usize) -> Vec<u32> {
    let least = |x: f32| if x.is_nan() { f32::NEG_INFINITY } else { x };
    let mut all: Vec<(f32, u32)> = row.iter().map(|x| least(*x)).zip(0..).collect();
    let better = |a: &(f32, u32), b: &(f32, u32)| {
        let by_score = b.0.partial_cmp(&a.0).unwrap_or(Ordering::Equal);
        by_score.then(a.1.cmp(&b.1))
    };
    if k < all.len() {
        all.select_nth_unstable_by(k, better);
        all.truncate(k);
    }
    let mut best: Vec<u32> = all.into_iter().map(|(_, index)| index).collect();
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_index() {
        let row = [1.0, 3.0, 3.0, 0.0, 3.0, f32::NAN];
        assert_eq!(top_k(&row, 2), [1, 2]);
        assert_eq!(top_k(&row, 9), [0, 1, 2, 3, 4, 5]);
        assert_eq!(top_k(&[-0.0, 0.0, -1.0], 1), [0]);
        assert!(top_k(&row, 0).is_empty());
    }
}
