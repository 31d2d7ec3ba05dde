//! One file of a converted checkpoint: what stands where, and how it gets there.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use deepseek_core::weights::{Access, Bytes, Dtype, RawTensor, TensorSource, Tensors, WeightView};
use deepseek_core::{Error as CoreError, Format, ScaleFormat};
use serde_json::{Map, Value, json};

use crate::conversion::{Pair, scale_format, scale_shape};
use crate::error::{Error, Result, at};
use crate::journal::TensorRecord;
use crate::limits::STRETCH_BYTES;
use crate::matrix::{Loss, convert};

/// A tensor of the new file.
#[derive(Debug)]
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Where it begins, from the end of the header.
    offset: u64,
}

impl Entry {
    fn new(name: String, dtype: Dtype, shape: Vec<usize>) -> Self {
        Self {
            name,
            dtype,
            shape,
            offset: 0,
        }
    }

    fn bytes(&self) -> u64 {
        let elements: u64 = self.shape.iter().map(|count| *count as u64).product();
        elements * self.dtype.bytes() as u64
    }
}

/// A tensor of the old files, and what becomes of it.
#[derive(Debug)]
pub(crate) enum Job {
    /// The same bytes.
    Copy(RawTensor),
    /// A matrix, or a stack of them, in another format.
    Convert(Pair, Format),
}

impl Job {
    pub(crate) fn copy(tensor: &RawTensor) -> Self {
        Self::Copy(tensor.clone())
    }

    pub(crate) fn convert(
        codes: &RawTensor,
        scales: Option<&RawTensor>,
        from: Format,
        to: Format,
    ) -> Self {
        let pair = Pair {
            codes: codes.clone(),
            scales: scales.cloned(),
            format: from,
        };
        Self::Convert(pair, to)
    }

    /// The tensors that it makes.
    fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Copy(raw) => vec![Entry::new(
                raw.name().to_owned(),
                raw.dtype(),
                raw.shape().to_vec(),
            )],
            Self::Convert(pair, to) => {
                let (_, shape) = pair.shape();
                let (dtype, packed) = match to {
                    Format::F32 => (Dtype::F32, 1),
                    Format::Bf16 => (Dtype::Bf16, 1),
                    Format::F16 => (Dtype::F16, 1),
                    Format::Fp8 { .. } => (Dtype::F8E4m3, 1),
                    Format::Fp4 { .. } => (Dtype::I8, 2),
                    Format::Int8 => (Dtype::I8, 1),
                    Format::Int4 { .. } => (Dtype::I32, 8),
                };
                // What is stacked, is stacked again.
                let stack = match pair.codes.shape() {
                    [count, _, _] => vec![*count],
                    _ => Vec::new(),
                };
                let dims = |[rows, columns]: [usize; 2]| [&stack[..], &[rows, columns]].concat();
                let name = pair.codes.name().to_owned();
                let codes = dims([shape[0], shape[1] / packed]);
                let mut entries = vec![Entry::new(name, dtype, codes)];
                if let Some(scales) = scale_shape(*to, shape) {
                    let dtype = match scale_format(*to) {
                        ScaleFormat::E8m0 => Dtype::F8E8m0,
                        ScaleFormat::F32 => Dtype::F32,
                    };
                    entries.push(Entry::new(pair.scale_name(), dtype, dims(scales)));
                }
                entries
            }
        }
    }

    /// Bytes of the tensors that it reads.
    fn source_bytes(&self) -> u64 {
        let bytes = |raw: &RawTensor| raw.bytes().len() as u64;
        match self {
            Self::Copy(raw) => bytes(raw),
            Self::Convert(pair, _) => bytes(&pair.codes) + pair.scales.as_ref().map_or(0, bytes),
        }
    }
}

