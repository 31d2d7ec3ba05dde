//! One layer of the backbone: attention and experts, each between a reading and a writing of the
//! residual streams.

use deepseek_attn::{Attention, AttentionConfig, Batch, Carry, Memory, Role};
use deepseek_core::operands::{
    HyperWeights, Inputs, Mix, MixerConfig, Routing, StreamShares, Visits,
};
use deepseek_core::{
    Backend, DeviceTensor, Few, HostTensor, Kernels, Loader, Numerics, Result, Share,
};
use deepseek_engram::{Engram, LayerConfig};
use deepseek_moe::{Mixture, MixtureConfig, RouteBy};

/// The numbers that shape every layer of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockConfig {
    /// Attention.
    pub attention: AttentionConfig,
    /// Experts.
    pub mixture: MixtureConfig,
    /// Residual streams.
    pub hyper: MixerConfig,
    /// Whether the streams are read as the sub-layer before settled it
    /// (`docs/models/deepseek-v41.md` §3.2), instead of by the mix of the sub-layer itself.
    pub single_pass: bool,
}

/// What differs between the layers of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockPlan {
    /// The part of its attention in the keeping of rows.
    pub role: Role,
    /// How tokens find their experts.
    pub route: RouteBy,
    /// Which n-gram table it reads, if any, by its place among the tables.
    pub engram: Option<usize>,
    /// Whether a drafter reads what goes into the layer.
    pub tap: bool,
}

impl BlockPlan {
    /// A layer of a draft module: nothing but a window, routed by score. `media` as in [`RouteBy`].
    #[must_use]
    pub fn draft(media: bool) -> Self {
        Self {
            role: Role::WINDOW,
            route: RouteBy::Score { media },
            engram: None,
            tap: false,
        }
    }
}

/// What flows from layer to layer.
#[derive(Debug)]
pub struct Residual<B: Backend> {
    /// `[t, n, hidden]`.
    pub streams: B::Tensor,
    /// `[t, n]`: the share of each stream in what the next sub-layer reads; none where each
    /// sub-layer settles that for itself.
    pub pre: Option<B::Tensor>,
}

impl<B: Backend> Clone for Residual<B> {
    fn clone(&self) -> Self {
        Self {
            streams: self.streams.clone(),
            pre: self.pre.clone(),
        }
    }
}

impl<B: Backend> Residual<B> {
    /// All streams alike, `x: [t, hidden]`, as the first layer reads them.
    pub fn start(be: &B, x: &B::Tensor, config: &BlockConfig) -> Result<Self> {
        let (tokens, n) = (x.rows(), config.hyper.streams);
        let one = be.reshape(x, &[tokens, 1, x.width()])?;
        let pre = if config.single_pass {
            let share = |place| if place % n == 0 { 1.0 } else { 0.0 };
            let first: Few<f32> = (0..tokens * n).map(share).collect();
            Some(be.upload_slice(&[tokens, n], &first)?)
        } else {
            None
        };
        let streams: Few<_> = std::iter::repeat_n(&one, n).collect();
        Ok(Self {
            streams: be.concat(&streams, 1)?,
            pre,
        })
    }

    /// Some of the rows.
    pub fn gather(&self, be: &B, rows: &B::Ids) -> Result<Self> {
        self.each(|x| be.gather(x, rows))
    }

    /// `length` rows from `start`.
    pub fn narrow(&self, be: &B, start: usize, length: usize) -> Result<Self> {
        self.each(|x| be.narrow(x, 0, start, length))
    }

    fn each(&self, f: impl Fn(&B::Tensor) -> Result<B::Tensor>) -> Result<Self> {
        Ok(Self {
            streams: f(&self.streams)?,
            pre: self.pre.as_ref().map(f).transpose()?,
        })
    }

    /// The rows of all parts, one part after the other.
    pub fn concat(be: &B, parts: &[&Self]) -> Result<Self> {
        let streams: Vec<_> = parts.iter().map(|part| &part.streams).collect();
        let pre: Option<Vec<_>> = parts.iter().map(|part| part.pre.as_ref()).collect();
        Ok(Self {
            streams: be.concat(&streams, 0)?,
            pre: pre.map(|pre| be.concat(&pre, 0)).transpose()?,
        })
    }

    /// The mean of the streams, `[t, hidden]`.
    pub fn mean(&self, be: &B) -> Result<B::Tensor> {
        let [tokens, n, hidden] = dims(&self.streams);
        let mean = deepseek_core::Unary::scale(1.0 / n as f32);
        be.reshape(
            &be.map(&be.sum(&self.streams, 1)?, mean)?,
            &[tokens, hidden],
        )
    }
}

/// What the rows of a step are.
#[derive(Debug)]
pub struct Rows<'a, B: Backend> {
    /// Their ids and kinds.
    pub inputs: &'a Inputs<B>,
    /// What the layer's n-gram table holds for each, if the layer has one.
    pub recalled: Option<&'a B::Tensor>,
}

