//! The primitives on plain memory.

use deepseek_core::quant::round_row;
use deepseek_core::{Member, Result, Rotation, Unary};

use super::fault;
use super::memory::HostMemory;
use crate::op::Op;
use crate::view::{DType, Dims, View};

/// What an operation needs beside its operands: a matrix in BF16 is widened there, before rows of 32-bit
/// floats are multiplied by it.
pub(super) fn workspace(op: &Op<()>) -> Option<Dims> {
    let Op::Linear { x, weight, .. } = op else {
        return None;
    };
    let narrow = x.dtype == DType::F32 && weight.parts[0].dtype == DType::Bf16;
    narrow.then(|| weight.parts[0].dims)
}

/// Runs an operation whose operands lie apart from its results. With `member` it is one of several ranks.
pub(super) fn run(
    memory: &mut HostMemory,
    op: &Op<()>,
    workspace: Option<&View>,
    member: Option<&Member>,
) -> Result<()> {
    apart(op)?;
    let others = || member.ok_or_else(|| fault(format!("{op}: on a device that is alone")));
    match op {
        Op::Fill { out, byte } => memory.bytes_mut(out).map(|bytes| bytes.fill(*byte)),
        Op::Shift { x, by, out } => shift(memory, x, *by, out),
        Op::Slice { from, start, out } => slice(memory, from, *start, out),
        Op::Concat { parts, out } => concat(memory, parts, out),
        Op::Gather { from, at, out } => {
            let table = from.shaped([1, from.dims[0], from.dims[1]]);
            take(memory, &table, at, out)
        }
        Op::Take { from, at, out } => take(memory, from, at, out),
        Op::Scatter { into, at, from } => scatter(memory, into, at, from),
        Op::Linear { x, weight, out } => linear(memory, x, &weight.parts[0], workspace, out),
        Op::Grouped {
            x,
            weight,
            ends,
            out,
        } => grouped(memory, x, &weight.parts[0], ends, out),
        Op::Matmul { a, b, out } => matmul(memory, a, b, out),
        Op::MatmulT { a, b, out } => matmul_t(memory, a, b, out),
        Op::Widen { x, out } => each_row(memory, x, out, |_| ()),
        Op::Round { x, to, out } => each_row(memory, x, out, |row| round_row(row, *to)),
        Op::RmsNorm {
            x,
            weight,
            eps,
            out,
        } => {
            let weight = weight.map(|weight| memory.floats(&weight)).transpose()?;
            each_row(memory, x, out, |row| rms_norm(row, weight.as_deref(), *eps))
        }
        Op::Map { f, x, out } => each_row(memory, x, out, |row| {
            row.iter_mut().for_each(|x| *x = unary(*f, *x));
        }),
        Op::Add { a, b, out } => pairs(memory, a, b, out, |a, b| a + b),
        Op::Mul { a, b, out } => pairs(memory, a, b, out, |a, b| a * b),
        Op::Sum { x, out } => reduce(memory, x, out, 0.0, |sum, x| sum + x),
        Op::Max { x, out } => reduce(memory, x, out, f64::NEG_INFINITY, f64::max),
        Op::Rope {
            x,
            angles,
            rotation,
            out,
        } => rope(memory, x, angles, *rotation, out),
        Op::TopK { x, out } => best(memory, x, out),
        Op::Mask { at, out } => mask(memory, at, out),
        Op::Dispatch {
            experts,
            rows,
            visits,
            places,
            ends,
        } => dispatch(memory, experts, [rows, visits, places], ends),
        Op::AllReduce { x, out } => {
            let (own, mut sum) = (memory.floats(x)?, vec![0.0; out.count()]);
            others()?.all_reduce(&own, &mut sum)?;
            memory.put(out, &sum)
        }
        Op::AllGather { x, out } => {
            let (own, mut all) = (memory.floats(x)?, vec![0.0; out.count()]);
            others()?.all_gather(&own, own.len(), &mut all)?;
            memory.put(out, &all)
        }
    }
}

/// An operation must not write over what it reads.
fn apart(op: &Op<()>) -> Result<()> {
    let written = op.writes();
    let shared = |read: &View| written.iter().any(|written| read.overlaps(written));
    match op.reads().iter().find(|read| shared(read)) {
        None => Ok(()),
        Some(read) => Err(fault(format!("{op}: writes over its own operand {read}"))),
    }
}

/// One entry of the first dimension.
fn entry(view: &View, index: usize) -> View {
    let dims = &view.dims[1..];
    view.part(index * dims.iter().product::<usize>(), dims)
}

