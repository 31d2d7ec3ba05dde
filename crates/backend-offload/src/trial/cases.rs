//! The cases: which operations, in which shapes and types, and how near their results are.

use std::sync::Arc;

use deepseek_core::operands::MixerConfig;
use deepseek_core::{Format, Fp4Scale, Result, Rotation, Rounding, Unary};

use super::Case;
use super::pair::{Both, BothMatrices, Near, Of, Pair, Plain, SIDES};
use crate::matrix::Matrix;
use crate::op::Op;
use crate::verb::{RouteBy, Verb};
use crate::view::DType;

const FLOATS: [DType; 2] = [DType::F32, DType::Bf16];
/// Functions of one number, by another library of them.
const FUNCTIONS: Near = Near::Within(1e-6);
/// Sums of products in 32 bits against sums in 64.
const SUMS: Near = Near::Within(1e-5);
/// The same, rounded to BF16: they may fall to the neighbouring value.
const ROUNDED_SUMS: Near = Near::Within(1.0 / 128.0);

/// Products of rows that were rounded to INT8: a number midway between two codes may become either.
const CODES: Near = Near::Within(1.0 / 64.0);
/// Columns that share a scale in INT4, as conversions have them.
const GROUP: usize = 128;

/// Runs a case.
pub(super) fn run<D: Plain>(pair: &mut Pair<D>, case: Case) -> Result<()> {
    match case {
        Case::Fills => fills(pair),
        Case::Roundings => roundings(pair),
        Case::Moves => moves(pair),
        Case::Rows => rows(pair),
        Case::Products => products(pair),
        Case::Batches => batches(pair),
        Case::Pairs => pairs(pair),
        Case::Functions => functions(pair),
        Case::Reductions => reductions(pair),
        Case::Rotations => rotations(pair),
        Case::Choices => choices(pair),
        Case::Visits => visits(pair),
        Case::Integers => integers(pair),
        Case::Streams => streams(pair),
        Case::Gates => gates(pair),
    }
}

/// How near sums are, by the type of the result.
fn sums(out: DType) -> Near {
    match out {
        DType::Bf16 => ROUNDED_SUMS,
        DType::F32 | DType::I32 | DType::I8 => SUMS,
    }
}

fn fills<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let n = pair.length(40);
    let out = pair.room(DType::F32, [n])?;
    for byte in [0, 0x41, 0xff] {
        pair.check(Near::Bits, &[&out], |of| Op::Fill {
            out: of(&out),
            byte,
        })?;
    }
    let (x, out) = (pair.random(DType::Bf16, [n])?, pair.room(DType::F32, [n])?);
    pair.check(Near::Bits, &[&out], |of| Op::Widen {
        x: of(&x),
        out: of(&out),
    })
}

fn roundings<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let e8m0 = Fp4Scale::E8m0;
    let formats = [
        Rounding::Bf16,
        Rounding::Fp8 { block: 8, tail: 0 },
        Rounding::Fp8 { block: 8, tail: 4 },
        Rounding::Fp8 { block: 5, tail: 0 },
        Rounding::Int8,
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
}

fn rounded<D: Plain>(
    pair: &mut Pair<D>,
    to: Rounding,
    from: DType,
    x: &Both,
    dims: [usize; 2],
) -> Result<()> {
    let dtype = match to {
        Rounding::Int8 => DType::F32,
        _ if to.is_exact_in_bf16() => DType::Bf16,
        _ => from,
    };
    let out = pair.room(dtype, dims)?;
    pair.check(Near::Bits, &[&out], |of| Op::Round {
        x: of(x),
        to,
        out: of(&out),
    })
}

