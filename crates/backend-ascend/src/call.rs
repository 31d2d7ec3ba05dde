//! Calls of the vendor's operators as data, and the calls that an operation is made of.

use crate::limits::ALIGN_BYTES;
use crate::operand::{Operand, Place, Type};

/// A number of an operator beside its operands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    F32(f32),
    I32(i32),
}

/// Operators of two operands, each repeated where it has length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
}

/// Operators of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// Between two bounds, one of which is finite.
    Clamp(f32, f32),
    Exp,
    Sigmoid,
    Silu,
    /// `ln(1 + e^x)`, and `x` beyond 20.
    Softplus,
    Sqrt,
    /// Plus a number.
    Adds(f32),
    /// Times a number.
    Muls(f32),
}

/// Which numbers come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    LargestFirst,
    SmallestFirst,
}

/// An operator of the vendor's with its operands, by its name without `aclnn` and `Inplace`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Binary {
        f: Binary,
        a: Operand,
        b: Operand,
        out: Operand,
    },
    Function {
        f: Function,
        x: Operand,
        out: Operand,
    },
    /// Numbers as those of another type; to booleans, whether they are not 0.
    Cast {
        x: Operand,
        out: Operand,
    },
    /// The same, between any strides.
    Copy {
        from: Operand,
        out: Operand,
    },
    SWhere {
        condition: Operand,
        yes: Operand,
        no: Operand,
        out: Operand,
    },
    FillScalar {
        out: Operand,
        value: Number,
    },
    MaskedFillScalar {
        x: Operand,
        mask: Operand,
        value: f32,
    },
    /// 0, 1, 2, …
    Arange {
        out: Operand,
    },
    /// One behind the other in the second dimension.
    Cat {
        parts: Vec<Operand>,
        out: Operand,
    },
    /// Rows by number.
    IndexSelect {
        from: Operand,
        at: Operand,
        out: Operand,
    },
    /// Numbers by their place in the second dimension.
    Gather {
        from: Operand,
        at: Operand,
        out: Operand,
    },
    /// Stores rows by number, `[m, 1]`.
    ScatterNdUpdate {
        into: Operand,
        at: Operand,
        from: Operand,
    },
    /// Of matrices, or of batches of them.
    Matmul {
        a: Operand,
        b: Operand,
        out: Operand,
    },
    /// Runs of rows, each by a matrix of its own. `ends` are I64.
    GroupedMatmulV5 {
        x: Operand,
        weight: Operand,
        ends: Operand,
        out: Operand,
    },
    RmsNorm {
        x: Operand,
        gamma: Operand,
        eps: f32,
        out: Operand,
        rstd: Operand,
    },
    /// Over the second dimension.
    ReduceSum {
        x: Operand,
        out: Operand,
    },
    /// Over the second dimension, with the places in I64.
    MaxDim {
        x: Operand,
        out: Operand,
        places: Operand,
    },
    /// The first of each row in an order, with their places in I64.
    Topk {
        x: Operand,
        order: Order,
        out: Operand,
        places: Operand,
    },
    /// Sorts visits to experts: the rows of `x` in that order, the number of each visit, and where those of
    /// each expert end, in I64.
    MoeInitRoutingV3 {
        x: Operand,
        experts: Operand,
        rows: Operand,
        visits: Operand,
        ends: Operand,
    },
}

/// The calls of an operation in their order, and the memory for what lies between them.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Program {
    /// Memory whose bytes all become this one, before anything is called: `aclrtMemsetAsync`, no operator.
    pub(crate) fill: Option<(Operand, u8)>,
    pub(crate) calls: Vec<Call>,
    pub(crate) scratch_bytes: usize,
}

impl Program {
    /// Room for an intermediate result, with whatever is in it.
    pub(crate) fn scratch(&mut self, dtype: Type, dims: &[usize]) -> Operand {
        let operand = Operand::new(Place::Scratch(self.scratch_bytes), dtype, dims);
        self.scratch_bytes += operand.bytes().next_multiple_of(ALIGN_BYTES);
        operand
    }

    pub(crate) fn call(&mut self, call: Call) {
        self.calls.push(call);
    }

    pub(crate) fn binary(&mut self, f: Binary, a: Operand, b: Operand, out: Operand) {
        self.call(Call::Binary { f, a, b, out });
    }

    pub(crate) fn function(&mut self, f: Function, x: Operand, out: Operand) {
        self.call(Call::Function { f, x, out });
    }

    pub(crate) fn cast(&mut self, x: Operand, out: Operand) {
        self.call(Call::Cast { x, out });
    }

    pub(crate) fn copy(&mut self, from: Operand, out: Operand) {
        self.call(Call::Copy { from, out });
    }

    /// One number, to be repeated.
    pub(crate) fn constant(&mut self, value: Number) -> Operand {
        let dtype = match value {
            Number::F32(_) => Type::F32,
            Number::I32(_) => Type::I32,
        };
        let out = self.scratch(dtype, &[1]);
        self.call(Call::FillScalar { out, value });
        out
    }

    /// Whether numbers are not 0.
    pub(crate) fn is_set(&mut self, x: Operand) -> Operand {
        let out = self.scratch(Type::Bool, &x.dims);
        self.cast(x, out);
        out
    }

    /// The numbers as 32-bit floats: themselves, if they are.
    pub(crate) fn widened(&mut self, x: Operand) -> Operand {
        if x.dtype != Type::Bf16 {
            return x;
        }
        let out = self.scratch(Type::F32, &x.dims);
        self.cast(x, out);
        out
    }
}
