//! Handles, descriptors and operators.

use std::ffi::{c_char, c_void};

use backend_cambricon_sys::types::{
    CNdev, cnnlActivationDescAttribute_t, cnnlActivationDescriptor_t, cnnlAtomicsMode_t,
    cnnlCastDataType_t, cnnlDataType_t, cnnlDivDescAttribute_t, cnnlDivDescriptor_t,
    cnnlGroupGemmAlgo_t, cnnlGroupGemmDescriptor_t, cnnlGroupGemmTensorDescriptor_t,
    cnnlGroupGemmTensorMode_t, cnnlHandle_t, cnnlIndicesType_t, cnnlLogBase_t, cnnlLogicOp_t,
    cnnlMatMulAlgo_t, cnnlMatMulDescAttribute_t, cnnlMatMulDescriptor_t,
    cnnlMatMulHeuristicResult_t, cnnlMatMulPrefer_t, cnnlNanPropagation_t, cnnlNormDescAttribute_t,
    cnnlNormDescriptor_t, cnnlOpTensorDesc_t, cnnlOpTensorDescriptor_t, cnnlPointerMode_t,
    cnnlReduceDescriptor_t, cnnlReduceIndices_t, cnnlReduceOp_t, cnnlScatterNdMode_t,
    cnnlSoftmaxAlgorithm_t, cnnlSoftmaxMode_t, cnnlStatus_t, cnnlTensorDescriptor_t,
    cnnlTensorLayout_t, cnnlTransposeDescriptor_t, cnrtQueue_t,
};
use emulator_support::argument::{Place, Pointer};

use super::argument::operands;
use super::{absent, export};
use crate::handles::{Handle, Kind};
use crate::kernels::groups::Groups;
use crate::kernels::products::{Batch, How};
use crate::kernels::rows::Choice;
use crate::kernels::{groups, index, numbers, products, rows};
use crate::objects::Setting;
use crate::{devices, launch, objects};