fn moves<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [outer, n, inner] = [4, 6, 5].map(|most| pair.length(most));
    let start = pair.below(n);
    let length = pair.length(n - start);
    for dtype in FLOATS {
        let x = pair.random(dtype, [outer, n, inner])?;
        let out = pair.room(dtype, [outer, length, inner])?;
        pair.check(Near::Bits, &[&out], |of| Op::Slice {
            from: of(&x),
            start,
            out: of(&out),
        })?;
        let parts = [x, pair.random(dtype, [outer, length, inner])?];
        let out = pair.room(dtype, [outer, n + length, inner])?;
        pair.check(Near::Bits, &[&out], |of| Op::Concat {
            parts: parts.iter().map(of).collect(),
            out: of(&out),
        })?;
    }
    let list = pair.places([n], 100)?;
    let out = pair.room(DType::I32, [n])?;
    for by in [1, -1] {
        pair.check(Near::Bits, &[&out], |of| Op::Shift {
            x: of(&list),
            by,
            out: of(&out),
        })?;
    }
    let list = pair.places([n], 3)?;
    let out = pair.room(DType::F32, [n])?;
    pair.check(Near::Bits, &[&out], |of| Op::Mask {
        at: of(&list),
        out: of(&out),
    })
}

fn rows<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [tables, n, block, k] = [3, 7, 4, 5].map(|most| pair.length(most));
    for dtype in FLOATS {
        let from = pair.random(dtype, [n, block])?;
        let at = pair.places([k], n)?;
        let out = pair.room(dtype, [k, block])?;
        pair.check(Near::Bits, &[&out], |of| Op::Gather {
            from: of(&from),
            at: of(&at),
            out: of(&out),
        })?;
        let (into, at) = (pair.random(dtype, [n, block])?, pair.places([1], n)?);
        let from = pair.random(dtype, [1, block])?;
        pair.check(Near::Bits, &[&into], |of| Op::Scatter {
            into: of(&into),
            at: of(&at),
            from: of(&from),
        })?;
    }
    let from = pair.places([tables, n, block], 1000)?;
    let at = pair.places([tables, k], n)?;
    let out = pair.room(DType::I32, [tables, k, block])?;
    pair.check(Near::Bits, &[&out], |of| Op::Take {
        from: of(&from),
        at: of(&at),
        out: of(&out),
    })
}

/// A matrix, which has its own address in either memory.
fn matrix(of: Of, part: &Both, shape: [usize; 2], stacked: Option<usize>) -> Arc<Matrix<()>> {
    Arc::new(Matrix {
        form: (),
        shape,
        stacked,
        parts: vec![of(part)],
    })
}

fn products<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [m, inputs, outputs, stack] = [6, 9, 5, 4].map(|most| pair.length(most));
    let mut ends: Vec<i32> = (0..stack).map(|_| pair.below(m) as i32).collect();
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
                pair.check(sums(to), &[&out], |of| Op::Linear {
                    x: of(&x),
                    weight: matrix(of, &one, [outputs, inputs], None),
                    out: of(&out),
                })?;
                pair.check(sums(to), &[&out], |of| Op::Grouped {
                    x: of(&x),
                    weight: matrix(of, &all, [outputs, inputs], Some(stack)),
                    ends: of(&ends),
                    out: of(&out),
                })?;
            }
        }
    }
    Ok(())
}