fn matrix(view: &View) -> [usize; 2] {
    [view.dims[0], view.dims[1]]
}

/// The bytes of an entry of the last two of three dimensions, and of the last.
fn strides(view: &View) -> [usize; 2] {
    let inner = view.dims[2] * view.dtype.bytes();
    [view.dims[1] * inner, inner]
}

fn shift(memory: &mut HostMemory, x: &View, by: i32, out: &View) -> Result<()> {
    let x = memory.bytes(x)?.as_chunks::<4>().0.iter();
    let numbers = x.flat_map(|bytes| i32::from_le_bytes(*bytes).wrapping_add(by).to_le_bytes());
    let numbers: Vec<_> = numbers.collect();
    memory.write(out.at, &numbers)
}

fn slice(memory: &mut HostMemory, from: &View, start: usize, out: &View) -> Result<()> {
    let ([block, inner], [piece, _]) = (strides(from), strides(out));
    let mut bytes = Vec::with_capacity(out.bytes());
    for block in memory.bytes(from)?.chunks_exact(block) {
        bytes.extend_from_slice(&block[start * inner..][..piece]);
    }
    memory.write(out.at, &bytes)
}

fn concat(memory: &mut HostMemory, parts: &[View], out: &View) -> Result<()> {
    let mut bytes = Vec::with_capacity(out.bytes());
    for outer in 0..out.dims[0] {
        for part in parts {
            bytes.extend_from_slice(memory.bytes(&entry(part, outer))?);
        }
    }
    memory.write(out.at, &bytes)
}

fn take(memory: &mut HostMemory, from: &View, at: &View, out: &View) -> Result<()> {
    let ([table, block], at) = (strides(from), memory.places(at, from.dims[1])?);
    let mut bytes = Vec::with_capacity(out.bytes());
    let k = at.len() / from.dims[0].max(1);
    let tables = memory.bytes(from)?.chunks_exact(table.max(1));
    for (table, at) in tables.zip(at.chunks_exact(k.max(1))) {
        for place in at {
            bytes.extend_from_slice(&table[place * block..][..block]);
        }
    }
    memory.write(out.at, &bytes)
}

fn scatter(memory: &mut HostMemory, into: &View, at: &View, from: &View) -> Result<()> {
    let at = memory.places(at, into.dims[0])?;
    let rows = memory.bytes(from)?.to_vec();
    let row = from.dims[1] * from.dtype.bytes();
    let table = memory.bytes_mut(into)?;
    for (place, from) in at.into_iter().zip(rows.chunks_exact(row)) {
        table[place * row..][..row].copy_from_slice(from);
    }
    Ok(())
}

fn linear(
    memory: &mut HostMemory,
    x: &View,
    matrix: &View,
    workspace: Option<&View>,
    out: &View,
) -> Result<()> {
    let Some(wide) = workspace else {
        return rows_by_rows(memory, x, matrix, out);
    };
    let values = memory.floats(matrix)?;
    memory.put(wide, &values)?;
    rows_by_rows(memory, x, wide, out)
}

/// The products of each row of `a: [m, k]` with each of `b: [n, k]`.
fn rows_by_rows(memory: &mut HostMemory, a: &View, b: &View, out: &View) -> Result<()> {
    let [_, k] = matrix(a);
    let (a, b) = (memory.floats(a)?, memory.floats(b)?);
    let products = a
        .chunks_exact(k)
        .flat_map(|a| b.chunks_exact(k).map(|b| dot(a, b)));
    let products: Vec<_> = products.collect();
    memory.put(out, &products)
}

fn matmul_t(memory: &mut HostMemory, a: &View, b: &View, out: &View) -> Result<()> {
    (0..a.dims[0]).try_for_each(|batch| {
        let [a, b, out] = [a, b, out].map(|view| entry(view, batch));
        rows_by_rows(memory, &a, &b, &out)
    })
}

fn matmul(memory: &mut HostMemory, a: &View, b: &View, out: &View) -> Result<()> {
    let [k, n] = [b.dims[1], b.dims[2]];
    for batch in 0..a.dims[0] {
        let [a, b] = [a, b].map(|view| memory.floats(&entry(view, batch)));
        let (a, b) = (a?, b?);
        let columns: Vec<f32> = (0..n)
            .flat_map(|column| b.iter().skip(column).step_by(n).copied())
            .collect();
        let products = a
            .chunks_exact(k)
            .flat_map(|a| columns.chunks_exact(k).map(|column| dot(a, column)));
        memory.put(&entry(out, batch), &products.collect::<Vec<_>>())?;
    }
    Ok(())
}

