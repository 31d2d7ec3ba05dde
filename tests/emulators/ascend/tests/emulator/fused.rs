//! Operators that do in one what others do in many: products of integers, and those of vllm-ascend.

use std::ptr::{null, null_mut};

use backend_ascend_sys::CustomOperators;
use backend_ascend_sys::abi::vllm_ascend_0_23_0::Operators;
use backend_ascend_sys::types::{aclDataType, aclFormat, aclTensor, aclTensorList};
use serde_json::{Value, json};

use crate::operands::{BF16, F32, I8, I32, I64, Operand, operate};
use crate::session::{Session, call};

const NZ: aclFormat = aclFormat::ACL_FORMAT_FRACTAL_NZ;
const ND: aclFormat = aclFormat::ACL_FORMAT_ND;
const I4: aclDataType = aclDataType::ACL_INT4;
const U64: aclDataType = aclDataType::ACL_UINT64;

/// A run with operators of vllm-ascend.
fn custom(family: &str) -> Session {
    Session::new(&json!({
        "schedule": "lazy", "family": family, "provider": "cann91+vllm_ascend_0.23",
    }))
}

/// The first half of an operator of vllm-ascend, its workspace and its executor, and the second.
macro_rules! operate_custom {
    ($session:expr, $name:ident($($arg:expr),* $(,)?)) => {{
        let operator = operators(&$session).$name.expect("the emulator exports it");
        let (mut size, mut executor) = (0, null_mut());
        // SAFETY: the test gives what the function asks for, or nothing that it follows.
        let code = unsafe { (operator.plan)($($arg,)* &raw mut size, &raw mut executor) };
        if code == 0 { $session.run(operator.launch, size, executor) } else { code }
    }};
}

fn operators(session: &Session) -> &Operators {
    let found = session
        .ascend
        .custom
        .iter()
        .find_map(|package| match &package.operators {
            CustomOperators::VllmAscend0_23_0(operators) => Some(&**operators),
            _ => None,
        });
    found.expect("the emulator exports some")
}

/// Bytes as a tensor of any layout.
fn tensor(
    session: &Session,
    bytes: &[u8],
    dtype: aclDataType,
    (format, dims, storage): (aclFormat, &[i64], &[i64]),
) -> *mut aclTensor {
    let block = session.malloc(bytes.len());
    session.upload(block, bytes);
    let behind = |axis: usize| dims[axis + 1..].iter().product();
    let strides: Vec<i64> = (0..dims.len()).map(behind).collect();
    session.view((block, dtype, storage), format, (dims, &strides, 0))
}

/// A list of one tensor, which it owns.
fn listed(session: &Session, one: *mut aclTensor) -> *mut aclTensorList {
    let one = [one.cast_const()];
    call!(session.ascend.tensors, aclCreateTensorList(one.as_ptr(), 1))
}

/// Codes of a `[inputs, outputs]` in blocks of 16 inputs by as many outputs as 32 bytes hold.
fn blocks(
    codes: impl Fn(usize, usize) -> i8,
    [inputs, outputs]: [usize; 2],
    bits: usize,
) -> Vec<u8> {
    let (width, along) = (256 / bits, inputs.div_ceil(16));
    let mut bytes = vec![0; outputs.div_ceil(width) * along * 512];
    for (input, output) in (0..inputs).flat_map(|i| (0..outputs).map(move |o| (i, o))) {
        let block = output / width * along + input / 16;
        let bit = ((block * 16 + input % 16) * width + output % width) * bits;
        let code = codes(input, output) as u8 & (0xff >> (8 - bits));
        bytes[bit / 8] |= code << (bit % 8);
    }
    bytes
}

#[track_caller]
fn close(session: &Session, code: i32, out: &Operand, want: &[f64]) {
    assert_eq!(code, 0, "{}", session.text());
    let got = session.numbers(out);
    assert_eq!(got.len(), want.len());
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let near = (got - want).abs() <= want.abs() / 128.0 + 1e-5;
        assert!(near, "{index}: {got}, want {want}");
    }
}

