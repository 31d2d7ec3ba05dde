//! What becomes of each tensor of a checkpoint.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use deepseek_core::weights::{Access, Checkpoint, RawTensor, Tensors};
use deepseek_core::{Format, ScaleFormat};
use deepseek_model::inventory::{Component, inventory};
use deepseek_model::names::Renamed;
use deepseek_model::{Config, Storage};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::folder::{Folder, hexadecimal};
use crate::journal::Journal;
use crate::limits::SAMPLE_BYTES;
use crate::report::Report;
use crate::shard::{Job, Layout};
use crate::target::Target;

/// The file that a checkpoint of one file is.
const SINGLE: &str = "model.safetensors";

/// How far a conversion is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Bytes of the tensors that were read.
    pub done: u64,
    /// Those of all tensors.
    pub total: u64,
    /// What is being read.
    pub tensor: &'a str,
}

/// A file that belongs to a model beside its weights and its config, and goes with them.
#[derive(Debug, Clone)]
pub enum Other {
    /// In the folder of the checkpoint.
    File(PathBuf),
    /// In a program, by its name.
    Carried(&'static str, &'static [u8]),
}

/// A conversion, laid out: nothing is read of the tensors but what they are called and both their ends.
#[derive(Debug)]
pub struct Conversion {
    target: Target,
    config: String,
    source: String,
    /// The files, in the order of the checkpoint.
    pub(crate) shards: Vec<(String, Layout)>,
    bytes_before: u64,
    others: Vec<Other>,
    /// Where the checkpoint lies, if in a folder.
    folder: Option<PathBuf>,
}

/// What a tensor becomes.
#[derive(Debug, Clone)]
struct Goal {
    from: Format,
    to: Format,
    /// The name of its scales, which go with it.
    scales: Option<String>,
}

impl Conversion {
    /// Lays out what `checkpoint`, whose `config.json` is `text`, becomes. All matrices that the release
    /// quantises are converted, whatever they are stored as, but those of n-gram tables, which are looked
    /// up; where they lie and what they are called does not change.
    ///
    /// # Errors
    /// A tensor that cannot be what its name stands for; [`Error::Converted`] and [`Error::Nothing`].
    pub fn new(
        config: &Config,
        text: &str,
        checkpoint: &Checkpoint,
        target: Target,
    ) -> Result<Self> {
        match config.storage {
            Storage::W8a8 => return Err(Error::Converted { found: "w8a8" }),
            Storage::W4a8 => return Err(Error::Converted { found: "w4a8" }),
            Storage::Released | Storage::Base | Storage::Bf16 | Storage::F32 => {}
        }
        let goals = goals(config, checkpoint, target)?;
        if goals.values().all(|goal| goal.from == goal.to) {
            return Err(Error::Nothing { target });
        }
        let scales = goals.values().filter_map(|goal| goal.scales.clone());
        let scales: std::collections::HashSet<String> = scales.collect();
        let names: Vec<_> = checkpoint.shards().map(file_name).collect();
        let is_single = names.len() == 1;
        let mut shards = Vec::with_capacity(names.len());
        for (place, name) in names.into_iter().enumerate() {
            let mut layout = Layout::default();
            for tensor in checkpoint.tensors_of(place) {
                if scales.contains(tensor.name()) {
                    continue;
                }
                let job = match goals.get(tensor.name()) {
                    None => Job::copy(tensor),
                    Some(goal) => {
                        let scales = goal.scales.as_deref();
                        let scales = scales.and_then(|name| checkpoint.tensor(name));
                        if goal.from == goal.to {
                            layout.push(Job::copy(tensor));
                            if let Some(scales) = scales {
                                layout.push(Job::copy(scales));
                            }
                            continue;
                        }
                        Job::convert(tensor, scales, goal.from, goal.to)
                    }
                };
                layout.push(job);
            }
            layout.settle();
            let name = if is_single { SINGLE.to_owned() } else { name };
            shards.push((name, layout));
        }
        Ok(Self {
            target,
            config: target.config(text, config.fp8_tile)?,
            source: fingerprint(text, checkpoint),
            shards,
            bytes_before: checkpoint.bytes(),
            others: Vec::new(),
            folder: None,
        })
    }

    /// The same of a checkpoint in a folder, which the result may not replace.
    #[must_use]
    pub fn from_folder(self, folder: &Path) -> Self {
        Self {
            folder: Some(folder.to_owned()),
            ..self
        }
    }

    /// The same with other files beside the weights.
    #[must_use]
    pub fn with_others(self, others: Vec<Other>) -> Self {
        Self { others, ..self }
    }

    /// Bytes of the tensors before.
    #[must_use]
    pub fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    /// Bytes of the tensors after.
    #[must_use]
    pub fn bytes_after(&self) -> u64 {
        self.shards.iter().map(|(_, layout)| layout.bytes()).sum()
    }

