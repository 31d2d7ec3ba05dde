//! The attention layer.

use std::sync::Arc;

use deepseek_core::operands::{Chosen, Pick, Picked, ScoreRounding, Softmax, WeightRounding};
use deepseek_core::{
    Backend, DeviceTensor, Kernels, Linear, Loader, Numerics, Result, Rounding, Turn, Unary,
};

use crate::batch::{Batch, Ropes};
use crate::compress::{Compressor, CompressorShape, Finish};
use crate::draw::draw;
use crate::indexer::{Indexer, IndexerShape};
use crate::memory::Memory;
use crate::role::{Choice, Filter, Keys, Making, Role, SourceId};
use crate::store::Finished;

/// The numbers that shape an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
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
#[derive(Debug, Default)]
pub struct Carry {
    /// The compressed rows that each query of the last layer attended to.
    pub chosen: Option<Chosen>,
    /// The rows that later layers may choose among.
    pub candidates: Option<Chosen>,
    /// A source whose rows of this step have been made ahead of its layer.
    pub published: Option<SourceId>,
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
    maker: Option<Maker<B>>,
    indexer: Option<Indexer<B>>,
    role: Role,
    layer: usize,
    shape: AttentionShape,
    numerics: Numerics,
}

/// What makes the rows of a source.
#[derive(Debug)]
struct Maker<B: Backend> {
    entries: Compressor<B>,
    entries_finish: Finish,
    keys: Option<KeyMaker<B>>,
    keys_finish: Finish,
}

/// What makes the keys to those rows.
#[derive(Debug)]
enum KeyMaker<B: Backend> {
    Compressed(Compressor<B>),
    Projected {
        projection: Linear<B>,
        norm: B::Tensor,
    },
}

impl<B: Kernels> Maker<B> {
    fn load(
        at: &Loader<'_, B>,
        ropes: &Ropes,
        (role, making): (Role, Making),
        shape: &AttentionShape,
    ) -> Result<Self> {
        let compressor = |width, pooling| CompressorShape {
            hidden: shape.hidden,
            width,
            ratio: role.ratio as usize,
            pooling,
            norm_eps: shape.norm_eps,
        };
        let rope = Arc::new(ropes.of(role.rope).clone());
        let finish = |rounding| Finish {
            rope: Arc::clone(&rope),
            ratio: role.ratio,
            rounding,
            numerics: at.numerics,
        };
        let (width, pooling) = (shape.index_width, making.pooling);
        let keys = match making.keys {
            Keys::None => None,
            Keys::Compressed => {
                let at = at.at("indexer.compressor");
                let keys = Compressor::load(&at, compressor(width, pooling))?;
                Some(KeyMaker::Compressed(keys))
            }
            Keys::Projected => {
                let at = at.at("indexer");
                Some(KeyMaker::Projected {
                    projection: at.linear("wk.weight", [width, shape.head_dim])?,
                    norm: at.vector("k_norm.weight", width)?,
                })
            }
        };
        Ok(Self {
            entries: Compressor::load(&at.at("compressor"), compressor(shape.head_dim, pooling))?,
            entries_finish: finish(shape.entry_rounding),
            keys,
            keys_finish: finish(shape.index_rounding),
        })
    }
}

