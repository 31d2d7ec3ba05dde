//! Checkpoints that other tools saved again, under the released names.
//!
//! Names come in three forms, each with or without `model.` before it, in one file both. There are
//! the released ones. Saved in the format of transformers, tensors bear the names of its modules and
//! the experts of a layer are stacked in two tensors. Saved in what transformers takes for the
//! original format, which is its default, names are the released ones but for the embedding, the
//! final collapse and the norm of keys and values. Scales go by the names that other tools have for
//! them.

use std::ops::Range;

use deepseek_core::weights::{RawTensor, TensorSource};
use deepseek_core::{Error, Result};

/// What may stand before every name.
const PREFIXES: [&str; 2] = ["", "model."];

/// What may stand at the end of the name of scales, the released one first.
const SCALES: [&str; 3] = [".scale", ".weight_scale_inv", ".weight_scale"];

/// The same at the end of the name of a stack's scales.
const STACK_SCALES: [&str; 2] = ["_scale_inv", "_scale"];

/// Names outside of layers, and what else may stand for them.
const TOP: [(&str, &str); 5] = [
    ("embed.weight", "embed_tokens.weight"),
    ("head.weight", "lm_head.weight"),
    ("hc_head_fn", "hc_head.hc_fn"),
    ("hc_head_base", "hc_head.hc_base"),
    ("hc_head_scale", "hc_head.hc_scale"),
];

/// Names within a layer, without `.weight` and `.scale` (`docs/models/deepseek-v4.md` §2.5).
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

/// Tensors by their released names, whoever saved them.
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

    /// The only one of `names`, with anything that may stand before it, that is there.
    fn only(&self, names: impl IntoIterator<Item = String>) -> Result<Option<RawTensor>> {
        let mut found: Option<RawTensor> = None;
        for name in names {
            for prefix in PREFIXES {
                match (&found, self.inner.find(&format!("{prefix}{name}"))?) {
                    (_, None) => {}
                    (None, tensor) => found = tensor,
                    (Some(first), Some(second)) => return Err(twice(first, &second)),
                }
            }
        }
        Ok(found)
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
        let codes = format!("layers.{layer}.mlp.experts.{stack}");
        let found = match part {
            "weight" => self.only([codes.clone()])?,
            "scale" => self.only(STACK_SCALES.map(|end| format!("{codes}{end}")))?,
            _ => return Ok(None),
        };
        let Some(tensor) = found else {
            return Ok(None);
        };
        let name = tensor.name();
        let [_, rows, columns] = *tensor.shape() else {
            return Err(flaw(
                name,
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
            self.check_halves(&codes, name, rows)?;
        }
        Ok(Some(one.narrow_rows(half_of(name, rows, half)?)?))
    }

    /// A tile of scales that reached over gate and up could be cut for neither.
    fn check_halves(&self, codes: &str, name: &str, scales: usize) -> Result<()> {
        let codes = self.only([codes.to_owned()])?;
        let shape = codes.map(|codes| codes.shape().to_vec());
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
        let alone = self.only(spellings(name))?;
        let Some(expert) = split_layer(name).and_then(|(layer, rest)| Expert::parse(layer, rest))
        else {
            return Ok(alone);
        };
        match (alone, self.stacked(&expert)?) {
            (Some(alone), Some(stack)) => Err(twice(&alone, &stack)),
            (alone, stack) => Ok(alone.or(stack)),
        }
    }
}

/// `layers.3.attn.wkv.weight` as `3` and `attn.wkv.weight`.
fn split_layer(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("layers.")?.split_once('.')
}

/// All that may stand for a released name, stacks and what stands before names aside.
fn spellings(name: &str) -> Vec<String> {
    let (stem, ends) = match (name.strip_suffix(".weight"), name.strip_suffix(SCALES[0])) {
        (Some(stem), _) => (stem, &[".weight"][..]),
        (None, Some(stem)) => (stem, &SCALES[..]),
        (None, None) => (name, &[""][..]),
    };
    let mut stems = vec![stem.to_owned()];
    if let Some((layer, rest)) = split_layer(stem) {
        // Writing its original format, transformers takes this norm for a compressor's.
        if rest == "attn.kv_norm" {
            stems.push(format!("layers.{layer}.attn.norm"));
        }
        if let Some((_, renamed)) = LAYER.iter().find(|(released, _)| *released == rest) {
            stems.push(format!("layers.{layer}.{renamed}"));
        }
    }
    let every = stems
        .iter()
        .flat_map(|stem| ends.iter().map(move |end| format!("{stem}{end}")));
    let top = TOP.iter().filter(|(released, _)| *released == name);
    every
        .chain(top.map(|(_, other)| (*other).to_owned()))
        .collect()
}

/// That two tensors are one by their names.
fn twice(first: &RawTensor, second: &RawTensor) -> Error {
    let why = format!("the same as {}, and only one can be meant", second.name());
    flaw(first.name(), why)
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
