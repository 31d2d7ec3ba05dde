//! What the custom operators of vllm-ascend 0.23.0 take on `ascend910b`.
//!
//! Made from the description in the package by `cargo xtask ascend-contracts --write`.

use super::{Attribute, Contract, Operand};
use crate::types::{aclDataType, aclFormat};

const F32: aclDataType = aclDataType::ACL_FLOAT;
const F16: aclDataType = aclDataType::ACL_FLOAT16;
const BF16: aclDataType = aclDataType::ACL_BF16;
const I4: aclDataType = aclDataType::ACL_INT4;
const I8: aclDataType = aclDataType::ACL_INT8;
const I16: aclDataType = aclDataType::ACL_INT16;
const I32: aclDataType = aclDataType::ACL_INT32;
const I64: aclDataType = aclDataType::ACL_INT64;
const U64: aclDataType = aclDataType::ACL_UINT64;
const BOOL: aclDataType = aclDataType::ACL_BOOL;
const ND: aclFormat = aclFormat::ACL_FORMAT_ND;
const NZ: aclFormat = aclFormat::ACL_FORMAT_FRACTAL_NZ;

/// The contracts, by name.
pub const CONTRACTS: &[Contract] = &[
    Contract {
        name: "AddRmsNormBias",
        columns: 3,
        inputs: &[
            Operand::one("x1", &[F16, F32, BF16], &[ND]),
            Operand::one("x2", &[F16, F32, BF16], &[ND]),
            Operand::one("gamma", &[F16, F32, BF16], &[ND]),
            Operand::optional("beta", &[F16, F32, BF16], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[F16, F32, BF16], &[ND]),
            Operand::one("rstd", &[F32], &[ND]),
            Operand::one("x", &[F16, F32, BF16], &[ND]),
        ],
        attributes: &[Attribute::new("epsilon", "float", Some("1e-06"))],
    },
    Contract {
        name: "Compressor",
        columns: 4,
        inputs: &[
            Operand::one("x", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("wkv", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("wgate", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("state_cache", &[F32], &[ND]),
            Operand::one("ape", &[F32], &[ND]),
            Operand::one("norm_weight", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("rope_sin", &[BF16, F16, F32, F32], &[ND]),
            Operand::one("rope_cos", &[BF16, F16, F32, F32], &[ND]),
            Operand::optional("state_block_table", &[I32], &[ND]),
            Operand::optional("cu_seqlens", &[I32], &[ND]),
            Operand::optional("seqused", &[I32], &[ND]),
            Operand::optional("start_pos", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("cmp_kv", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("state_cache", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("rope_head_dim", "int", None),
            Attribute::new("cmp_ratio", "int", None),
            Attribute::new("coff", "int", Some("1")),
            Attribute::new("norm_eps", "float", Some("1e-06")),
            Attribute::new("rotary_mode", "int", Some("1")),
            Attribute::new("cache_mode", "int", Some("1")),
            Attribute::new("state_cache_stride_dim0", "int", Some("0")),
        ],
    },
    Contract {
        name: "CompressorMetadata",
        columns: 3,
        inputs: &[
            Operand::one("ropeCos", &[F32, F16, BF16], &[ND]),
            Operand::one("ropeSin", &[F32, F16, BF16], &[ND]),
            Operand::one("cuSeqlens", &[I32], &[ND]),
            Operand::one("startPos", &[I32], &[ND]),
            Operand::one("kvBlockTable", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("compressCos", &[F32, F16, BF16], &[ND]),
            Operand::one("compressSin", &[F32, F16, BF16], &[ND]),
            Operand::one("slotMapping", &[I32], &[ND]),
        ],
        attributes: &[
            Attribute::new("kvBlockSize", "int", None),
            Attribute::new("slotMappingFormat", "int", None),
            Attribute::new("cmpRatio", "int", None),
            Attribute::new("actualNumReqs", "int", None),
        ],
    },
    Contract {
        name: "DequantSwigluQuant",
        columns: 6,
        inputs: &[
            Operand::one("x", &[BF16, F16, I32, I32, I32, I32], &[ND]),
            Operand::optional("weight_scale", &[F32], &[ND]),
            Operand::optional("activation_scale", &[F32], &[ND]),
            Operand::optional("bias", &[F32, F32, F16, BF16, F32, I32], &[ND]),
            Operand::optional("quant_scale", &[F32], &[ND]),
            Operand::optional("quant_offset", &[F32], &[ND]),
            Operand::optional("group_index", &[I64], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[I8], &[ND]),
            Operand::one("scale", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("activate_left", "bool", Some("false")),
            Attribute::new("quant_mode", "str", Some("static")),
            Attribute::new("dst_type", "int", Some("2")),
            Attribute::new("round_mode", "str", Some("rint")),
            Attribute::new("activate_dim", "int", Some("-1")),
            Attribute::new("swiglu_mode", "int", Some("0")),
            Attribute::new("clamp_limit", "float", Some("0")),
            Attribute::new("glu_alpha", "float", Some("1")),
            Attribute::new("glu_bias", "float", Some("0")),
        ],
    },
    Contract {
        name: "GroupedMatmulSwigluQuant",
        columns: 5,
        inputs: &[
            Operand::one("x", &[I8], &[ND]),
            Operand::one("weight", &[I8, I8, I8, I4, I4], &[NZ, NZ, NZ, ND, NZ]),
            Operand::one("weight_scale", &[F32, BF16, F16, U64, U64], &[ND]),
            Operand::one("x_scale", &[F32], &[ND]),
            Operand::optional("weight_assistance_matrix", &[F32], &[ND]),
            Operand::one("group_list", &[I64], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[I8], &[ND]),
            Operand::one("y_scale", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("is_enable_weight_assistance_matrix", "bool", Some("true")),
            Attribute::new("dequant_mode", "int", Some("0")),
            Attribute::new("limited", "float", Some("0")),
        ],
    },
    Contract {
        name: "GroupedMatmulSwigluQuantV2",
        columns: 7,
        inputs: &[
            Operand::one("x", &[I8, I8, I8, I8, I8, I4, I4], &[ND]),
            Operand::one("x_scale", &[F32], &[ND]),
            Operand::one("group_list", &[I64], &[ND]),
            Operand::list(
                "weight",
                &[I8, I8, I8, I4, I4, I4, I4],
                &[NZ, NZ, NZ, ND, NZ, NZ, ND],
            ),
            Operand::list("weight_scale", &[F32, BF16, F16, U64, U64, U64, U64], &[ND]),
            Operand::list("weight_assist_matrix", &[F32], &[ND]),
            Operand::optional("bias", &[F32], &[ND]),
            Operand::optional("smooth_scale", &[F32], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[I8], &[ND]),
            Operand::one("y_scale", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("dequant_mode", "int", Some("0")),
            Attribute::new("dequant_dtype", "int", Some("0")),
            Attribute::new("quant_mode", "int", Some("0")),
            Attribute::new("quant_dtype", "int", Some("0")),
            Attribute::new("transpose_weight", "bool", Some("false")),
            Attribute::new("group_list_type", "int", Some("0")),
            Attribute::new("tuning_config", "listInt", Some("[0]")),
            Attribute::new("swiglu_limit", "float", Some("0")),
        ],
    },
    Contract {
        name: "GroupedMatmulSwigluQuantWeightNzTensorList",
        columns: 3,
        inputs: &[
            Operand::one("x", &[I8], &[ND]),
            Operand::list("weight", &[I8], &[NZ]),
            Operand::list("weight_scale", &[F32, BF16, F16], &[ND]),
            Operand::one("x_scale", &[F32], &[ND]),
            Operand::one("group_list", &[I64], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[I8], &[ND]),
            Operand::one("y_scale", &[F32], &[ND]),
        ],
        attributes: &[Attribute::new("swiglu_limit", "float", None)],
    },
    Contract {
        name: "HcPost",
        columns: 9,
        inputs: &[
            Operand::one(
                "x",
                &[F16, F16, F16, BF16, BF16, BF16, F32, F32, F32],
                &[ND],
            ),
            Operand::one(
                "residual",
                &[F16, F16, F16, BF16, BF16, BF16, F32, F32, F32],
                &[ND],
            ),
            Operand::one(
                "post",
                &[F16, BF16, F32, F16, BF16, F32, F16, BF16, F32],
                &[ND],
            ),
            Operand::one(
                "comb",
                &[F16, BF16, F32, F16, BF16, F32, F16, BF16, F32],
                &[ND],
            ),
        ],
        outputs: &[Operand::one(
            "y",
            &[F16, F16, F16, BF16, BF16, BF16, F32, F32, F32],
            &[ND],
        )],
        attributes: &[],
    },
    Contract {
        name: "HcPre",
        columns: 1,
        inputs: &[
            Operand::one("x", &[BF16], &[ND]),
            Operand::one("hc_fn", &[F32], &[ND]),
            Operand::one("hc_scale", &[F32], &[ND]),
            Operand::one("hc_base", &[F32], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[BF16], &[ND]),
            Operand::one("post", &[F32], &[ND]),
            Operand::one("comb_frag", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("hc_mult", "int", Some("4")),
            Attribute::new("hc_sinkhorn_iters", "int", Some("20")),
            Attribute::new("hc_eps", "float", Some("1e-06")),
            Attribute::new("norm_eps", "float", Some("1e-06")),
        ],
    },
    Contract {
        name: "HcPreInvRms",
        columns: 3,
        inputs: &[Operand::one("x", &[F16, F32, BF16], &[ND])],
        outputs: &[Operand::one("y", &[F32], &[ND])],
        attributes: &[Attribute::new("epsilon", "float", Some("1e-06"))],
    },
    Contract {
        name: "HcPreSinkhorn",
        columns: 1,
        inputs: &[
            Operand::one("mixes", &[F32], &[ND]),
            Operand::one("rsqrt", &[F32], &[ND]),
            Operand::one("hc_scale", &[F32], &[ND]),
            Operand::one("hc_base", &[F32], &[ND]),
            Operand::one("x", &[BF16], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[BF16], &[ND]),
            Operand::one("post", &[F32], &[ND]),
            Operand::one("comb_frag", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("hc_mult", "int", Some("4")),
            Attribute::new("hc_sinkhorn_iters", "int", Some("20")),
            Attribute::new("hc_eps", "float", Some("1e-06")),
        ],
    },
    Contract {
        name: "InplacePartialRotaryMul",
        columns: 5,
        inputs: &[
            Operand::one("x", &[F16, F32, BF16, F16, BF16], &[ND]),
            Operand::one("cos", &[F16, F32, BF16, F32, F32], &[ND]),
            Operand::one("sin", &[F16, F32, BF16, F32, F32], &[ND]),
        ],
        outputs: &[Operand::one("x", &[F16, F32, BF16, F16, BF16], &[ND])],
        attributes: &[
            Attribute::new("mode", "int", Some("0")),
            Attribute::new("partial_slice", "listInt", Some("[0,0]")),
        ],
    },
    Contract {
        name: "KvQuantSparseFlashAttention",
        columns: 2,
        inputs: &[
            Operand::one("query", &[F16, BF16], &[ND]),
            Operand::one("key", &[I8], &[ND]),
            Operand::one("value", &[I8], &[ND]),
            Operand::one("sparse_indices", &[I32], &[ND]),
            Operand::optional("key_dequant_scale", &[F32], &[ND]),
            Operand::optional("value_dequant_scale", &[F32], &[ND]),
            Operand::optional("block_table", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_query", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_kv", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("attention_out", &[F16, BF16], &[ND]),
            Operand::one("softmax_max", &[F32], &[ND]),
            Operand::one("softmax_sum", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("scale_value", "float", None),
            Attribute::new("key_quant_mode", "int", None),
            Attribute::new("value_quant_mode", "int", None),
            Attribute::new("sparse_block_size", "int", Some("1")),
            Attribute::new("layout_query", "str", Some("BSND")),
            Attribute::new("layout_kv", "str", Some("BSND")),
            Attribute::new("sparse_mode", "int", Some("3")),
            Attribute::new("pre_tokens", "int", Some("9223372036854775807")),
            Attribute::new("next_tokens", "int", Some("9223372036854775807")),
            Attribute::new("attention_mode", "int", Some("0")),
            Attribute::new("quant_scale_repo_mode", "int", Some("1")),
            Attribute::new("tile_size", "int", Some("128")),
            Attribute::new("rope_head_dim", "int", Some("64")),
            Attribute::new("return_softmax_lse", "bool", Some("false")),
        ],
    },
    Contract {
        name: "LightningIndexer",
        columns: 4,
        inputs: &[
            Operand::one("query", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("key", &[BF16, F16, BF16, F16], &[ND]),
            Operand::one("weights", &[BF16, F16, F32, F32], &[ND]),
            Operand::optional("actual_seq_lengths_query", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_key", &[I32], &[ND]),
            Operand::optional("block_table", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("sparse_indices", &[I32], &[ND]),
            Operand::one("sparse_values", &[BF16, F16, BF16, F16], &[ND]),
        ],
        attributes: &[
            Attribute::new("layout_query", "str", Some("BSND")),
            Attribute::new("layout_key", "str", Some("BSND")),
            Attribute::new("sparse_count", "int", Some("2048")),
            Attribute::new("sparse_mode", "int", Some("3")),
            Attribute::new("pre_tokens", "int", Some("9223372036854775807")),
            Attribute::new("next_tokens", "int", Some("9223372036854775807")),
            Attribute::new("return_values", "bool", Some("false")),
        ],
    },
    Contract {
        name: "LightningIndexerQuant",
        columns: 1,
        inputs: &[
            Operand::one("query", &[I8], &[ND]),
            Operand::one("key", &[I8], &[ND]),
            Operand::one("weights", &[F16], &[ND]),
            Operand::one("query_dequant_scale", &[F16], &[ND]),
            Operand::one("key_dequant_scale", &[F16], &[ND]),
            Operand::optional("actual_seq_lengths_query", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_key", &[I32], &[ND]),
            Operand::optional("block_table", &[I32], &[ND]),
        ],
        outputs: &[Operand::one("sparse_indices", &[I32], &[ND])],
        attributes: &[
            Attribute::new("query_quant_mode", "int", None),
            Attribute::new("key_quant_mode", "int", None),
            Attribute::new("layout_query", "str", Some("BSND")),
            Attribute::new("layout_key", "str", Some("PA_BSND")),
            Attribute::new("sparse_count", "int", Some("2048")),
            Attribute::new("sparse_mode", "int", Some("3")),
        ],
    },
    Contract {
        name: "MoeGatingTopK",
        columns: 3,
        inputs: &[
            Operand::one("x", &[F16, F32, BF16], &[ND]),
            Operand::optional("bias", &[F16, F32, BF16], &[ND]),
        ],
        outputs: &[
            Operand::one("y", &[F16, F32, BF16], &[ND]),
            Operand::one("expert_idx", &[I32], &[ND]),
            Operand::one("out", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("k", "int", None),
            Attribute::new("k_group", "int", Some("1")),
            Attribute::new("group_count", "int", Some("1")),
            Attribute::new("group_select_mode", "int", Some("0")),
            Attribute::new("renorm", "int", Some("0")),
            Attribute::new("norm_type", "int", Some("0")),
            Attribute::new("out_flag", "bool", Some("false")),
            Attribute::new("routed_scaling_factor", "float", Some("1")),
            Attribute::new("eps", "float", Some("1e-20")),
        ],
    },
    Contract {
        name: "MoeGatingTopKHash",
        columns: 12,
        inputs: &[
            Operand::one(
                "x",
                &[
                    F16, F32, BF16, F16, F32, BF16, F16, F32, BF16, F16, F32, BF16,
                ],
                &[ND],
            ),
            Operand::optional(
                "bias",
                &[
                    F16, F32, BF16, F16, F32, BF16, F16, F32, BF16, F16, F32, BF16,
                ],
                &[ND],
            ),
            Operand::optional(
                "input_ids",
                &[I64, I64, I64, I32, I32, I32, I64, I64, I64, I32, I32, I32],
                &[ND],
            ),
            Operand::optional(
                "tid2eid",
                &[I32, I32, I32, I32, I32, I32, I64, I64, I64, I64, I64, I64],
                &[ND],
            ),
        ],
        outputs: &[
            Operand::one(
                "y",
                &[
                    F16, F32, BF16, F16, F32, BF16, F16, F32, BF16, F16, F32, BF16,
                ],
                &[ND],
            ),
            Operand::one("expert_idx", &[I32], &[ND]),
            Operand::one("out", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("k", "int", None),
            Attribute::new("k_group", "int", Some("1")),
            Attribute::new("group_count", "int", Some("1")),
            Attribute::new("group_select_mode", "int", Some("0")),
            Attribute::new("renorm", "int", Some("0")),
            Attribute::new("norm_type", "int", Some("0")),
            Attribute::new("out_flag", "bool", Some("false")),
            Attribute::new("routed_scaling_factor", "float", Some("1")),
            Attribute::new("eps", "float", Some("1e-20")),
        ],
    },
    Contract {
        name: "MoeGroupedMatmul",
        columns: 8,
        inputs: &[
            Operand::list("x", &[BF16, BF16, F16, F16, BF16, BF16, F16, F16], &[ND]),
            Operand::list(
                "weight",
                &[BF16, BF16, F16, F16, BF16, BF16, F16, F16],
                &[ND, ND, ND, ND, NZ, NZ, NZ, NZ],
            ),
            Operand::one(
                "group_list",
                &[I64, I32, I64, I32, I64, I32, I64, I32],
                &[ND],
            ),
        ],
        outputs: &[Operand::list(
            "y",
            &[BF16, BF16, F16, F16, BF16, BF16, F16, F16],
            &[ND],
        )],
        attributes: &[Attribute::new("transpose_weight", "bool", Some("false"))],
    },
    Contract {
        name: "MoeInitRoutingCustom",
        columns: 7,
        inputs: &[
            Operand::one("x", &[I8, F16, BF16, F32, F16, BF16, F32], &[ND]),
            Operand::one("expert_idx", &[I32], &[ND]),
            Operand::optional("scale", &[F32], &[ND]),
            Operand::optional("offset", &[F32], &[ND]),
        ],
        outputs: &[
            Operand::one("expanded_x", &[I8, F16, BF16, F32, I8, I8, I8], &[ND]),
            Operand::one("expanded_row_idx", &[I32], &[ND]),
            Operand::one("expert_tokens_count_or_cumsum", &[I64], &[ND]),
            Operand::one("expanded_scale", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("active_num", "int", Some("-1")),
            Attribute::new("expert_capacity", "int", Some("-1")),
            Attribute::new("expert_num", "int", Some("-1")),
            Attribute::new("drop_pad_mode", "int", Some("0")),
            Attribute::new("expert_tokens_num_type", "int", Some("0")),
            Attribute::new("expert_tokens_num_flag", "bool", Some("false")),
            Attribute::new("quant_mode", "int", Some("-1")),
            Attribute::new("active_expert_range", "listInt", Some("[]")),
            Attribute::new("row_idx_type", "int", Some("0")),
        ],
    },
    Contract {
        name: "RmsNormDynamicQuant",
        columns: 4,
        inputs: &[
            Operand::one("x", &[F16, BF16, F16, BF16], &[ND]),
            Operand::one("gamma", &[F16, BF16, F16, BF16], &[ND]),
            Operand::optional("smooth_scale1", &[F16, BF16, F16, BF16], &[ND]),
            Operand::optional("smooth_scale2", &[F16, BF16, F16, BF16], &[ND]),
            Operand::optional("beta", &[F16, BF16, F16, BF16], &[ND]),
        ],
        outputs: &[
            Operand::one("y1", &[I8, I8, I4, I4], &[ND]),
            Operand::one("y2", &[I8, I8, I4, I4], &[ND]),
            Operand::one("scale1", &[F32], &[ND]),
            Operand::one("scale2", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("epsilon", "float", Some("1e-06")),
            Attribute::new("output_mask", "listBool", Some("[]")),
            Attribute::new("dst_type", "int", Some("2")),
        ],
    },
    Contract {
        name: "ScatterNdUpdateV2",
        columns: 16,
        inputs: &[
            Operand::one(
                "var",
                &[
                    F16, F32, BF16, BOOL, I64, I32, I16, I8, F16, F32, BF16, BOOL, I64, I32, I16,
                    I8,
                ],
                &[ND],
            ),
            Operand::one(
                "indices",
                &[
                    I32, I32, I32, I32, I32, I32, I32, I32, I64, I64, I64, I64, I64, I64, I64, I64,
                ],
                &[ND],
            ),
            Operand::one(
                "updates",
                &[
                    F16, F32, BF16, BOOL, I64, I32, I16, I8, F16, F32, BF16, BOOL, I64, I32, I16,
                    I8,
                ],
                &[ND],
            ),
        ],
        outputs: &[Operand::one(
            "var",
            &[
                F16, F32, BF16, BOOL, I64, I32, I16, I8, F16, F32, BF16, BOOL, I64, I32, I16, I8,
            ],
            &[ND],
        )],
        attributes: &[
            Attribute::new("strides", "listInt", None),
            Attribute::new("use_locking", "bool", Some("false")),
        ],
    },
    Contract {
        name: "SparseAttnSharedkv",
        columns: 2,
        inputs: &[
            Operand::one("q", &[F16, BF16], &[ND]),
            Operand::optional("ori_kv", &[F16, BF16], &[ND]),
            Operand::optional("cmp_kv", &[F16, BF16], &[ND]),
            Operand::optional("ori_sparse_indices", &[I32], &[ND]),
            Operand::optional("cmp_sparse_indices", &[I32], &[ND]),
            Operand::optional("ori_block_table", &[I32], &[ND]),
            Operand::optional("cmp_block_table", &[I32], &[ND]),
            Operand::optional("cu_seqlens_q", &[I32], &[ND]),
            Operand::optional("cu_seqlens_ori_kv", &[I32], &[ND]),
            Operand::optional("cu_seqlens_cmp_kv", &[I32], &[ND]),
            Operand::optional("seqused_q", &[I32], &[ND]),
            Operand::optional("seqused_kv", &[I32], &[ND]),
            Operand::optional("sinks", &[F32], &[ND]),
            Operand::optional("metadata", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("attn_out", &[F16, BF16], &[ND]),
            Operand::one("softmax_lse", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("softmax_scale", "float", None),
            Attribute::new("cmp_ratio", "int", None),
            Attribute::new("ori_mask_mode", "int", None),
            Attribute::new("cmp_mask_mode", "int", None),
            Attribute::new("ori_kv_stride", "int", None),
            Attribute::new("cmp_kv_stride", "int", None),
            Attribute::new("ori_win_left", "int", Some("127")),
            Attribute::new("ori_win_right", "int", Some("0")),
            Attribute::new("layout_q", "str", Some("BSND")),
            Attribute::new("layout_kv", "str", Some("PA_ND")),
            Attribute::new("return_softmax_lse", "bool", Some("false")),
        ],
    },
    Contract {
        name: "SparseFlashAttention",
        columns: 2,
        inputs: &[
            Operand::one("query", &[F16, BF16], &[ND]),
            Operand::one("key", &[F16, BF16], &[ND]),
            Operand::one("value", &[F16, BF16], &[ND]),
            Operand::one("sparse_indices", &[I32], &[ND]),
            Operand::optional("block_table", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_query", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_kv", &[I32], &[ND]),
            Operand::optional("query_rope", &[F16, BF16], &[ND]),
            Operand::optional("key_rope", &[F16, BF16], &[ND]),
        ],
        outputs: &[
            Operand::one("attention_out", &[F16, BF16], &[ND]),
            Operand::one("softmax_max", &[F32], &[ND]),
            Operand::one("softmax_sum", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("scale_value", "float", None),
            Attribute::new("sparse_block_size", "int", Some("1")),
            Attribute::new("layout_query", "str", Some("BSND")),
            Attribute::new("layout_kv", "str", Some("BSND")),
            Attribute::new("sparse_mode", "int", Some("3")),
            Attribute::new("pre_tokens", "int", Some("9223372036854775807")),
            Attribute::new("next_tokens", "int", Some("9223372036854775807")),
            Attribute::new("attention_mode", "int", Some("2")),
            Attribute::new("return_softmax_lse", "bool", Some("false")),
        ],
    },
    Contract {
        name: "StoreKVBlock",
        columns: 3,
        inputs: &[
            Operand::one("keyIn", &[I8, F16, BF16], &[ND]),
            Operand::one("keyCacheIn", &[I8, F16, BF16], &[ND]),
            Operand::one("groupLen", &[I32], &[ND]),
            Operand::one("groupKeyIdx", &[I32], &[ND]),
            Operand::one("groupKeyCacheIdx", &[I32], &[ND]),
        ],
        outputs: &[],
        attributes: &[Attribute::new("blockSize", "int", None)],
    },
    Contract {
        name: "TransposeKvCacheByBlock",
        columns: 2,
        inputs: &[
            Operand::list("KCache", &[F16, BF16], &[ND]),
            Operand::list("VCache", &[F16, BF16], &[ND]),
            Operand::one("blockIDs", &[I64], &[ND]),
        ],
        outputs: &[],
        attributes: &[
            Attribute::new("blockSize", "int", None),
            Attribute::new("headNum", "int", None),
            Attribute::new("headDim", "int", None),
            Attribute::new("splitNum", "int", None),
            Attribute::new("layerNum", "int", None),
        ],
    },
    Contract {
        name: "VllmQuantLightningIndexer",
        columns: 1,
        inputs: &[
            Operand::one("query", &[I8], &[ND]),
            Operand::one("key", &[I8], &[ND]),
            Operand::one("weights", &[F16], &[ND]),
            Operand::one("query_dequant_scale", &[F16], &[ND]),
            Operand::one("key_dequant_scale", &[F16], &[ND]),
            Operand::optional("actual_seq_lengths_query", &[I32], &[ND]),
            Operand::optional("actual_seq_lengths_key", &[I32], &[ND]),
            Operand::optional("block_table", &[I32], &[ND]),
            Operand::optional("metadata", &[I32], &[ND]),
        ],
        outputs: &[
            Operand::one("sparse_indices", &[I32], &[ND]),
            Operand::one("sparse_values", &[F32], &[ND]),
        ],
        attributes: &[
            Attribute::new("query_quant_mode", "int", None),
            Attribute::new("key_quant_mode", "int", None),
            Attribute::new("layout_query", "str", Some("BSND")),
            Attribute::new("layout_key", "str", Some("BSND")),
            Attribute::new("sparse_count", "int", Some("2048")),
            Attribute::new("sparse_mode", "int", Some("3")),
            Attribute::new("pre_tokens", "int", Some("9223372036854775807")),
            Attribute::new("next_tokens", "int", Some("9223372036854775807")),
            Attribute::new("cmp_ratio", "int", Some("1")),
            Attribute::new("return_values", "bool", Some("false")),
            Attribute::new("stride", "int", Some("1")),
            Attribute::new("scale_stride", "int", Some("1")),
        ],
    },
];
