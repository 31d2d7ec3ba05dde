//! Operands, brought to the types, dimensions and numberings that an [`Op`] takes.

use std::sync::Arc;

use deepseek_core::{Backend, DeviceTensor, Result, Rounding};

use crate::driver::{Driver, Form};
use crate::offload::Offload;
use crate::op::Op;
use crate::tensor::{Ids, Tensor, Weight};
use crate::view::{DType, Numbering, View};

impl<D: Driver> Offload<D> {
    /// `x · wᵀ` in a type of its own.
    pub(crate) fn product(
        &self,
        x: &Tensor,
        weight: &Weight<Form<D>>,
        dtype: DType,
    ) -> Result<Tensor> {
        let out = self.product_room(x, weight, dtype)?;
        self.multiply(x, weight, &out)?;
        Ok(out)
    }

    /// Room for a product.
    pub(crate) fn product_room(
        &self,
        x: &Tensor,
        weight: &Weight<Form<D>>,
        dtype: DType,
    ) -> Result<Tensor> {
        let matrix = weight.product();
        let [outputs, inputs] = matrix.shape;
        let mut shape = x.shape().to_vec();
        let last = shape.last_mut().expect("a product has inputs");
        assert_eq!(*last, inputs, "{:?} by {matrix}", x.shape());
        *last = outputs;
        self.make(&shape[..], dtype)
    }

    /// A product into its room.
    pub(crate) fn multiply(
        &self,
        x: &Tensor,
        weight: &Weight<Form<D>>,
        out: &Tensor,
    ) -> Result<()> {
        self.run(Op::Linear {
            x: x.shaped([x.rows(), x.width()]),
            weight: Arc::clone(weight.product()),
            out: out.shaped([x.rows(), out.width()]),
        })
    }

    /// A list in another numbering.
    ///
    /// # Panics
    /// If it is to count from zero and is not known to name rows alone.
    pub(crate) fn renumbered(&self, ids: &Ids, numbering: Numbering) -> Result<Ids> {
        let by = match (ids.numbering, numbering) {
            (Numbering::FromZero, Numbering::FromOne) => 1,
            (Numbering::FromOne, Numbering::FromZero) => -1,
            (Numbering::FromZero, Numbering::FromZero)
            | (Numbering::FromOne, Numbering::FromOne) => return Ok(ids.clone()),
        };
        assert!(by == 1 || ids.whole, "every number of the list names a row");
        let list = self.make([ids.len()], DType::I32)?;
        self.run(Op::Shift {
            x: ids.list.shaped([ids.len()]),
            by,
            out: list.view(),
        })?;
        Ok(Ids {
            list,
            numbering,
            ..ids.clone()
        })
    }

    /// Tables `[t, n, width]` and a list such that every number of it is an entry of a table: if some may
    /// name no row, each table gets an entry of zeros in front.
    pub(crate) fn readable(&self, tables: &Tensor, at: &Ids) -> Result<(Tensor, Ids)> {
        if at.whole {
            let at = self.renumbered(at, Numbering::FromZero)?;
            return Ok((tables.clone(), at));
        }
        Ok((self.with_zeros(tables)?, at.clone()))
    }

    /// Tables `[t, n, width]`, each with an entry of zeros in front.
    pub(crate) fn with_zeros(&self, tables: &Tensor) -> Result<Tensor> {
        let [count, _, width] = around(tables.shape(), 1);
        let none = self.zeros([count, 1, width], tables.view().dtype)?;
        self.concat(&[&none, tables], 1)
    }

    /// Rows of `[n, width]`, all of which there are.
    pub(crate) fn gather_from(&self, from: View, at: &Ids) -> Result<Tensor> {
        let out = self.make([at.len(), from.dims[1]], from.dtype)?;
        self.run(Op::Gather {
            from,
            at: at.list.shaped([at.len()]),
            out: out.view(),
        })?;
        Ok(out)
    }

