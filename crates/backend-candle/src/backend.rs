//! The primitives. On the host the ones that matter are ours; on other devices, and in the plain
//! mode, all are candle's.

use candle_core::{D, DType, Device};
use deepseek_core::quant::{decode_row, round_row};
use deepseek_core::rope::Angles;
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, DeviceTensor, Error, Format, HostTensor, Result, Rounding, RowFormat, ScaleFormat,
    Turn, Unary, Use,
};

use crate::host::{self, Pool, RowPool};
use crate::tensor::{Tensor, fault};

/// A device that candle knows: the host with kernels of our own, or CUDA and Metal as candle has
/// them.
#[derive(Debug)]
pub struct Candle {
    device: Device,
    name: String,
    host: Option<Pool>,
}

/// A weight matrix.
#[derive(Debug)]
pub enum Weight {
    /// As stored, borrowed from the mapped file.
    Stored(WeightView),
    /// Widened, on a device: BF16 where it holds every value, else 32-bit floats.
    Widened(candle_core::Tensor),
}

/// A pool of cache rows.
#[derive(Debug)]
pub enum Rows {
    /// Packed, in host memory.
    Packed(RowPool),
    /// As 32-bit floats `[count, width]`, on a device.
    Floats(candle_core::Tensor),
}

impl Weight {
    /// The matrix in the mapped file, where it is used as stored.
    pub(crate) fn stored(&self) -> Option<&WeightView> {
        match self {
            Self::Stored(view) => Some(view),
            Self::Widened(_) => None,
        }
    }
}

impl Candle {
    /// The host, with `threads` threads.
    ///
    /// # Panics
    /// If the system does not give them; see [`Candle::try_host`].
    #[must_use]
    pub fn host(threads: usize) -> Self {
        Self::try_host(threads).expect("the system gives threads")
    }

    /// The host, with `threads` threads.
    ///
    /// # Errors
    /// [`Error::NoThreads`] if the system does not give them.
    pub fn try_host(threads: usize) -> Result<Self> {
        Ok(Self {
            device: Device::Cpu,
            name: "cpu".to_owned(),
            host: Some(Pool::start(threads)?),
        })
    }

