//! Products of runs of rows: what they compute, and what their contract refuses.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use backend_cambricon_sys::types::{
    cnnlDataType_t, cnnlGroupGemmAlgo_t, cnnlGroupGemmDescriptor_t,
    cnnlGroupGemmTensorDescriptor_t, cnnlGroupGemmTensorMode_t, cnnlHandle_t,
    cnnlMatMulDescAttribute_t, cnnlPointerMode_t, cnnlTensorDescriptor_t, cnnlTensorLayout_t,
    cnrtQueue_t,
};

use crate::session::{BAD_PARAM, BF16, F32, I32, QUEUE, Session, call};

const NO_TENSOR: cnnlTensorDescriptor_t = cnnlTensorDescriptor_t::NULL;

/// What is multiplied: two runs of rows of two numbers, by matrices of three rows, unless a test says otherwise.
struct Asked {
    rows: Vec<i32>,
    count: i32,
    dtype: cnnlDataType_t,
    most: i32,
    lda: i32,
    short: usize,
}

impl Default for Asked {
    fn default() -> Self {
        Self {
            rows: vec![1, 2],
            count: 2,
            dtype: BF16,
            most: 4,
            lda: 2,
            short: 0,
        }
    }
}

struct Bench {
    session: Session,
    queue: cnrtQueue_t,
    handle: cnnlHandle_t,
}

/// The upper half of a float.
fn bf16(x: f32) -> u16 {
    (x.to_bits() >> 16) as u16
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

    /// A number of the host.
    fn number(&self) -> cnnlTensorDescriptor_t {
        let (of, tensor) = (&self.session.neuware.operators, self.session.bare_tensor());
        let mode = cnnlPointerMode_t::CNNL_POINTER_MODE_HOST;
        assert_eq!(
            call!(of, cnnlSetTensorDescriptorPointerMode(tensor, mode)),
            0
        );
        let (layout, none) = (cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY, null());
        let code = call!(
            of,
            cnnlSetTensorDescriptorEx_v2(tensor, layout, I32, 0, none, none)
        );
        assert_eq!(code, 0);
        tensor
    }

    fn stack(&self, dtype: cnnlDataType_t, at: *mut c_void) -> cnnlGroupGemmTensorDescriptor_t {
        let of = &self.session.neuware.operators;
        let mut stack = cnnlGroupGemmTensorDescriptor_t::NULL;
        let create = of.cnnlCreateGroupGemmTensorDescriptor.expect("emulated");
        let set = of.cnnlSetGroupGemmTensorDescriptor.expect("emulated");
        let mode = cnnlGroupGemmTensorMode_t::CNNL_GROUP_GEMM_TENSOR_OFFSETS;
        // SAFETY: a place for a description.
        assert_eq!(unsafe { create(&raw mut stack, mode) }, 0);
        let on = cnnlPointerMode_t::CNNL_POINTER_MODE_DEVICE;
        // SAFETY: a description that was just made, and an address of the device.
        assert_eq!(unsafe { set(stack, dtype, at, on, null_mut()) }, 0);
        stack
    }

    fn product(&self, most: i32) -> cnnlGroupGemmDescriptor_t {
        let of = &self.session.neuware.operators;
        let mut product = cnnlGroupGemmDescriptor_t::NULL;
        let create = of.cnnlCreateGroupGemmDescriptor.expect("emulated");
        let set = of.cnnlSetGroupGemmDescAttr.expect("emulated");
        // SAFETY: a place for a description.
        assert_eq!(unsafe { create(&raw mut product) }, 0);
        for (attr, bound) in [
            (cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_M_MAX, most),
            (cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_N_MAX, 3),
            (cnnlMatMulDescAttribute_t::CNNL_MATMUL_GROUP_K_MAX, 2),
        ] {
            // SAFETY: a description that was just made, and four bytes.
            let code = unsafe { set(product, attr, (&raw const bound).cast(), 4) };
            assert_eq!(code, 0);
        }
        product
    }

    /// The code of the call, and where the results go.
    fn multiply(&self, asked: &Asked) -> (u32, *mut c_void) {
        let of = &self.session.neuware.operators;
        let (session, count) = (&self.session, asked.count);
        let rows = session.tensor(I32, &[asked.rows.len() as i64]);
        let rows_at = session.upload(&asked.rows);
        let x =
            session.upload(&[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]].map(|x| x.map(bf16)));
        // Of the first matrix the rows are unit vectors and their sum; the second is twice that.
        let first = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]];
        let both = [first, first.map(|row| row.map(|x| 2.0 * x))];
        let matrices = session.upload(&both.map(|one| one.map(|row| row.map(bf16))));
        let out = session.upload(&[bf16(9.0); 12]);
        let product = self.product(asked.most);
        let [a, b, d] = [x, matrices, out].map(|at| self.stack(asked.dtype, at));
        let (number, n, k) = (self.number(), 3_i32, 2_i32);
        let (none, algo) = (
            cnnlGroupGemmTensorDescriptor_t::NULL,
            cnnlGroupGemmAlgo_t::NULL,
        );
        let place = |number: &i32| -> *const c_void { (&raw const *number).cast() };
        let mut bytes = 0;
        let query = of.cnnlGetGroupGemmWorkspaceSize.expect("emulated");
        let multiply = of.cnnlGroupGemm.expect("emulated");
        // SAFETY: descriptions that live, and a place for the size.
        let code = unsafe {
            query(
                self.handle,
                product,
                algo,
                count,
                false,
                true,
                rows,
                number,
                number,
                NO_TENSOR,
                number,
                a,
                number,
                b,
                NO_TENSOR,
                NO_TENSOR,
                none,
                number,
                d,
                &raw mut bytes,
            )
        };
        assert_eq!(code, 0);
        let room = session.malloc(bytes);
        let bytes = bytes - asked.short;
        // SAFETY: the same, with numbers of the host and addresses of the device.
        let code = unsafe {
            multiply(
                self.handle,
                product,
                algo,
                count,
                false,
                true,
                rows,
                rows_at,
                number,
                place(&n),
                number,
                place(&k),
                NO_TENSOR,
                null(),
                number,
                place(&asked.lda),
                a,
                number,
                place(&k),
                b,
                NO_TENSOR,
                null(),
                NO_TENSOR,
                null(),
                none,
                room,
                bytes,
                number,
                place(&n),
                d,
            )
        };
        (code, out)
    }
}

