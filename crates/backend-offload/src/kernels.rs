//! The verbs: the chip's own operator where it takes the shapes, else the provided body.

use std::ops::Range;
use std::sync::Arc;

use deepseek_core::operands::{
    ExpertShare, FeedForward, Gate, HyperWeights, Inputs, Linear, Mix, Residency, Routing, Select,
    Selection, Softmax, SwiGlu, TopK, TopKRows,
};
use deepseek_core::{
    Backend, DeviceTensor, Error, Few, Kernels, Result, Rounding, Unary, reference,
};

use crate::driver::{Chip, Driver, Form};
use crate::matrix::Matrix;
use crate::offload::Offload;
use crate::op::Op;
use crate::tensor::{Experts, Ids, Places, Rows, Tensor};
use crate::verb::{Declined, Listed, RouteBy, Verb};
use crate::view::{Address, DType, Numbering, View};

/// Where operands lie of which shapes and types alone are asked.
const NOWHERE: Address = Address(0);

impl<D: Driver> Kernels for Offload<D> {
    type Experts = Experts<Form<D>>;

    fn load_experts(&self, share: ExpertShare<'_>, _: Residency) -> Result<Experts<Form<D>>> {
        let experts = share.views;
        let gate_up: Vec<_> = experts.iter().map(|own| [&own.gate, &own.up]).collect();
        let gate_up: Vec<_> = gate_up.iter().map(|both| &both[..]).collect();
        let down: Vec<_> = experts.iter().map(|own| [&own.down]).collect();
        let down: Vec<_> = down.iter().map(|one| &one[..]).collect();
        Ok(Experts {
            gate_up: self.load_stack(&gate_up, Some(experts.len()))?,
            down: self.load_stack(&down, Some(experts.len()))?,
            views: experts.into(),
            first: share.first,
            places: self.places_of(share)?,
        })
    }

    fn experts_in(&self, bank: &Experts<Form<D>>) -> Range<u32> {
        bank.first as u32..(bank.first + bank.views.len()) as u32
    }

    /// Loads it once more, by itself: a grouped product wants all experts as one operand, and no step asks
    /// for one alone.
    fn expert(&self, bank: &Experts<Form<D>>, id: u32) -> Result<FeedForward<Self>> {
        bank.views[id as usize - bank.first].load(self)
    }

    fn hc_pre(
        &self,
        streams: &Tensor,
        weights: &HyperWeights<Self>,
        carried: Option<&Tensor>,
        rounding: Option<Rounding>,
    ) -> Result<(Tensor, Mix<Self>)> {
        if let Some(dtype) = self.whole("hc_pre", rounding) {
            let [tokens, n, hidden] = dims(streams);
            let verb = Verb::HcPre {
                streams: streams.view(),
                projection: Arc::clone(weights.projection.product()),
                scale: weights.scale.view(),
                base: weights.base.view(),
                config: weights.config,
                carried: carried.map(Tensor::view),
            };
            if self.takes(&verb) {
                let results = [
                    ([tokens, hidden].into(), dtype),
                    ([tokens, n].into(), DType::F32),
                    ([tokens, n].into(), DType::F32),
                    ([tokens, n, n].into(), DType::F32),
                ];
                let [y, pre, post, comb] = self.run_verb(verb, results)?;
                return Ok((y, Mix { pre, post, comb }));
            }
        }
        reference::hc_pre(self, streams, weights, carried, rounding)
    }

    fn hc_post(
        &self,
        y: &Tensor,
        streams: &Tensor,
        mix: &Mix<Self>,
        rounding: Option<Rounding>,
    ) -> Result<Tensor> {
        if let Some(dtype) = self.whole("hc_post", rounding) {
            let verb = Verb::HcPost {
                y: y.view(),
                streams: streams.view(),
                post: mix.post.view(),
                comb: mix.comb.view(),
            };
            if self.takes(&verb) {
                let [mixed] = self.run_verb(verb, [(streams.shape().into(), dtype)])?;
                return Ok(mixed);
            }
        }
        reference::hc_post(self, y, streams, mix, rounding)
    }

