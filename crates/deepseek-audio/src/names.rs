//! The tensors of a tower by our names, whoever saved it (`docs/models/audio-video.md` §3, tensor
//! names).

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use deepseek_core::weights::{RawTensor, TensorSource};
use deepseek_core::{Error, Result};

/// What may stand before the name of a tensor of the tower: ours, Whisper's with and without its
/// decoder's name before it, and that of Qwen2-Audio, Voxtral and Audio Flamingo 3, old and new.
const TOWERS: [&str; 5] = [
    OURS,
    "model.encoder.",
    "encoder.",
    "audio_tower.",
    "model.audio_tower.",
];
/// What may stand before the name of a tensor of the projector.
const PROJECTORS: [&str; 3] = [
    OUR_PROJECTOR,
    "multi_modal_projector.",
    "model.multi_modal_projector.",
];
const OURS: &str = "audio.";
const OUR_PROJECTOR: &str = "audio_aligner.";
/// The tensor by which a tower is known.
const MARK: &str = "conv1.weight";
/// The tensors by which a projector is known: one of two layers, or of one.
const PROJECTOR_MARKS: [&str; 2] = ["linear_1.weight", "linear.weight"];
/// Parts with a weight and a bias.
const PARTS: [&str; 3] = ["conv1", "conv2", "layer_norm"];
const PROJECTOR_PARTS: [&str; 3] = ["linear", "linear_1", "linear_2"];
/// Parts of a layer with a weight and a bias.
const LAYER_PARTS: [&str; 8] = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "self_attn_layer_norm",
    "final_layer_norm",
    "fc1",
    "fc2",
];

/// A tower, its projector and its delimiters by our names.
#[derive(Debug)]
pub struct AudioTensors<'a> {
    tower: &'a dyn TensorSource,
    tower_prefix: &'static str,
    projector: &'a dyn TensorSource,
    projector_prefix: &'static str,
}

impl<'a> AudioTensors<'a> {
    /// Looks for the tower in `tower`, and for the projector in `projector` or, without one, in the
    /// same place. A projector that is in neither will be missed when it is loaded.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no tower.
    pub fn new(
        tower: &'a dyn TensorSource,
        projector: Option<&'a dyn TensorSource>,
    ) -> Result<Self> {
        let Some(tower_prefix) = first(tower, TOWERS, &[MARK]) else {
            let name = format!("{OURS}{MARK}");
            return Err(Error::Missing { name });
        };
        let projector = projector.unwrap_or(tower);
        let projector_prefix = first(projector, PROJECTORS, &PROJECTOR_MARKS);
        Ok(Self {
            tower,
            tower_prefix,
            projector,
            projector_prefix: projector_prefix.unwrap_or(OUR_PROJECTOR),
        })
    }

    /// Holds the names of all tensors of a checkpoint against those that a tower of `layers` blocks
    /// has.
    ///
    /// # Errors
    /// [`Error::Tensor`] for one that is among the tower's and has no place in it.
    pub fn check<'n>(&self, layers: usize, names: impl IntoIterator<Item = &'n str>) -> Result<()> {
        for name in names {
            // The source may find a name without what stands before it in the file.
            let below = |prefix| {
                let short = name.strip_prefix("model.").unwrap_or(name);
                name.strip_prefix(prefix)
                    .or_else(|| short.strip_prefix(prefix))
            };
            let known = if let Some(rest) = below(self.tower_prefix) {
                is_tower(rest, layers)
            } else if let Some(rest) = below(self.projector_prefix) {
                is_of(rest, &PROJECTOR_PARTS)
            } else {
                true
            };
            if !known {
                return Err(Error::Tensor {
                    name: name.to_owned(),
                    why: format!("no part of an audio tower of {layers} layers"),
                });
            }
        }
        Ok(())
    }
}

impl TensorSource for AudioTensors<'_> {
    fn find(&self, name: &str) -> Result<Option<RawTensor>> {
        if let Some(rest) = name.strip_prefix(OURS) {
            return self.tower.find(&format!("{}{rest}", self.tower_prefix));
        }
        if let Some(rest) = name.strip_prefix(OUR_PROJECTOR) {
            let prefix = self.projector_prefix;
            return self.projector.find(&format!("{prefix}{rest}"));
        }
        match self.tower.find(name)? {
            None => self.projector.find(name),
            found => Ok(found),
        }
    }
}

/// The first of the prefixes under which one of the marks is found.
fn first<const N: usize>(
    source: &dyn TensorSource,
    prefixes: [&'static str; N],
    marks: &[&str],
) -> Option<&'static str> {
    let has = |name: String| !matches!(source.find(&name), Ok(None));
    prefixes
        .into_iter()
        .find(|prefix| marks.iter().any(|mark| has(format!("{prefix}{mark}"))))
}

fn is_tower(rest: &str, layers: usize) -> bool {
    if let Some((layer, part)) = rest
        .strip_prefix("layers.")
        .and_then(|rest| rest.split_once('.'))
    {
        let layer = layer.parse().ok().filter(|layer: &usize| *layer < layers);
        return layer.is_some() && is_of(part, &LAYER_PARTS);
    }
    rest == "embed_positions.weight" || is_of(rest, &PARTS)
}

/// Whether it is the weight or the bias of one of the parts.
fn is_of(name: &str, parts: &[&str]) -> bool {
    name.strip_suffix(".weight")
        .or_else(|| name.strip_suffix(".bias"))
        .is_some_and(|part| parts.contains(&part))
}
