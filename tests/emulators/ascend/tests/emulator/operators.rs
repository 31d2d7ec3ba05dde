//! What the operators compute.

use std::ptr::{null, null_mut};

use backend_ascend_sys::types::aclFormat;

use crate::operands::{BF16, BOOL, F16, F32, I8, I32, I64, Operand, operate};
use crate::session::Session;

const ND: aclFormat = aclFormat::ACL_FORMAT_ND;

/// The numbers are these, but for the last bits of 32.
#[track_caller]
fn check(session: &Session, code: i32, out: &Operand, want: &[f64]) {
    assert_eq!(code, 0, "{}", session.text());
    let got = session.numbers(out);
    assert_eq!(got.len(), want.len());
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        let close = (got - want).abs() <= 1e-6 * want.abs().max(1.0);
        assert!(
            close || got == want || got.is_nan() && want.is_nan(),
            "{index}: {got}, want {want}"
        );
    }
}

#[test]
fn functions_of_one_number() {
    let session = Session::lazy();
    let numbers = [0.0, 1.0, -2.0, 30.0];
    let x = session.tensor(F32, &[2, 2], &numbers);
    let y = session.empty(F32, &[2, 2]);
    let each = |f: fn(f64) -> f64| numbers.map(f);
    check(
        &session,
        operate!(session, Exp(x.tensor, y.tensor)),
        &y,
        &each(|x| f64::from(x.exp() as f32)),
    );
    check(
        &session,
        operate!(session, Sigmoid(x.tensor, y.tensor)),
        &y,
        &each(|x| 1.0 / (1.0 + (-x).exp())),
    );
    check(
        &session,
        operate!(session, Silu(x.tensor, y.tensor)),
        &y,
        &each(|x| x / (1.0 + (-x).exp())),
    );
    check(
        &session,
        operate!(session, Sqrt(x.tensor, y.tensor)),
        &y,
        &each(f64::sqrt),
    );
    let (one, twenty) = (session.scalar(1.0), session.scalar(20.0));
    let code = operate!(session, Softplus(x.tensor, one, twenty, y.tensor));
    check(&session, code, &y, &each(|x| x.exp().ln_1p()));
    let (low, high) = (session.scalar(-1.0), session.scalar(0.5));
    let code = operate!(session, Clamp(x.tensor, low, high, y.tensor));
    check(&session, code, &y, &[0.0, 0.5, -1.0, 0.5]);
    let code = operate!(session, Clamp(x.tensor, null(), high, y.tensor));
    check(&session, code, &y, &[0.0, 0.5, -2.0, 0.5]);
    assert_eq!(
        operate!(session, Clamp(x.tensor, null(), null(), y.tensor)),
        161_002
    );
    check(
        &session,
        operate!(session, Muls(x.tensor, high, y.tensor)),
        &y,
        &[0.0, 0.5, -1.0, 15.0],
    );
    let code = operate!(session, Adds(x.tensor, twenty, high, y.tensor));
    check(&session, code, &y, &[10.0, 11.0, 8.0, 40.0]);
    assert_eq!(session.violations(), Vec::<String>::new());
}

#[test]
fn functions_of_two_numbers_repeat_what_fits() {
    let session = Session::lazy();
    let a = session.tensor(F32, &[2, 1], &[6.0, 8.0]);
    let b = session.tensor(F32, &[3], &[1.0, 2.0, 4.0]);
    let y = session.empty(F32, &[2, 3]);
    let two = session.scalar(2.0);
    let code = operate!(session, Add(a.tensor, b.tensor, two, y.tensor));
    check(&session, code, &y, &[8.0, 10.0, 14.0, 10.0, 12.0, 16.0]);
    let code = operate!(session, Sub(a.tensor, b.tensor, two, y.tensor));
    check(&session, code, &y, &[4.0, 2.0, -2.0, 6.0, 4.0, 0.0]);
    let code = operate!(session, Mul(a.tensor, b.tensor, y.tensor));
    check(&session, code, &y, &[6.0, 12.0, 24.0, 8.0, 16.0, 32.0]);
    let code = operate!(session, Div(a.tensor, b.tensor, y.tensor));
    check(&session, code, &y, &[6.0, 3.0, 1.5, 8.0, 4.0, 2.0]);
    let c = session.tensor(F32, &[2], &[1.0, 2.0]);
    assert_eq!(
        operate!(session, Mul(c.tensor, b.tensor, y.tensor)),
        161_002
    );
    let (i, j) = (
        session.tensor(I32, &[1], &[i32::MAX.into()]),
        session.tensor(I32, &[1], &[2.0]),
    );
    let sum = session.empty(I32, &[1]);
    let one = session.scalar(1.0);
    let code = operate!(session, Add(i.tensor, j.tensor, one, sum.tensor));
    check(&session, code, &sum, &[f64::from(i32::MIN) + 1.0]);
}

