//! The tensor layer: operands and executors.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    aclBoolArray, aclDataType, aclFloatArray, aclFormat, aclIntArray, aclOpExecutor, aclScalar,
    aclScalarList, aclTensor, aclTensorList, aclnnStatus, aclrtStream,
};

abi_table! {
    /// Operands and executors of operators.
    pub struct TensorLayer: CANN, NnopBase;

    // Operands, made and destroyed. A list owns its members.
    fn aclCreateTensor(
        viewDims: *const i64, viewDimsNum: u64, dataType: aclDataType, stride: *const i64,
        offset: i64, format: aclFormat, storageDims: *const i64, storageDimsNum: u64,
        tensorData: *mut c_void,
    ) -> *mut aclTensor;
    fn aclCreateScalar(value: *mut c_void, dataType: aclDataType) -> *mut aclScalar;
    fn aclCreateIntArray(value: *const i64, size: u64) -> *mut aclIntArray;
    #[optional]
    fn aclCreateFloatArray(value: *const f32, size: u64) -> *mut aclFloatArray;
    fn aclCreateBoolArray(value: *const bool, size: u64) -> *mut aclBoolArray;
    fn aclCreateTensorList(value: *const *const aclTensor, size: u64) -> *mut aclTensorList;
    fn aclCreateScalarList(value: *const *const aclScalar, size: u64) -> *mut aclScalarList;
    fn aclDestroyTensor(tensor: *const aclTensor) -> aclnnStatus;
    fn aclDestroyScalar(scalar: *const aclScalar) -> aclnnStatus;
    fn aclDestroyIntArray(array: *const aclIntArray) -> aclnnStatus;
    #[optional]
    fn aclDestroyFloatArray(array: *const aclFloatArray) -> aclnnStatus;
    fn aclDestroyBoolArray(array: *const aclBoolArray) -> aclnnStatus;
    fn aclDestroyTensorList(array: *const aclTensorList) -> aclnnStatus;
    fn aclDestroyScalarList(array: *const aclScalarList) -> aclnnStatus;

    // What an operand is.
    fn aclGetViewShape(
        tensor: *const aclTensor, viewDims: *mut *mut i64, viewDimsNum: *mut u64,
    ) -> aclnnStatus;
    #[optional]
    fn aclGetStorageShape(
        tensor: *const aclTensor, storageDims: *mut *mut i64, storageDimsNum: *mut u64,
    ) -> aclnnStatus;
    #[optional]
    fn aclGetViewStrides(
        tensor: *const aclTensor, stridesValue: *mut *mut i64, stridesNum: *mut u64,
    ) -> aclnnStatus;
    #[optional]
    fn aclGetViewOffset(tensor: *const aclTensor, offset: *mut i64) -> aclnnStatus;
    #[optional]
    fn aclGetFormat(tensor: *const aclTensor, format: *mut aclFormat) -> aclnnStatus;
    #[optional]
    fn aclGetDataType(tensor: *const aclTensor, dataType: *mut aclDataType) -> aclnnStatus;
    #[optional]
    fn aclGetIntArraySize(array: *const aclIntArray, size: *mut u64) -> aclnnStatus;
    #[optional]
    fn aclGetFloatArraySize(array: *const aclFloatArray, size: *mut u64) -> aclnnStatus;
    #[optional]
    fn aclGetBoolArraySize(array: *const aclBoolArray, size: *mut u64) -> aclnnStatus;
    #[optional]
    fn aclGetTensorListSize(tensorList: *const aclTensorList, size: *mut u64) -> aclnnStatus;
    #[optional]
    fn aclGetScalarListSize(scalarList: *const aclScalarList, size: *mut u64) -> aclnnStatus;

    // An operand described anew.
    #[optional]
    fn aclInitTensor(
        tensor: *mut aclTensor, viewDims: *const i64, viewDimsNum: u64, dataType: aclDataType,
        stride: *const i64, offset: i64, format: aclFormat, storageDims: *const i64,
        storageDimsNum: u64, tensorDataAddr: *mut c_void,
    ) -> aclnnStatus;

    // Executors that are used more than once.
    #[optional]
    fn aclSetAclOpExecutorRepeatable(executor: *mut aclOpExecutor) -> aclnnStatus;
    #[optional]
    fn aclDestroyAclOpExecutor(executor: *mut aclOpExecutor) -> aclnnStatus;

    // New addresses for the operands of such an executor. Releases spell them with `Acl` or with `acl`.
    #[optional]
    fn AclSetInputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn AclSetOutputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn AclSetDynamicInputTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn AclSetDynamicOutputTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn AclSetTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn AclSetDynamicTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetInputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetOutputTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetDynamicInputTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetDynamicOutputTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetTensorAddr(
        executor: *mut aclOpExecutor, index: usize, tensor: *mut aclTensor, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetDynamicTensorAddr(
        executor: *mut aclOpExecutor, irIndex: usize, relativeIndex: usize,
        tensors: *mut aclTensorList, addr: *mut c_void,
    ) -> aclnnStatus;
    #[optional]
    fn aclSetRawTensorAddr(tensor: *mut aclTensor, addr: *mut c_void) -> aclnnStatus;
    #[optional]
    fn aclGetRawTensorAddr(tensor: *const aclTensor, addr: *mut *mut c_void) -> aclnnStatus;

    // The layer itself.
    #[optional]
    fn aclDumpOpTensors(
        opType: *const c_char, opName: *const c_char, tensors: *mut *mut aclTensor,
        inputTensorNum: usize, outputTensorNum: usize, stream: aclrtStream,
    ) -> aclnnStatus;
    #[optional]
    fn aclnnInit(configPath: *const c_char) -> aclnnStatus;
    #[optional]
    fn aclnnFinalize() -> aclnnStatus;

    // Memory of the host for executors, kept by the calling thread.
    #[optional]
    fn InitHugeMemThreadLocal(arg: *mut c_void, sync: bool) -> i32;
    #[optional]
    fn UnInitHugeMemThreadLocal(arg: *mut c_void, sync: bool);
    #[optional]
    fn ReleaseHugeMem(arg: *mut c_void, sync: bool);
}
