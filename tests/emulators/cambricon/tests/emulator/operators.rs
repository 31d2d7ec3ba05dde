//! Operators: what they compute, and what their contracts refuse. E-DTYPE, E-SHAPE, E-LAYOUT, E-WS, E-ALGO, E-ALIAS, E-INDEX,
//! E-PADIDX, E-TOPK, E-INT32, E-PTR, E-HPTR, E-POISON.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use backend_cambricon_sys::types::{
    cnnlCastDataType_t, cnnlHandle_t, cnnlMatMulAlgo_t, cnnlMatMulDescAttribute_t,
    cnnlMatMulDescriptor_t, cnnlMatMulHeuristicResult_t, cnnlMatMulPrefer_t, cnnlScatterNdMode_t,
    cnnlTensorDescriptor_t, cnnlTensorLayout_t, cnrtQueue_t,
};
use serde_json::json;

use crate::session::{BAD_PARAM, BF16, F32, I32, QUEUE, Session, call};

type At = (cnnlTensorDescriptor_t, *mut c_void);

/// A session with a handle and its queue.
struct Bench {
    session: Session,
    queue: cnrtQueue_t,
    handle: cnnlHandle_t,
}

impl Bench {
    fn new() -> Self {
        let session = Session::lazy();
        let queue = session.queue();
        let handle = session.operators(queue);
        Self {
            session,
            queue,
            handle,
        }
    }

    fn floats(&self, dims: &[i64], numbers: &[f32]) -> At {
        (self.session.tensor(F32, dims), self.session.upload(numbers))
    }

    fn ints(&self, dims: &[i64], numbers: &[i32]) -> At {
        (self.session.tensor(I32, dims), self.session.upload(numbers))
    }

    fn room(&self, dims: &[i64]) -> At {
        let count: i64 = dims.iter().product();
        (
            self.session.tensor(F32, dims),
            self.session.malloc(4 * count as usize),
        )
    }

    fn wait(&self) -> u32 {
        self.session.wait(self.queue)
    }

    fn got(&self, at: At, count: usize) -> Vec<f32> {
        assert_eq!(self.wait(), 0, "{:?}", self.session.report());
        self.session.download(at.1, count).expect("written")
    }

    fn found(&self) -> Vec<String> {
        self.session.violations()
    }

    /// Copies with a workspace of so many bytes more than are asked for.
    fn copy(&self, from: At, to: At, more: isize) -> u32 {
        let (operators, mut bytes) = (&self.session.neuware.operators, 0);
        let size = &raw mut bytes;
        assert_eq!(
            call!(
                operators,
                cnnlGetCopyWorkspaceSize(self.handle, from.0, to.0, size)
            ),
            0
        );
        assert!(bytes > 0 && bytes % 256 == 0, "{bytes}");
        let room = self.session.malloc(bytes);
        let bytes = bytes.wrapping_add_signed(more);
        call!(
            operators,
            cnnlCopy_v2(self.handle, from.0, from.1, to.0, to.1, room, bytes)
        )
    }

    fn rows(&self, from: At, at: At, out: At) -> u32 {
        call!(
            self.session.neuware.operators,
            cnnlIndexSelect(self.handle, 0, from.0, from.1, at.0, at.1, out.0, out.1)
        )
    }

