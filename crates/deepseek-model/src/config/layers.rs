//! What each layer is: compressed how far, routed by what.

use serde_json::Value;

use super::keys::{Keys, brief, whole};
use super::{ConfigError, Family, Result, SPARSE_RATIO, clash, unsupported};
use crate::limits::{MODULES_MAX, WINDOW_MAX};

/// The ratios of the backbone, and whether the file may come with draft modules at all.
struct Ratios {
    ratios: Vec<u32>,
    has_drafts: bool,
}

/// The backbone's ratios, and the draft modules behind it.
pub(super) struct Modules {
    pub(super) ratios: Vec<u32>,
    /// Those of the MTP kind.
    pub(super) mtp_layers: usize,
    /// Whether the modules of a refreshed V4 are of the DSpark kind.
    pub(super) dspark: bool,
}

impl Modules {
    pub(super) fn parse(keys: &Keys, family: Family, layers: usize) -> Result<Self> {
        let dspark = family == Family::V4 && keys.value("dspark_block_size").is_some();
        let named = keys
            .whole("num_nextn_predict_layers", 0..=MODULES_MAX)?
            .unwrap_or(0);
        let modules = match family {
            Family::V4 if !dspark => named,
            Family::V4 | Family::V41 => 0,
        };
        let Ratios { ratios, has_drafts } = ratios(keys, layers, modules)?;
        Ok(Self {
            ratios,
            mtp_layers: if has_drafts { modules } else { 0 },
            dspark,
        })
    }
}

/// Reads the released list, the list of names, or both if they agree.
fn ratios(keys: &Keys, layers: usize, modules: usize) -> Result<Ratios> {
    let released = listed(keys, layers, modules)?;
    let named = named(keys, layers)?;
    match (released, named) {
        (None, None) => Err(ConfigError::Missing {
            key: "compress_ratios (or layer_types)".to_owned(),
        }),
        (Some(ratios), None) => Ok(Ratios {
            ratios,
            has_drafts: true,
        }),
        (None, Some(ratios)) => Ok(Ratios {
            ratios,
            has_drafts: false,
        }),
        (Some(ratios), Some(named)) => {
            let pairs = ratios.iter().zip(&named).enumerate();
            match pairs.into_iter().find(|(_, (left, right))| left != right) {
                None => Ok(Ratios {
                    ratios,
                    has_drafts: true,
                }),
                Some((layer, (left, right))) => clash(
                    format!("compress_ratios[{layer}] is {left}"),
                    format!("layer_types[{layer}] means {right}"),
                ),
            }
        }
    }
}

/// `compress_ratios`: one entry for each layer, then those of the draft modules.
fn listed(keys: &Keys, layers: usize, modules: usize) -> Result<Option<Vec<u32>>> {
    let Some(list) = keys.list("compress_ratios")? else {
        return Ok(None);
    };
    // Refreshed files have an entry for each stage of their DSpark drafter.
    let drafts_max = if keys.value("dspark_block_size").is_some() {
        layers
    } else {
        modules.max(1)
    };
    if list
        .len()
        .checked_sub(layers)
        .is_none_or(|drafts| drafts > drafts_max)
    {
        return clash(
            format!("compress_ratios has {} entries", list.len()),
            format!("num_hidden_layers is {layers} and num_nextn_predict_layers {modules}"),
        );
    }
    let mut ratios = list
        .iter()
        .enumerate()
        .map(|(layer, value)| {
            let ratio = whole(&format!("compress_ratios[{layer}]"), value, 0..=WINDOW_MAX)?;
            Ok(u32::try_from(ratio).unwrap_or(u32::MAX))
        })
        .collect::<Result<Vec<_>>>()?;
    let drafts = ratios.split_off(layers);
    match drafts.iter().find(|ratio| **ratio != 0) {
        Some(ratio) => unsupported(
            "compress_ratios of a draft module",
            &Value::from(*ratio),
            "0",
        ),
        None => Ok(Some(ratios)),
    }
}

/// `layer_types` with `compress_rates`, as transformers saves them.
fn named(keys: &Keys, layers: usize) -> Result<Option<Vec<u32>>> {
    let Some(list) = keys.list("layer_types")? else {
        return Ok(None);
    };
    count(list, "layer_types", layers)?;
    let rates = keys.object("compress_rates")?.unwrap_or_default();
    let rate = |kind: &str, default: usize| -> Result<u32> {
        let rate = rates.whole(kind, 1..=WINDOW_MAX)?.unwrap_or(default);
        Ok(u32::try_from(rate).unwrap_or(u32::MAX))
    };
    let sparse = rate("compressed_sparse_attention", 4)?;
    let heavy = rate("heavily_compressed_attention", 128)?;
    let key = |kind| rates.name(kind);
    if sparse != SPARSE_RATIO {
        let key = key("compressed_sparse_attention");
        return unsupported(&key, &Value::from(sparse), "4");
    }
    if heavy == SPARSE_RATIO {
        let key = key("heavily_compressed_attention");
        return unsupported(&key, &Value::from(heavy), "other ratios than 4");
    }
    let ratios = list
        .iter()
        .enumerate()
        .map(|(layer, value)| match value.as_str() {
            Some("sliding_attention") => Ok(0),
            Some("compressed_sparse_attention") => Ok(sparse),
            Some("heavily_compressed_attention") => Ok(heavy),
            Some(_) | None => unsupported(
                &format!("layer_types[{layer}]"),
                value,
                "sliding_attention, compressed_sparse_attention and heavily_compressed_attention",
            ),
        });
    ratios.collect::<Result<Vec<_>>>().map(Some)
}

/// How many layers, from the first, route by token id.
pub(super) fn hashed(keys: &Keys, layers: usize) -> Result<usize> {
    let counted = keys.whole("num_hash_layers", 0..=layers)?;
    let listed = match keys.list("mlp_layer_types")? {
        Some(list) => Some(leading(list, layers)?),
        None => None,
    };
    match (counted, listed) {
        (Some(counted), Some(listed)) if counted != listed => clash(
            format!("num_hash_layers is {counted}"),
            format!("mlp_layer_types begins with {listed} of hash_moe"),
        ),
        (counted, listed) => counted.or(listed).ok_or_else(|| ConfigError::Missing {
            key: "num_hash_layers (or mlp_layer_types)".to_owned(),
        }),
    }
}

/// The leading entries that say `hash_moe`; all others must say `moe`.
fn leading(list: &[Value], layers: usize) -> Result<usize> {
    count(list, "mlp_layer_types", layers)?;
    let hashed = list
        .iter()
        .take_while(|value| value.as_str() == Some("hash_moe"))
        .count();
    match list
        .iter()
        .enumerate()
        .skip(hashed)
        .find(|(_, value)| value.as_str() != Some("moe"))
    {
        None => Ok(hashed),
        Some((layer, value)) => Err(ConfigError::Unsupported {
            key: format!("mlp_layer_types[{layer}]"),
            found: brief(value),
            only: "hash_moe in the first layers and moe after them".to_owned(),
        }),
    }
}

/// Whether a list has an entry for each layer.
fn count(list: &[Value], key: &str, layers: usize) -> Result<()> {
    if list.len() == layers {
        return Ok(());
    }
    clash(
        format!("{key} has {} entries", list.len()),
        format!("num_hidden_layers is {layers}"),
    )
}
