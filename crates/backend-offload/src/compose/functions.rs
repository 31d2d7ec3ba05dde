//! Functions of one number, and rotations.

use std::f32::consts::FRAC_1_SQRT_2;

use deepseek_core::{Rotation, Unary};

use super::call::{Binary, Call, Function, Number, Program};
use super::operand::{Operand, Type};

/// The error function as `x * p(x²) / q(x²)` on ±4, beyond which it is ±1 in 32 bits: the coefficients, highest
/// power first, that Eigen and XLA use. Within 4e-7 of it.
const ERF_NUMERATOR: [f32; 7] = [
    -2.726_142_4e-10,
    2.770_681_5e-8,
    -2.101_024e-6,
    -5.692_506_2e-5,
    -7.349_906_4e-4,
    -2.954_6e-3,
    -1.609_603_3e-2,
];
const ERF_DENOMINATOR: [f32; 5] = [
    -1.456_607_15e-5,
    -2.133_740_5e-4,
    -1.682_827e-3,
    -7.373_329_3e-3,
    -1.426_473_9e-2,
];
/// Where it is 1.
const ERF_BOUND: f32 = 4.0;

/// `f` of every number.
pub(super) fn map<E>(to: &mut Program<E>, f: Unary, x: Operand, out: Operand) {
    match f {
        Unary::Affine { mul, add } => affine(to, x, mul, add, out),
        Unary::Clamp { min, max } => clamp(to, x, min, max, out),
        Unary::Exp => to.function(Function::Exp, x, out),
        Unary::Gelu => gelu(to, x, out),
        Unary::Recip => {
            let one = to.constant(Number::F32(1.0));
            to.binary(Binary::Div, one, x, out);
        }
        Unary::Relu => to.function(Function::Clamp(0.0, f32::INFINITY), x, out),
        Unary::Rsqrt => {
            let (one, root) = (to.constant(Number::F32(1.0)), like(to, x));
            to.function(Function::Sqrt, x, root);
            to.binary(Binary::Div, one, root, out);
        }
        Unary::Sigmoid => to.function(Function::Sigmoid, x, out),
        Unary::SignedSqrt { min } => signed_sqrt(to, x, min, out),
        Unary::Silu => to.function(Function::Silu, x, out),
        Unary::SqrtSoftplus => {
            let sum = like(to, x);
            to.function(Function::Softplus, x, sum);
            to.function(Function::Sqrt, sum, out);
        }
    }
}

/// Room for as many 32-bit floats.
fn like<E>(to: &mut Program<E>, x: Operand) -> Operand {
    to.scratch(Type::F32, &x.dims)
}

/// `x * mul + add`; without the term if that is 0, which leaves the sign of zero to the factor.
fn affine<E>(to: &mut Program<E>, x: Operand, mul: f32, add: f32, out: Operand) {
    if add == 0.0 {
        to.function(Function::Muls(mul), x, out);
        return;
    }
    let product = like(to, x);
    to.function(Function::Muls(mul), x, product);
    to.function(Function::Adds(add), product, out);
}

/// The operator wants one bound or both.
fn clamp<E>(to: &mut Program<E>, x: Operand, min: f32, max: f32, out: Operand) {
    if min.is_finite() || max.is_finite() {
        to.function(Function::Clamp(min, max), x, out);
    } else {
        to.copy(x, out);
    }
}

/// `x * (erf(x / sqrt(2)) + 1) / 2`. The vendor's own is an approximation by another function.
fn gelu<E>(to: &mut Program<E>, x: Operand, out: Operand) {
    let (scaled, z, square) = (like(to, x), like(to, x), like(to, x));
    to.function(Function::Muls(FRAC_1_SQRT_2), x, scaled);
    to.function(Function::Clamp(-ERF_BOUND, ERF_BOUND), scaled, z);
    to.binary(Binary::Mul, z, z, square);
    let above = polynomial(to, square, &ERF_NUMERATOR);
    let below = polynomial(to, square, &ERF_DENOMINATOR);
    to.binary(Binary::Mul, above, z, scaled);
    to.binary(Binary::Div, scaled, below, z);
    to.function(Function::Adds(1.0), z, scaled);
    to.function(Function::Muls(0.5), scaled, z);
    to.binary(Binary::Mul, z, x, out);
}

