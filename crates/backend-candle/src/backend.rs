//! The primitives, as candle has them.

use std::cmp::Ordering;

use candle_core::{D, DType, Device};
use deepseek_core::quant::{decode_row, round_row};
use deepseek_core::rope::Angles;
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, DeviceTensor, Error, Format, HostTensor, Kernels, Result, Rounding, RowFormat,
    ScaleFormat, Turn, Unary, Use,
};

use crate::tensor::{Tensor, fault};

/// A device that candle knows: CUDA, Metal, or the host as those compute.
#[derive(Debug)]
pub struct Candle {
    device: Device,
    name: String,
}

/// A weight matrix, widened: BF16 where it holds every value, else 32-bit floats.
#[derive(Debug)]
pub struct Weight(candle_core::Tensor);

/// A pool of cache rows as 32-bit floats `[count, width]`.
#[derive(Debug)]
pub struct Rows(candle_core::Tensor);

/// The verbs are their provided bodies.
impl Kernels for Candle {}

impl Candle {
    /// The host as other devices compute: candle's primitives and the provided bodies alone. The plain
    /// twin that the kernels of the host are tested against.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            device: Device::Cpu,
            name: "cpu (plain)".to_owned(),
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
            Ok(device) => Ok(Self { device, name }),
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
        widened.map(Weight).map_err(fault)
    }

    fn rows(&self, _format: RowFormat, width: usize, count: usize) -> Result<Rows> {
        candle_core::Tensor::zeros((count, width), DType::F32, &self.device)
            .map(Rows)
            .map_err(fault)
    }

    fn write_rows(&self, rows: &mut Rows, at: &[u32], from: &Tensor) -> Result<()> {
        assert_eq!(at.len(), from.shape()[0], "a place for each row");
        for (first, run) in runs(at) {
            let part = from.inner().narrow(0, first, run.len()).map_err(fault)?;
            rows.0
                .slice_set(&part, 0, run.start as usize)
                .map_err(fault)?;
        }
        Ok(())
    }

    fn read_rows(&self, rows: &Rows, at: &[u32]) -> Result<Tensor> {
        let parts = runs(at)
            .map(|(_, run)| rows.0.narrow(0, run.start as usize, run.len()))
            .collect::<candle_core::Result<Vec<_>>>()
            .map_err(fault)?;
        candle_core::Tensor::cat(&parts, 0)
            .map_err(fault)
            .and_then(Tensor::new)
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
        let at = candle_core::Tensor::from_slice(at, at.len(), &self.device);
        at.and_then(|at| weight.0.index_select(&at, 0)?.to_dtype(DType::F32))
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

    fn rope(&self, x: &Tensor, angles: &Angles, turn: Turn) -> Result<Tensor> {
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
            best.extend(top_k(host.row(row), k));
        }
        Ok(best)
    }

    fn is_finite(&self, x: &Tensor) -> Result<bool> {
        // What is not finite, times zero, is no number, and so is every sum with it.
        let zeros = x.inner().affine(0.0, 0.0);
        let sum = zeros.and_then(|zeros| zeros.sum_all()?.to_scalar::<f32>());
        Ok(sum.map_err(fault)?.is_finite())
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
    fn ties_go_to_the_lower_index() {
        let row = [1.0, 3.0, 3.0, 0.0, 3.0, f32::NAN];
        assert_eq!(top_k(&row, 2), [1, 2]);
        assert_eq!(top_k(&row, 9), [0, 1, 2, 3, 4, 5]);
        assert_eq!(top_k(&[-0.0, 0.0, -1.0], 1), [0]);
        assert!(top_k(&row, 0).is_empty());
    }

    #[test]
    fn one_number_that_is_not_finite_is_found_wherever_it_stands() {
        let be = Candle::plain();
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