impl<B: Kernels> Attention<B> {
    /// Reads the layer; `layer` is the number of its window in the memory.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format.
    pub fn load(
        at: &Loader<'_, B>,
        ropes: &Ropes,
        role: Role,
        layer: usize,
        shape: AttentionShape,
    ) -> Result<Self> {
        let AttentionShape {
            hidden,
            heads,
            head_dim,
            latent,
            groups,
            group_latent,
            ..
        } = shape;
        let wo_a = at.tensors.matrix(
            "wo_a.weight",
            [groups * group_latent, heads * head_dim / groups],
        )?;
        let out_groups = (0..groups)
            .map(|group| {
                let rows = group * group_latent..(group + 1) * group_latent;
                Ok(at.linear_of(&wo_a.narrow(rows))?.without_input_rounding())
            })
            .collect::<Result<_>>()?;
        let maker = match role.publishes {
            Some(making) => Some(Maker::load(at, ropes, (role, making), &shape)?),
            None => None,
        };
        let indexer = match role.choice {
            Choice::Fresh { .. } => {
                let indexer_shape = IndexerShape {
                    hidden,
                    latent,
                    heads: shape.index_heads,
                    width: shape.index_width,
                    rounding: shape.index_rounding,
                };
                Some(Indexer::load(&at.at("indexer"), indexer_shape)?)
            }
            Choice::None | Choice::All | Choice::Random { .. } | Choice::Carried => None,
        };
        Ok(Self {
            q_latent: at.linear("wq_a.weight", [latent, hidden])?,
            q_norm: at.vector("q_norm.weight", latent)?,
            q_heads: at.linear("wq_b.weight", [heads * head_dim, latent])?,
            kv: at.linear("wkv.weight", [head_dim, hidden])?,
            kv_norm: at.vector("kv_norm.weight", head_dim)?,
            sink: at.vector("attn_sink", heads)?,
            out_groups,
            out: at.linear("wo_b.weight", [hidden, groups * group_latent])?,
            maker,
            indexer,
            role,
            layer,
            shape,
            numerics: at.numerics,
        })
    }

    /// `x: [t, hidden]`, normalised, and so is the shape of the result. Stores the rows of the
    /// batch before it attends, because a token sees itself and the group it completes.
    ///
    /// # Errors
    /// What the device says.
    pub fn forward(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch,
        memory: &mut Memory<B>,
        carry: &mut Carry,
    ) -> Result<B::Tensor> {
        let AttentionShape {
            heads,
            head_dim,
            norm_eps,
            ..
        } = self.shape;
        let act = |x: B::Tensor| self.numerics.activation(be, x);
        let angles = batch.angles(self.role.rope);
        let tokens = x.rows();

        let latent = be.project_one(x, &self.q_latent)?;
        let rounding = self.numerics.rounding();
        let latent = be.rms_norm(&latent, Some(&self.q_norm), norm_eps, rounding)?;
        let q = be.project_one(&latent, &self.q_heads)?;
        let q = be.reshape(&q, &[tokens, heads, head_dim])?;
        let q = match self.shape.head_norm {
            true => self.norm_heads(be, &q)?,
            false => q,
        };
        let q = act(be.rope(&q, angles, Turn::Forward)?)?;

        self.remember(be, x, batch, memory)?;
        if self.role.source.is_some() && carry.published != self.role.source {
            self.publish(be, x, batch, memory)?;
        }
        self.choose(be, (x, &latent), batch, memory, carry)?;
        let window = memory.window(self.layer);
        let recent = window.chosen(batch);
        let mut from = vec![(window.rows(), &recent)];
        if let (Some(source), Some(chosen)) = (self.role.source, &carry.chosen) {
            from.push((memory.store(source).entries.rows(), chosen));
        }
        let softmax = Softmax {
            scale: (head_dim as f32).powf(-0.5),
            round: self.shape.weight_rounding,
        };
        let out = act(be.attend(&q, &from, &self.sink, softmax)?)?;
        let out = act(be.rope(&out, angles, Turn::Back)?)?;
        self.project(be, &out)
    }

    /// Stores what the window keeps of `x: [t, hidden]`, normalised.
    ///
    /// # Errors
    /// What the device says.
    pub fn remember(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let act = |x: B::Tensor| self.numerics.activation(be, x);
        let kv = be.project_one(x, &self.kv)?;
        let (norm, rounding) = (Some(&self.kv_norm), self.numerics.rounding());
        let kv = be.rms_norm(&kv, norm, self.shape.norm_eps, rounding)?;
        let kv = act(be.rope(&kv, batch.angles(self.role.rope), Turn::Forward)?)?;
        let kv = match self.shape.window_rounding {
            Some(rounding) => be.round(&kv, rounding)?,
            None => kv,
        };
        memory.window_mut(self.layer).write(be, &kv, batch)
    }