fn grouped(memory: &mut HostMemory, x: &View, stack: &View, ends: &View, out: &View) -> Result<()> {
    let [rows, outputs] = matrix(out);
    let end = by_runs(memory, [x, ends], stack, out, rows_by_rows)?;
    // Rows of nobody are left, and were written before by whoever reads them.
    let rest = out.part(end * outputs, [rows - end, outputs]);
    if memory.floats(&rest)?.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    Err(fault(format!(
        "the last run ends at {end} of {rows} rows, and those behind it are not written"
    )))
}

/// Has `product` multiply each run of rows of `x` with its entry of a stack. Runs end at `ends`; where the last one
/// does is returned.
pub(super) fn by_runs(
    memory: &mut HostMemory,
    [x, ends]: [&View; 2],
    stack: &View,
    out: &View,
    product: impl Fn(&mut HostMemory, &View, &View, &View) -> Result<()>,
) -> Result<usize> {
    let ([rows, inputs], [_, outputs]) = (matrix(x), matrix(out));
    let mut first = 0;
    for (run, end) in memory.places(ends, rows + 1)?.into_iter().enumerate() {
        let Some(count) = end.checked_sub(first) else {
            return Err(fault(format!("run {run} ends at {end}, before {first}")));
        };
        if count > 0 {
            let x = x.part(first * inputs, [count, inputs]);
            let out = out.part(first * outputs, [count, outputs]);
            product(memory, &x, &entry(stack, run), &out)?;
        }
        first = end;
    }
    Ok(first)
}

/// What `f` makes of each row.
fn each_row(memory: &mut HostMemory, x: &View, out: &View, f: impl Fn(&mut [f32])) -> Result<()> {
    let mut values = memory.floats(x)?;
    let width = x.dims.last().copied().unwrap_or(1);
    values.chunks_exact_mut(width.max(1)).for_each(f);
    memory.put(out, &values)
}

fn pairs(
    memory: &mut HostMemory,
    a: &View,
    b: &View,
    out: &View,
    f: impl Fn(f32, f32) -> f32,
) -> Result<()> {
    let spread = |view: &View| Ok(repeated(&memory.floats(view)?, &view.dims, &out.dims));
    let (a, b): (Vec<f32>, Vec<f32>) = (spread(a)?, spread(b)?);
    let joined: Vec<_> = a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect();
    memory.put(out, &joined)
}

/// `x: from` as `to`, dimensions of length 1 repeated.
fn repeated(x: &[f32], from: &[usize], to: &[usize]) -> Vec<f32> {
    if from == to {
        return x.to_vec();
    }
    let ([length, from @ ..], [wanted, to @ ..]) = (from, to) else {
        return x.to_vec();
    };
    let entries = x.chunks_exact((x.len() / length).max(1));
    let entries: Vec<f32> = entries.flat_map(|x| repeated(x, from, to)).collect();
    entries.repeat(wanted / length)
}

fn reduce(
    memory: &mut HostMemory,
    x: &View,
    out: &View,
    start: f64,
    f: impl Fn(f64, f64) -> f64,
) -> Result<()> {
    let (values, inner) = (memory.floats(x)?, x.dims[2]);
    let mut reduced = vec![start; out.count()];
    let blocks = values.chunks_exact((x.dims[1] * inner).max(1));
    for (out, block) in reduced.chunks_exact_mut(inner.max(1)).zip(blocks) {
        for row in block.chunks_exact(inner) {
            let pairs = out.iter_mut().zip(row);
            pairs.for_each(|(out, x)| *out = f(*out, f64::from(*x)));
        }
    }
    let reduced: Vec<_> = reduced.into_iter().map(|x| x as f32).collect();
    memory.put(out, &reduced)
}

pub(super) fn rms_norm(row: &mut [f32], weight: Option<&[f32]>, eps: f32) {
    let mean = dot(row, row) / row.len() as f32;
    let root = (mean + eps).sqrt();
    row.iter_mut().for_each(|x| *x /= root);
    let weights = weight.into_iter().flatten();
    row.iter_mut().zip(weights).for_each(|(x, w)| *x *= w);
}

