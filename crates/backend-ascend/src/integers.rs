//! Matrices of integers: how they lie on a device, the operators that multiply them, and the same numbers as floats where those do
//! not serve.
//!
//! Converted checkpoints have INT8 with a scale for each output, and INT4 with one for each group of inputs (`docs/conversion.md`).
//! Both lie in the fractal format, which is what the vendor's products are fast with: of the matrix that is multiplied by, inputs by
//! outputs, blocks of 16 inputs by the 32 or 64 outputs that 32 bytes hold, block by block along the inputs, and so for each run of
//! outputs. What a matrix holds is told by its parts:
//!
//! | | INT8 | INT4 |
//! |---|---|---|
//! | codes | I8 `[blocks of outputs, blocks of inputs, 16, 32]` | the same, two codes in a byte, the first in the lower bits |
//! | scales | F32 `[outputs]` | I32 `[groups, outputs, 2]`: the bits of a float as an integer of 64 bits |
//! | compensation | | F32 `[outputs]`: eight times what the columns of the matrix sum to |
//!
//! The product with INT4 takes the integers that it multiplies by as eight less than they are, and adds the compensation for it.

use backend_offload::compose::{
    Binary, Call, Operand, Program, Type, by_own, fetched, integers, linear, nibbles, runs,
};
use backend_offload::limits::GATHERED_BYTES_MAX;
use backend_offload::{DType, Declined, Dims, Matrix, Packed, Part};
use deepseek_core::Format;
use deepseek_core::weights::WeightView;

use crate::translate::Own;

/// Columns of a group of INT4.
const GROUP: usize = 128;
/// Inputs of a block of the fractal format, and the bytes of one of them.
const BLOCK_INPUTS: usize = 16;
const BLOCK_BYTES: usize = 32;
/// What the product with INT4 takes from the integers that it multiplies by.
const ZERO_POINT: i32 = 8;

/// Codes of a matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codes {
    /// One in a byte.
    Int8,
    /// Two in a byte.
    Int4,
}

impl Codes {
    /// Those that a matrix is made of; none if it is made of floats.
    pub(crate) fn of(matrix: &Matrix<()>) -> Option<Self> {
        match matrix.parts.len() {
            1 => None,
            2 => Some(Self::Int8),
            _ => Some(Self::Int4),
        }
    }

    /// Outputs of a block.
    fn block(self) -> usize {
        match self {
            Self::Int8 => BLOCK_BYTES,
            Self::Int4 => 2 * BLOCK_BYTES,
        }
    }

    /// Codes from one output to the next of its run are neighbours, and those of an input to the next are a block's outputs apart:
    /// where the first code of an output lies.
    fn first(self, output: usize, inputs: usize) -> usize {
        let width = self.block();
        output / width * inputs.next_multiple_of(BLOCK_INPUTS) * width + output % width
    }
}

/// The matrix in one of these forms, if its format is one that they are made of.
pub(crate) fn packed(above: &[&WeightView]) -> Option<Packed<()>> {
    let codes = match above[0].format {
        Format::Int8 => Codes::Int8,
        Format::Int4 { group: GROUP } if above[0].shape[1].is_multiple_of(GROUP) => Codes::Int4,
        _ => return None,
    };
    let outputs: usize = above.iter().map(|view| view.shape[0]).sum();
    let inputs = above[0].shape[1];
    let dims = [
        outputs.div_ceil(codes.block()),
        inputs.div_ceil(BLOCK_INPUTS),
        BLOCK_INPUTS,
        BLOCK_BYTES,
    ];
    let mut bytes = vec![0_u8; dims.iter().product()];
    let rows = || above.iter().flat_map(|view| rows_of(view));
    for (output, (row, _)) in rows().enumerate() {
        let places = (codes.first(output, inputs)..).step_by(codes.block());
        match codes {
            Codes::Int8 => places
                .zip(row)
                .for_each(|(place, code)| bytes[place] = *code),
            Codes::Int4 => {
                let row = row.iter().flat_map(|both| [both & 0xf, both >> 4]);
                let put =
                    |(place, code): (usize, u8)| bytes[place / 2] |= code << (4 * (place % 2));
                places.zip(row).for_each(put);
            }
        }
    }
    let bytes = part(DType::I8, dims, bytes);
    let parts = match codes {
        Codes::Int8 => {
            let scales = rows().flat_map(|(_, scales)| scales).copied().collect();
            vec![bytes, part(DType::F32, [outputs], scales)]
        }
        Codes::Int4 => {
            let groups = inputs / GROUP;
            let wide = (0..groups).flat_map(|group| {
                let scale = move |(_, scales): (_, &[u8])| scales.as_chunks::<4>().0[group];
                rows().map(scale).flat_map(|scale| [scale, [0; 4]].concat())
            });
            let sums = rows().map(compensation).flat_map(f32::to_le_bytes);
            vec![
                bytes,
                part(DType::I32, [groups, outputs, 2], wide.collect()),
                part(DType::F32, [outputs], sums.collect()),
            ]
        }
    };
    Some(Packed { form: (), parts })
}

