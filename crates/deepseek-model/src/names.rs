//! Checkpoints that transformers saved again, under the released names.
//!
//! Such files come in two forms. Saved in its own format, tensors bear the names of its modules and
//! the experts of a layer are stacked in two tensors. Saved in what it takes for the original
//! format, which is its default, names are the released ones below `model.`, but for the embedding,
//! the final collapse and the norm of keys and values. Both leave the draft modules out.

use std::ops::Range;

use deepseek_core::weights::{Checkpoint, RawTensor, TensorSource};
use deepseek_core::{Error, Result};

/// The tensor that only such files have.
const MARK: &str = "model.embed_tokens.weight";

/// Names outside of layers, with all that may stand for them.
const TOP: [(&str, &[&str]); 6] = [
    ("embed.weight", &[MARK]),
    ("head.weight", &["head.weight", "lm_head.weight"]),
    ("norm.weight", &["model.norm.weight"]),
    ("hc_head_fn", &["model.hc_head.hc_fn"]),
    ("hc_head_base", &["model.hc_head.hc_base"]),
    ("hc_head_scale", &["model.hc_head.hc_scale"]),
];

/// Names within a layer, without `.weight` and `.scale` (spec `deepseek-v4.md` §2.5).
const LAYER: [(&str, &str); 32] = [
    ("hc_attn_fn", "attn_hc.fn"),
    ("hc_attn_base", "attn_hc.base"),
    ("hc_attn_scale", "attn_hc.scale"),
    ("hc_ffn_fn", "ffn_hc.fn"),
    ("hc_ffn_base", "ffn_hc.base"),
    ("hc_ffn_scale", "ffn_hc.scale"),
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("attn.wq_a", "self_attn.q_a_proj"),
    ("attn.q_norm", "self_attn.q_a_norm"),
    ("attn.wq_b", "self_attn.q_b_proj"),
    ("attn.wkv", "self_attn.kv_proj"),
    ("attn.kv_norm", "self_attn.kv_norm"),
    ("attn.wo_a", "self_attn.o_a_proj"),
    ("attn.wo_b", "self_attn.o_b_proj"),
    ("attn.attn_sink", "self_attn.sinks"),
    ("attn.compressor.wkv", "self_attn.compressor.kv_proj"),
    ("attn.compressor.wgate", "self_attn.compressor.gate_proj"),
    ("attn.compressor.norm", "self_attn.compressor.kv_norm"),
    ("attn.compressor.ape", "self_attn.compressor.position_bias"),
    (
        "attn.indexer.compressor.wkv",
        "self_attn.compressor.indexer.kv_proj",
    ),
    (
        "attn.indexer.compressor.wgate",
        "self_attn.compressor.indexer.gate_proj",
    ),
    (
        "attn.indexer.compressor.norm",
        "self_attn.compressor.indexer.kv_norm",
    ),
    (
        "attn.indexer.compressor.ape",
        "self_attn.compressor.indexer.position_bias",
    ),
    ("attn.indexer.wq_b", "self_attn.compressor.indexer.q_b_proj"),
    (
        "attn.indexer.weights_proj",
        "self_attn.compressor.indexer.scorer.weights_proj",
    ),
    ("ffn.gate", "mlp.gate"),
    ("ffn.gate.bias", "mlp.gate.e_score_correction_bias"),
    ("ffn.gate.tid2eid", "mlp.gate.tid2eid"),
    ("ffn.shared_experts.w1", "mlp.shared_experts.gate_proj"),
    ("ffn.shared_experts.w2", "mlp.shared_experts.down_proj"),
    ("ffn.shared_experts.w3", "mlp.shared_experts.up_proj"),
];

/// What the `mtp.` tensors of a checkpoint are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drafts {
    /// There are none.
    Absent,
    /// A module as in the first releases, which this engine runs.
    Mtp,
    /// Another drafter, such as the DSpark stages of refreshed files: left aside.
    Other,
}

/// What the `mtp.` tensors of a checkpoint are, by the projections that only an MTP module has.
#[must_use]
pub fn drafts(checkpoint: &Checkpoint) -> Drafts {
    if checkpoint.tensor("mtp.0.e_proj.weight").is_some() {
        return Drafts::Mtp;
    }
    match checkpoint.names().any(|name| name.starts_with("mtp.")) {
        true => Drafts::Other,
        false => Drafts::Absent,
    }
}

/// The tensors of a checkpoint by their released names, whoever saved it.
#[must_use]
pub fn source(checkpoint: &Checkpoint) -> Box<dyn TensorSource + '_> {
    match checkpoint.tensor(MARK) {
        Some(_) => Box::new(Renamed::new(checkpoint)),
        None => Box::new(Released(checkpoint)),
    }
}

/// A checkpoint that bears the released names already.
#[derive(Debug)]
struct Released<'a>(&'a Checkpoint);

impl TensorSource for Released<'_> {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        self.0.find(name)
    }
}

/// Tensors that transformers named, by their released names.
#[derive(Debug)]
pub struct Renamed<'a> {
    inner: &'a dyn TensorSource,
}