    /// As the provided body, but for the rounding of a result to BF16, which is part of its product.
    fn project(&self, x: &Tensor, products: &[&Linear<Self>]) -> Result<Few<Tensor>> {
        let mut rounded: Few<(Rounding, Tensor)> = Few::new();
        let mut results = Few::new();
        for product in products {
            let known = rounded
                .iter()
                .find(|(known, _)| Some(*known) == product.input)
                .map(|(_, x)| x.clone());
            let x = match (known, product.input) {
                (Some(known), _) => known,
                (None, None) => x.clone(),
                (None, Some(rounding)) => {
                    let x = self.round(x, rounding)?;
                    rounded.push((rounding, x.clone()));
                    x
                }
            };
            let y = self.product(&x, &product.weight, within(product.output))?;
            results.push(match product.output {
                Some(rounding) => self.round(&y, rounding)?,
                None => y,
            });
        }
        Ok(results)
    }

    fn index_topk(
        &self,
        q: &Tensor,
        weights: &Tensor,
        keys: &Rows,
        seen: &Selection<Self>,
        top: &TopK,
    ) -> Result<TopKRows<Self>> {
        let (ids, n) = seen.ids(self)?;
        let ids = self.renumbered(&ids, Numbering::FromOne)?;
        if n > top.k && self.takes_blocks(top) {
            let tokens = q.shape()[0];
            let verb = Verb::IndexTopk {
                q: q.view(),
                weights: weights.view(),
                keys: keys.numbered(Numbering::FromOne),
                seen: ids.list.shaped([tokens, n]),
                top: *top,
            };
            if self.takes(&verb) {
                let results = [([tokens * top.k].into(), DType::I32)];
                let [list] = self.run_verb(verb, results)?;
                let ids = Ids {
                    list,
                    whole: false,
                    ..ids
                };
                let rows = Selection::Rows { ids, k: top.k };
                return Ok(TopKRows {
                    rows,
                    candidates: None,
                });
            }
        }
        let seen = Selection::Rows { ids, k: n };
        reference::index_topk(self, q, weights, keys, &seen, top)
    }

    fn attend(
        &self,
        q: &Tensor,
        from: &[(&Rows, &Selection<Self>)],
        sink: &Tensor,
        softmax: Softmax,
    ) -> Result<Tensor> {
        let tokens = q.shape()[0];
        let lists = from
            .iter()
            .map(|(_, selection)| {
                let (ids, k) = selection.ids(self)?;
                let ids = self.renumbered(&ids, Numbering::FromOne)?;
                Ok(Selection::Rows { ids, k })
            })
            .collect::<Result<Vec<Selection<Self>>>>()?;
        let listed = from.iter().zip(&lists).filter_map(|((rows, _), list)| {
            let Selection::Rows { ids, k } = list else {
                return None;
            };
            Some(Listed {
                rows: rows.numbered(Numbering::FromOne),
                at: ids.list.shaped([tokens, *k]),
            })
        });
        let verb = Verb::Attend {
            q: q.view(),
            from: listed.collect(),
            sink: sink.view(),
            softmax,
        };
        if self.takes(&verb) {
            let [y] = self.run_verb(verb, [(q.shape().into(), DType::F32)])?;
            return Ok(y);
        }
        let from: Vec<_> = from
            .iter()
            .zip(&lists)
            .map(|((rows, _), list)| (*rows, list))
            .collect();
        reference::attend(self, q, &from, sink, softmax)
    }

    fn route(&self, x: &Tensor, gate: &Gate<Self>, rows: &Inputs<Self>) -> Result<Routing<Self>> {
        let (tokens, top_k) = (x.rows(), gate.top_k);
        let projection = gate.projection.product();
        let experts = projection.shape[0];
        let verb = |by| Verb::Route {
            x: x.view(),
            projection: Arc::clone(projection),
            by,
            top_k,
            scale: gate.scale,
        };
        let by_bias = |rows| RouteBy::Score(View::new(NOWHERE, DType::F32, [rows, experts]));
        let shapes = match &gate.select {
            Select::Score { bias } if bias.rows() > 1 && rows.media.is_some() => by_bias(tokens),
            Select::Score { .. } => by_bias(1),
            Select::Token(_) => RouteBy::Given(View::new(NOWHERE, DType::I32, [tokens, top_k])),
        };
        if !self.takes(&verb(shapes)) {
            return reference::route(self, x, gate, rows);
        }
        let weighed = [
            ([tokens, top_k].into(), DType::F32),
            ([tokens, experts].into(), DType::F32),
        ];
        let (experts, [weights, scores]) = match &gate.select {
            Select::Score { bias } => {
                let bias = match &rows.media {
                    Some(media) if bias.rows() > 1 => self.gather(bias, &media.kinds)?,
                    Some(_) | None => self.narrow(bias, 0, 0, 1)?,
                };
                let chosen = ([tokens * top_k].into(), DType::I32);
                let results = [chosen, weighed[0], weighed[1]];
                let by = verb(RouteBy::Score(bias.view()));
                let [list, weights, scores] = self.run_verb(by, results)?;
                (Ids::places(list, experts), [weights, scores])
            }
            Select::Token(table) => {
                let given = table.experts(self, &rows.tokens, tokens)?;
                let given = self.renumbered(&given, Numbering::FromZero)?;
                let by = verb(RouteBy::Given(given.list.shaped([tokens, top_k])));
                (given, self.run_verb(by, weighed)?)
            }
        };
        Ok(Routing {
            experts,
            weights,
            scores,
            top_k,
        })
    }