#[test]
fn types_are_converted_and_rounded_to_even() {
    let session = Session::lazy();
    // Two numbers midway between neighbours of bf16: one goes down, one up, both to the even one.
    let x = session.tensor(F32, &[4], &[1.003_906_25, 1.011_718_75, -2.7, 0.0]);
    let y = session.empty(BF16, &[4]);
    let code = operate!(session, Cast(x.tensor, BF16, y.tensor));
    check(&session, code, &y, &[1.0, 1.015_625, -2.703_125, 0.0]);
    let int = session.empty(I32, &[4]);
    check(
        &session,
        operate!(session, Cast(x.tensor, I32, int.tensor)),
        &int,
        &[1.0, 1.0, -2.0, 0.0],
    );
    let truth = session.empty(BOOL, &[4]);
    check(
        &session,
        operate!(session, Cast(x.tensor, BOOL, truth.tensor)),
        &truth,
        &[1.0, 1.0, 1.0, 0.0],
    );
    let back = session.empty(F16, &[4]);
    check(
        &session,
        operate!(session, Cast(int.tensor, F16, back.tensor)),
        &back,
        &[1.0, 1.0, -2.0, 0.0],
    );
    assert_eq!(
        operate!(session, Cast(x.tensor, F16, int.tensor)),
        161_002,
        "the output says another"
    );
}

