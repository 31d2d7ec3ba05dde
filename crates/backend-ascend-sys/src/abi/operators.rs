//! The operators that CANN brings.

use std::ffi::c_char;

use crate::table::abi_table;
use crate::types::{
    aclBoolArray, aclDataType, aclIntArray, aclScalar, aclTensor, aclTensorList, aclnnStatus,
};

abi_table! {
    /// What the operator libraries answer beside their operators.
    pub struct OperatorQueries: CANN, Opapi;

    // The format that a cast gives a weight. The caller frees `dstShape`.
    #[optional]
    fn aclnnNpuFormatCastCalculateSizeAndFormat(
        srcTensor: *const aclTensor, dstFormat: i32, additionalDtype: i32, dstShape: *mut *mut i64,
        dstShapeSize: *mut u64, actualFormat: *mut i32,
    ) -> aclnnStatus;
}

abi_table! {
    /// The operators that CANN brings.
    pub struct Operators: CANN, Opapi;

    // Products of matrices.
    op Matmul(self_, mat2: *const aclTensor; out: *mut aclTensor; cubeMathType: i8);
    op BatchMatMul(self_, mat2: *const aclTensor; out: *mut aclTensor; cubeMathType: i8);
    op MatmulWeightNz(self_, mat2: *const aclTensor; out: *mut aclTensor; cubeMathType: i8);
    op QuantMatmulV5(
        x1, x2, x1Scale, x2Scale, yScale, x1Offset, x2Offset, yOffset, bias: *const aclTensor;
        transposeX1, transposeX2: bool;
        groupSize: i64;
        out: *mut aclTensor
    );
    op QuantMatmulWeightNz(
        x1, x2, x1Scale, x2Scale, yScale, x1Offset, x2Offset, yOffset, bias: *const aclTensor;
        transposeX1, transposeX2: bool;
        groupSize: i64;
        out: *mut aclTensor
    );
    op WeightQuantBatchMatmulV2(
        x, weight, antiquantScale, antiquantOffsetOptional, quantScaleOptional, quantOffsetOptional,
            biasOptional: *const aclTensor;
        antiquantGroupSize: i32;
        y: *const aclTensor
    );
    op WeightQuantBatchMatmulV3(
        x, weight, antiquantScale, antiquantOffsetOptional, quantScaleOptional, quantOffsetOptional,
            biasOptional: *const aclTensor;
        antiquantGroupSize, innerPrecise: i32;
        y: *const aclTensor
    );
    op WeightQuantBatchMatmulNz(
        x, weight, antiquantScale, antiquantOffsetOptional, quantScaleOptional, quantOffsetOptional,
            biasOptional: *const aclTensor;
        antiquantGroupSize: i32;
        y: *const aclTensor
    );
    op TransposeBatchMatMul(
        x1, x2, bias, scale: *const aclTensor;
        permX1, permX2, permY: *const aclIntArray;
        cubeMathType: i8;
        batchSplitFactor: i32;
        out: *mut aclTensor
    );
    op TransposeQuantBatchMatMul(
        x1, x2, bias, x1Scale, x2Scale: *const aclTensor;
        dtype: i32;
        groupSize: i64;
        permX1, permX2, permY: *const aclIntArray;
        batchSplitFactor: i32;
        out: *mut aclTensor
    );

    // Products of groups of rows, each group with a matrix of its own: the experts.
    op GroupedMatmulV4(
        x, weight, biasOptional, scaleOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, perTokenScaleOptional: *const aclTensorList;
        groupListOptional: *const aclTensor;
        activationInputOptional, activationQuantScaleOptional,
            activationQuantOffsetOptional: *const aclTensorList;
        splitItem, groupType, groupListType, actType: i64;
        out, activationFeatureOutOptional, dynQuantScaleOutOptional: *mut aclTensorList
    );
    op GroupedMatmulV5(
        x, weight, biasOptional, scaleOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, perTokenScaleOptional: *const aclTensorList;
        groupListOptional: *const aclTensor;
        activationInputOptional, activationQuantScaleOptional,
            activationQuantOffsetOptional: *const aclTensorList;
        splitItem, groupType, groupListType, actType: i64;
        tuningConfigOptional: *mut aclIntArray;
        out, activationFeatureOutOptional, dynQuantScaleOutOptional: *mut aclTensorList
    );
    op GroupedMatmulWeightNz(
        x, weight, biasOptional, scaleOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, perTokenScaleOptional: *const aclTensorList;
        groupListOptional: *const aclTensor;
        activationInputOptional, activationQuantScaleOptional,
            activationQuantOffsetOptional: *const aclTensorList;
        splitItem, groupType, groupListType, actType: i64;
        tuningConfigOptional: *mut aclIntArray;
        quantGroupSize: i64;
        out, activationFeatureOutOptional, dynQuantScaleOutOptional: *mut aclTensorList
    );
    op GroupedMatmulSwigluQuantV2(
        x: *const aclTensor;
        weight, weightScale, weightAssistMatrix: *const aclTensorList;
        bias, xScale, smoothScale, groupList: *const aclTensor;
        dequantMode, dequantDtype, quantMode, groupListType: i64;
        tuningConfig: *const aclIntArray;
        output, outputScale: *mut aclTensor
    );
    op GroupedMatmulSwigluQuantWeightNzV2(
        x: *const aclTensor;
        weight, weightScale, weightAssistMatrix: *const aclTensorList;
        bias, xScale, smoothScale, groupList: *const aclTensor;
        dequantMode, dequantDtype, quantMode, groupListType: i64;
        tuningConfig: *const aclIntArray;
        output, outputScale: *mut aclTensor
    );
    op GroupedMatmulFinalizeRoutingV3(
        x1: *const aclTensor;
        x2: *mut aclTensor;
        scaleOptional, biasOptional, offsetOptional, antiquantScaleOptional,
            antiquantOffsetOptional, pertokenScaleOptional, groupListOptional, sharedInputOptional,
            logitOptional, rowIndexOptional: *const aclTensor;
        dtype: i64;
        sharedInputWeight: f32;
        sharedInputOffset: i64;
        transposeX1, transposeX2: bool;
        groupListType: i64;
        tuningConfigOptional: *const aclIntArray;
        out: *mut aclTensor
    );

    // Norms.
    op RmsNorm(x, gamma: *const aclTensor; epsilon: f64; yOut, rstdOut: *const aclTensor);
    op AddRmsNorm(
        x1, x2, gamma: *const aclTensor;
        epsilon: f64;
        yOut, rstdOut, xOut: *mut aclTensor
    );
    op AddRmsNormDynamicQuantV2(
        x1, x2, gamma, smoothScale1Optional, smoothScale2Optional, betaOptional: *const aclTensor;
        epsilon: f64;
        outputMaskOptional: *const aclBoolArray;
        y1Out, y2Out, xOut, scale1Out, scale2Out: *mut aclTensor
    );

    // Quantisation of activations.
    op DynamicQuant(x, smoothScalesOptional, yOut, scaleOut: *const aclTensor);
    op DynamicQuantV2(
        x, smoothScalesOptional, groupIndexOptional: *const aclTensor;
        dstType: i64;
        yOut, scaleOut, offsetOut: *const aclTensor
    );
    op DynamicQuantV3(
        x, smoothScalesOptional, groupIndexOptional: *const aclTensor;
        dstType: i64;
        isSymmetrical: bool;
        quantMode: *const c_char;
        yOut, scaleOut, offsetOut: *const aclTensor
    );
    op DynamicMxQuant(
        x: *const aclTensor;
        axis: i64;
        roundModeOptional: *mut c_char;
        dstType, blocksize, scaleAlg: i64;
        yOut, mxscaleOut: *const aclTensor
    );
    op DynamicMxQuantV2(
        x: *const aclTensor;
        axis: i64;
        roundModeOptional: *mut c_char;
        dstType, blocksize, scaleAlg: i64;
        dstTypeMax: f64;
        yOut, mxscaleOut: *const aclTensor
    );

    // Gated linear units.
    op SwiGlu(x: *const aclTensor; dim: i64; out: *const aclTensor);
    op ClippedSwiglu(
        x, groupIndexOptional: *const aclTensor;
        dim: i64;
        alpha, limit, bias: f64;
        interleaved: bool;
        out: *const aclTensor
    );
    op SwiGluQuantV2(
        x, smoothScalesOptional, offsetsOptional, groupIndexOptional: *const aclTensor;
        activateLeft: bool;
        quantModeOptional: *mut c_char;
        groupListType, dstType: i64;
        yOut, scaleOut: *const aclTensor
    );
    op DequantSwigluQuantV2(
        x, weightScaleOptional, activationScaleOptional, biasOptional, quantScaleOptional,
            quantOffsetOptional, groupIndexOptional: *const aclTensor;
        activateLeft: bool;
        quantModeOptional: *mut c_char;
        dstType: i64;
        roundModeOptional: *mut c_char;
        activateDim, swigluMode: i64;
        clampLimit, gluAlpha, gluBias: f64;
        yOut, scaleOut: *const aclTensor
    );
    op SwigluGroupQuant(
        x, weightOptional, groupIndexOptional, scaleOptional: *const aclTensor;
        dstType, quantMode, blockSize: i64;
        roundScale: bool;
        clampLimit, dstTypeMax: f64;
        outputOrigin: bool;
        yOut, yScaleOut, yOriginOut: *const aclTensor
    );

    // Rows by index.
    op Embedding(weight, indices, out: *const aclTensor);
    op IndexSelect(self_: *const aclTensor; dim: i64; index: *const aclTensor; out: *mut aclTensor);
    #[optional]
    op GatherV2(self_: *const aclTensor; dim: i64; index: *const aclTensor; out: *mut aclTensor);
    op Gather(self_: *const aclTensor; dim: i64; index: *const aclTensor; out: *mut aclTensor);
    op ScatterNdUpdate(varRef: *mut aclTensor; indices, updates: *const aclTensor);
    op IndexPutImpl(
        selfRef: *mut aclTensor;
        indices: *const aclTensorList;
        values: *const aclTensor;
        accumulate, unsafe_: bool
    );

    // Choices, softmax and functions of one number.
    op Topk(
        self_: *const aclTensor;
        k, dim: i64;
        largest, sorted: bool;
        valuesOut, indicesOut: *mut aclTensor
    );
    op ArgMax(self_: *const aclTensor; dim: i64; keepdim: bool; out: *mut aclTensor);
    op Softmax(self_: *const aclTensor; dim: i64; out: *mut aclTensor);
    op Sigmoid(self_: *const aclTensor; out: *mut aclTensor);
    op Silu(self_: *const aclTensor; out: *mut aclTensor);
    op Softplus(self_: *const aclTensor; beta, threshold: *const aclScalar; out: *mut aclTensor);

    // Types, shapes, copies and arithmetic.
    op Cast(self_: *const aclTensor; dtype: aclDataType; out: *mut aclTensor);
    op Cat(tensors: *const aclTensorList; dim: i64; out: *mut aclTensor);
    op Add(self_, other: *const aclTensor; alpha: *const aclScalar; out: *mut aclTensor);
    op Mul(self_, other: *const aclTensor; out: *mut aclTensor);
    op Muls(self_: *const aclTensor; other: *const aclScalar; out: *mut aclTensor);
    op Adds(self_: *const aclTensor; other, alpha: *const aclScalar; out: *mut aclTensor);
    op Exp(self_: *const aclTensor; out: *mut aclTensor);
    op Sqrt(self_: *const aclTensor; out: *mut aclTensor);
    op InplaceCopy(selfRef: *mut aclTensor; src: *const aclTensor);
    #[optional]
    op Permute(self_: *const aclTensor; dims: *const aclIntArray; out: *mut aclTensor);
    op ReduceSum(
        self_: *const aclTensor;
        dims: *const aclIntArray;
        keepDims: bool;
        dtype: aclDataType;
        out: *mut aclTensor
    );
    op Clamp(
        self_: *const aclTensor;
        clipValueMin, clipValueMax: *const aclScalar;
        out: *mut aclTensor
    );
    op Arange(start, end, step: *const aclScalar; out: *mut aclTensor);
    op InplaceFillScalar(selfRef: *mut aclTensor; value: *const aclScalar);
    op SWhere(condition, self_, other: *const aclTensor; out: *mut aclTensor);
    op Sort(
        self_: *const aclTensor;
        stable: bool;
        dim: i64;
        descending: bool;
        valuesOut, indicesOut: *mut aclTensor
    );

    // Layouts of weights.
    op NpuFormatCast(srcTensor: *const aclTensor; dstTensor: *mut aclTensor);
    #[optional]
    op TransMatmulWeight(mmWeightRef: *mut aclTensor);

    // Sampling, and what the towers need beside.
    op ApplyTopKTopP(logits, p, k: *const aclTensor; out: *mut aclTensor);
    op LayerNorm(
        input: *const aclTensor;
        normalizedShape: *const aclIntArray;
        weightOptional, biasOptional: *const aclTensor;
        eps: f64;
        out, meanOutOptional, rstdOutOptional: *mut aclTensor
    );
    op Convolution(
        input, weight, bias: *const aclTensor;
        stride, padding, dilation: *const aclIntArray;
        transposed: bool;
        outputPadding: *const aclIntArray;
        groups: i64;
        output: *mut aclTensor;
        cubeMathType: i8
    );
    op Gelu(self_: *const aclTensor; out: *mut aclTensor);

    // More arithmetic and shapes.
    op Div(self_, other: *const aclTensor; out: *mut aclTensor);
    op Sub(self_, other: *const aclTensor; alpha: *const aclScalar; out: *mut aclTensor);
    op Mean(
        self_: *const aclTensor;
        dim: *const aclIntArray;
        keepDim: bool;
        dtype: aclDataType;
        out: *mut aclTensor
    );
    op MaxDim(self_: *const aclTensor; dim: i64; keepdim: bool; out, indices: *mut aclTensor);
    #[optional]
    op Expand(self_: *const aclTensor; size: *const aclIntArray; out: *mut aclTensor);
    op Repeat(self_: *const aclTensor; repeats: *const aclIntArray; out: *mut aclTensor);
    op ConstantPadNd(
        self_: *const aclTensor;
        pad: *const aclIntArray;
        value: *const aclScalar;
        out: *mut aclTensor
    );
    op Cumsum(self_: *const aclTensor; dim: i64; dtype: aclDataType; out: *mut aclTensor);
    op InplaceMaskedFillScalar(
        selfRef: *mut aclTensor;
        mask: *const aclTensor;
        value: *const aclScalar
    );
    op BitwiseXorTensor(self_, other: *const aclTensor; out: *mut aclTensor);
    op RemainderTensorScalar(self_: *const aclTensor; other: *const aclScalar; out: *mut aclTensor);
    op FloorDivides(self_: *const aclTensor; other: *const aclScalar; out: *mut aclTensor);
    op Triu(self_: *const aclTensor; diagonal: i64; out: *mut aclTensor);

    // Out of the integers of a product.
    op DequantBias(
        x, weightScale, activateScaleOptional, biasOptional: *const aclTensor;
        outputDtype: i64;
        out: *const aclTensor
    );

    // Routing of tokens to experts and back.
    op MoeInitRoutingV2(
        x, expertIdx: *const aclTensor;
        activeNum, expertCapacity, expertNum, dropPadMode, expertTokensCountOrCumsumFlag: i64;
        expertTokensBeforeCapacityFlag: bool;
        expandedXOut, expandedRowIdxOut, expertTokensCountOrCumsumOut,
            expertTokensBeforeCapacityOut: *const aclTensor
    );
    op MoeInitRoutingV3(
        x, expertIdx, scaleOptional, offsetOptional: *const aclTensor;
        activeNum, expertCapacity, expertNum, dropPadMode, expertTokensNumType: i64;
        expertTokensNumFlag: bool;
        quantMode: i64;
        activeExpertRangeOptional: *const aclIntArray;
        rowIdxType: i64;
        expandedXOut, expandedRowIdxOut, expertTokensCountOrCumsumOut,
            expandedScaleOut: *const aclTensor
    );
    op MoeInitRoutingQuantV2(
        x, expertIdx, scaleOptional, offsetOptional: *const aclTensor;
        activeNum, expertCapacity, expertNum, dropPadMode, expertTokensCountOrCumsumFlag: i64;
        expertTokensBeforeCapacityFlag: bool;
        quantMode: i64;
        expandedXOut, expandedRowIdxOut, expertTokensCountOrCumsumOutOptional,
            expertTokensBeforeCapacityOutOptional, dynamicQuantScaleOutOptional: *const aclTensor
    );
    op MoeFinalizeRoutingV2(
        expandedX, expandedRowIdx, x1Optional, x2Optional, biasOptional, scalesOptional,
            expertIdxOptional: *const aclTensor;
        dropPadMode: i64;
        out: *const aclTensor
    );
    #[optional]
    op MoeFinalizeRoutingV3(
        expandedX, expandedRowIdx, x1Optional, x2Optional, biasOptional, scalesOptional,
            expertIdxOptional, xOptional, alpha1Optional, alpha2Optional,
            vOptional: *const aclTensor;
        dropPadMode: i64;
        zeroExpertRange, copyExpertRange, constantExpertRange: *const aclIntArray;
        out: *const aclTensor
    );
    op MoeFinalizeRoutingV4(
        expandedX, expandedRowIdx, x1Optional, x2Optional, biasOptional, scalesOptional,
            expertIdxOptional, xOptional, alpha1Optional, alpha2Optional,
            vOptional: *const aclTensor;
        dropPadMode: i64;
        zeroExpertRange, copyExpertRange, constantExpertRange: *const aclIntArray;
        k: i64;
        out: *const aclTensor
    );
    op MoeGatingTopK(
        x, biasOptional: *const aclTensor;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        yOut, expertIdxOut, outOut: *const aclTensor
    );
    op MoeGatingTopKV2(
        x, biasOptional, inputIdsOptional, tid2eidOptional: *const aclTensor;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        yOut, expertIdxOut, outOut: *const aclTensor
    );
    op MoeGatingTopKSoftmaxV2(
        x, finishedOptional: *const aclTensor;
        k, renorm: i64;
        outputSoftmaxResultFlag: bool;
        yOut, expertIdxOut, softmaxResultOutOptional: *const aclTensor
    );
    #[optional]
    op MoeTokenPermuteV2(
        tokens, indices: *const aclTensor;
        numOutTokens: i64;
        paddedMode: bool;
        quantMode: i64;
        permuteTokensOut, sortedIndicesOut, expandedScaleOut: *const aclTensor
    );
    op MoeTokenUnpermute(
        permutedTokens, sortedIndices, probsOptional: *const aclTensor;
        paddedMode: bool;
        restoreShapeOptional: *const aclIntArray;
        out: *mut aclTensor
    );

    // The same, over devices.
    op MoeDistributeDispatchV2(
        x, expertIds, scalesOptional, xActiveMaskOptional, expertScalesOptional: *const aclTensor;
        groupEp: *const c_char;
        epWorldSize, epRankId, moeExpertNum: i64;
        groupTp: *const c_char;
        tpWorldSize, tpRankId, expertShardType, sharedExpertNum, sharedExpertRankNum, quantMode,
            globalBS, expertTokenNumsType: i64;
        commAlg: *const c_char;
        expandXOut, dynamicScalesOut, assistInfoForCombineOut, expertTokenNumsOut, epRecvCountsOut,
            tpRecvCountsOut, expandScalesOut: *mut aclTensor
    );
    op MoeDistributeDispatchV4(
        x, expertIds, scalesOptional, xActiveMaskOptional, expertScalesOptional,
            elasticInfoOptional, performanceInfoOptional: *const aclTensor;
        groupEp: *const c_char;
        epWorldSize, epRankId, moeExpertNum: i64;
        groupTp: *const c_char;
        tpWorldSize, tpRankId, expertShardType, sharedExpertNum, sharedExpertRankNum, quantMode,
            globalBS, expertTokenNumsType: i64;
        commAlg: *const c_char;
        zeroExpertNum, copyExpertNum, constExpertNum: i64;
        expandXOut, dynamicScalesOut, assistInfoForCombineOut, expertTokenNumsOut, epRecvCountsOut,
            tpRecvCountsOut, expandScalesOut: *mut aclTensor
    );
    op MoeDistributeCombineV2(
        expandX, expertIds, assistInfoForCombine, epSendCounts, expertScales, tpSendCountsOptional,
            xActiveMaskOptional, activationScaleOptional, weightScaleOptional, groupListOptional,
            expandScalesOptional, sharedExpertXOptional: *const aclTensor;
        groupEp: *const c_char;
        epWorldSize, epRankId, moeExpertNum: i64;
        groupTp: *const c_char;
        tpWorldSize, tpRankId, expertShardType, sharedExpertNum, sharedExpertRankNum, globalBS,
            outDtype, commQuantMode, groupListType: i64;
        commAlg: *const c_char;
        xOut: *mut aclTensor
    );
    op MoeDistributeCombineV4(
        expandX, expertIds, assistInfoForCombine, epSendCounts, expertScales, tpSendCountsOptional,
            xActiveMaskOptional, activationScaleOptional, weightScaleOptional, groupListOptional,
            expandScalesOptional, sharedExpertXOptional, elasticInfoOptional, oriXOptional,
            constExpertAlpha1Optional, constExpertAlpha2Optional, constExpertVOptional,
            performanceInfoOptional: *const aclTensor;
        groupEp: *const c_char;
        epWorldSize, epRankId, moeExpertNum: i64;
        groupTp: *const c_char;
        tpWorldSize, tpRankId, expertShardType, sharedExpertNum, sharedExpertRankNum, globalBS,
            outDtype, commQuantMode, groupListType: i64;
        commAlg: *const c_char;
        zeroExpertNum, copyExpertNum, constExpertNum: i64;
        xOut: *mut aclTensor
    );

    // Attention, dense and sparse.
    op FusedInferAttentionScoreV4(
        query: *const aclTensor;
        key, value: *const aclTensorList;
        pseShiftOptional, attenMaskOptional: *const aclTensor;
        actualSeqLengthsOptional, actualSeqLengthsKvOptional: *const aclIntArray;
        deqScale1Optional, quantScale1Optional, deqScale2Optional, quantScale2Optional,
            quantOffset2Optional, antiquantScaleOptional, antiquantOffsetOptional,
            blockTableOptional, queryPaddingSizeOptional, kvPaddingSizeOptional,
            keyAntiquantScaleOptional, keyAntiquantOffsetOptional, valueAntiquantScaleOptional,
            valueAntiquantOffsetOptional, keySharedPrefixOptional,
            valueSharedPrefixOptional: *const aclTensor;
        actualSharedPrefixLenOptional: *const aclIntArray;
        queryRopeOptional, keyRopeOptional, keyRopeAntiquantScaleOptional,
            dequantScaleQueryOptional, learnableSinkOptional: *const aclTensor;
        numHeads: i64;
        scaleValue: f64;
        preTokens, nextTokens: i64;
        inputLayout: *mut c_char;
        numKeyValueHeads, sparseMode, innerPrecise, blockSize, antiquantMode: i64;
        softmaxLseFlag: bool;
        keyAntiquantMode, valueAntiquantMode, queryQuantMode: i64;
        attentionOut, softmaxLse: *const aclTensor
    );
    op FusedInferAttentionScoreV5(
        query: *const aclTensor;
        key, value: *const aclTensorList;
        pseShiftOptional, attenMaskOptional: *const aclTensor;
        actualSeqLengthsOptional, actualSeqLengthsKvOptional: *const aclIntArray;
        deqScale1Optional, quantScale1Optional, deqScale2Optional, quantScale2Optional,
            quantOffset2Optional, antiquantScaleOptional, antiquantOffsetOptional,
            blockTableOptional, queryPaddingSizeOptional, kvPaddingSizeOptional,
            keyAntiquantScaleOptional, keyAntiquantOffsetOptional, valueAntiquantScaleOptional,
            valueAntiquantOffsetOptional, keySharedPrefixOptional,
            valueSharedPrefixOptional: *const aclTensor;
        actualSharedPrefixLenOptional: *const aclIntArray;
        queryRopeOptional, keyRopeOptional, keyRopeAntiquantScaleOptional,
            dequantScaleQueryOptional, learnableSinkOptional: *const aclTensor;
        qStartIdxOptional, kvStartIdxOptional: *const aclIntArray;
        numHeads: i64;
        scaleValue: f64;
        preTokens, nextTokens: i64;
        inputLayout: *mut c_char;
        numKeyValueHeads, sparseMode, innerPrecise, blockSize, antiquantMode: i64;
        softmaxLseFlag: bool;
        keyAntiquantMode, valueAntiquantMode, queryQuantMode, pseType: i64;
        attentionOut, softmaxLse: *const aclTensor
    );
    op SparseFlashAttention(
        query, key, value, sparseIndices, blockTable, actualSeqLengthsQuery, actualSeqLengthsKv,
            queryRope, keyRope: *const aclTensor;
        scaleValue: f64;
        sparseBlockSize: i64;
        layoutQuery, layoutKv: *mut c_char;
        sparseMode, preTokens, nextTokens, attentionMode: i64;
        returnSoftmaxLse: bool;
        attentionOutOut, softmaxMaxOut, softmaxSumOut: *const aclTensor
    );
    op SparseFlashAttentionV2(
        query, key, value, sparseIndices, blockTableOptional, actualSeqLengthsQueryOptional,
            actualSeqLengthsKvOptional, queryRopeOptional, keyRopeOptional,
            sinksOptional: *const aclTensor;
        scaleValue: f64;
        sparseBlockSizeOptional: i64;
        layoutQueryOptional, layoutKvOptional: *mut c_char;
        sparseMode, preTokens, nextTokens, attentionMode: i64;
        returnSoftmaxLse: bool;
        attentionOutOut, softmaxMaxOut, softmaxSumOut: *const aclTensor
    );
    #[optional]
    op SparseFlashMla(
        q, oriKvOptional, cmpKvOptional, oriSparseIndicesOptional, cmpSparseIndicesOptional,
            oriBlockTableOptional, cmpBlockTableOptional, cuSeqlensQOptional,
            cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional, sequsedOriKvOptional,
            sequsedCmpKvOptional, cmpResidualKvOptional, oriTopkLengthOptional,
            cmpTopkLengthOptional, sinksOptional, metadataOptional: *const aclTensor;
        softmaxScale: f64;
        cmpRatio, oriMaskMode, cmpMaskMode, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *mut c_char;
        topkValueMode: i64;
        returnSoftmaxLse: bool;
        attnOutOut, softmaxLseOutOptional: *const aclTensor
    );
    #[optional]
    op SparseFlashMlaMetadata(
        cuSeqlensQOptional, cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional,
            sequsedOriKvOptional, sequsedCmpKvOptional, cmpResidualKvOptional,
            oriTopkLengthOptional, cmpTopkLengthOptional: *const aclTensor;
        numHeadsQ, numHeadsKv, headDim, batchSize, maxSeqlenQ, maxSeqlenOriKv, maxSeqlenCmpKv,
            oriTopk, cmpTopk, cmpRatio, oriMaskMode, cmpMaskMode, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *const c_char;
        hasOriKv, hasCmpKv: bool;
        metaData: *const aclTensor
    );
    #[optional]
    op MixedQuantSparseFlashMla(
        q, oriKvOptional, cmpKvOptional, oriSparseIndicesOptional, cmpSparseIndicesOptional,
            oriBlockTableOptional, cmpBlockTableOptional, cuSeqlensQOptional,
            cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional, sequsedOriKvOptional,
            sequsedCmpKvOptional, cmpResidualKvOptional, oriTopkLengthOptional,
            cmpTopkLengthOptional, sinksOptional, metadataOptional: *const aclTensor;
        quantMode, ropeHeadDim: i64;
        softmaxScale: f64;
        cmpRatio, oriMaskMode, cmpMaskMode, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *mut c_char;
        topkValueMode: i64;
        returnSoftmaxLse: bool;
        attnOutOut, softmaxLseOutOptional: *const aclTensor
    );
    #[optional]
    op MixedQuantSparseFlashMlaMetadata(
        cuSeqlensQOptional, cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional,
            sequsedOriKvOptional, sequsedCmpKvOptional, cmpResidualKvOptional,
            oriTopkLengthOptional, cmpTopkLengthOptional: *const aclTensor;
        numHeadsQ, numHeadsKv, headDim, quantMode, batchSize, maxSeqlenQ, maxSeqlenOriKv,
            maxSeqlenCmpKv, oriTopk, cmpTopk, ropeHeadDim, cmpRatio, oriMaskMode, cmpMaskMode,
            oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *const c_char;
        hasOriKv, hasCmpKv: bool;
        metadata: *const aclTensor
    );

    // The indexer.
    op LightningIndexer(
        query, key, weights, actualSeqLengthsQueryOptional, actualSeqLengthsKeyOptional,
            blockTableOptional: *const aclTensor;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCount, sparseMode, preTokens, nextTokens: i64;
        returnValues: bool;
        sparseIndicesOut, sparseValuesOut: *const aclTensor
    );
    #[optional]
    op LightningIndexerV2(
        q, k, w, cuSeqlensQOptional, cuSeqlensKOptional, sequsedQOptional, sequsedKOptional,
            cmpResidualKOptional, blockTableOptional, outputIdxOffsetOptional,
            metadataOptional: *const aclTensor;
        topk, maxSeqlenQ: i64;
        layoutQ, layoutK: *mut c_char;
        maskMode, cmpRatio, returnValue: i64;
        sparseIndices, sparseValues: *const aclTensor
    );
    #[optional]
    op LightningIndexerV2Metadata(
        cuSeqlensQOptional, cuSeqlensKOptional, sequsedQOptional, sequsedKOptional,
            cmpResidualKOptional: *const aclTensor;
        numHeadsQ, numHeadsK, headDim, topk, batchSize, maxSeqlenQ, maxSeqlenK: i64;
        layoutQOptional, layoutKOptional: *mut c_char;
        maskMode, cmpRatio: i64;
        metadata: *const aclTensor
    );
    op QuantLightningIndexer(
        query, key, weights, queryDequantScale, keyDequantScale, actualSeqLengthsQueryOptional,
            actualSeqLengthsKeyOptional, blockTableOptional: *const aclTensor;
        queryQuantMode, keyQuantMode: i64;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCount, sparseMode, preTokens, nextTokens: i64;
        out: *const aclTensor
    );
    #[optional]
    op QuantLightningIndexerV2Metadata(
        cuSeqlensQOptional, cuSeqlensKOptional, sequsedQOptional, sequsedKOptional,
            cmpResidualKOptional: *const aclTensor;
        numHeadsQ, numHeadsK, headDim, topk, quantMode, batchSize, maxSeqlenQ, maxSeqlenK: i64;
        layoutQOptional, layoutKOptional: *mut c_char;
        maskMode, cmpRatio: i64;
        metadata: *const aclTensor
    );

    // Compressed rows and their caches.
    #[optional]
    op IndexerQuantCache(
        cacheRef, cacheScaleRef: *mut aclTensor;
        x, slotMapping: *const aclTensor;
        quantMode: i64;
        roundScale: bool;
        xScale: f32
    );
    #[optional]
    op KvCompressEpilog(
        cacheRef: *mut aclTensor;
        x, slotMapping: *const aclTensor;
        quantGroupSize, quantMode: i64;
        roundScale: bool;
        xScale: f32
    );
    #[optional]
    op Compressor(
        x, wkv, wgate, stateCacheRef, ape, stateBlockTable, cuSeqlens, seqused,
            startPos: *const aclTensor;
        cmpRatio, coff, cacheMode, stateCacheStrideDim0: i64;
        cmpKv, stateCache: *const aclTensor
    );

    // Hyper-connections.
    op MhcPre(
        x, phi, alpha, bias, gammaOptional: *const aclTensor;
        normEps, hcEps: f64;
        hIn, hPost, hRes, invRmsOptional, hMixOptional, hPreOptional: *mut aclTensor
    );
    op MhcPost(x, hRes, hOut, hPost: *const aclTensor; out: *mut aclTensor);
    #[optional]
    op MhcPreSinkhorn(
        x, phi, alpha, bias: *const aclTensor;
        hcMult, numIters: i64;
        hcEps, normEps: f64;
        needBackward: bool;
        hin, hPost, hRes, hPre, hcBeforeNorm, invRms, sumOut, normOut: *mut aclTensor
    );
    op MhcSinkhorn(
        x: *const aclTensor;
        eps: f32;
        numIters: i64;
        output, normOut, sumOut: *mut aclTensor
    );

    // Rotary positions.
    #[optional]
    op InplacePartialRotaryMul(
        xRef, cos, sin: *const aclTensor;
        rotary_mode: i64;
        partialSlice: *const aclIntArray
    );
    op RotaryPositionEmbedding(x, cos, sin: *const aclTensor; mode: i64; out: *mut aclTensor);
    op RotaryPositionEmbeddingV2(
        x, cos, sin: *const aclTensor;
        mode: i64;
        rotate: *const aclTensor;
        out: *mut aclTensor
    );
    op InterleaveRope(x, cos, sin: *const aclTensor; out: *mut aclTensor);
    op ApplyRotaryPosEmbV2(
        queryRef, keyRef: *mut aclTensor;
        cos, sin: *const aclTensor;
        layout: i64;
        rotaryMode: *mut c_char
    );

    // Caches of keys and values.
    op KvRmsNormRopeCacheV2(
        kv, gamma, cos, sin, index: *const aclTensor;
        kCacheRef, ckvCacheRef: *mut aclTensor;
        kRopeScaleOptional, cKvScaleOptional, kRopeOffsetOptional, cKvOffsetOptional,
            vOptional: *const aclTensor;
        epsilon: f64;
        cacheModeOptional: *mut c_char;
        isOutputKv: bool;
        kRopeOut, cKvOut: *const aclTensor
    );
    op ScatterPaKvCache(
        key: *const aclTensor;
        keyCacheRef: *mut aclTensor;
        slotMapping, value: *const aclTensor;
        valueCacheRef: *mut aclTensor;
        compressLensOptional, compressSeqOffsetOptional, seqLensOptional: *const aclTensor;
        cacheModeOptional, scatterModeOptional: *mut c_char;
        stridesOptional, offsetsOptional: *const aclIntArray
    );
    op ScatterPaCache(
        key: *const aclTensor;
        keyCacheRef: *mut aclTensor;
        slotMapping, compressLensOptional, compressSeqOffsetOptional,
            seqLensOptional: *const aclTensor;
        cacheMode: *mut c_char
    );
    op GatherPaKvCache(
        keyCache, valueCache, blockTables, seqLens: *const aclTensor;
        keyRef, valueRef: *mut aclTensor;
        seqOffsetOptional: *const aclTensor;
        cacheMode: *mut c_char;
        isSeqLensCumsum: bool
    );
    op MlaPrologV3WeightNz(
        tokenX, weightDq, weightUqQr, weightUk, weightDkvKr, rmsnormGammaCq, rmsnormGammaCkv,
            ropeSin, ropeCos: *const aclTensor;
        kvCacheRef, krCacheRef: *mut aclTensor;
        cacheIndexOptional, dequantScaleXOptional, dequantScaleWDqOptional,
            dequantScaleWUqQrOptional, dequantScaleWDkvKrOptional, quantScaleCkvOptional,
            quantScaleCkrOptional, smoothScalesCqOptional, actualSeqLenOptional,
            kNopeClipAlphaOptional: *const aclTensor;
        rmsnormEpsilonCq, rmsnormEpsilonCkv: f64;
        cacheModeOptional: *mut c_char;
        weightQuantMode, kvCacheQuantMode, queryQuantMode, ckvkrRepoMode, quantScaleRepoMode,
            tileSize: i64;
        qcQrScale, kcScale: f64;
        queryOut, queryRopeOut, dequantScaleQNopeOutOptional, queryNormOutOptional,
            dequantScaleQNormOutOptional: *const aclTensor
    );

    // Products that communicate.
    op MatmulAllReduceV2(
        x1, x2, bias, x3: *const aclTensor;
        group, reduceOp: *const c_char;
        commTurn, streamMode: i64;
        output: *const aclTensor
    );
    op MatmulReduceScatterV2(
        x1, x2, bias, x1Scale, x2Scale, quantScale: *const aclTensor;
        blockSize: i64;
        group, reduceOp: *const c_char;
        commTurn, streamMode, groupSize: i64;
        commMode: *const c_char;
        output, amaxOutOptional: *mut aclTensor
    );
    op AllGatherMatmulV2(
        x1, x2, bias, x1Scale, x2Scale, quantScale: *const aclTensor;
        blockSize: i64;
        group: *const c_char;
        gatherIndex, commTurn, streamMode, groupSize: i64;
        commMode: *const c_char;
        output, gatherOut, amaxOut: *mut aclTensor
    );

    // Attention of the towers, and parts of attention joined.
    op AttentionUpdate(
        lse, localOut: *const aclTensorList;
        updateType: i64;
        out, lseOut: *mut aclTensor
    );
    op FlashAttentionScoreV2(
        query, key, value, realShiftOptional, dropMaskOptional, paddingMaskOptional,
            attenMaskOptional: *const aclTensor;
        prefixOptional, qStartIdxOptional, kvStartIdxOptional: *const aclIntArray;
        scaleValue, keepProb: f64;
        preTokens, nextTokens, headNum: i64;
        inputLayout: *mut c_char;
        innerPrecise, sparseMode, pseType: i64;
        softmaxMaxOut, softmaxSumOut, softmaxOutOut, attentionOutOut: *const aclTensor
    );
    op PromptFlashAttentionV3(
        query, key, value, pseShift, attenMask: *const aclTensor;
        actualSeqLengths, actualSeqLengthsKv: *const aclIntArray;
        deqScale1, quantScale1, deqScale2, quantScale2, quantOffset2: *const aclTensor;
        numHeads: i64;
        scaleValue: f64;
        preTokens, nextTokens: i64;
        inputLayout: *mut c_char;
        numKeyValueHeads, sparseMode, innerPrecise: i64;
        attentionOut: *const aclTensor
    );
}