    fn feed_forward(
        &self,
        x: &Tensor,
        network: &FeedForward<Self>,
        form: SwiGlu,
    ) -> Result<Tensor> {
        let branches = |x: &Tensor, dtype| {
            let gate = self.product(x, &network.gate, dtype)?;
            Ok([gate, self.product(x, &network.up, dtype)?])
        };
        let down = |x: &Tensor, dtype| self.product(x, &network.down, dtype);
        self.gated(x, None, form, branches, down)
    }

    fn experts(
        &self,
        x: &Tensor,
        routing: &Routing<Self>,
        bank: &Experts<Form<D>>,
        form: SwiGlu,
    ) -> Result<Tensor> {
        let [tokens, hidden] = [x.rows(), x.width()];
        let experts = self.renumbered(&routing.experts, Numbering::FromZero)?;
        if let Some(places) = &bank.places {
            let why = Declined("experts of other ranks".to_owned());
            self.note_choice("experts", Some(&why));
            let at = self.gather_from(places.at.view(), &experts)?;
            let at = Ids::places(at, bank.views.len() + 1);
            // Whatever a device makes of rows that no expert is here for comes to nothing.
            let weights = self.reshape(&routing.weights, &[tokens * routing.top_k, 1])?;
            let weighed = Routing {
                experts: experts.clone(),
                weights: self.mul(&weights, &self.gather(&places.here, &experts)?)?,
                scores: routing.scores.clone(),
                top_k: routing.top_k,
            };
            return self.grouped_experts(x, &at, &weighed, bank, form);
        }
        let verb = Verb::Experts {
            x: x.view(),
            experts: experts.list.shaped([tokens, routing.top_k]),
            weights: routing.weights.view(),
            gate_up: Arc::clone(&bank.gate_up.matrix),
            down: Arc::clone(&bank.down.matrix),
            form,
        };
        if self.takes(&verb) {
            let [y] = self.run_verb(verb, [([tokens, hidden].into(), DType::F32)])?;
            return Ok(y);
        }
        self.grouped_experts(x, &experts, routing, bank, form)
    }
}

impl<D: Driver> Offload<D> {
    /// The type of a verb's result with its rounding; nothing where the rounding is one that no verb
    /// makes, which is noted.
    fn whole(&self, verb: &'static str, rounding: Option<Rounding>) -> Option<DType> {
        match rounding {
            None => Some(DType::F32),
            Some(Rounding::Bf16) => Some(DType::Bf16),
            Some(other) => {
                self.note_choice(verb, Some(&Declined(format!("rounded to {other:?}"))));
                None
            }
        }
    }

    /// Whether candidates are left out, which no verb makes; else that is noted.
    fn takes_blocks(&self, top: &TopK) -> bool {
        if top.blocks.is_some() {
            self.note_choice("index_topk", Some(&Declined("keeps candidates".to_owned())));
        }
        top.blocks.is_none()
    }

    /// The places of all experts of a layer among those that are here; none where all are.
    fn places_of(&self, share: ExpertShare<'_>) -> Result<Option<Places>> {
        let count = share.views.len();
        if count == share.total {
            return Ok(None);
        }
        self.chip().joins().map_err(|why| Error::Unsupported {
            device: self.chip().name().to_owned(),
            what: format!("a part of the experts: {}", why.0),
        })?;
        let place = |id: usize| match id.checked_sub(share.first) {
            Some(place) if place < count => place,
            _ => count,
        };
        let places = (0..share.total).flat_map(|id| (place(id) as u32).to_le_bytes());
        let at = self.make([share.total, 1], DType::I32)?;
        self.copy_in(at.view(), places.collect())?;
        let is_here = |id: usize| f32::from(u8::from(place(id) < count));
        let factors = (0..share.total).flat_map(|id| is_here(id).to_le_bytes());
        let here = self.make([share.total, 1], DType::F32)?;
        self.copy_in(here.view(), factors.collect())?;
        Ok(Some(Places { at, here }))
    }