/// The codes and the scales of each row.
fn rows_of(view: &WeightView) -> impl Iterator<Item = (&[u8], &[u8])> {
    (0..view.shape[0]).map(move |row| (view.row(row), view.row_scales(row)))
}

fn part(dtype: DType, dims: impl Into<Dims>, bytes: Vec<u8>) -> Part {
    let dims = dims.into();
    Part { dtype, dims, bytes }
}

/// Eight times the sum of a row of INT4, group by group under its scales.
fn compensation((row, scales): (&[u8], &[u8])) -> f32 {
    let groups = row.chunks_exact(GROUP / 2).zip(scales.as_chunks::<4>().0);
    groups
        .map(|(codes, scale)| {
            let signed = |code: u8| i32::from((code << 4).cast_signed() >> 4);
            let both = |byte: &u8| signed(*byte) + signed(*byte >> 4);
            let sum: i32 = codes.iter().map(both).sum();
            f32::from_le_bytes(*scale) * (ZERO_POINT * sum) as f32
        })
        .sum()
}

/// Whether the products of rows that are rounded to INT8 are made whole, for what is kept of them.
pub(crate) fn takes(weight: &Matrix<()>, dtype: DType) -> Result<(), Declined> {
    match (Codes::of(weight), weight.stacked, dtype) {
        (None, ..) => Err(Declined(format!(
            "a matrix of {}, products of integers want INT8, or INT4 in groups of {GROUP}",
            weight.parts[0].dtype
        ))),
        (Some(Codes::Int4), None, _) => Err(Declined(
            "INT4 in a product of all rows, GroupedMatmulWeightNz has it by runs of rows"
                .to_owned(),
        )),
        // Its products are integers, which are scaled as floats.
        (Some(Codes::Int8), Some(_), _) | (Some(_), _, DType::Bf16) => Ok(()),
        (Some(codes), ..) => Err(Declined(format!(
            "a result that the level does not round: with {codes:?} {} gives BF16",
            match codes {
                Codes::Int8 => "QuantMatmulWeightNz",
                Codes::Int4 => "GroupedMatmulWeightNz",
            }
        ))),
    }
}

/// Rows as codes of INT8 and the scale of each, by the vendor's operator where it takes them.
fn quantised(to: &mut Program<Own>, x: Operand) -> (Operand, Operand) {
    let codes = to.scratch(Type::I8, &x.dims);
    if x.dtype == Type::Bf16 {
        let scales = to.scratch(Type::F32, &[x.dims[0]]);
        to.call(Call::Own(Own::DynamicQuantV2 { x, codes, scales }));
        return (codes, scales);
    }
    let (floats, scales) = integers(to, x);
    to.cast(floats, codes);
    (codes, scales.shaped([x.dims[0]]))
}

/// Products of rows that are rounded to INT8, each by a matrix of its own.
pub(crate) fn project(to: &mut Program<Own>, x: Operand, products: &[(&Matrix<()>, Operand)]) {
    let (codes, rows) = quantised(to, x);
    for (weight, out) in products {
        to.call(Call::Own(Own::QuantMatmulWeightNz {
            x: codes,
            weight: (&weight.parts[0]).into(),
            scales: (&weight.parts[1]).into(),
            rows,
            out: *out,
        }));
    }
}