#[test]
fn conditions_and_fills() {
    let session = Session::lazy();
    let mask = session.tensor(BOOL, &[2, 1], &[1.0, 0.0]);
    let a = session.tensor(F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b = session.tensor(F32, &[1], &[9.0]);
    let y = session.empty(F32, &[2, 2]);
    let code = operate!(session, SWhere(mask.tensor, a.tensor, b.tensor, y.tensor));
    check(&session, code, &y, &[1.0, 2.0, 9.0, 9.0]);
    let value = session.scalar(-1.0);
    let code = operate!(
        session,
        InplaceMaskedFillScalar(a.tensor, mask.tensor, value)
    );
    check(&session, code, &a, &[-1.0, -1.0, 3.0, 4.0]);
    let fresh = session.empty(F32, &[2, 2]);
    let code = operate!(
        session,
        InplaceMaskedFillScalar(fresh.tensor, mask.tensor, value)
    );
    assert_eq!(code, 0);
    assert!(
        session.download(fresh.block, 8).is_ok(),
        "what the mask chose is written"
    );
    assert!(
        session.download(fresh.block, 9).is_err(),
        "and nothing else"
    );
    let ints = session.empty(I64, &[3]);
    check(
        &session,
        operate!(session, InplaceFillScalar(ints.tensor, value)),
        &ints,
        &[-1.0; 3],
    );
    let (start, end, step) = (
        session.scalar(1.0),
        session.scalar(6.0),
        session.scalar(2.0),
    );
    let code = operate!(session, Arange(start, end, step, ints.tensor));
    check(&session, code, &ints, &[1.0, 3.0, 5.0]);
    assert_eq!(
        operate!(session, Arange(start, end, start, ints.tensor)),
        161_002
    );
}

#[test]
fn numbers_are_moved() {
    let session = Session::lazy();
    let numbers: Vec<_> = (0..6).map(f64::from).collect();
    let x = session.tensor(I32, &[2, 3], &numbers);
    let turned = session.empty(I32, &[3, 2]);
    let axes = session.ints(&[1, 0]);
    let code = operate!(session, Permute(x.tensor, axes, turned.tensor));
    check(&session, code, &turned, &[0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    let twice = session.ints(&[0, 0]);
    assert_eq!(
        operate!(session, Permute(x.tensor, twice, turned.tensor)),
        161_002
    );

    // Into every second number of a block, repeated and as another type.
    let wide = session.tensor(F32, &[2, 6], &[7.0; 12]);
    let every = session.view((wide.block, F32, &[12]), ND, (&[2, 3], &[6, 2], 1));
    let row = session.tensor(BF16, &[3], &[1.0, 2.0, 3.0]);
    let code = operate!(session, InplaceCopy(every, row.tensor));
    let want = [7.0, 1.0, 7.0, 2.0, 7.0, 3.0];
    check(&session, code, &wide, &[want, want].concat());

    let a = session.tensor(I32, &[2, 1], &[8.0, 9.0]);
    let b = session.tensor(I32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let list = session.list(&[&a, &b]);
    let joined = session.empty(I32, &[2, 3]);
    let code = operate!(session, Cat(list, -1, joined.tensor));
    check(&session, code, &joined, &[8.0, 1.0, 2.0, 9.0, 3.0, 4.0]);
    assert_eq!(operate!(session, Cat(list, 0, joined.tensor)), 161_002);
}

#[test]
fn rows_are_gathered() {
    let session = Session::lazy();
    let numbers: Vec<_> = (0..6).map(f64::from).collect();
    let x = session.tensor(F32, &[3, 2], &numbers);
    let index = session.tensor(I64, &[2], &[2.0, 0.0]);
    let y = session.empty(F32, &[2, 2]);
    let want = [4.0, 5.0, 0.0, 1.0];
    let code = operate!(session, Embedding(x.tensor, index.tensor, y.tensor));
    check(&session, code, &y, &want);
    let code = operate!(session, IndexSelect(x.tensor, 0, index.tensor, y.tensor));
    check(&session, code, &y, &want);
    let grid = session.tensor(I32, &[2, 1], &[1.0, 0.0]);
    let z = session.empty(F32, &[3, 2, 1]);
    let code = operate!(session, GatherV2(x.tensor, -1, grid.tensor, z.tensor));
    check(&session, code, &z, &[1.0, 0.0, 3.0, 2.0, 5.0, 4.0]);
    let one = session.empty(F32, &[2, 1]);
    let code = operate!(session, Gather(x.tensor, 1, grid.tensor, one.tensor));
    check(&session, code, &one, &[1.0, 2.0]);
    assert_eq!(
        operate!(session, IndexSelect(x.tensor, 0, grid.tensor, y.tensor)),
        161_002
    );
    let beyond = session.tensor(I64, &[2], &[3.0, 0.0]);
    assert_eq!(
        operate!(session, IndexSelect(x.tensor, 0, beyond.tensor, y.tensor)),
        507_015
    );
    assert_eq!(session.violations(), ["index"]);
}

#[test]
fn what_is_gathered_was_written() {
    let session = Session::lazy();
    let x = session.empty(F32, &[2, 1]);
    session.upload(x.block, &5_f32.to_le_bytes());
    let y = session.empty(F32, &[1, 1]);
    let first = session.tensor(I32, &[1], &[0.0]);
    let code = operate!(session, IndexSelect(x.tensor, 0, first.tensor, y.tensor));
    check(&session, code, &y, &[5.0]);
    let second = session.tensor(I32, &[1], &[1.0]);
    assert_eq!(
        operate!(session, IndexSelect(x.tensor, 0, second.tensor, y.tensor)),
        507_015
    );
    assert_eq!(session.violations(), ["uninitialised_read"]);
}

#[test]
fn rows_are_scattered() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[3, 2], &[0.0; 6]);
    let at = session.tensor(I32, &[2, 1], &[2.0, 0.0]);
    let rows = session.tensor(F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let code = operate!(session, ScatterNdUpdate(x.tensor, at.tensor, rows.tensor));
    check(&session, code, &x, &[3.0, 4.0, 0.0, 0.0, 1.0, 2.0]);
    let lists = session.list(&[
        &session.tensor(I64, &[3], &[0.0, 2.0, 0.0]),
        &session.tensor(I64, &[3], &[1.0, 1.0, 1.0]),
    ]);
    let values = session.tensor(F32, &[3], &[10.0, 20.0, 30.0]);
    let code = operate!(
        session,
        IndexPutImpl(x.tensor, lists, values.tensor, true, false)
    );
    check(&session, code, &x, &[3.0, 44.0, 0.0, 0.0, 1.0, 22.0]);
    let code = operate!(
        session,
        IndexPutImpl(x.tensor, lists, values.tensor, false, false)
    );
    check(&session, code, &x, &[3.0, 30.0, 0.0, 0.0, 1.0, 20.0]);
    let before = session.tensor(I32, &[2, 1], &[-1.0, 0.0]);
    assert_eq!(
        operate!(
            session,
            ScatterNdUpdate(x.tensor, before.tensor, rows.tensor)
        ),
        507_015
    );
    assert_eq!(session.violations(), ["index"]);
}

#[test]
fn rows_are_reduced() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[2, 3], &[1.0, 5.0, 5.0, -1.0, -3.0, -2.0]);
    let axes = session.ints(&[-1]);
    let sums = session.empty(F32, &[2]);
    let code = operate!(session, ReduceSum(x.tensor, axes, false, F32, sums.tensor));
    check(&session, code, &sums, &[11.0, -6.0]);
    let whole = session.empty(F32, &[1, 1]);
    let none = session.ints(&[]);
    let code = operate!(session, ReduceSum(x.tensor, none, true, F32, whole.tensor));
    check(&session, code, &whole, &[5.0]);
    let (top, at) = (session.empty(F32, &[2, 1]), session.empty(I64, &[2, 1]));
    let code = operate!(session, MaxDim(x.tensor, 1, true, top.tensor, at.tensor));
    check(&session, code, &top, &[5.0, -1.0]);
    check(&session, 0, &at, &[1.0, 0.0]);
    let best = session.empty(I32, &[3]);
    check(
        &session,
        operate!(session, ArgMax(x.tensor, 0, false, best.tensor)),
        &best,
        &[0.0; 3],
    );
    let soft = session.empty(F32, &[2, 3]);
    let code = operate!(session, Softmax(x.tensor, 0, soft.tensor));
    let pair = |a: f64, b: f64| 1.0 / (1.0 + (b - a).exp());
    let want = [pair(1.0, -1.0), pair(5.0, -3.0), pair(5.0, -2.0)];
    check(
        &session,
        code,
        &soft,
        &[want, want.map(|p| 1.0 - p)].concat(),
    );
}

#[test]
fn the_best_are_chosen_and_ties_go_to_the_smaller_index() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[1, 5], &[2.0, 7.0, 7.0, f64::NAN, 1.0]);
    let (top, at) = (session.empty(F32, &[1, 3]), session.empty(I64, &[1, 3]));
    let code = operate!(
        session,
        Topk(x.tensor, 3, 1, true, true, top.tensor, at.tensor)
    );
    check(&session, code, &top, &[f64::NAN, 7.0, 7.0]);
    check(&session, 0, &at, &[3.0, 1.0, 2.0]);
    let code = operate!(
        session,
        Topk(x.tensor, 3, 1, false, true, top.tensor, at.tensor)
    );
    check(&session, code, &at, &[4.0, 0.0, 1.0]);
    assert_eq!(
        operate!(
            session,
            Topk(x.tensor, 6, 1, true, true, top.tensor, at.tensor)
        ),
        161_002
    );
}

