//! The attention layer.

use std::sync::Arc;

use deepseek_core::operands::{ScoreRounding, Selection, Softmax, TopK, TopKRows, WeightRounding};
use deepseek_core::{
    Backend, DeviceTensor, Few, Kernels, Linear, Loader, Numerics, Result, Rotation, Rounding, Sum,
    Unary,
};

use crate::batch::Batch;
use crate::compress::{Compressor, CompressorConfig, Finish};
use crate::draw::draw;
use crate::indexer::{Indexer, IndexerConfig};
use crate::memory::{Memory, Store};
use crate::role::{Choice, Filter, Keys, Producer, Role, SourceId};

/// The numbers that shape an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionConfig {
    /// Channels of the input and of the result.
    pub hidden: usize,
    /// Query heads.
    pub heads: usize,
    /// Channels of a head, and of a row of keys and values.
    pub head_dim: usize,
    /// Channels of the query latent.
    pub latent: usize,
    /// Groups of the output projection.
    pub groups: usize,
    /// Channels of one group's output latent.
    pub group_latent: usize,
    /// Index heads.
    pub index_heads: usize,
    /// Channels of an index head.
    pub index_width: usize,
    /// Added to mean squares in norms.
    pub norm_eps: f32,
    /// Whether query heads are normalised, which V4 does and V4.1 does not.
    pub head_norm: bool,
    /// How a row of the window is rounded before it is stored.
    pub window_rounding: Option<Rounding>,
    /// The same for a compressed row.
    pub entry_rounding: Option<Rounding>,
    /// How index queries and keys are rounded.
    pub index_rounding: Option<Rounding>,
    /// What of an index score is rounded.
    pub score_rounding: Option<ScoreRounding>,
    /// How the weights of values are rounded.
    pub weight_rounding: Option<WeightRounding>,
}

/// What one layer leaves for the next, and for an onlooker, within a step.
#[derive(Debug)]
pub struct Carry<B: Backend> {
    /// The compressed rows that each query of the last layer attended to.
    pub chosen: Option<Selection<B>>,
    /// The rows that later layers may choose among.
    pub candidates: Option<Selection<B>>,
    /// A source whose rows of this step have been made ahead of its layer.
    pub produced: Option<SourceId>,
    /// What the last layer's choice went by.
    pub criteria: Criteria<B>,
}

/// What rows are chosen by. It reaches nothing else that a layer gives: numbers that are not finite here
/// choose other rows, whose own numbers are in order.
#[derive(Debug)]
pub struct Criteria<B: Backend> {
    /// Index queries and the shares of their heads, `[t, ..]`; nothing where all rows were taken.
    pub queries: Option<[B::Tensor; 2]>,
    /// Keys that the layer has made, `[rows, width]`, before they are rotated and rounded.
    pub keys: Option<MadeKeys<B>>,
}

/// Keys to the rows of a source that a step has made.
#[derive(Debug)]
pub struct MadeKeys<B: Backend> {
    /// The source's kind, see [`Batch::source`].
    pub kind: usize,
    /// `[rows, width]`, the rows of [`MadeStep`](crate::MadeStep).
    pub rows: B::Tensor,
}

impl<B: Backend> Default for Carry<B> {
    fn default() -> Self {
        Self {
            chosen: None,
            candidates: None,
            produced: None,
            criteria: Criteria::default(),
        }
    }
}

impl<B: Backend> Default for Criteria<B> {
    fn default() -> Self {
        Self {
            queries: None,
            keys: None,
        }
    }
}

/// Attention over a window and over chosen compressed rows (`docs/models/deepseek-v4.md` §3.4 to
/// §3.6, `docs/models/deepseek-v41.md` the same).
#[derive(Debug)]
pub struct Attention<B: Backend> {
    q_latent: Linear<B>,
    q_norm: B::Tensor,
    q_heads: Linear<B>,
    kv: Linear<B>,
    kv_norm: B::Tensor,
    sink: B::Tensor,
    out_groups: Vec<Linear<B>>,
    out: Linear<B>,
    /// Of what `out` gives of the heads that are here.
    out_sum: Sum,
    producer: Option<RowProducer<B>>,
    indexer: Option<Indexer<B>>,
    role: Role,
    layer: usize,
    /// With the heads and groups that are here.
    config: AttentionConfig,
    numerics: Numerics,
}

/// What makes the rows of a source.
#[derive(Debug)]
struct RowProducer<B: Backend> {
    entries: Compressor<B>,
    entries_finish: Finish,
    keys: Option<KeyProducer<B>>,
    keys_finish: Finish,
}

