//! Functions of one number and of two, over whole arrays.

use deepseek_core::{Few, Unary};

use super::pool::Pool;
use crate::shape::Shape;

/// Numbers that a thread takes at once.
const PIECE: usize = 1 << 13;
/// What a function beyond arithmetic costs, in multiply-adds.
const FUNCTION: usize = 8;

/// `f` of every number.
pub(crate) fn map(pool: &Pool, x: &[f32], f: Unary, out: &mut [f32]) {
    match f {
        Unary::Affine { mul, add } => each(pool, x, 1, out, |x| x * mul + add),
        Unary::Clamp { min, max } => each(pool, x, 1, out, |x| clamp(x, min, max)),
        Unary::Exp => each(pool, x, FUNCTION, out, f32::exp),
        Unary::Gelu => each(pool, x, FUNCTION, out, |x| {
            (libm::erff(x * std::f32::consts::FRAC_1_SQRT_2) + 1.0) * 0.5 * x
        }),
        Unary::Recip => each(pool, x, 1, out, f32::recip),
        Unary::Relu => each(pool, x, 1, out, |x| x.max(0.0)),
        Unary::Rsqrt => each(pool, x, 1, out, |x| x.sqrt().recip()),
        Unary::Sigmoid => each(pool, x, FUNCTION, out, |x| ((-x).exp() + 1.0).recip()),
        Unary::SignedSqrt { min } => each(pool, x, 1, out, |x| {
            let root = clamp(x.abs(), min, f32::INFINITY).sqrt();
            if x >= 0.0 { root } else { -root }
        }),
        Unary::Silu => each(pool, x, FUNCTION, out, silu),
        Unary::SqrtSoftplus => each(pool, x, 2 * FUNCTION, out, sqrt_softplus),
    }
}

pub(super) fn silu(x: f32) -> f32 {
    x / ((-x).exp() + 1.0)
}

