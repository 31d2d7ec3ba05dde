//! The protocol of both halves: checks 13 to 20, and 32.

use std::ptr::{null, null_mut};
use std::thread;

use backend_ascend_sys::types::aclFormat;
use serde_json::json;

use crate::operands::{BF16, F32, I32, operate, plan};
use crate::session::{SEEDS, Session, call};

const ND: aclFormat = aclFormat::ACL_FORMAT_ND;
const NZ: aclFormat = aclFormat::ACL_FORMAT_FRACTAL_NZ;

#[test]
fn a_workspace_is_large_enough_and_of_the_device() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[2, 3], &[1.0; 6]);
    let y = session.empty(F32, &[2, 3]);
    let softmax = session.ascend.operators.Softmax.expect("exported");
    let (code, size, executor) = plan!(session, Softmax(x.tensor, -1, y.tensor));
    assert!(code == 0 && size > 0, "{code} {size}");
    let mut host = vec![0_u8; size as usize];
    let small = session.malloc(size as usize - 1);
    let cases = [
        (null_mut(), size),
        (small, size - 1),
        (small, size),
        (host.as_mut_ptr().cast(), size),
    ];
    for (workspace, size) in cases {
        // SAFETY: none of these is followed.
        let code = unsafe { (softmax.launch)(workspace, size, executor, null_mut()) };
        assert_eq!(code, 161_002, "{}", session.text());
    }
    assert_eq!(session.violations(), ["workspace"; 4]);
    assert_eq!(session.run(softmax.launch, size, executor), 0);
    assert_eq!(session.numbers(&y), [f64::from(1.0_f32 / 3.0); 6]);
}

#[test]
fn a_workspace_is_not_shared_by_streams() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[3], &[1.0; 3]);
    let y = [session.empty(F32, &[3]), session.empty(F32, &[3])];
    let softmax = session.ascend.operators.Softmax.expect("exported");
    let workspace = session.malloc(4096);
    let (first, second) = (session.stream(), session.stream());
    let launch = |y, stream| {
        let (code, _, executor) = plan!(session, Softmax(x.tensor, 0, y));
        assert_eq!(code, 0);
        // SAFETY: what the first half gave.
        unsafe { (softmax.launch)(workspace, 4096, executor, stream) }
    };
    assert_eq!(launch(y[0].tensor, first), 0);
    assert_eq!(
        launch(y[0].tensor, first),
        0,
        "its own stream keeps its order"
    );
    assert_eq!(launch(y[1].tensor, second), 161_002);
    assert_eq!(session.violations(), ["workspace"]);
    assert_eq!(session.wait(first), 0);
    assert_eq!(launch(y[1].tensor, second), 0);
    assert_eq!(session.wait(second), 0);
}

#[test]
fn an_executor_is_launched_once_by_its_own_operator_and_thread() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[3], &[1.0; 3]);
    let y = session.empty(F32, &[3]);
    let exp = session.ascend.operators.Exp.expect("exported").launch;
    let sqrt = session.ascend.operators.Sqrt.expect("exported").launch;
    let (_, size, executor) = plan!(session, Exp(x.tensor, y.tensor));
    assert_eq!(session.run(sqrt, size, executor), 561_000);
    let at = executor.addr();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert_eq!(session.set(0), 0);
            let code = session.run(exp, 0, std::ptr::without_provenance_mut(at));
            assert_eq!(session.reset(0), 0);
            code
        });
        assert_eq!(other.join().expect("no panic"), 561_000);
    });
    assert_eq!(session.run(exp, size, executor), 0);
    assert_eq!(session.run(exp, size, executor), 561_000);
    assert_eq!(session.run(exp, size, null_mut()), 161_001);
    let kinds = ["executor_mismatch", "executor_thread", "executor_reused"];
    assert_eq!(session.violations(), kinds);
}

