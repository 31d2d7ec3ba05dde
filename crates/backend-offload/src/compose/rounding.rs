//! Round trips through number formats, to the bit, by additions and products of 32-bit floats alone.
//!
//! Vendors have operators that quantise, but none that gives these formats on every chip. What they do to a float
//! can be had from its arithmetic, which is rounded to nearest, ties to even, in one way everywhere:
//!
//! - *The power of two below* a number (Rump, Ogita and Oishi, "Accurate floating-point summation", part I):
//!   `q - (1 - 2^-24) q` with `q = (2^23 + 1) x`, with the sign of `x`.
//! - *Rounding to multiples of a step* `2^s`: adding `1.5 * 2^(23 + s)` and taking it away leaves them.
//!
//! Numbers beyond 2^104 times the largest of a format, which no activation is, become what is no number, and
//! so does the block of what is no number.

use deepseek_core::{Fp4Scale, Rounding};

use super::call::{Binary, Call, Function, Number, Program};
use super::operand::{Operand, Type};

/// `2^23 + 1`, and `1 - 2^-24`.
const ABOVE: f32 = 8_388_609.0;
const BELOW_ONE: f32 = 1.0 - f32::EPSILON / 2.0;
/// `2^24 - 1`: the number before, 2^24 times as large.
const BEFORE: f32 = 16_777_215.0;

/// A format of a few bits.
#[derive(Clone, Copy)]
struct Code {
    /// Its largest value.
    max: f32,
    /// Its smallest normal value, below which its values stand as far apart as above it.
    normal: f32,
    /// `1.5 * 2^(23 + s)` for numbers from 1 to 2, whose values are `2^s` apart.
    magic: f32,
}

const E4M3: Code = Code {
    max: 448.0,
    normal: 0.015_625,
    magic: 1.5 * 1_048_576.0,
};
const E2M1: Code = Code {
    max: 6.0,
    normal: 1.0,
    magic: 1.5 * 4_194_304.0,
};

/// How a block's scale follows from its largest magnitude.
#[derive(Clone, Copy)]
enum Scale {
    /// The power of two at or above the magnitude, at least this one, in terms of the format's largest value.
    PowerOfTwo { least: f32 },
    /// The nearest value of E4M3.
    E4m3,
}

/// The least magnitudes that set a scale (`docs/models/deepseek-v4.md` §5.2, items 1 and 3;
/// `docs/models/deepseek-v41.md` §7.1).
const FP8_LEAST: f32 = 1e-4;
const FP4_LEAST: f32 = 6.0 * f32::MIN_POSITIVE;
const FP4_E4M3_LEAST: f32 = 6.0 / 512.0;

/// The round trip of rows `[rows, width]`.
pub(super) fn round<E>(to: &mut Program<E>, x: Operand, rounding: Rounding, out: Operand) {
    match rounding {
        Rounding::Bf16 => to.cast(x, out),
        Rounding::Fp8 { block, tail } => {
            let codes = x.dims[1] - tail;
            if tail > 0 {
                to.copy(x.part(1, codes, tail), out.part(1, codes, tail));
            }
            let scale = Scale::PowerOfTwo { least: FP8_LEAST };
            let [x, out] = [x, out].map(|rows| rows.part(1, 0, codes));
            blocks(to, x, block, (E4M3, scale), out);
        }
        Rounding::Fp4 { block, scale } => {
            let scale = match scale {
                Fp4Scale::E8m0 => Scale::PowerOfTwo { least: FP4_LEAST },
                Fp4Scale::E4m3 => Scale::E4m3,
            };
            blocks(to, x, block, (E2M1, scale), out);
        }
        Rounding::HadamardFp4 { block, bf16 } => {
            let mut turned = hadamard(to, x);
            if bf16 {
                let rounded = to.scratch(Type::Bf16, &turned.dims);
                to.cast(turned, rounded);
                turned = rounded;
            }
            let scale = Scale::PowerOfTwo { least: FP4_LEAST };
            blocks(to, turned, block, (E2M1, scale), out);
        }
        Rounding::Int8 => int8(to, x, out),
    }
}

/// Rows in INT8, each under a scale of its own.
fn int8<E>(to: &mut Program<E>, x: Operand, out: Operand) {
    if x.dims.count() == 0 {
        return;
    }
    let (codes, scales) = integers(to, x);
    let values = to.scratch(Type::F32, &x.dims);
    to.binary(Binary::Mul, codes, scales, values);
    to.copy(values, out);
}