    /// An algorithm for `a · b`, with TF32 or not; what it was found for, and its workspace.
    fn found_product(
        &self,
        a: At,
        b: At,
        out: At,
        tf32: i32,
    ) -> (cnnlMatMulDescriptor_t, cnnlMatMulAlgo_t, usize) {
        let of = &self.session.neuware.operators;
        let mut desc = cnnlMatMulDescriptor_t::NULL;
        assert_eq!(call!(of, cnnlCreateMatMulDescriptor(&raw mut desc)), 0);
        let attr = cnnlMatMulDescAttribute_t::CNNL_MATMUL_ALLOW_TF32;
        let value = (&raw const tf32).cast();
        assert_eq!(call!(of, cnnlSetMatMulDescAttr(desc, attr, value, 4)), 0);
        let (mut result, mut algorithm) =
            (cnnlMatMulHeuristicResult_t::NULL, cnnlMatMulAlgo_t::NULL);
        assert_eq!(
            call!(of, cnnlCreateMatMulHeuristicResult(&raw mut result)),
            0
        );
        assert_eq!(call!(of, cnnlCreateMatMulAlgo(&raw mut algorithm)), 0);
        let (mut count, mut bytes) = (0, 0);
        let prefer = cnnlMatMulPrefer_t::NULL;
        let code = call!(
            of,
            cnnlGetMatMulAlgoHeuristic(
                self.handle,
                desc,
                a.0,
                b.0,
                out.0,
                out.0,
                prefer,
                1,
                &raw mut result,
                &raw mut count,
            )
        );
        assert_eq!((code, count), (0, 1));
        assert_eq!(
            call!(
                of,
                cnnlGetMatMulHeuristicResult(result, algorithm, &raw mut bytes)
            ),
            0
        );
        (desc, algorithm, bytes)
    }

    fn multiply(
        &self,
        by: (cnnlMatMulDescriptor_t, cnnlMatMulAlgo_t, usize),
        a: At,
        b: At,
        out: At,
    ) -> u32 {
        let (one, zero) = (1.0_f32, 0.0_f32);
        let room = self.session.malloc(by.2.max(1));
        call!(
            self.session.neuware.operators,
            cnnlMatMul_v2(
                self.handle,
                by.0,
                by.1,
                (&raw const one).cast(),
                a.0,
                a.1,
                b.0,
                b.1,
                (&raw const zero).cast(),
                out.0,
                out.1,
                room,
                by.2,
                out.0,
                out.1,
            )
        )
    }

    fn top_k(&self, x: At, k: i64, out: At, places: At) -> u32 {
        let (of, mut bytes, k) = (&self.session.neuware.operators, 0, k as i32);
        let code = call!(
            of,
            cnnlGetTopKTensorWorkspaceSize(
                self.handle,
                x.0,
                k,
                1,
                true,
                out.0,
                places.0,
                &raw mut bytes,
            )
        );
        assert_eq!(code, 0);
        let room = self.session.malloc(bytes);
        call!(
            of,
            cnnlTopKTensor_v3(
                self.handle,
                x.0,
                x.1,
                k,
                1,
                true,
                true,
                true,
                room,
                bytes,
                out.0,
                out.1,
                places.0,
                places.1,
            )
        )
    }
}

#[test]
fn products_are_cut_to_tf32_unless_that_is_not_allowed() {
    for (tf32, want) in [(0, 1.0 + 1.0 / 4096.0), (1, 1.0)] {
        let bench = Bench::new();
        let (a, b) = (
            bench.floats(&[1, 1], &[1.0 + 1.0 / 4096.0]),
            bench.floats(&[1, 1], &[1.0]),
        );
        let out = bench.room(&[1, 1]);
        let by = bench.found_product(a, b, out, tf32);
        assert_eq!(bench.multiply(by, a, b, out), 0);
        assert_eq!(bench.got(out, 1), [want]);
    }
}

#[test]
fn an_algorithm_is_for_the_product_that_it_was_found_for() {
    let bench = Bench::new();
    let (a, b) = (
        bench.floats(&[2, 3], &[1.0; 6]),
        bench.floats(&[3, 4], &[1.0; 12]),
    );
    let out = bench.room(&[2, 4]);
    let by = bench.found_product(a, b, out, 0);
    assert_eq!(bench.multiply(by, a, b, out), 0);
    assert_eq!(bench.got(out, 8), [3.0; 8]);
    let (a, out) = (bench.floats(&[5, 3], &[1.0; 15]), bench.room(&[5, 4]));
    assert_eq!(bench.multiply(by, a, b, out), BAD_PARAM, "other operands");
    let mut by = bench.found_product(a, b, out, 0);
    let other = bench.found_product(a, b, out, 1);
    by.0 = other.0;
    assert_eq!(bench.multiply(by, a, b, out), BAD_PARAM, "other attributes");
    assert_eq!(bench.found(), ["E-ALGO", "E-ALGO"]);
}