/// The matrices of converted checkpoints, two of one width and a stack.
fn integers<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let (m, stack) = (pair.length(5), pair.length(3));
    let mut ends: Vec<i32> = (0..stack).map(|_| pair.below(m) as i32).collect();
    ends.sort_unstable();
    ends[stack - 1] = m as i32;
    let ends = pair.ints([stack], &ends)?;
    let int4 = Format::Int4 { group: GROUP };
    let columns = [pair.length(40), GROUP * pair.length(2)];
    for (format, inputs) in [Format::Int8, int4].into_iter().zip(columns) {
        let [outputs, others] = [70, 40].map(|most| pair.length(most));
        let one = pair.packed(format, [outputs, inputs], None)?;
        let other = pair.packed(format, [others, inputs], None)?;
        let all = pair.packed(format, [outputs, inputs], Some(stack))?;
        for (from, to) in [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(a, b)| (FLOATS[a], FLOATS[b])) {
            let x = pair.random(from, [m, inputs])?;
            let out = pair.room(to, [m, outputs])?;
            let beside = pair.room(to, [m, others])?;
            let linear = |of: Of, weight| Op::Linear {
                x: of(&x),
                weight,
                out: of(&out),
            };
            pair.check_each(sums(to), &[&out], each(&one, linear))?;
            let grouped = |of: Of, weight| Op::Grouped {
                x: of(&x),
                weight,
                ends: of(&ends),
                out: of(&out),
            };
            pair.check_each(sums(to), &[&out], each(&all, grouped))?;
            let project = |of: Of, weight, other| Verb::Project {
                x: of(&x),
                products: vec![(weight, to), (other, to)],
            };
            let project = [
                project(SIDES[0], one.host.clone(), other.host.clone()),
                project(SIDES[1], one.own.clone(), other.own.clone()),
            ];
            pair.check_verb(CODES, &[&out, &beside], project)?;
            let grouped = |of: Of, weight| Verb::Grouped {
                x: of(&x),
                weight,
                ends: of(&ends),
                dtype: to,
            };
            pair.check_verb(CODES, &[&out], each(&all, grouped))?;
        }
    }
    Ok(())
}

/// Four streams, as models have, at the types of a level that rounds activations and of one that does not.
fn streams<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    const N: usize = 4;
    let (tokens, hidden) = (pair.length(3), pair.length(40));
    let rows = (2 + N) * N;
    let projection = pair.random(DType::F32, [rows, N * hidden])?;
    let base = pair.random(DType::F32, [rows])?;
    // A factor each for what is read, written and mixed, small enough for no share to be all or nothing.
    let factors = [N, N, N * N].map(|count| (count, 0.1 + pair.below(8) as f32 / 64.0));
    let factors: Vec<f32> = factors
        .iter()
        .flat_map(|(count, factor)| vec![*factor; *count])
        .collect();
    let scale = pair.floats(DType::F32, [rows], &factors)?;
    for dtype in FLOATS {
        let streams = pair.random(dtype, [tokens, N, hidden])?;
        let y = pair.room(dtype, [tokens, hidden])?;
        let post = pair.room(DType::F32, [tokens, N])?;
        let comb = pair.room(DType::F32, [tokens, N, N])?;
        let pre = |of: Of| Verb::HcPre {
            streams: of(&streams),
            projection: matrix(of, &projection, [rows, N * hidden], None),
            scale: of(&scale),
            base: of(&base),
            config: MixerConfig {
                streams: N,
                sinkhorn: 20,
                eps: 1e-6,
                norm_eps: 1e-6,
            },
            carried: None,
            dtype,
        };
        let pre = SIDES.map(pre);
        pair.check_verb(sums(dtype), &[&y, &post, &comb], pre)?;
        let y = pair.random(dtype, [tokens, hidden])?;
        let post = pair.random(DType::F32, [tokens, N])?;
        let comb = pair.random(DType::F32, [tokens, N, N])?;
        let mixed = pair.room(dtype, [tokens, N, hidden])?;
        let written = |of: Of| Verb::HcPost {
            y: of(&y),
            streams: of(&streams),
            post: of(&post),
            comb: of(&comb),
            dtype,
        };
        let written = SIDES.map(written);
        pair.check_verb(sums(dtype), &[&mixed], written)?;
    }
    Ok(())
}

