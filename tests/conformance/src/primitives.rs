//! The primitives of a device against those of another, on random shapes.

use anyhow::Result;
use deepseek_core::{Backend, HostTensor, Unary};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::compare::{close, same_bits};

/// Holds the primitives of `be` that move numbers, or make one of one or two, against those of `twin`
/// to the bit; and its sums within `1e-6` of the magnitudes that they add.
///
/// # Errors
/// A fault of a device.
///
/// # Panics
/// Where the two differ.
pub fn check<A: Backend, B: Backend>(be: &A, twin: &B, seeds: std::ops::Range<u64>) -> Result<()> {
    check_near(be, twin, seeds, 0.0)
}

/// As [`check`], with functions of one number within this share of the largest: of a device whose exponentials
/// are by another library.
///
/// # Errors
/// A fault of a device.
///
/// # Panics
/// Where the two differ by more.
pub fn check_near<A: Backend, B: Backend>(
    be: &A,
    twin: &B,
    seeds: std::ops::Range<u64>,
    share: f32,
) -> Result<()> {
    for seed in seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let pair = Pair {
            be,
            twin,
            seed,
            share,
        };
        pair.functions(&mut rng)?;
        pair.broadcasts(&mut rng)?;
        pair.reductions(&mut rng)?;
        pair.moves(&mut rng)?;
    }
    Ok(())
}

struct Pair<'a, A, B> {
    be: &'a A,
    twin: &'a B,
    seed: u64,
    /// What functions may differ by, of the largest value; 0 for the same bits.
    share: f32,
}

/// Up to four dimensions, most of them short; some arrays are large enough to be shared among threads.
fn shape(rng: &mut ChaCha8Rng) -> Vec<usize> {
    let rank = rng.random_range(1..=4);
    let most = if rng.random_ratio(1, 4) { 40 } else { 7 };
    (0..rank).map(|_| rng.random_range(1..=most)).collect()
}

fn numbers(rng: &mut ChaCha8Rng, shape: &[usize]) -> HostTensor {
    let count = shape.iter().product();
    let number = |_| match rng.random_range(0..12) {
        0 => 0.0,
        1 => -0.0,
        _ => rng.random_range(-8.0..8.0_f32),
    };
    HostTensor::new(shape, (0..count).map(number).collect())
}

