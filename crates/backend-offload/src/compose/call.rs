//! Calls of operators as data, and the calls that an operation is made of.

use super::operand::{Operand, Place, Type};
use crate::limits::BLOCK_BYTES_MIN;

/// A number of an operator beside its operands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A 32-bit float.
    F32(f32),
    /// A 32-bit integer.
    I32(i32),
}

/// Operators of two operands, each repeated where it has length 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
}

/// Operators of one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    /// Between two bounds, one of which is finite.
    Clamp(f32, f32),
    /// `e^x`.
    Exp,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `ln(1 + e^x)`, and `x` beyond 20.
    Softplus,
    /// The square root.
    Sqrt,
    /// Plus a number.
    Adds(f32),
    /// Times a number.
    Muls(f32),
}

/// Which numbers come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The largest.
    LargestFirst,
    /// The smallest.
    SmallestFirst,
}

/// An operator that every vendor has in some form, or one of a vendor's own (`E`), with its operands.
#[derive(Debug, Clone, PartialEq)]
pub enum Call<E> {
    /// Of two numbers each.
    Binary {
        /// Which.
        f: Binary,
        /// One operand, repeated where it has length 1.
        a: Operand,
        /// The other.
        b: Operand,
        /// What comes of it.
        out: Operand,
    },
    /// Of one number each.
    Function {
        /// Which.
        f: Function,
        /// Its arguments.
        x: Operand,
        /// Its values.
        out: Operand,
    },
    /// Numbers as those of another type; to booleans, whether they are not 0.
    Cast {
        /// Of one type.
        x: Operand,
        /// Of the other.
        out: Operand,
    },
    /// The same, between any strides and widths of floats; dimensions of length 1 are repeated.
    Copy {
        /// From where.
        from: Operand,
        /// To where.
        out: Operand,
    },
    /// One or the other number by a condition.
    Where {
        /// Booleans.
        condition: Operand,
        /// What is taken where they hold.
        yes: Operand,
        /// And where not.
        no: Operand,
        /// What was taken.
        out: Operand,
    },
    /// One number everywhere.
    Fill {
        /// Where.
        out: Operand,
        /// The number.
        value: Number,
    },
    /// One number where a mask holds.
    MaskedFill {
        /// Numbers, changed in place.
        x: Operand,
        /// Booleans.
        mask: Operand,
        /// The number.
        value: f32,
    },
    /// 0, 1, 2, …
    Arange {
        /// F32 or I32.
        out: Operand,
    },
    /// One behind the other in the second dimension.
    Concat {
        /// The parts.
        parts: Vec<Operand>,
        /// The whole.
        out: Operand,
    },
    /// Rows by number.
    Rows {
        /// The rows there are.
        from: Operand,
        /// Which.
        at: Operand,
        /// These.
        out: Operand,
    },
    /// Numbers by their place in the second dimension.
    Gather {
        /// The numbers there are.
        from: Operand,
        /// Which, as many as come of it.
        at: Operand,
        /// These.
        out: Operand,
    },
    /// Stores rows by number.
    Scatter {
        /// Rows, changed in place.
        into: Operand,
        /// Which, `[m, 1]`.
        at: Operand,
        /// What is stored.
        from: Operand,
    },
    /// Of matrices, or of batches of them.
    Matmul {
        /// The left ones.
        a: Operand,
        /// The right ones, which may be another's transposes.
        b: Operand,
        /// The products.
        out: Operand,
    },
    /// `gamma ⊙ x / sqrt(mean(x²) + eps)` of rows.
    RmsNorm {
        /// The rows.
        x: Operand,
        /// The factors.
        gamma: Operand,
        /// Added to the mean.
        eps: f32,
        /// The norms.
        out: Operand,
        /// Room for what each row was multiplied by.
        rstd: Operand,
    },
    /// Over the second dimension.
    Sum {
        /// What is added.
        x: Operand,
        /// The sums.
        out: Operand,
    },
    /// Over the second dimension.
    Max {
        /// What is compared.
        x: Operand,
        /// The largest.
        out: Operand,
        /// Room for their places, I64.
        places: Operand,
    },
    /// The first of each row in an order, of those alike the first ones where a vendor can.
    TopK {
        /// The rows.
        x: Operand,
        /// Which come first.
        order: Order,
        /// These.
        out: Operand,
        /// Their places: integers.
        places: Operand,
    },
    /// An operator of the vendor's own.
    Own(E),
}