/// `1.5 * 2^23`, which added and taken away leaves the nearest integer, ties to even.
const WHOLE: f32 = 12_582_912.0;

/// Rows `[rows, width]`, one or more of each, as the codes of INT8 and the scale of each row, `[rows, 1]`, both in 32-bit floats.
pub fn integers<E>(to: &mut Program<E>, x: Operand) -> (Operand, Operand) {
    const MAX: f32 = 127.0;
    let [rows, width] = [x.dims[0], x.dims[1]];
    let both = to.scratch(Type::F32, &[rows, 2 * width]);
    let [numbers, negatives] = [0, width].map(|first| both.part(1, first, width));
    to.copy(x, numbers);
    to.function(Function::Muls(-1.0), numbers, negatives);
    let [largest, bounded] = [(); 2].map(|()| to.scratch(Type::F32, &[rows, 1]));
    let places = to.scratch(Type::I64, &[rows, 1]);
    to.call(Call::Max {
        x: both,
        out: largest,
        places,
    });
    let least = Function::Clamp(MAX * f32::MIN_POSITIVE, f32::INFINITY);
    to.function(least, largest, bounded);
    let max = to.constant(Number::F32(MAX));
    to.binary(Binary::Div, bounded, max, largest);
    let [a, b] = [(); 2].map(|()| to.scratch(Type::F32, &[rows, width]));
    to.binary(Binary::Div, numbers, largest, a);
    to.function(Function::Clamp(-MAX, MAX), a, b);
    to.function(Function::Adds(WHOLE), b, a);
    to.function(Function::Adds(-WHOLE), a, b);
    (b, largest)
}

/// Codes of INT4, two in each byte of 32-bit floats that say what the bytes are as signed numbers: those in the lower four bits, and
/// those in the upper.
pub fn nibbles<E>(to: &mut Program<E>, bytes: Operand) -> [Operand; 2] {
    let upper = below(to, bytes, 16.0);
    let unsigned = without(to, bytes, upper);
    let negative = below(to, unsigned, 8.0);
    [without(to, unsigned, negative), upper]
}

/// How often integers hold a power of two, as the integer below the quotient: the nearest to one that is less by almost half, because
/// no quotient then lies midway between two.
fn below<E>(to: &mut Program<E>, x: Operand, step: f32) -> Operand {
    let [a, b] = [(); 2].map(|()| to.scratch(Type::F32, &x.dims));
    to.function(Function::Muls(1.0 / step), x, a);
    to.function(Function::Adds(0.5 / step - 0.5), a, b);
    to.function(Function::Adds(WHOLE), b, a);
    to.function(Function::Adds(-WHOLE), a, b);
    b
}

/// `x - 16 times`.
fn without<E>(to: &mut Program<E>, x: Operand, times: Operand) -> Operand {
    let [a, b] = [(); 2].map(|()| to.scratch(Type::F32, &x.dims));
    to.function(Function::Muls(-16.0), times, a);
    to.binary(Binary::Add, x, a, b);
    b
}

/// The normalised Walsh–Hadamard transform of rows, in the order of sums of `quant::hadamard`.
fn hadamard<E>(to: &mut Program<E>, x: Operand) -> Operand {
    let [rows, width] = [x.dims[0], x.dims[1]];
    let [mut from, mut into] = [(); 2].map(|()| to.scratch(Type::F32, &[rows, width]));
    to.copy(x, from);
    let mut half = 1;
    while half < width {
        let pairs = rows * width / (2 * half);
        let side = |x: &Operand, first| x.strided([pairs, half], [2 * half, 1], first);
        let (low, high) = (side(&from, 0), side(&from, half));
        to.binary(Binary::Add, low, high, side(&into, 0));
        to.binary(Binary::Sub, low, high, side(&into, half));
        (from, into) = (into, from);
        half *= 2;
    }
    to.function(Function::Muls((width as f32).powf(-0.5)), from, into);
    into
}

/// Rows block by block; the last of a row may be shorter.
fn blocks<E>(to: &mut Program<E>, x: Operand, block: usize, by: (Code, Scale), out: Operand) {
    let (rows, width) = (x.dims[0], x.dims[1]);
    let (whole, rest) = (width / block, width % block);
    for (first, count, length) in [(0, whole, block), (whole * block, 1, rest)] {
        if count * length > 0 {
            let cut = |x: &Operand| {
                let row = x.strides()[0];
                x.strided([rows, count, length], [row, length, 1], first)
            };
            equal_blocks(to, cut(&x), by, cut(&out));
        }
    }
}