#[test]
fn a_product_by_a_matrix_in_the_fractal_format_reads_its_blocks() {
    let session = Session::lazy();
    let (inputs, outputs) = (18_usize, 40_usize);
    let code = |input: usize, output: usize| (input * 7 + output * 5) as i8;
    let bytes = blocks(code, [inputs, outputs], 8);
    let dims = [inputs as i64, outputs as i64];
    let weight = tensor(&session, &bytes, I8, (NZ, &dims, &[2, 2, 16, 32]));
    let x: Vec<f64> = (0..2 * inputs).map(|at| at as f64 - 17.0).collect();
    let rows = [2_i64, inputs as i64];
    let a = session.tensor(I8, &rows, &x);
    let scales: Vec<f64> = (0..outputs).map(|at| 0.25 + at as f64 / 64.0).collect();
    let of_columns = session.tensor(F32, &[outputs as i64], &scales);
    let of_rows = session.tensor(F32, &[2], &[0.5, 2.0]);
    let out = session.empty(BF16, &[2, outputs as i64]);
    let want: Vec<f64> = (0..2 * outputs)
        .map(|at| {
            let (row, output) = (at / outputs, at % outputs);
            let products =
                (0..inputs).map(|input| x[row * inputs + input] * f64::from(code(input, output)));
            products.sum::<f64>() * scales[output] * [0.5, 2.0][row]
        })
        .collect();
    let product = |weight: *mut aclTensor| {
        operate!(
            session,
            QuantMatmulWeightNz(
                a.tensor,
                weight,
                of_rows.tensor,
                of_columns.tensor,
                null(),
                null(),
                null(),
                null(),
                null(),
                false,
                false,
                0,
                out.tensor,
            )
        )
    };
    close(&session, product(weight), &out, &want);
    // The same numbers in rows, and in blocks that do not fit the matrix.
    let plain = tensor(&session, &vec![0; inputs * outputs], I8, (ND, &dims, &dims));
    assert_eq!(product(plain), 161_002);
    let wrong = tensor(&session, &bytes, I8, (NZ, &dims, &[2, 2, 32, 16]));
    assert_eq!(product(wrong), 161_002);
    assert!(session.text().contains("storage"), "{}", session.text());
    assert_eq!(session.violations(), Vec::<String>::new());
}

/// Two matrices of `[256, 3]`, and runs of one row and of two.
struct Grouped {
    session: Session,
    ends: Operand,
    rows: Vec<f64>,
}

const INPUTS: usize = 256;
const OUTPUTS: usize = 3;

impl Grouped {
    fn new(family: &str) -> Self {
        let session = custom(family);
        let rows: Vec<f64> = (0..3 * INPUTS)
            .map(|at| (at * 11 % 255) as f64 - 127.0)
            .collect();
        Self {
            ends: session.tensor(I64, &[2], &[1.0, 3.0]),
            session,
            rows,
        }
    }

    fn code(matrix: usize, input: usize, output: usize) -> i8 {
        ((matrix + input * 3 + output) % 15) as i8 - 7
    }

    fn weight(&self, dtype: aclDataType, bits: usize) -> *mut aclTensorList {
        let bytes = (0..2).flat_map(|matrix| {
            let code = move |input, output| Self::code(matrix, input, output);
            blocks(code, [INPUTS, OUTPUTS], bits)
        });
        let bytes: Vec<u8> = bytes.collect();
        let storage = [2, 1, 16, 16, 256 / bits as i64];
        let dims = [2, INPUTS as i64, OUTPUTS as i64];
        let weight = tensor(&self.session, &bytes, dtype, (NZ, &dims, &storage));
        listed(&self.session, weight)
    }

    /// Sums of products of a row and an output, from one input to another.
    fn sum(&self, row: usize, output: usize, inputs: std::ops::Range<usize>) -> f64 {
        let matrix = usize::from(row > 0);
        let product = |input: usize| {
            self.rows[row * INPUTS + input] * f64::from(Self::code(matrix, input, output))
        };
        inputs.map(product).sum()
    }

    fn product(
        &self,
        weight: *mut aclTensorList,
        [bias, scale, per_token]: [*mut aclTensorList; 3],
        group: i64,
        dtype: aclDataType,
    ) -> (i32, Operand) {
        let session = &self.session;
        let x = session.tensor(I8, &[3, INPUTS as i64], &self.rows);
        let (x, kept) = (
            listed(session, x.tensor),
            session.empty(dtype, &[3, OUTPUTS as i64]),
        );
        let out = listed(session, kept.tensor);
        let code = operate!(
            session,
            GroupedMatmulWeightNz(
                x,
                weight,
                bias,
                scale,
                null(),
                null(),
                null(),
                per_token,
                self.ends.tensor,
                null(),
                null(),
                null(),
                3,
                0,
                0,
                0,
                null_mut(),
                group,
                out,
                null_mut(),
                null_mut(),
            )
        );
        (code, kept)
    }
}

#[test]
fn products_of_int8_by_runs_of_rows_stay_integers() {
    let case = Grouped::new("a3");
    let none = [null_mut(); 3];
    let (code, out) = case.product(case.weight(I8, 8), none, 0, I32);
    assert_eq!(code, 0, "{}", case.session.text());
    let want = (0..9).map(|at| case.sum(at / OUTPUTS, at % OUTPUTS, 0..INPUTS));
    assert_eq!(case.session.numbers(&out), want.collect::<Vec<_>>());
    assert_eq!(case.product(case.weight(I8, 8), none, 0, BF16).0, 161_002);
}

