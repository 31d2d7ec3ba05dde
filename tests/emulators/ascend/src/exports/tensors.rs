//! Operands.

use std::ffi::c_void;

use backend_ascend_sys::types::{
    aclBoolArray, aclDataType, aclFloatArray, aclFormat, aclIntArray, aclOpExecutor, aclScalar,
    aclScalarList, aclTensor, aclTensorList, aclnnStatus,
};

use super::export;
use crate::executors::{self, Among};
use crate::objects::{self, Layout};

export! {
    tensors;
    fn aclCreateTensor(
        dims: *const i64, rank: u64, dtype: aclDataType, strides: *const i64, offset: i64,
        format: aclFormat, storage: *const i64, storage_rank: u64, data: *mut c_void,
    ) -> *mut aclTensor
        = |call, dims, rank, dtype, strides, offset, format, storage, storage_rank, data| {
            let layout = Layout {
                dims, rank, dtype, strides, offset, format, storage, storage_rank, data,
            };
            objects::create_tensor(call, &layout)
        };
    fn aclCreateScalar(value: *mut c_void, dtype: aclDataType) -> *mut aclScalar
        = objects::create_scalar;
    fn aclCreateIntArray(values: *const i64, count: u64) -> *mut aclIntArray
        = objects::create_ints;
    fn aclCreateFloatArray(values: *const f32, count: u64) -> *mut aclFloatArray
        = objects::create_floats;
    fn aclCreateBoolArray(values: *const bool, count: u64) -> *mut aclBoolArray
        = objects::create_bools;
    fn aclCreateTensorList(members: *const *const aclTensor, count: u64) -> *mut aclTensorList
        = objects::create_tensor_list;
    fn aclCreateScalarList(members: *const *const aclScalar, count: u64) -> *mut aclScalarList
        = objects::create_scalar_list;
    fn aclDestroyTensor(tensor: *const aclTensor) -> aclnnStatus = objects::destroy_tensor;
    fn aclDestroyScalar(scalar: *const aclScalar) -> aclnnStatus = objects::destroy_scalar;
    fn aclDestroyIntArray(array: *const aclIntArray) -> aclnnStatus = objects::destroy_ints;
    fn aclDestroyFloatArray(array: *const aclFloatArray) -> aclnnStatus = objects::destroy_floats;
    fn aclDestroyBoolArray(array: *const aclBoolArray) -> aclnnStatus = objects::destroy_bools;
    fn aclDestroyTensorList(list: *const aclTensorList) -> aclnnStatus
        = objects::destroy_tensor_list;
    fn aclDestroyScalarList(list: *const aclScalarList) -> aclnnStatus
        = objects::destroy_scalar_list;
    fn aclGetViewShape(tensor: *const aclTensor, dims: *mut *mut i64, rank: *mut u64)
        -> aclnnStatus = objects::view_shape;
    fn aclGetStorageShape(tensor: *const aclTensor, dims: *mut *mut i64, rank: *mut u64)
        -> aclnnStatus = objects::storage_shape;
    fn aclGetViewStrides(tensor: *const aclTensor, strides: *mut *mut i64, rank: *mut u64)
        -> aclnnStatus = objects::view_strides;
    fn aclGetViewOffset(tensor: *const aclTensor, offset: *mut i64) -> aclnnStatus
        = objects::view_offset;
    fn aclGetFormat(tensor: *const aclTensor, format: *mut aclFormat) -> aclnnStatus
        = objects::format;
    fn aclGetDataType(tensor: *const aclTensor, dtype: *mut aclDataType) -> aclnnStatus
        = objects::data_type;
    fn aclGetIntArraySize(array: *const aclIntArray, count: *mut u64) -> aclnnStatus
        = objects::count;
    fn aclGetFloatArraySize(array: *const aclFloatArray, count: *mut u64) -> aclnnStatus
        = objects::count;
    fn aclGetBoolArraySize(array: *const aclBoolArray, count: *mut u64) -> aclnnStatus
        = objects::count;
    fn aclGetTensorListSize(list: *const aclTensorList, count: *mut u64) -> aclnnStatus
        = objects::count;
    fn aclGetScalarListSize(list: *const aclScalarList, count: *mut u64) -> aclnnStatus
        = objects::count;
    fn aclSetRawTensorAddr(tensor: *mut aclTensor, address: *mut c_void) -> aclnnStatus
        = objects::set_address;
    fn aclGetRawTensorAddr(tensor: *const aclTensor, address: *mut *mut c_void) -> aclnnStatus
        = objects::address;
    fn aclSetAclOpExecutorRepeatable(executor: *mut aclOpExecutor) -> aclnnStatus
        = executors::set_repeatable;
    fn aclDestroyAclOpExecutor(executor: *mut aclOpExecutor) -> aclnnStatus = executors::destroy;
    fn aclSetInputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, address: *mut c_void,
    ) -> aclnnStatus = |call, executor, index, tensor, address| {
        executors::set_address(call, executor, (Among::Inputs, index), tensor, address)
    };
    fn aclSetOutputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, address: *mut c_void,
    ) -> aclnnStatus = |call, executor, index, tensor, address| {
        executors::set_address(call, executor, (Among::Outputs, index), tensor, address)
    };
    fn aclSetTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, address: *mut c_void,
    ) -> aclnnStatus = |call, executor, index, tensor, address| {
        executors::set_address(call, executor, (Among::All, index), tensor, address)
    };
}
