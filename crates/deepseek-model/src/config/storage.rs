//! How the tensors of a checkpoint are stored, as far as its config tells.

use serde_json::Value;

use super::keys::{Keys, whole};
use super::{ConfigError, Family, Result, check_fixed, clash, unsupported};
use crate::limits::WIDTH_MAX;

/// How a checkpoint keeps its matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// FP8 with E8M0 scales; routed experts in FP4.
    Released,
    /// FP8 with F32 scales, routed experts too.
    Base,
    /// BF16: the upper half of a 32-bit float.
    Bf16,
    /// 32-bit floats.
    F32,
    /// INT8 with a scale for each row, routed experts too: a conversion for devices that multiply
    /// integers.
    W8a8,
    /// The same with routed experts in INT4.
    W4a8,
}

/// Keys of `quantization_config` that the architecture fixes. Where one is present it must say this.
const QUANTISED: [(&str, &str); 2] = [("fmt", "\"e4m3\""), ("scale_fmt", "\"ue8m0\"")];

/// What `quant_method` may be, with what `expert_dtype` may be beside it, the first where it is absent.
const METHODS: [(&str, &[(&str, Storage)]); 3] = [
    ("fp8", &[("fp4", Storage::Released), ("fp8", Storage::Base)]),
    ("w8a8", &[("int8", Storage::W8a8)]),
    ("w4a8", &[("int4", Storage::W4a8)]),
];

/// How the matrices are stored. Flash was released without `expert_dtype`, and means FP4.
pub(super) fn storage(keys: &Keys) -> Result<Storage> {
    let Some(quantisation) = keys.object("quantization_config")? else {
        let named = ["torch_dtype", "dtype"]
            .into_iter()
            .find_map(|key| Some((key, keys.value(key)?)));
        return match named {
            None => Ok(Storage::Bf16),
            Some((_, Value::String(name))) if name == "bfloat16" => Ok(Storage::Bf16),
            Some((_, Value::String(name))) if name == "float32" => Ok(Storage::F32),
            Some((key, found)) => unsupported(key, found, "\"bfloat16\" and \"float32\""),
        };
    };
    check_fixed(&quantisation, &QUANTISED)?;
    let method = quantisation.need("quant_method", quantisation.text("quant_method")?)?;
    let Some((_, experts)) = METHODS.iter().find(|(name, _)| *name == method) else {
        let only = "\"fp8\", \"w8a8\" and \"w4a8\"";
        return unsupported(&quantisation.name("quant_method"), &method.into(), only);
    };
    let (outer, inner) = (
        keys.text("expert_dtype")?,
        quantisation.text("expert_dtype")?,
    );
    if let (Some(outer), Some(inner)) = (outer, inner)
        && outer != inner
    {
        return clash(
            format!("expert_dtype is {outer}"),
            format!("{} is {inner}", quantisation.name("expert_dtype")),
        );
    }
    let named = outer.or(inner);
    // The first is what the method means where nothing is named.
    let found = experts
        .iter()
        .find(|(name, _)| named.is_none_or(|named| named == *name));
    match found {
        Some((_, storage)) => Ok(*storage),
        None => {
            let names: Vec<_> = experts
                .iter()
                .map(|(name, _)| format!("{name:?}"))
                .collect();
            unsupported("expert_dtype", &named.into(), &names.join(" and "))
        }
    }
}

/// Rows and columns that share a scale. The release has the same in its rounding of activations, even
/// where the weights are floats.
pub(super) fn tile(keys: &Keys, family: Family) -> Result<[usize; 2]> {
    let released = match family {
        Family::V4 => [128, 128],
        Family::V41 => [32, 32],
    };
    let Some(quantisation) = keys.object("quantization_config")? else {
        return Ok(released);
    };
    let name = quantisation.name("weight_block_size");
    match quantisation.list("weight_block_size")? {
        None => Ok(released),
        Some([rows, columns]) => Ok([
            whole(&name, rows, 1..=WIDTH_MAX)?,
            whole(&name, columns, 1..=WIDTH_MAX)?,
        ]),
        Some(list) => Err(ConfigError::Kind {
            key: name,
            found: format!("a list of {}", list.len()),
            want: "a list of 2",
        }),
    }
}