#[test]
fn products_of_int4_want_what_makes_up_for_their_zero_point() {
    let case = Grouped::new("a2");
    let session = &case.session;
    let scale = |matrix: usize, group: usize, output: usize| {
        0.25 * (1 + matrix + 2 * group + output) as f32
    };
    let places = || {
        let groups = (0..2).flat_map(|m| (0..2).map(move |g| (m, g)));
        groups.flat_map(|(m, g)| (0..OUTPUTS).map(move |o| (m, g, o)))
    };
    let wide = places().flat_map(|(m, g, o)| u64::from(scale(m, g, o).to_bits()).to_le_bytes());
    let dims = [2, 2, OUTPUTS as i64];
    let wide = tensor(session, &wide.collect::<Vec<_>>(), U64, (ND, &dims, &dims));
    let mut bias = vec![0.0; 2 * OUTPUTS];
    for (m, g, o) in places() {
        let codes = (g * 128..(g + 1) * 128).map(|input| f64::from(Grouped::code(m, input, o)));
        bias[m * OUTPUTS + o] += 8.0 * codes.sum::<f64>() * f64::from(scale(m, g, o));
    }
    let bias = session.tensor(F32, &[2, OUTPUTS as i64], &bias);
    let per_token = session.tensor(F32, &[3], &[0.5, 1.0, 2.0]);
    let list = |one| listed(session, one);
    let lists = [list(bias.tensor), list(wide), list(per_token.tensor)];
    let want = (0..9).map(|at| {
        let (row, output) = (at / OUTPUTS, at % OUTPUTS);
        let groups = (0..2).map(|group| {
            let scale = f64::from(scale(usize::from(row > 0), group, output));
            scale * case.sum(row, output, group * 128..(group + 1) * 128)
        });
        groups.sum::<f64>() * [0.5, 1.0, 2.0][row]
    });
    let want: Vec<f64> = want.collect();
    let (code, out) = case.product(case.weight(I4, 4), lists, 128, BF16);
    close(session, code, &out, &want);
}

#[test]
fn int4_without_scales_compensation_or_the_right_groups_is_refused() {
    let case = Grouped::new("a2");
    let session = &case.session;
    let dims = [2, 2, OUTPUTS as i64];
    let list = |one| listed(session, one);
    let wide = || list(tensor(session, &[0; 96], U64, (ND, &dims, &dims)));
    let bias = || list(session.tensor(F32, &[2, OUTPUTS as i64], &[0.0; 6]).tensor);
    let rows = || list(session.tensor(F32, &[3], &[1.0; 3]).tensor);
    for (lists, group, want) in [
        ([bias(), null_mut(), rows()], 128, 161_001),
        ([null_mut(), wide(), rows()], 128, 161_001),
        ([bias(), wide(), null_mut()], 128, 161_001),
        ([bias(), wide(), rows()], 64, 161_002),
        ([bias(), wide(), rows()], 0, 161_002),
    ] {
        assert_eq!(case.product(case.weight(I4, 4), lists, group, BF16).0, want);
    }
}

/// One row of four streams of two channels through `HcPre`.
fn read_streams(session: &Session, scales: i64) -> (i32, [Operand; 3]) {
    let x: Vec<f64> = (0..8).map(|at| f64::from(at) / 4.0 - 1.0).collect();
    let x = session.tensor(BF16, &[1, 4, 2], &x);
    let factors: Vec<f64> = (0..192).map(|at| f64::from(at % 7) / 8.0 - 0.25).collect();
    let factors = session.tensor(F32, &[24, 8], &factors);
    let scale = session.tensor(F32, &[scales], &vec![0.5; scales as usize]);
    let base = session.tensor(F32, &[24], &[0.125; 24]);
    let y = session.empty(BF16, &[1, 2]);
    let post = session.empty(F32, &[1, 4]);
    let comb = session.empty(F32, &[1, 4, 4]);
    let code = operate_custom!(
        session,
        HcPre(
            x.tensor,
            factors.tensor,
            scale.tensor,
            base.tensor,
            4,
            20,
            1e-6,
            1e-6,
            y.tensor,
            post.tensor,
            comb.tensor,
        )
    );
    (code, [y, post, comb])
}