/// One layer (`docs/models/deepseek-v4.md` §3.1, `docs/models/deepseek-v41.md` §3.1).
#[derive(Debug)]
pub struct Block<B: Kernels> {
    engram: Option<Engram<B>>,
    attention_mixer: HyperWeights<B>,
    attention_norm: B::Tensor,
    attention: Attention<B>,
    mixture_mixer: HyperWeights<B>,
    mixture_norm: B::Tensor,
    mixture: Mixture<B>,
    norm_eps: f32,
    numerics: Numerics,
}

impl<B: Kernels> Block<B> {
    /// Reads the layer; `layer` is the number of its window in the memory, `engram` the shape of
    /// its n-gram memory, if it has one.
    pub fn load(
        load: &Loader<'_, B>,
        plan: BlockPlan,
        layer: usize,
        config: &BlockConfig,
        engram: Option<LayerConfig>,
    ) -> Result<Self> {
        let hidden = config.attention.hidden;
        let role = plan.role;
        Ok(Self {
            engram: engram
                .map(|config| Engram::load(&load.at("engram"), config))
                .transpose()?,
            attention_mixer: mixer(load, "hc_attn", hidden, config.hyper)?,
            attention_norm: load.vector("attn_norm.weight", hidden)?,
            attention: Attention::load(&load.at("attn"), role, layer, config.attention)?,
            mixture_mixer: mixer(load, "hc_ffn", hidden, config.hyper)?,
            mixture_norm: load.vector("ffn_norm.weight", hidden)?,
            mixture: Mixture::load(&load.at("ffn"), plan.route, config.mixture)?,
            norm_eps: config.attention.norm_eps,
            numerics: load.numerics,
        })
    }

    /// Begins to fetch what it is known that these rows will visit, `count` of them.
    pub fn prefetch(&self, be: &B, tokens: &B::Ids, count: usize) -> Result<()> {
        self.mixture.prefetch(be, tokens, count)
    }

    /// How its experts were used, where not all of them stay in memory.
    pub fn visits(&self, be: &B) -> Visits {
        self.mixture.visits(be)
    }

    /// Streams in and out, and how the rows were routed.
    ///
    /// # Panics
    /// If the layer has an n-gram memory and nothing was recalled for it.
    pub fn forward(
        &self,
        be: &B,
        residual: &Residual<B>,
        rows: &Rows<'_, B>,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
        carry: &mut Carry<B>,
    ) -> Result<(Residual<B>, Routing<B>)> {
        let Residual { streams, pre } = residual;
        let streams = match &self.engram {
            None => streams.clone(),
            Some(engram) => {
                let recalled = rows.recalled.expect("rows of the layer's table");
                engram.forward(be, streams, recalled, rows.inputs.media.as_ref())?
            }
        };
        let (mixer, norm) = (&self.attention_mixer, &self.attention_norm);
        let (x, mix) = self.read(be, &streams, mixer, norm, pre.as_ref())?;
        let y = self.attention.forward(be, &x, batch, memory, carry)?;
        let streams = self.write(be, &y, &streams, &mix)?;

        let carried = pre.as_ref().and(mix.pre.as_ref());
        let (mixer, norm) = (&self.mixture_mixer, &self.mixture_norm);
        let (x, mix) = self.read(be, &streams, mixer, norm, carried)?;
        let routing = self.mixture.route(be, &x, rows.inputs)?;
        let y = self.mixture.forward(be, &x, &routing)?;
        let residual = Residual {
            streams: self.write(be, &y, &streams, &mix)?,
            pre: pre.as_ref().and(mix.pre),
        };
        Ok((residual, routing))
    }

    /// Makes and stores the compressed rows of the layer, and does nothing else of it
    /// (`docs/models/deepseek-v41.md` §3.10).
    ///
    /// # Panics
    /// If sub-layers settle for themselves how streams are read.
    pub fn produce(
        &self,
        be: &B,
        residual: &Residual<B>,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
        carry: &mut Carry<B>,
    ) -> Result<()> {
        let pre = residual.pre.as_ref().expect("a share carried from before");
        let rounding = self.numerics.rounding();
        let x = be.hc_read(&residual.streams, StreamShares::Settled(pre), rounding)?;
        let x = be.rms_norm(&x, Some(&self.attention_norm), self.norm_eps, rounding)?;
        self.attention.produce(be, &x, batch, memory, carry)
    }

    /// Stores what the layer's window keeps of `x: [t, hidden]`, in place of its own input.
    pub fn store(
        &self,
        be: &B,
        x: &B::Tensor,
        batch: &Batch<B>,
        memory: &mut Memory<B>,
    ) -> Result<()> {
        self.attention.store(be, x, batch, memory)
    }