/// What makes the keys to those rows.
#[derive(Debug)]
enum KeyProducer<B: Backend> {
    Compressed(Compressor<B>),
    Projected {
        projection: Linear<B>,
        norm: B::Tensor,
    },
}

impl<B: Kernels> RowProducer<B> {
    fn load(
        load: &Loader<'_, B>,
        (role, producer): (Role, Producer),
        config: &AttentionConfig,
    ) -> Result<Self> {
        let compressor = |width, compression| CompressorConfig {
            hidden: config.hidden,
            width,
            ratio: role.ratio as usize,
            compression,
            norm_eps: config.norm_eps,
        };
        let finish = |rounding| Finish {
            rounding,
            numerics: load.numerics,
        };
        let (width, compression) = (config.index_width, producer.compression);
        let keys = match producer.keys {
            Keys::None => None,
            Keys::Compressed => {
                let load = load.at("indexer.compressor");
                let keys = Compressor::load(&load, compressor(width, compression))?;
                Some(KeyProducer::Compressed(keys))
            }
            Keys::Projected => {
                let load = load.at("indexer");
                Some(KeyProducer::Projected {
                    projection: load.linear("wk.weight", [width, config.head_dim])?,
                    norm: load.vector("k_norm.weight", width)?,
                })
            }
        };
        Ok(Self {
            entries: Compressor::load(
                &load.at("compressor"),
                compressor(config.head_dim, compression),
            )?,
            entries_finish: finish(config.entry_rounding),
            keys,
            keys_finish: finish(config.index_rounding),
        })
    }

    /// What multiplies the layer's input.
    fn products(&self) -> impl Iterator<Item = &Linear<B>> {
        let keys = match &self.keys {
            Some(KeyProducer::Compressed(keys)) => Some(keys),
            Some(KeyProducer::Projected { .. }) | None => None,
        };
        let keys = keys.into_iter().flat_map(Compressor::products);
        self.entries.products().chain(keys)
    }
}

impl<B: Kernels> Attention<B> {
    /// Reads the layer, of the heads those of this rank; `layer` is the number of its window in the memory.
    /// Keys and values are of one head that all share, so every rank makes and keeps all rows.
    pub fn load(
        load: &Loader<'_, B>,
        role: Role,
        layer: usize,
        config: AttentionConfig,
    ) -> Result<Self> {
        let AttentionConfig {
            hidden,
            heads,
            head_dim,
            latent,
            groups,
            group_latent,
            ..
        } = config;
        let wo_a = load.tensors.matrix(
            "wo_a.weight",
            [groups * group_latent, heads * head_dim / groups],
        )?;
        // A group is not divided: its heads go through one matrix.
        let own_groups = load.shares.heads.range(groups);
        let of_groups = |each: usize| own_groups.start * each..own_groups.end * each;
        let own_heads = of_groups(heads / groups);
        let out_groups = own_groups
            .clone()
            .map(|group| {
                let rows = group * group_latent..(group + 1) * group_latent;
                Ok(load.linear_of(&wo_a.narrow(rows))?.without_input_rounding())
            })
            .collect::<Result<_>>()?;
        let wo_b = load
            .tensors
            .matrix("wo_b.weight", [hidden, groups * group_latent])?;
        let out = load.linear_of(&load.columns(&wo_b, of_groups(group_latent))?)?;
        let (out, out_sum) = out.summed_by(load.shares.heads);
        let producer = match role.produces {
            Some(producer) => Some(RowProducer::load(load, (role, producer), &config)?),
            None => None,
        };
        let indexer = match role.choice {
            Choice::Fresh { .. } => {
                let indexer = IndexerConfig {
                    hidden,
                    latent,
                    heads: config.index_heads,
                    width: config.index_width,
                    rounding: config.index_rounding,
                };
                Some(Indexer::load(&load.at("indexer"), indexer)?)
            }
            Choice::None | Choice::All | Choice::Random { .. } | Choice::Carried => None,
        };
        Ok(Self {
            q_latent: load.linear("wq_a.weight", [latent, hidden])?,
            q_norm: load.vector("q_norm.weight", latent)?,
            q_heads: load.linear_outputs(
                "wq_b.weight",
                [heads * head_dim, latent],
                own_heads.start * head_dim..own_heads.end * head_dim,
            )?,
            kv: load.linear("wkv.weight", [head_dim, hidden])?,
            kv_norm: load.vector("kv_norm.weight", head_dim)?,
            sink: load.vector_part("attn_sink", heads, own_heads.clone())?,
            out_groups,
            out,
            out_sum,
            producer,
            indexer,
            role,
            layer,
            config: AttentionConfig {
                heads: own_heads.len(),
                groups: own_groups.len(),
                ..config
            },
            numerics: load.numerics,
        })
    }