impl Pair {
    /// What the scales are called: as before, or as the release and transformers call them.
    fn scale_name(&self) -> String {
        let codes = self.codes.name();
        match (&self.scales, codes.strip_suffix(".weight")) {
            (Some(scales), _) => scales.name().to_owned(),
            (None, Some(stem)) => format!("{stem}.scale"),
            (None, None) => format!("{codes}_scale"),
        }
    }

    /// One of the matrices.
    fn view(&self, index: usize) -> Result<WeightView> {
        let (count, shape) = self.shape();
        let one = |raw: &RawTensor| -> Result<RawTensor, CoreError> {
            match *raw.shape() {
                [_, rows, columns] => raw.narrow_rows(index..index + 1)?.reshape(&[rows, columns]),
                _ => Ok(raw.clone()),
            }
        };
        debug_assert!(index < count, "matrix {index} of {count}");
        let alone = Alone {
            codes: one(&self.codes)?,
            scales: self.scales.as_ref().map(one).transpose()?,
        };
        Ok(Tensors::new(&alone, self.tile()).matrix(Alone::CODES, shape)?)
    }
}

/// A matrix and its scales, by names of their own.
#[derive(Debug)]
struct Alone {
    codes: RawTensor,
    scales: Option<RawTensor>,
}

impl Alone {
    const CODES: &str = "one.weight";
    const SCALES: &str = "one.scale";
}

impl TensorSource for Alone {
    fn find(&self, name: &str) -> Result<Option<RawTensor>, CoreError> {
        Ok(match name {
            Self::CODES => Some(self.codes.clone()),
            Self::SCALES => self.scales.clone(),
            _ => None,
        })
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    jobs: Vec<(Job, Vec<Entry>)>,
}

impl Layout {
    pub(crate) fn push(&mut self, job: Job) {
        let entries = job.entries();
        self.jobs.push((job, entries));
    }

    /// Gives each tensor its place, those of wide elements first, so that each lies at a multiple of its
    /// own.
    pub(crate) fn settle(&mut self) {
        let mut entries: Vec<_> = self.jobs.iter_mut().flat_map(|(_, own)| own).collect();
        entries.sort_by(|a, b| {
            let by_width = b.dtype.bytes().cmp(&a.dtype.bytes());
            by_width.then_with(|| a.name.cmp(&b.name))
        });
        let mut end = 0;
        for entry in entries {
            entry.offset = end;
            end += entry.bytes();
        }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.jobs.iter().flat_map(|(_, own)| own)
    }

    /// The names of its tensors.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.name.as_str())
    }

    /// Bytes of its tensors.
    pub(crate) fn bytes(&self) -> u64 {
        self.entries().map(Entry::bytes).sum()
    }

    /// Bytes of the tensors that it is made of.
    pub(crate) fn source_bytes(&self) -> u64 {
        self.jobs.iter().map(|(job, _)| job.source_bytes()).sum()
    }

    /// The length of the header, and the header, as long as a multiple of eight.
    fn header(&self) -> Vec<u8> {
        let mut header: Map<String, Value> = Map::new();
        header.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
        for entry in self.entries() {
            let end = entry.offset + entry.bytes();
            let value = json!({
                "dtype": entry.dtype.name(),
                "shape": entry.shape,
                "data_offsets": [entry.offset, end],
            });
            header.insert(entry.name.clone(), value);
        }
        let mut json = Value::Object(header).to_string().into_bytes();
        json.resize(json.len().next_multiple_of(8), b' ');
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    }

