//! The calls of an operation: those that every vendor has, and CANN's own for visits to experts and for integers.

use backend_offload::compose::{Call, Operand, Program, Type, compose};
use backend_offload::{Op, Verb, View};
use deepseek_core::operands::MixerConfig;

use crate::custom::{self, Chosen};
use crate::integers::{self, Codes};

/// An operator that CANN has of its own, by its name without `aclnn`.
#[derive(Debug, Clone, PartialEq)]
pub enum Own {
    /// Runs of rows, each by a matrix of its own. `ends` are I64.
    GroupedMatmulV5 {
        /// Rows.
        x: Operand,
        /// Matrices.
        weight: Operand,
        /// Where the run of each ends.
        ends: Operand,
        /// The products.
        out: Operand,
    },
    /// Sorts visits to experts: the rows of `x` in that order, the number of each visit, and where those of
    /// each expert end, in I64.
    MoeInitRoutingV3 {
        /// Rows.
        x: Operand,
        /// The expert of each visit.
        experts: Operand,
        /// Rows in the order of the experts.
        rows: Operand,
        /// The number of each visit.
        visits: Operand,
        /// Where the visits to each expert end.
        ends: Operand,
    },
    /// Rows as codes of INT8, each under a scale of its own.
    DynamicQuantV2 {
        /// BF16 `[m, in]`.
        x: Operand,
        /// I8, the same shape.
        codes: Operand,
        /// F32 `[m]`.
        scales: Operand,
    },
    /// A product of integers, scaled.
    QuantMatmulWeightNz {
        /// I8 `[m, in]`.
        x: Operand,
        /// I8 in the fractal format.
        weight: Operand,
        /// F32 `[out]`.
        scales: Operand,
        /// F32 `[m]`.
        rows: Operand,
        /// BF16 `[m, out]`.
        out: Operand,
    },
    /// Reads one stream out of several, and says how they are written.
    HcPre {
        /// BF16 `[t, n, hidden]`.
        streams: Operand,
        /// F32 `[(2 + n) * n, n * hidden]`.
        projection: Operand,
        /// F32 `[3]`.
        scale: Operand,
        /// F32 `[(2 + n) * n]`.
        base: Operand,
        /// Streams, passes and epsilons.
        config: MixerConfig,
        /// BF16 `[t, hidden]`.
        y: Operand,
        /// F32 `[t, n]`.
        post: Operand,
        /// F32 `[t, n, n]`.
        comb: Operand,
    },
    /// Writes one stream to several.
    HcPost {
        /// F32 or BF16 `[t, hidden]`.
        y: Operand,
        /// Of the same type, `[t, n, hidden]`.
        streams: Operand,
        /// F32 `[t, n]`.
        post: Operand,
        /// F32 `[t, n, n]`.
        comb: Operand,
        /// Of the type of the streams.
        out: Operand,
    },
    /// Scores, chooses and weighs experts.
    MoeGatingTopKHash {
        /// F32 `[t, experts]`.
        logits: Operand,
        /// How experts are chosen.
        by: Chosen,
        /// Factor on the weights.
        scale: f32,
        /// F32 `[t, k]`.
        weights: Operand,
        /// I32 `[t, k]`.
        experts: Operand,
        /// F32 `[t, experts]`.
        scores: Operand,
    },
    /// Runs of rows, each by a matrix of integers of its own.
    GroupedMatmulWeightNz {
        /// I8 `[m, in]`.
        x: Operand,
        /// Matrices in the fractal format: INT8, or INT4 where the products are scaled.
        weight: Operand,
        /// Of INT4 scales, compensation, and the scales of the rows; none where products are left as integers.
        scaled: Option<[Operand; 3]>,
        /// I64: where the run of each ends.
        ends: Operand,
        /// I32, or BF16 where they are scaled: `[m, out]`.
        out: Operand,
    },
}