#[test]
fn types_are_those_of_the_operators_table_and_of_the_chip() {
    let bench = Bench::new();
    let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[4]));
    let as_bf16 = (bench.session.tensor(BF16, &[4]), y.1);
    assert_eq!(bench.session.exp(bench.handle, x, as_bf16), BAD_PARAM);
    let cast = cnnlCastDataType_t::CNNL_CAST_BFLOAT16_TO_FLOAT;
    let code = call!(
        bench.session.neuware.operators,
        cnnlCastDataType(bench.handle, x.0, x.1, cast, y.0, y.1)
    );
    assert_eq!(code, BAD_PARAM, "no BF16 to cast from");
    assert_eq!(bench.found(), ["E-DTYPE", "E-DTYPE"]);
    drop(bench);

    let session = Session::new(&json!({"profile": "mlu370"}));
    let handle = session.operators(session.queue());
    let (tensor, block) = (session.tensor(BF16, &[4]), session.upload(&[0_u16; 4]));
    assert_eq!(
        session.exp(handle, (tensor, block), (tensor, block)),
        5,
        "ARCH_MISMATCH"
    );
    assert_eq!(session.violations(), ["E-DTYPE"]);
}

#[test]
fn shapes_are_those_that_the_operator_takes() {
    let bench = Bench::new();
    let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[5]));
    assert_eq!(bench.session.exp(bench.handle, x, y), BAD_PARAM);
    let empty = (bench.session.tensor(F32, &[0, 4]), x.1);
    assert_eq!(
        bench.session.exp(bench.handle, empty, empty),
        BAD_PARAM,
        "no numbers"
    );
    assert_eq!(bench.found(), ["E-SHAPE", "E-SHAPE"]);
    let huge = (bench.session.tensor(F32, &[1 << 20, 1 << 20]), x.1);
    assert_eq!(bench.session.exp(bench.handle, huge, huge), BAD_PARAM);
    assert_eq!(bench.found()[2..], ["E-INT32"]);
}

#[test]
fn copies_alone_step_over_numbers() {
    let bench = Bench::new();
    let strided = |strides: &[i64]| {
        let tensor = bench.session.bare_tensor();
        let (layout, dims) = (cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY, [2_i64, 2]);
        let set = bench.session.neuware.operators.cnnlSetTensorDescriptorEx_v2;
        // SAFETY: lists of two.
        let code = unsafe { set(tensor, layout, F32, 2, dims.as_ptr(), strides.as_ptr()) };
        assert_eq!(code, 0);
        tensor
    };
    let block = bench.session.upload(&[1.0_f32, 2.0, 3.0, 4.0]);
    let (turned, out) = ((strided(&[1, 2]), block), bench.room(&[2, 2]));
    assert_eq!(bench.copy(turned, out, 0), 0);
    assert_eq!(bench.got(out, 4), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(bench.session.exp(bench.handle, turned, out), BAD_PARAM);
    assert_eq!(bench.copy(out, (strided(&[0, 1]), block), 0), BAD_PARAM);
    assert_eq!(bench.found(), ["E-LAYOUT", "E-ALIAS"]);
}

#[test]
fn workspace_is_as_large_as_was_asked_for_of_the_device_and_apart() {
    let bench = Bench::new();
    let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[4]));
    assert_eq!(bench.copy(x, y, -1), BAD_PARAM, "a byte short");
    let operators = &bench.session.neuware.operators;
    let copy = |room: *mut c_void, bytes| {
        call!(
            operators,
            cnnlCopy_v2(bench.handle, x.0, x.1, y.0, y.1, room, bytes)
        )
    };
    let mut host = vec![0_u8; 1 << 16];
    assert_eq!(
        copy(host.as_mut_ptr().cast(), 1 << 16),
        BAD_PARAM,
        "of the host"
    );
    assert_eq!(copy(null_mut(), 0), BAD_PARAM, "none");
    let large = bench.session.malloc(1 << 17);
    let within = (y.0, large.wrapping_byte_add(64));
    let code = call!(
        operators,
        cnnlCopy_v2(bench.handle, x.0, x.1, within.0, within.1, large, 1 << 16)
    );
    assert_eq!(code, BAD_PARAM, "on an operand");
    assert_eq!(bench.found(), ["E-WS"; 4]);
}

