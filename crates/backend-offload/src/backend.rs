//! The primitives: shapes checked, operands brought to what an [`Op`] takes, and queued.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::quant::unpack_row;
use deepseek_core::weights::WeightView;
use deepseek_core::{
    Backend, Collective, DeviceTensor, Error, Fetched, HostTensor, Level, NO_ROW, Result, Rotation,
    Rounding, RowFormat, Unary, Use,
};

use crate::driver::{Chip, Driver, Form};
use crate::matrix::{encode, floats};
use crate::offload::Offload;
use crate::op::Op;
use crate::operands::around;
use crate::tensor::{Ids, Loaded, Rows, Tensor, Weight};
use crate::view::{DType, Dims, Numbering};

impl<D: Driver> Backend for Offload<D> {
    type Tensor = Tensor;
    type Weight = Weight<Form<D>>;
    type Rows = Rows;
    type Ids = Ids;

    fn name(&self) -> &str {
        self.chip().name()
    }

    fn levels(&self) -> &[Level] {
        self.chip().levels()
    }

    fn upload_slice(&self, shape: &[usize], numbers: &[f32]) -> Result<Tensor> {
        let out = self.make(shape, DType::F32)?;
        self.copy_in(out.view(), encode(DType::F32, numbers))?;
        Ok(out)
    }

    fn download(&self, t: &Tensor) -> Result<HostTensor> {
        let bytes = self.copy_out(vec![t.view()])?.remove(0);
        Ok(tensor_on_host(t, &bytes))
    }

    fn ids(&self, host: &[u32]) -> Result<Ids> {
        let rows = host.iter().filter(|id| **id != NO_ROW);
        let below = rows.max().map_or(0, |id| *id as usize + 1);
        assert!(below <= i32::MAX as usize, "row {below} of a list");
        let list = self.make([host.len()], DType::I32)?;
        // No row is the number before the first.
        let numbers = host.iter().flat_map(|id| id.wrapping_add(1).to_le_bytes());
        self.copy_in(list.view(), numbers.collect())?;
        Ok(Ids {
            list,
            numbering: Numbering::FromOne,
            below,
            whole: !host.contains(&NO_ROW),
        })
    }

    fn ids_on_host(&self, ids: &Ids) -> Result<Arc<[u32]>> {
        let bytes = self.copy_out(vec![ids.list.view()])?.remove(0);
        Ok(ids_on_host(ids, &bytes))
    }

