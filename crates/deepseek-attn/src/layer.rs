//! The attention layer.

use std::sync::Arc;

use deepseek_core::kernels::{Chosen, Softmax};
use deepseek_core::{
    Backend, DeviceTensor, Kernels, Linear, Loader, Numerics, Result, Rounding, Turn, Unary,
};

use crate::batch::{Batch, RopeSet, Ropes};
use crate::compress::{Compressor, CompressorShape};
use crate::indexer::{Indexer, IndexerShape};
use crate::memory::Memory;
use crate::role::{Choice, Role};

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
    /// How a row of keys and values is rounded before it is stored.
    pub entry_rounding: Option<Rounding>,
    /// How index queries and keys are rounded.
    pub index_rounding: Option<Rounding>,
}

/// What one layer leaves for the next, and for an onlooker, within a step.
#[derive(Debug, Default)]
pub struct Carry {
    /// The compressed rows that each query of the last layer attended to.
    pub chosen: Option<Chosen>,
}

/// Attention over a window and over chosen compressed rows (spec `deepseek-v4.md` §3.4 to §3.6).
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
    compressor: Option<Compressor<B>>,
    indexer: Option<(Indexer<B>, Compressor<B>)>,
    role: Role,
    layer: usize,
    shape: AttentionShape,
    numerics: Numerics,
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
        let rope = Arc::new(match role.rope {
            RopeSet::Window => ropes.window.clone(),
            RopeSet::Compressed => ropes.compressed.clone(),
        });
        let compressor_shape = |width, rounding| CompressorShape {
            hidden,
            width,
            ratio: role.ratio as usize,
            overlap: role.is_sparse(),
            norm_eps: shape.norm_eps,
            rounding,
        };
        let compressor = match role.publishes {
            true => Some(Compressor::load(
                &at.at("compressor"),
                Arc::clone(&rope),
                compressor_shape(head_dim, shape.entry_rounding),
            )?),
            false => None,
        };
        let indexer = match role.is_sparse() {
            true => {
                let at = at.at("indexer");
                let indexer_shape = IndexerShape {
                    hidden,
                    latent,
                    heads: shape.index_heads,
                    width: shape.index_width,
                    rounding: shape.index_rounding,
                };
                let keys = compressor_shape(shape.index_width, shape.index_rounding);
                let keys = Compressor::load(&at.at("compressor"), rope, keys)?;
                Some((Indexer::load(&at, indexer_shape)?, keys))
            }
            false => None,
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
            compressor,
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

        let latent = self.q_latent.forward(be, x)?;
        let latent = act(be.rms_norm(&latent, Some(&self.q_norm), norm_eps)?)?;
        let q = be.reshape(
            &self.q_heads.forward(be, &latent)?,
            &[tokens, heads, head_dim],
        )?;
        let q = act(be.rope(&self.norm_heads(be, &q)?, angles, Turn::Forward)?)?;

        let kv = act(be.rms_norm(&self.kv.forward(be, x)?, Some(&self.kv_norm), norm_eps)?)?;
        let kv = act(be.rope(&kv, angles, Turn::Forward)?)?;
        let kv = match self.shape.entry_rounding {
            Some(rounding) => be.round(&kv, rounding)?,
            None => kv,
        };
        memory.window_mut(self.layer).write(be, &kv, batch)?;
        self.publish(be, x, batch, memory)?;

        carry.chosen = self.choose(be, (x, &latent), batch, memory)?;
        let window = memory.window(self.layer);
        let recent = window.chosen(batch);
        let mut from = vec![(window.rows(), &recent)];
        if let (Some(source), Some(chosen)) = (self.role.source, &carry.chosen) {
            from.push((memory.store(source).entries.rows(), chosen));
        }
        let softmax = Softmax {
            scale: (head_dim as f32).powf(-0.5),
            bf16: self.numerics.bf16,
        };
        let out = act(be.attend(&q, &from, &self.sink, softmax)?)?;
        let out = act(be.rope(&out, angles, Turn::Back)?)?;
        self.project(be, &out)
    }

    /// Normalises each query head over its channels, without weights. The released code does this
    /// in brain-float arithmetic, every step of it rounded (spec `deepseek-v4.md` §5.1).
    fn norm_heads(&self, be: &B, q: &B::Tensor) -> Result<B::Tensor> {
        let eps = self.shape.norm_eps;
        if !self.numerics.bf16 {
            return be.rms_norm(q, None, eps);
        }
        let round = |x: B::Tensor| be.round(&x, Rounding::Bf16);
        let squares = round(be.mul(q, q)?)?;
        let mean = Unary::Affine {
            mul: 1.0 / self.shape.head_dim as f32,
            add: 0.0,
        };
        let mean = round(be.map(&be.sum(&squares, 2)?, mean)?)?;
        let mean = round(be.map(&mean, Unary::Affine { mul: 1.0, add: eps })?)?;
        round(be.mul(q, &round(be.map(&mean, Unary::Rsqrt)?)?)?)
    }

    fn publish(&self, be: &B, x: &B::Tensor, batch: &Batch, memory: &mut Memory<B>) -> Result<()> {
        let Some(source) = self.role.source else {
            return Ok(());
        };
        let rewind = memory.rewind_max();
        let store = memory.store_mut(source);
        if let Some(compressor) = &self.compressor {
            store.entries.publish(be, compressor, x, batch, rewind)?;
        }
        if let (Some((_, compressor)), Some(keys)) = (&self.indexer, &mut store.keys) {
            keys.publish(be, compressor, x, batch, rewind)?;
        }
        Ok(())
    }

    fn choose(
        &self,
        be: &B,
        (x, latent): (&B::Tensor, &B::Tensor),
        batch: &Batch,
        memory: &Memory<B>,
    ) -> Result<Option<Chosen>> {
        let Some(source) = self.role.source else {
            return Ok(None);
        };
        let store = memory.store(source);
        let seen = store.entries.seen(batch, self.role.ratio);
        match self.role.choice {
            Choice::None => Ok(None),
            Choice::All => {
                let mut chosen = Chosen::with_capacity(seen.rows.len());
                seen.rows.into_iter().for_each(|rows| chosen.push([rows]));
                Ok(Some(chosen))
            }
            Choice::Fresh { k } => {
                let (indexer, _) = self
                    .indexer
                    .as_ref()
                    .expect("a fresh choice has an indexer");
                let keys = store.keys.as_ref().expect("and a store with keys");
                let angles = batch.angles(self.role.rope);
                indexer
                    .choose(be, (x, latent), keys.rows(), &seen, angles, k)
                    .map(Some)
            }
        }
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
        let parts = self
            .out_groups
            .iter()
            .enumerate()
            .map(|(group, block)| block.forward(be, &be.narrow(&out, 1, group * wide, wide)?))
            .collect::<Result<Vec<_>>>()?;
        self.out
            .forward(be, &be.concat(&parts.iter().collect::<Vec<_>>(), 1)?)
    }
}