#[test]
fn a_repeatable_executor_is_launched_until_it_is_destroyed() {
    let session = Session::lazy();
    let x = [
        session.tensor(F32, &[1], &[4.0]),
        session.tensor(F32, &[1], &[9.0]),
    ];
    let y = session.empty(F32, &[1]);
    let tensors = &session.ascend.tensors;
    let sqrt = session.ascend.operators.Sqrt.expect("exported").launch;
    let (_, size, executor) = plan!(session, Sqrt(x[0].tensor, y.tensor));
    assert_eq!(
        call!(tensors, optional aclDestroyAclOpExecutor(executor)),
        561_000
    );
    assert_eq!(
        call!(tensors, optional aclSetAclOpExecutorRepeatable(executor)),
        0
    );
    assert_eq!(session.run(sqrt, size, executor), 0);
    assert_eq!(session.numbers(&y), [2.0]);
    let move_to = |index, tensor| call!(tensors, optional aclSetInputTensorAddr(executor, index, tensor, x[1].block));
    assert_eq!(move_to(0, x[1].tensor), 161_002, "another tensor");
    assert_eq!(move_to(1, x[0].tensor), 161_002, "no such input");
    assert_eq!(move_to(0, x[0].tensor), 0);
    assert_eq!(session.run(sqrt, size, executor), 0);
    assert_eq!(session.numbers(&y), [3.0]);
    assert_eq!(
        call!(tensors, optional aclDestroyAclOpExecutor(executor)),
        0
    );
    assert_eq!(
        call!(tensors, optional aclDestroyAclOpExecutor(executor)),
        561_000
    );
    assert_eq!(
        session.violations(),
        ["executor_destroyed", "executor_reused"]
    );
}

#[test]
fn operands_live_until_the_launch_and_executors_are_launched() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[1], &[4.0]);
    let y = session.empty(F32, &[1]);
    let sqrt = session.ascend.operators.Sqrt.expect("exported").launch;
    let (_, size, executor) = plan!(session, Sqrt(x.tensor, y.tensor));
    assert_eq!(call!(session.ascend.tensors, aclDestroyTensor(x.tensor)), 0);
    assert_eq!(session.run(sqrt, size, executor), 561_000);
    assert_eq!(operate!(session, Sqrt(x.tensor, y.tensor)), 561_000);
    assert_eq!(session.violations(), ["operand_destroyed", "dead_object"]);
    assert_eq!(call!(session.ascend.tensors, aclDestroyTensor(y.tensor)), 0);
    let leaks = session.report()["leaks"].to_string();
    assert!(leaks.contains("an executor of Sqrt"), "{leaks}");
    assert_eq!(session.reset(0), 0);
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 0);
    assert_eq!(session.violations()[2..], ["leaked_executor"]);
}

#[test]
fn operands_are_held_against_the_contract() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[2, 4], &[1.0; 8]);
    let int = session.tensor(I32, &[2, 4], &[1.0; 8]);
    let other = session.empty(F32, &[4, 2]);
    let row = session.empty(F32, &[2, 1]);
    let gamma = session.tensor(F32, &[4], &[1.0; 4]);
    let y = session.empty(F32, &[2, 4]);
    assert_eq!(operate!(session, Sqrt(int.tensor, y.tensor)), 161_002);
    let text = session.text();
    assert!(
        text.contains("Sqrt: self: type ACL_INT32, takes ACL_FLOAT"),
        "{text}"
    );
    assert_eq!(operate!(session, Sqrt(x.tensor, other.tensor)), 161_002);
    assert!(
        session
            .text()
            .contains("Sqrt: out: shape [4, 2], takes [2, 4]"),
        "{}",
        session.text()
    );
    assert_eq!(operate!(session, Sqrt(null(), y.tensor)), 161_001);
    assert_eq!(operate!(session, Sqrt(x.tensor, null_mut())), 161_001);
    assert!(session.text().contains("out: null"), "{}", session.text());

    let transposed = session.view((x.block, F32, &[8]), ND, (&[2, 4], &[1, 2], 0));
    assert_eq!(
        operate!(
            session,
            RmsNorm(transposed, gamma.tensor, 1e-6, y.tensor, row.tensor)
        ),
        161_002
    );
    assert!(
        session.text().contains("x: not contiguous"),
        "{}",
        session.text()
    );
    assert_eq!(
        operate!(session, Sqrt(transposed, y.tensor)),
        0,
        "which not all ask for"
    );
    let wide = session.view((x.block, F32, &[8]), ND, (&[2, 4], &[5, 1], 0));
    assert_eq!(operate!(session, Sqrt(wide, y.tensor)), 161_002);
    assert!(
        session.text().contains("elements 0 to 8 of a storage of 8"),
        "{}",
        session.text()
    );
    assert_eq!(session.violations(), Vec::<String>::new());
}

