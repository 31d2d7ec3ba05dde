//! Golden numbers on disk.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use deepseek_core::weights::{Bytes, WeightView};
use deepseek_core::{Format, HostTensor};
use safetensors::{Dtype, SafeTensors};

use crate::compare::close;

/// A file of named tensors.
#[derive(Debug)]
pub struct Fixture {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The folder of golden numbers of this name, whichever release it is of.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
    let releases = ["v4", "v41"].map(|release| all.join(release).join(name));
    let found = releases.iter().find(|folder| folder.exists());
    found.unwrap_or(&releases[0]).clone()
}

impl Fixture {
    /// Reads a file of a [`folder`]: `flashy-s0/reference.safetensors`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(name: &str) -> Result<Self> {
        let path = folder(name);
        let bytes = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(Self { path, bytes })
    }

    fn tensor(&self, name: &str, dtype: Dtype) -> Result<(Vec<usize>, Vec<u8>)> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let at = || format!("{name} in {}", self.path.display());
        let tensor = file.tensor(name).with_context(at)?;
        ensure!(
            tensor.dtype() == dtype,
            "{}: {:?}, want {dtype:?}",
            at(),
            tensor.dtype()
        );
        Ok((tensor.shape().to_vec(), tensor.data().to_vec()))
    }

    /// Whether there is a tensor of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).is_ok_and(|file| file.tensor(name).is_ok())
    }

    /// 32-bit floats, from the BF16 tensor of this name.
    ///
    /// # Errors
    /// If there are none.
    pub fn bf16(&self, name: &str) -> Result<HostTensor> {
        let (shape, data) = self.tensor(name, Dtype::BF16)?;
        let pairs = data.as_chunks::<2>().0.iter();
        let values = pairs.map(|[low, high]| f32::from_le_bytes([0, 0, *low, *high]));
        Ok(HostTensor::new(&shape, values.collect()))
    }

    /// 32-bit floats.
    ///
    /// # Errors
    /// If there are none of this name.
    pub fn floats(&self, name: &str) -> Result<HostTensor> {
        let (shape, data) = self.tensor(name, Dtype::F32)?;
        let values = data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        Ok(HostTensor::new(&shape, values))
    }

    /// Holds logits against those of this name, row by row. Where a rounding lies so near to a boundary that
    /// it falls one way in 64 bits and the other in 32, there are both.
    ///
    /// # Errors
    /// If there are none of this name.
    ///
    /// # Panics
    /// With the worst element of a row that is near to neither.
    #[track_caller]
    pub fn holds(&self, what: &str, got: &[f32], name: &str, tolerance: f32) -> Result<()> {
        let want = self.floats(name)?;
        let twin = format!("{name}.f32");
        if !self.has(&twin) {
            close(what, got, want.data(), tolerance);
            return Ok(());
        }
        let twin = self.floats(&twin)?;
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance);
        for (row, got) in got.chunks(want.width()).enumerate() {
            if !near(got, twin.row(row)) {
                close(&format!("{what}, row {row}"), got, want.row(row), tolerance);
            }
        }
        Ok(())
    }

    /// Bytes and their shape.
    ///
    /// # Errors
    /// If there are none of this name.
    pub fn bytes(&self, name: &str) -> Result<(Vec<usize>, Vec<u8>)> {
        self.tensor(name, Dtype::U8)
    }

    /// 64-bit integers, which must fit `u32`.
    ///
    /// # Errors
    /// If there are none of this name, or one does not fit.
    pub fn ids(&self, name: &str) -> Result<Vec<u32>> {
        let (_, data) = self.tensor(name, Dtype::I64)?;
        let ids = data
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| u32::try_from(i64::from_le_bytes(*b)));
        ids.collect::<Result<_, _>>()
            .with_context(|| format!("{name}: ids"))
    }

    /// 32-bit integers and their shape.
    ///
    /// # Errors
    /// If there are none of this name.
    pub fn integers(&self, name: &str) -> Result<(Vec<usize>, Vec<i32>)> {
        let (shape, data) = self.tensor(name, Dtype::I32)?;
        Ok((
            shape,
            data.as_chunks::<4>()
                .0
                .iter()
                .map(|b| i32::from_le_bytes(*b))
                .collect(),
        ))
    }
}

/// A matrix of 32-bit floats as a weight.
///
/// # Panics
/// If the tensor has other than two dimensions.
#[must_use]
pub fn weight(name: &str, matrix: &HostTensor) -> WeightView {
    let shape = matrix
        .shape()
        .try_into()
        .expect("a matrix has two dimensions");
    let data: Vec<u8> = matrix.data().iter().flat_map(|x| x.to_le_bytes()).collect();
    WeightView {
        name: name.to_owned(),
        format: Format::F32,
        shape,
        data: Bytes::from(data),
        scales: Bytes::from(Vec::new()),
        tile_row: 0,
        stride: None,
    }
}