    fn fetch(&self, tensors: &[Tensor], ids: &[Ids], to: &mut Fetched) -> Result<()> {
        let views = tensors.iter().map(Tensor::view);
        let lists = ids.iter().map(|ids| ids.list.view());
        let bytes = self.copy_out(views.chain(lists).collect())?;
        let (numbers, lists) = bytes.split_at(tensors.len());
        to.clear();
        for (t, bytes) in tensors.iter().zip(numbers) {
            to.push_tensor(tensor_on_host(t, bytes).data());
        }
        for (ids, bytes) in ids.iter().zip(lists) {
            to.push_ids(&ids_on_host(ids, bytes));
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.wait()
    }

    fn load(&self, weight: &WeightView, purpose: Use) -> Result<Weight<Form<D>>> {
        let loaded = match purpose {
            Use::Product => Loaded::Product(self.load_stack(&[&[weight]], None)?),
            Use::Lookup => Loaded::Lookup(self.load_table(weight)?),
        };
        Ok(Weight(Arc::new(loaded)))
    }

    fn rows(&self, format: RowFormat, width: usize, count: usize) -> Result<Rows> {
        // BF16 holds every value of a row of codes: their scales leave few significant bits.
        let dtype = match format {
            RowFormat::Fp8 {
                tail, tail_bytes, ..
            } if tail > 0 && tail_bytes == 4 => DType::F32,
            RowFormat::F32 => DType::F32,
            RowFormat::Bf16 | RowFormat::Fp8 { .. } | RowFormat::Fp4 { .. } => DType::Bf16,
        };
        let rows = Rows::new(self.make([1 + count, width], dtype)?);
        self.fill_zeros(rows.numbered(Numbering::FromOne))?;
        Ok(rows)
    }

    fn write_rows(&self, rows: &mut Rows, at: &Ids, from: &Tensor) -> Result<()> {
        assert_eq!(
            from.shape(),
            [at.len(), rows.width()],
            "rows of {} for {} places",
            rows.width(),
            at.len()
        );
        in_range(at, rows.count());
        if at.len() == 0 {
            return Ok(());
        }
        let into = rows.numbered(at.numbering);
        let from = self.as_type(from, into.dtype)?;
        self.run(Op::Scatter {
            into,
            at: at.list.view(),
            from: from.view(),
        })?;
        match at.numbering {
            Numbering::FromZero => Ok(()),
            Numbering::FromOne => self.fill_zeros(rows.zeros()),
        }
    }

    fn read_rows(&self, rows: &Rows, at: &Ids) -> Result<Tensor> {
        in_range(at, rows.count());
        self.gather_from(rows.numbered(at.numbering), at)
    }

    fn export_rows(&self, rows: &Rows, run: Range<u32>) -> Result<Vec<u8>> {
        let view = rows.run(run.start as usize, run.len());
        Ok(self.copy_out(vec![view])?.remove(0))
    }

    fn import_rows(&self, rows: &mut Rows, run: Range<u32>, packed: &[u8]) -> Result<()> {
        let view = rows.run(run.start as usize, run.len());
        if packed.len() != view.bytes() {
            return Err(Error::Rows {
                bytes: packed.len(),
                want: view.bytes(),
            });
        }
        self.copy_in(view, packed.to_vec())
    }

    fn reshape(&self, t: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let shape = Dims::from(shape);
        assert_eq!(shape.count(), t.count(), "{:?} as {shape}", t.shape());
        Ok(t.part(0, shape))
    }

    fn narrow(&self, t: &Tensor, dim: usize, start: usize, length: usize) -> Result<Tensor> {
        let whole = t.shape();
        assert!(
            start + length <= whole[dim],
            "{length} from {start} of dimension {dim} of {whole:?}"
        );
        let [outer, n, inner] = around(whole, dim);
        let mut shape = whole.to_vec();
        shape[dim] = length;
        if outer == 1 || length == n {
            return Ok(t.part(start * inner, &shape[..]));
        }
        let out = self.make(&shape[..], t.view().dtype)?;
        self.run(Op::Slice {
            from: t.shaped([outer, n, inner]),
            start,
            out: out.shaped([outer, length, inner]),
        })?;
        Ok(out)
    }

    fn concat(&self, parts: &[&Tensor], dim: usize) -> Result<Tensor> {
        let mut shape = parts[0].shape().to_vec();
        shape[dim] = parts.iter().map(|part| part.shape()[dim]).sum();
        for part in parts {
            let mut others = part.shape().to_vec();
            others[dim] = shape[dim];
            assert_eq!(others, shape, "parts alike but in dimension {dim}");
        }
        let parts: Vec<_> = parts
            .iter()
            .filter(|part| part.count() > 0)
            .copied()
            .collect();
        if let [one] = parts[..] {
            return Ok(one.clone());
        }
        let parts = self.alike(&parts)?;
        let dtype = parts.first().map_or(DType::F32, |part| part.view().dtype);
        let out = self.make(&shape[..], dtype)?;
        self.run(Op::Concat {
            parts: parts
                .iter()
                .map(|part| part.shaped(around(part.shape(), dim)))
                .collect(),
            out: out.shaped(around(&shape, dim)),
        })?;
        Ok(out)
    }

    fn gather(&self, t: &Tensor, at: &Ids) -> Result<Tensor> {
        let mut shape = t.shape().to_vec();
        in_range(at, shape[0]);
        let width = shape[1..].iter().product();
        // Not by whether all of them name rows: that changes from step to step.
        let table = t.part(0, [1, shape[0], width]);
        let table = match at.numbering {
            Numbering::FromZero => table,
            Numbering::FromOne => self.with_zeros(&table)?,
        };
        let rows = self.gather_from(table.shaped([table.shape()[1], width]), at)?;
        shape[0] = at.len();
        self.reshape(&rows, &shape)
    }

    fn lookup(&self, weight: &Weight<Form<D>>, at: &Ids) -> Result<Tensor> {
        self.read_rows(weight.table(), at)
    }

    fn linear(&self, x: &Tensor, weight: &Weight<Form<D>>) -> Result<Tensor> {
        self.product(x, weight, DType::F32)
    }

    fn matmul_t(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let ([batch, m, k], [b_batch, n, b_k]) = (matrices(a), matrices(b));
        assert_eq!(
            [batch, k],
            [b_batch, b_k],
            "{:?} by {:?}",
            a.shape(),
            b.shape()
        );
        let (out, [a, b]) = self.products(a, b, n)?;
        self.run(Op::MatmulT {
            a: a.shaped([batch, m, k]),
            b: b.shaped([batch, n, k]),
            out: out.shaped([batch, m, n]),
        })?;
        Ok(out)
    }

    fn matmul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let ([batch, m, k], [b_batch, b_k, n]) = (matrices(a), matrices(b));
        assert_eq!(
            [batch, k],
            [b_batch, b_k],
            "{:?} by {:?}",
            a.shape(),
            b.shape()
        );
        let (out, [a, b]) = self.products(a, b, n)?;
        self.run(Op::Matmul {
            a: a.shaped([batch, m, k]),
            b: b.shaped([batch, k, n]),
            out: out.shaped([batch, m, n]),
        })?;
        Ok(out)
    }