#[test]
fn runs_of_rows_are_multiplied_and_rows_behind_them_left_alone() {
    let bench = Bench::new();
    let (code, out) = bench.multiply(&Asked::default());
    assert_eq!((code, bench.session.wait(bench.queue)), (0, 0));
    let got: Vec<u16> = bench.session.download(out, 12).expect("written");
    let want = [
        1.0, 2.0, 3.0, 6.0, 8.0, 14.0, 10.0, 12.0, 22.0, 9.0, 9.0, 9.0,
    ];
    assert_eq!(got, want.map(bf16));
    assert_eq!(bench.session.violations(), Vec::<String>::new());
}

#[test]
fn what_the_contract_does_not_take_is_refused() {
    for (asked, want) in [
        (
            Asked {
                rows: vec![1],
                ..Asked::default()
            },
            "E-SHAPE",
        ),
        (
            Asked {
                rows: vec![1; 256],
                count: 256,
                ..Asked::default()
            },
            "E-SHAPE",
        ),
        (
            Asked {
                most: 0,
                ..Asked::default()
            },
            "E-SHAPE",
        ),
        (
            Asked {
                dtype: F32,
                ..Asked::default()
            },
            "E-DTYPE",
        ),
        (
            Asked {
                lda: 3,
                ..Asked::default()
            },
            "E-LAYOUT",
        ),
        (
            Asked {
                short: 1,
                ..Asked::default()
            },
            "E-WS",
        ),
        (
            Asked {
                most: 400,
                ..Asked::default()
            },
            "E-PTR",
        ),
    ] {
        let bench = Bench::new();
        assert_eq!(bench.multiply(&asked).0, BAD_PARAM, "{want}");
        assert_eq!(bench.session.violations(), [want]);
    }
}

#[test]
fn runs_that_have_more_rows_than_there_are_fail_when_they_run() {
    for rows in [vec![3, 2], vec![-1, 2]] {
        let bench = Bench::new();
        let (code, _) = bench.multiply(&Asked {
            rows,
            ..Asked::default()
        });
        assert_eq!((code, bench.session.wait(bench.queue)), (0, QUEUE));
        assert_eq!(bench.session.violations(), ["E-SHAPE"]);
    }
}