#[test]
fn matrices_are_multiplied() {
    let session = Session::lazy();
    let a = session.tensor(BF16, &[2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    let b = session.tensor(BF16, &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let y = session.empty(F32, &[2, 1, 3]);
    let code = operate!(session, Matmul(a.tensor, b.tensor, y.tensor, 0));
    check(&session, code, &y, &[9.0, 12.0, 15.0, 19.0, 26.0, 33.0]);
    let turned = session.view((b.block, BF16, &[6]), ND, (&[2, 3, 2], &[0, 1, 3], 0));
    let square = session.tensor(
        BF16,
        &[2, 2, 3],
        &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 2.0],
    );
    let z = session.empty(BF16, &[2, 2, 2]);
    let code = operate!(session, BatchMatMul(square.tensor, turned, z.tensor, 1));
    check(
        &session,
        code,
        &z,
        &[1.0, 4.0, 2.0, 5.0, 6.0, 15.0, 6.0, 12.0],
    );
    assert_eq!(
        operate!(session, BatchMatMul(a.tensor, b.tensor, y.tensor, 0)),
        161_002
    );
    assert_eq!(
        operate!(session, Matmul(b.tensor, b.tensor, y.tensor, 0)),
        161_002
    );
    assert_eq!(
        operate!(session, Matmul(a.tensor, b.tensor, y.tensor, 4)),
        161_002
    );
    let tenth = session.tensor(F32, &[1, 1], &[0.1]);
    let one = session.tensor(F32, &[1, 1], &[1.0]);
    let out = session.empty(F32, &[1, 1]);
    let code = operate!(session, Matmul(tenth.tensor, one.tensor, out.tensor, 2));
    check(&session, code, &out, &[0.099_975_586]);
}

#[test]
fn rows_are_normed_gated_and_quantised() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[2, 2], &[3.0, 4.0, 0.0, 0.0]);
    let gamma = session.tensor(F32, &[2], &[1.0, 2.0]);
    let (y, rstd) = (session.empty(F32, &[2, 2]), session.empty(F32, &[2, 1]));
    let code = operate!(
        session,
        RmsNorm(x.tensor, gamma.tensor, 0.25, y.tensor, rstd.tensor)
    );
    let factor = 1.0 / 12.75_f64.sqrt();
    check(&session, code, &y, &[3.0 * factor, 8.0 * factor, 0.0, 0.0]);
    check(&session, 0, &rstd, &[factor, 2.0]);

    let gated = session.empty(F32, &[2, 1]);
    let code = operate!(session, SwiGlu(x.tensor, -1, gated.tensor));
    check(
        &session,
        code,
        &gated,
        &[3.0 / (1.0 + (-3.0_f64).exp()) * 4.0, 0.0],
    );

    let x = session.tensor(BF16, &[2, 4], &[127.0, -2.5, 1.5, 0.5, 0.0, 0.0, 0.0, 0.0]);
    let (q, scale) = (session.empty(I8, &[2, 4]), session.empty(F32, &[2]));
    let (none, i8) = (null(), 2);
    let code = operate!(
        session,
        DynamicQuantV2(x.tensor, none, none, i8, q.tensor, scale.tensor, none)
    );
    check(
        &session,
        code,
        &q,
        &[127.0, -2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
    check(&session, 0, &scale, &[1.0, 0.0]);
    let smooth = session.tensor(BF16, &[4], &[1.0; 4]).tensor;
    let code = operate!(
        session,
        DynamicQuantV2(x.tensor, smooth, none, i8, q.tensor, scale.tensor, none)
    );
    assert_eq!(code, 561_003, "not emulated");
    assert_eq!(session.wait(null_mut()), 0);
}

#[test]
fn products_of_eight_bits_are_exact_and_scaled() {
    let session = Session::lazy();
    let x1 = session.tensor(I8, &[2, 2], &[127.0, 127.0, -3.0, 4.0]);
    let x2 = session.tensor(I8, &[2, 3], &[127.0, 1.0, 2.0, 127.0, 3.0, 4.0]);
    let rows = session.tensor(F32, &[2], &[0.5, 2.0]);
    let columns = session.tensor(F32, &[3], &[1.0, 2.0, 4.0]);
    let bias = session.tensor(I32, &[3], &[-2.0, 0.0, 1.0]);
    let out = session.empty(BF16, &[2, 3]);
    let no = null();
    let multiply = |x2: *const _, turned, scale: *const _, bias: *const _| {
        operate!(
            session,
            QuantMatmulV5(
                x1.tensor,
                x2,
                scale,
                columns.tensor,
                no,
                no,
                no,
                no,
                bias,
                false,
                turned,
                0,
                out.tensor
            )
        )
    };
    let code = multiply(x2.tensor, false, rows.tensor, bias.tensor);
    check(
        &session,
        code,
        &out,
        &[16_128.0, 508.0, 1528.0, 250.0, 36.0, 88.0],
    );
    // 3048 lies midway between neighbours of bf16.
    let turned = session.view((x2.block, I8, &[6]), ND, (&[3, 2], &[1, 3], 0));
    let code = multiply(turned, true, null(), null());
    check(
        &session,
        code,
        &out,
        &[32_256.0, 1016.0, 3040.0, 127.0, 18.0, 40.0],
    );
    assert_eq!(multiply(turned, false, null(), null()), 161_002);
}

/// Two experts of `[2, 1]` each, and the groups of three rows.
fn through_experts(session: &Session, groups: &[f64], kind: i64) -> (i32, Operand) {
    let x = session.list(&[&session.tensor(F32, &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    let weight = session.list(&[&session.tensor(F32, &[2, 2, 1], &[1.0, 1.0, 10.0, 0.0])]);
    let list = session.tensor(I64, &[2], groups);
    let y = session.empty(F32, &[3, 1]);
    let out = session.list(&[&y]);
    let (none, nothing) = (null(), null_mut());
    let code = operate!(
        session,
        GroupedMatmulV5(
            x,
            weight,
            none,
            none,
            none,
            none,
            none,
            none,
            list.tensor,
            none,
            none,
            none,
            3,
            0,
            kind,
            0,
            nothing,
            out,
            nothing.cast(),
            nothing.cast()
        )
    );
    (code, y)
}

#[test]
fn groups_of_rows_have_a_matrix_of_their_own() {
    let session = Session::lazy();
    let want = [3.0, 30.0, 50.0];
    let (code, y) = through_experts(&session, &[1.0, 3.0], 0);
    check(&session, code, &y, &want);
    let (code, y) = through_experts(&session, &[1.0, 2.0], 1);
    check(&session, code, &y, &want);
    assert_eq!(through_experts(&session, &[1.0, 2.0], 2).0, 161_002);
}

#[test]
fn groups_hold_all_rows_once() {
    for (groups, kind) in [([2.0, 1.0], 0), ([4.0, 4.0], 0), ([-1.0, 4.0], 1)] {
        let session = Session::lazy();
        assert_eq!(
            through_experts(&session, &groups, kind).0,
            507_015,
            "{groups:?}"
        );
        assert_eq!(session.violations(), ["group_list"]);
    }
}

#[test]
fn tokens_go_to_their_experts_and_back() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let experts = session.tensor(I32, &[2, 2], &[2.0, 0.0, 0.0, 1.0]);
    let expanded = session.empty(F32, &[4, 2]);
    let index = session.empty(I32, &[4]);
    let counts = session.empty(I64, &[3]);
    let no = null();
    let route = |experts: *const _, num_type, row_type| {
        operate!(
            session,
            MoeInitRoutingV3(
                x.tensor,
                experts,
                no,
                no,
                4,
                0,
                3,
                0,
                num_type,
                true,
                -1,
                null(),
                row_type,
                expanded.tensor,
                index.tensor,
                counts.tensor,
                no
            )
        )
    };
    assert_eq!(route(experts.tensor, 1, 1), 0, "{}", session.text());
    assert_eq!(session.numbers(&counts), [2.0, 1.0, 1.0]);
    assert_eq!(
        session.numbers(&index),
        [1.0, 2.0, 3.0, 0.0],
        "which pair each row is"
    );
    assert_eq!(route(experts.tensor, 0, 0), 0);
    assert_eq!(session.numbers(&counts), [2.0, 3.0, 4.0]);
    assert_eq!(
        session.numbers(&index),
        [3.0, 0.0, 1.0, 2.0],
        "where each pair went"
    );
    assert_eq!(
        session.numbers(&expanded),
        [1.0, 2.0, 3.0, 4.0, 3.0, 4.0, 1.0, 2.0]
    );

    let scales = session.tensor(F32, &[2, 2], &[0.5, 1.0, 2.0, 10.0]);
    let bias = session.tensor(F32, &[3, 2], &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0]);
    let added = session.tensor(F32, &[2, 2], &[100.0, 0.0, 0.0, 0.0]);
    let out = session.empty(F32, &[2, 2]);
    let code = operate!(
        session,
        MoeFinalizeRoutingV2(
            expanded.tensor,
            index.tensor,
            added.tensor,
            no,
            bias.tensor,
            scales.tensor,
            experts.tensor,
            2,
            out.tensor
        )
    );
    check(&session, code, &out, &[102.5, 4.0, 46.0, 58.0]);
    let turned = session.tensor(I32, &[4], &[3.0, 1.0, 0.0, 2.0]);
    let code = operate!(
        session,
        MoeFinalizeRoutingV2(
            expanded.tensor,
            turned.tensor,
            added.tensor,
            no,
            bias.tensor,
            scales.tensor,
            experts.tensor,
            0,
            out.tensor
        )
    );
    check(&session, code, &out, &[102.5, 4.0, 46.0, 58.0]);
    let beyond = session.tensor(I32, &[2, 2], &[3.0, 0.0, 0.0, 1.0]);
    assert_eq!(route(beyond.tensor, 0, 0), 507_015);
    assert_eq!(session.violations(), ["expert_index"]);
}