fn rope(
    memory: &mut HostMemory,
    x: &View,
    angles: &View,
    rotation: Rotation,
    out: &View,
) -> Result<()> {
    let ([_, inner, width], pairs) = ([x.dims[0], x.dims[1], x.dims[2]], angles.dims[2]);
    let (mut values, angles) = (memory.floats(x)?, memory.floats(angles)?);
    let tokens = values.chunks_exact_mut((inner * width).max(1));
    for (heads, table) in tokens.zip(angles.chunks_exact((2 * pairs).max(1))) {
        let (cos, sin) = table.split_at(pairs);
        for head in heads.chunks_exact_mut(width) {
            let moving = head[width - 2 * pairs..].as_chunks_mut::<2>().0;
            for ((pair, cos), sin) in moving.iter_mut().zip(cos).zip(sin) {
                let sin = match rotation {
                    Rotation::Forward => *sin,
                    Rotation::Inverse => -sin,
                };
                let [a, b] = *pair;
                *pair = [a * cos - b * sin, a * sin + b * cos];
            }
        }
    }
    memory.put(out, &values)
}

fn best(memory: &mut HostMemory, x: &View, out: &View) -> Result<()> {
    let ([_, n], [_, k]) = (matrix(x), matrix(out));
    let x = memory.floats(x)?;
    let best: Vec<_> = x.chunks_exact(n).flat_map(|row| top_k(row, k)).collect();
    memory.put_places(out, &best)
}

fn mask(memory: &mut HostMemory, at: &View, out: &View) -> Result<()> {
    let low = |place| if place == 0 { f32::NEG_INFINITY } else { 0.0 };
    let at = memory.places(at, usize::MAX)?.into_iter();
    memory.put(out, &at.map(low).collect::<Vec<_>>())
}

fn dispatch(
    memory: &mut HostMemory,
    experts: &View,
    [rows, visits, places]: [&View; 3],
    ends: &View,
) -> Result<()> {
    let (count, [_, k]) = (ends.count(), matrix(experts));
    let experts = memory.places(experts, count)?;
    let mut sorted: Vec<usize> = (0..experts.len()).collect();
    sorted.sort_by_key(|visit| experts[*visit]);
    let mut back = vec![0; sorted.len()];
    for (place, visit) in sorted.iter().enumerate() {
        back[*visit] = place;
    }
    let mut last = vec![0; count];
    experts.iter().for_each(|expert| last[*expert] += 1);
    for expert in 1..count {
        last[expert] += last[expert - 1];
    }
    memory.put_places(
        rows,
        &sorted.iter().map(|visit| visit / k).collect::<Vec<_>>(),
    )?;
    memory.put_places(visits, &sorted)?;
    memory.put_places(places, &back)?;
    memory.put_places(ends, &last)
}

/// A sum of products, in 64 bits, as the reference of the models takes them.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum::<f64>() as f32
}

/// A sum in 64 bits.
pub(super) fn total(terms: impl Iterator<Item = f32>) -> f32 {
    terms.map(f64::from).sum::<f64>() as f32
}

/// The functions as the standard library and `libm` have them, in the order of operations of the other
/// devices, so that primitives agree to the bit.
pub(super) fn unary(f: Unary, x: f32) -> f32 {
    match f {
        Unary::Affine { mul, add } => x * mul + add,
        Unary::Clamp { min, max } => bounded(x, min, max),
        Unary::Exp => x.exp(),
        Unary::Gelu => (libm::erff(x * std::f32::consts::FRAC_1_SQRT_2) + 1.0) * 0.5 * x,
        Unary::Recip => x.recip(),
        Unary::Relu => x.max(0.0),
        Unary::Rsqrt => x.sqrt().recip(),
        Unary::Sigmoid => ((-x).exp() + 1.0).recip(),
        Unary::SignedSqrt { min } => {
            let root = bounded(x.abs(), min, f32::INFINITY).sqrt();
            if x >= 0.0 { root } else { -root }
        }
        Unary::Silu => x / ((-x).exp() + 1.0),
        Unary::SqrtSoftplus => {
            // ln(1 + e^x) is max(x, 0) + ln(1 + a) with a = e^-|x|, corrected for what 1 + a loses of a.
            let a = (-x.abs()).exp();
            let u = a + 1.0;
            let lost = (a - (u - 1.0)) / u;
            ((u.ln() + lost) + x.max(0.0)).sqrt()
        }
    }
}

/// What is no number stays so.
fn bounded(x: f32, min: f32, max: f32) -> f32 {
    let x = if x < min { min } else { x };
    if x > max { max } else { x }
}

/// Where the `k` largest stand, ascending; of those alike the first ones, and what is no number last.
pub(super) fn top_k(row: &[f32], k: usize) -> Vec<usize> {
    let value = |at: &usize| match row[*at] {
        x if x.is_nan() => f32::NEG_INFINITY,
        // Both zeros are alike.
        x => x + 0.0,
    };
    let mut best: Vec<usize> = (0..row.len()).collect();
    best.sort_by(|a, b| value(b).total_cmp(&value(a)));
    best.truncate(k);
    best.sort_unstable();
    best
}