impl<A: Backend, B: Backend> Pair<'_, A, B> {
    /// Wants the same shape and bits from both.
    fn same(&self, what: &str, got: &A::Tensor, want: &B::Tensor) -> Result<()> {
        let (got, want) = (self.be.download(got)?, self.twin.download(want)?);
        let what = format!("{what}, seed {}", self.seed);
        assert_eq!(got.shape(), want.shape(), "{what}");
        same_bits(&what, &one_nan(&got), &one_nan(&want));
        Ok(())
    }

    fn functions(&self, rng: &mut ChaCha8Rng) -> Result<()> {
        let shape = shape(rng);
        let host = numbers(rng, &shape);
        let functions = [
            Unary::Affine {
                mul: 1.7,
                add: -0.3,
            },
            Unary::Clamp {
                min: -1.5,
                max: 2.0,
            },
            Unary::Exp,
            Unary::Gelu,
            Unary::Recip,
            Unary::Relu,
            Unary::Rsqrt,
            Unary::Sigmoid,
            Unary::SignedSqrt { min: 0.25 },
            Unary::Silu,
            Unary::SqrtSoftplus,
        ];
        let (x, y) = (self.be.upload(&host)?, self.twin.upload(&host)?);
        for f in functions {
            let (got, want) = (self.be.map(&x, f)?, self.twin.map(&y, f)?);
            if self.share == 0.0 {
                self.same(&format!("{f:?}"), &got, &want)?;
                continue;
            }
            let (got, want) = (self.be.download(&got)?, self.twin.download(&want)?);
            let finite = want.data().iter().filter(|x| x.is_finite());
            let largest = finite.fold(1.0_f32, |top, x| top.max(x.abs()));
            let what = format!("{f:?}, seed {}", self.seed);
            close(&what, got.data(), want.data(), self.share * largest);
        }
        Ok(())
    }

    fn broadcasts(&self, rng: &mut ChaCha8Rng) -> Result<()> {
        let whole = shape(rng);
        // Some dimensions of one, on both sides, and some missing on one.
        let mut part = || -> Vec<usize> {
            let one = |length: &usize| if rng.random_ratio(1, 3) { 1 } else { *length };
            whole.iter().map(one).collect()
        };
        let (left, mut right) = (part(), part());
        right.drain(..rng.random_range(0..right.len()));
        let (a, b) = (numbers(rng, &left), numbers(rng, &right));
        let (x, y) = (self.be.upload(&a)?, self.be.upload(&b)?);
        let (v, w) = (self.twin.upload(&a)?, self.twin.upload(&b)?);
        let what = format!("{left:?} and {right:?}");
        self.same(
            &format!("sum of {what}"),
            &self.be.add(&x, &y)?,
            &self.twin.add(&v, &w)?,
        )?;
        self.same(
            &format!("sum of {what}"),
            &self.be.add(&y, &x)?,
            &self.twin.add(&w, &v)?,
        )?;
        self.same(
            &format!("product of {what}"),
            &self.be.mul(&x, &y)?,
            &self.twin.mul(&v, &w)?,
        )
    }

    fn reductions(&self, rng: &mut ChaCha8Rng) -> Result<()> {
        let shape = shape(rng);
        let host = numbers(rng, &shape);
        let (x, y) = (self.be.upload(&host)?, self.twin.upload(&host)?);
        for dim in 0..host.shape().len() {
            let what = format!("dimension {dim} of {:?}", host.shape());
            let (got, want) = (self.be.max(&x, dim)?, self.twin.max(&y, dim)?);
            self.same(&format!("largest over {what}"), &got, &want)?;
            let got = self.be.download(&self.be.sum(&x, dim)?)?;
            let want = self.twin.download(&self.twin.sum(&y, dim)?)?;
            assert_eq!(got.shape(), want.shape());
            let most = 1e-6 * 8.0 * host.shape()[dim] as f32;
            let what = format!("sum over {what}, seed {}", self.seed);
            close(&what, got.data(), want.data(), most);
        }
        Ok(())
    }

    fn moves(&self, rng: &mut ChaCha8Rng) -> Result<()> {
        let whole = shape(rng);
        let host = numbers(rng, &whole);
        let (x, y) = (self.be.upload(&host)?, self.twin.upload(&host)?);
        let what = format!("{whole:?}");
        for dim in 0..whole.len() {
            let start = rng.random_range(0..whole[dim]);
            let length = rng.random_range(1..=whole[dim] - start);
            let part = self.be.narrow(&x, dim, start, length)?;
            let twin = self.twin.narrow(&y, dim, start, length)?;
            self.same(&format!("{length} of {what} from {start}"), &part, &twin)?;
            let got = self.be.concat(&[&x, &part, &x], dim)?;
            let want = self.twin.concat(&[&y, &twin, &y], dim)?;
            self.same(&format!("{what} joined along {dim}"), &got, &want)?;
            // A view is an operand like any other.
            let (got, want) = (self.be.add(&part, &part)?, self.twin.add(&twin, &twin)?);
            self.same(&format!("twice a part of {what}"), &got, &want)?;
            let flat = [part_len(&whole, dim, length)];
            let (got, want) = (
                self.be.reshape(&part, &flat)?,
                self.twin.reshape(&twin, &flat)?,
            );
            self.same(&format!("a part of {what} in one row"), &got, &want)?;
        }
        let at: Vec<u32> = (0..rng.random_range(1..9))
            .map(|_| rng.random_range(0..whole[0] as u32))
            .collect();
        let (got, want) = (
            self.be.gather(&x, &self.be.ids(&at)?)?,
            self.twin.gather(&y, &self.twin.ids(&at)?)?,
        );
        self.same(&format!("rows {at:?} of {what}"), &got, &want)
    }
}

/// All that is no number is one.
fn one_nan(x: &HostTensor) -> Vec<f32> {
    let same = |x: &f32| if x.is_nan() { f32::NAN } else { *x };
    x.data().iter().map(same).collect()
}

fn part_len(whole: &[usize], dim: usize, length: usize) -> usize {
    whole.iter().product::<usize>() / whole[dim] * length
}
