//! The verbs, fused.

use std::ops::Range;

use deepseek_core::operands::{
    ExpertBank, ExpertShare, FeedForward, Gate, Groups, HyperWeights, Inputs, Linear, Mix,
    PoolState, Pooling, Residency, Routing, Selection, Softmax, SwiGlu, TopK, TopKRows, Visits,
};
use deepseek_core::{Backend, DeviceTensor, Few, Kernels, NO_ROW, Result, Rounding, reference};

use crate::backend::{Host, Rows};
use crate::kernels::{self, Found, Network, Pooled, Read};
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Kernels for Host {
    type Experts = ExpertBank<Self>;

    fn load_experts(
        &self,
        share: ExpertShare<'_>,
        residency: Residency,
    ) -> Result<ExpertBank<Self>> {
        ExpertBank::mapped(self, share, residency)
    }

    fn experts_in(&self, bank: &ExpertBank<Self>) -> Range<u32> {
        bank.range()
    }

    fn expert(&self, bank: &ExpertBank<Self>, id: u32) -> Result<FeedForward<Self>> {
        Ok(bank.expert(id))
    }

    fn prefetch(&self, bank: &ExpertBank<Self>, ids: &Self::Ids) -> Result<()> {
        bank.prefetch(ids);
        Ok(())
    }

    fn visits(&self, bank: &ExpertBank<Self>) -> Visits {
        bank.visits()
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
            y: y.edit(),
            pre: pre.edit(),
            post: post.edit(),
            comb: comb.edit(),
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
        kernels::round_in_place(self.pool(), y.edit(), streams.width(), rounding);
        let mix = Mix {
            pre: Some(Tensor::new(&[tokens, n], pre)),
            post: Tensor::new(&[tokens, n], post),
            comb: Tensor::new(&[tokens, n, n], comb),
        };
        let y = Tensor::new(&[tokens, streams.width()], y);
        Ok((y.rounded(rounding), mix))
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

    fn project(&self, x: &Tensor, products: &[&Linear<Self>]) -> Result<Few<Tensor>> {
        let mut rounded: Few<(Rounding, Tensor)> = Few::new();
        for rounding in products.iter().filter_map(|product| product.input) {
            if rounded.iter().all(|(known, _)| *known != rounding) {
                rounded.push((rounding, self.round(x, rounding)?));
            }
        }
        let mut shape = Shape::from(x.shape());
        let product = |product: &&Linear<Self>| {
            let known = rounded
                .iter()
                .find(|(rounding, _)| Some(*rounding) == product.input);
            let x = known.map_or(x, |(_, rounded)| rounded);
            let weight = product.weight.view();
            *shape.last_mut().expect("a product has inputs") = weight.shape[0];
            let made = self.make(&shape, |out| {
                let (known, to) = (x.known(), product.output);
                kernels::linear(self.pool(), x.values(), weight, known, to, out);
            });
            made.rounded(product.output)
        };
        Ok(products.iter().map(product).collect())
    }

    fn project_grouped(&self, x: &Tensor, groups: &[Linear<Self>]) -> Result<Tensor> {
        let first = &groups[0];
        let alike = |group: &Linear<Self>| {
            group.input.is_none()
                && group.output == first.output
                && group.weight.view().shape == first.weight.view().shape
        };
        if !groups.iter().all(alike) {
            return reference::project_grouped(self, x, groups);
        }
        let outputs = first.weight.view().shape[0];
        let count = groups.len();
        let weight = |group: usize| groups[group].weight.view();
        let made = self.make(&[x.rows(), count * outputs], |out| {
            let (x, known) = (x.values(), x.known());
            kernels::linear_grouped(self.pool(), x, count, weight, known, first.output, out);
        });
        Ok(made.rounded(first.output))
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
        let (q, weights) = ((q.values(), q.known()), weights.values());
        let search = |found: Found<'_>| {
            let keys = (keys.pool(), &*seen);
            self.searches()
                .run(self.pool(), q, weights, keys, top, found);
        };
        let mut candidates = None;
        let rows = self.runs().take(|rows| match top.blocks {
            None => search(Found {
                rows,
                candidates: None,
            }),
            Some(_) => {
                let kept = self.runs().take(|kept| {
                    search(Found {
                        rows,
                        candidates: Some(kept),
                    });
                });
                candidates = Some(Selection::Runs(kept));
            }
        });
        Ok(TopKRows {
            rows: Selection::Runs(rows),
            candidates,
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
            .collect::<Result<Few<_>>>()?;
        let from: Few<_> = from.iter().map(|(rows, runs)| (*rows, &**runs)).collect();
        let (heads, sink) = (q.shape()[1], sink.values());
        Ok(self.make(q.shape(), |out| {
            let q = (q.values(), q.known());
            kernels::attend(self.pool(), q, heads, &from, sink, softmax, out);
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

    fn feed_forward(
        &self,
        x: &Tensor,
        network: &FeedForward<Self>,
        form: SwiGlu,
    ) -> Result<Tensor> {
        let x = self.rounded(x, form)?;
        let networks = [self::network(network, 0..x.rows())];
        let mut inner = self.room(x.rows() * networks[0].gate.shape[0]);
        Ok(self.make(x.shape(), |out| {
            let x = x.values();
            kernels::feed_forward(self.pool(), x, &networks, None, form, inner.edit(), out);
        }))
    }

    /// Experts take turns in their order, some at a time: as many as have enough rows together to
    /// keep the threads busy, and no more than are in memory together with those of the next turn, which
    /// are fetched meanwhile.
    fn experts(
        &self,
        x: &Tensor,
        routing: &Routing<Self>,
        bank: &ExpertBank<Self>,
        form: SwiGlu,
    ) -> Result<Tensor> {
        let (experts, hidden) = (&routing.experts, x.width());
        let expert = |visit: &u32| experts[*visit as usize];
        let here = bank.range();
        let own = (0..)
            .zip(experts.iter())
            .filter(|(_, expert)| here.contains(expert));
        let visits = self.list(own.clone().count(), |visits| {
            let all = visits.iter_mut().zip(own);
            all.for_each(|(visit, (number, _))| *visit = number);
            visits.sort_unstable_by_key(|visit| (expert(visit), *visit));
        });
        let x = self.rounded(x, form)?;
        let mut outputs = self.room(visits.len() * hidden);
        let fit = bank.resident_max();
        let next = |from: usize| turn(&visits[from..], (fit / 2).max(1), expert);
        let fetch = |visits: &[u32]| {
            let ids: Few<u32> = visits
                .chunk_by(|a, b| expert(a) == expert(b))
                .map(|run| expert(&run[0]))
                .collect();
            bank.prefetch(&ids);
        };
        let (mut done, mut some) = (0, next(0));
        while !some.is_empty() {
            let end = done + some.len();
            let later = next(end);
            let ahead = if fit > 1 { later.len() } else { 0 };
            fetch(&visits[done..end + ahead]);
            let out = &mut outputs.edit()[done * hidden..end * hidden];
            self.visit(&x, routing, bank, form, some, out)?;
            (done, some) = (end, later);
        }
        // Each token sums its experts in the order of its routing, those that are here.
        let places = self.list(experts.len(), |places| {
            places.fill(NO_ROW);
            for (place, visit) in visits.iter().enumerate() {
                places[*visit as usize] = place as u32;
            }
        });
        Ok(self.make(&[x.rows(), hidden], |out| {
            let places = (&*places, routing.top_k);
            kernels::sum_rows(self.pool(), (&outputs, hidden), places, out);
        }))
    }
}

/// Rows for which experts are run together: more of them would only take more memory.
const TOGETHER: usize = 64;

/// The first of `visits`, which are sorted by expert: all of so many experts, `most` of them, that they
/// are [`TOGETHER`] or more.
fn turn(visits: &[u32], most: usize, expert: impl Fn(&u32) -> u32) -> &[u32] {
    let mut end = 0;
    for one in visits.chunk_by(|a, b| expert(a) == expert(b)).take(most) {
        end += one.len();
        if end >= TOGETHER {
            break;
        }
    }
    &visits[..end]
}

/// A network where it lies, and the rows that it is for.
fn network(of: &FeedForward<Host>, rows: Range<usize>) -> Network<'_> {
    Network {
        gate: of.gate.view(),
        up: of.up.view(),
        down: of.down.view(),
        rows,
    }
}

impl Host {
    /// `x` as the products of a network take it.
    fn rounded(&self, x: &Tensor, form: SwiGlu) -> Result<Tensor> {
        form.input
            .map_or_else(|| Ok(x.clone()), |rounding| self.round(x, rounding))
    }

    /// The outputs of some visits, which are sorted by expert, to `out: [visits, hidden]`.
    fn visit(
        &self,
        x: &Tensor,
        routing: &Routing<Self>,
        bank: &ExpertBank<Self>,
        form: SwiGlu,
        visits: &[u32],
        out: &mut [f32],
    ) -> Result<()> {
        let expert = |visit: &u32| routing.experts[*visit as usize];
        let runs = visits.chunk_by(|a, b| expert(a) == expert(b));
        let visited = runs.clone().map(|run| self.expert(bank, expert(&run[0])));
        let visited = visited.collect::<Result<Few<_>>>()?;
        let mut end = 0;
        let networks = visited.iter().zip(runs).map(|(expert, run)| {
            end += run.len();
            network(expert, end - run.len()..end)
        });
        let networks: Few<_> = networks.collect();
        let mut weights = self.room(visits.len());
        for (weight, visit) in weights.edit().iter_mut().zip(visits) {
            *weight = routing.weights.values()[*visit as usize];
        }
        let tokens = self.list(visits.len(), |tokens| {
            for (token, visit) in tokens.iter_mut().zip(visits) {
                *token = visit / routing.top_k as u32;
            }
        });
        let x = self.gather(x, &tokens)?;
        let mut inner = self.room(visits.len() * networks[0].gate.shape[0]);
        let (pool, weights, inner) = (self.pool(), Some(&*weights), inner.edit());
        kernels::feed_forward(pool, x.values(), &networks, weights, form, inner, out);
        Ok(())
    }
}