    /// Writes the converted checkpoint to `out`, which is made if it is not there. What an earlier run
    /// finished there is kept where it is whole. The config is written last, so that no half of a
    /// checkpoint passes for one. `threads` share the work, and change no byte of it; each holds a few
    /// megabytes. `progress` may break off.
    ///
    /// # Errors
    /// A folder that is the checkpoint's own or holds anything else; what the system refuses;
    /// [`Error::Interrupted`] when `progress` says so.
    pub fn run(
        &self,
        out: &Path,
        threads: usize,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Report> {
        let fresh = Journal::new(
            self.target.name().to_owned(),
            self.source.clone(),
            self.bytes_before,
            self.bytes_after(),
        );
        let mut folder = Folder::open(out, self.folder.as_deref(), fresh)?;
        let (mut made, mut kept, mut done) = (0, 0, 0);
        for (name, layout) in &self.shards {
            let own = layout.source_bytes();
            let mut report = |bytes: u64, tensor: &str| {
                let (done, total) = (done + bytes, self.bytes_before);
                progress(Progress {
                    done,
                    total,
                    tensor,
                })
            };
            if folder.holds(name, &mut |share| report((own as f64 * share) as u64, name))? {
                kept += 1;
            } else {
                folder.make(name, layout, threads, &mut report)?;
                made += 1;
            }
            done += own;
        }
        folder.copy(&self.others)?;
        if self.shards.len() > 1 {
            folder.write_index(&self.shards)?;
        }
        folder.finish(&self.config)?;
        Ok(Report::new(folder.journal(), made, kept))
    }
}

/// What each matrix becomes that the release quantises, by its name in the files.
fn goals(
    config: &Config,
    checkpoint: &Checkpoint,
    target: Target,
) -> Result<HashMap<String, Goal>> {
    use deepseek_core::weights::TensorSource;

    let source = Renamed::new(checkpoint);
    let tensors = Tensors::new(&source, config.fp8_tile);
    let released = inventory(config, Storage::Released);
    let is_quantised =
        released.map(|spec| (spec.dtype.bytes() == 1 && !spec.is_scale(), spec.name));
    let quantised: std::collections::HashSet<String> = is_quantised
        .filter_map(|(quantised, name)| quantised.then_some(name))
        .collect();
    // As floats each matrix is listed in its own shape; scales are none of those.
    let shapes = inventory(config, Storage::F32).map(|spec| (spec.name, spec.shape));
    let shapes: HashMap<String, Vec<usize>> = shapes.collect();
    let mut goals: HashMap<String, Goal> = HashMap::new();
    for spec in inventory(config, target.storage()) {
        if spec.component == Component::EngramTables || !quantised.contains(&spec.name) {
            continue;
        }
        // A checkpoint may lack what is not always needed, such as draft modules.
        let Some(raw) = source.find(&spec.name)? else {
            continue;
        };
        let Some(&[rows, columns]) = shapes.get(&spec.name).map(Vec::as_slice) else {
            continue;
        };
        let view = tensors.matrix(&spec.name, [rows, columns])?;
        let is_scaled = matches!(view.format, Format::Fp8 { .. } | Format::Fp4 { .. });
        let goal = Goal {
            from: view.format,
            to: target.format(&spec, columns, config.fp8_tile),
            scales: if is_scaled {
                Some(tensors.scales_of(&spec.name)?)
            } else {
                None
            },
        };
        goals.insert(raw.name().to_owned(), goal);
    }
    Ok(goals)
}

/// The name of a file of the checkpoint.
fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What a checkpoint is known by when a conversion is resumed.
fn fingerprint(config: &str, checkpoint: &Checkpoint) -> String {
    let mut hash = Sha256::new();
    hash.update(config);
    for tensor in checkpoint.tensors() {
        hash.update(format!(
            "{} {} {:?}\n",
            tensor.name(),
            tensor.dtype(),
            tensor.shape()
        ));
        let bytes: &[u8] = tensor.bytes();
        let sample = bytes.len().min(SAMPLE_BYTES);
        hash.update(&bytes[..sample]);
        hash.update(&bytes[bytes.len() - sample..]);
        // Otherwise what lies around the samples would stay in memory, sixty kilobytes for each.
        tensor.bytes().advise(0..bytes.len(), Access::Over);
    }
    hexadecimal(&hash.finalize())
}

/// Columns of a matrix whose row in a file is `stored` elements.
pub(crate) fn columns(format: Format, stored: usize) -> usize {
    match format {
        Format::Fp4 { .. } => stored * 2,
        Format::Int4 { .. } => stored * 8,
        Format::F32 | Format::Bf16 | Format::F16 | Format::Fp8 { .. } | Format::Int8 => stored,
    }
}

/// The scales of a row of tiles, in bytes, and how many such rows there are; nothing for floats.
pub(crate) fn scale_shape(format: Format, [rows, columns]: [usize; 2]) -> Option<[usize; 2]> {
    match format {
        Format::F32 | Format::Bf16 | Format::F16 => None,
        Format::Fp8 { tile, .. } => Some([rows.div_ceil(tile[0]), columns.div_ceil(tile[1])]),
        Format::Fp4 { block, .. } => Some([rows, columns.div_ceil(block)]),
        Format::Int8 => Some([rows, 1]),
        Format::Int4 { group } => Some([rows, columns / group]),
    }
}

/// The tensors of a matrix, or of a stack of some, from their names in the file, as the readers know them.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) codes: RawTensor,
    pub(crate) scales: Option<RawTensor>,
    pub(crate) format: Format,
}

impl Pair {
    /// Matrices one behind the other, and the rows and columns of each.
    pub(crate) fn shape(&self) -> (usize, [usize; 2]) {
        let shape = self.codes.shape();
        match *shape {
            [rows, stored] => (1, [rows, columns(self.format, stored)]),
            [count, rows, stored] => (count, [rows, columns(self.format, stored)]),
            _ => unreachable!("{shape:?} was read as matrices"),
        }
    }

    /// The tile of FP8, which the files do not say.
    pub(crate) fn tile(&self) -> [usize; 2] {
        match self.format {
            Format::Fp8 { tile, .. } => tile,
            _ => [1, 1],
        }
    }
}

/// How scales are stored.
pub(crate) fn scale_format(format: Format) -> ScaleFormat {
    match format {
        Format::Fp8 { scale, .. } | Format::Fp4 { scale, .. } => scale,
        _ => ScaleFormat::F32,
    }
}
