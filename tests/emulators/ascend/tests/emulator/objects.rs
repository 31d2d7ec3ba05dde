//! Operands: what check 16 says of them before any operator is there.

use std::ptr::{null, null_mut};

use backend_ascend_sys::types::{aclDataType, aclFormat, aclTensor};
use serde_json::json;

use crate::session::{Session, call};

const F32: aclDataType = aclDataType::ACL_FLOAT;
const ND: aclFormat = aclFormat::ACL_FORMAT_ND;

fn tensor(session: &Session, dims: &[i64], strides: &[i64]) -> *mut aclTensor {
    let (at, rank) = (dims.as_ptr(), dims.len() as u64);
    let strides = strides.as_ptr();
    let tensors = &session.ascend.tensors;
    call!(
        tensors,
        aclCreateTensor(at, rank, F32, strides, 1, ND, at, rank, null_mut())
    )
}

fn list(
    session: &Session,
    members: &[*mut aclTensor],
) -> *mut backend_ascend_sys::types::aclTensorList {
    let members: Vec<_> = members.iter().map(|member| member.cast_const()).collect();
    let count = members.len() as u64;
    call!(
        session.ascend.tensors,
        aclCreateTensorList(members.as_ptr(), count)
    )
}

#[test]
fn a_tensor_tells_what_it_is() {
    let session = Session::new(&json!({}));
    let tensors = &session.ascend.tensors;
    let tensor = tensor(&session, &[2, 3], &[3, 1]);
    let (mut dims, mut rank) = (null_mut(), 0);
    assert_eq!(
        call!(
            tensors,
            aclGetViewShape(tensor, &raw mut dims, &raw mut rank)
        ),
        0
    );
    // SAFETY: the list that was just given.
    let shape = unsafe { std::slice::from_raw_parts(dims, rank as usize) };
    assert_eq!(shape, [2, 3]);
    let (mut offset, mut dtype) = (0, aclDataType::ACL_DT_UNDEFINED);
    assert_eq!(
        call!(tensors, optional aclGetViewOffset(tensor, &raw mut offset)),
        0
    );
    assert_eq!(
        call!(tensors, optional aclGetDataType(tensor, &raw mut dtype)),
        0
    );
    assert_eq!((offset, dtype), (1, F32));
    assert_eq!(
        call!(tensors, optional aclGetDataType(tensor, null_mut())),
        161_001
    );
    assert_eq!(call!(tensors, aclDestroyTensor(tensor)), 0);
    session.clean();
}

#[test]
fn what_is_no_tensor_is_not_made() {
    let session = Session::new(&json!({}));
    assert!(tensor(&session, &[2, -3], &[3, 1]).is_null());
    assert!(session.text().contains("dims: -3"), "{}", session.text());
    assert!(tensor(&session, &[1; 9], &[1; 9]).is_null());
    let tensors = &session.ascend.tensors;
    let none = call!(
        tensors,
        aclCreateTensor(null(), 2, F32, null(), 0, ND, null(), 2, null_mut())
    );
    assert!(none.is_null());
    assert!(call!(tensors, aclCreateScalar(null_mut(), F32)).is_null());
    assert!(call!(tensors, optional aclCreateFloatArray(null(), 3)).is_null());
    session.clean();
}

#[test]
fn an_object_is_destroyed_once() {
    let session = Session::new(&json!({}));
    let tensors = &session.ascend.tensors;
    let object = tensor(&session, &[2], &[1]);
    assert_eq!(call!(tensors, aclDestroyTensor(object)), 0);
    assert_eq!(call!(tensors, aclDestroyTensor(object)), 561_000);
    assert_eq!(call!(tensors, aclDestroyTensor(null())), 161_001);
    let array = call!(tensors, aclCreateIntArray([4_i64, 5].as_ptr(), 2));
    assert_eq!(
        call!(tensors, aclDestroyTensor(array.cast())),
        561_000,
        "another kind"
    );
    let mut count = 0;
    assert_eq!(
        call!(tensors, optional aclGetIntArraySize(array, &raw mut count)),
        0
    );
    assert_eq!(count, 2);
    assert_eq!(call!(tensors, aclDestroyIntArray(array)), 0);
    assert_eq!(session.violations(), ["dead_object"; 2]);
}

#[test]
fn a_list_owns_its_members() {
    let session = Session::new(&json!({}));
    let tensors = &session.ascend.tensors;
    let [a, b] = [(); 2].map(|()| tensor(&session, &[2], &[1]));
    let both = list(&session, &[a, b]);
    assert_eq!(call!(tensors, aclDestroyTensor(a)), 161_002);
    assert!(list(&session, &[a]).is_null());
    assert_eq!(session.violations(), ["list_member"; 2]);
    assert_eq!(call!(tensors, aclDestroyTensorList(both)), 0);
    assert_eq!(call!(tensors, aclDestroyTensor(b)), 561_000);
    assert_eq!(session.violations()[2..], ["dead_object"]);
    assert_eq!(session.report()["leaks"], json!([]));
}

#[test]
fn what_is_left_at_the_end_is_found() {
    let session = Session::new(&json!({}));
    tensor(&session, &[2], &[1]);
    assert_eq!(session.report()["leaks"], json!(["a tensor"]));
    assert_eq!(session.reset(0), 0);
    assert_eq!(call!(session.ascend.runtime, aclFinalize()), 0);
    assert_eq!(session.violations(), ["leaked_object"]);
}