    /// Normalises each query head over its channels, without weights. The released code does this
    /// in brain-float arithmetic, every step of it rounded (`docs/models/deepseek-v4.md` §5.1).
    fn norm_heads(&self, be: &B, q: &B::Tensor) -> Result<B::Tensor> {
        let eps = self.shape.norm_eps;
        if !self.numerics.bf16 {
            return be.rms_norm(q, None, eps, None);
        }
        let round = |x: B::Tensor| be.round(&x, Rounding::Bf16);
        let squares = round(be.mul(q, q)?)?;
        let mean = Unary::scale(1.0 / self.shape.head_dim as f32);
        let mean = round(be.map(&be.sum(&squares, 2)?, mean)?)?;
        let mean = round(be.map(&mean, Unary::Affine { mul: 1.0, add: eps })?)?;
        round(be.mul(q, &round(be.map(&mean, Unary::Rsqrt)?)?)?)
    }

    /// Makes and stores the compressed rows that `x: [t, hidden]`, normalised, completes, if the
    /// layer is the one that makes its source's rows.
    ///
    /// # Errors
    /// What the device says.
    pub fn publish(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        let (Some(source), Some(maker)) = (self.role.source, &self.maker) else {
            return Ok(());
        };
        let rewind = memory.rewind_max();
        let store = memory.store_mut(source);
        let entries = store
            .entries
            .advance(be, &maker.entries, x, batch, rewind)?;
        for finished in &entries {
            store.entries.store(be, finished, &maker.entries_finish)?;
        }
        let (Some(making), Some(pool)) = (&maker.keys, &mut store.keys) else {
            return Ok(());
        };
        let keys = match making {
            KeyMaker::Compressed(compressor) => pool.advance(be, compressor, x, batch, rewind)?,
            KeyMaker::Projected { projection, norm } => entries
                .iter()
                .map(|entry| {
                    let rows = be.project_one(&entry.rows, projection)?;
                    let (eps, rounding) = (self.shape.norm_eps, self.numerics.rounding());
                    let rows = be.rms_norm(&rows, Some(norm), eps, rounding)?;
                    Ok(Finished { rows, ..*entry })
                })
                .collect::<Result<_>>()?,
        };
        for finished in &keys {
            pool.store(be, finished, &maker.keys_finish)?;
        }
        Ok(())
    }

    /// Settles in `carry` which compressed rows each query attends to.
    fn choose(
        &self,
        be: &B,
        (x, latent): (&B::Tensor, &B::Tensor),
        batch: &Batch,
        memory: &Memory<B>,
        carry: &mut Carry,
    ) -> Result<()> {
        let Some(source) = self.role.source else {
            carry.chosen = None;
            return Ok(());
        };
        let store = memory.store(source);
        let seen = || store.entries.seen(batch, self.role.ratio);
        match self.role.choice {
            Choice::Carried => {}
            Choice::None => carry.chosen = None,
            Choice::All => carry.chosen = Some(seen()),
            Choice::Random { k, seed } => {
                let seed = seed.wrapping_add(self.layer as u64);
                carry.chosen = Some(draw(&seen(), batch.positions(), k, seed));
            }
            Choice::Fresh { k, filter } => {
                let indexer = self
                    .indexer
                    .as_ref()
                    .expect("a fresh choice has an indexer");
                let keys = store.keys.as_ref().expect("and a store with keys");
                let pick = Pick {
                    k,
                    blocks: match filter {
                        Filter::Keep(blocks) => Some(blocks),
                        Filter::Open | Filter::Use => None,
                    },
                    round: self.shape.score_rounding,
                };
                let seen = match (filter, carry.candidates.take()) {
                    (Filter::Use, Some(candidates)) => candidates,
                    _ => seen(),
                };
                let angles = batch.angles(self.role.rope);
                let Picked { rows, candidates } =
                    indexer.choose(be, (x, latent), keys.rows(), &seen, angles, &pick)?;
                carry.chosen = Some(rows);
                carry.candidates = match filter {
                    Filter::Use => Some(seen),
                    Filter::Open | Filter::Keep(_) => candidates,
                };
            }
        }
        Ok(())
    }

    /// Each group of heads through its own block, then all through one matrix.
    fn project(&self, be: &B, out: &B::Tensor) -> Result<B::Tensor> {
        let AttentionShape {
            heads,
            head_dim,
            groups,
            ..
        } = self.shape;
        let wide = heads * head_dim / groups;
        let out = be.reshape(out, &[out.shape()[0], groups * wide])?;
        let latents = be.project_grouped(&out, &self.out_groups)?;
        be.project_one(&latents, &self.out)
    }
}