/// The same by a matrix for each run of rows.
pub(crate) fn grouped(
    to: &mut Program<Own>,
    x: Operand,
    weight: &Matrix<()>,
    ends: Operand,
    out: Operand,
) {
    let (x, rows) = quantised(to, x);
    let ends_wide = to.scratch(Type::I64, &ends.dims);
    to.cast(ends, ends_wide);
    let parts: Vec<Operand> = weight.parts.iter().map(Operand::from).collect();
    let product = |scaled, out| {
        Call::Own(Own::GroupedMatmulWeightNz {
            x,
            weight: parts[0],
            scaled,
            ends: ends_wide,
            out,
        })
    };
    if let [_, scales, compensation] = parts[..] {
        to.call(product(Some([scales, compensation, rows]), out));
        return;
    }
    // Products of INT8 stay integers until they are scaled as floats: by the scale of each row, and by those of its matrix.
    let [count, outputs] = [out.dims[0], out.dims[1]];
    let exact = to.scratch(Type::I32, &[count, outputs]);
    to.call(product(None, exact));
    let run = runs(to, ends, count);
    let own = fetched(to, parts[1], run);
    let [a, b] = [(); 2].map(|()| to.scratch(Type::F32, &[count, outputs]));
    to.cast(exact, a);
    to.binary(Binary::Mul, a, own, b);
    let rows = rows.shaped([count, 1]);
    if out.dtype == Type::F32 {
        to.binary(Binary::Mul, b, rows, out);
    } else {
        to.binary(Binary::Mul, b, rows, a);
        to.cast(a, out);
    }
}

/// `x · wᵀ` by the floats that the integers stand for.
pub(crate) fn widened_linear(to: &mut Program<Own>, x: Operand, weight: &Matrix<()>, out: Operand) {
    let [codes, scales] = [0, 1].map(|part| Operand::from(&weight.parts[part]));
    let wide = widened(to, [codes, scales], weight, 1);
    linear(to, x, wide.shaped(weight.shape), out);
}

/// The same by a matrix for each run of rows; none where those of all rows are too many numbers.
pub(crate) fn widened_grouped(
    x: Operand,
    weight: &Matrix<()>,
    ends: Operand,
    out: Operand,
) -> Option<Program<Own>> {
    let [outputs, inputs] = weight.shape;
    let rows = x.dims[0];
    if rows * outputs * inputs * Type::F32.bytes() > GATHERED_BYTES_MAX {
        return None;
    }
    let mut program = Program::default();
    by_own(&mut program, x, ends, out, |to, run| {
        let parts = [0, 1].map(|part| fetched(to, (&weight.parts[part]).into(), run));
        widened(to, parts, weight, rows)
    });
    Some(program)
}

