//! The verbs: fused on the host, the provided bodies elsewhere.

use std::ops::Range;

use deepseek_core::operands::{Chosen, Fold, HyperWeights, Mix, Pick, Picked, Softmax};
use deepseek_core::{DeviceTensor, Kernels, Result, reference};

use crate::backend::{Candle, Rows, Weight};
use crate::host;
use crate::tensor::Tensor;

impl Kernels for Candle {
    fn hc_pre(
        &self,
        streams: &Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Tensor>,
    ) -> Result<(Tensor, Mix<Self>)> {
        let (Some(pool), Weight::Stored(projection)) = (self.pool(), &weights.projection) else {
            return reference::hc_pre(self, streams, weights, carried);
        };
        let (tokens, n) = (streams.shape()[0], weights.shape.streams);
        let carried = carried.map(Tensor::values);
        let (scale, base) = (weights.scale.values(), weights.base.values());
        let known = (projection, &*scale, &*base);
        let shape = weights.shape;
        let read = host::hc_pre(
            pool,
            &streams.values(),
            tokens,
            known,
            shape,
            carried.as_deref(),
        );
        let mix = Mix {
            pre: Tensor::host(&[tokens, n], read.pre)?,
            post: Tensor::host(&[tokens, n], read.post)?,
            comb: Tensor::host(&[tokens, n, n], read.comb)?,
        };
        Ok((Tensor::host(&[tokens, streams.width()], read.y)?, mix))
    }

    fn hc_post(&self, y: &Tensor, streams: &Tensor, mix: &Mix<Self>) -> Result<Tensor> {
        let Some(pool) = self.pool() else {
            return reference::hc_post(self, y, streams, mix);
        };
        let shares = (&*mix.post.values(), &*mix.comb.values());
        let out = host::hc_post(
            pool,
            (&y.values(), &streams.values()),
            shares,
            streams.shape()[1],
        );
        Tensor::host(streams.shape(), out)
    }

    fn compress(
        &self,
        kv: &Tensor,
        scores: &Tensor,
        groups: &[Range<usize>],
        fold: Fold,
    ) -> Result<Tensor> {
        let Some(pool) = self.pool() else {
            return reference::compress(self, kv, scores, groups, fold);
        };
        let rows = (&*kv.values(), &*scores.values());
        let out = host::compress(pool, rows, kv.width(), groups, fold);
        Tensor::host(&[groups.len(), out.len() / groups.len().max(1)], out)
    }

    fn index_topk(
        &self,
        q: &Tensor,
        weights: &Tensor,
        keys: &Rows,
        seen: &Chosen,
        pick: &Pick,
    ) -> Result<Picked> {
        let (Some(pool), Rows::Packed(rows)) = (self.pool(), keys) else {
            return reference::index_topk(self, q, weights, keys, seen, pick);
        };
        let (q, weights) = (q.values(), weights.values());
        Ok(host::index_topk(pool, &q, &weights, rows, seen, pick))
    }

    fn attend(
        &self,
        q: &Tensor,
        from: &[(&Rows, &Chosen)],
        sink: &Tensor,
        softmax: Softmax,
    ) -> Result<Tensor> {
        let Some(pool) = self.pool() else {
            return reference::attend(self, q, from, sink, softmax);
        };
        let from: Vec<_> = from
            .iter()
            .map(|(rows, chosen)| match rows {
                Rows::Packed(rows) => (rows, *chosen),
                Rows::Floats(_) => unreachable!("the host's rows are packed"),
            })
            .collect();
        let heads = q.shape()[1];
        let out = host::attend(pool, &q.values(), heads, &from, &sink.values(), softmax);
        Tensor::host(q.shape(), out)
    }
}