/// The best by a bias, and those that are given.
fn gates<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [tokens, hidden, count] = [5, 30, 20].map(|most| pair.length(most));
    let k = pair.length(count);
    let bias = pair.random(DType::F32, [1, count])?;
    let given = pair.places([tokens, k], count)?;
    let chosen = pair.room(DType::I32, [tokens, k])?;
    let weights = pair.room(DType::F32, [tokens, k])?;
    let scores = pair.room(DType::F32, [tokens, count])?;
    for (from, kept) in FLOATS
        .into_iter()
        .flat_map(|from| FLOATS.map(|kept| (from, kept)))
    {
        let x = pair.random(from, [tokens, hidden])?;
        let projection = pair.random(kept, [count, hidden])?;
        let route = |of: Of, by| Verb::Route {
            x: of(&x),
            projection: matrix(of, &projection, [count, hidden], None),
            by,
            top_k: k,
            scale: 1.5,
        };
        let best = |of: Of| route(of, RouteBy::Score(of(&bias)));
        let best = SIDES.map(best);
        pair.check_verb(SUMS, &[&chosen, &weights, &scores], best)?;
        let given = |of: Of| route(of, RouteBy::Given(of(&given)));
        let given = SIDES.map(given);
        pair.check_verb(SUMS, &[&weights, &scores], given)?;
    }
    Ok(())
}

/// What is done with matrices, for either of the two.
fn each<T>(matrices: &BothMatrices, of: impl Fn(Of, Arc<Matrix<()>>) -> T) -> [T; 2] {
    [
        of(SIDES[0], Arc::clone(&matrices.host)),
        of(SIDES[1], Arc::clone(&matrices.own)),
    ]
}

fn batches<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [batch, m, k, n] = [3, 4, 6, 5].map(|most| pair.length(most));
    for dtype in FLOATS {
        let a = pair.random(dtype, [batch, m, k])?;
        let b = pair.random(dtype, [batch, k, n])?;
        let turned = pair.random(dtype, [batch, n, k])?;
        let out = pair.room(DType::F32, [batch, m, n])?;
        pair.check(SUMS, &[&out], |of| Op::Matmul {
            a: of(&a),
            b: of(&b),
            out: of(&out),
        })?;
        pair.check(SUMS, &[&out], |of| Op::MatmulT {
            a: of(&a),
            b: of(&turned),
            out: of(&out),
        })?;
    }
    Ok(())
}

fn pairs<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [m, n] = [5, 6].map(|most| pair.length(most));
    for (left, right) in [([m, n], [m, n]), ([m, n], [1, n]), ([m, 1], [1, n])] {
        let a = pair.random(DType::F32, left)?;
        let b = pair.random(DType::F32, right)?;
        let out = pair.room(DType::F32, [m, n])?;
        pair.check(Near::Bits, &[&out], |of| Op::Add {
            a: of(&a),
            b: of(&b),
            out: of(&out),
        })?;
        pair.check(Near::Bits, &[&out], |of| Op::Mul {
            a: of(&a),
            b: of(&b),
            out: of(&out),
        })?;
    }
    Ok(())
}

fn functions<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let (none, top) = (f32::NEG_INFINITY, f32::INFINITY);
    let functions = [
        (
            Unary::Affine {
                mul: 1.7,
                add: -0.3,
            },
            Near::Bits,
        ),
        (Unary::scale(0.5), FUNCTIONS),
        (
            Unary::Clamp {
                min: -1.5,
                max: 2.0,
            },
            Near::Bits,
        ),
        (
            Unary::Clamp {
                min: none,
                max: 2.0,
            },
            Near::Bits,
        ),
        (
            Unary::Clamp {
                min: none,
                max: top,
            },
            Near::Bits,
        ),
        (Unary::Exp, FUNCTIONS),
        (Unary::Gelu, FUNCTIONS),
        (Unary::Recip, Near::Bits),
        (Unary::Relu, FUNCTIONS),
        (Unary::Rsqrt, Near::Bits),
        (Unary::Sigmoid, FUNCTIONS),
        (Unary::SignedSqrt { min: 0.25 }, Near::Bits),
        (Unary::Silu, FUNCTIONS),
        (Unary::SqrtSoftplus, FUNCTIONS),
    ];
    let [m, n] = [4, 40].map(|most| pair.length(most));
    let x = pair.random(DType::F32, [m, n])?;
    let out = pair.room(DType::F32, [m, n])?;
    for (f, near) in functions {
        pair.check(near, &[&out], |of| Op::Map {
            f,
            x: of(&x),
            out: of(&out),
        })?;
    }
    Ok(())
}

