//! Each operation against the host's driver, on random shapes.

use std::sync::Arc;

use backend_offload::{DType, Matrix, Op};
use deepseek_core::{Fp4Scale, Result, Rotation, Rounding, Unary};

use crate::pair::{Both, Near, Of, Pair};
use crate::session::{SEEDS, Session};

const FLOATS: [DType; 2] = [DType::F32, DType::Bf16];
/// Sums of products in 32 bits against sums in 64.
const SUMS: Near = Near::Within(1e-5);
/// The same, rounded to BF16: they may fall to the neighbouring value.
const ROUNDED_SUMS: Near = Near::Within(1.0 / 128.0);

/// Runs a case under each seed; nothing may be found or left.
fn seeds(case: impl Fn(&mut Pair) -> Result<()>) -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let mut pair = Pair::new(&session, seed)?;
        case(&mut pair)?;
        drop(pair);
        session.clean();
    }
    Ok(())
}

fn sums(out: DType) -> Near {
    match out {
        DType::Bf16 => ROUNDED_SUMS,
        DType::F32 | DType::I32 => SUMS,
    }
}

#[test]
fn memory_is_filled_and_bf16_is_widened() -> Result<()> {
    seeds(|pair| {
        let n = pair.length(40);
        let out = pair.room(DType::F32, [n])?;
        for byte in [0, 0x41, 0xff] {
            pair.check("fill", Near::Bits, &out, |of| Op::Fill {
                out: of(&out),
                byte,
            })?;
        }
        let (x, out) = (pair.random(DType::Bf16, [n])?, pair.room(DType::F32, [n])?);
        pair.check("widen", Near::Bits, &out, |of| Op::Widen {
            x: of(&x),
            out: of(&out),
        })
    })
}

#[test]
fn round_trips_are_exact() -> Result<()> {
    let e8m0 = Fp4Scale::E8m0;
    let formats = [
        Rounding::Bf16,
        Rounding::Fp8 { block: 8, tail: 0 },
        Rounding::Fp8 { block: 8, tail: 4 },
        Rounding::Fp8 { block: 5, tail: 0 },
        Rounding::Fp4 {
            block: 16,
            scale: e8m0,
        },
        Rounding::Fp4 {
            block: 4,
            scale: Fp4Scale::E4m3,
        },
        Rounding::HadamardFp4 {
            block: 8,
            bf16: false,
        },
        Rounding::HadamardFp4 {
            block: 8,
            bf16: true,
        },
    ];
    seeds(|pair| {
        let (rows, width) = (pair.length(4), 16);
        for to in formats {
            for from in FLOATS {
                let x = pair.random(from, [rows, width])?;
                rounded(pair, to, from, &x, [rows, width])?;
            }
            // Ties, every binade, and blocks of nothing but zeros.
            let steps = |at: usize| (at as f32 - 64.0) / 16.0 * f32::powi(2.0, at as i32 % 24 - 12);
            let numbers: Vec<f32> = (0..128).map(steps).collect();
            let zeros = [0.0, -0.0].repeat(8);
            let numbers = [&numbers[..], &zeros].concat();
            let x = pair.floats(DType::F32, [9, width], &numbers)?;
            rounded(pair, to, DType::F32, &x, [9, width])?;
        }
        Ok(())
    })
}

fn rounded(pair: &mut Pair, to: Rounding, from: DType, x: &Both, dims: [usize; 2]) -> Result<()> {
    let dtype = if to.is_exact_in_bf16() {
        DType::Bf16
    } else {
        from
    };
    let out = pair.room(dtype, dims)?;
    pair.check("round", Near::Bits, &out, |of| Op::Round {
        x: of(x),
        to,
        out: of(&out),
    })
}

#[test]
fn numbers_are_moved() -> Result<()> {
    seeds(|pair| {
        let [outer, n, inner] = [4, 6, 5].map(|most| pair.length(most));
        let start = pair.length(n) - 1;
        let length = pair.length(n - start);
        for dtype in FLOATS {
            let x = pair.random(dtype, [outer, n, inner])?;
            let out = pair.room(dtype, [outer, length, inner])?;
            pair.check("slice", Near::Bits, &out, |of| Op::Slice {
                from: of(&x),
                start,
                out: of(&out),
            })?;
            let parts = [x, pair.random(dtype, [outer, length, inner])?];
            let out = pair.room(dtype, [outer, n + length, inner])?;
            pair.check("concat", Near::Bits, &out, |of| Op::Concat {
                parts: parts.iter().map(of).collect(),
                out: of(&out),
            })?;
        }
        let list = pair.places([n], 100)?;
        let out = pair.room(DType::I32, [n])?;
        for by in [1, -1] {
            pair.check("shift", Near::Bits, &out, |of| Op::Shift {
                x: of(&list),
                by,
                out: of(&out),
            })?;
        }
        let list = pair.places([n], 3)?;
        let out = pair.room(DType::F32, [n])?;
        pair.check("mask", Near::Bits, &out, |of| Op::Mask {
            at: of(&list),
            out: of(&out),
        })
    })
}