#[test]
fn streams_are_read_and_written_by_shares() {
    let session = custom("a2");
    let (code, [_, post, comb]) = read_streams(&session, 3);
    assert_eq!(code, 0, "{}", session.text());
    assert!(
        session
            .numbers(&post)
            .iter()
            .all(|x| (0.0..2.0).contains(x))
    );
    let shares = session.numbers(&comb);
    let sum: f64 = shares[..4].iter().sum();
    assert!((sum - 1.0).abs() < 1e-3, "{shares:?}");
    // Written: stream j has its share of the row, and of stream i what stands in row i.
    let x = session.tensor(F32, &[1, 1], &[10.0]);
    let streams = session.tensor(F32, &[1, 4, 1], &[1.0, 2.0, 3.0, 4.0]);
    let post = session.tensor(F32, &[1, 4], &[1.0, 0.5, 0.0, 2.0]);
    let mut mixes = [0.0; 16];
    (mixes[1], mixes[7], mixes[8]) = (1.0, 1.0, 0.5);
    let comb = session.tensor(F32, &[1, 4, 4], &mixes);
    let out = session.empty(F32, &[1, 4, 1]);
    let code = operate_custom!(
        session,
        HcPost(
            x.tensor,
            streams.tensor,
            post.tensor,
            comb.tensor,
            out.tensor
        )
    );
    close(&session, code, &out, &[11.5, 6.0, 0.0, 22.0]);
    let wrong = session.tensor(BF16, &[1, 1], &[10.0]);
    let code = operate_custom!(
        session,
        HcPost(
            wrong.tensor,
            streams.tensor,
            post.tensor,
            comb.tensor,
            out.tensor
        )
    );
    assert_eq!(code, 161_002);
    assert!(session.text().contains("no kernel"), "{}", session.text());
    assert_eq!(read_streams(&session, 24).0, 161_002);
}

#[test]
fn an_operator_is_there_where_its_provider_and_its_chip_are() {
    let runs: [(&dyn Fn() -> Session, bool); 4] = [
        (&|| custom("a2"), true),
        (&|| custom("a3"), true),
        (&|| custom("a5"), false),
        (&Session::lazy, false),
    ];
    for (run, is_there) in runs {
        let session = run();
        let (code, _) = read_streams(&session, 3);
        assert_eq!(
            code,
            if is_there { 0 } else { 561_003 },
            "{}",
            session.text()
        );
    }
    let case = Grouped::new("a5");
    assert_eq!(case.product(null_mut(), [null_mut(); 3], 0, I32).0, 561_003);
}

/// Two rows of four experts, the best two.
fn gate(session: &Session, table: Option<[&Operand; 2]>, bias: Option<&Operand>) -> (i32, Value) {
    let logits = session.tensor(F32, &[2, 4], &[0.0, 3.0, 1.0, 2.0, 2.0, 2.0, -1.0, 0.0]);
    let y = session.empty(F32, &[2, 2]);
    let chosen = session.empty(I32, &[2, 2]);
    let scores = session.empty(F32, &[2, 4]);
    let raw = |one: Option<&Operand>| one.map_or(null(), |one| one.tensor.cast_const());
    let code = operate_custom!(
        session,
        MoeGatingTopKHash(
            logits.tensor,
            raw(bias),
            raw(table.map(|both| both[0])),
            raw(table.map(|both| both[1])),
            2,
            1,
            1,
            0,
            0,
            2,
            true,
            1.5,
            1e-20,
            y.tensor,
            chosen.tensor,
            scores.tensor,
        )
    );
    if code != 0 {
        return (code, Value::Null);
    }
    let sums: Vec<f64> = session
        .numbers(&y)
        .chunks(2)
        .map(|row| row.iter().sum())
        .collect();
    assert!(sums.iter().all(|sum| (sum - 1.5).abs() < 1e-6), "{sums:?}");
    let of = (1.0_f64.exp().ln_1p()).sqrt();
    assert!((session.numbers(&scores)[2] - of).abs() < 1e-6);
    (code, json!(session.numbers(&chosen)))
}

#[test]
fn a_gate_takes_the_best_by_a_bias_or_what_a_table_has() {
    let session = custom("a2");
    assert_eq!(gate(&session, None, None), (0, json!([1.0, 3.0, 0.0, 1.0])));
    let bias = session.tensor(F32, &[4], &[0.0, 0.0, 5.0, 0.0]);
    let biased = gate(&session, None, Some(&bias));
    assert_eq!(biased, (0, json!([2.0, 1.0, 2.0, 0.0])));
    let ids = session.tensor(I32, &[2], &[2.0, 0.0]);
    let table = session.tensor(I32, &[3, 2], &[3.0, 1.0, 0.0, 0.0, 2.0, 0.0]);
    let given = gate(&session, Some([&ids, &table]), None);
    assert_eq!(given, (0, json!([2.0, 0.0, 3.0, 1.0])));
    // An id that the table has not.
    let ids = session.tensor(I32, &[2], &[3.0, 0.0]);
    assert_ne!(gate(&session, Some([&ids, &table]), None).0, 0);
    assert_eq!(session.violations(), ["index"]);
}