export! {
    operators;
    fn cnnlGetLibVersion(
        major: *mut i32, minor: *mut i32, patch: *mut i32,
    ) -> ()
        = |_, major, minor, patch| devices::version(devices::CNNL, [major, minor, patch]);
    fn cnnlGetErrorString(status: cnnlStatus_t) -> *const c_char = devices::operator_text;
    fn cnnlCreate(handle: *mut cnnlHandle_t) -> cnnlStatus_t = launch::create;
    fn cnnlDestroy(handle: cnnlHandle_t) -> cnnlStatus_t = launch::destroy;
    fn cnnlSetQueue(handle: cnnlHandle_t, queue: cnrtQueue_t) -> cnnlStatus_t = launch::set_queue;
    fn cnnlSetAtomicsMode(
        handle: cnnlHandle_t, atomics_mode: cnnlAtomicsMode_t,
    ) -> cnnlStatus_t
        = |call, handle, mode: cnnlAtomicsMode_t| launch::set_atomics(call, handle, mode.0);
    fn cnnlCreateTensorDescriptor(
        desc: *mut cnnlTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Tensor, cnnlTensorDescriptor_t);
    fn cnnlResetTensorDescriptor(
        desc: cnnlTensorDescriptor_t,
    ) -> cnnlStatus_t
        = objects::reset_tensor;
    fn cnnlDestroyTensorDescriptor(
        desc: cnnlTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Tensor);
    fn cnnlSetTensorDescriptor_v2(
        desc: cnnlTensorDescriptor_t, layout: cnnlTensorLayout_t, dtype: cnnlDataType_t, dimNb: i32,
        dimSize: *const i64,
    ) -> cnnlStatus_t
        = |call, desc, layout, dtype, rank, dims| {
        let strides = None;
        objects::set_tensor(call, desc, &Setting { layout, dtype, rank, dims, strides })
    };
    fn cnnlSetTensorDescriptorEx_v2(
        desc: cnnlTensorDescriptor_t, layout: cnnlTensorLayout_t, dtype: cnnlDataType_t, dimNb: i32,
        dimSize: *const i64, dimStride: *const i64,
    ) -> cnnlStatus_t
        = |call, desc, layout, dtype, rank, dims, strides| {
        let strides = Some(strides);
        objects::set_tensor(call, desc, &Setting { layout, dtype, rank, dims, strides })
    };
    fn cnnlSetTensorDescriptorPointerMode(
        desc: cnnlTensorDescriptor_t, pointer_mode: cnnlPointerMode_t,
    ) -> cnnlStatus_t
        = |call, desc, mode: cnnlPointerMode_t| objects::set_pointer_mode(call, desc, mode.0);
    fn cnnlCreateMatMulDescriptor(
        matmul_desc: *mut cnnlMatMulDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::MatMul, cnnlMatMulDescriptor_t);
    fn cnnlDestroyMatMulDescriptor(
        matmul_desc: cnnlMatMulDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::MatMul);
    fn cnnlSetMatMulDescAttr(
        matmul_desc: cnnlMatMulDescriptor_t, attr: cnnlMatMulDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t
        = |call, desc, attr, buffer, bytes| objects::set_product(call, desc, attr, (buffer, bytes));
    fn cnnlCreateMatMulAlgo(
        algo: *mut cnnlMatMulAlgo_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Algorithm, cnnlMatMulAlgo_t);
    fn cnnlDestroyMatMulAlgo(
        algo: cnnlMatMulAlgo_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Algorithm);
    fn cnnlCreateMatMulHeuristicResult(
        result: *mut cnnlMatMulHeuristicResult_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Heuristic, cnnlMatMulHeuristicResult_t);
    fn cnnlDestroyMatMulHeuristicResult(
        result: cnnlMatMulHeuristicResult_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Heuristic);
    fn cnnlGetMatMulAlgoHeuristic(
        handle: cnnlHandle_t, matmul_desc: cnnlMatMulDescriptor_t, a_desc: cnnlTensorDescriptor_t,
        b_desc: cnnlTensorDescriptor_t, c_desc: cnnlTensorDescriptor_t,
        d_desc: cnnlTensorDescriptor_t, preference: cnnlMatMulPrefer_t, requested_algo_count: i32,
        result_array: *mut cnnlMatMulHeuristicResult_t, return_algo_count: *mut i32,
    ) -> cnnlStatus_t
        = |call, _handle, desc, a, b, c, d, _prefer, requested, results, count| {
        let found = (requested, results, count);
        products::heuristic(call, Batch::One, desc, &[a, b, c, d], found)
    };
    fn cnnlGetMatMulHeuristicResult(
        result: cnnlMatMulHeuristicResult_t, algo: cnnlMatMulAlgo_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = products::result;
    fn cnnlMatMul_v2(
        handle: cnnlHandle_t, matmul_desc: cnnlMatMulDescriptor_t, algo: cnnlMatMulAlgo_t,
        alpha: *const c_void, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, beta: *const c_void,
        c_desc: cnnlTensorDescriptor_t, c: *mut c_void, workspace: *mut c_void,
        workspace_size: usize, d_desc: cnnlTensorDescriptor_t, d: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, product, algorithm, alpha, a_desc, a, b_desc, b, beta, c_desc, c, room, bytes, d_desc, d| {
        let how = How { batch: Batch::One, product, algorithm, alpha, beta };
        let operands = ([(a_desc, a), (b_desc, b), (d_desc, d)], Some((c_desc, c)));
        products::multiply(call, handle, &how, operands, (room, bytes))
    };
    fn cnnlGetBatchMatMulExAlgoHeuristic(
        handle: cnnlHandle_t, bmm_ex_desc: cnnlMatMulDescriptor_t, a_desc: cnnlTensorDescriptor_t,
        b_desc: cnnlTensorDescriptor_t, c_desc: cnnlTensorDescriptor_t,
        preference: cnnlMatMulPrefer_t, requested_algo_count: i32,
        result_array: *mut cnnlMatMulHeuristicResult_t, return_algo_count: *mut i32,
    ) -> cnnlStatus_t
        = |call, _handle, desc, a, b, c, _prefer, requested, results, count| {
        let found = (requested, results, count);
        products::heuristic(call, Batch::Many, desc, &[a, b, c], found)
    };
    fn cnnlGetBatchMatMulExHeuristicResult(
        result: cnnlMatMulHeuristicResult_t, algo: cnnlMatMulAlgo_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = products::result;
    fn cnnlBatchMatMulEx(
        handle: cnnlHandle_t, bmm_ex_desc: cnnlMatMulDescriptor_t, algo: cnnlMatMulAlgo_t,
        alpha: *const c_void, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, beta: *const c_void,
        c_desc: cnnlTensorDescriptor_t, c: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t
        = |call, handle, product, algorithm, alpha, a_desc, a, b_desc, b, beta, c_desc, c, room, bytes| {
        let how = How { batch: Batch::Many, product, algorithm, alpha, beta };
        let operands = ([(a_desc, a), (b_desc, b), (c_desc, c)], None);
        products::multiply(call, handle, &how, operands, (room, bytes))
    };
    fn cnnlCreateOpTensorDescriptor(
        op_tensor_desc: *mut cnnlOpTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::OpTensor, cnnlOpTensorDescriptor_t);
    fn cnnlSetOpTensorDescriptor(
        op_tensor_desc: cnnlOpTensorDescriptor_t, op_tensor_op: cnnlOpTensorDesc_t,
        op_tensor_comp_type: cnnlDataType_t, op_tensor_nan_opt: cnnlNanPropagation_t,
    ) -> cnnlStatus_t
        = |call, desc, op, dtype, _nan: cnnlNanPropagation_t| objects::set_op_tensor(call, desc, op, dtype);
    fn cnnlDestroyOpTensorDescriptor(
        op_tensor_desc: cnnlOpTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::OpTensor);
    fn cnnlGetOpTensorWorkspaceSize(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, a, b, c, size| {
        let of = ("OpTensor", &[a, b, c][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlOpTensor(
        handle: cnnlHandle_t, op_tensor_desc: cnnlOpTensorDescriptor_t, alpha1: *const c_void,
        a_desc: cnnlTensorDescriptor_t, a: *const c_void, alpha2: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, workspace: *mut c_void,
        workspace_size: usize, beta: *const c_void, c_desc: cnnlTensorDescriptor_t, c: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, desc, alpha1, a_desc, a, alpha2, b_desc, b, room, bytes, beta, c_desc, c| {
        let operands = [(a_desc, a), (b_desc, b), (c_desc, c)];
        numbers::op_tensor(call, handle, desc, [alpha1, alpha2, beta], operands, (room, bytes))
    };
    fn cnnlCreateDivDescriptor(
        div_desc: *mut cnnlDivDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Div, cnnlDivDescriptor_t);
    fn cnnlSetDivDescAttr(
        div_desc: cnnlDivDescriptor_t, attr: cnnlDivDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t
        = |call, desc, _attr: cnnlDivDescAttribute_t, buffer, bytes| objects::set_division(call, desc, (buffer, bytes));
    fn cnnlDestroyDivDescriptor(
        div_desc: cnnlDivDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Div);
    fn cnnlGetDivWorkspaceSize_v2(
        handle: cnnlHandle_t, div_desc: cnnlDivDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        y_desc: cnnlTensorDescriptor_t, z_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, _desc: Handle, a, b, c, size| {
        let of = ("Div", &[a, b, c][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlDiv_v3(
        handle: cnnlHandle_t, div_desc: cnnlDivDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        x: *const c_void, y_desc: cnnlTensorDescriptor_t, y: *const c_void, workspace: *mut c_void,
        workspace_size: usize, z_desc: cnnlTensorDescriptor_t, z: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, desc, x_desc, x, y_desc, y, room, bytes, z_desc, z| {
        let operands = [(x_desc, x), (y_desc, y), (z_desc, z)];
        numbers::div(call, handle, desc, operands, (room, bytes))
    };
    fn cnnlTransform_v3(
        handle: cnnlHandle_t, pointer_mode: cnnlPointerMode_t, alpha: *const c_void,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void, beta: *const c_void,
        workspace: *mut c_void, workspace_size: usize, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, mode: cnnlPointerMode_t, alpha, x_desc, x, beta, room, bytes, y_desc, y| {
        let operands = [(x_desc, x), (y_desc, y)];
        numbers::transform(call, handle, (mode.0, alpha, beta), operands, (room, bytes))
    };
    fn cnnlGetTransformWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, y, size| {
        let of = ("Transform", &[x, y][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlExp(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], f32::exp)
    };
    fn cnnlLog1p_v2(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], f32::ln_1p)
    };
    fn cnnlSqrt(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], f32::sqrt)
    };
    fn cnnlReciprocal(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], f32::recip)
    };
    fn cnnlSquare(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], |x| x * x)
    };
    fn cnnlAbs(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], f32::abs)
    };
    fn cnnlNegTensor(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        numbers::map(call, handle, [(x_desc, x), (y_desc, y)], |x| -x)
    };
    fn cnnlGetClipWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, min_desc: cnnlTensorDescriptor_t,
        max_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, _min: Handle, _max: Handle, size| {
        let of = ("Clip", &[x][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlClip_v3(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        min_desc: cnnlTensorDescriptor_t, min: *const c_void, max_desc: cnnlTensorDescriptor_t,
        max: *const c_void, workspace: *mut c_void, workspace_size: usize,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, min_desc, min, max_desc, max, room, bytes, y_desc, y| {
        let operands = [(x_desc, x), (min_desc, min), (max_desc, max), (y_desc, y)];
        numbers::clip(call, handle, operands, (room, bytes))
    };
    fn cnnlGetLogicOpWorkspaceSize(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, a, b, c, size| {
        let of = ("LogicOp", &[a, b, c][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlLogicOp(
        handle: cnnlHandle_t, logic_op: cnnlLogicOp_t, a_desc: cnnlTensorDescriptor_t,
        a: *const c_void, b_desc: cnnlTensorDescriptor_t, b: *const c_void, workspace: *mut c_void,
        workspace_size: usize, c_desc: cnnlTensorDescriptor_t, c: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, op, a_desc, a, b_desc, b, room, bytes, c_desc, c| {
        let operands = [(a_desc, a), (b_desc, b), (c_desc, c)];
        numbers::logic(call, handle, op, operands, (room, bytes))
    };
    fn cnnlGetSelectV2WorkspaceSize(
        handle: cnnlHandle_t, condition_desc: cnnlTensorDescriptor_t,
        then_desc: cnnlTensorDescriptor_t, else_desc: cnnlTensorDescriptor_t,
        workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, condition, then, otherwise, size| {
        let of = ("SelectV2", &[condition, then, otherwise][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlSelectV2(
        handle: cnnlHandle_t, condition_desc: cnnlTensorDescriptor_t, condition_ptr: *const c_void,
        then_desc: cnnlTensorDescriptor_t, then_ptr: *const c_void,
        else_desc: cnnlTensorDescriptor_t, else_ptr: *const c_void, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output_ptr: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, if_desc, condition, then_desc, then, else_desc, otherwise, room, bytes, out_desc, out| {
        let operands = [
            (if_desc, condition), (then_desc, then), (else_desc, otherwise), (out_desc, out),
        ];
        numbers::select(call, handle, operands, (room, bytes))
    };
    fn cnnlCreateActivationDescriptor(
        activation_desc: *mut cnnlActivationDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Activation, cnnlActivationDescriptor_t);
    fn cnnlSetActivationDescAttr(
        activation_desc: cnnlActivationDescriptor_t, attr: cnnlActivationDescAttribute_t,
        buf: *const c_void, size_in_bytes: usize,
    ) -> cnnlStatus_t
        = |call, desc, attr, buffer, bytes| objects::set_activation(call, desc, attr, (buffer, bytes));
    fn cnnlDestroyActivationDescriptor(
        activation_desc: cnnlActivationDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Activation);
    fn cnnlActivationForward(
        handle: cnnlHandle_t, activation_desc: cnnlActivationDescriptor_t, alpha: *const c_void,
        x_desc: cnnlTensorDescriptor_t, x: *const c_void, beta: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, desc, alpha, x_desc, x, beta, y_desc, y| {
        numbers::activation(call, handle, desc, [alpha, beta], [(x_desc, x), (y_desc, y)])
    };
    fn cnnlCastDataType(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        cast_type: cnnlCastDataType_t, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, cast, y_desc, y| {
        numbers::cast(call, handle, cast, [(x_desc, x), (y_desc, y)])
    };
    fn cnnlFill_v4(
        handle: cnnlHandle_t, value_desc: cnnlTensorDescriptor_t, value: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, value_desc, value, out_desc, out| {
        numbers::fill(call, handle, (value_desc, value), (out_desc, out))
    };
    fn cnnlArange_v3(
        handle: cnnlHandle_t, start: *const c_void, step: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, start, step, out_desc, out| {
        numbers::arange(call, handle, [start, step], (out_desc, out))
    };
    fn cnnlCreateReduceDescriptor(
        reduce_desc: *mut cnnlReduceDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Reduce, cnnlReduceDescriptor_t);
    fn cnnlSetReduceDescriptor_v2(
        reduce_desc: cnnlReduceDescriptor_t, axis: *mut i32, axis_num: i32,
        reduce_op: cnnlReduceOp_t, tensor_type: cnnlDataType_t,
        nan_propagation: cnnlNanPropagation_t, tensor_indices: cnnlReduceIndices_t,
        indices_type: cnnlIndicesType_t, p: f32,
    ) -> cnnlStatus_t
        = |call, desc, axes, count, op, dtype, _nan: cnnlNanPropagation_t, _places: cnnlReduceIndices_t, _of: cnnlIndicesType_t, _p: f32| {
        objects::set_reduction(call, desc, (axes, count), (op, dtype))
    };
    fn cnnlDestroyReduceDescriptor(
        reduce_desc: cnnlReduceDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Reduce);
    fn cnnlGetReduceOpWorkspaceSize_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, indices_desc: cnnlTensorDescriptor_t,
        reduce_op: cnnlReduceDescriptor_t, workspace_size_inbytes: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, y, _places: Handle, _desc: Handle, size| {
        let of = ("Reduce", &[x, y][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlReduce_v2(
        handle: cnnlHandle_t, reduce_desc: cnnlReduceDescriptor_t,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void, alpha: *const c_void,
        beta: *const c_void, workspace: *mut c_void, workspace_size: usize,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        indices_desc: cnnlTensorDescriptor_t, indices: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, desc, x_desc, x, alpha, beta, room, bytes, y_desc, y, _places_desc: Handle, _places: Pointer| {
        let operands = ([alpha, beta], [(x_desc, x), (y_desc, y)]);
        rows::reduce(call, handle, desc, operands, (room, bytes))
    };
    fn cnnlCreateNormDesc(
        norm_desc: *mut cnnlNormDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::Norm, cnnlNormDescriptor_t);
    fn cnnlDestroyNormDesc(
        norm_desc: cnnlNormDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::Norm);
    fn cnnlGetRmsNormOpWorkspaceSize(
        handle: cnnlHandle_t, axis: i32, x_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, axis: i32, x, size| {
        let of = ("RmsNorm", &[x][..], &[axis as usize][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlRmsNormForward_v2(
        handle: cnnlHandle_t, axis: i32, eps: f32, rmsnormforward_desc: cnnlNormDescriptor_t,
        x_desc: cnnlTensorDescriptor_t, x: *const c_void, scale_bias_desc: cnnlTensorDescriptor_t,
        scale: *const c_void, bias: *const c_void, workspace: *mut c_void, workspace_size: usize,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void, rms_desc: cnnlTensorDescriptor_t,
        saved_rms: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, axis, eps, desc, x_desc, x, scale_desc, scale, _bias: Pointer, room, bytes, y_desc, y, _rms_desc: Handle, _rms: Pointer| {
        let operands = [(x_desc, x), (scale_desc, scale), (y_desc, y)];
        rows::rms_norm(call, handle, (axis, eps, desc), operands, (room, bytes))
    };
    fn cnnlGetTopKTensorWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, k: i32, dim: i32, largest: bool,
        output_desc: cnnlTensorDescriptor_t, index_desc: cnnlTensorDescriptor_t,
        workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, k: i32, _dim: i32, _largest: bool, _out: Handle, _places: Handle, size| {
        let of = ("TopKTensor", &[x][..], &[k as usize][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlTopKTensor_v3(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void, k: i32,
        dim: i32, largest: bool, sorted: bool, lower_index_first: bool, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        index_desc: cnnlTensorDescriptor_t, index: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, k, dim, largest, _sorted: bool, lower_index_first, room, bytes, out_desc, out, places_desc, places| {
        let choice = Choice { k, dim, largest, lower_index_first };
        let operands = [(x_desc, x), (out_desc, out), (places_desc, places)];
        rows::top_k(call, handle, choice, operands, (room, bytes))
    };
    fn cnnlGetCopyWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, y, size| {
        let of = ("Copy", &[x, y][..], &[][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlCopy_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y, room, bytes| {
        index::copy(call, handle, [(x_desc, x), (y_desc, y)], (room, bytes))
    };
    fn cnnlGetConcatWorkspaceSize(
        handle: cnnlHandle_t, concat_num: i32, size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, count: i32, size| {
        let of = ("Concat", &[][..], &[count as usize][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlConcat(
        handle: cnnlHandle_t, concat_num: i32, axis: i32,
        inputs_desc: *const cnnlTensorDescriptor_t, inputs: *const *const c_void,
        workspace: *mut c_void, workspace_size: usize, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, count, axis, descs, inputs, room, bytes, out_desc, out| {
        let parts = operands(count, &descs, &inputs);
        index::concat(call, handle, axis, (parts, (out_desc, out)), (room, bytes))
    };
    fn cnnlExpand(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, x_desc, x, y_desc, y| {
        index::expand(call, handle, [(x_desc, x), (y_desc, y)])
    };
    fn cnnlEmbeddingForward_v2(
        handle: cnnlHandle_t, filter_desc: cnnlTensorDescriptor_t, filter: *const c_void,
        indices_desc: cnnlTensorDescriptor_t, indices: *const c_void, padding_idx: i32,
        max_norm: *const f32, norm_type: *const f32, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, table_desc, table, at_desc, at, padding, norm: Place<f32>, _of: Place<f32>, out_desc, out| {
        let operands = [(table_desc, table), (at_desc, at), (out_desc, out)];
        index::embedding(call, handle, (padding, !norm.is_null()), operands)
    };
    fn cnnlIndexSelect(
        handle: cnnlHandle_t, dim: i32, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, dim, x_desc, x, at_desc, at, y_desc, y| {
        index::index_select(call, handle, dim, [(x_desc, x), (at_desc, at), (y_desc, y)])
    };
    fn cnnlGetGatherWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        index_desc: cnnlTensorDescriptor_t, output_desc: cnnlTensorDescriptor_t, dim: i32,
        size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, x, at, y, dim: i32, size| {
        let of = ("Gather", &[x, at, y][..], &[dim as usize][..]);
        launch::query(call, handle, of, size)
    };
    fn cnnlGather_v2(
        handle: cnnlHandle_t, dim: i32, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, dim, x_desc, x, at_desc, at, room, bytes, y_desc, y| {
        let operands = [(x_desc, x), (at_desc, at), (y_desc, y)];
        index::gather(call, handle, dim, operands, (room, bytes))
    };
    fn cnnlScatterNd_v2(
        handle: cnnlHandle_t, mode: cnnlScatterNdMode_t, indices_desc: cnnlTensorDescriptor_t,
        indices: *const c_void, updates_desc: cnnlTensorDescriptor_t, updates: *const c_void,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t
        = |call, handle, mode, at_desc, at, from_desc, from, x_desc, x, y_desc, y| {
        let operands = [(at_desc, at), (from_desc, from), (x_desc, x), (y_desc, y)];
        index::scatter_nd(call, handle, mode, operands)
    };
}

export! {
    operators;
    fn cnnlCreateGroupGemmDescriptor(
        desc: *mut cnnlGroupGemmDescriptor_t,
    ) -> cnnlStatus_t
        = |call, place| objects::create(call, place, Kind::GroupGemm, cnnlGroupGemmDescriptor_t);
    fn cnnlDestroyGroupGemmDescriptor(
        gmm_desc: cnnlGroupGemmDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::GroupGemm);
    fn cnnlSetGroupGemmDescAttr(
        desc: cnnlGroupGemmDescriptor_t, attr: cnnlMatMulDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t
        = |call, desc, attr, buffer, bytes| groups::set_bound(call, desc, attr, (buffer, bytes));
    fn cnnlCreateGroupGemmTensorDescriptor(
        desc: *mut cnnlGroupGemmTensorDescriptor_t, mode: cnnlGroupGemmTensorMode_t,
    ) -> cnnlStatus_t
        = |call, place, mode: cnnlGroupGemmTensorMode_t| {
        groups::create_stack(call, place, mode.0, cnnlGroupGemmTensorDescriptor_t)
    };
    fn cnnlSetGroupGemmTensorDescriptor(
        desc: cnnlGroupGemmTensorDescriptor_t, dtype: cnnlDataType_t, pointer: *mut c_void,
        pointer_mode: cnnlPointerMode_t, infos: *mut i64,
    ) -> cnnlStatus_t
        = |call, desc, dtype, at, mode: cnnlPointerMode_t, infos| {
        groups::set_stack(call, desc, (dtype, at, mode.0), infos)
    };
    fn cnnlDestroyGroupGemmTensorDescriptor(
        desc: cnnlGroupGemmTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle| objects::destroy(call, handle, Kind::GroupTensor);
    fn cnnlGetGroupGemmWorkspaceSize(
        handle: cnnlHandle_t, gemm_desc: cnnlGroupGemmDescriptor_t, algo: cnnlGroupGemmAlgo_t,
        groups: i32, is_trans_a: bool, is_trans_b: bool, m_desc: cnnlTensorDescriptor_t,
        n_desc: cnnlTensorDescriptor_t, k_desc: cnnlTensorDescriptor_t,
        alpha_desc: cnnlTensorDescriptor_t, lda_desc: cnnlTensorDescriptor_t,
        a_desc: cnnlGroupGemmTensorDescriptor_t, ldb_desc: cnnlTensorDescriptor_t,
        b_desc: cnnlGroupGemmTensorDescriptor_t, beta_desc: cnnlTensorDescriptor_t,
        ldc_desc: cnnlTensorDescriptor_t, c_desc: cnnlGroupGemmTensorDescriptor_t,
        ldd_desc: cnnlTensorDescriptor_t, d_desc: cnnlGroupGemmTensorDescriptor_t,
        workspace_size: *mut usize,
    ) -> cnnlStatus_t
        = |call, handle, _desc: Handle, _algo: Handle, count: i32, _a: bool, _b: bool, rows: Handle,
           _n: Handle, _k: Handle, _alpha: Handle, _lda: Handle, _of_a: Handle, _ldb: Handle, _of_b: Handle,
           _beta: Handle, _ldc: Handle, _of_c: Handle, _ldd: Handle, _of_d: Handle, size| {
        groups::query(call, handle, (count, rows), size)
    };
    fn cnnlGroupGemm(
        handle: cnnlHandle_t, gemm_desc: cnnlGroupGemmDescriptor_t, algo: cnnlGroupGemmAlgo_t,
        groups: i32, is_trans_a: bool, is_trans_b: bool, m_desc: cnnlTensorDescriptor_t,
        m_array: *const c_void, n_desc: cnnlTensorDescriptor_t, n_array: *const c_void,
        k_desc: cnnlTensorDescriptor_t, k_array: *const c_void, alpha_desc: cnnlTensorDescriptor_t,
        alpha_array: *const c_void, lda_desc: cnnlTensorDescriptor_t, lda_array: *const c_void,
        a_desc: cnnlGroupGemmTensorDescriptor_t, ldb_desc: cnnlTensorDescriptor_t,
        ldb_array: *const c_void, b_desc: cnnlGroupGemmTensorDescriptor_t,
        beta_desc: cnnlTensorDescriptor_t, beta_array: *const c_void,
        ldc_desc: cnnlTensorDescriptor_t, ldc_array: *const c_void,
        c_desc: cnnlGroupGemmTensorDescriptor_t, workspace: *mut c_void, workspace_size: usize,
        ldd_desc: cnnlTensorDescriptor_t, ldd_array: *const c_void,
        d_desc: cnnlGroupGemmTensorDescriptor_t,
    ) -> cnnlStatus_t
        = |call, handle, product, _algo: Handle, count, trans_a, trans_b, m_desc, m, n_desc, n, k_desc, k,
           _alpha: Handle, alpha: Pointer, lda_desc, lda, a, ldb_desc, ldb, b, _beta: Handle, beta: Pointer,
           _ldc: Handle, _c_step: Pointer, c: Handle, room, bytes, ldd_desc, ldd, d| {
        let groups = Groups {
            product,
            count,
            trans: [trans_a, trans_b],
            rows: (m_desc, m),
            sides: [(n_desc, n), (k_desc, k)],
            leading: [(lda_desc, lda), (ldb_desc, ldb), (ldd_desc, ldd)],
            more: [alpha.address(), beta.address(), c.0],
            stacks: [a, b, d],
        };
        groups::multiply_groups(call, handle, &groups, (room, bytes))
    };
}

absent! {
    operators;
    fn cnnlGetQueue(cnnlHandle_t, *mut cnrtQueue_t) -> cnnlStatus_t;
    fn cnnlGetDevice(cnnlHandle_t, *mut CNdev) -> cnnlStatus_t;
    fn cnnlSetTensorDescriptorDim_v2(cnnlTensorDescriptor_t, i32, *const i64) -> cnnlStatus_t;
    fn cnnlGetTensorDescriptorEx_v2(
        cnnlTensorDescriptor_t, *mut cnnlTensorLayout_t, *mut cnnlDataType_t, *mut i32, *mut i64,
        *mut i64,
    ) -> cnnlStatus_t;
    fn cnnlLog(
        cnnlHandle_t, cnnlLogBase_t, cnnlTensorDescriptor_t, *const c_void, cnnlTensorDescriptor_t,
        *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlRsqrt(
        cnnlHandle_t, cnnlTensorDescriptor_t, *const c_void, cnnlTensorDescriptor_t, *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSoftplusForward_v2(
        cnnlHandle_t, *const c_void, *const c_void, cnnlTensorDescriptor_t, *const c_void,
        cnnlTensorDescriptor_t, *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetMaximumWorkspaceSize(
        cnnlHandle_t, cnnlTensorDescriptor_t, *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlMaximum(
        cnnlHandle_t, cnnlTensorDescriptor_t, *const c_void, cnnlTensorDescriptor_t, *const c_void,
        cnnlTensorDescriptor_t, *mut c_void, *mut c_void, usize,
    ) -> cnnlStatus_t;
    fn cnnlGetMinimumWorkspaceSize(
        cnnlHandle_t, cnnlTensorDescriptor_t, *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlMinimum(
        cnnlHandle_t, cnnlTensorDescriptor_t, *const c_void, cnnlTensorDescriptor_t, *const c_void,
        cnnlTensorDescriptor_t, *mut c_void, *mut c_void, usize,
    ) -> cnnlStatus_t;
    fn cnnlSoftmaxForward(
        cnnlHandle_t, cnnlSoftmaxAlgorithm_t, cnnlSoftmaxMode_t, *const c_void,
        cnnlTensorDescriptor_t, *const c_void, *const c_void, cnnlTensorDescriptor_t, *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSetNormDescAttr(
        cnnlNormDescriptor_t, cnnlNormDescAttribute_t, *const c_void, usize,
    ) -> cnnlStatus_t;
    fn cnnlGetLayerNormOpWorkspaceSize(
        cnnlHandle_t, i32, cnnlTensorDescriptor_t, *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlLayerNormForward_v2(
        cnnlHandle_t, cnnlNormDescriptor_t, cnnlTensorDescriptor_t, *const c_void, i32,
        cnnlTensorDescriptor_t, *const c_void, *const c_void, f32, *mut c_void, usize,
        cnnlTensorDescriptor_t, *mut c_void, cnnlTensorDescriptor_t, *mut c_void, *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetCumsumWorkspaceSize(
        cnnlHandle_t, cnnlTensorDescriptor_t, i32, *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlCumsum_v2(
        cnnlHandle_t, cnnlTensorDescriptor_t, *const c_void, i32, bool, bool, cnnlNanPropagation_t,
        cnnlTensorDescriptor_t, *mut c_void, *mut c_void, usize,
    ) -> cnnlStatus_t;
    fn cnnlCreateTransposeDescriptor(*mut cnnlTransposeDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetTransposeDescriptor(cnnlTransposeDescriptor_t, i32, *const i32) -> cnnlStatus_t;
    fn cnnlDestroyTransposeDescriptor(cnnlTransposeDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetTransposeWorkspaceSize(
        cnnlHandle_t, cnnlTensorDescriptor_t, cnnlTransposeDescriptor_t, *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlTranspose_v2(
        cnnlHandle_t, cnnlTransposeDescriptor_t, cnnlTensorDescriptor_t, *const c_void,
        cnnlTensorDescriptor_t, *mut c_void, *mut c_void, usize,
    ) -> cnnlStatus_t;
    fn cnnlGetSplitWorkspaceSize(cnnlHandle_t, i32, *mut usize) -> cnnlStatus_t;
    fn cnnlSplit(
        cnnlHandle_t, i32, i32, cnnlTensorDescriptor_t, *const c_void, *mut c_void, usize,
        *const cnnlTensorDescriptor_t, *mut *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlStridedSlice_v2(
        cnnlHandle_t, cnnlTensorDescriptor_t, *const c_void, *const i64, *const i64, *const i64,
        cnnlTensorDescriptor_t, *mut c_void,
    ) -> cnnlStatus_t;
}
