//! CNNL: handles, descriptors and operators.

use std::ffi::{c_char, c_void};

use crate::table::abi_table;
use crate::types::{
    CNdev, cnnlActivationDescAttribute_t, cnnlActivationDescriptor_t, cnnlAtomicsMode_t,
    cnnlCastDataType_t, cnnlComputationPreference_t, cnnlDataType_t, cnnlDivDescAttribute_t,
    cnnlDivDescriptor_t, cnnlGroupGemmAlgo_t, cnnlGroupGemmDescriptor_t,
    cnnlGroupGemmTensorDescriptor_t, cnnlGroupGemmTensorMode_t, cnnlHandle_t, cnnlIndicesType_t,
    cnnlLogBase_t, cnnlLogicOp_t, cnnlMatMulAlgo_t, cnnlMatMulDescAttribute_t,
    cnnlMatMulDescriptor_t, cnnlMatMulExAlgo_t, cnnlMatMulExDescAttribute_t,
    cnnlMatMulExDescriptor_t, cnnlMatMulExHeuristicResult_t, cnnlMatMulExPrefer_t,
    cnnlMatMulHeuristicResult_t, cnnlMatMulPrefer_t, cnnlNanPropagation_t, cnnlNormDescAttribute_t,
    cnnlNormDescriptor_t, cnnlOpTensorDesc_t, cnnlOpTensorDescriptor_t, cnnlPointerMode_t,
    cnnlQuantizeExDescriptor_t, cnnlQuantizeMode_t, cnnlQuantizeRoundMode_t, cnnlQuantizeScheme_t,
    cnnlReduceDescriptor_t, cnnlReduceIndices_t, cnnlReduceOp_t, cnnlScatterMode_t,
    cnnlScatterNdMode_t, cnnlSoftmaxAlgorithm_t, cnnlSoftmaxMode_t, cnnlSortType_t, cnnlStatus_t,
    cnnlTensorDescriptor_t, cnnlTensorLayout_t, cnnlTransposeDescriptor_t, cnnlTrigonDescriptor_t,
    cnnlTrigonFunctionMode_t, cnrtQueue_t,
};

