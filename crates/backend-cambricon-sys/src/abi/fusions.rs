//! CNNL_EXTRA: operators that are fused for language models.

use std::ffi::c_void;

use crate::table::abi_table;
use crate::types::{
    cnnlActivationDescriptor_t, cnnlBiasActivationGluAlgo_t, cnnlBiasActivationGluDescriptor_t,
    cnnlComputationPreference_t, cnnlDataType_t, cnnlFuseNormDescriptor_t, cnnlHandle_t,
    cnnlLLMQuantAlgo_t, cnnlLLMQuantMatmulDescriptor_t, cnnlQuantizeExDescriptor_t,
    cnnlQuantizeScheme_t, cnnlRotaryEmbeddingDescriptor_t, cnnlScaledDotProductAttnDescriptor_t,
    cnnlScaledDotProductAttnQuantizeDescriptor_t, cnnlSeqDataLayout_t,
    cnnlSingleQueryCachedKVAttnDescriptor_t, cnnlStatus_t, cnnlTensorDescriptor_t,
    cnnlTransformerNormType_t,
};

abi_table! {
    /// Fused operators.
    pub struct Fusions: CnnlExtra;

    #[second]
    fn cnnlExtraGetLibVersion(major: *mut i32, minor: *mut i32, patch: *mut i32);
    #[second]
    fn cnnlGetFuseNormWorkspaceSize(
        handle: cnnlHandle_t, fuse_norm_desc: cnnlFuseNormDescriptor_t,
        input_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlFuseNorm_v3(
        handle: cnnlHandle_t, input_desc: cnnlTensorDescriptor_t, input: *const c_void,
        input_scale_desc: cnnlTensorDescriptor_t, input_scale: *const c_void,
        norm_scale_desc: cnnlTensorDescriptor_t, norm_scale: *const c_void,
        norm_bias_desc: cnnlTensorDescriptor_t, norm_bias: *const c_void,
        residual_desc: cnnlTensorDescriptor_t, residual: *const c_void,
        bias_desc: cnnlTensorDescriptor_t, bias: *const c_void, eps: f32,
        quant_scheme: cnnlQuantizeScheme_t, store_output_before_norm: bool,
        norm_type: cnnlTransformerNormType_t, math_pre: cnnlDataType_t, workspace: *mut c_void,
        workspace_size: usize, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        output_before_norm_desc: cnnlTensorDescriptor_t, output_before_norm: *mut c_void,
        output_quant_scale_desc: cnnlTensorDescriptor_t, output_quant_scale: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateBiasActivationGluDescriptor(
        desc: *mut cnnlBiasActivationGluDescriptor_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetBiasActivationGluDescriptor(
        desc: cnnlBiasActivationGluDescriptor_t, activation_desc: cnnlActivationDescriptor_t,
        algo: cnnlBiasActivationGluAlgo_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyBiasActivationGluDescriptor(
        desc: cnnlBiasActivationGluDescriptor_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlBiasActivationGluForward_v2(
        handle: cnnlHandle_t, compute_desc: cnnlBiasActivationGluDescriptor_t,
        input_desc: cnnlTensorDescriptor_t, input: *const c_void, bias_desc: cnnlTensorDescriptor_t,
        bias: *const c_void, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateRotaryEmbeddingDescriptor(
        desc: *mut cnnlRotaryEmbeddingDescriptor_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetRotaryEmbeddingDescriptor_v2(
        desc: cnnlRotaryEmbeddingDescriptor_t, conj: bool, interleaved: bool, is_cross_input: bool,
        is_cross_output: bool, seq_layout: cnnlSeqDataLayout_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyRotaryEmbeddingDescriptor(desc: cnnlRotaryEmbeddingDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlRotaryEmbedding_v2(
        handle: cnnlHandle_t, rotary_embedding_desc: cnnlRotaryEmbeddingDescriptor_t,
        x1_desc: cnnlTensorDescriptor_t, x1: *const c_void, x2_desc: cnnlTensorDescriptor_t,
        x2: *const c_void, cos_desc: cnnlTensorDescriptor_t, cos: *const c_void,
        sin_desc: cnnlTensorDescriptor_t, sin: *const c_void, freqs_desc: cnnlTensorDescriptor_t,
        freqs: *const c_void, cu_seqlens_desc: cnnlTensorDescriptor_t, cu_seqlens: *const c_void,
        workspace: *mut c_void, workspace_size: usize, out1_desc: cnnlTensorDescriptor_t,
        out1: *mut c_void, out2_desc: cnnlTensorDescriptor_t, out2: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGroupQuant(
        handle: cnnlHandle_t, static_quant_layout: cnnlQuantizeScheme_t,
        dynamic_quant_layout: cnnlQuantizeScheme_t, input_desc: cnnlTensorDescriptor_t,
        input: *const c_void, input_scale_desc: cnnlTensorDescriptor_t, input_scale: *const c_void,
        input_zero_desc: cnnlTensorDescriptor_t, input_zero: *const c_void,
        token_count_desc: cnnlTensorDescriptor_t, token_count: *const c_void,
        gather_index_desc: cnnlTensorDescriptor_t, gather_index: *const c_void,
        gather_index_start_position_desc: cnnlTensorDescriptor_t,
        gather_index_start_position: *const c_void, scale_upper_bound_desc: cnnlTensorDescriptor_t,
        scale_upper_bound: *const c_void, output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
        output_scale_desc: cnnlTensorDescriptor_t, output_scale: *mut c_void,
        output_zero_desc: cnnlTensorDescriptor_t, output_zero: *mut c_void, workspace: *mut c_void,
        workspace_size: usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlCreateLLMQuantMatmulDescriptor(
        op_desc: *mut cnnlLLMQuantMatmulDescriptor_t,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSetLLMQuantMatmulDescriptor_v2(
        op_desc: cnnlLLMQuantMatmulDescriptor_t, a_quant_desc: cnnlQuantizeExDescriptor_t,
        b_quant_desc: cnnlQuantizeExDescriptor_t, c_quant_desc: cnnlQuantizeExDescriptor_t,
        d_quant_desc: cnnlQuantizeExDescriptor_t, act_desc: cnnlActivationDescriptor_t,
        compute_dtype: cnnlDataType_t, quant_algo: cnnlLLMQuantAlgo_t, trans_a: bool, trans_b: bool,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlDestroyLLMQuantMatmulDescriptor(op_desc: cnnlLLMQuantMatmulDescriptor_t) -> cnnlStatus_t;
    #[second]
    fn cnnlGetLLMQuantMatmulWorkspaceSize(
        handle: cnnlHandle_t, op_desc: cnnlLLMQuantMatmulDescriptor_t,
        a_desc: cnnlTensorDescriptor_t, b_desc: cnnlTensorDescriptor_t,
        c_desc: cnnlTensorDescriptor_t, d_desc: cnnlTensorDescriptor_t, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlLLMQuantMatmul(
        handle: cnnlHandle_t, op_desc: cnnlLLMQuantMatmulDescriptor_t,
        alpha_desc: cnnlTensorDescriptor_t, alpha: *const c_void,
        a_descs: *const cnnlTensorDescriptor_t, a_tensors: *mut *const c_void,
        b_descs: *const cnnlTensorDescriptor_t, b_tensors: *mut *const c_void,
        beta_desc: cnnlTensorDescriptor_t, beta: *const c_void,
        c_descs: *const cnnlTensorDescriptor_t, c_tensors: *mut *const c_void,
        bias_desc: cnnlTensorDescriptor_t, bias: *const c_void,
        gemm_output_scale_desc: cnnlTensorDescriptor_t, gemm_output_scale: *const c_void,
        gemm_output_zero_desc: cnnlTensorDescriptor_t, gemm_output_zero: *const c_void,
        workspace: *mut c_void, workspace_size: usize, d_descs: *const cnnlTensorDescriptor_t,
        d_tensors: *mut *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetSingleQueryCachedKVAttnWorkspaceSize_v2(
        handle: cnnlHandle_t, op_desc: cnnlSingleQueryCachedKVAttnDescriptor_t,
        query_desc: cnnlTensorDescriptor_t, key_cache_desc: cnnlTensorDescriptor_t,
        value_cache_desc: cnnlTensorDescriptor_t, max_context_len: i32, workspace_size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlSingleQueryCachedKVAttn_v3(
        handle: cnnlHandle_t, op_desc: cnnlSingleQueryCachedKVAttnDescriptor_t,
        query_desc: cnnlTensorDescriptor_t, query: *const c_void,
        key_cache_desc: cnnlTensorDescriptor_t, key_cache: *const c_void,
        value_cache_desc: cnnlTensorDescriptor_t, value_cache: *const c_void,
        key_cache_quant_scale_desc: cnnlTensorDescriptor_t, key_cache_quant_scale: *const c_void,
        value_cache_quant_scale_desc: cnnlTensorDescriptor_t,
        value_cache_quant_scale: *const c_void, context_lens_desc: cnnlTensorDescriptor_t,
        context_lens: *const c_void, block_tables_desc: cnnlTensorDescriptor_t,
        block_tables: *const c_void, alibi_slope_desc: cnnlTensorDescriptor_t,
        alibi_slope: *const c_void, cache_quantize_layout: cnnlQuantizeScheme_t,
        max_context_len: i32, window_size_left: i32, window_size_right: i32, qk_scale: f32,
        return_lse: bool, workspace: *mut c_void, workspace_size: usize,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void, lse_desc: cnnlTensorDescriptor_t,
        lse: *mut c_void,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlGetScaledDotProductAttnWorkspaceSize_v3(
        handle: cnnlHandle_t, desc: cnnlScaledDotProductAttnDescriptor_t,
        quant_desc: cnnlScaledDotProductAttnQuantizeDescriptor_t,
        query_desc: cnnlTensorDescriptor_t, key_desc: cnnlTensorDescriptor_t,
        value_desc: cnnlTensorDescriptor_t, cu_seqlens_q_desc: cnnlTensorDescriptor_t,
        cu_seqlens_k_desc: cnnlTensorDescriptor_t, attn_bias_desc: cnnlTensorDescriptor_t,
        alibi_slopes_desc: cnnlTensorDescriptor_t, block_tables_desc: cnnlTensorDescriptor_t,
        max_seq_q: i32, max_seq_k: i32, causal: bool, window_size_left: i32, window_size_right: i32,
        return_softmax_lse: bool, act_pref: cnnlComputationPreference_t,
        compute_dtype: cnnlDataType_t, size: *mut usize,
    ) -> cnnlStatus_t;
    #[second]
    fn cnnlScaledDotProductAttn_v4(
        handle: cnnlHandle_t, desc: cnnlScaledDotProductAttnDescriptor_t,
        quant_desc: cnnlScaledDotProductAttnQuantizeDescriptor_t,
        query_desc: cnnlTensorDescriptor_t, query: *const c_void, key_desc: cnnlTensorDescriptor_t,
        key: *const c_void, value_desc: cnnlTensorDescriptor_t, value: *const c_void,
        cu_seqlens_q_desc: cnnlTensorDescriptor_t, cu_seqlens_q: *const c_void,
        cu_seqlens_k_desc: cnnlTensorDescriptor_t, cu_seqlens_k: *const c_void,
        seqused_k_desc: cnnlTensorDescriptor_t, seqused_k: *const c_void,
        attn_bias_desc: cnnlTensorDescriptor_t, attn_bias: *const c_void,
        alibi_slopes_desc: cnnlTensorDescriptor_t, alibi_slopes: *const c_void,
        block_tables_desc: cnnlTensorDescriptor_t, block_tables: *const c_void, max_seq_q: i32,
        max_seq_k: i32, causal: bool, window_size_left: i32, window_size_right: i32, qk_scale: f32,
        act_pref: cnnlComputationPreference_t, compute_dtype: cnnlDataType_t,
        workspace: *mut c_void, workspace_size: usize, return_softmax_lse: bool,
        softmax_lse_desc: cnnlTensorDescriptor_t, softmax_lse: *mut c_void,
        output_desc: cnnlTensorDescriptor_t, output: *mut c_void,
    ) -> cnnlStatus_t;
}