impl<'a> Renamed<'a> {
    /// Looks for the tensors in `inner`.
    #[must_use]
    pub fn new(inner: &'a dyn TensorSource) -> Self {
        Self { inner }
    }

    /// The first of `names` that is there.
    fn first(&self, names: impl IntoIterator<Item = String>) -> Result<Option<RawTensor>> {
        for name in names {
            if let Some(tensor) = self.inner.find(&name)? {
                return Ok(Some(tensor));
            }
        }
        Ok(None)
    }

    /// One expert's matrix, or its scales, out of the stack of a layer.
    fn stacked(&self, expert: &Expert<'_>) -> Result<Option<RawTensor>> {
        let Expert {
            layer,
            index,
            matrix,
            part,
        } = *expert;
        let (stack, half) = match matrix {
            "w1" => ("gate_up_proj", Some(0)),
            "w3" => ("gate_up_proj", Some(1)),
            "w2" => ("down_proj", None),
            _ => return Ok(None),
        };
        let codes = format!("model.layers.{layer}.mlp.experts.{stack}");
        let name = match part {
            "weight" => codes.clone(),
            "scale" => format!("{codes}_scale_inv"),
            _ => return Ok(None),
        };
        let Some(tensor) = self.inner.find(&name)? else {
            return Ok(None);
        };
        let [_, rows, columns] = *tensor.shape() else {
            return Err(flaw(
                &name,
                format!("shape {:?}, want [experts, out, in]", tensor.shape()),
            ));
        };
        let one = tensor
            .narrow_rows(index..index.saturating_add(1))?
            .reshape(&[rows, columns])?;
        let Some(half) = half else {
            return Ok(Some(one));
        };
        if part == "scale" {
            self.check_halves(&codes, &name, rows)?;
        }
        Ok(Some(one.narrow_rows(half_of(&name, rows, half)?)?))
    }

    /// A tile of scales that reached over gate and up could be cut for neither.
    fn check_halves(&self, codes: &str, name: &str, scales: usize) -> Result<()> {
        let shape = self.inner.find(codes)?.map(|codes| codes.shape().to_vec());
        match shape.as_deref() {
            Some([_, rows, _]) if rows.checked_rem(scales) == Some(0) => Ok(()),
            other => Err(flaw(
                name,
                format!("{scales} rows of scales for codes of shape {other:?}"),
            )),
        }
    }
}

impl TensorSource for Renamed<'_> {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        if let Some((_, others)) = TOP.iter().find(|(released, _)| *released == name) {
            return self.first(others.iter().map(|other| (*other).to_owned()));
        }
        let Some((layer, rest)) = split_layer(name) else {
            return self.inner.find(name);
        };
        if let Some(tensor) = self.first(names_in_layer(layer, rest))? {
            return Ok(Some(tensor));
        }
        match Expert::parse(layer, rest) {
            Some(expert) => self.stacked(&expert),
            None => Ok(None),
        }
    }
}

/// `layers.3.attn.wkv.weight` as `3` and `attn.wkv.weight`.
fn split_layer(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("layers.")?.split_once('.')
}

/// All that may stand for the name `rest` of a layer, stacks aside.
fn names_in_layer(layer: &str, rest: &str) -> Vec<String> {
    let (stem, part) = match (rest.strip_suffix(".weight"), rest.strip_suffix(".scale")) {
        (Some(stem), _) => (stem, ".weight"),
        (None, Some(stem)) => (stem, ".weight_scale_inv"),
        (None, None) => (rest, ""),
    };
    // Writing its original format, transformers takes this norm for a compressor's.
    let kept = if stem == "attn.kv_norm" {
        "attn.norm"
    } else {
        stem
    };
    let mut names = vec![format!("model.layers.{layer}.{kept}{part}")];
    if part == ".weight_scale_inv" {
        names.push(format!("model.layers.{layer}.{kept}.scale"));
    }
    if let Some((_, renamed)) = LAYER.iter().find(|(released, _)| *released == stem) {
        names.push(format!("model.layers.{layer}.{renamed}{part}"));
    }
    names
}

/// A part of a routed expert, as a released name tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expert<'a> {
    layer: &'a str,
    index: usize,
    matrix: &'a str,
    part: &'a str,
}

impl<'a> Expert<'a> {
    fn parse(layer: &'a str, rest: &'a str) -> Option<Self> {
        let mut steps = rest.strip_prefix("ffn.experts.")?.split('.');
        let expert = Self {
            layer,
            index: steps.next()?.parse().ok()?,
            matrix: steps.next()?,
            part: steps.next()?,
        };
        steps.next().is_none().then_some(expert)
    }
}

/// The rows of gate (0) or up (1) in a stack of both.
fn half_of(name: &str, rows: usize, half: usize) -> Result<Range<usize>> {
    if !rows.is_multiple_of(2) {
        return Err(flaw(
            name,
            format!("{rows} rows are not as many for gate as for up"),
        ));
    }
    let start = half * (rows / 2);
    Ok(start..start + rows / 2)
}

fn flaw(name: &str, why: String) -> Error {
    Error::Tensor {
        name: name.to_owned(),
        why,
    }
}