    fn add(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.join(a, b, |a, b, out| Op::Add { a, b, out })
    }

    fn mul(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        self.join(a, b, |a, b, out| Op::Mul { a, b, out })
    }

    fn map(&self, x: &Tensor, f: Unary) -> Result<Tensor> {
        let (x, out) = (self.wide(x)?, self.make(x.shape(), DType::F32)?);
        self.run(Op::Map {
            f,
            x: x.view(),
            out: out.view(),
        })?;
        Ok(out)
    }

    fn sum(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        self.reduce(x, dim, |x, out| Op::Sum { x, out })
    }

    fn max(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        self.reduce(x, dim, |x, out| Op::Max { x, out })
    }

    fn rms_norm(
        &self,
        x: &Tensor,
        weight: Option<&Tensor>,
        eps: f32,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        let within = rounding.filter(|rounding| *rounding == Rounding::Bf16);
        let dtype = within.map_or(DType::F32, |_| DType::Bf16);
        let weight = weight.map(|weight| self.wide(weight)).transpose()?;
        let out = self.make(x.shape(), dtype)?;
        let rows = [x.rows(), x.width()];
        self.run(Op::RmsNorm {
            x: x.shaped(rows),
            weight: weight.map(|weight| weight.shaped([x.width()])),
            eps,
            out: out.shaped(rows),
        })?;
        match rounding {
            Some(rounding) if within.is_none() => self.round(&out, rounding),
            Some(_) | None => Ok(out),
        }
    }

    fn rope(&self, x: &Tensor, angles: &Tensor, rotation: Rotation) -> Result<Tensor> {
        let (tokens, width, pairs) = (x.shape()[0], x.width(), angles.width());
        let inner = x.rows() / tokens.max(1);
        assert_eq!(
            angles.shape(),
            [tokens, 2, pairs],
            "angles of {:?}",
            x.shape()
        );
        assert!(2 * pairs <= width, "{pairs} pairs of {width} channels");
        let out = self.make(x.shape(), DType::F32)?;
        let dims = [tokens, inner, width];
        self.run(Op::Rope {
            x: x.shaped(dims),
            angles: self.wide(angles)?.view(),
            rotation,
            out: out.shaped(dims),
        })?;
        Ok(out)
    }

    fn top_k(&self, x: &Tensor, k: usize) -> Result<Ids> {
        let [rows, n] = [x.rows(), x.width()];
        assert!(k <= n, "the best {k} of {n}");
        let list = self.make([rows * k], DType::I32)?;
        self.run(Op::TopK {
            x: self.wide(x)?.shaped([rows, n]),
            out: list.shaped([rows, k]),
        })?;
        Ok(Ids::places(list, n))
    }

    fn take(&self, x: &Tensor, at: &Ids, k: usize) -> Result<Tensor> {
        let [rows, n] = [x.rows(), x.width()];
        assert_eq!(at.len(), rows * k, "{k} entries of each of {rows} rows");
        in_range(at, n);
        let (from, at) = self.readable(&x.part(0, [rows, n, 1]), at)?;
        let out = self.make([rows, k], x.view().dtype)?;
        self.run(Op::Take {
            from: from.view(),
            at: at.list.shaped([rows, k]),
            out: out.shaped([rows, k, 1]),
        })?;
        Ok(out)
    }

    fn take_ids(&self, ids: &Ids, n: usize, at: &Ids, k: usize, block: usize) -> Result<Ids> {
        let rows = ids.len() / n.max(1);
        assert_eq!(
            [ids.len(), at.len()],
            [rows * n, rows * k],
            "lists of {n} and {k}"
        );
        // Whole blocks, and as many as are asked for: those behind the end hold no rows.
        let wide = n.max(at.below * block).next_multiple_of(block);
        let ids = if wide == n {
            ids.clone()
        } else {
            self.cut_ids(ids, n, 0..rows, wide)?
        };
        let ids = if at.whole {
            ids
        } else {
            self.renumbered(&ids, Numbering::FromOne)?
        };
        let (from, at) = self.readable(&ids.list.part(0, [rows, wide / block, block]), at)?;
        let list = self.make([rows * k * block], DType::I32)?;
        self.run(Op::Take {
            from: from.view(),
            at: at.list.shaped([rows, k]),
            out: list.shaped([rows, k, block]),
        })?;
        Ok(Ids {
            list,
            whole: ids.whole && at.whole,
            ..ids
        })
    }

