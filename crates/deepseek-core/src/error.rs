//! What can go wrong below the model: files that lie, devices that fail.

use std::path::PathBuf;

use crate::numerics::Level;

/// The error of the core and of every layer crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("{path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A checkpoint file contradicts itself or its format.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        why: String,
    },
    /// A tensor's description in a file is not to be believed.
    #[error("tensor {name}: {why}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What does not hold.
        why: String,
    },
    /// A tensor that the model needs is in none of the files.
    #[error("tensor {name}: missing from the checkpoint")]
    Missing {
        /// The tensor's name.
        name: String,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor {name}: shape {file:?} in the file, {config:?} by the config")]
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape in the file.
        file: Vec<usize>,
        /// The shape that follows from the config.
        config: Vec<usize>,
    },
    /// A tensor is stored in a format that its place in the model cannot use.
    #[error("tensor {name}: stored as {file}, want {want}")]
    Format {
        /// The tensor's name.
        name: String,
        /// The stored format.
        file: String,
        /// The formats that would do.
        want: String,
    },
    /// The device cannot do this at all. Known when loading, never within a step.
    #[error("{device} does not support {what}")]
    Unsupported {
        /// The device.
        device: String,
        /// What was asked of it.
        what: String,
    },
    /// The device does not serve this level of numerics. Known when loading.
    #[error("{device} does not serve the level {level}, but {}", list(serves))]
    Level {
        /// The device.
        device: String,
        /// The level that was asked for.
        level: Level,
        /// Those that it serves.
        serves: Vec<Level>,
    },
    /// The device has no room left.
    #[error("out of memory on {device}: {bytes} bytes asked for")]
    OutOfMemory {
        /// The device.
        device: String,
        /// The size of the allocation that failed.
        bytes: usize,
    },
    /// The system gives no more threads.
    #[error("{count} threads for {device}: {why}")]
    NoThreads {
        /// The device.
        device: String,
        /// How many were asked for.
        count: usize,
        /// What the system said.
        why: String,
    },
    /// Packed rows that do not belong where they are put.
    #[error("{bytes} bytes of packed rows in the place of {want}")]
    Rows {
        /// The bytes given.
        bytes: usize,
        /// The bytes of the rows there.
        want: usize,
    },
    /// The device is gone: nothing that is asked of it succeeds until the program is started anew.
    #[error("{device} is lost: {why}")]
    Lost {
        /// The device.
        device: String,
        /// What it said.
        why: String,
    },
    /// One of the ranks that share a model cannot go on, so none of them can.
    #[error("rank {rank} failed: {why}")]
    Rank {
        /// Which.
        rank: usize,
        /// What it said.
        why: String,
    },
    /// The device failed in its own way.
    #[error("{device} failed: {why}")]
    Device {
        /// The device.
        device: String,
        /// What it said.
        why: String,
    },
}

/// A result with the core's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn list(levels: &[Level]) -> String {
    let names: Vec<_> = levels.iter().map(Level::to_string).collect();
    names.join(", ")
}
