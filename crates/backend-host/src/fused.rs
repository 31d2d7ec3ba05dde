//! The verbs, fused.

use std::sync::Arc;

use deepseek_core::operands::{
    ExpertBank, ExpertViews, FeedForward, Gate, Groups, HyperWeights, Inputs, Linear, Mix,
    PoolState, Pooling, Residency, Routing, Selection, Softmax, TopK, TopKRows,
};
use deepseek_core::{Backend, DeviceTensor, Kernels, Result, Rounding, reference};

use crate::backend::{Host, Rows};
use crate::kernels::{self, Pooled, Read};
use crate::tensor::Tensor;

impl Kernels for Host {
    type Experts = ExpertBank<Self>;

    fn load_experts(
        &self,
        experts: &[ExpertViews],
        residency: Residency,
    ) -> Result<ExpertBank<Self>> {
        ExpertBank::mapped(self, experts, residency)
    }

    fn expert(&self, bank: &ExpertBank<Self>, id: u32) -> Result<FeedForward<Self>> {
        Ok(bank.expert(id))
    }

    fn prefetch(&self, bank: &ExpertBank<Self>, ids: &Self::Ids) -> Result<()> {
        bank.prefetch(ids);
        Ok(())
    }

    fn hc_pre(
        &self,
        streams: &Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Tensor>,
        rounding: Option<Rounding>,
    ) -> Result<(Tensor, Mix<Self>)> {
        let (tokens, n) = (streams.shape()[0], weights.config.streams);
        let mut y = self.room(tokens * streams.width());
        let mut pre = self.room(tokens * n);
        let mut post = self.room(tokens * n);
        let mut comb = self.room(tokens * n * n);
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
            weights.config,
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
        state: &mut PoolState<Self>,
        groups: &Groups<Self>,
        pooling: Pooling,
        rounding: Option<Rounding>,
    ) -> Result<Option<Tensor>> {
        let width = match pooling {
            Pooling::Plain => kv.width(),
            Pooling::Overlap { .. } => kv.width() / 2,
        };
        let pooled = if groups.count == 0 {
            None
        } else {
            let members = groups.members.on_host(self)?;
            let kv = Pooled {
                old: &groups.old,
                state: state.kv.pool(),
                step: kv.values(),
            };
            let scores = Pooled {
                old: &groups.old,
                state: state.scores.pool(),
                step: scores.values(),
            };
            Some(self.make(&[groups.count, width], |out| {
                kernels::compress(self.pool(), (kv, scores), &members, pooling, out);
                kernels::round_in_place(self.pool(), out, width, rounding);
            }))
        };
        self.write_rows(&mut state.kv, &groups.kept, kv)?;
        self.write_rows(&mut state.scores, &groups.kept, scores)?;
        Ok(pooled)
    }

    fn index_topk(
        &self,
        q: &Tensor,
        weights: &Tensor,
        keys: &Rows,
        seen: &Selection<Self>,
        top: &TopK,
    ) -> Result<TopKRows<Self>> {
        let seen = seen.on_host(self)?;
        let (q, weights) = (q.values(), weights.values());
        let (best, candidates) =
            kernels::index_topk(self.pool(), q, weights, keys.pool(), &seen, top);
        let selection = |runs| Selection::Runs(Arc::new(runs));
        Ok(TopKRows {
            rows: selection(best),
            candidates: candidates.map(selection),
        })
    }

    fn attend(
        &self,
        q: &Tensor,
        from: &[(&Rows, &Selection<Self>)],
        sink: &Tensor,
        softmax: Softmax,
    ) -> Result<Tensor> {
        let from = from
            .iter()
            .map(|(rows, selection)| Ok((rows.pool(), selection.on_host(self)?)))
            .collect::<Result<Vec<_>>>()?;
        let from: Vec<_> = from.iter().map(|(rows, runs)| (*rows, &**runs)).collect();
        let (heads, sink) = (q.shape()[1], sink.values());
        Ok(self.make(q.shape(), |out| {
            kernels::attend(self.pool(), q.values(), heads, &from, sink, softmax, out);
        }))
    }

    /// The weights as the released code has them: each score divided by the sum.
    fn route(&self, x: &Tensor, gate: &Gate<Self>, rows: &Inputs<Self>) -> Result<Routing<Self>> {
        let (scores, experts) = reference::choose_experts(self, x, gate, rows)?;
        let all = (scores.values(), scores.width());
        let weights = self.make(&[x.rows(), gate.top_k], |out| {
            kernels::route_weights(all, (&experts, gate.top_k), gate.scale, out);
        });
        Ok(Routing {
            experts,
            weights,
            scores,
            top_k: gate.top_k,
        })
    }
}