#[test]
fn the_workspace_holds_garbage_behind_an_operator() {
    let bench = Bench::new();
    let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[4]));
    let room = bench.session.upload(&[7_u8; 1 << 16]);
    let code = call!(
        bench.session.neuware.operators,
        cnnlCopy_v2(bench.handle, x.0, x.1, y.0, y.1, room, 1 << 16)
    );
    assert_eq!((code, bench.wait()), (0, 0));
    assert!(bench.session.download::<u8>(room, 16).is_err());
    assert_eq!(bench.found(), ["E-POISON"]);
}

#[test]
fn workspace_of_another_queue_is_a_race() {
    let bench = Bench::new();
    let second = bench.session.queue();
    let other = bench.session.operators(second);
    let room = bench.session.malloc(1 << 16);
    for handle in [bench.handle, other] {
        let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[4]));
        let code = call!(
            bench.session.neuware.operators,
            cnnlCopy_v2(handle, x.0, x.1, y.0, y.1, room, 1 << 16)
        );
        assert_eq!(code, 0);
    }
    assert_eq!(bench.found(), ["E-RACE"]);
}

#[test]
fn a_result_shares_no_byte_with_an_operand() {
    let bench = Bench::new();
    let x = bench.floats(&[4], &[1.0; 4]);
    assert_eq!(bench.session.exp(bench.handle, x, x), BAD_PARAM);
    assert_eq!(bench.found(), ["E-ALIAS"]);
}

#[test]
fn operands_lie_on_the_device_in_live_memory() {
    let bench = Bench::new();
    let (x, y) = (bench.floats(&[4], &[1.0; 4]), bench.room(&[4]));
    let mut host = [0.0_f32; 4];
    let on_host = (x.0, host.as_mut_ptr().cast());
    assert_eq!(bench.session.exp(bench.handle, on_host, y), BAD_PARAM);
    let beyond = (x.0, x.1.wrapping_byte_add(4));
    assert_eq!(bench.session.exp(bench.handle, beyond, y), BAD_PARAM);
    assert_eq!(bench.found(), ["E-PTR", "E-PTR"]);
    let start = y.1.cast_const();
    let code = call!(
        bench.session.neuware.operators,
        cnnlArange_v3(bench.handle, start, start, y.0, y.1)
    );
    assert_eq!(code, BAD_PARAM, "numbers of the host");
    assert_eq!(bench.found()[2..], ["E-HPTR"]);
    assert_eq!(bench.session.exp(bench.handle, x, y), 0);
    bench.session.free(x.1);
    assert_eq!(bench.wait(), QUEUE);
    assert_eq!(bench.found()[3..], ["E-UAF", "E-UAF"]);
}

#[test]
fn what_was_never_written_is_not_computed_with() {
    let bench = Bench::new();
    let (x, y) = (bench.room(&[4]), bench.room(&[4]));
    assert_eq!(bench.session.exp(bench.handle, x, y), 0);
    assert_eq!(bench.wait(), QUEUE);
    assert_eq!(bench.found(), ["E-POISON"]);
}

#[test]
fn rows_are_named_within_their_table() {
    let bench = Bench::new();
    let from = bench.floats(&[3, 2], &[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]);
    let out = bench.room(&[2, 2]);
    assert_eq!(bench.rows(from, bench.ints(&[2], &[2, 0]), out), 0);
    assert_eq!(bench.got(out, 4), [20.0, 21.0, 0.0, 1.0]);
    drop(bench);
    for wrong in [-1, 3] {
        let bench = Bench::new();
        let (from, out) = (bench.floats(&[3, 2], &[0.0; 6]), bench.room(&[1, 2]));
        assert_eq!(
            bench.rows(from, bench.ints(&[1], &[wrong]), out),
            0,
            "found when it runs"
        );
        assert_eq!(bench.wait(), QUEUE, "{wrong}");
        assert_eq!(bench.found(), ["E-INDEX"], "{wrong}");
    }
}

