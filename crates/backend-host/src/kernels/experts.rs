//! Gated feed-forward networks, each on rows of its own.
//!
//! The plain twin is [`deepseek_core::reference::experts`], and the numbers are the same bits: each
//! step is done on each number as there, only sooner after the one before.

use std::ops::Range;

use deepseek_core::operands::SwiGlu;
use deepseek_core::quant::bf16;
use deepseek_core::{Few, NO_ROW, Rounding};

use super::dense::{round_in_place, round_tile};
use super::elementwise::{clamp, silu};
use super::form::{Form, Known};
use super::matrix::Matrix;
use super::pool::{Pool, Tile};
use super::product::{bands, product};

/// Columns of a sum of rows that a thread takes at once.
const PIECE: usize = 512;

/// A network and the rows that it is for.
pub(crate) struct Network<'a> {
    /// `w1: [inner, hidden]`.
    pub(crate) gate: &'a Matrix,
    /// `w3: [inner, hidden]`.
    pub(crate) up: &'a Matrix,
    /// `w2: [hidden, inner]`.
    pub(crate) down: &'a Matrix,
    /// Its rows, behind those of the one before.
    pub(crate) rows: Range<usize>,
}

/// Runs networks of one shape on their rows of `x: [rows, hidden]`, which are rounded as `form`
/// says already, to `out: [rows, hidden]`. `weights: [rows]` multiply the inner activations, if
/// given; `inner: [rows, inner]` is room for those.
pub(crate) fn feed_forward(
    pool: &Pool,
    x: &[f32],
    networks: &[Network<'_>],
    weights: Option<&[f32]>,
    form: SwiGlu,
    inner: &mut [f32],
    out: &mut [f32],
) {
    let Some(first) = networks.first() else {
        return;
    };
    let width = first.gate.shape[0];
    // Experts of a layer are of one format, so what they are multiplied as depends on the layer alone.
    let known = Known::after(form.input);
    let entry = networks
        .iter()
        .flat_map(|network| [&**network.gate, &**network.up]);
    let entry = Form::of(pool.isa(), known, entry);
    each(
        (pool, entry),
        x,
        networks,
        first.gate,
        inner,
        |network, x, rows, column, out| {
            let weights = weights.map(|weights| &weights[rows]);
            gated((pool, entry), x, network, column, weights, form, out);
        },
    );
    round_in_place(pool, inner, width, form.input);
    let exit = Form::of(
        pool.isa(),
        known,
        networks.iter().map(|network| &**network.down),
    );
    each(
        (pool, exit),
        inner,
        networks,
        first.down,
        out,
        |network, x, _, column, out| {
            product(pool, exit, x, network.down, column, out);
            round_tile(pool, out, form.bf16.then_some(Rounding::Bf16));
        },
    );
}

/// Has `work` make rectangles of `out`, which are the products of rows of `x` with a matrix like this one: it is
/// given the network, the rows of `x` as they are laid out and which those are, and the first column.
fn each(
    (pool, form): (&Pool, Form),
    x: &[f32],
    networks: &[Network<'_>],
    matrix: &Matrix,
    out: &mut [f32],
    work: impl Fn(&Network<'_>, &[f32], Range<usize>, usize, &mut Tile<'_>) + Sync,
) {
    let [columns, width] = matrix.shape;
    let wide = form.wide(width);
    let groups: Few<_> = networks
        .iter()
        .map(|network| network.rows.clone())
        .collect();
    let (bands, strip) = bands(pool.count(), &groups, wide, matrix);
    let cost = out.len() * width;
    form.rows(pool, x, width, |x| {
        let shape = (&*bands, strip);
        pool.tiles(out, columns, shape, cost, |[band, column], mut out| {
            let rows = bands[band].clone();
            let network = groups.partition_point(|group| group.end <= rows.start);
            let x = &x[rows.start * wide..rows.end * wide];
            work(&networks[network], x, rows, column, &mut out);
        });
    });
}

/// `silu(min(w1·x, limit)) ⊙ clamp(w3·x, ±limit) ⊙ weights`, columns from `first` on.
fn gated(
    (pool, product_form): (&Pool, Form),
    x: &[f32],
    network: &Network<'_>,
    first: usize,
    weights: Option<&[f32]>,
    form: SwiGlu,
    out: &mut Tile<'_>,
) {
    let SwiGlu {
        limit,
        bf16: rounded,
        ..
    } = form;
    let round = |x| if rounded { bf16(x) } else { x };
    product(pool, product_form, x, network.gate, first, out);
    pool.scratch([out.rows() * out.columns()], |[room]| {
        let mut ups = Tile::whole(room, out.columns());
        product(pool, product_form, x, network.up, first, &mut ups);
        for row in 0..out.rows() {
            for (gate, up) in out.row(row).iter_mut().zip(ups.row(row)) {
                let up = clamp(round(*up), -limit, limit);
                let inner = silu(clamp(round(*gate), f32::NEG_INFINITY, limit)) * up;
                *gate = round(weights.map_or(inner, |weights| inner * weights[row]));
            }
        }
    });
}

/// Sums up the rows `at: [t, each]` of `y: [rows, width]`, in order, to `out: [t, width]`. What is
/// [`NO_ROW`] adds nothing.
pub(crate) fn sum_rows(
    pool: &Pool,
    (y, width): (&[f32], usize),
    (at, each): (&[u32], usize),
    out: &mut [f32],
) {
    let cost = at.len() * width;
    // A token at a time; where there is but one, some of its columns.
    let piece = if out.len() == width { PIECE } else { width };
    pool.pieces(out, piece, cost, |index, out| {
        let (token, column) = (index * piece / width, index * piece % width);
        out.fill(0.0);
        let rows = at[token * each..][..each].iter();
        for row in rows.filter(|row| **row != NO_ROW) {
            let y = &y[*row as usize * width + column..];
            out.iter_mut().zip(y).for_each(|(sum, x)| *sum += x);
        }
    });
}