    fn read(
        &self,
        be: &B,
        streams: &B::Tensor,
        mixer: &HyperWeights<B>,
        norm: &B::Tensor,
        carried: Option<&B::Tensor>,
    ) -> Result<(B::Tensor, Mix<B>)> {
        let rounding = self.numerics.rounding();
        let (x, mix) = be.hc_pre(streams, mixer, carried, rounding)?;
        let x = be.rms_norm(&x, Some(norm), self.norm_eps, rounding)?;
        Ok((x, mix))
    }

    fn write(&self, be: &B, y: &B::Tensor, streams: &B::Tensor, mix: &Mix<B>) -> Result<B::Tensor> {
        be.hc_post(y, streams, mix, self.numerics.rounding())
    }
}

/// From streams to logits: the final collapse, a norm and the output matrix.
#[derive(Debug)]
pub struct Head<B: Backend> {
    /// None where the last sub-layer settled how its result is read.
    mixer: Option<HyperWeights<B>>,
    norm: B::Tensor,
    norm_eps: f32,
    numerics: Numerics,
}

impl<B: Kernels> Head<B> {
    /// Reads `norm`, and `hc_head` where there is one.
    pub fn load(load: &Loader<'_, B>, config: &BlockConfig) -> Result<Self> {
        let hidden = config.attention.hidden;
        Ok(Self {
            mixer: if config.single_pass {
                None
            } else {
                Some(mixer(load, "hc_head", hidden, config.hyper)?)
            },
            norm: load.vector("norm.weight", hidden)?,
            norm_eps: config.attention.norm_eps,
            numerics: load.numerics,
        })
    }

    /// The streams as one, `[t, hidden]`.
    ///
    /// # Panics
    /// If neither the head nor the last sub-layer says how they are read.
    pub fn collapse(&self, be: &B, residual: &Residual<B>) -> Result<B::Tensor> {
        let shares = match (&self.mixer, &residual.pre) {
            (Some(mixer), _) => StreamShares::Mixer(mixer),
            (None, Some(pre)) => StreamShares::Settled(pre),
            (None, None) => panic!("streams without a share"),
        };
        be.hc_read(&residual.streams, shares, self.numerics.rounding())
    }

    /// `x: [t, hidden]`, collapsed, to logits `[t, vocabulary]`.
    pub fn logits(&self, be: &B, x: &B::Tensor, output: &Output<B>) -> Result<B::Tensor> {
        let rounding = self.numerics.rounding();
        let x = be.rms_norm(x, Some(&self.norm), self.norm_eps, rounding)?;
        output.logits(be, &x)
    }

    /// Both.
    pub fn forward(&self, be: &B, residual: &Residual<B>, output: &Output<B>) -> Result<B::Tensor> {
        self.logits(be, &self.collapse(be, residual)?, output)
    }
}

/// The output matrix, or a rank's rows of it.
#[derive(Debug)]
pub struct Output<B: Backend> {
    weight: B::Weight,
    share: Share,
}

impl<B: Kernels> Output<B> {
    /// Reads `head`.
    pub fn load(load: &Loader<'_, B>, vocabulary: usize, hidden: usize) -> Result<Self> {
        let share = load.shares.all;
        let own = share.range(vocabulary);
        Ok(Self {
            weight: load.weight_outputs("head.weight", [vocabulary, hidden], own)?,
            share,
        })
    }

    /// The logits of `x: [t, hidden]`, normalised: `[t, vocabulary]`, on every rank.
    fn logits(&self, be: &B, x: &B::Tensor) -> Result<B::Tensor> {
        let own = be.linear(x, &self.weight)?;
        if self.share.is_whole() {
            Ok(own)
        } else {
            be.all_gather(&own)
        }
    }
}

fn dims<T: DeviceTensor>(streams: &T) -> [usize; 3] {
    streams
        .shape()
        .try_into()
        .expect("streams are [tokens, streams, hidden]")
}

/// Reads `{name}_fn`, `{name}_scale` and `{name}_base`. The collapse has one row a stream and one
/// factor; a layer's mixer has `n` rows that read, `n` that write and `n²` that mix, and a factor
/// for each of the three.
fn mixer<B: Kernels>(
    load: &Loader<'_, B>,
    name: &str,
    hidden: usize,
    config: MixerConfig,
) -> Result<HyperWeights<B>> {
    let n = config.streams;
    let parts: &[usize] = if name == "hc_head" {
        &[n]
    } else {
        &[n, n, n * n]
    };
    let rows = parts.iter().sum();
    let factors = load.tensors.vector(&format!("{name}_scale"), parts.len())?;
    let scale = parts
        .iter()
        .zip(factors)
        .flat_map(|(rows, f)| vec![f; *rows])
        .collect();
    Ok(HyperWeights {
        projection: load.weight(&format!("{name}_fn"), [rows, n * hidden])?,
        scale: load.be.upload(&HostTensor::new(&[rows], scale))?,
        base: load.vector(&format!("{name}_base"), rows)?,
        config,
    })
}