    /// The experts by grouped products: visits are sorted by expert on the device, so nothing of the routing
    /// comes to the host, and what is asked of the device does not depend on the number of rows. Visits to
    /// experts that are not here come last, and have no weight.
    fn grouped_experts(
        &self,
        x: &Tensor,
        experts: &Ids,
        routing: &Routing<Self>,
        bank: &Experts<Form<D>>,
        form: SwiGlu,
    ) -> Result<Tensor> {
        let [tokens, hidden] = [x.rows(), x.width()];
        let (top_k, visits) = (routing.top_k, tokens * routing.top_k);
        let count = bank.views.len();
        let ids =
            |below| -> Result<Ids> { Ok(Ids::places(self.make([visits], DType::I32)?, below)) };
        let (rows, order, places) = (ids(tokens)?, ids(visits)?, ids(visits)?);
        let are_elsewhere = bank.places.is_some();
        let ends = self.make([count + usize::from(are_elsewhere)], DType::I32)?;
        self.run(Op::Dispatch {
            experts: experts.list.shaped([tokens, top_k]),
            rows: rows.list.view(),
            visits: order.list.view(),
            places: places.list.view(),
            ends: ends.view(),
        })?;
        let x = self.gather(x, &rows)?;
        let weights = self.gather(&self.reshape(&routing.weights, &[visits, 1])?, &order)?;
        let by = |x: &Tensor, matrix: &Arc<Matrix<Form<D>>>, dtype| {
            let out = self.make([visits, matrix.shape[0]], dtype)?;
            if are_elsewhere {
                self.fill_zeros(out.view())?;
            }
            self.run(Op::Grouped {
                x: x.view(),
                weight: Arc::clone(matrix),
                ends: ends.view().part(0, [count]),
                out: out.view(),
            })?;
            Ok(out)
        };
        let branches = |x: &Tensor, dtype| {
            let both = by(x, &bank.gate_up.matrix, dtype)?;
            let inner = both.width() / 2;
            let gate = self.narrow(&both, 1, 0, inner)?;
            Ok([gate, self.narrow(&both, 1, inner, inner)?])
        };
        let down = |x: &Tensor, dtype| by(x, &bank.down.matrix, dtype);
        let y = self.gated(&x, Some(&weights), form, branches, down)?;
        let y = self.gather(&y, &places)?;
        let y = self.reshape(&y, &[tokens, top_k, hidden])?;
        self.reshape(&self.sum(&y, 1)?, &[tokens, hidden])
    }

    /// A gated network on rows, each with its weight if there are any, by whatever products.
    fn gated(
        &self,
        x: &Tensor,
        weights: Option<&Tensor>,
        form: SwiGlu,
        branches: impl FnOnce(&Tensor, DType) -> Result<[Tensor; 2]>,
        down: impl FnOnce(&Tensor, DType) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let SwiGlu { limit, input, bf16 } = form;
        let dtype = if bf16 { DType::Bf16 } else { DType::F32 };
        let rounded = |x: &Tensor| match input {
            Some(rounding) => self.round(x, rounding),
            None => Ok(x.clone()),
        };
        let [gate, up] = branches(&rounded(x)?, dtype)?;
        let clamp = |x: &Tensor, min| self.map(x, Unary::Clamp { min, max: limit });
        let gate = self.map(&clamp(&gate, f32::NEG_INFINITY)?, Unary::Silu)?;
        let mut inner = self.mul(&gate, &clamp(&up, -limit)?)?;
        if let Some(weights) = weights {
            inner = self.mul(&inner, weights)?;
        }
        if bf16 {
            inner = self.round(&inner, Rounding::Bf16)?;
        }
        down(&rounded(&inner)?, dtype)
    }
}

/// The type of a product whose rounding may be part of it.
fn within(rounding: Option<Rounding>) -> DType {
    match rounding {
        Some(Rounding::Bf16) => DType::Bf16,
        Some(_) | None => DType::F32,
    }
}

fn dims(streams: &Tensor) -> [usize; 3] {
    let shape = streams.shape().try_into();
    shape.expect("streams are [tokens, streams, hidden]")
}
