//! The search for a weight that is not finite, once numbers have run out of bounds: nothing of it
//! happens as long as they do not.

use std::ops::ControlFlow;

use deepseek_audio::AudioTensors;
use deepseek_core::quant::decode_row;
use deepseek_core::weights::{Dtype, TensorSource, Tensors, WeightView};
use deepseek_core::{Error, Format, Result, ScaleFormat};

use crate::config::{Config, Storage};
use crate::decoder::Place;
use crate::inventory::{Component, TensorSpec, inventory};

/// A weight that is not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Flaw {
    /// The tensor, by its name in the file: that of the scales where the scale is at fault.
    pub tensor: String,
    /// The row and the column of the matrix, or the place in the array.
    pub at: Vec<usize>,
    /// NaN or an infinity.
    pub value: f32,
}

/// The first weight that is not finite among those that could have made rows from `place` so. Of
/// n-gram tables, which are as large as all the rest, none is read. `poll` may break the search off.
///
/// # Errors
/// A tensor that cannot be what its name stands for.
pub fn find(
    config: &Config,
    source: &dyn TensorSource,
    place: Place,
    poll: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Option<Flaw>> {
    let audio = config.audio.map(|_| AudioTensors::new(source, None));
    let audio = audio.transpose()?;
    // What made rows for later layers may be found out by one of these.
    let passes = [false, true].map(|makes| (makes, inventory(config, Storage::F32)));
    for (makes, specs) in passes {
        for spec in specs.filter(|spec| concerns(spec, place, makes)) {
            if poll().is_break() {
                return Ok(None);
            }
            let is_audio = matches!(
                spec.component,
                Component::Audio | Component::AudioAligner | Component::AudioDelimiters
            );
            let tensors = match &audio {
                Some(audio) if is_audio => Tensors::new(audio, [1, 1]),
                Some(_) | None => Tensors::new(source, config.fp8_tile),
            };
            match in_tensor(&tensors, &spec) {
                // A projector may stand in a file of its own.
                Err(Error::Missing { .. }) if is_audio => {}
                Err(error) => return Err(error),
                Ok(None) => {}
                found => return found,
            }
        }
    }
    Ok(None)
}

/// Whether a tensor belongs to `place`, or, if it `makes` rows for others, stands before it.
fn concerns(spec: &TensorSpec, place: Place, makes: bool) -> bool {
    if spec.component == Component::EngramTables {
        return false;
    }
    let is_medial = matches!(
        spec.component,
        Component::Vision
            | Component::Aligner
            | Component::Delimiters
            | Component::Audio
            | Component::AudioAligner
            | Component::AudioDelimiters
    );
    let is_draft = matches!(spec.component, Component::Mtp | Component::Drafter);
    match place {
        Place::Table(_) => false,
        Place::Embedding => !makes && spec.component == Component::Embedding,
        Place::Media => !makes && is_medial,
        Place::Layer(layer) if makes => {
            let before = spec.layer.is_some_and(|own| own < layer);
            before && matches!(spec.component, Component::Compressors | Component::Indexers)
        }
        Place::Layer(layer) => spec.layer == Some(layer),
        Place::Head => {
            let outside = spec.layer.is_none() && !is_medial && !is_draft;
            !makes && outside && spec.component != Component::Embedding
        }
    }
}

fn in_tensor(tensors: &Tensors<'_>, spec: &TensorSpec) -> Result<Option<Flaw>> {
    match (spec.dtype, spec.shape.as_slice()) {
        (Dtype::I64, _) => Ok(None),
        (_, &[rows, columns]) => {
            let view = tensors.matrix(&spec.name, [rows, columns])?;
            in_matrix(tensors, spec, &view)
        }
        (_, shape) => {
            let values = tensors.array(&spec.name, shape)?;
            let lost = values.iter().position(|x| !x.is_finite());
            lost.map(|at| {
                Ok(Flaw {
                    tensor: tensors.floats(&spec.name, shape)?.name().to_owned(),
                    at: vec![at],
                    value: values[at],
                })
            })
            .transpose()
        }
    }
}

fn in_matrix(tensors: &Tensors<'_>, spec: &TensorSpec, view: &WeightView) -> Result<Option<Flaw>> {
    let [rows, columns] = view.shape;
    let mut values = vec![0.0; columns];
    for row in 0..rows {
        decode_row(view, row, &mut values);
        let Some(column) = values.iter().position(|x| !x.is_finite()) else {
            continue;
        };
        let scale = match view.format {
            Format::Fp8 { tile, scale } => Some((scale, column / tile[1])),
            Format::Fp4 { block, scale } => Some((scale, column / block)),
            Format::Int8 => Some((ScaleFormat::F32, 0)),
            Format::Int4 { group } => Some((ScaleFormat::F32, column / group)),
            Format::F32 | Format::Bf16 | Format::F16 => None,
        };
        let scale = scale.map(|(format, index)| format.decode(view.row_scales(row), index));
        let lost = scale.filter(|scale| !scale.is_finite());
        return Ok(Some(Flaw {
            tensor: match lost {
                None => view.name.clone(),
                Some(_) => tensors.scales_of(&spec.name)?,
            },
            at: vec![row, column],
            value: lost.unwrap_or(values[column]),
        }));
    }
    Ok(None)
}