    /// `x: [t, hidden]`, normalised, and so is the shape of the result. Stores the rows of the
    /// batch before it attends, because a token sees itself and the group it completes.
    pub fn forward(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
        carry: &mut Carry<B>,
    ) -> Result<B::Tensor> {
        let AttentionConfig {
            heads,
            head_dim,
            norm_eps,
            ..
        } = self.config;
        let act = |x: B::Tensor| self.numerics.activation(be, x);
        let angles = batch.angles(self.role.rope);
        let tokens = x.rows();

        // All that multiplies the input does so at once.
        let produces = self.role.source.is_some() && carry.produced != self.role.source;
        let producer = self.producer.as_ref().filter(|_| produces);
        let mut products = Few::from_iter([&self.q_latent, &self.kv]);
        products.extend(producer.into_iter().flat_map(RowProducer::products));
        let mut made = be.project(x, &products)?.into_iter();
        let mut next = || made.next().expect("a result of each product");
        let (latent, kv) = (next(), next());
        let rounding = self.numerics.rounding();
        let latent = be.rms_norm(&latent, Some(&self.q_norm), norm_eps, rounding)?;
        let q = be.project_one(&latent, &self.q_heads)?;
        let q = be.reshape(&q, &[tokens, heads, head_dim])?;
        let q = if self.config.head_norm {
            self.norm_heads(be, &q)?
        } else {
            q
        };
        let q = act(be.rope(&q, angles, Rotation::Forward)?)?;

        self.store_window(be, &kv, batch, memory)?;
        if let Some(producer) = producer {
            carry.criteria.keys = self.produce_from(be, producer, made, batch, memory)?;
        }
        self.choose(be, (x, &latent), batch, memory, carry)?;
        let mut from = Few::from_iter([(memory.window(self.layer), &batch.window().seen)]);
        if let (Some(source), Some(chosen)) = (self.role.source, &carry.chosen) {
            from.push((&memory.store(source).entries.rows, chosen));
        }
        let softmax = Softmax {
            scale: (head_dim as f32).powf(-0.5),
            round: self.config.weight_rounding,
        };
        let out = act(be.attend(&q, &from, &self.sink, softmax)?)?;
        let out = act(be.rope(&out, angles, Rotation::Inverse)?)?;
        self.project(be, &out)
    }

    /// Stores what the window keeps of `x: [t, hidden]`, normalised.
    pub fn store(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        self.store_window(be, &be.project_one(x, &self.kv)?, batch, memory)
    }

    fn store_window(
        &self,
        be: &B,
        kv: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let act = |x: B::Tensor| self.numerics.activation(be, x);
        let (norm, rounding) = (Some(&self.kv_norm), self.numerics.rounding());
        let kv = be.rms_norm(kv, norm, self.config.norm_eps, rounding)?;
        let kv = act(be.rope(&kv, batch.angles(self.role.rope), Rotation::Forward)?)?;
        let kv = match self.config.window_rounding {
            Some(rounding) => be.round(&kv, rounding)?,
            None => kv,
        };
        be.write_rows(memory.window_mut(self.layer), &batch.window().at, &kv)
    }

    /// Normalises each query head over its channels, without weights. The released code does this
    /// in BF16 arithmetic, every step of it rounded (`docs/models/deepseek-v4.md` §5.1).
    fn norm_heads(&self, be: &B, q: &B::Tensor) -> Result<B::Tensor> {
        let eps = self.config.norm_eps;
        if !self.numerics.bf16 {
            return be.rms_norm(q, None, eps, None);
        }
        let round = |x: B::Tensor| be.round(&x, Rounding::Bf16);
        let squares = round(be.mul(q, q)?)?;
        let mean = Unary::scale(1.0 / self.config.head_dim as f32);
        let mean = round(be.map(&be.sum(&squares, 2)?, mean)?)?;
        let mean = round(be.map(&mean, Unary::Affine { mul: 1.0, add: eps })?)?;
        round(be.mul(q, &round(be.map(&mean, Unary::Rsqrt)?)?)?)
    }