#[test]
fn a_row_of_padding_is_not_named() {
    let bench = Bench::new();
    let (table, at) = (bench.floats(&[3, 2], &[1.0; 6]), bench.ints(&[1], &[0]));
    let out = bench.room(&[1, 2]);
    let embedding = |padding| {
        call!(
            bench.session.neuware.operators,
            cnnlEmbeddingForward_v2(
                bench.handle,
                table.0,
                table.1,
                at.0,
                at.1,
                padding,
                null(),
                null(),
                out.0,
                out.1,
            )
        )
    };
    assert_eq!([embedding(-1), embedding(0)], [0, BAD_PARAM]);
    assert_eq!(bench.found(), ["E-PADIDX"]);
}

#[test]
fn rows_that_none_names_are_passed_over_and_of_one_named_twice_nobody_knows() {
    let bench = Bench::new();
    let scatter = |table: At, at: &[i32], rows: &[f32]| {
        let (list, from) = (
            bench.ints(&[at.len() as i64, 1], at),
            bench.floats(&[at.len() as i64, 2], rows),
        );
        let mode = cnnlScatterNdMode_t::CNNL_SCATTERND_UPDATE;
        call!(
            bench.session.neuware.operators,
            cnnlScatterNd_v2(
                bench.handle,
                mode,
                list.0,
                list.1,
                from.0,
                from.1,
                table.0,
                table.1,
                table.0,
                table.1,
            )
        )
    };
    let table = bench.floats(&[2, 2], &[0.0; 4]);
    assert_eq!(
        scatter(table, &[-1, 1, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        0
    );
    assert_eq!(bench.got(table, 4), [0.0, 0.0, 3.0, 4.0]);
    assert_eq!(scatter(table, &[0, 0], &[1.0, 2.0, 3.0, 4.0]), 0);
    assert_eq!(bench.wait(), 0);
    assert!(bench.session.download::<f32>(table.1, 2).is_err());
    assert_eq!(
        bench.session.download(table.1.wrapping_byte_add(8), 2),
        Ok(vec![3.0_f32, 4.0])
    );
    assert_eq!(bench.found(), ["E-POISON"]);
}

#[test]
fn the_first_of_a_row_are_no_more_than_it_has() {
    let bench = Bench::new();
    let x = bench.floats(&[1, 4], &[1.0, 3.0, 3.0, 2.0]);
    let (out, places) = (
        bench.room(&[1, 3]),
        (bench.session.tensor(I32, &[1, 3]), bench.session.malloc(12)),
    );
    assert_eq!(bench.top_k(x, 3, out, places), 0);
    assert_eq!(bench.got(out, 3), [3.0, 3.0, 2.0]);
    assert_eq!(
        bench.session.download(places.1, 3),
        Ok(vec![1_i32, 2, 3]),
        "the lower one first"
    );
    assert_eq!(bench.top_k(x, 5, out, places), BAD_PARAM);
    assert_eq!(bench.found(), ["E-TOPK"]);
}

#[test]
fn sizes_of_workspace_differ_by_shape() {
    let bench = Bench::new();
    let size = |dims: &[i64]| {
        let (tensor, mut bytes) = (bench.session.tensor(F32, dims), 0);
        let operators = &bench.session.neuware.operators;
        let size = &raw mut bytes;
        assert_eq!(
            call!(
                operators,
                cnnlGetCopyWorkspaceSize(bench.handle, tensor, tensor, size)
            ),
            0
        );
        bytes
    };
    let sizes: std::collections::BTreeSet<usize> = (1..20).map(|n| size(&[n, 3])).collect();
    assert!(sizes.len() > 10, "{sizes:?}");
}