/// A polynomial, the coefficient of the highest power first.
fn polynomial<E>(to: &mut Program<E>, x: Operand, coefficients: &[f32]) -> Operand {
    let (product, sum) = (like(to, x), like(to, x));
    let (highest, rest) = coefficients.split_first().expect("coefficients");
    to.function(Function::Muls(*highest), x, product);
    let (last, rest) = rest.split_last().expect("more than one");
    for coefficient in rest {
        to.function(Function::Adds(*coefficient), product, sum);
        to.binary(Binary::Mul, sum, x, product);
    }
    to.function(Function::Adds(*last), product, sum);
    sum
}

/// `sqrt(max(|x|, min))` with the sign of `x`.
fn signed_sqrt<E>(to: &mut Program<E>, x: Operand, min: f32, out: Operand) {
    let magnitude = magnitude(to, x);
    let (bounded, root) = (like(to, x), like(to, x));
    to.function(Function::Clamp(min, f32::INFINITY), magnitude, bounded);
    to.function(Function::Sqrt, bounded, root);
    to.function(Function::Muls(-1.0), root, magnitude);
    to.function(Function::Clamp(f32::NEG_INFINITY, 0.0), x, bounded);
    let is_negative = to.is_set(bounded);
    to.call(Call::Where {
        condition: is_negative,
        yes: magnitude,
        no: root,
        out,
    });
}

/// `max(x, 0) + max(-x, 0)`.
fn magnitude<E>(to: &mut Program<E>, x: Operand) -> Operand {
    let (above, turned, below) = (like(to, x), like(to, x), like(to, x));
    let positive = Function::Clamp(0.0, f32::INFINITY);
    to.function(positive, x, above);
    to.function(Function::Muls(-1.0), x, turned);
    to.function(positive, turned, below);
    to.binary(Binary::Add, above, below, turned);
    turned
}

/// Rotates adjacent pairs of the last channels of `[t, inner, width]` by `[t, 2, pairs]`.
pub(super) fn rope<E>(
    to: &mut Program<E>,
    x: Operand,
    angles: Operand,
    rotation: Rotation,
    out: Operand,
) {
    let [tokens, inner, width] = [x.dims[0], x.dims[1], x.dims[2]];
    let pairs = angles.dims[2];
    let still = width - 2 * pairs;
    if still > 0 {
        to.copy(x.part(2, 0, still), out.part(2, 0, still));
    }
    if pairs == 0 {
        return;
    }
    let x = to.widened(x);
    let dims = [tokens, inner, pairs];
    let channel = |x: &Operand, first| x.strided(dims, [inner * width, width, 2], still + first);
    let angle = |first| angles.strided([tokens, 1, pairs], [2 * pairs, pairs, 1], first);
    let (cos, sin) = (angle(0), angle(pairs));
    let (a, b) = (channel(&x, 0), channel(&x, 1));
    let (new_a, new_b) = (channel(&out, 0), channel(&out, 1));
    let products = [(a, cos), (b, sin), (a, sin), (b, cos)];
    let [a_cos, b_sin, a_sin, b_cos] = products.map(|(x, angle)| {
        let product = to.scratch(Type::F32, &dims);
        to.binary(Binary::Mul, x, angle, product);
        product
    });
    match rotation {
        Rotation::Forward => {
            to.binary(Binary::Sub, a_cos, b_sin, new_a);
            to.binary(Binary::Add, a_sin, b_cos, new_b);
        }
        Rotation::Inverse => {
            to.binary(Binary::Add, a_cos, b_sin, new_a);
            to.binary(Binary::Sub, b_cos, a_sin, new_b);
        }
    }
}
