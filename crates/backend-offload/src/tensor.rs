//! What callers hold: handles to blocks of the device's memory.

use std::fmt;
use std::sync::Arc;

use deepseek_core::DeviceTensor;
use deepseek_core::operands::ExpertViews;

use crate::arena::Block;
use crate::matrix::Matrix;
use crate::view::{Dims, Numbering, View};

/// Numbers on the device, row-major without gaps. A clone is a handle.
#[derive(Clone)]
pub struct Tensor {
    view: View,
    /// None of it where there are no numbers.
    block: Option<Arc<Block>>,
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({})", self.view)
    }
}

impl DeviceTensor for Tensor {
    fn shape(&self) -> &[usize] {
        &self.view.dims
    }
}

impl Tensor {
    pub(crate) fn new(view: View, block: Option<Arc<Block>>) -> Self {
        Self { view, block }
    }

    /// Where the numbers lie.
    pub(crate) fn view(&self) -> View {
        self.view
    }

    /// The same numbers under dimensions of an operation.
    pub(crate) fn shaped(&self, dims: impl Into<Dims>) -> View {
        self.view.shaped(dims)
    }

    /// Some of the numbers: a handle to the same block.
    pub(crate) fn part(&self, first: usize, dims: impl Into<Dims>) -> Self {
        Self {
            view: self.view.part(first, dims),
            block: self.block.clone(),
        }
    }

    /// The first bytes as numbers of another type.
    pub(crate) fn retyped(&self, to: View) -> Self {
        let view = View {
            at: self.view.at,
            ..to
        };
        assert!(view.bytes() <= self.view.bytes(), "{to} of {}", self.view);
        Self {
            view,
            block: self.block.clone(),
        }
    }

    /// How many numbers there are.
    pub(crate) fn count(&self) -> usize {
        self.view.count()
    }
}

/// A list of row numbers on the device. A clone is a handle.
#[derive(Debug, Clone)]
pub struct Ids {
    pub(crate) list: Tensor,
    pub(crate) numbering: Numbering,
    /// All ids that name a row are below this.
    pub(crate) below: usize,
    /// Whether it is known that all of them name one.
    pub(crate) whole: bool,
}

impl Ids {
    /// Numbers that the device made, each below `below`.
    pub(crate) fn places(list: Tensor, below: usize) -> Self {
        Self {
            list,
            numbering: Numbering::FromZero,
            below,
            whole: true,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.list.count()
    }
}

/// A pool of cache rows. In front of them stands one of zeros, which is what a list that counts from one
/// calls no row: it is read as any other, and filled with zeros again after rows were written.
#[derive(Debug)]
pub struct Rows {
    table: Tensor,
}

impl Rows {
    /// Rows with one of zeros in front, `[1 + count, width]`.
    pub(crate) fn new(table: Tensor) -> Self {
        Self { table }
    }

    pub(crate) fn count(&self) -> usize {
        self.table.shape()[0] - 1
    }

    pub(crate) fn width(&self) -> usize {
        self.table.width()
    }

    /// All rows, as a list with such numbers reads them.
    pub(crate) fn numbered(&self, numbering: Numbering) -> View {
        match numbering {
            Numbering::FromOne => self.table.view(),
            Numbering::FromZero => self.run(0, self.count()),
        }
    }

    /// `count` rows from `first`.
    pub(crate) fn run(&self, first: usize, count: usize) -> View {
        let width = self.width();
        self.table.view().part((1 + first) * width, [count, width])
    }

    /// The row of zeros.
    pub(crate) fn zeros(&self) -> View {
        self.table.view().part(0, [1, self.width()])
    }
}

/// A weight matrix. A clone is a handle.
#[derive(Debug)]
pub struct Weight<F>(pub(crate) Arc<Loaded<F>>);

impl<F> Clone for Weight<F> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// A matrix, as what it was loaded for.
#[derive(Debug)]
pub(crate) enum Loaded<F> {
    Product(Stored<F>),
    Lookup(Rows),
}

impl<F> Weight<F> {
    /// The matrix to multiply by.
    ///
    /// # Panics
    /// If it was loaded to be looked up.
    pub(crate) fn product(&self) -> &Arc<Matrix<F>> {
        match &*self.0 {
            Loaded::Product(stored) => &stored.matrix,
            Loaded::Lookup(_) => panic!("a product with a matrix that was loaded to be looked up"),
        }
    }

    /// The rows to look up.
    ///
    /// # Panics
    /// If it was loaded to be multiplied by.
    pub(crate) fn table(&self) -> &Rows {
        match &*self.0 {
            Loaded::Product(_) => panic!("rows of a matrix that was loaded to be multiplied by"),
            Loaded::Lookup(rows) => rows,
        }
    }
}

/// A packed matrix with its memory. Operations refer to the matrix alone, so that no block goes back on
/// the device's own thread, in the middle of what that is doing.
#[derive(Debug)]
pub(crate) struct Stored<F> {
    pub(crate) matrix: Arc<Matrix<F>>,
    /// Held, not read.
    pub(crate) _parts: Vec<Tensor>,
}

/// The routed experts of a layer, or a rank's share of them: all of these on the device, in two stacks.
#[derive(Debug)]
pub struct Experts<F> {
    /// The gates, each above the other branch: `[2 * inner, hidden]`.
    pub(crate) gate_up: Stored<F>,
    /// `[hidden, inner]`.
    pub(crate) down: Stored<F>,
    /// Where they came from.
    pub(crate) views: Box<[ExpertViews]>,
    /// The number of the first.
    pub(crate) first: usize,
    /// Where there are others on other ranks.
    pub(crate) places: Option<Places>,
}

/// For each expert of all ranks, `[total, 1]`.
#[derive(Debug)]
pub(crate) struct Places {
    /// Its place in the stacks; behind the last, if it is not here.
    pub(crate) at: Tensor,
    /// 1 if it is here, else 0.
    pub(crate) here: Tensor,
}