#[test]
fn rows_are_gathered_taken_and_stored() -> Result<()> {
    seeds(|pair| {
        let [tables, n, block, k] = [3, 7, 4, 5].map(|most| pair.length(most));
        for dtype in FLOATS {
            let from = pair.random(dtype, [n, block])?;
            let at = pair.places([k], n)?;
            let out = pair.room(dtype, [k, block])?;
            pair.check("gather", Near::Bits, &out, |of| Op::Gather {
                from: of(&from),
                at: of(&at),
                out: of(&out),
            })?;
            let (into, at) = (pair.random(dtype, [n, block])?, pair.places([1], n)?);
            let from = pair.random(dtype, [1, block])?;
            pair.check("scatter", Near::Bits, &into, |of| Op::Scatter {
                into: of(&into),
                at: of(&at),
                from: of(&from),
            })?;
        }
        let from = pair.places([tables, n, block], 1000)?;
        let at = pair.places([tables, k], n)?;
        let out = pair.room(DType::I32, [tables, k, block])?;
        pair.check("take", Near::Bits, &out, |of| Op::Take {
            from: of(&from),
            at: of(&at),
            out: of(&out),
        })
    })
}

/// An operation with a matrix, which has its own address in either memory.
fn matrix(of: Of, part: &Both, shape: [usize; 2], stacked: Option<usize>) -> Arc<Matrix<()>> {
    Arc::new(Matrix {
        form: (),
        shape,
        stacked,
        parts: vec![of(part)],
    })
}