impl<E> Call<E> {
    /// How many numbers it gives; none where only the vendor knows.
    pub(super) fn count(&self) -> Option<usize> {
        let out = match self {
            Self::Binary { out, .. }
            | Self::Function { out, .. }
            | Self::Cast { out, .. }
            | Self::Copy { out, .. }
            | Self::Where { out, .. }
            | Self::Fill { out, .. }
            | Self::MaskedFill { x: out, .. }
            | Self::Arange { out }
            | Self::Concat { out, .. }
            | Self::Rows { out, .. }
            | Self::Gather { out, .. }
            | Self::Scatter { from: out, .. }
            | Self::Matmul { out, .. }
            | Self::RmsNorm { out, .. }
            | Self::Sum { out, .. }
            | Self::Max { out, .. }
            | Self::TopK { out, .. } => out,
            Self::Own(_) => return None,
        };
        Some(out.dims.count())
    }
}

/// The calls of an operation in their order, and the memory for what lies between them.
#[derive(Debug, PartialEq)]
pub struct Program<E> {
    /// Memory whose bytes all become this one, before anything is called.
    pub fill: Option<(Operand, u8)>,
    /// The calls.
    pub calls: Vec<Call<E>>,
    /// Bytes of the memory between them.
    pub scratch_bytes: usize,
}

impl<E> Default for Program<E> {
    fn default() -> Self {
        Self {
            fill: None,
            calls: Vec::new(),
            scratch_bytes: 0,
        }
    }
}

impl<E> Program<E> {
    /// Room for an intermediate result, with whatever is in it.
    pub fn scratch(&mut self, dtype: Type, dims: &[usize]) -> Operand {
        let operand = Operand::new(Place::Scratch(self.scratch_bytes), dtype, dims);
        self.scratch_bytes += operand.bytes().next_multiple_of(BLOCK_BYTES_MIN);
        operand
    }

    /// Adds a call.
    pub fn call(&mut self, call: Call<E>) {
        self.calls.push(call);
    }

    /// The same with what `each` makes of a call in its place.
    #[must_use]
    pub fn replaced(self, mut each: impl FnMut(&mut Self, Call<E>)) -> Self {
        let mut to = Self {
            fill: self.fill,
            calls: Vec::with_capacity(self.calls.len()),
            scratch_bytes: self.scratch_bytes,
        };
        for call in self.calls {
            each(&mut to, call);
        }
        to
    }

    /// Adds an operator of two operands.
    pub fn binary(&mut self, f: Binary, a: Operand, b: Operand, out: Operand) {
        self.call(Call::Binary { f, a, b, out });
    }

    /// Adds a function.
    pub fn function(&mut self, f: Function, x: Operand, out: Operand) {
        self.call(Call::Function { f, x, out });
    }

    /// Adds a cast.
    pub fn cast(&mut self, x: Operand, out: Operand) {
        self.call(Call::Cast { x, out });
    }

    /// Adds a copy.
    pub fn copy(&mut self, from: Operand, out: Operand) {
        self.call(Call::Copy { from, out });
    }

    /// One number, to be repeated.
    pub fn constant(&mut self, value: Number) -> Operand {
        let dtype = match value {
            Number::F32(_) => Type::F32,
            Number::I32(_) => Type::I32,
        };
        let out = self.scratch(dtype, &[1]);
        self.call(Call::Fill { out, value });
        out
    }

    /// Whether numbers are not 0.
    pub fn is_set(&mut self, x: Operand) -> Operand {
        let out = self.scratch(Type::Bool, &x.dims);
        self.cast(x, out);
        out
    }

    /// The numbers as 32-bit floats: themselves, if they are.
    pub fn widened(&mut self, x: Operand) -> Operand {
        if x.dtype != Type::Bf16 {
            return x;
        }
        let out = self.scratch(Type::F32, &x.dims);
        self.cast(x, out);
        out
    }

    /// Operands of one type: as they are, or as 32-bit floats.
    pub fn alike(&mut self, a: Operand, b: Operand) -> (Operand, Operand) {
        if a.dtype == b.dtype {
            return (a, b);
        }
        (self.widened(a), self.widened(b))
    }

    /// What an operator makes of `x`: in `out`, or on the way there, if it computes in 32 bits and that keeps
    /// fewer.
    pub fn finished(&mut self, x: Operand, out: Operand, make: impl FnOnce(&mut Self, Operand)) {
        if (x.dtype, out.dtype) != (Type::F32, Type::Bf16) {
            make(self, out);
            return;
        }
        let exact = self.scratch(Type::F32, &out.dims);
        make(self, exact);
        self.cast(exact, out);
    }
}
