//! Attention over a window of pages and over chosen compressed rows, and the metadata that it wants of the same parameters.

use crate::array::Array;
use crate::codes;
use crate::exports::Text;
use crate::exports::operators::{SparseFlashMla, SparseFlashMlaMetadata};
use crate::failure::{Failure, Fault, Outcome};
use crate::handles::Handle;
use crate::planner::{BF16, F16, F32, I32, Kernel, Planner, Spec, kernel};

/// Integers of the metadata.
const METADATA: usize = 1024;
/// How masks are numbered: a window behind each query, and rows that a query's position has completed.
const WINDOW: i64 = 4;
const COMPLETED: i64 = 3;
/// Rows of a page are so many, or a multiple, up to a bound.
const PAGE: usize = 16;
const PAGE_MAX: usize = 1024;

/// What both halves are told, by the names that a difference is told by, and behind them the lengths.
#[derive(Debug, Clone)]
struct Parameters {
    numbers: Vec<(&'static str, i64)>,
    /// Where the lengths of the requests stand among the operands.
    lengths: Vec<(&'static str, Option<usize>)>,
}

impl Parameters {
    /// As integers: each number, then a hash of each list of lengths.
    fn encoded(&self, inputs: &[Array]) -> Vec<(&'static str, i64)> {
        let hash = |numbers: &[i64]| {
            let mix = |hash: u32, number: &i64| (hash ^ *number as u32).wrapping_mul(0x0100_0193);
            i64::from(numbers.iter().fold(0x811c_9dc5, mix).cast_signed())
        };
        let lengths = self.lengths.iter().map(|(name, slot)| {
            let of = slot.map_or(-1, |slot| hash(inputs[slot].i()));
            (*name, of)
        });
        self.numbers.iter().copied().chain(lengths).collect()
    }
}

fn not_emulated(text: &str) -> Failure {
    Failure::new(codes::FIND_KERNEL, format!("{text} is not emulated"))
}

/// Queries one behind the other, keys in pages.
fn layouts(query: &Text, keys: &Text) -> Outcome {
    let is = |text: &Text, want: &str| text.read().as_deref() == Some(want);
    if is(query, "TND") && is(keys, "PA_BBND") {
        return Ok(());
    }
    Err(not_emulated("another layout than TND with PA_BBND"))
}

/// A list of I32, if it is given.
fn list(
    op: &mut Planner<'_>,
    name: &'static str,
    handle: Handle,
    count: Option<usize>,
) -> Outcome<Option<Spec>> {
    if handle.is_null() {
        return Ok(None);
    }
    let list = op.input(name, handle)?.of(&[I32])?.rank(1..=1)?;
    match count {
        Some(count) => list.shape(&[count]).map(Some),
        None => Ok(Some(list)),
    }
}

/// The residual of each request is wanted where its last group of rows may not be whole.
fn residual(op: &Planner<'_>, given: bool, has_rows: bool, [ratio, mask]: [i64; 2]) -> Outcome {
    if has_rows && ratio > 1 && mask == COMPLETED && !given {
        return Err(op.refuse(format!(
            "cmpResidualKvOptional: null, wanted for cmpRatio {ratio}"
        )));
    }
    Ok(())
}

pub(crate) fn metadata(op: &mut Planner<'_>, args: &SparseFlashMlaMetadata) -> Outcome<Kernel> {
    layouts(&args.layoutQOptional, &args.layoutKvOptional)?;
    let batch = args.batchSize.max(0) as usize;
    let query = op.input("cuSeqlensQOptional", args.cuSeqlensQOptional)?;
    let query = query.of(&[I32])?.shape(&[batch + 1])?;
    let own = list(
        op,
        "sequsedOriKvOptional",
        args.sequsedOriKvOptional,
        Some(batch),
    )?;
    let rows = list(
        op,
        "sequsedCmpKvOptional",
        args.sequsedCmpKvOptional,
        Some(batch),
    )?;
    let rest = list(
        op,
        "cmpResidualKvOptional",
        args.cmpResidualKvOptional,
        Some(batch),
    )?;
    let of_rows = [args.cmpRatio, args.cmpMaskMode];
    residual(op, rest.is_some(), args.hasCmpKv, of_rows)?;
    op.output("metaData", args.metaData)?
        .of(&[I32])?
        .shape(&[METADATA])?;
    let slot = |spec: Option<Spec>| spec.map(|spec| spec.slot);
    let parameters = Parameters {
        numbers: vec![
            ("numHeadsQ", args.numHeadsQ),
            ("numHeadsKv", args.numHeadsKv),
            ("headDim", args.headDim),
            ("batchSize", args.batchSize),
            ("cmpTopk", args.cmpTopk),
            ("cmpRatio", args.cmpRatio),
            ("oriMaskMode", args.oriMaskMode),
            ("cmpMaskMode", args.cmpMaskMode),
            ("oriWinLeft", args.oriWinLeft),
            ("oriWinRight", args.oriWinRight),
            ("hasCmpKv", args.hasCmpKv.into()),
        ],
        lengths: vec![
            ("cuSeqlensQ", Some(query.slot)),
            ("sequsedOriKv", slot(own)),
            ("sequsedCmpKv", slot(rows)),
            ("cmpResidualKv", slot(rest)),
        ],
    };
    Ok(kernel(move |inputs| {
        let encoded = parameters.encoded(inputs).into_iter();
        let mut numbers: Vec<i64> = encoded.map(|(_, number)| number).collect();
        numbers.resize(METADATA, 0);
        Ok(vec![Array::ints(&[METADATA], numbers)])
    }))
}

/// A pool in pages, `[pages, rows, 1, width]`, and the pages of each request.
#[derive(Debug, Clone)]
struct Pages {
    pool: Spec,
    table: Spec,
}

impl Pages {
    fn new(
        op: &mut Planner<'_>,
        [name, table]: [&'static str; 2],
        [pool, pages]: [Handle; 2],
        (query, batch): (&Spec, usize),
    ) -> Outcome<Self> {
        let pool = op.source(name, pool)?.of(&[query.dtype])?.rank(4..=4)?;
        let (rows, width) = (pool.dims[1], query.dims[2]);
        if rows == 0 || !rows.is_multiple_of(PAGE) || rows > PAGE_MAX {
            return Err(op.refuse(format!("{name}: pages of {rows} rows")));
        }
        let dims = [pool.dims[0], rows, 1, width];
        let pool = pool.shape(&dims)?.contiguous()?;
        let table = op.input(table, pages)?.of(&[I32])?.rank(2..=2)?;
        let dims = [batch, table.dims[1]];
        let table = table.shape(&dims)?.contiguous()?;
        Ok(Self { pool, table })
    }

    /// A row of a request.
    fn row(&self, inputs: &[Array], request: usize, row: usize) -> Result<Vec<f32>, Fault> {
        let (rows, width, pages) = (self.pool.dims[1], self.pool.dims[3], self.table.dims[1]);
        let broken = |text: String| Fault::new("block_table", text);
        let (page, within) = (row / rows, row % rows);
        if page >= pages {
            return Err(broken(format!(
                "row {row} of request {request}, which has {pages} pages"
            )));
        }
        let number = inputs[self.table.slot].i()[request * pages + page];
        let block = usize::try_from(number)
            .ok()
            .filter(|at| *at < self.pool.dims[0]);
        let block = block.ok_or_else(|| {
            broken(format!(
                "page {number} of {}, for row {row}",
                self.pool.dims[0]
            ))
        })?;
        let first = (block * rows + within) * width;
        let places: Vec<_> = (first..first + width).collect();
        let found = inputs[self.pool.slot].pick(&[width], &places);
        let found = found.map_err(|_| broken(format!("row {row} was never written")))?;
        Ok(found.f().to_vec())
    }
}

pub(crate) fn attention(op: &mut Planner<'_>, args: &SparseFlashMla) -> Outcome<Kernel> {
    layouts(&args.layoutQOptional, &args.layoutKvOptional)?;
    let rest = [
        args.oriSparseIndicesOptional,
        args.cuSeqlensOriKvOptional,
        args.cuSeqlensCmpKvOptional,
        args.sequsedQOptional,
        args.oriTopkLengthOptional,
        args.cmpTopkLengthOptional,
        args.softmaxLseOutOptional,
    ];
    if rest.iter().any(|handle| !handle.is_null()) || args.returnSoftmaxLse {
        return Err(not_emulated(
            "SparseFlashMla with chosen rows of a window, or with sums",
        ));
    }
    let q = op
        .input("q", args.q)?
        .of(&[F16, BF16])?
        .rank(3..=3)?
        .contiguous()?;
    let [tokens, heads, width] = [q.dims[0], q.dims[1], q.dims[2]];
    let starts = op.input("cuSeqlensQOptional", args.cuSeqlensQOptional)?;
    let starts = starts.of(&[I32])?.rank(1..=1)?;
    let batch = starts.len().saturating_sub(1);
    let own = op.input("sequsedOriKvOptional", args.sequsedOriKvOptional)?;
    let own = own.of(&[I32])?.shape(&[batch])?;
    let pages = [args.oriKvOptional, args.oriBlockTableOptional];
    let window = Pages::new(
        op,
        ["oriKvOptional", "oriBlockTableOptional"],
        pages,
        (&q, batch),
    )?;
    let has_rows = !args.cmpKvOptional.is_null();
    let pages = [args.cmpKvOptional, args.cmpBlockTableOptional];
    let names = ["cmpKvOptional", "cmpBlockTableOptional"];
    let rows = has_rows
        .then(|| Pages::new(op, names, pages, (&q, batch)))
        .transpose()?;
    let counts = list(
        op,
        "sequsedCmpKvOptional",
        args.sequsedCmpKvOptional,
        Some(batch),
    )?;
    let residuals = list(
        op,
        "cmpResidualKvOptional",
        args.cmpResidualKvOptional,
        Some(batch),
    )?;
    residual(
        op,
        residuals.is_some(),
        has_rows,
        [args.cmpRatio, args.cmpMaskMode],
    )?;
    let chosen = (!args.cmpSparseIndicesOptional.is_null())
        .then(|| {
            let chosen = op.input("cmpSparseIndicesOptional", args.cmpSparseIndicesOptional)?;
            let chosen = chosen.of(&[I32])?.rank(3..=3)?.contiguous()?;
            let k = chosen.dims[2];
            chosen.shape(&[tokens, 1, k])
        })
        .transpose()?;
    let k = chosen.as_ref().map_or(0, |chosen| chosen.dims[2]);
    let modes = match (has_rows, chosen.is_some(), args.cmpRatio) {
        (false, false, _) => args.cmpMaskMode == 0,
        (true, true, 1 | 2 | 4) => args.cmpMaskMode == COMPLETED && [512, 1024].contains(&k),
        (true, false, 128) => args.cmpMaskMode == COMPLETED,
        _ => false,
    };
    if !modes || args.oriMaskMode != WINDOW || args.oriWinLeft < 0 || args.oriWinRight != 0 {
        return Err(op.refuse("rows, ratio, masks and window of no mode"));
    }
    if has_rows && counts.is_none() {
        return Err(op.refuse("sequsedCmpKvOptional: null"));
    }
    let sinks = op
        .input("sinksOptional", args.sinksOptional)?
        .of(&[F32])?
        .shape(&[heads])?;
    let metadata = op.input("metadataOptional", args.metadataOptional)?;
    let metadata = metadata.of(&[I32])?.shape(&[METADATA])?;
    op.output("attnOutOut", args.attnOutOut)?
        .of(&[q.dtype])?
        .shape(&q.dims)?;
    op.workspace = 64 * (1 + (tokens + heads) % 7);
    let slot = |spec: &Option<Spec>| spec.as_ref().map(|spec| spec.slot);
    let parameters = Parameters {
        numbers: vec![
            ("numHeadsQ", heads as i64),
            ("numHeadsKv", 1),
            ("headDim", width as i64),
            ("batchSize", batch as i64),
            ("cmpTopk", k as i64),
            ("cmpRatio", args.cmpRatio),
            ("oriMaskMode", args.oriMaskMode),
            ("cmpMaskMode", args.cmpMaskMode),
            ("oriWinLeft", args.oriWinLeft),
            ("oriWinRight", args.oriWinRight),
            ("hasCmpKv", has_rows.into()),
        ],
        lengths: vec![
            ("cuSeqlensQ", Some(starts.slot)),
            ("sequsedOriKv", Some(own.slot)),
            ("sequsedCmpKv", slot(&counts)),
            ("cmpResidualKv", slot(&residuals)),
        ],
    };
    let (scale, left, ratio) = (args.softmaxScale as f32, args.oriWinLeft, args.cmpRatio);
    let (counts, residuals, chosen) = (slot(&counts), slot(&residuals), slot(&chosen));
    Ok(kernel(move |inputs| {
        let told = parameters
            .encoded(inputs)
            .into_iter()
            .zip(inputs[metadata.slot].i());
        if let Some(((name, number), made)) = told.into_iter().find(|((_, a), b)| a != *b) {
            let text = format!("metadata of another {name}: {made}, here {number}");
            return Err(Fault::new("metadata", text));
        }
        let mut out = Vec::with_capacity(q.len());
        for request in 0..batch {
            let bounds = &inputs[starts.slot].i()[request..=request + 1];
            let (queries, length) = (bounds[1] - bounds[0], inputs[own.slot].i()[request]);
            let at = |slot: Option<usize>| slot.map_or(0, |slot| inputs[slot].i()[request]);
            for query in 0..queries {
                let end = length - queries + query + 1;
                let mut seen = Vec::new();
                for row in (end - left - 1).max(0)..end {
                    seen.push(window.row(inputs, request, row as usize)?);
                }
                if let Some(rows) = &rows {
                    let count = at(counts);
                    let position = count * ratio + at(residuals) - queries + query;
                    let limit = ((position + 1) / ratio).clamp(0, count);
                    let token = (bounds[0] + query) as usize;
                    let all: Vec<i64> = match chosen {
                        Some(chosen) => inputs[chosen].i()[token * k..][..k].to_vec(),
                        None => (0..limit).collect(),
                    };
                    for row in all.into_iter().filter(|row| (0..limit).contains(row)) {
                        seen.push(rows.row(inputs, request, row as usize)?);
                    }
                }
                let token = (bounds[0] + query) as usize;
                for head in 0..heads {
                    let q = &inputs[q.slot].f()[(token * heads + head) * width..][..width];
                    out.extend(mixed(q, &seen, scale, inputs[sinks.slot].f()[head]));
                }
            }
        }
        Ok(vec![Array::floats(&q.dims, out)])
    }))
}

/// Rows weighed by a softmax in which the sink has a share and no row.
fn mixed(q: &[f32], rows: &[Vec<f32>], scale: f32, sink: f32) -> Vec<f32> {
    let (mut top, mut sum) = (sink, 1.0);
    let mut out = vec![0.0; q.len()];
    for row in rows {
        let score = q.iter().zip(row).map(|(q, x)| q * x).sum::<f32>() * scale;
        let peak = top.max(score);
        let (kept, weight) = ((top - peak).exp(), (score - peak).exp());
        sum = sum * kept + weight;
        out.iter_mut()
            .zip(row)
            .for_each(|(out, x)| *out = *out * kept + weight * x);
        top = peak;
    }
    out.iter_mut().for_each(|x| *x /= sum);
    out
}