/// A number that is none stays so.
pub(super) fn clamp(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// ln(1 + e^x) without overflow is max(x, 0) + ln(1 + a) with a = e^-|x|. The second term is
/// corrected for what 1 + a loses of a small a.
fn sqrt_softplus(x: f32) -> f32 {
    let a = (-x.abs()).exp();
    let u = a + 1.0;
    let lost = (a - (u - 1.0)) / u;
    ((u.ln() + lost) + x.max(0.0)).sqrt()
}

fn each(pool: &Pool, x: &[f32], cost: usize, out: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    pool.pieces(out, PIECE, x.len() * cost, |index, out| {
        let x = &x[index * PIECE..][..out.len()];
        out.iter_mut().zip(x).for_each(|(out, x)| *out = f(*x));
    });
}

/// The shape of a sum or product of two, whose dimensions are equal, 1 or missing in front.
///
/// # Panics
/// If they are not.
pub(crate) fn joined(a: &[usize], b: &[usize]) -> Shape {
    let rank = a.len().max(b.len());
    Shape::of(rank, |dim| {
        match (length(a, rank, dim), length(b, rank, dim)) {
            (a, b) if a == b || b == 1 => a,
            (1, b) => b,
            _ => panic!("shapes {a:?} and {b:?}"),
        }
    })
}

/// The length of dimension `dim` of `rank`, of a shape that may lack outer ones.
fn length(shape: &[usize], rank: usize, dim: usize) -> usize {
    let missing = rank - shape.len();
    if dim < missing {
        1
    } else {
        shape[dim - missing]
    }
}

/// `f` of the numbers of `a` and `b` that meet in each place of their joined shape.
pub(crate) fn zip(
    pool: &Pool,
    a: (&[f32], &[usize]),
    b: (&[f32], &[usize]),
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32 + Sync,
) {
    let walk = Walk::new(a.1, b.1);
    let cost = out.len();
    pool.pieces(out, PIECE, cost, |index, out| {
        let mut place = index * PIECE;
        let mut rest = out;
        while !rest.is_empty() {
            let (starts, length) = walk.run(place);
            let (out, later) = rest.split_at_mut(length.min(rest.len()));
            place += out.len();
            let (a, b) = (&a.0[starts[0]..], &b.0[starts[1]..]);
            match walk.steps {
                [1, 1] => {
                    let pairs = a.iter().zip(b);
                    out.iter_mut()
                        .zip(pairs)
                        .for_each(|(out, (a, b))| *out = f(*a, *b));
                }
                [1, _] => out
                    .iter_mut()
                    .zip(a)
                    .for_each(|(out, a)| *out = f(*a, b[0])),
                [_, 1] => out
                    .iter_mut()
                    .zip(b)
                    .for_each(|(out, b)| *out = f(a[0], *b)),
                _ => out.fill(f(a[0], b[0])),
            }
            rest = later;
        }
    });
}

/// How two arrays are walked through side by side: runs of one length, over which each goes on by
/// one or stands still, in dimensions that tell where a run begins in each.
struct Walk {
    run: usize,
    steps: [usize; 2],
    /// The dimensions around a run, innermost first: their length and the strides of both.
    around: Few<(usize, [usize; 2])>,
}

impl Walk {
    fn new(a: &[usize], b: &[usize]) -> Self {
        let joined = joined(a, b);
        let rank = joined.len();
        let mut dims: Few<(usize, [usize; 2])> = Few::new();
        let mut strides = [1, 1];
        for dim in (0..rank).rev().filter(|dim| joined[*dim] != 1) {
            let lengths = [length(a, rank, dim), length(b, rank, dim)];
            let own = [0, 1].map(|i| if lengths[i] == 1 { 0 } else { strides[i] });
            match dims.last_mut() {
                // What goes on in both as the dimension within does is part of that.
                Some((inner, within)) if [0, 1].map(|i| within[i] * *inner) == own => {
                    *inner *= joined[dim];
                }
                _ => dims.push((joined[dim], own)),
            }
            strides = [0, 1].map(|i| strides[i] * lengths[i]);
        }
        let mut dims = dims.into_iter();
        let (run, steps) = dims.next().unwrap_or((1, [1, 1]));
        Self {
            run,
            steps,
            around: dims.collect(),
        }
    }

    /// Where both stand at a place of the joined array, and how far the run goes on from there.
    fn run(&self, place: usize) -> ([usize; 2], usize) {
        let (mut outer, within) = (place / self.run, place % self.run);
        let mut starts = self.steps.map(|step| step * within);
        for (length, strides) in &self.around {
            let at = outer % length;
            outer /= length;
            starts = [0, 1].map(|i| starts[i] + at * strides[i]);
        }
        (starts, self.run - within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Index by index, as the trait says it.
    fn plain(a: (&[f32], &[usize]), b: (&[f32], &[usize])) -> Vec<f32> {
        let shape = joined(a.1, b.1);
        let rank = shape.len();
        let count = shape.iter().product::<usize>();
        let at = |(x, own): (&[f32], &[usize]), place: usize| {
            let (mut rest, mut index, mut stride) = (place, 0, 1);
            for dim in (0..rank).rev() {
                let here = rest % shape[dim];
                rest /= shape[dim];
                let length = length(own, rank, dim);
                index += if length == 1 { 0 } else { here * stride };
                stride *= length;
            }
            x[index]
        };
        (0..count)
            .map(|place| at(a, place) - 2.0 * at(b, place))
            .collect()
    }

    #[test]
    fn dimensions_of_one_and_missing_ones_are_repeated() {
        let shapes: [(&[usize], &[usize]); 14] = [
            (&[3, 4], &[3, 4]),
            (&[3, 4], &[4]),
            (&[3, 4], &[3, 1]),
            (&[3, 1], &[1, 4]),
            (&[4], &[3, 4]),
            (&[2, 3, 4], &[2, 1, 4]),
            (&[2, 1, 4], &[3, 1]),
            (&[2, 3, 1, 5], &[1, 3, 4, 1]),
            (&[], &[2, 2]),
            (&[1], &[]),
            (&[5, 2, 3], &[5, 1, 1]),
            (&[70, 300], &[300]),
            (&[70, 300], &[70, 1]),
            (&[0, 3], &[1, 3]),
        ];
        let numbers = |shape: &[usize]| -> Vec<f32> {
            (0..shape.iter().product())
                .map(|at: usize| at as f32 + 0.5)
                .collect()
        };
        for (first, second) in shapes {
            for threads in [1, 3] {
                let pool = Pool::new(threads);
                for (a, b) in [(first, second), (second, first)] {
                    let (x, y) = (numbers(a), numbers(b));
                    let want = plain((&x, a), (&y, b));
                    let mut out = vec![f32::NAN; want.len()];
                    zip(&pool, (&x, a), (&y, b), &mut out, |a, b| a - 2.0 * b);
                    assert_eq!(out, want, "{a:?} and {b:?}");
                }
            }
        }
    }

    #[test]
    fn every_function_is_near_what_64_bits_give() {
        let softplus = |x: f64| x.exp().ln_1p();
        type Plain = fn(f64) -> f64;
        let cases: [(Unary, Plain); 8] = [
            (Unary::Exp, f64::exp),
            (Unary::Gelu, |x| {
                x * (1.0 + libm::erf(x / 2.0_f64.sqrt())) / 2.0
            }),
            (Unary::Recip, f64::recip),
            (Unary::Relu, |x| x.max(0.0)),
            (Unary::Sigmoid, |x| 1.0 / (1.0 + (-x).exp())),
            (Unary::SignedSqrt { min: 0.5 }, |x| {
                x.abs().max(0.5).sqrt().copysign(x)
            }),
            (Unary::Silu, |x| x / (1.0 + (-x).exp())),
            (
                Unary::Clamp {
                    min: -1.5,
                    max: 2.0,
                },
                |x| x.clamp(-1.5, 2.0),
            ),
        ];
        let x: Vec<f32> = (-4000..4000).map(|at| at as f32 * 0.004 + 0.001).collect();
        let pool = Pool::new(2);
        let mut out = vec![0.0; x.len()];
        let near = |f: &dyn Fn(f64) -> f64, out: &[f32], what: &str| {
            for (x, got) in x.iter().zip(out) {
                let want = f(f64::from(*x));
                let off = (f64::from(*got) - want).abs();
                // Near its zero at large negative numbers the exact GELU cancels.
                assert!(
                    off <= 4e-7 * want.abs() + 6e-7,
                    "{what} of {x}: {got}, want {want}"
                );
            }
        };
        for (f, want) in cases {
            map(&pool, &x, f, &mut out);
            near(&want, &out, &format!("{f:?}"));
        }
        map(&pool, &x, Unary::SqrtSoftplus, &mut out);
        near(&|x| softplus(x).sqrt(), &out, "the root of softplus");
        let squares: Vec<f32> = x.iter().map(|x| x * x + 0.1).collect();
        map(&pool, &squares, Unary::Rsqrt, &mut out);
        for (x, got) in squares.iter().zip(&out) {
            assert!(
                (got * x.sqrt() - 1.0).abs() < 1e-6,
                "one over the root of {x}: {got}"
            );
        }
    }

    #[test]
    fn what_is_no_number_stays_so_where_it_is_bounded() {
        let mut out = [0.0];
        let f = Unary::Clamp {
            min: -1.0,
            max: 1.0,
        };
        map(&Pool::new(1), &[f32::NAN], f, &mut out);
        assert!(out[0].is_nan());
    }
}
