//! The operators for DeepSeek-V4.1 of the package vllm-ascend, version 0.30.0rc2.
//!
//! No built package of it is published, so no header says what these look like: they follow from the
//! definitions of the operators (inputs, attributes and outputs, each in the order of the definition).

use std::ffi::c_char;

use crate::table::abi_table;
use crate::types::{aclIntArray, aclTensor};

abi_table! {
    /// The operators for DeepSeek-V4.1 of vllm-ascend 0.30.0rc2, against no header yet.
    pub struct Operators: VLLM_ASCEND_0_30_0RC2, CustOpapi;

    // Hyper-connections. The mix of the sub-layer before comes in, that for the next one goes out.
    #[optional]
    op HcPre(
        x, hcFn, hcScale, hcBase, preMixOptional: *const aclTensor;
        hcMult, hcSinkhornIters: i64;
        hcEps, normEps: f64;
        yOut, postOut, combFragOut, preOutOptional: *const aclTensor
    );

    // Rotary positions, with the angle's sign.
    #[optional]
    op InplacePartialRotaryMul(
        xRef: *mut aclTensor;
        cos, sin: *const aclTensor;
        mode: i64;
        partialSliceOptional: *const aclIntArray;
        negateSin: bool
    );

    // Attention over a window and chosen compressed rows.
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

    // The indexer, which may keep candidates and choose among kept ones.
    #[optional]
    op VllmAscendQuantLightningIndexerV2(
        q, k, w, qDescale, kDescale, cuSeqlensQOptional, cuSeqlensKOptional, sequsedQOptional,
            sequsedKOptional, cmpResidualKOptional, blockTableOptional, outputIdxOffsetOptional,
            metadataOptional, candidateTopkIndexOptional: *const aclTensor;
        topk, quantMode, maxSeqlenQ: i64;
        layoutQ, layoutK: *mut c_char;
        maskMode, cmpRatio, returnValue, candidateMode, candidateTopkBlocks, candidateBlockSize,
            keyStride0, keyDequantScaleStride0: i64;
        sparseIndicesOut, sparseValuesOut, candidateTopkIndexOutOptional: *const aclTensor
    );
    #[optional]
    op VllmAscendQuantLightningIndexerV2Metadata(
        cuSeqlensQOptional, cuSeqlensKOptional, sequsedQOptional, sequsedKOptional,
            cmpResidualKOptional: *const aclTensor;
        numHeadsQ, numHeadsK, headDim, topk, quantMode, batchSize, maxSeqlenQ, maxSeqlenK: i64;
        layoutQOptional, layoutKOptional: *mut c_char;
        maskMode, cmpRatio: i64;
        metadata: *const aclTensor
    );

    // Gates, with a bias of their own for the rows of images.
    #[optional]
    op MoeGatingTopKHash(
        x, biasOptional, inputIdsOptional, tid2eidOptional, biasVlOptional: *const aclTensor;
        k, kGroup, groupCount, groupSelectMode, renorm, normType: i64;
        outFlag: bool;
        routedScalingFactor, eps: f64;
        imageSentinelLo, imageSentinelCount: i64;
        yOut, expertIdxOut, outOut: *const aclTensor
    );

    // Norms and caches.
    #[optional]
    op RmsNormCast(x, gamma: *const aclTensor; epsilon: f64; yOut, yFp32Out: *const aclTensor);
    #[optional]
    op ScatterNdUpdateSk(
        varRef: *mut aclTensor;
        indices, updates: *const aclTensor;
        strides: *const aclIntArray
    );
    #[optional]
    op KvCompressEpilogV2(
        cacheRef: *mut aclTensor;
        x, slotMapping: *const aclTensor;
        quantGroupSize, quantMode: i64;
        roundScale: bool;
        xScale: f64;
        blockStride: i64
    );
    #[optional]
    op IndexerCompressEpilogV2(
        indexerCompressCacheRef: *mut aclTensor;
        x, slotMapping: *const aclTensor;
        layout, blockStride: i64
    );
}