#[test]
fn rows_are_multiplied_by_matrices_of_either_type() -> Result<()> {
    seeds(|pair| {
        let [m, inputs, outputs, stack] = [6, 9, 5, 4].map(|most| pair.length(most));
        let mut ends: Vec<i32> = (0..stack).map(|_| pair.length(m) as i32 - 1).collect();
        ends.sort_unstable();
        ends[stack - 1] = m as i32;
        let ends = pair.ints([stack], &ends)?;
        for from in FLOATS {
            let x = pair.random(from, [m, inputs])?;
            for kept in FLOATS {
                let one = pair.random(kept, [outputs, inputs])?;
                let all = pair.random(kept, [stack, outputs, inputs])?;
                for to in FLOATS {
                    let out = pair.room(to, [m, outputs])?;
                    pair.check("linear", sums(to), &out, |of| Op::Linear {
                        x: of(&x),
                        weight: matrix(of, &one, [outputs, inputs], None),
                        out: of(&out),
                    })?;
                    pair.check("grouped", sums(to), &out, |of| Op::Grouped {
                        x: of(&x),
                        weight: matrix(of, &all, [outputs, inputs], Some(stack)),
                        ends: of(&ends),
                        out: of(&out),
                    })?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn matrices_are_multiplied_in_batches() -> Result<()> {
    seeds(|pair| {
        let [batch, m, k, n] = [3, 4, 6, 5].map(|most| pair.length(most));
        for dtype in FLOATS {
            let a = pair.random(dtype, [batch, m, k])?;
            let b = pair.random(dtype, [batch, k, n])?;
            let turned = pair.random(dtype, [batch, n, k])?;
            let out = pair.room(DType::F32, [batch, m, n])?;
            pair.check("matmul", SUMS, &out, |of| Op::Matmul {
                a: of(&a),
                b: of(&b),
                out: of(&out),
            })?;
            pair.check("matmul_t", SUMS, &out, |of| Op::MatmulT {
                a: of(&a),
                b: of(&turned),
                out: of(&out),
            })?;
        }
        Ok(())
    })
}

#[test]
fn numbers_are_added_and_multiplied_with_repetition() -> Result<()> {
    seeds(|pair| {
        let [m, n] = [5, 6].map(|most| pair.length(most));
        for (left, right) in [([m, n], [m, n]), ([m, n], [1, n]), ([m, 1], [1, n])] {
            let a = pair.random(DType::F32, left)?;
            let b = pair.random(DType::F32, right)?;
            let out = pair.room(DType::F32, [m, n])?;
            pair.check("add", Near::Bits, &out, |of| Op::Add {
                a: of(&a),
                b: of(&b),
                out: of(&out),
            })?;
            pair.check("mul", Near::Bits, &out, |of| Op::Mul {
                a: of(&a),
                b: of(&b),
                out: of(&out),
            })?;
        }
        Ok(())
    })
}

#[test]
fn functions_are_those_of_the_host() -> Result<()> {
    let (near, exact) = (Near::Within(1e-6), Near::Bits);
    let functions = [
        (
            Unary::Affine {
                mul: 1.7,
                add: -0.3,
            },
            exact,
        ),
        (Unary::scale(0.5), near),
        (
            Unary::Clamp {
                min: -1.5,
                max: 2.0,
            },
            exact,
        ),
        (
            Unary::Clamp {
                min: f32::NEG_INFINITY,
                max: 2.0,
            },
            exact,
        ),
        (
            Unary::Clamp {
                min: f32::NEG_INFINITY,
                max: f32::INFINITY,
            },
            exact,
        ),
        (Unary::Exp, near),
        (Unary::Gelu, near),
        (Unary::Recip, exact),
        (Unary::Relu, near),
        (Unary::Rsqrt, exact),
        (Unary::Sigmoid, near),
        (Unary::SignedSqrt { min: 0.25 }, exact),
        (Unary::Silu, near),
        (Unary::SqrtSoftplus, near),
    ];
    seeds(|pair| {
        let [m, n] = [4, 40].map(|most| pair.length(most));
        let x = pair.random(DType::F32, [m, n])?;
        let out = pair.room(DType::F32, [m, n])?;
        for (f, near) in functions {
            pair.check("map", near, &out, |of| Op::Map {
                f,
                x: of(&x),
                out: of(&out),
            })?;
        }
        Ok(())
    })
}

#[test]
fn dimensions_are_reduced_and_rows_are_normed() -> Result<()> {
    seeds(|pair| {
        let [outer, n, inner] = [4, 9, 5].map(|most| pair.length(most));
        let x = pair.random(DType::F32, [outer, n, inner])?;
        let out = pair.room(DType::F32, [outer, 1, inner])?;
        pair.check("sum", SUMS, &out, |of| Op::Sum {
            x: of(&x),
            out: of(&out),
        })?;
        pair.check("max", Near::Within(0.0), &out, |of| Op::Max {
            x: of(&x),
            out: of(&out),
        })?;
        let weight = pair.random(DType::F32, [n])?;
        for from in FLOATS {
            let x = pair.random(from, [outer, n])?;
            for to in FLOATS {
                let out = pair.room(to, [outer, n])?;
                for weight in [None, Some(weight)] {
                    pair.check("rms_norm", sums(to), &out, |of| Op::RmsNorm {
                        x: of(&x),
                        weight: weight.as_ref().map(of),
                        eps: 1e-6,
                        out: of(&out),
                    })?;
                }
            }
        }
        Ok(())
    })
}

#[test]
fn pairs_of_channels_are_rotated_either_way() -> Result<()> {
    seeds(|pair| {
        let [tokens, inner, pairs] = [3, 4, 5].map(|most| pair.length(most));
        let width = 2 * pairs + pair.length(4) - 1;
        let angles = pair.random(DType::F32, [tokens, 2, pairs])?;
        for from in FLOATS {
            let x = pair.random(from, [tokens, inner, width])?;
            let out = pair.room(DType::F32, [tokens, inner, width])?;
            for rotation in [Rotation::Forward, Rotation::Inverse] {
                pair.check("rope", Near::Within(1e-6), &out, |of| Op::Rope {
                    x: of(&x),
                    angles: of(&angles),
                    rotation,
                    out: of(&out),
                })?;
            }
        }
        Ok(())
    })
}

#[test]
fn the_best_are_found_ties_and_no_numbers_among_them() -> Result<()> {
    seeds(|pair| {
        let [rows, n] = [4, 12].map(|most| pair.length(most));
        let k = pair.length(n);
        let some = [
            1.0,
            -2.0,
            0.0,
            -0.0,
            f32::NAN,
            f32::NEG_INFINITY,
            f32::INFINITY,
        ];
        let numbers: Vec<f32> = (0..rows * n).map(|_| some[pair.length(7) - 1]).collect();
        for x in [
            pair.random(DType::F32, [rows, n])?,
            pair.floats(DType::F32, [rows, n], &numbers)?,
        ] {
            let out = pair.room(DType::I32, [rows, k])?;
            pair.check("top_k", Near::Bits, &out, |of| Op::TopK {
                x: of(&x),
                out: of(&out),
            })?;
        }
        Ok(())
    })
}

#[test]
fn visits_are_sorted_by_expert_and_none_of_them_too() -> Result<()> {
    seeds(|pair| {
        let [tokens, k, count] = [6, 3, 5].map(|most| pair.length(most));
        for tokens in [tokens, 0] {
            let experts = pair.places([tokens, k], count)?;
            let visits = tokens * k;
            let lists = [
                pair.room(DType::I32, [visits])?,
                pair.room(DType::I32, [visits])?,
                pair.room(DType::I32, [visits])?,
            ];
            let ends = pair.room(DType::I32, [count])?;
            let [rows, order, places] = &lists;
            let outs = [rows, order, places, &ends];
            let outs = if visits == 0 { &outs[3..] } else { &outs[..] };
            pair.check_all("dispatch", outs, |of| Op::Dispatch {
                experts: of(&experts),
                rows: of(rows),
                visits: of(order),
                places: of(places),
                ends: of(&ends),
            })?;
        }
        Ok(())
    })
}
