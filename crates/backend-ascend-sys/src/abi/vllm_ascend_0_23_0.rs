//! The operators for DeepSeek-V4 of the package vllm-ascend, version 0.23.0, built with CANN 9.1.0.

use std::ffi::c_char;

use crate::table::abi_table;
use crate::types::{aclBoolArray, aclIntArray, aclTensor, aclTensorList};

abi_table! {
    /// The operators for DeepSeek-V4 of vllm-ascend 0.23.0.
    pub struct Operators: VLLM_ASCEND_0_23_0, CustOpapi;

    // Compression.
    op CompressorMetadata(
        ropeCos, ropeSin, cuSeqlens, startPos, kvBlockTable: *const aclTensor;
        kvBlockSize, slotMappingFormat, cmpRatio, actualNumReqs: i64;
        compressCosOut, compressSinOut, slotMappingOut: *const aclTensor
    );
    op Compressor(
        x, wkv, wgate: *const aclTensor;
        stateCacheRef: *mut aclTensor;
        ape, normWeight, ropeSin, ropeCos, stateBlockTableOptional, cuSeqlensOptional,
            sequsedOptional, startPosOptional: *const aclTensor;
        ropeHeadDim, cmpRatio, coff: i64;
        normEps: f64;
        rotaryMode, cacheMode, stateCacheStrideDim0: i64;
        cmpKvOut: *const aclTensor
    );

    // Hyper-connections.
    op HcPre(
        x, hcFn, hcScale, hcBase: *const aclTensor;
        hcMult, hcSinkhornIters: i64;
        hcEps, normEps: f64;
        yOut, postOut, combFragOut: *const aclTensor
    );
    op HcPost(x, residual, post, comb, out: *const aclTensor);
    op HcPreInvRms(x: *const aclTensor; epsilon: f64; out: *const aclTensor);
    op HcPreSinkhorn(
        mixes, rsqrt, hcScale, hcBase, x: *const aclTensor;
        hcMult, hcSinkhornIters: i64;
        hcEps: f64;
        yOut, postOut, combFragOut: *const aclTensor
    );

    // Rotary positions.
    op InplacePartialRotaryMul(
        xRef: *mut aclTensor;
        cos, sin: *const aclTensor;
        mode: i64;
        partialSliceOptional: *const aclIntArray
    );

    // Attention over a window and chosen compressed rows.
    op SparseAttnSharedkvMetadata(
        cuSeqLensQOptional, cuSeqLensOriKvOptional, cuSeqLensCmpKvOptional, sequsedQOptional,
            sequsedKvOptional: *const aclTensor;
        numHeadsQ, numHeadsKv, headDim, batchSizeOptional, maxSeqlenQOptional, maxSeqlenKvOptional,
            oriTopKOptional, cmpTopKOptional, cmpRatioOptional, oriMaskModeOptional,
            cmpMaskModeOptional, oriWinLeftOptional, oriWinRightOptional: i64;
        layoutQOptional, layoutKvOptional: *mut c_char;
        hasOriKvOptional, hasCmpKvOptional: bool;
        metaData: *const aclTensor
    );
    op SparseAttnSharedkv(
        q, oriKvOptional, cmpKvOptional, oriSparseIndicesOptional, cmpSparseIndicesOptional,
            oriBlockTableOptional, cmpBlockTableOptional, cuSeqlensQOptional,
            cuSeqlensOriKvOptional, cuSeqlensCmpKvOptional, sequsedQOptional, sequsedKvOptional,
            sinksOptional, metadataOptional: *const aclTensor;
        softmaxScale: f64;
        cmpRatio, oriMaskMode, cmpMaskMode, oriKvStride, cmpKvStride, oriWinLeft, oriWinRight: i64;
        layoutQOptional, layoutKvOptional: *mut c_char;
        returnSoftmaxLse: bool;
        attnOutOut, softmaxLseOut: *const aclTensor
    );

    // Gates.
    op MoeGatingTopK(
        x, biasOptional: *const aclTensor;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        yOut, expertIdxOut, outOut: *const aclTensor
    );
    op MoeGatingTopKHash(
        x, biasOptional, inputIdsOptional, tid2eidOptional: *const aclTensor;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        yOut, expertIdxOut, outOut: *const aclTensor
    );

    // The indexer.
    op VllmQuantLightningIndexerMetadata(
        actualSeqLengthsQueryOptional, actualSeqLengthsKeyOptional: *const aclTensor;
        numHeadsQ, numHeadsK, headDim, queryQuantMode, keyQuantMode, batchSizeOptional,
            maxSeqlenQOptional, maxSeqlenKOptional: i64;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCountOptional, sparseModeOptional, preTokensOptional, nextTokensOptional,
            cmpRatioOptional: i64;
        metaData: *const aclTensor
    );
    op VllmQuantLightningIndexer(
        query, key, weights, queryDequantScale, keyDequantScale, actualSeqLengthsQueryOptional,
            actualSeqLengthsKeyOptional, blockTableOptional, metadataOptional: *const aclTensor;
        queryQuantMode, keyQuantMode: i64;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCount, sparseMode, preTokens, nextTokens, cmpRatio: i64;
        returnValues: bool;
        stride, scaleStride: i64;
        sparseIndicesOut, sparseValuesOut: *const aclTensor
    );
    op LightningIndexer(
        query, key, weights, actualSeqLengthsQueryOptional, actualSeqLengthsKeyOptional,
            blockTableOptional: *const aclTensor;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCount, sparseMode, preTokens, nextTokens: i64;
        returnValues: bool;
        sparseIndicesOut, sparseValuesOut: *const aclTensor
    );
    op LightningIndexerQuant(
        query, key, weights, queryDequantScale, keyDequantScale, actualSeqLengthsQueryOptional,
            actualSeqLengthsKeyOptional, blockTableOptional: *const aclTensor;
        queryQuantMode, keyQuantMode: i64;
        layoutQueryOptional, layoutKeyOptional: *mut c_char;
        sparseCount, sparseMode: i64;
        out: *const aclTensor
    );

    // Attention over chosen rows.
    op KvQuantSparseFlashAttention(
        query, key, value, sparseIndices, keyDequantScaleOptional, valueDequantScaleOptional,
            blockTableOptional, actualSeqLengthsQueryOptional,
            actualSeqLengthsKvOptional: *const aclTensor;
        scaleValue: f64;
        keyQuantMode, valueQuantMode, sparseBlockSize: i64;
        layoutQueryOptional, layoutKvOptional: *mut c_char;
        sparseMode, preTokens, nextTokens, attentionMode, quantScaleRepoMode, tileSize,
            ropeHeadDim: i64;
        returnSoftmaxLse: bool;
        attentionOutOut, softmaxMaxOut, softmaxSumOut: *const aclTensor
    );
    op SparseFlashAttention(
        query, key, value, sparseIndices, blockTableOptional, actualSeqLengthsQueryOptional,
            actualSeqLengthsKvOptional, queryRopeOptional, keyRopeOptional: *const aclTensor;
        scaleValue: f64;
        sparseBlockSizeOptional: i64;
        layoutQueryOptional, layoutKvOptional: *mut c_char;
        sparseMode, preTokens, nextTokens, attentionMode: i64;
        returnSoftmaxLse: bool;
        attentionOut, softmaxMax, softmaxSum: *const aclTensor
    );

    // Norms and caches.
    op RmsNormDynamicQuant(
        x, gamma, smoothScale1Optional, smoothScale2Optional, betaOptional: *const aclTensor;
        epsilon: f64;
        outputMaskOptional: *const aclBoolArray;
        dstType: i64;
        y1Out, y2Out, scale1Out, scale2Out: *const aclTensor
    );
    op ScatterNdUpdateV2(
        varRef: *mut aclTensor;
        indices, updates: *const aclTensor;
        strides: *const aclIntArray
    );
    op StoreKvBlockMetadata(
        slotMapping, groupLen, groupKeyIdx, groupKeyCacheIdx: *const aclTensor;
        blockSize: i64
    );
    op StoreKVBlock(
        keyIn, keyCacheIn, groupLen, groupKeyIdx, groupKeyCacheIdx: *const aclTensor;
        blockSize: i64
    );

    // Experts.
    op MoeInitRoutingCustom(
        x, expertIdx, scaleOptional, offsetOptional: *const aclTensor;
        activeNum, expertCapacity, expertNum, dropPadMode, expertTokensNumType: i64;
        expertTokensNumFlag: bool;
        quantMode: i64;
        activeExpertRangeOptional: *const aclIntArray;
        rowIdxType: i64;
        expandedXOut, expandedRowIdxOut, expertTokensCountOrCumsumOut,
            expandedScaleOut: *const aclTensor
    );
    op MoeGroupedMatmul(
        x, weight: *const aclTensorList;
        groupList: *const aclTensor;
        transposeWeight: bool;
        out: *mut aclTensorList
    );
    op MoeGroupedMatmulWeightNz(
        x, weight: *const aclTensorList;
        groupList: *const aclTensor;
        transposeWeight: bool;
        out: *mut aclTensorList
    );
    op GroupedMatmulSwigluQuant(
        x, weight, bias, offset, weightScale, xScale, groupList: *const aclTensor;
        limited: f64;
        output, outputScale, outputOffset: *mut aclTensor
    );
    op GroupedMatmulSwigluQuantWeightNZ(
        x, weight, bias, offset, weightScale, xScale, groupList: *const aclTensor;
        limited: f64;
        output, outputScale, outputOffset: *mut aclTensor
    );
    op GroupedMatmulSwigluQuantWeightNzTensorList(
        x: *const aclTensor;
        weight: *const aclTensorList;
        bias, offset: *const aclTensor;
        weightScale: *const aclTensorList;
        xScale, groupList: *const aclTensor;
        swigluLimit: f32;
        output, outputScale, outputOffset: *mut aclTensor
    );
    op GroupedMatmulSwigluQuantV2(
        x: *const aclTensor;
        weight, weightScale, weightAssistMatrix: *const aclTensorList;
        bias, xScale, smoothScale, groupList: *const aclTensor;
        dequantMode, dequantDtype, quantMode, groupListType: i64;
        tuningConfigOptional: *const aclIntArray;
        swigluLimit: f64;
        output, outputScale: *mut aclTensor
    );
    op GroupedMatmulSwigluQuantWeightNzV2(
        x: *const aclTensor;
        weight, weightScale, weightAssistMatrix: *const aclTensorList;
        bias, xScale, smoothScale, groupList: *const aclTensor;
        dequantMode, dequantDtype, quantMode, groupListType: i64;
        tuningConfigOptional: *const aclIntArray;
        swigluLimit: f64;
        output, outputScale: *mut aclTensor
    );
    op DequantSwigluQuant(
        x, weightScaleOptional, activationScaleOptional, biasOptional, quantScaleOptional,
            quantOffsetOptional, groupIndexOptional: *const aclTensor;
        activateLeft: bool;
        quantModeOptional: *mut c_char;
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

    // The rest.
    op AddRmsNormBias(
        x1, x2, gamma, betaOptional: *const aclTensor;
        epsilon: f64;
        yOut, rstdOut, xOut: *const aclTensor
    );
    op TransposeKvCacheByBlock(
        kCache, vCache: *const aclTensorList;
        blockIDs: *const aclTensor;
        blockSize, headNum, headDim, splitNum, layerNum: i64
    );
}
