//! Operators: both halves of each, and its arguments by name.
#![allow(non_snake_case, reason = "the names of the C interface")]

use std::ffi::c_char;

use backend_ascend_sys::types::{aclDataType, aclIntArray, aclScalar, aclTensor, aclTensorList};

use crate::operators::{elementwise, experts, index, matmul, norm, quant, reduce, shapes, sparse};

type In = *const aclTensor;
type Out = *mut aclTensor;
type Ints = *const aclIntArray;
type List = *const aclTensorList;
type OutList = *mut aclTensorList;
type Number = *const aclScalar;

/// Exports both halves of an operator, held against the table of its provider. `prefix` stands before names of the interface,
/// `provided` says whether the operator is there.
macro_rules! operators {
    ($prefix:literal, $table:path, $provided:path;
        $($name:ident($($($arg:ident),+: $ty:ty);+) = $contract:path;)+) => {$(
        #[doc = concat!("The arguments of `aclnn", stringify!($name), "GetWorkspaceSize`.")]
        #[derive(Debug)]
        #[allow(dead_code, reason = "what a contract leaves open is an argument all the same")]
        pub(crate) struct $name {
            $($(pub(crate) $arg: <$ty as $crate::exports::argument::Argument>::Value,)+)+
        }

        const _: () = {
            use $table as table;
            use $crate::exports::argument::Argument;

            // The name is the vendor's; nothing else of ours exports it.
            #[unsafe(export_name = concat!($prefix, "aclnn", stringify!($name), "GetWorkspaceSize"))]
            unsafe extern "C" fn plan(
                $($($arg: $ty,)+)+
                size: *mut u64,
                executor: *mut *mut backend_ascend_sys::types::aclOpExecutor,
            ) -> backend_ascend_sys::types::aclnnStatus {
                let args = $name {
                    $($(
                        // SAFETY: the caller promises of it what the vendor's documentation asks.
                        $arg: unsafe { Argument::take($arg) },
                    )+)+
                };
                // SAFETY: the same.
                let size = unsafe { Argument::take(size) };
                // SAFETY: the same.
                let executor = unsafe { Argument::take(executor) };
                let name = concat!("aclnn", stringify!($name), "GetWorkspaceSize");
                $crate::call::enter(name, move |call| {
                    let contract = |op: &mut $crate::planner::Planner<'_>| {
                        $provided(op)?;
                        $contract(op, &args)
                    };
                    $crate::executors::plan(call, stringify!($name), size, executor, contract)
                })
            }

            // The name is the vendor's; nothing else of ours exports it.
            #[unsafe(export_name = concat!($prefix, "aclnn", stringify!($name)))]
            unsafe extern "C" fn launch(
                workspace: *mut std::ffi::c_void,
                size: u64,
                executor: *mut backend_ascend_sys::types::aclOpExecutor,
                stream: backend_ascend_sys::types::aclrtStream,
            ) -> backend_ascend_sys::types::aclnnStatus {
                // SAFETY: the caller promises of it what the vendor's documentation asks.
                let workspace = unsafe { Argument::take(workspace) };
                // SAFETY: the same.
                let executor = unsafe { Argument::take(executor) };
                // SAFETY: the same.
                let stream = unsafe { Argument::take(stream) };
                $crate::call::enter(concat!("aclnn", stringify!($name)), move |call| {
                    let workspace = (workspace, size);
                    $crate::executors::launch(call, stringify!($name), workspace, executor, stream)
                })
            }

            backend_ascend_sys::assert_export!(op table::$name = plan, launch);
        };
    )+};
}
pub(super) use operators;