    /// The same numbers as 32-bit floats.
    pub(crate) fn wide(&self, x: &Tensor) -> Result<Tensor> {
        if x.view().dtype != DType::Bf16 {
            return Ok(x.clone());
        }
        let out = self.make(x.shape(), DType::F32)?;
        self.run(Op::Widen {
            x: x.view(),
            out: out.view(),
        })?;
        Ok(out)
    }

    pub(crate) fn as_type(&self, x: &Tensor, dtype: DType) -> Result<Tensor> {
        match dtype {
            DType::Bf16 => self.round(x, Rounding::Bf16),
            DType::F32 | DType::I32 | DType::I8 => self.wide(x),
        }
    }

    /// All of one type: as they are, or as 32-bit floats.
    pub(crate) fn alike(&self, parts: &[&Tensor]) -> Result<Vec<Tensor>> {
        let same = parts
            .windows(2)
            .all(|pair| pair[0].view().dtype == pair[1].view().dtype);
        if same {
            return Ok(parts.iter().map(|part| (*part).clone()).collect());
        }
        parts.iter().map(|part| self.wide(part)).collect()
    }

    /// Room for the products of matrices, `n` wide, and both of them in one type.
    pub(crate) fn products(
        &self,
        a: &Tensor,
        b: &Tensor,
        n: usize,
    ) -> Result<(Tensor, [Tensor; 2])> {
        let mut shape = a.shape().to_vec();
        *shape.last_mut().expect("a matrix has columns") = n;
        let out = self.make(&shape[..], DType::F32)?;
        let both = self.alike(&[a, b])?;
        Ok((out, both.try_into().expect("two of two")))
    }

    pub(crate) fn join(
        &self,
        a: &Tensor,
        b: &Tensor,
        op: impl FnOnce(View, View, View) -> Op<Form<D>>,
    ) -> Result<Tensor> {
        let shape = joined(a.shape(), b.shape());
        let ranked = |x: &Tensor| {
            let mut dims = vec![1; shape.len() - x.shape().len()];
            dims.extend(x.shape());
            dims
        };
        let (a_dims, b_dims) = (ranked(a), ranked(b));
        let (a, b) = (self.wide(a)?, self.wide(b)?);
        let out = self.make(&shape[..], DType::F32)?;
        self.run(op(a.shaped(&a_dims[..]), b.shaped(&b_dims[..]), out.view()))?;
        Ok(out)
    }

    pub(crate) fn reduce(
        &self,
        x: &Tensor,
        dim: usize,
        op: impl FnOnce(View, View) -> Op<Form<D>>,
    ) -> Result<Tensor> {
        let [outer, n, inner] = around(x.shape(), dim);
        assert!(n > 0, "dimension {dim} of {:?}", x.shape());
        let mut shape = x.shape().to_vec();
        shape[dim] = 1;
        let out = self.make(&shape[..], DType::F32)?;
        self.run(op(
            self.wide(x)?.shaped([outer, n, inner]),
            out.shaped([outer, 1, inner]),
        ))?;
        Ok(out)
    }

    pub(crate) fn fill_zeros(&self, out: View) -> Result<()> {
        self.run(Op::Fill { out, byte: 0 })
    }
}

/// The product of the lengths before a dimension, its own, and the product of those behind it.
pub(crate) fn around(shape: &[usize], dim: usize) -> [usize; 3] {
    let product = |lengths: &[usize]| lengths.iter().product();
    [
        product(&shape[..dim]),
        shape[dim],
        product(&shape[dim + 1..]),
    ]
}

/// The shape of a sum or product of two, whose dimensions are equal, 1 or missing in front.
///
/// # Panics
/// If they are not.
fn joined(a: &[usize], b: &[usize]) -> Vec<usize> {
    let rank = a.len().max(b.len());
    let length = |shape: &[usize], dim: usize| match (dim + shape.len()).checked_sub(rank) {
        Some(dim) => shape[dim],
        None => 1,
    };
    (0..rank)
        .map(|dim| match (length(a, dim), length(b, dim)) {
            (a, b) if a == b || b == 1 => a,
            (1, b) => b,
            _ => panic!("shapes {a:?} and {b:?}"),
        })
        .collect()
}