    /// Writes the file. `report` hears the bytes that were read, and of which tensor, and may break off.
    pub(crate) fn write(
        &self,
        path: &Path,
        threads: usize,
        report: &mut dyn FnMut(u64, &str) -> ControlFlow<()>,
    ) -> Result<Vec<TensorRecord>> {
        let mut file = File::create(path).map_err(at(path))?;
        let header = self.header();
        let begin = header.len() as u64;
        file.write_all(&header).map_err(at(path))?;
        file.set_len(begin + self.bytes()).map_err(at(path))?;
        let mut put = |offset: u64, bytes: &[u8]| -> Result<()> {
            file.seek(SeekFrom::Start(begin + offset))
                .map_err(at(path))?;
            file.write_all(bytes).map_err(at(path))
        };
        let (mut records, mut done) = (Vec::new(), 0);
        for (job, entries) in &self.jobs {
            let name = entries[0].name.as_str();
            if report(done, name).is_break() {
                return Err(Error::Interrupted);
            }
            match job {
                Job::Copy(raw) => copy(raw, entries[0].offset, &mut put, &mut |bytes| {
                    report(done + bytes, name)
                })?,
                Job::Convert(pair, to) => {
                    let places = [
                        entries[0].offset,
                        entries.get(1).map_or(0, |own| own.offset),
                    ];
                    let loss = matrices(pair, *to, threads, places, &mut put, &mut |bytes| {
                        report(done + bytes, name)
                    })?;
                    let formats = [pair.format, *to].map(|format| format.to_string());
                    let [from, to] = formats;
                    records.push(TensorRecord::new(name.to_owned(), from, to, loss));
                }
            }
            done += job.source_bytes();
        }
        file.sync_all().map_err(at(path))?;
        Ok(records)
    }
}

type Put<'a> = dyn FnMut(u64, &[u8]) -> Result<()> + 'a;
type Heard<'a> = dyn FnMut(u64) -> ControlFlow<()> + 'a;

/// Writes the bytes of a tensor as they are.
fn copy(raw: &RawTensor, offset: u64, put: &mut Put<'_>, heard: &mut Heard<'_>) -> Result<()> {
    let bytes = raw.bytes();
    for start in (0..bytes.len()).step_by(STRETCH_BYTES) {
        let end = bytes.len().min(start + STRETCH_BYTES);
        put(offset + start as u64, &bytes[start..end])?;
        bytes.advise(start..end, Access::Over);
        if heard(end as u64).is_break() {
            return Err(Error::Interrupted);
        }
    }
    Ok(())
}

/// Writes the matrices of a stack one behind the other, their codes and their scales from their `places`
/// on.
fn matrices(
    pair: &Pair,
    to: Format,
    threads: usize,
    [mut codes_at, mut scales_at]: [u64; 2],
    put: &mut Put<'_>,
    heard: &mut Heard<'_>,
) -> Result<Loss> {
    let (count, [rows, _]) = pair.shape();
    let each = pair.codes.bytes().len() as u64 / count.max(1) as u64;
    let mut loss = Loss::default();
    for index in 0..count {
        let view = pair.view(index)?;
        let mut written = 0;
        let own = convert(&view, to, threads, &mut |codes, scales| {
            put(codes_at, codes)?;
            put(scales_at, scales)?;
            codes_at += codes.len() as u64;
            scales_at += scales.len() as u64;
            // The codes of a band stand for its rows.
            written += codes.len() as u64;
            let share = written as f64 / codes_bytes(to, view.shape).max(1) as f64;
            let_go(
                &view.data,
                (rows as f64 * share) as usize * view.row_bytes(),
            );
            match heard(index as u64 * each + (each as f64 * share) as u64) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(Error::Interrupted),
            }
        })?;
        let_go(&view.scales, view.scales.len());
        loss.add(own);
    }
    Ok(loss)
}

/// Bytes of the codes of a matrix.
fn codes_bytes(format: Format, [rows, columns]: [usize; 2]) -> u64 {
    let bits = match format {
        Format::F32 => 32,
        Format::Bf16 | Format::F16 => 16,
        Format::Fp8 { .. } | Format::Int8 => 8,
        Format::Fp4 { .. } | Format::Int4 { .. } => 4,
    };
    rows as u64 * columns as u64 * bits / 8
}

/// Lets go of the first bytes of what was read.
fn let_go(bytes: &Bytes, end: usize) {
    bytes.advise(0..end, Access::Over);
}
