//! The rotary part of a config: flat as released, or nested as transformers saves it.

use deepseek_core::rope::Yarn;
use serde_json::Value;

use super::keys::Keys;
use super::{ConfigError, Result, clash, unsupported};

/// The two sets of rotary frequencies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RopeConfig {
    /// Base in layers with nothing but a window, without interpolation.
    pub theta: f32,
    /// Base in layers with compressed rows.
    pub compress_theta: f32,
    /// Interpolation in layers with compressed rows.
    pub yarn: Option<Yarn>,
}

/// Rotary channels of a head: `qk_rope_head_dim`, or `partial_rotary_factor` times the head.
pub(super) fn width(keys: &Keys, head_dim: usize) -> Result<usize> {
    let counted = keys.whole("qk_rope_head_dim", 2..=head_dim)?;
    let factored = match keys.number("partial_rotary_factor")? {
        Some(factor) => Some(share(factor, head_dim)?),
        None => None,
    };
    let width = match (counted, factored) {
        (Some(counted), Some(factored)) if counted != factored => {
            return clash(
                format!("qk_rope_head_dim is {counted}"),
                format!("partial_rotary_factor times head_dim {head_dim} is {factored}"),
            );
        }
        (counted, factored) => counted.or(factored).ok_or_else(|| ConfigError::Missing {
            key: "qk_rope_head_dim (or partial_rotary_factor)".to_owned(),
        })?,
    };
    if width % 2 == 0 {
        return Ok(width);
    }
    Err(ConfigError::Range {
        key: "qk_rope_head_dim".to_owned(),
        value: width.to_string(),
        want: "an even number".to_owned(),
    })
}

/// The whole number of channels that a share of a head is.
fn share(factor: f32, head_dim: usize) -> Result<usize> {
    let close = |width: &usize| {
        let (width, head) = (u16::try_from(*width), u16::try_from(head_dim));
        matches!((width, head), (Ok(width), Ok(head))
            if (f32::from(width) - factor * f32::from(head)).abs() < 1e-3)
    };
    (2..=head_dim)
        .find(close)
        .ok_or_else(|| ConfigError::Range {
            key: "partial_rotary_factor".to_owned(),
            value: factor.to_string(),
            want: format!("a whole number of the {head_dim} channels of a head"),
        })
}

impl RopeConfig {
    /// Both bases and the interpolation, from whichever form is there; from both if they agree.
    pub(super) fn parse(keys: &Keys) -> Result<Self> {
        let nested = keys.object("rope_parameters")?;
        let parts = match &nested {
            Some(nested) => (nested.object("main")?, nested.object("compress")?),
            None => (None, None),
        };
        let (nested_bases, nested_yarn) = match parts {
            (Some(main), Some(compress)) => {
                if yarn(&main)?.is_some() {
                    return clash(
                        format!("{} asks for interpolation", main.name("rope_type")),
                        "layers with nothing but a window have none".to_owned(),
                    );
                }
                let bases = (
                    main.positive("rope_theta")?,
                    compress.positive("rope_theta")?,
                );
                (Some(bases), Some(yarn(&compress)?))
            }
            // The flat scaling under its newer name.
            (None, None) => match &nested {
                Some(flat) => (None, Some(yarn(flat)?)),
                None => (None, None),
            },
            (None, Some(_)) | (Some(_), None) => {
                let key = "rope_parameters.main and rope_parameters.compress".to_owned();
                return Err(ConfigError::Missing { key });
            }
        };
        let flat_yarn = match keys.object("rope_scaling")? {
            Some(scaling) => Some(yarn(&scaling)?),
            // Null is a statement, absence is not.
            None => keys.contains("rope_scaling").then_some(None),
        };
        let yarn = match (flat_yarn, nested_yarn) {
            (None, None) => {
                return Err(ConfigError::Missing {
                    key: "rope_scaling (or rope_parameters)".to_owned(),
                });
            }
            (Some(flat), Some(nested)) if flat != nested => {
                return clash(
                    format!("rope_scaling is {}", describe(flat)),
                    format!("rope_parameters is {}", describe(nested)),
                );
            }
            (Some(yarn), _) | (None, Some(yarn)) => yarn,
        };
        let (theta, compress_theta) = nested_bases.unzip();
        Ok(Self {
            theta: base(keys, "rope_theta", theta)?,
            compress_theta: base(keys, "compress_rope_theta", compress_theta)?,
            yarn,
        })
    }
}

/// A base that stands at the top, in the nested form, or in both alike.
fn base(keys: &Keys, key: &str, nested: Option<f32>) -> Result<f32> {
    match nested {
        None => keys.positive(key),
        Some(nested) if keys.value(key).is_none() => Ok(nested),
        Some(nested) => {
            let flat = keys.positive(key)?;
            if flat == nested {
                return Ok(flat);
            }
            clash(
                format!("{key} is {flat}"),
                format!("rope_parameters says {nested}"),
            )
        }
    }
}

/// The interpolation of one set of frequencies. The kind may stand under either of two keys.
fn yarn(keys: &Keys) -> Result<Option<Yarn>> {
    let (new, old) = (keys.text("rope_type")?, keys.text("type")?);
    let key = keys.name("rope_type");
    if let (Some(new), Some(old)) = (new, old)
        && new != old
    {
        return clash(
            format!("{key} is {new}"),
            format!("{} is {old}", keys.name("type")),
        );
    }
    match new.or(old) {
        None => Err(ConfigError::Missing { key }),
        Some("default") => Ok(None),
        Some("yarn") => {
            // A magnitude on cosine and sine is no part of the model (`docs/models/deepseek-v4.md`
            // §3.3).
            match keys.number("attention_factor")? {
                None | Some(1.0) => {}
                Some(other) => {
                    let key = keys.name("attention_factor");
                    return unsupported(&key, &Value::from(other), "1");
                }
            }
            let yarn = Yarn {
                factor: keys.positive("factor")?,
                original: keys.positive("original_max_position_embeddings")?,
                beta_fast: keys.positive("beta_fast")?,
                beta_slow: keys.positive("beta_slow")?,
            };
            if yarn.beta_fast < yarn.beta_slow {
                return clash(
                    format!("{} is {}", keys.name("beta_fast"), yarn.beta_fast),
                    format!("{} is {}", keys.name("beta_slow"), yarn.beta_slow),
                );
            }
            Ok(Some(yarn))
        }
        Some(other) => unsupported(&key, &Value::from(other), "\"yarn\" and \"default\""),
    }
}

fn describe(yarn: Option<Yarn>) -> String {
    match yarn {
        None => "none".to_owned(),
        Some(Yarn {
            factor,
            original,
            beta_fast,
            beta_slow,
        }) => {
            format!("yarn {factor} over {original}, {beta_fast} to {beta_slow}")
        }
    }
}
