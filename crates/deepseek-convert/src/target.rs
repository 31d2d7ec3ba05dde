//! What a checkpoint is converted to.

use std::fmt;

use deepseek_core::weights::Dtype;
use deepseek_core::{Format, ScaleFormat};
use deepseek_model::Storage;
use deepseek_model::inventory::TensorSpec;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// A storage that a checkpoint can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// All matrices that the release quantises in INT8, one scale a row.
    W8a8,
    /// The same with routed experts in INT4, one scale for 128 columns of a row.
    W4a8,
    /// As the releases are: FP8 in tiles, routed experts in FP4 in blocks of 32, scales E8M0.
    Mxfp4,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::W8a8, Self::W4a8, Self::Mxfp4];

    /// What it is called, in what is typed and what is recorded.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::W8a8 => "w8a8",
            Self::W4a8 => "w4a8",
            Self::Mxfp4 => "mxfp4",
        }
    }

    /// How the model's config names it.
    #[must_use]
    pub fn storage(self) -> Storage {
        match self {
            Self::W8a8 => Storage::W8a8,
            Self::W4a8 => Storage::W4a8,
            Self::Mxfp4 => Storage::Released,
        }
    }

    /// The format of a matrix that the target's inventory lists so, which has so many columns.
    ///
    /// # Panics
    /// If no storage lists a matrix so.
    pub(crate) fn format(self, spec: &TensorSpec, columns: usize, tile: [usize; 2]) -> Format {
        let scale = ScaleFormat::E8m0;
        match (self, spec.dtype) {
            (_, Dtype::Bf16) => Format::Bf16,
            (_, Dtype::F8E4m3) => Format::Fp8 { tile, scale },
            (Self::Mxfp4, Dtype::I8) => Format::Fp4 { block: 32, scale },
            (_, Dtype::I8) => Format::Int8,
            (_, Dtype::I32) => Format::int4(columns).expect("listed so where it divides a row"),
            (_, other) => unreachable!("no matrix is listed as {other}"),
        }
    }

    /// A config of the released form or of the one that transformers writes, for the converted files.
    /// Keys come in alphabetical order.
    ///
    /// # Errors
    /// [`Error::Config`] for what is no JSON object.
    pub(crate) fn config(self, text: &str, [rows, columns]: [usize; 2]) -> Result<String> {
        let config = |why: String| Error::Config { why };
        let mut keys: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| config(error.to_string()))?;
        keys.remove("expert_dtype");
        if let Some(Value::Object(inner)) = keys.get_mut("text_config") {
            inner.remove("expert_dtype");
            inner.remove("quantization_config");
        }
        let mut quantisation = json!({
            "quant_method": self.name(),
            "activation_scheme": "dynamic",
            "expert_dtype": "int8",
            "weight_block_size": [rows, columns],
        });
        match self {
            Self::W8a8 => {}
            Self::W4a8 => quantisation["expert_dtype"] = "int4".into(),
            Self::Mxfp4 => {
                quantisation["quant_method"] = "fp8".into();
                quantisation["expert_dtype"] = "fp4".into();
                quantisation["fmt"] = "e4m3".into();
                quantisation["scale_fmt"] = "ue8m0".into();
            }
        }
        keys.insert("quantization_config".to_owned(), quantisation);
        Ok(format!("{:#}\n", Value::Object(keys)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