abi_table! {
    /// Handles, descriptors and operators.
    pub struct Operators: Cnnl;

    fn cnnlGetLibVersion(major: *mut i32, minor: *mut i32, patch: *mut i32);
    fn cnnlGetErrorString(status: cnnlStatus_t) -> *const c_char;
    fn cnnlCreate(handle: *mut cnnlHandle_t) -> cnnlStatus_t;
    fn cnnlDestroy(handle: cnnlHandle_t) -> cnnlStatus_t;
    fn cnnlSetQueue(handle: cnnlHandle_t, queue: cnrtQueue_t) -> cnnlStatus_t;
    fn cnnlGetQueue(handle: cnnlHandle_t, queue: *mut cnrtQueue_t) -> cnnlStatus_t;
    fn cnnlGetDevice(handle: cnnlHandle_t, device: *mut CNdev) -> cnnlStatus_t;
    fn cnnlSetAtomicsMode(handle: cnnlHandle_t, atomics_mode: cnnlAtomicsMode_t) -> cnnlStatus_t;
    #[second]
    fn cnnlSetQuantizeRoundMode(
        handle: cnnlHandle_t, round_mode: cnnlQuantizeRoundMode_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetReservedMemSize(mem_size: *mut u64) -> cnnlStatus_t;
    #[second]
    fn cnnlGetSizeOfDataType(data_type: cnnlDataType_t, size: *mut usize) -> cnnlStatus_t;
    fn cnnlCreateTensorDescriptor(desc: *mut cnnlTensorDescriptor_t) -> cnnlStatus_t;
    fn cnnlResetTensorDescriptor(desc: cnnlTensorDescriptor_t) -> cnnlStatus_t;
    fn cnnlDestroyTensorDescriptor(desc: cnnlTensorDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetTensorDescriptor_v2(
        desc: cnnlTensorDescriptor_t, layout: cnnlTensorLayout_t, dtype: cnnlDataType_t, dimNb: i32,
        dimSize: *const i64,
    ) -> cnnlStatus_t;
    fn cnnlSetTensorDescriptorEx_v2(
        desc: cnnlTensorDescriptor_t, layout: cnnlTensorLayout_t, dtype: cnnlDataType_t, dimNb: i32,
        dimSize: *const i64, dimStride: *const i64,
    ) -> cnnlStatus_t;
    fn cnnlSetTensorDescriptorDim_v2(
        desc: cnnlTensorDescriptor_t, dimNb: i32, dimSize: *const i64,
    ) -> cnnlStatus_t;
    fn cnnlSetTensorDescriptorPointerMode(
        desc: cnnlTensorDescriptor_t, pointer_mode: cnnlPointerMode_t,
    ) -> cnnlStatus_t;
    fn cnnlGetTensorDescriptorEx_v2(
        desc: cnnlTensorDescriptor_t, layout: *mut cnnlTensorLayout_t, dtype: *mut cnnlDataType_t,
        dimNb: *mut i32, dimSize: *mut i64, dimStride: *mut i64,
    ) -> cnnlStatus_t;
    fn cnnlCreateMatMulDescriptor or cnnlMatMulDescCreate(
        matmul_desc: *mut cnnlMatMulDescriptor_t,
    ) -> cnnlStatus_t;
    fn cnnlDestroyMatMulDescriptor or cnnlMatMulDescDestroy(
        matmul_desc: cnnlMatMulDescriptor_t,
    ) -> cnnlStatus_t;
    fn cnnlSetMatMulDescAttr(
        matmul_desc: cnnlMatMulDescriptor_t, attr: cnnlMatMulDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t;
    fn cnnlCreateMatMulAlgo or cnnlMatMulAlgoCreate(algo: *mut cnnlMatMulAlgo_t) -> cnnlStatus_t;
    fn cnnlDestroyMatMulAlgo or cnnlMatMulAlgoDestroy(algo: cnnlMatMulAlgo_t) -> cnnlStatus_t;
    fn cnnlCreateMatMulHeuristicResult(result: *mut cnnlMatMulHeuristicResult_t) -> cnnlStatus_t;
    fn cnnlDestroyMatMulHeuristicResult(result: cnnlMatMulHeuristicResult_t) -> cnnlStatus_t;
    fn cnnlGetMatMulAlgoHeuristic(
        handle: cnnlHandle_t, matmul_desc: cnnlMatMulDescriptor_t, a_desc: cnnlTensorDescriptor_t,
        b_desc: cnnlTensorDescriptor_t, c_desc: cnnlTensorDescriptor_t,
        d_desc: cnnlTensorDescriptor_t, preference: cnnlMatMulPrefer_t, requested_algo_count: i32,
        result_array: *mut cnnlMatMulHeuristicResult_t, return_algo_count: *mut i32,
    ) -> cnnlStatus_t;
    fn cnnlGetMatMulHeuristicResult(
        result: cnnlMatMulHeuristicResult_t, algo: cnnlMatMulAlgo_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlMatMul_v2(
        handle: cnnlHandle_t, matmul_desc: cnnlMatMulDescriptor_t, algo: cnnlMatMulAlgo_t,
        alpha: *const c_void, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, beta: *const c_void,
        c_desc: cnnlTensorDescriptor_t, c: *mut c_void, workspace: *mut c_void,
        workspace_size: usize, d_desc: cnnlTensorDescriptor_t, d: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetBatchMatMulExAlgoHeuristic or cnnlGetBatchMatMulAlgoHeuristic(
        handle: cnnlHandle_t, bmm_ex_desc: cnnlMatMulDescriptor_t, a_desc: cnnlTensorDescriptor_t,
        b_desc: cnnlTensorDescriptor_t, c_desc: cnnlTensorDescriptor_t,
        preference: cnnlMatMulPrefer_t, requested_algo_count: i32,
        result_array: *mut cnnlMatMulHeuristicResult_t, return_algo_count: *mut i32,
    ) -> cnnlStatus_t;
    fn cnnlGetBatchMatMulExHeuristicResult or cnnlGetBatchMatMulHeuristicResult(
        result: cnnlMatMulHeuristicResult_t, algo: cnnlMatMulAlgo_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlBatchMatMulEx or cnnlBatchMatMulBCast_v2(
        handle: cnnlHandle_t, bmm_ex_desc: cnnlMatMulDescriptor_t, algo: cnnlMatMulAlgo_t,
        alpha: *const c_void, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, beta: *const c_void,
        c_desc: cnnlTensorDescriptor_t, c: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateMatMulExDescriptor(matmulex_desc: *mut cnnlMatMulExDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyMatMulExDescriptor(matmulex_desc: cnnlMatMulExDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlSetMatMulExDescAttr(
        matmulex_desc: cnnlMatMulExDescriptor_t, attr: cnnlMatMulExDescAttribute_t,
        buf: *const c_void, size_in_bytes: usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetMatMulExBias(
        matmulex_desc: cnnlMatMulExDescriptor_t, bias_desc: cnnlTensorDescriptor_t,
        bias_ptr: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateMatMulExAlgo(algo: *mut cnnlMatMulExAlgo_t) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyMatMulExAlgo(algo: cnnlMatMulExAlgo_t) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateMatMulExHeuristicResult(
        result: *mut cnnlMatMulExHeuristicResult_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyMatMulExHeuristicResult(result: cnnlMatMulExHeuristicResult_t) -> cnnlStatus_t;
    #[second]
    fn cnnlGetMatMulExAlgoHeuristic(
        handle: cnnlHandle_t, matmulex_desc: cnnlMatMulExDescriptor_t,
        a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, d_desc: cnnlTensorDescriptor_t,
        preference: cnnlMatMulExPrefer_t, requestedAlgoCount: i32,
        resultArray: *mut cnnlMatMulExHeuristicResult_t, returnAlgoCount: *mut i32,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetMatMulExHeuristicResult(
        result: cnnlMatMulExHeuristicResult_t, algo: cnnlMatMulExAlgo_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlMatMulEx_v2(
        handle: cnnlHandle_t, matmulex_desc: cnnlMatMulExDescriptor_t, algo: cnnlMatMulExAlgo_t,
        alpha: *const c_void, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, beta: *const c_void,
        c_desc: cnnlTensorDescriptor_t, c: *mut c_void, workspace: *mut c_void,
        workspace_size: usize, d_desc: cnnlTensorDescriptor_t, d: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateGroupGemmDescriptor(desc: *mut cnnlGroupGemmDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyGroupGemmDescriptor(gmm_desc: cnnlGroupGemmDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlSetGroupGemmDescAttr(
        desc: cnnlGroupGemmDescriptor_t, attr: cnnlMatMulDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetGroupGemmPerRowColScaleBiasAct(
        gmm_desc: cnnlGroupGemmDescriptor_t, column_scale_desc: cnnlGroupGemmTensorDescriptor_t,
        row_scale_desc: cnnlGroupGemmTensorDescriptor_t, bias_desc: cnnlGroupGemmTensorDescriptor_t,
        active_desc: cnnlActivationDescriptor_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetGroupGemmGroupwiseScale(
        gmm_desc: cnnlGroupGemmDescriptor_t, scale_attr: cnnlMatMulDescAttribute_t, channels: i32,
        scale_block_size: i32, channel_location: i32, scale_desc: cnnlTensorDescriptor_t,
        scale: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateGroupGemmTensorDescriptor(
        desc: *mut cnnlGroupGemmTensorDescriptor_t, mode: cnnlGroupGemmTensorMode_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetGroupGemmTensorDescriptor(
        desc: cnnlGroupGemmTensorDescriptor_t, dtype: cnnlDataType_t, pointer: *mut c_void,
        pointer_mode: cnnlPointerMode_t, infos: *mut i64,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetGroupGemmTensorGatherIdxDesc(
        desc: cnnlGroupGemmTensorDescriptor_t, data_dtype: cnnlDataType_t,
        index_dtype: cnnlDataType_t, src_ptr: *mut c_void, indices_ptr: *mut c_void,
        gather_size: i64, src_stride: i64, index_num: i64,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyGroupGemmTensorDescriptor(desc: cnnlGroupGemmTensorDescriptor_t) -> cnnlStatus_t;
    #[second]
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
    ) -> cnnlStatus_t;
    #[second]
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
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateQuantizeExDescriptor(quant_desc: *mut cnnlQuantizeExDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyQuantizeExDescriptor(quant_desc: cnnlQuantizeExDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlSetQuantizeExDescriptor(
        quant_desc: cnnlQuantizeExDescriptor_t, position_desc: cnnlTensorDescriptor_t,
        position_ptr: *const c_void, scale_desc: cnnlTensorDescriptor_t, scale_ptr: *const c_void,
        offset_desc: cnnlTensorDescriptor_t, offset_ptr: *const c_void,
        quant_scheme: cnnlQuantizeScheme_t, quant_mode: cnnlQuantizeMode_t,
        pointer_mode: cnnlPointerMode_t, onchip_dtype: cnnlDataType_t, channel_group_size: i64,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetQuantizeExDescriptorQuantSchemeAndDtype(
        quant_desc: cnnlQuantizeExDescriptor_t, quant_scheme: cnnlQuantizeScheme_t,
        onchip_dtype: cnnlDataType_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetQuantizeExDescriptorScalarQuant(
        quant_desc: cnnlQuantizeExDescriptor_t, position_ptr: *const c_void,
        scale_ptr: *const c_void, offset_ptr: *const c_void, pointer_mode: cnnlPointerMode_t,
        quant_scheme: cnnlQuantizeScheme_t, quant_mode: cnnlQuantizeMode_t,
        onchip_dtype: cnnlDataType_t,
    ) -> cnnlStatus_t;
    fn cnnlCreateOpTensorDescriptor(op_tensor_desc: *mut cnnlOpTensorDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetOpTensorDescriptor(
        op_tensor_desc: cnnlOpTensorDescriptor_t, op_tensor_op: cnnlOpTensorDesc_t,
        op_tensor_comp_type: cnnlDataType_t, op_tensor_nan_opt: cnnlNanPropagation_t,
    ) -> cnnlStatus_t;
    fn cnnlDestroyOpTensorDescriptor(op_tensor_desc: cnnlOpTensorDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetOpTensorWorkspaceSize(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlOpTensor(
        handle: cnnlHandle_t, op_tensor_desc: cnnlOpTensorDescriptor_t, alpha1: *const c_void,
        a_desc: cnnlTensorDescriptor_t, a: *const c_void, alpha2: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, workspace: *mut c_void,
        workspace_size: usize, beta: *const c_void, c_desc: cnnlTensorDescriptor_t, c: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlCreateDivDescriptor(div_desc: *mut cnnlDivDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetDivDescAttr(
        div_desc: cnnlDivDescriptor_t, attr: cnnlDivDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t;
    fn cnnlDestroyDivDescriptor(div_desc: cnnlDivDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetDivWorkspaceSize_v2(
        handle: cnnlHandle_t, div_desc: cnnlDivDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        y_desc: cnnlTensorDescriptor_t, z_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlDiv_v3(
        handle: cnnlHandle_t, div_desc: cnnlDivDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        x: *const c_void, y_desc: cnnlTensorDescriptor_t, y: *const c_void, workspace: *mut c_void,
        workspace_size: usize, z_desc: cnnlTensorDescriptor_t, z: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlTransform_v3(
        handle: cnnlHandle_t, pointer_mode: cnnlPointerMode_t, alpha: *const c_void,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void, beta: *const c_void,
        workspace: *mut c_void, workspace_size: usize, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetTransformWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlExp(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlLog(
        handle: cnnlHandle_t, base: cnnlLogBase_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlLog1p_v2(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSqrt(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlRsqrt(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlReciprocal(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSquare(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlAbs(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlNegTensor(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSoftplusForward_v2(
        handle: cnnlHandle_t, beta: *const c_void, threshold: *const c_void,
        x_desc: cnnlTensorDescriptor_t, x: *const c_void, y_desc: cnnlTensorDescriptor_t,
        y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetMaximumWorkspaceSize(
        handle: cnnlHandle_t, c_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlMaximum(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, c_desc: cnnlTensorDescriptor_t,
        c: *mut c_void, workspace: *mut c_void, workspace_size: usize,
    ) -> cnnlStatus_t;
    fn cnnlGetMinimumWorkspaceSize(
        handle: cnnlHandle_t, c_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlMinimum(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, a: *const c_void,
        b_desc: cnnlTensorDescriptor_t, b: *const c_void, c_desc: cnnlTensorDescriptor_t,
        c: *mut c_void, workspace: *mut c_void, workspace_size: usize,
    ) -> cnnlStatus_t;
    fn cnnlGetClipWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, min_desc: cnnlTensorDescriptor_t,
        max_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlClip_v3(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, x: *const c_void,
        min_desc: cnnlTensorDescriptor_t, min: *const c_void, max_desc: cnnlTensorDescriptor_t,
        max: *const c_void, workspace: *mut c_void, workspace_size: usize,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetLogicOpWorkspaceSize(
        handle: cnnlHandle_t, a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlLogicOp(
        handle: cnnlHandle_t, logic_op: cnnlLogicOp_t, a_desc: cnnlTensorDescriptor_t,
        a: *const c_void, b_desc: cnnlTensorDescriptor_t, b: *const c_void, workspace: *mut c_void,
        workspace_size: usize, c_desc: cnnlTensorDescriptor_t, c: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetSelectV2WorkspaceSize(
        handle: cnnlHandle_t, condition_desc: cnnlTensorDescriptor_t,
        then_desc: cnnlTensorDescriptor_t, else_desc: cnnlTensorDescriptor_t,
        workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlSelectV2(
        handle: cnnlHandle_t, condition_desc: cnnlTensorDescriptor_t, condition_ptr: *const c_void,
        then_desc: cnnlTensorDescriptor_t, then_ptr: *const c_void,
        else_desc: cnnlTensorDescriptor_t, else_ptr: *const c_void, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output_ptr: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlCreateActivationDescriptor(
        activation_desc: *mut cnnlActivationDescriptor_t,
    ) -> cnnlStatus_t;
    fn cnnlSetActivationDescAttr(
        activation_desc: cnnlActivationDescriptor_t, attr: cnnlActivationDescAttribute_t,
        buf: *const c_void, size_in_bytes: usize,
    ) -> cnnlStatus_t;
    fn cnnlDestroyActivationDescriptor(activation_desc: cnnlActivationDescriptor_t) -> cnnlStatus_t;
    fn cnnlActivationForward(
        handle: cnnlHandle_t, activation_desc: cnnlActivationDescriptor_t, alpha: *const c_void,
        x_desc: cnnlTensorDescriptor_t, x: *const c_void, beta: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateTrigonDescriptor(trigon_desc: *mut cnnlTrigonDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlSetTrigonDescriptor_v2(
        trigon_desc: cnnlTrigonDescriptor_t, mode: cnnlTrigonFunctionMode_t,
        prefer: cnnlComputationPreference_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyTrigonDescriptor(trigon_desc: cnnlTrigonDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlTrigonForward(
        handle: cnnlHandle_t, trigon_desc: cnnlTrigonDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        x: *const c_void, y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlCastDataType(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        cast_type: cnnlCastDataType_t, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlFill_v4(
        handle: cnnlHandle_t, value_desc: cnnlTensorDescriptor_t, value: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlArange_v3(
        handle: cnnlHandle_t, start: *const c_void, step: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlCreateReduceDescriptor(reduce_desc: *mut cnnlReduceDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetReduceDescriptor_v2(
        reduce_desc: cnnlReduceDescriptor_t, axis: *mut i32, axis_num: i32,
        reduce_op: cnnlReduceOp_t, tensor_type: cnnlDataType_t,
        nan_propagation: cnnlNanPropagation_t, tensor_indices: cnnlReduceIndices_t,
        indices_type: cnnlIndicesType_t, p: f32,
    ) -> cnnlStatus_t;
    fn cnnlDestroyReduceDescriptor(reduce_desc: cnnlReduceDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetReduceOpWorkspaceSize_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, indices_desc: cnnlTensorDescriptor_t,
        reduce_op: cnnlReduceDescriptor_t, workspace_size_inbytes: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlReduce_v2(
        handle: cnnlHandle_t, reduce_desc: cnnlReduceDescriptor_t,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void, alpha: *const c_void,
        beta: *const c_void, workspace: *mut c_void, workspace_size: usize,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        indices_desc: cnnlTensorDescriptor_t, indices: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlSoftmaxForward(
        handle: cnnlHandle_t, algorithm: cnnlSoftmaxAlgorithm_t, mode: cnnlSoftmaxMode_t,
        alpha: *const c_void, x_desc: cnnlTensorDescriptor_t, x: *const c_void, beta: *const c_void,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlCreateNormDesc(norm_desc: *mut cnnlNormDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetNormDescAttr(
        norm_desc: cnnlNormDescriptor_t, attr: cnnlNormDescAttribute_t, buf: *const c_void,
        size_in_bytes: usize,
    ) -> cnnlStatus_t;
    fn cnnlDestroyNormDesc(norm_desc: cnnlNormDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetRmsNormOpWorkspaceSize(
        handle: cnnlHandle_t, axis: i32, x_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlRmsNormForward_v2(
        handle: cnnlHandle_t, axis: i32, eps: f32, rmsnormforward_desc: cnnlNormDescriptor_t,
        x_desc: cnnlTensorDescriptor_t, x: *const c_void, scale_bias_desc: cnnlTensorDescriptor_t,
        scale: *const c_void, bias: *const c_void, workspace: *mut c_void, workspace_size: usize,
        y_desc: cnnlTensorDescriptor_t, y: *mut c_void, rms_desc: cnnlTensorDescriptor_t,
        saved_rms: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetLayerNormOpWorkspaceSize(
        handle: cnnlHandle_t, axis: i32, x_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlLayerNormForward_v2(
        handle: cnnlHandle_t, layernorm_desc: cnnlNormDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        x: *const c_void, axis: i32, filter_bias_desc: cnnlTensorDescriptor_t,
        filter: *const c_void, bias: *const c_void, eps: f32, workspace: *mut c_void,
        workspace_size: usize, y_desc: cnnlTensorDescriptor_t, y: *mut c_void,
        mean_rstd_desc: cnnlTensorDescriptor_t, saved_mean: *mut c_void, saved_rstd: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetCumsumWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, axis: i32, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlCumsum_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void, axis: i32,
        exclusive: bool, reverse: bool, nan_propagation: cnnlNanPropagation_t,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t;
    fn cnnlGetTopKTensorWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, k: i32, dim: i32, largest: bool,
        output_desc: cnnlTensorDescriptor_t, index_desc: cnnlTensorDescriptor_t,
        workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlTopKTensor_v3(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void, k: i32,
        dim: i32, largest: bool, sorted: bool, lower_index_first: bool, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        index_desc: cnnlTensorDescriptor_t, index: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetSortPairsWorkspaceSize(
        handle: cnnlHandle_t, keys_in_desc: cnnlTensorDescriptor_t,
        values_in_desc: cnnlTensorDescriptor_t, keys_out_desc: cnnlTensorDescriptor_t,
        values_out_desc: cnnlTensorDescriptor_t, begin_bit: usize, end_bit: usize,
        sort_type: cnnlSortType_t, k: u64, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSortPairs(
        handle: cnnlHandle_t, keys_in_desc: cnnlTensorDescriptor_t, keys_in: *const c_void,
        values_in_desc: cnnlTensorDescriptor_t, values_in: *const c_void, begin_bit: usize,
        end_bit: usize, sort_type: cnnlSortType_t, k: u64, workspace: *mut c_void,
        workspace_size: usize, keys_out_desc: cnnlTensorDescriptor_t, keys_out: *mut c_void,
        values_out_desc: cnnlTensorDescriptor_t, values_out: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetCopyWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        output_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlCopy_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t;
    fn cnnlCreateTransposeDescriptor(desc: *mut cnnlTransposeDescriptor_t) -> cnnlStatus_t;
    fn cnnlSetTransposeDescriptor(
        desc: cnnlTransposeDescriptor_t, dims: i32, permute: *const i32,
    ) -> cnnlStatus_t;
    fn cnnlDestroyTransposeDescriptor(desc: cnnlTransposeDescriptor_t) -> cnnlStatus_t;
    fn cnnlGetTransposeWorkspaceSize(
        handle: cnnlHandle_t, x_desc: cnnlTensorDescriptor_t, desc: cnnlTransposeDescriptor_t,
        size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlTranspose_v2(
        handle: cnnlHandle_t, desc: cnnlTransposeDescriptor_t, x_desc: cnnlTensorDescriptor_t,
        x: *const c_void, y_desc: cnnlTensorDescriptor_t, y: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t;
    fn cnnlGetConcatWorkspaceSize(
        handle: cnnlHandle_t, concat_num: i32, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlConcat(
        handle: cnnlHandle_t, concat_num: i32, axis: i32,
        inputs_desc: *const cnnlTensorDescriptor_t, inputs: *const *const c_void,
        workspace: *mut c_void, workspace_size: usize, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetSplitWorkspaceSize(
        handle: cnnlHandle_t, split_num: i32, size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlSplit(
        handle: cnnlHandle_t, split_num: i32, axis: i32, input_desc: cnnlTensorDescriptor_t,
        input: *const c_void, workspace: *mut c_void, workspace_size: usize,
        output_desc: *const cnnlTensorDescriptor_t, outputs: *mut *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlStridedSlice_v2(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        begin: *const i64, end: *const i64, stride: *const i64, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlExpand(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlEmbeddingForward_v2(
        handle: cnnlHandle_t, filter_desc: cnnlTensorDescriptor_t, filter: *const c_void,
        indices_desc: cnnlTensorDescriptor_t, indices: *const c_void, padding_idx: i32,
        max_norm: *const f32, norm_type: *const f32, output_desc: cnnlTensorDescriptor_t,
        output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlIndexSelect(
        handle: cnnlHandle_t, dim: i32, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    fn cnnlGetGatherWorkspaceSize(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t,
        index_desc: cnnlTensorDescriptor_t, output_desc: cnnlTensorDescriptor_t, dim: i32,
        size: *mut usize,
    ) -> cnnlStatus_t;
    fn cnnlGather_v2(
        handle: cnnlHandle_t, dim: i32, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlBatchGatherV2_v2(
        handle: cnnlHandle_t, axis: i32, batch_dims: i32, mode: i32,
        params_desc: cnnlTensorDescriptor_t, params: *const c_void,
        indices_desc: cnnlTensorDescriptor_t, indices: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetIndexAddWorkspaceSize(
        handle: cnnlHandle_t, input_a_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlIndexAdd_v2(
        handle: cnnlHandle_t, dim: i64, input_a_desc: cnnlTensorDescriptor_t, input_a: *mut c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void,
        input_b_desc: cnnlTensorDescriptor_t, input_b: *const c_void, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetScatterWorkspaceSize(
        handle: cnnlHandle_t, index_desc: cnnlTensorDescriptor_t, size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlScatter_v2(
        handle: cnnlHandle_t, dim: i32, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        index_desc: cnnlTensorDescriptor_t, index: *const c_void, src_desc: cnnlTensorDescriptor_t,
        src: *const c_void, workspace: *mut c_void, workspace_size: usize,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void, mode: cnnlScatterMode_t,
    ) -> cnnlStatus_t;
    fn cnnlScatterNd_v2(
        handle: cnnlHandle_t, mode: cnnlScatterNdMode_t, indices_desc: cnnlTensorDescriptor_t,
        indices: *const c_void, updates_desc: cnnlTensorDescriptor_t, updates: *const c_void,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
}