    /// The host without our kernels: candle's primitives and the provided bodies alone, as every
    /// other device runs them. The plain twin that the host is tested against.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            device: Device::Cpu,
            name: "cpu (plain)".to_owned(),
            host: None,
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
                host: None,
            }),
            Err(error) => Err(Error::Unsupported {
                device: name,
                what: format!("this build or machine ({})", first_line(&error.to_string())),
            }),
        }
    }

    /// The thread pool of the host's kernels, where those are in use.
    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.host.as_ref()
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

    fn name(&self) -> &str {
        &self.name
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor> {
        candle_core::Tensor::from_slice(host.data(), host.shape(), &self.device)
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

    fn load(&self, weight: &WeightView, _purpose: Use) -> Result<Weight> {
        if self.host.is_some() {
            return Ok(Weight::Stored(weight.clone()));
        }
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
        );
        let dtype = if exact { DType::BF16 } else { DType::F32 };
        let widened = widened
            .to_dtype(dtype)
            .and_then(|w| w.to_device(&self.device));
        Ok(Weight::Widened(widened.map_err(fault)?))
    }

    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<Rows> {
        if self.host.is_some() {
            return RowPool::new(format, width, count).map(Rows::Packed);
        }
        candle_core::Tensor::zeros((count, width), DType::F32, &self.device)
            .map(Rows::Floats)
            .map_err(fault)
    }

    fn write_rows(&self, rows: &mut Rows, at: &[u32], from: &Tensor) -> Result<()> {
        assert_eq!(at.len(), from.shape()[0], "a place for each row");
        match rows {
            Rows::Packed(pool) => pool.write(at, &from.values()),
            Rows::Floats(pool) => {
                for (first, run) in runs(at) {
                    let part = from.inner().narrow(0, first, run.len()).map_err(fault)?;
                    pool.slice_set(&part, 0, run.start as usize)
                        .map_err(fault)?;
                }
            }
        }
        Ok(())
    }

    fn read_rows(&self, rows: &Rows, at: &[u32]) -> Result<Tensor> {
        match rows {
            Rows::Packed(pool) => {
                let mut values = vec![0.0; at.len() * pool.width()];
                pool.read(at, &mut values);
                Tensor::host(&[at.len(), pool.width()], values)
            }
            Rows::Floats(pool) => {
                let parts = runs(at)
                    .map(|(_, run)| pool.narrow(0, run.start as usize, run.len()))
                    .collect::<candle_core::Result<Vec<_>>>()
                    .map_err(fault)?;
                candle_core::Tensor::cat(&parts, 0)
                    .map_err(fault)
                    .and_then(Tensor::new)
            }
        }
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

    fn gather(&self, t: &Tensor, at: &[u32]) -> Result<Tensor> {
        let at = candle_core::Tensor::from_slice(at, at.len(), &self.device).map_err(fault)?;
        t.inner()
            .index_select(&at, 0)
            .map_err(fault)
            .and_then(Tensor::new)
    }

    fn lookup(&self, weight: &Weight, at: &[u32]) -> Result<Tensor> {
        match weight {
            Weight::Stored(view) => {
                let width = view.shape[1];
                let mut values = vec![0.0; at.len() * width];
                for (row, out) in at.iter().zip(values.chunks_exact_mut(width)) {
                    decode_row(view, *row as usize, out);
                }
                Tensor::host(&[at.len(), width], values)
            }
            Weight::Widened(weight) => {
                let at = candle_core::Tensor::from_slice(at, at.len(), &self.device);
                at.and_then(|at| weight.index_select(&at, 0)?.to_dtype(DType::F32))
                    .map_err(fault)
                    .and_then(Tensor::new)
            }
        }
    }

    fn linear(&self, x: &Tensor, weight: &Weight) -> Result<Tensor> {
        let (rows, mut shape) = (x.rows(), x.shape().to_vec());
        let last = shape.last_mut().expect("a product has inputs");
        match weight {
            Weight::Stored(view) => {
                *last = view.shape[0];
                let pool = self.host.as_ref().expect("stored weights are the host's");
                let mut out = vec![0.0; rows * view.shape[0]];
                host::linear(pool, &x.values(), view, &mut out);
                Tensor::host(&shape, out)
            }
            Weight::Widened(weight) => {
                let inputs = std::mem::replace(last, weight.dims()[0]);
                let product = x
                    .inner()
                    .reshape((rows, inputs))
                    .and_then(|x| x.matmul(&weight.to_dtype(DType::F32)?.t()?)?.reshape(shape));
                product.map_err(fault).and_then(Tensor::new)
            }
        }
    }

    fn matmul_t(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let Some(pool) = &self.host else {
            let product = b.inner().t().and_then(|b| a.inner().matmul(&b));
            return product.map_err(fault).and_then(Tensor::new);
        };
        let (m, n) = (a.shape()[0], b.shape()[0]);
        let mut out = vec![0.0; m * n];
        host::matmul_t(pool, &a.values(), &b.values(), a.width(), &mut out);
        Tensor::host(&[m, n], out)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let Some(pool) = &self.host else {
            return a
                .inner()
                .matmul(b.inner())
                .map_err(fault)
                .and_then(Tensor::new);
        };
        let (m, n) = (a.shape()[0], b.width());
        let mut out = vec![0.0; m * n];
        host::matmul(pool, &a.values(), &b.values(), a.width(), &mut out);
        Tensor::host(&[m, n], out)
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
        if let Some(pool) = &self.host {
            let mut out = x.values().to_vec();
            let weight = weight.map(Tensor::values);
            host::rms_norm(pool, &mut out, x.width(), weight.as_deref(), eps);
            if let Some(rounding) = rounding {
                host::round_rows(pool, &mut out, x.width(), rounding);
            }
            return Tensor::host(x.shape(), out);
        }
        let norm = || {
            let x = x.inner();
            let mean = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(eps))?;
            let y = x.broadcast_div(&mean.sqrt()?)?;
            weight.map_or(Ok(y.clone()), |weight| y.broadcast_mul(weight.inner()))
        };
        let y = norm().map_err(fault).and_then(Tensor::new)?;
        rounding.map_or(Ok(y.clone()), |rounding| self.round(&y, rounding))
    }

    fn rope(&self, x: &Tensor, angles: &Angles, turn: Turn) -> Result<Tensor> {
        if let Some(pool) = &self.host {
            let mut out = x.values().to_vec();
            host::rope(pool, &mut out, x.shape()[0], x.width(), angles, turn);
            return Tensor::host(x.shape(), out);
        }
        let (rows, width, pairs) = (x.shape()[0], x.width(), angles.pairs());
        let inner = x.rows() / rows;
        let rotate = || {
            let flat = x.inner().reshape((rows, inner, width))?;
            let still = flat.narrow(2, 0, width - 2 * pairs)?;
            let moving = flat.narrow(2, width - 2 * pairs, 2 * pairs)?;
            let moving = moving.reshape((rows, inner, pairs, 2))?;
            let (a, b) = (moving.narrow(3, 0, 1)?, moving.narrow(3, 1, 1)?);
            let table = |values: &[f32]| {
                candle_core::Tensor::from_slice(values, (rows, 1, pairs, 1), &self.device)
            };
            let (cos, sin) = (table(angles.cos())?, table(angles.sin())?);
            let sin = if turn == Turn::Back { sin.neg()? } else { sin };
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            let second = (a.broadcast_mul(&sin)? + b.broadcast_mul(&cos)?)?;
            let turned = candle_core::Tensor::cat(&[&first, &second], 3)?;
            let turned = turned.reshape((rows, inner, 2 * pairs))?;
            candle_core::Tensor::cat(&[&still, &turned], 2)?.reshape(x.shape())
        };
        rotate().map_err(fault).and_then(Tensor::new)
    }

    fn top_k(&self, x: &Tensor, k: usize) -> Result<Vec<u32>> {
        let host = self.download(x)?;
        let mut best = Vec::with_capacity(x.rows() * k);
        for row in 0..x.rows() {
            host::top_k(host.row(row), k, &mut best);
        }
        Ok(best)
    }

    fn is_finite(&self, x: &Tensor) -> Result<bool> {
        if self.host.is_some() {
            return Ok(host::is_finite(&x.values()));
        }
        // What is not finite, times zero, is no number, and so is every sum with it.
        let zeros = x.inner().affine(0.0, 0.0);
        let sum = zeros.and_then(|zeros| zeros.sum_all()?.to_scalar::<f32>());
        Ok(sum.map_err(fault)?.is_finite())
    }

    fn round(&self, x: &Tensor, to: Rounding) -> Result<Tensor> {
        if let Some(pool) = &self.host {
            let mut out = x.values().to_vec();
            host::round_rows(pool, &mut out, x.width(), to);
            return Tensor::host(x.shape(), out);
        }
        // Rounding must be exact, and candle has no such casts on every device: through the host.
        let mut values = self.download(x)?.into_data();
        values
            .chunks_exact_mut(x.width())
            .for_each(|row| round_row(row, to));
        self.upload(&HostTensor::new(x.shape(), values))
    }
}

/// The runs of neighbours in a list of rows, each with its place in the list.
fn runs(at: &[u32]) -> impl Iterator<Item = (usize, std::ops::Range<u32>)> + '_ {
    let mut first = 0;
    at.chunk_by(|a, b| a + 1 == *b).map(move |run| {
        let place = first;
        first += run.len();
        (place, run[0]..run[0] + run.len() as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        for be in [Candle::host(1), Candle::plain()] {
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
                    let x = HostTensor::new(&[3, 4, 5], values);
                    let x = be.upload(&x).expect("room");
                    let finite = be.is_finite(&x).expect("a sum");
                    assert_eq!(finite, lost.is_none(), "{lost:?} at {at}");
                }
            }
        }
    }
}
