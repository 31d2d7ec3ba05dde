//! Operators of vllm-ascend 0.23.0, under the prefix of their provider.
#![allow(non_snake_case, reason = "the names of the C interface")]

use backend_ascend_sys::types::aclTensor;

use super::operators::operators;
use crate::operators::{gate, hyper};

type In = *const aclTensor;

operators! {
    "emu_vllm_ascend_0_23_0_", backend_ascend_sys::abi::vllm_ascend_0_23_0, crate::planner::by_vllm_ascend;
    HcPre(
        x, hcFn, hcScale, hcBase: In;
        hcMult, hcSinkhornIters: i64;
        hcEps, normEps: f64;
        yOut, postOut, combFragOut: In
    ) = hyper::hc_pre;
    HcPost(x, residual, post, comb, out: In) = hyper::hc_post;

    MoeGatingTopKHash(
        x, biasOptional, inputIdsOptional, tid2eidOptional: In;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        yOut, expertIdxOut, outOut: In
    ) = gate::gating_top_k_hash;
}