fn reductions<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [outer, n, inner] = [4, 9, 5].map(|most| pair.length(most));
    let x = pair.random(DType::F32, [outer, n, inner])?;
    let out = pair.room(DType::F32, [outer, 1, inner])?;
    pair.check(SUMS, &[&out], |of| Op::Sum {
        x: of(&x),
        out: of(&out),
    })?;
    // Of zeros of either sign either is the largest.
    pair.check(Near::Within(f32::MIN_POSITIVE), &[&out], |of| Op::Max {
        x: of(&x),
        out: of(&out),
    })?;
    let weight = pair.random(DType::F32, [n])?;
    for from in FLOATS {
        let x = pair.random(from, [outer, n])?;
        for to in FLOATS {
            let out = pair.room(to, [outer, n])?;
            for weight in [None, Some(weight)] {
                pair.check(sums(to), &[&out], |of| Op::RmsNorm {
                    x: of(&x),
                    weight: weight.as_ref().map(of),
                    eps: 1e-6,
                    out: of(&out),
                })?;
            }
        }
    }
    Ok(())
}

fn rotations<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [tokens, inner, turned] = [3, 4, 5].map(|most| pair.length(most));
    let width = 2 * turned + pair.below(4);
    let angles = pair.random(DType::F32, [tokens, 2, turned])?;
    for from in FLOATS {
        let x = pair.random(from, [tokens, inner, width])?;
        let out = pair.room(DType::F32, [tokens, inner, width])?;
        for rotation in [Rotation::Forward, Rotation::Inverse] {
            pair.check(FUNCTIONS, &[&out], |of| Op::Rope {
                x: of(&x),
                angles: of(&angles),
                rotation,
                out: of(&out),
            })?;
        }
    }
    Ok(())
}

fn choices<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    const SOME: [f32; 7] = [
        1.0,
        -2.0,
        0.0,
        -0.0,
        f32::NAN,
        f32::NEG_INFINITY,
        f32::INFINITY,
    ];
    let [rows, n] = [4, 12].map(|most| pair.length(most));
    let k = pair.length(n);
    let numbers: Vec<f32> = (0..rows * n)
        .map(|_| SOME[pair.below(SOME.len())])
        .collect();
    for x in [
        pair.random(DType::F32, [rows, n])?,
        pair.floats(DType::F32, [rows, n], &numbers)?,
    ] {
        let out = pair.room(DType::I32, [rows, k])?;
        pair.check(Near::Bits, &[&out], |of| Op::TopK {
            x: of(&x),
            out: of(&out),
        })?;
    }
    Ok(())
}

/// Visits of some rows, and of none.
fn visits<D: Plain>(pair: &mut Pair<D>) -> Result<()> {
    let [tokens, k, count] = [6, 3, 5].map(|most| pair.length(most));
    for tokens in [tokens, 0] {
        let experts = pair.places([tokens, k], count)?;
        let visits = tokens * k;
        let ends = pair.room(DType::I32, [count])?;
        let mut list = || pair.room(DType::I32, [visits]);
        let (rows, order, places) = (list()?, list()?, list()?);
        let outs: &[&Both] = if visits == 0 {
            &[&ends]
        } else {
            &[&rows, &order, &places, &ends]
        };
        pair.check(Near::Bits, outs, |of| Op::Dispatch {
            experts: of(&experts),
            rows: of(&rows),
            visits: of(&order),
            places: of(&places),
            ends: of(&ends),
        })?;
    }
    Ok(())
}
