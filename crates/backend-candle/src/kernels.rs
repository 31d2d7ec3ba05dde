//! The verbs: fused on the host, the provided bodies elsewhere.

use std::ops::Range;

use deepseek_core::operands::{Chosen, Fold, HyperWeights, Linear, Mix, Pick, Picked, Softmax};
use deepseek_core::{DeviceTensor, Kernels, Result, Rounding, reference};

use crate::backend::{Candle, Rows, Weight};
use crate::host::{self, Pool};
use crate::tensor::Tensor;

impl Kernels for Candle {
    fn hc_pre(
        &self,
        streams: &Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Tensor>,
        rounding: Option<Rounding>,
    ) -> Result<(Tensor, Mix<Self>)> {
        let (Some(pool), Weight::Stored(projection)) = (self.pool(), &weights.projection) else {
            return reference::hc_pre(self, streams, weights, carried, rounding);
        };
        let (tokens, n) = (streams.shape()[0], weights.shape.streams);
        let carried = carried.map(Tensor::values);
        let (scale, base) = (weights.scale.values(), weights.base.values());
        let known = (projection, &*scale, &*base);
        let shape = weights.shape;
        let mut read = host::hc_pre(
            pool,
            &streams.values(),
            tokens,
            known,
            shape,
            carried.as_deref(),
        );
        round_rows(pool, &mut read.y, streams.width(), rounding);
        let mix = Mix {
            pre: Tensor::host(&[tokens, n], read.pre)?,
            post: Tensor::host(&[tokens, n], read.post)?,
            comb: Tensor::host(&[tokens, n, n], read.comb)?,
        };
        Ok((Tensor::host(&[tokens, streams.width()], read.y)?, mix))
    }

    fn hc_post(
        &self,
        y: &Tensor,
        streams: &Tensor,
        mix: &Mix<Self>,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        let Some(pool) = self.pool() else {
            return reference::hc_post(self, y, streams, mix, rounding);
        };
        let shares = (&*mix.post.values(), &*mix.comb.values());
        let mut out = host::hc_post(
            pool,
            (&y.values(), &streams.values()),
            shares,
            streams.shape()[1],
        );
        round_rows(pool, &mut out, streams.width(), rounding);
        Tensor::host(streams.shape(), out)
    }

    fn project(&self, x: &Tensor, products: &[&Linear<Self>]) -> Result<Vec<Tensor>> {
        let stored: Option<Vec<_>> = products.iter().map(|p| p.weight.stored()).collect();
        let (Some(pool), Some(views)) = (self.pool(), stored) else {
            return reference::project(self, x, products);
        };
        let (plain, rows) = (x.values(), x.rows());
        let mut rounded: Vec<(Rounding, Vec<f32>)> = Vec::new();
        for rounding in products.iter().filter_map(|product| product.input) {
            if rounded.iter().all(|(known, _)| *known != rounding) {
                let mut values = plain.to_vec();
                host::round_rows(pool, &mut values, x.width(), rounding);
                rounded.push((rounding, values));
            }
        }
        let mut shape = x.shape().to_vec();
        let last = shape.len() - 1;
        products
            .iter()
            .zip(views)
            .map(|(product, view)| {
                let known = rounded
                    .iter()
                    .find(|(rounding, _)| Some(*rounding) == product.input);
                let x = known.map_or(&*plain, |(_, values)| values);
                shape[last] = view.shape[0];
                let mut out = vec![0.0; rows * view.shape[0]];
                host::linear(pool, x, view, &mut out);
                round_rows(pool, &mut out, view.shape[0], product.output);
                Tensor::host(&shape, out)
            })
            .collect()
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

/// Rounds rows of `width` in place, where a rounding is given.
fn round_rows(pool: &Pool, x: &mut [f32], width: usize, rounding: Option<Rounding>) {
    if let Some(rounding) = rounding {
        host::round_rows(pool, x, width, rounding);
    }
}