#[test]
fn an_output_lies_on_no_other_operand() {
    let session = Session::lazy();
    let x = session.tensor(F32, &[8], &[4.0; 8]);
    let half = |offset| session.view((x.block, F32, &[8]), ND, (&[4], &[2], offset));
    assert_eq!(operate!(session, Sqrt(x.tensor, x.tensor)), 161_002);
    assert_eq!(session.violations(), ["aliasing"]);
    assert_eq!(
        operate!(session, Sqrt(half(0), half(1))),
        0,
        "interleaved, but apart"
    );
    assert_eq!(
        session.numbers(&x),
        [4.0, 2.0, 4.0, 2.0, 4.0, 2.0, 4.0, 2.0]
    );
    assert_eq!(operate!(session, Sqrt(half(0), half(0))), 161_002);
}

#[test]
fn what_was_never_written_is_not_read_by_an_operator() {
    for seed in SEEDS {
        let session = Session::new(&json!({"schedule": "random", "seed": seed, "pattern": 0xCD}));
        let x = session.empty(F32, &[2]);
        let y = session.empty(F32, &[2]);
        session.upload(x.block, &1_f32.to_le_bytes());
        assert_eq!(operate!(session, Exp(x.tensor, y.tensor)), 507_015);
        let report = session.report();
        let violation = &report["violations"][0];
        assert_eq!(violation["kind"], "uninitialised_read");
        assert_eq!(violation["call"], "aclnnExp");
        assert_eq!(violation["text"], "self: element 1 was never written");
    }
}

#[test]
fn an_operator_on_what_is_no_memory_of_the_device_fails_its_stream() {
    let session = Session::lazy();
    let mut host = [1_f32];
    let x = session.view((host.as_mut_ptr().cast(), F32, &[1]), ND, (&[1], &[1], 0));
    let y = session.empty(F32, &[1]);
    assert_eq!(operate!(session, Exp(x, y.tensor)), 507_015);
    assert_eq!(session.violations(), ["out_of_bounds"]);
}

#[test]
fn the_fractal_format_is_stored_as_it_is() {
    let session = Session::lazy();
    let (k, n) = (18_i64, 17_i64);
    let numbers: Vec<_> = (0..k * n).map(|number| (number % 100) as f64).collect();
    let x = session.tensor(BF16, &[k, n], &numbers);
    let block = session.malloc(2 * 2 * 2 * 16 * 16);
    let wrong = session.view((block, BF16, &[2, 2, 16, 8]), NZ, (&[k, n], &[n, 1], 0));
    assert_eq!(operate!(session, NpuFormatCast(x.tensor, wrong)), 161_002);
    assert!(session.text().contains("storage"), "{}", session.text());
    let nz = session.view((block, BF16, &[2, 2, 16, 16]), NZ, (&[k, n], &[n, 1], 0));
    assert_eq!(
        operate!(session, NpuFormatCast(x.tensor, nz)),
        0,
        "{}",
        session.text()
    );
    let bytes = session
        .download(block, 2 * 2 * 2 * 16 * 16)
        .expect("written, the padding too");
    let at = |index: usize| {
        let two = [bytes[2 * index], bytes[2 * index + 1]];
        f64::from(half::bf16::from_le_bytes(two).to_f32())
    };
    for row in 0..k as usize {
        for column in 0..n as usize {
            let block = (column / 16) * 2 + row / 16;
            let index = (block * 16 + row % 16) * 16 + column % 16;
            assert_eq!(
                at(index),
                numbers[row * n as usize + column],
                "{row} {column}"
            );
        }
    }
    assert_eq!(at(2 * 16 * 16 + 1), 0.0, "padding");
    let back = session.empty(BF16, &[k, n]);
    assert_eq!(operate!(session, NpuFormatCast(nz, back.tensor)), 0);
    assert_eq!(session.numbers(&back), numbers);
}
