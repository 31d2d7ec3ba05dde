//! Descriptions and handles of operators: E-DESC, E-LAYOUT, E-SHAPE, E-HANDLE, E-UNIMPL.

use std::ptr::null_mut;
use std::thread;

use backend_cambricon_sys::types::{
    cnnlDataType_t, cnnlHandle_t, cnnlOpTensorDescriptor_t, cnnlPointerMode_t,
    cnnlTensorDescriptor_t, cnnlTensorLayout_t,
};

use crate::session::{BAD_PARAM, F32, Session, call};

#[test]
fn a_tensor_is_set_once_before_it_is_used_and_destroyed_once() {
    let session = Session::lazy();
    let queue = session.queue();
    let (handle, block) = (session.operators(queue), session.upload(&[1.0_f32; 4]));
    let (bare, set) = (session.bare_tensor(), session.tensor(F32, &[4]));
    assert_eq!(
        session.exp(handle, (bare, block), (set, block)),
        BAD_PARAM,
        "not set"
    );
    assert_eq!(session.set_tensor(set, F32, &[4]), BAD_PARAM, "set twice");
    let operators = &session.neuware.operators;
    assert_eq!(call!(operators, cnnlResetTensorDescriptor(set)), 0);
    assert_eq!(session.set_tensor(set, F32, &[2]), 0);
    assert_eq!(call!(operators, cnnlDestroyTensorDescriptor(set)), 0);
    assert_eq!(
        call!(operators, cnnlDestroyTensorDescriptor(set)),
        BAD_PARAM,
        "destroyed twice"
    );
    assert_eq!(
        session.exp(handle, (set, block), (bare, block)),
        BAD_PARAM,
        "destroyed"
    );
    let other = cnnlOpTensorDescriptor_t(bare.0);
    assert_eq!(
        call!(operators, cnnlDestroyOpTensorDescriptor(other)),
        BAD_PARAM,
        "another kind"
    );
    let null = cnnlTensorDescriptor_t::NULL;
    assert_eq!(session.exp(handle, (null, block), (null, block)), BAD_PARAM);
    assert_eq!(session.violations(), ["E-DESC"; 6]);
}

#[test]
fn a_tensor_is_an_array_of_a_known_type_with_dimensions() {
    let session = Session::lazy();
    let operators = &session.neuware.operators;
    let set = |layout, dtype, dims: &[i64]| {
        let (tensor, rank) = (session.bare_tensor(), dims.len() as i32);
        call!(
            operators,
            cnnlSetTensorDescriptor_v2(tensor, layout, dtype, rank, dims.as_ptr())
        )
    };
    let array = cnnlTensorLayout_t::CNNL_LAYOUT_ARRAY;
    assert_eq!(
        set(cnnlTensorLayout_t::CNNL_LAYOUT_NHWC, F32, &[1]),
        BAD_PARAM
    );
    assert_eq!(set(array, cnnlDataType_t::CNNL_DTYPE_INT4X2, &[1]), 7);
    assert_eq!(set(array, F32, &[1; 9]), BAD_PARAM);
    assert_eq!(set(array, F32, &[2, -1]), BAD_PARAM);
    assert_eq!(set(array, F32, &[]), BAD_PARAM, "of the device's side");
    assert_eq!(
        session.violations(),
        ["E-LAYOUT", "E-DTYPE", "E-SHAPE", "E-SHAPE", "E-SHAPE"]
    );
    let number = session.bare_tensor();
    let host = cnnlPointerMode_t::CNNL_POINTER_MODE_HOST;
    assert_eq!(
        call!(operators, cnnlSetTensorDescriptorPointerMode(number, host)),
        0
    );
    assert_eq!(session.set_tensor(number, F32, &[]), 0);
}

#[test]
fn a_handle_has_a_queue_and_a_thread() {
    let session = Session::lazy();
    let queue = session.queue();
    let (block, tensor) = (session.upload(&[1.0_f32; 4]), session.tensor(F32, &[4]));
    let operators = &session.neuware.operators;
    let mut bare = cnnlHandle_t::NULL;
    assert_eq!(call!(operators, cnnlCreate(&raw mut bare)), 0);
    assert_eq!(
        session.exp(bare, (tensor, block), (tensor, block)),
        1,
        "no queue"
    );
    assert_eq!(call!(operators, cnnlDestroy(bare)), 0);
    assert_eq!(
        session.exp(bare, (tensor, block), (tensor, block)),
        1,
        "destroyed"
    );

    let handle = session.operators(queue).0.addr();
    let function = operators.cnnlDestroy;
    let elsewhere = thread::spawn(move || {
        let handle = cnnlHandle_t(std::ptr::without_provenance_mut(handle));
        // SAFETY: a handle that lives; that it is of another thread is looked at before it is used.
        unsafe { function(handle) }
    });
    assert_eq!(elsewhere.join().expect("no panic"), 1, "another thread");
    assert_eq!(session.violations(), ["E-HANDLE"; 3]);
}

#[test]
fn a_handle_is_not_destroyed_while_its_queue_holds_work() {
    let session = Session::lazy();
    let queue = session.queue();
    let (handle, tensor) = (session.operators(queue), session.tensor(F32, &[4]));
    let (x, y) = (session.upload(&[1.0_f32; 4]), session.malloc(16));
    assert_eq!(session.exp(handle, (tensor, x), (tensor, y)), 0);
    assert_eq!(call!(session.neuware.operators, cnnlDestroy(handle)), 0);
    assert_eq!(session.violations(), ["E-HANDLE"]);
}

#[test]
fn what_is_not_emulated_says_so() {
    let session = Session::lazy();
    let (none, handle) = (cnnlTensorDescriptor_t::NULL, cnnlHandle_t::NULL);
    let code = call!(
        session.neuware.operators,
        cnnlRsqrt(handle, none, null_mut(), none, null_mut())
    );
    assert_eq!(code, 7);
    assert_eq!(session.violations(), ["E-UNIMPL"]);
}
