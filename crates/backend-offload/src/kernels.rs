//! The verbs: the chip's own operator where it takes the shapes, else the provided body.

use std::ops::Range;
use std::slice;
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
use crate::tensor::{Experts, Ids, Places, Rows, Tensor, Weight};
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
                dtype,
            };
            if self.takes(&verb) {
                let y = self.make([tokens, hidden], dtype)?;
                let post = self.make([tokens, n], DType::F32)?;
                let comb = self.make([tokens, n, n], DType::F32)?;
                let mut results = vec![y.clone(), post.clone(), comb.clone()];
                let pre = carried.map(|_| self.make([tokens, n], DType::F32));
                let pre = pre.transpose()?;
                results.extend(pre.clone());
                self.run_verb_into(verb, &results)?;
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
                dtype,
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
        let asked: Few<_> = products
            .iter()
            .map(|product| (product.input, &product.weight, within(product.output)))
            .collect();
        let results = self.projected(x, &asked)?;
        let rounded = results
            .iter()
            .zip(products)
            .map(|(y, product)| match product.output {
                Some(rounding) => self.round(y, rounding),
                None => Ok(y.clone()),
            });
        rounded.collect()
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
            let both = [&network.gate, &network.up].map(|weight| (form.input, weight, dtype));
            let both = self.projected(x, &both)?.into_vec();
            Ok(both.try_into().expect("two of two"))
        };
        let down = |x: &Tensor, dtype| {
            let mut one = self.projected(x, &[(form.input, &network.down, dtype)])?;
            Ok(one.remove(0))
        };
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
            } else if self.takes_grouped(x, form, matrix, &ends, &out)? {
                return Ok(out);
            }
            self.run(Op::Grouped {
                x: self.rounded(x, form.input)?.view(),
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
        let SwiGlu { limit, bf16, .. } = form;
        let dtype = if bf16 { DType::Bf16 } else { DType::F32 };
        let [gate, up] = branches(x, dtype)?;
        let clamp = |x: &Tensor, min| self.map(x, Unary::Clamp { min, max: limit });
        let gate = self.map(&clamp(&gate, f32::NEG_INFINITY)?, Unary::Silu)?;
        let mut inner = self.mul(&gate, &clamp(&up, -limit)?)?;
        if let Some(weights) = weights {
            inner = self.mul(&inner, weights)?;
        }
        if bf16 {
            inner = self.round(&inner, Rounding::Bf16)?;
        }
        down(&inner, dtype)
    }

    fn rounded(&self, x: &Tensor, rounding: Option<Rounding>) -> Result<Tensor> {
        rounding.map_or_else(|| Ok(x.clone()), |rounding| self.round(x, rounding))
    }

    /// Products of one input, each with the rounding of the input and its own type. Those that the chip takes whole are made
    /// together; for the others each rounding of the input is made once.
    fn projected(&self, x: &Tensor, asked: &[Asked<'_, D>]) -> Result<Few<Tensor>> {
        let made: Few<Tensor> = asked
            .iter()
            .map(|(_, weight, dtype)| self.product_room(x, weight, *dtype))
            .collect::<Result<_>>()?;
        let rows = [x.rows(), x.width()];
        let verb = |products| Verb::Project {
            x: x.shaped(rows),
            products,
        };
        let (mut whole, mut results) = (Vec::new(), Vec::new());
        let mut rounded: Few<(Option<Rounding>, Tensor)> = Few::new();
        for ((input, weight, dtype), out) in asked.iter().zip(&made) {
            let one = (Arc::clone(weight.product()), *dtype);
            if *input == Some(Rounding::Int8) && self.takes(&verb(vec![one.clone()])) {
                whole.push(one);
                results.push(out.clone());
                continue;
            }
            let known = rounded.iter().position(|(known, _)| known == input);
            let place = known.map_or_else(
                || -> Result<usize> {
                    rounded.push((*input, self.rounded(x, *input)?));
                    Ok(rounded.len() - 1)
                },
                Ok,
            )?;
            self.multiply(&rounded[place].1, weight, out)?;
        }
        if !whole.is_empty() {
            self.run_verb_into(verb(whole), &results)?;
        }
        Ok(made)
    }

    /// Whether the chip has the products of rows by runs for what is rounded to INT8: then they are made.
    fn takes_grouped(
        &self,
        x: &Tensor,
        form: SwiGlu,
        weight: &Arc<Matrix<Form<D>>>,
        ends: &Tensor,
        out: &Tensor,
    ) -> Result<bool> {
        let verb = Verb::Grouped {
            x: x.view(),
            weight: Arc::clone(weight),
            ends: ends.view(),
            dtype: out.view().dtype,
        };
        let takes = form.input == Some(Rounding::Int8) && self.takes(&verb);
        if takes {
            self.run_verb_into(verb, slice::from_ref(out))?;
        }
        Ok(takes)
    }
}

/// A product that is asked for: how its input is rounded, the matrix, and what is kept of it.
type Asked<'a, D> = (Option<Rounding>, &'a Weight<Form<D>>, DType);

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
