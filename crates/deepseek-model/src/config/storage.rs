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
}

/// Keys of `quantization_config` that the architecture fixes. Where one is present it must say this.
const QUANTISED: [(&str, &str); 3] = [
    ("quant_method", "\"fp8\""),
    ("fmt", "\"e4m3\""),
    ("scale_fmt", "\"ue8m0\""),
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
    quantisation.need("quant_method", quantisation.text("quant_method")?)?;
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
    match outer.or(inner) {
        None | Some("fp4") => Ok(Storage::Released),
        Some("fp8") => Ok(Storage::Base),
        Some(other) => unsupported("expert_dtype", &Value::from(other), "\"fp4\" and \"fp8\""),
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
