//! Routed experts: each expert's weights are widened once for all tokens that visit it.

use deepseek_core::Result;
use deepseek_core::kernels::{Routing, SwiGlu};
use deepseek_core::weights::WeightView;

use super::dense::{Product, products};
use super::par::{Pool, least_rows};
use super::rows_math::round_rows;

/// Visits whose inner activations are held at a time, unless one expert has more.
const VISITS: usize = 256;

/// The visits of the tokens to one expert.
struct Group<'a> {
    /// `w1`, `w3` and `w2`.
    weights: [&'a WeightView; 3],
    /// Indices into the routing, ascending.
    visits: Vec<usize>,
}

/// The weighted sum of the routed experts on `x: [t, hidden]`, each token's in the order of its
/// routing, which is ascending. `expert` gives `w1`, `w3` and `w2` of an expert.
///
/// # Errors
/// Those of `expert`.
pub(crate) fn experts<'a>(
    pool: &Pool,
    x: &[f32],
    routing: &Routing,
    form: SwiGlu,
    mut expert: impl FnMut(u32) -> Result<[&'a WeightView; 3]>,
) -> Result<Vec<f32>> {
    let mut out = vec![0.0; x.len()];
    let mut visits: Vec<usize> = (0..routing.experts.len()).collect();
    if visits.is_empty() {
        return Ok(out);
    }
    visits.sort_by_key(|visit| routing.experts[*visit]);
    let hidden = x.len() * routing.each / visits.len();
    let mut rounded = x.to_vec();
    if let Some(input) = form.input {
        round_rows(pool, &mut rounded, hidden, input);
    }
    let mut batch: Vec<Group<'_>> = Vec::new();
    let mut held = 0;
    for visits in visits.chunk_by(|a, b| routing.experts[*a] == routing.experts[*b]) {
        if held + visits.len() > VISITS {
            run(pool, &rounded, routing, form, &batch, &mut out);
            batch.clear();
            held = 0;
        }
        let weights = expert(routing.experts[visits[0]])?;
        batch.push(Group {
            weights,
            visits: visits.to_vec(),
        });
        held += visits.len();
    }
    run(pool, &rounded, routing, form, &batch, &mut out);
    Ok(out)
}

/// Adds the results of some experts to `out`.
fn run(
    pool: &Pool,
    x: &[f32],
    routing: &Routing,
    form: SwiGlu,
    batch: &[Group<'_>],
    out: &mut [f32],
) {
    let Some(first) = batch.first() else { return };
    let [inner, hidden] = first.weights[0].shape;
    let visits: Vec<usize> = batch
        .iter()
        .flat_map(|group| &group.visits)
        .copied()
        .collect();
    let mut inputs = Vec::with_capacity(visits.len() * hidden);
    for visit in &visits {
        inputs.extend_from_slice(&x[visit / routing.each * hidden..][..hidden]);
    }
    let mut gate = vec![0.0; visits.len() * inner];
    let mut up = vec![0.0; visits.len() * inner];
    let mut jobs = Vec::with_capacity(2 * batch.len());
    each_group(&mut jobs, batch, 0, &inputs, &mut gate);
    each_group(&mut jobs, batch, 1, &inputs, &mut up);
    products(pool, jobs);

    pool.for_rows(&mut gate, inner, least_rows(inner), |first, gate| {
        for (index, gate) in gate.chunks_exact_mut(inner).enumerate() {
            let visit = first + index;
            let weight = routing.weights[visits[visit]];
            let up = &up[visit * inner..][..inner];
            pool.table.swiglu(gate, up, form.limit, weight, form.bf16);
            if let Some(input) = form.input {
                pool.table.round_row(gate, input);
            }
        }
    });

    let mut results = inputs;
    let mut jobs = Vec::with_capacity(batch.len());
    each_group(&mut jobs, batch, 2, &gate, &mut results);
    products(pool, jobs);
    if form.bf16 {
        round_rows(pool, &mut results, hidden, deepseek_core::Rounding::Bf16);
    }
    for (visit, result) in visits.iter().zip(results.chunks_exact(hidden)) {
        let out = &mut out[visit / routing.each * hidden..][..hidden];
        out.iter_mut().zip(result).for_each(|(out, x)| *out += x);
    }
}

/// One product for each expert, with matrix `which` of the three.
fn each_group<'a>(
    jobs: &mut Vec<Product<'a>>,
    batch: &[Group<'a>],
    which: usize,
    mut x: &'a [f32],
    mut out: &'a mut [f32],
) {
    for group in batch {
        let weight = group.weights[which];
        let (head, rest) = x.split_at(group.visits.len() * weight.shape[1]);
        let (sums, after) = out.split_at_mut(group.visits.len() * weight.shape[0]);
        jobs.push(Product {
            x: head,
            weight,
            out: sums,
        });
        (x, out) = (rest, after);
    }
}
