//! Operators of vllm-ascend 0.23.0 for DeepSeek-V4: which verbs they do whole, and the calls of each.
//!
//! An operator does a verb where the verb's operands are what it takes, and where it rounds only what the verb rounds: those that
//! give BF16 serve a level that keeps BF16 there, those that give 32-bit floats every level.

use backend_offload::compose::{Call, Operand, Order, Program, Type, linear};
use backend_offload::{DType, Declined, RouteBy, Verb, View};

use crate::translate::Own;

/// Streams that the operators mix.
const STREAMS: usize = 4;

/// The provider, as messages have it.
pub(crate) const NAME: &str = "vllm-ascend 0.23.0";

/// The operator that does a verb, by its name without `aclnn`.
pub(crate) fn operator(verb: &Verb<()>) -> Option<&'static str> {
    match verb {
        Verb::HcPre { .. } => Some("HcPre"),
        Verb::HcPost { .. } => Some("HcPost"),
        Verb::Route { .. } => Some("MoeGatingTopKHash"),
        _ => None,
    }
}

/// Whether the operator of a verb takes its operands and rounds as the verb does.
pub(crate) fn takes(verb: &Verb<()>) -> Result<(), Declined> {
    let declined = |why: String| Err(Declined(why));
    match verb {
        Verb::HcPre {
            carried: Some(_), ..
        } => declined(
            "HcPre: streams are read by carried shares, which it neither takes nor gives"
                .to_owned(),
        ),
        Verb::HcPre { streams, .. } | Verb::HcPost { streams, .. }
            if streams.dims[1] != STREAMS =>
        {
            declined(format!("{} streams, {STREAMS} are taken", streams.dims[1]))
        }
        Verb::HcPre {
            streams,
            projection,
            dtype,
            ..
        } => {
            if [streams.dtype, *dtype] != [DType::Bf16; 2] {
                return declined(format!(
                    "HcPre: takes and gives bf16, the level has {} and keeps {dtype}",
                    streams.dtype
                ));
            }
            match projection.parts[0].dtype {
                DType::F32 => Ok(()),
                other => declined(format!("HcPre: a mixer of {other}, it takes f32")),
            }
        }
        Verb::HcPost {
            y, streams, dtype, ..
        } => {
            if y.dtype == *dtype && streams.dtype == *dtype {
                return Ok(());
            }
            declined(format!(
                "HcPost: one type for all, the level has {} and {}, and keeps {dtype}",
                y.dtype, streams.dtype
            ))
        }
        Verb::Route {
            by: RouteBy::Score(bias),
            ..
        } if bias.dims[0] != 1 => declined(format!(
            "MoeGatingTopKHash: {} rows of biases, it takes one",
            bias.dims[0]
        )),
        Verb::Route { projection, .. } => match projection.parts[0].dtype {
            DType::F32 | DType::Bf16 => Ok(()),
            other => declined(format!(
                "MoeGatingTopKHash: a gate of {other}, whose logits are composed"
            )),
        },
        _ => declined("no operator does it".to_owned()),
    }
}

/// The calls of a verb that is taken, with the places of its results.
pub(crate) fn program(verb: &Verb<()>, results: &[View]) -> Option<Program<Own>> {
    let mut program = Program::default();
    match verb {
        Verb::HcPre { .. } => hc_pre(&mut program, verb, results),
        Verb::HcPost {
            y,
            streams,
            post,
            comb,
            ..
        } => program.call(Call::Own(Own::HcPost {
            y: y.into(),
            streams: streams.into(),
            post: post.into(),
            comb: comb.into(),
            out: (&results[0]).into(),
        })),
        Verb::Route { .. } => route(&mut program, verb, results),
        _ => return None,
    }
    Some(program)
}

fn hc_pre(to: &mut Program<Own>, verb: &Verb<()>, results: &[View]) {
    let Verb::HcPre {
        streams,
        projection,
        scale,
        base,
        config,
        ..
    } = verb
    else {
        return;
    };
    // One factor each for what is read, what is written and what is mixed, where the verb has one for each row: the first of each.
    let three = to.scratch(Type::F32, &[3]);
    to.copy(Operand::from(scale).strided([3], [STREAMS], 0), three);
    let [y, post, comb] = [0, 1, 2].map(|at| Operand::from(&results[at]));
    to.call(Call::Own(Own::HcPre {
        streams: streams.into(),
        projection: (&projection.parts[0]).into(),
        scale: three,
        base: base.into(),
        config: *config,
        y,
        post,
        comb,
    }));
}

fn route(to: &mut Program<Own>, verb: &Verb<()>, results: &[View]) {
    let Verb::Route {
        x,
        projection,
        by,
        top_k,
        scale,
    } = verb
    else {
        return;
    };
    let (tokens, count) = (x.dims[0], projection.shape[0]);
    let dims = [tokens, *top_k];
    let logits = to.scratch(Type::F32, &[tokens, count]);
    linear(to, x.into(), (&projection.parts[0]).into(), logits);
    let gating = |by, weights, experts, scores| {
        Call::Own(Own::MoeGatingTopKHash {
            logits,
            by,
            scale: *scale,
            weights,
            experts,
            scores,
        })
    };
    match (by, results) {
        (RouteBy::Given(given), [weights, scores]) => {
            // Its table says which experts an id has: here each row is an id of its own.
            let ids = to.scratch(Type::I32, &[tokens]);
            to.call(Call::Arange { out: ids });
            let same = to.scratch(Type::I32, &dims);
            let by = Chosen::Given([ids, given.into()]);
            to.call(gating(by, weights.into(), same, scores.into()));
        }
        (RouteBy::Score(bias), [experts, weights, scores]) => {
            // It gives the best first; the verb has them in the order of their numbers.
            let [best, shares] = [Type::I32, Type::F32].map(|dtype| to.scratch(dtype, &dims));
            let by = Chosen::Best(Operand::from(bias).shaped([count]));
            to.call(gating(by, shares, best, scores.into()));
            let places = to.scratch(Type::I64, &dims);
            to.call(Call::TopK {
                x: best,
                order: Order::SmallestFirst,
                out: Operand::from(experts).shaped(dims),
                places,
            });
            to.call(Call::Gather {
                from: shares,
                at: places,
                out: weights.into(),
            });
        }
        _ => {}
    }
}

/// How the gate chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chosen {
    /// The best scores after adding a bias, F32.
    Best(Operand),
    /// What a table has for the id of each row: ids and table, I32.
    Given([Operand; 2]),
}