    fn cut_ids(&self, ids: &Ids, n: usize, rows: Range<usize>, to: usize) -> Result<Ids> {
        let (count, length) = (rows.len(), to.min(n));
        let ids = if to > n {
            self.renumbered(ids, Numbering::FromOne)?
        } else {
            ids.clone()
        };
        let some = ids.list.part(rows.start * n, [count, n]);
        let cut = self.narrow(&some, 1, 0, length)?;
        let list = if to > n {
            let none = self.zeros([count, to - n], DType::I32)?;
            self.concat(&[&cut, &none], 1)?
        } else {
            cut
        };
        Ok(Ids {
            list: list.part(0, [count * to]),
            whole: ids.whole && to <= n,
            ..ids
        })
    }

    fn mask(&self, ids: &Ids, shape: &[usize]) -> Result<Tensor> {
        match ids.numbering {
            Numbering::FromZero => self.zeros(shape, DType::F32),
            Numbering::FromOne => {
                let out = self.make(shape, DType::F32)?;
                self.run(Op::Mask {
                    at: ids.list.view(),
                    out: out.shaped([ids.len()]),
                })?;
                Ok(out)
            }
        }
    }

    fn round(&self, x: &Tensor, to: Rounding) -> Result<Tensor> {
        let from = x.view().dtype;
        if (from, to) == (DType::Bf16, Rounding::Bf16) {
            return Ok(x.clone());
        }
        // BF16 holds every value of the narrow floats, and channels that are left alone stay what they were.
        let dtype = match to {
            Rounding::Fp8 { tail, .. } if tail > 0 => from,
            Rounding::Int8 => DType::F32,
            Rounding::Bf16
            | Rounding::Fp8 { .. }
            | Rounding::Fp4 { .. }
            | Rounding::HadamardFp4 { .. } => DType::Bf16,
        };
        let out = self.make(x.shape(), dtype)?;
        let rows = [x.rows(), x.width()];
        self.run(Op::Round {
            x: x.shaped(rows),
            to,
            out: out.shaped(rows),
        })?;
        Ok(out)
    }
}

impl<D: Driver> Collective for Offload<D> {
    fn rank(&self) -> usize {
        self.share().index()
    }

    fn world(&self) -> usize {
        self.share().of()
    }

    fn all_reduce(&self, x: &Tensor) -> Result<Tensor> {
        if self.share().is_whole() {
            return Ok(x.clone());
        }
        let x = self.wide(x)?;
        let out = self.make(x.shape(), DType::F32)?;
        self.run(Op::AllReduce {
            x: x.view(),
            out: out.view(),
        })?;
        Ok(out)
    }

    fn all_gather(&self, x: &Tensor) -> Result<Tensor> {
        if self.share().is_whole() {
            return Ok(x.clone());
        }
        let (rows, width, world) = (x.rows(), x.width(), self.world());
        let out = self.make([world, rows * width], x.view().dtype)?;
        self.run(Op::AllGather {
            x: x.shaped([rows * width]),
            out: out.view(),
        })?;
        // Each rank's rows stand together; side by side they are those of one matrix.
        let part = |rank| out.part(rank * rows * width, [rows, width]);
        let parts: Vec<_> = (0..world).map(part).collect();
        let all = self.concat(&parts.iter().collect::<Vec<_>>(), 1)?;
        let mut shape = x.shape().to_vec();
        *shape.last_mut().expect("parts of a dimension") = world * width;
        self.reshape(&all, &shape)
    }
}

fn tensor_on_host(t: &Tensor, bytes: &[u8]) -> HostTensor {
    let mut values = vec![0.0; t.count()];
    unpack_row(floats(t.view().dtype), bytes, &mut values);
    HostTensor::new(t.shape(), values)
}

fn ids_on_host(ids: &Ids, bytes: &[u8]) -> Arc<[u32]> {
    let first = match ids.numbering {
        Numbering::FromZero => 0,
        Numbering::FromOne => 1,
    };
    let numbers = bytes.as_chunks::<4>().0.iter();
    numbers
        .map(|bytes| u32::from_le_bytes(*bytes).wrapping_sub(first))
        .collect()
}

/// # Panics
/// If a list names a row that is not there.
fn in_range(at: &Ids, count: usize) {
    let last = at.below;
    assert!(last <= count, "row {} of {count}", last.saturating_sub(1));
}

/// A tensor as a batch of matrices.
fn matrices(t: &Tensor) -> [usize; 3] {
    let [batch @ .., rows, columns] = t.shape() else {
        panic!("{:?}: a matrix has rows", t.shape());
    };
    [batch.iter().product(), *rows, *columns]
}