/// The calls of a verb. Plain data: no device is asked.
pub(crate) fn whole(verb: &Verb<()>, results: &[View]) -> Option<Program<Own>> {
    let mut program = Program::default();
    match verb {
        Verb::Project { x, products } => {
            let weights = products.iter().map(|(weight, _)| &**weight);
            let products: Vec<_> = weights.zip(results.iter().map(Operand::from)).collect();
            integers::project(&mut program, x.into(), &products);
        }
        Verb::Grouped {
            x, weight, ends, ..
        } => {
            let out = (&results[0]).into();
            integers::grouped(&mut program, x.into(), weight, ends.into(), out);
        }
        _ => return custom::program(verb, results),
    }
    Some(program)
}

/// The calls of an operation. Plain data: no device is asked.
pub(crate) fn translate(op: &Op<()>) -> Option<Program<Own>> {
    let mut program = Program::default();
    match op {
        Op::Linear { x, weight, out } if Codes::of(weight).is_some() => {
            integers::widened_linear(&mut program, x.into(), weight, out.into());
        }
        Op::Grouped {
            x,
            weight,
            ends,
            out,
        } if Codes::of(weight).is_some() => {
            return integers::widened_grouped(x.into(), weight, ends.into(), out.into());
        }
        Op::Grouped {
            x,
            weight,
            ends,
            out,
        } => {
            let weight = (&weight.parts[0]).into();
            grouped(&mut program, x.into(), weight, ends.into(), out.into());
        }
        Op::Dispatch {
            experts,
            rows,
            visits,
            places,
            ends,
        } => {
            let lists = [rows, visits, places].map(Operand::from);
            dispatch(&mut program, experts.into(), lists, ends.into());
        }
        _ => return compose(op),
    }
    Some(program)
}

/// The same by a matrix for each run of rows: `[m, in]` by `[matrices, out, in]`.
fn grouped(to: &mut Program<Own>, x: Operand, weight: Operand, ends: Operand, out: Operand) {
    // The operator's results are of the type of its operands.
    let (x, weight) = match out.dtype {
        Type::F32 => (to.widened(x), to.widened(weight)),
        Type::Bf16 | Type::I32 | Type::I64 | Type::I8 | Type::Bool => to.alike(x, weight),
    };
    let ends_wide = to.scratch(Type::I64, &ends.dims);
    to.cast(ends, ends_wide);
    let out_dtype = out.dtype;
    to.finished(x, out, |to, out| {
        // Rows behind the last run are left as they are: zeros, where those on the way are not the caller's.
        if out.dtype != out_dtype {
            to.fill = Some((out, 0));
        }
        to.call(Call::Own(Own::GroupedMatmulV5 {
            x,
            weight: weight.transposed(),
            ends: ends_wide,
            out,
        }));
    });
}

/// Visits `[t, k]` of rows to experts, sorted by expert.
fn dispatch(
    to: &mut Program<Own>,
    experts: Operand,
    [rows, visits, places]: [Operand; 3],
    ends: Operand,
) {
    let (tokens, count) = (experts.dims[0], experts.room);
    if count == 0 {
        to.fill = Some((ends, 0));
        return;
    }
    // The operator moves rows of floats: here the number of each, which they hold up to 2^24.
    let numbers = to.scratch(Type::F32, &[tokens]);
    to.call(Call::Arange { out: numbers });
    let moved = to.scratch(Type::F32, &[count]);
    let ends_wide = to.scratch(Type::I64, &ends.dims);
    to.call(Call::Own(Own::MoeInitRoutingV3 {
        x: numbers.shaped([tokens, 1]),
        experts,
        rows: moved.shaped([count, 1]),
        visits,
        ends: ends_wide,
    }));
    to.cast(moved, rows);
    to.cast(ends_wide, ends);
    let order = to.scratch(Type::I32, &[count]);
    to.call(Call::Arange { out: order });
    to.call(Call::Scatter {
        into: places,
        at: visits.shaped([count, 1]),
        from: order,
    });
}