/// Codes and scales of some matrices as floats, `[matrices, outputs, inputs]`.
fn widened(
    to: &mut Program<Own>,
    [codes, scales]: [Operand; 2],
    weight: &Matrix<()>,
    count: usize,
) -> Operand {
    let [outputs, inputs] = weight.shape;
    let columns = inputs.next_multiple_of(BLOCK_INPUTS);
    let bytes = to.scratch(
        Type::F32,
        &[codes.room / columns / BLOCK_BYTES, columns, BLOCK_BYTES],
    );
    to.cast(codes.shaped(bytes.dims), bytes);
    let lanes: Vec<_> = match Codes::of(weight) {
        Some(Codes::Int4) => nibbles(to, bytes).into(),
        Some(Codes::Int8) | None => vec![bytes],
    };
    // Each output with all its inputs, those that fill a block among them.
    let (runs, pace) = (bytes.dims[0], lanes.len());
    let padded = runs / count * BLOCK_BYTES * pace;
    let rows = to.scratch(Type::F32, &[count * padded, columns]);
    for (lane, codes) in lanes.into_iter().enumerate() {
        let dims = [runs, BLOCK_BYTES, columns];
        let by = [columns * BLOCK_BYTES, 1, BLOCK_BYTES];
        let into = [BLOCK_BYTES * pace * columns, pace * columns, 1];
        to.copy(
            codes.strided(dims, by, 0),
            rows.strided(dims, into, lane * columns),
        );
    }
    let wide = to.scratch(Type::F32, &[count, outputs, inputs]);
    let groups = if pace == 1 { 1 } else { inputs / GROUP };
    let dims = [count, outputs, groups, inputs / groups];
    let codes = rows.strided(dims, [padded * columns, columns, inputs / groups, 1], 0);
    // Of the integers of 64 bits the lower half.
    let scales = Operand::new(scales.place, Type::F32, [scales.room]).strided(
        [count, outputs, groups, 1],
        [pace * groups * outputs, pace, pace * outputs, 1],
        0,
    );
    to.binary(Binary::Mul, codes, scales, wide.shaped(dims));
    wide
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of an output and an input, by the coordinates of the block that the format has them in.
    fn code(bytes: &[u8], codes: Codes, [output, input]: [usize; 2], inputs: usize) -> i8 {
        let (width, blocks) = (codes.block(), inputs.div_ceil(BLOCK_INPUTS));
        let block = output / width * blocks + input / BLOCK_INPUTS;
        let place = (block * BLOCK_INPUTS + input % BLOCK_INPUTS) * width + output % width;
        match codes {
            Codes::Int8 => bytes[place].cast_signed(),
            Codes::Int4 => (bytes[place / 2] >> (4 * (place % 2)) << 4).cast_signed() >> 4,
        }
    }

    fn view(format: Format, shape: [usize; 2], data: Vec<u8>, scales: &[f32]) -> WeightView {
        let scales: Vec<u8> = scales.iter().flat_map(|x| x.to_le_bytes()).collect();
        WeightView {
            name: "w".to_owned(),
            format,
            shape,
            data: data.into(),
            scales: scales.into(),
            tile_row: 0,
            stride: None,
        }
    }

    #[test]
    fn codes_of_two_matrices_lie_in_the_blocks_of_one() {
        let (rows, inputs) = (20, 18);
        let data = |first: u8| {
            (0..360_u16)
                .map(|at| (at % 251) as u8 ^ first)
                .collect::<Vec<_>>()
        };
        let scales: Vec<f32> = (0..20_u8).map(f32::from).collect();
        let [upper, lower] =
            [3, 90].map(|first| view(Format::Int8, [rows, inputs], data(first), &scales));
        let packed = packed(&[&upper, &lower]).expect("integers");
        let [codes, kept] = &packed.parts[..] else {
            panic!("codes and scales");
        };
        assert_eq!(
            (&codes.dims[..], codes.dtype),
            (&[2, 2, 16, 32][..], DType::I8)
        );
        for (half, view) in [upper, lower].iter().enumerate() {
            for row in 0..rows {
                for input in 0..inputs {
                    let at = [half * rows + row, input];
                    let got = code(&codes.bytes, Codes::Int8, at, inputs);
                    assert_eq!(got, view.row(row)[input].cast_signed(), "{at:?}");
                }
            }
        }
        assert_eq!(kept.bytes.len(), 40 * 4);
        assert_eq!(kept.bytes[80..], kept.bytes[..80]);
    }

    #[test]
    fn int4_has_wide_scales_by_groups_and_what_makes_up_for_its_zero_point() {
        let shape = [3, 256];
        let data: Vec<u8> = (0..384_u16).map(|at| (at * 7 % 256) as u8).collect();
        let scales = [0.5, 2.0, 1.0, 0.25, 4.0, 0.125];
        let view = view(Format::Int4 { group: GROUP }, shape, data, &scales);
        let packed = packed(&[&view]).expect("integers");
        let [codes, wide, sums] = &packed.parts[..] else {
            panic!("codes, scales, compensation");
        };
        assert_eq!(&codes.dims[..], [1, 16, 16, 32]);
        let signed = |row: usize, input: usize| {
            let both = view.row(row)[input / 2];
            (both >> (4 * (input % 2)) << 4).cast_signed() >> 4
        };
        let float = |bytes: &[u8]| f32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
        for row in 0..3 {
            let mut sum = 0.0;
            for input in 0..256 {
                let want = signed(row, input);
                assert_eq!(code(&codes.bytes, Codes::Int4, [row, input], 256), want);
                sum += f32::from(want) * scales[2 * row + input / GROUP];
            }
            assert_eq!(float(&sums.bytes[4 * row..]), 8.0 * sum, "row {row}");
            for group in 0..2 {
                let at = 8 * (group * 3 + row);
                assert_eq!(float(&wide.bytes[at..]), scales[2 * row + group]);
                assert_eq!(wide.bytes[at + 4..][..4], [0; 4]);
            }
        }
    }

    #[test]
    fn other_formats_are_not_packed_so() {
        let int4 = view(Format::Int4 { group: 64 }, [1, 64], vec![0; 32], &[1.0]);
        let bf16 = view(Format::Bf16, [1, 2], vec![0; 4], &[]);
        assert!([int4, bf16].iter().all(|view| packed(&[view]).is_none()));
    }
}