    /// Makes and stores the compressed rows that `x: [t, hidden]`, normalised, completes, if the
    /// layer is the one that makes its source's rows, and notes that in `carry`.
    pub fn produce(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
        carry: &mut Carry<B>,
    ) -> Result<()> {
        if let Some(producer) = &self.producer {
            let products: Few<_> = producer.products().collect();
            let made = be.project(x, &products)?.into_iter();
            carry.criteria.keys = self.produce_from(be, producer, made, batch, memory)?;
            carry.produced = self.role.source;
        }
        Ok(())
    }

    /// Returns the keys that were made, if there are any.
    fn produce_from(
        &self,
        be: &B,
        producer: &RowProducer<B>,
        mut made: impl Iterator<Item = B::Tensor>,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<Option<MadeKeys<B>>> {
        let Some(source) = self.role.source else {
            return Ok(None);
        };
        let Store {
            entries,
            keys,
            kind,
        } = memory.store_mut(source);
        let step = batch.source(*kind);
        let rows = producer
            .entries
            .rows(be, &mut made, step, entries.tail.as_mut())?;
        if let (Some(rows), Some(made)) = (&rows, &step.made) {
            producer.entries_finish.store(be, rows, made, entries)?;
        }
        let (Some(producing), Some(keys)) = (&producer.keys, keys) else {
            return Ok(None);
        };
        let rows = match producing {
            KeyProducer::Compressed(compressor) => {
                compressor.rows(be, &mut made, step, keys.tail.as_mut())?
            }
            KeyProducer::Projected { projection, norm } => rows
                .map(|rows| {
                    let rows = be.project_one(&rows, projection)?;
                    let (eps, rounding) = (self.config.norm_eps, self.numerics.rounding());
                    be.rms_norm(&rows, Some(norm), eps, rounding)
                })
                .transpose()?,
        };
        if let (Some(rows), Some(made)) = (&rows, &step.made) {
            producer.keys_finish.store(be, rows, made, keys)?;
        }
        Ok(rows.map(|rows| MadeKeys { kind: *kind, rows }))
    }

    /// Settles in `carry` which compressed rows each query attends to.
    fn choose(
        &self,
        be: &B,
        (x, latent): (&B::Tensor, &B::Tensor),
        batch: &Batch<B>,
        memory: &Memory<B>,
        carry: &mut Carry<B>,
    ) -> Result<()> {
        let Some(source) = self.role.source else {
            carry.chosen = None;
            return Ok(());
        };
        let store = memory.store(source);
        let step = batch.source(store.kind);
        match self.role.choice {
            Choice::Carried => {}
            Choice::None => carry.chosen = None,
            Choice::All => carry.chosen = Some(step.seen.clone()),
            Choice::Random { k, seed } => {
                let seed = seed.wrapping_add(self.layer as u64);
                let drawn = Arc::new(draw(&step.seen_runs, batch.positions(), k, seed));
                carry.chosen = Some(Selection::of(be, &drawn, k)?);
            }
            Choice::Fresh { k, filter } => {
                let indexer = self
                    .indexer
                    .as_ref()
                    .expect("a fresh choice has an indexer");
                let keys = store.keys.as_ref().expect("and a store with keys");
                let top = TopK {
                    k,
                    blocks: match filter {
                        Filter::Keep(blocks) => Some(blocks),
                        Filter::Open | Filter::Use => None,
                    },
                    round: self.config.score_rounding,
                };
                let seen = match (filter, carry.candidates.take()) {
                    (Filter::Use, Some(candidates)) => candidates,
                    _ => step.seen.clone(),
                };
                let angles = batch.angles(self.role.rope);
                let TopKRows { rows, candidates } = if seen.most() <= k {
                    TopKRows::all(&seen, &top)
                } else {
                    let [queries, shares] = indexer.queries(be, (x, latent), angles)?;
                    let best = be.index_topk(&queries, &shares, &keys.rows, &seen, &top)?;
                    carry.criteria.queries = Some([queries, shares]);
                    best
                };
                carry.chosen = Some(rows);
                carry.candidates = match filter {
                    Filter::Use => Some(seen),
                    Filter::Open | Filter::Keep(_) => candidates,
                };
            }
        }
        Ok(())
    }

    /// Each group of heads through its own block, then all through one matrix, those of all ranks together.
    fn project(&self, be: &B, out: &B::Tensor) -> Result<B::Tensor> {
        let AttentionConfig {
            heads,
            head_dim,
            groups,
            ..
        } = self.config;
        let wide = heads * head_dim / groups;
        let out = be.reshape(out, &[out.shape()[0], groups * wide])?;
        let latents = be.project_grouped(&out, &self.out_groups)?;
        self.out_sum.of(be, be.project_one(&latents, &self.out)?)
    }
}