operators! {
    "", backend_ascend_sys::abi::operators, crate::planner::everywhere;
    Matmul(self_, mat2: In; out: Out; cubeMathType: i8) = matmul::matmul;
    BatchMatMul(self_, mat2: In; out: Out; cubeMathType: i8) = matmul::batch_matmul;

    QuantMatmulV5(
        x1, x2, x1Scale, x2Scale, yScale, x1Offset, x2Offset, yOffset, bias: In;
        transposeX1, transposeX2: bool;
        groupSize: i64;
        out: Out
    ) = quant::quant_matmul;

    QuantMatmulWeightNz(
        x1, x2, x1Scale, x2Scale, yScale, x1Offset, x2Offset, yOffset, bias: In;
        transposeX1, transposeX2: bool;
        groupSize: i64;
        out: Out
    ) = quant::quant_matmul_fractal;

    GroupedMatmulWeightNz(
        x, weight, biasOptional, scaleOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, perTokenScaleOptional: List;
        groupListOptional: In;
        activationInputOptional, activationQuantScaleOptional, activationQuantOffsetOptional: List;
        splitItem, groupType, groupListType, actType: i64;
        tuningConfigOptional: *mut aclIntArray;
        quantGroupSize: i64;
        out, activationFeatureOutOptional, dynQuantScaleOutOptional: OutList
    ) = experts::grouped_matmul_fractal;
    GroupedMatmulV5(
        x, weight, biasOptional, scaleOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, perTokenScaleOptional: List;
        groupListOptional: In;
        activationInputOptional, activationQuantScaleOptional, activationQuantOffsetOptional: List;
        splitItem, groupType, groupListType, actType: i64;
        tuningConfigOptional: *mut aclIntArray;
        out, activationFeatureOutOptional, dynQuantScaleOutOptional: OutList
    ) = experts::grouped_matmul;
    MoeInitRoutingV3(
        x, expertIdx, scaleOptional, offsetOptional: In;
        activeNum, expertCapacity, expertNum, dropPadMode, expertTokensNumType: i64;
        expertTokensNumFlag: bool;
        quantMode: i64;
        activeExpertRangeOptional: Ints;
        rowIdxType: i64;
        expandedXOut, expandedRowIdxOut, expertTokensCountOrCumsumOut, expandedScaleOut: In
    ) = experts::init_routing;
    MoeFinalizeRoutingV2(
        expandedX, expandedRowIdx, x1Optional, x2Optional, biasOptional, scalesOptional,
            expertIdxOptional: In;
        dropPadMode: i64;
        out: In
    ) = experts::finalize_routing;

    SparseFlashMla(
        q, oriKvOptional, cmpKvOptional, oriSparseIndicesOptional, cmpSparseIndicesOptional,
            oriBlockTableOptional, cmpBlockTableOptional, cuSeqlensQOptional,
            cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional, sequsedOriKvOptional,
            sequsedCmpKvOptional, cmpResidualKvOptional, oriTopkLengthOptional,
            cmpTopkLengthOptional, sinksOptional, metadataOptional: In;
        softmaxScale: f64;
        cmpRatio, oriMaskMode, cmpMaskMode, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *mut c_char;
        topkValueMode: i64;
        returnSoftmaxLse: bool;
        attnOutOut, softmaxLseOutOptional: In
    ) = sparse::attention;
    SparseFlashMlaMetadata(
        cuSeqlensQOptional, cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional,
            sequsedOriKvOptional, sequsedCmpKvOptional, cmpResidualKvOptional,
            oriTopkLengthOptional, cmpTopkLengthOptional: In;
        numHeadsQ, numHeadsKv, headDim, batchSize, maxSeqlenQ, maxSeqlenOriKv, maxSeqlenCmpKv,
            oriTopk, cmpTopk, cmpRatio, oriMaskMode, cmpMaskMode, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *const c_char;
        hasOriKv, hasCmpKv: bool;
        metaData: In
    ) = sparse::metadata;

    RmsNorm(x, gamma: In; epsilon: f64; yOut, rstdOut: In) = norm::rms_norm;
    SwiGlu(x: In; dim: i64; out: In) = norm::swi_glu;
    DynamicQuantV2(
        x, smoothScalesOptional, groupIndexOptional: In;
        dstType: i64;
        yOut, scaleOut, offsetOut: In
    ) = norm::dynamic_quant;

    Embedding(weight, indices, out: In) = index::embedding;
    IndexSelect(self_: In; dim: i64; index: In; out: Out) = index::index_select;
    GatherV2(self_: In; dim: i64; index: In; out: Out) = index::gather_v2;
    Gather(self_: In; dim: i64; index: In; out: Out) = index::gather;
    ScatterNdUpdate(varRef: Out; indices, updates: In) = index::scatter_nd_update;
    IndexPutImpl(selfRef: Out; indices: List; values: In; accumulate, unsafe_: bool)
        = index::index_put;

    Softmax(self_: In; dim: i64; out: Out) = reduce::softmax;
    ReduceSum(self_: In; dims: Ints; keepDims: bool; dtype: aclDataType; out: Out)
        = reduce::reduce_sum;
    MaxDim(self_: In; dim: i64; keepdim: bool; out, indices: Out) = reduce::max_dim;
    ArgMax(self_: In; dim: i64; keepdim: bool; out: Out) = reduce::arg_max;
    Topk(self_: In; k, dim: i64; largest, sorted: bool; valuesOut, indicesOut: Out) = reduce::topk;

    Add(self_, other: In; alpha: Number; out: Out) = elementwise::add;
    Sub(self_, other: In; alpha: Number; out: Out) = elementwise::sub;
    Mul(self_, other: In; out: Out) = elementwise::mul;
    Div(self_, other: In; out: Out) = elementwise::div;
    Muls(self_: In; other: Number; out: Out) = elementwise::muls;
    Adds(self_: In; other, alpha: Number; out: Out) = elementwise::adds;
    Exp(self_: In; out: Out) = elementwise::exp;
    Sqrt(self_: In; out: Out) = elementwise::sqrt;
    Sigmoid(self_: In; out: Out) = elementwise::sigmoid;
    Silu(self_: In; out: Out) = elementwise::silu;
    Softplus(self_: In; beta, threshold: Number; out: Out) = elementwise::softplus;
    Clamp(self_: In; clipValueMin, clipValueMax: Number; out: Out) = elementwise::clamp;
    Cast(self_: In; dtype: aclDataType; out: Out) = elementwise::cast;
    SWhere(condition, self_, other: In; out: Out) = elementwise::s_where;
    InplaceMaskedFillScalar(selfRef: Out; mask: In; value: Number) = elementwise::masked_fill;
    InplaceFillScalar(selfRef: Out; value: Number) = elementwise::fill;
    Arange(start, end, step: Number; out: Out) = elementwise::arange;

    Cat(tensors: List; dim: i64; out: Out) = shapes::cat;
    Permute(self_: In; dims: Ints; out: Out) = shapes::permute;
    InplaceCopy(selfRef: Out; src: In) = shapes::copy;
    NpuFormatCast(srcTensor: In; dstTensor: Out) = shapes::format_cast;
}
