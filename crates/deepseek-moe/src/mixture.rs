//! The mixture-of-experts layer.

use deepseek_core::operands::{
    FeedForward, Gate, Inputs, Residency, Routing, Select, SwiGlu, TokenTable, Visits,
};
use deepseek_core::{Error, HostTensor, Kernels, Loader, Numerics, Result, Sum};

use crate::bank::{bank, network};

/// How a layer's tokens find their experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteBy {
    /// By the best biased scores.
    Score {
        /// Whether rows of images and audio have a bias of their own (`gate.bias_vl`).
        media: bool,
    },
    /// By a table of token ids (the first layers of V4).
    Token,
}

/// The numbers that shape a mixture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixtureConfig {
    /// Channels of the input and of the result.
    pub hidden: usize,
    /// Channels inside an expert.
    pub inner: usize,
    /// Routed experts.
    pub experts: usize,
    /// Experts per token.
    pub top_k: usize,
    /// Factor on the routed weights.
    pub scale: f32,
    /// Clamp of the activations; infinite for none.
    pub limit: f32,
    /// Ids in the vocabulary.
    pub vocabulary: usize,
    /// How much of the experts may stay in memory.
    pub residency: Residency,
}

/// Routed experts and a shared one (`docs/models/deepseek-v4.md` §3.7).
#[derive(Debug)]
pub struct Mixture<B: Kernels> {
    gate: Gate<B>,
    experts: B::Experts,
    shared: FeedForward<B>,
    routed_form: SwiGlu,
    shared_form: SwiGlu,
    /// Of what the experts that are here give, and this rank's part of the shared one.
    sum: Sum,
    numerics: Numerics,
}

impl<B: Kernels> Mixture<B> {
    /// Reads `gate`, `experts` and `shared_experts`.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape or of an unusable format, a bias that is not
    /// finite, or a table that names an expert that is not there.
    pub fn load(load: &Loader<'_, B>, by: RouteBy, config: MixtureConfig) -> Result<Self> {
        let MixtureConfig {
            hidden,
            inner,
            experts,
            top_k,
            scale,
            limit,
            vocabulary,
            residency,
        } = config;
        let select = match by {
            RouteBy::Score { media } => {
                let mut bias = biases(load, "gate.bias", experts)?;
                if media {
                    bias.extend(biases(load, "gate.bias_vl", experts)?);
                }
                let rows = bias.len() / experts;
                let bias = load.be.upload(&HostTensor::new(&[rows, experts], bias))?;
                Select::Score { bias }
            }
            RouteBy::Token => {
                let name = load.tensors.name("gate.tid2eid");
                let table = load.tensors.integers("gate.tid2eid", [vocabulary, top_k])?;
                Select::Token(TokenTable::new(load.be, &name, &table, top_k, experts)?)
            }
        };
        let projection = load.weight("gate.weight", [experts, hidden])?;
        let shape = [hidden, inner];
        let (experts, routed_input) = bank(&load.at("experts"), experts, shape, residency)?;
        let (shared, shared_input) = network(&load.at("shared_experts"), shape)?;
        let form = |input| SwiGlu {
            limit,
            input,
            bf16: load.numerics.bf16,
        };
        Ok(Self {
            gate: Gate {
                projection,
                select,
                top_k,
                scale,
            },
            routed_form: form(routed_input),
            shared_form: form(shared_input),
            experts,
            shared,
            sum: load.shares.all.sum(),
            numerics: load.numerics,
        })
    }

    /// Begins to fetch the experts that these rows will visit, where their ids say which.
    pub fn prefetch(&self, be: &B, tokens: &B::Ids, count: usize) -> Result<()> {
        match &self.gate.select {
            Select::Score { .. } => Ok(()),
            Select::Token(table) => be.prefetch(&self.experts, &table.experts(be, tokens, count)?),
        }
    }

    /// How the routed experts were used, where not all of them stay in memory.
    pub fn visits(&self, be: &B) -> Visits {
        be.visits(&self.experts)
    }

    /// Which experts the rows of `x: [t, hidden]` visit.
    pub fn route(&self, be: &B, x: &B::Tensor, rows: &Inputs<B>) -> Result<Routing<B>> {
        be.route(x, &self.gate, rows)
    }

    /// The routed experts' weighted sum and the shared expert, which is added last, over all ranks.
    pub fn forward(&self, be: &B, x: &B::Tensor, routing: &Routing<B>) -> Result<B::Tensor> {
        let routed = be.experts(x, routing, &self.experts, self.routed_form)?;
        let shared = be.feed_forward(x, &self.shared, self.shared_form)?;
        let y = self.sum.of(be, be.add(&routed, &shared)?)?;
        self.numerics.activation(be, y)
    }
}

/// The bias of each expert's score. Experts are chosen by it, and nothing else shows it: one that is not
/// finite would choose others, silently.
fn biases<B: Kernels>(load: &Loader<'_, B>, name: &str, experts: usize) -> Result<Vec<f32>> {
    let bias = load.tensors.vector(name, experts)?;
    match bias.iter().position(|x| !x.is_finite()) {
        None => Ok(bias),
        Some(at) => Err(Error::Tensor {
            name: load.tensors.name(name),
            why: format!("{} at [{at}]", bias[at]),
        }),
    }
}