/// Blocks `[rows, count, length]`.
fn equal_blocks<E>(to: &mut Program<E>, x: Operand, (code, scale): (Code, Scale), out: Operand) {
    let [rows, count, length] = [x.dims[0], x.dims[1], x.dims[2]];
    let all = rows * count;
    // The numbers, and behind those of each block the same with the other sign: the largest is the largest
    // magnitude.
    let both = to.scratch(Type::F32, &[all, 2 * length]);
    let strides = [count * 2 * length, 2 * length, 1];
    to.copy(x, both.strided([rows, count, length], strides, 0));
    let numbers = both.part(1, 0, length);
    let negatives = both.part(1, length, length);
    to.function(Function::Muls(-1.0), numbers, negatives);
    let [largest, bounded] = [(); 2].map(|()| to.scratch(Type::F32, &[all, 1]));
    let places = to.scratch(Type::I64, &[all, 1]);
    to.call(Call::Max {
        x: both,
        out: largest,
        places,
    });
    let least = match scale {
        Scale::PowerOfTwo { least } => least,
        Scale::E4m3 => FP4_E4M3_LEAST,
    };
    to.function(Function::Clamp(least, f32::INFINITY), largest, bounded);
    let scale = match scale {
        Scale::PowerOfTwo { .. } => {
            to.function(Function::Muls(1.0 / code.max), bounded, largest);
            power_of_two_above(to, largest)
        }
        Scale::E4m3 => {
            let six = to.constant(Number::F32(code.max));
            to.binary(Binary::Div, bounded, six, largest);
            let top = Function::Clamp(f32::NEG_INFINITY, E4M3.max);
            to.function(top, largest, bounded);
            nearest(to, bounded, E4M3)
        }
    };
    let [scaled, inside] = [(); 2].map(|()| to.scratch(Type::F32, &[all, length]));
    to.binary(Binary::Div, numbers, scale, scaled);
    to.function(Function::Clamp(-code.max, code.max), scaled, inside);
    let rounded = nearest(to, inside, code);
    to.binary(Binary::Mul, rounded, scale, scaled);
    to.copy(scaled.shaped([rows, count, length]), out);
}

/// The smallest power of two that is at least `x`, of positive numbers: twice the one below the number before
/// `x`. It is computed 2^24 times as large, so that the number before the smallest is one.
fn power_of_two_above<E>(to: &mut Program<E>, x: Operand) -> Operand {
    let [before, q, r, power] = [(); 4].map(|()| to.scratch(Type::F32, &x.dims));
    to.function(Function::Muls(BEFORE), x, before);
    // `2^-23 (2^23 + 1)`.
    to.function(Function::Muls(1.0 + f32::EPSILON), before, q);
    to.function(Function::Muls(BELOW_ONE), q, r);
    to.binary(Binary::Sub, q, r, power);
    power
}

/// The nearest value of a format within its range, ties to even, with the sign of `x` even where it is zero.
fn nearest<E>(to: &mut Program<E>, x: Operand, code: Code) -> Operand {
    let [a, b, c] = [(); 3].map(|()| to.scratch(Type::F32, &x.dims));
    // The power of two below each number, with its sign, in `c`.
    to.function(Function::Muls(ABOVE), x, a);
    to.function(Function::Muls(BELOW_ONE), a, b);
    to.binary(Binary::Sub, a, b, c);
    // Its magnitude, at least the smallest normal value: one of two that are bounded is that value.
    let normal = Function::Clamp(code.normal, f32::INFINITY);
    to.function(normal, c, a);
    to.function(Function::Muls(-1.0), c, b);
    to.function(normal, b, c);
    to.binary(Binary::Add, a, c, b);
    to.function(Function::Adds(-code.normal), b, a);
    to.function(Function::Muls(code.magic), a, b);
    to.binary(Binary::Add, x, b, a);
    to.binary(Binary::Sub, a, b, c);
    // A difference that is zero is positive.
    to.function(Function::Muls(0.0), x, a);
    let is_set = to.is_set(c);
    to.call(Call::Where {
        condition: is_set,
        yes: c,
        no: a,
        out: b,
    });
    b
}
