//! The verbs, fused.

use std::ops::Range;

use deepseek_core::operands::{Chosen, Fold, HyperWeights, Linear, Mix, Pick, Picked, Softmax};
use deepseek_core::{Backend, DeviceTensor, Kernels, Result, Rounding};

use crate::backend::{Host, Rows};
use crate::kernels::{self, Read};
use crate::tensor::Tensor;

impl Kernels for Host {
    fn hc_pre(
        &self,
        streams: &Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Tensor>,
        rounding: Option<Rounding>,
    ) -> Result<(Tensor, Mix<Self>)> {
        let (tokens, n) = (streams.shape()[0], weights.shape.streams);
        let mut y = self.take(tokens * streams.width());
        let mut pre = self.take(tokens * n);
        let mut post = self.take(tokens * n);
        let mut comb = self.take(tokens * n * n);
        let known = (
            weights.projection.view(),
            weights.scale.values(),
            weights.base.values(),
        );
        let read = Read {
            y: &mut y,
            pre: &mut pre,
            post: &mut post,
            comb: &mut comb,
        };
        let carried = carried.map(Tensor::values);
        kernels::hc_pre(
            self.pool(),
            streams.values(),
            known,
            weights.shape,
            carried,
            read,
        );
        kernels::round_in_place(self.pool(), &mut y, streams.width(), rounding);
        let mix = Mix {
            pre: Tensor::new(&[tokens, n], pre),
            post: Tensor::new(&[tokens, n], post),
            comb: Tensor::new(&[tokens, n, n], comb),
        };
        Ok((Tensor::new(&[tokens, streams.width()], y), mix))
    }

    fn hc_post(
        &self,
        y: &Tensor,
        streams: &Tensor,
        mix: &Mix<Self>,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        let shares = (mix.post.values(), mix.comb.values());
        let (flow, n) = ((y.values(), streams.values()), streams.shape()[1]);
        Ok(self.make(streams.shape(), |out| {
            kernels::hc_post(self.pool(), flow, shares, n, out);
            kernels::round_in_place(self.pool(), out, streams.width(), rounding);
        }))
    }

    fn project(&self, x: &Tensor, products: &[&Linear<Self>]) -> Result<Vec<Tensor>> {
        let mut rounded: Vec<(Rounding, Tensor)> = Vec::new();
        for rounding in products.iter().filter_map(|product| product.input) {
            if rounded.iter().all(|(known, _)| *known != rounding) {
                rounded.push((rounding, self.round(x, rounding)?));
            }
        }
        let mut shape = x.shape().to_vec();
        let product = |product: &&Linear<Self>| {
            let known = rounded
                .iter()
                .find(|(rounding, _)| Some(*rounding) == product.input);
            let x = known.map_or(x, |(_, rounded)| rounded).values();
            let weight = product.weight.view();
            let outputs = weight.shape[0];
            *shape.last_mut().expect("a product has inputs") = outputs;
            self.make(&shape, |out| {
                kernels::linear(self.pool(), x, weight, out);
                kernels::round_in_place(self.pool(), out, outputs, product.output);
            })
        };
        Ok(products.iter().map(product).collect())
    }

    fn compress(
        &self,
        kv: &Tensor,
        scores: &Tensor,
        groups: &[Range<usize>],
        fold: Fold,
    ) -> Result<Tensor> {
        let width = match fold {
            Fold::Plain => kv.width(),
            Fold::Overlap { .. } => kv.width() / 2,
        };
        let rows = (kv.values(), scores.values());
        Ok(self.make(&[groups.len(), width], |out| {
            kernels::compress(self.pool(), rows, kv.width(), groups, fold, out);
        }))
    }

    fn index_topk(
        &self,
        q: &Tensor,
        weights: &Tensor,
        keys: &Rows,
        seen: &Chosen,
        pick: &Pick,
    ) -> Result<Picked> {
        let (q, weights) = (q.values(), weights.values());
        let pool = self.pool();
        Ok(kernels::index_topk(
            pool,
            q,
            weights,
            keys.pool(),
            seen,
            pick,
        ))
    }

    fn attend(
        &self,
        q: &Tensor,
        from: &[(&Rows, &Chosen)],
        sink: &Tensor,
        softmax: Softmax,
    ) -> Result<Tensor> {
        let from: Vec<_> = from
            .iter()
            .map(|(rows, chosen)| (rows.pool(), *chosen))
            .collect();
        let (heads, sink) = (q.shape()[1], sink.values());
        Ok(self.make(q.shape(), |out| {
            kernels::attend(self.pool(), q.values(), heads, &from, sink, softmax, out);
        }))
    }
}
