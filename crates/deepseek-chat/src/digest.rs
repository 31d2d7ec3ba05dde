//! What tells a model from others that look like it, without reading all of it.

use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::limits::{DIGEST_BYTES_MAX, DIGEST_TENSOR_BYTES, DIGEST_TENSORS};
use crate::model_source::{ModelSource, SourceError};

/// How much of the weights is hashed.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// All of them where they are no more bytes.
    bytes_max: u64,
    /// Of how many tensors else.
    tensors: usize,
}

const EFFORT: Effort = Effort {
    bytes_max: DIGEST_BYTES_MAX,
    tensors: DIGEST_TENSORS,
};

impl ModelSource {
    /// A hash that other models do not have, as hexadecimal digits: of the config, the tokenizer, the names
    /// and shapes of all tensors, and of weights up to [`DIGEST_BYTES_MAX`] all bytes.
    ///
    /// Of larger ones it has the beginnings of some tensors, and the sizes of the files and when they were
    /// changed: looking at more would take as long as reading a model takes. So a large model whose files
    /// are copied may be told to be another one; that another one is told to be the same would take a
    /// file that was changed without a trace.
    ///
    /// # Errors
    /// Files that cannot be read or do not hold.
    pub fn digest(&self) -> Result<String, SourceError> {
        self.digest_by(EFFORT)
    }

    fn digest_by(&self, effort: Effort) -> Result<String, SourceError> {
        let mut hash = Sha256::new();
        for file in [self.config_bytes()?, self.tokenizer_bytes()?] {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(&file);
        }
        let checkpoint = self.checkpoint()?;
        for tensor in checkpoint.tensors() {
            let (name, shape) = (tensor.name(), tensor.shape());
            hash.update(format!("{name} {} {shape:?}\n", tensor.dtype().name()));
        }
        if checkpoint.bytes() <= effort.bytes_max {
            for tensor in checkpoint.tensors() {
                let bytes: &[u8] = tensor.bytes();
                hash.update(bytes);
            }
        } else {
            let apart = checkpoint.len().div_ceil(effort.tensors);
            for tensor in checkpoint.tensors().step_by(apart) {
                let bytes: &[u8] = tensor.bytes();
                hash.update(&bytes[..bytes.len().min(DIGEST_TENSOR_BYTES)]);
            }
            for path in checkpoint.shards() {
                let refused = |source| SourceError::File {
                    path: path.display().to_string(),
                    source,
                };
                let file = path.metadata().map_err(refused)?;
                let changed = file.modified().map_err(refused)?;
                let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
                hash.update(file.len().to_le_bytes());
                hash.update(changed.as_nanos().to_le_bytes());
            }
        }
        let digits = hash.finalize().into_iter();
        Ok(digits.map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/model");
    const FILES: [&str; 3] = ["config.json", "tokenizer.json", "model.safetensors"];

    /// A copy of the embedded model.
    fn copy() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in FILES {
            fs::copy(Path::new(MODEL).join(name), folder.path().join(name)).unwrap();
        }
        folder
    }

    fn digest(folder: &Path, effort: Effort) -> String {
        let source = ModelSource::open(folder).unwrap();
        source.digest_by(effort).unwrap()
    }

    /// As of a model that is too large to be read.
    const SOME: Effort = Effort {
        bytes_max: 1 << 10,
        tensors: 16,
    };

    /// Changes the last byte of a file, and leaves its time as it was.
    fn change(path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let time = path.metadata().unwrap().modified().unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
        touch(path, time);
    }

    fn touch(path: &Path, time: SystemTime) {
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(time).unwrap();
    }

    #[test]
    fn a_copy_is_the_same_and_one_bit_of_a_weight_makes_another() {
        let (one, other) = (copy(), copy());
        let own = digest(one.path(), EFFORT);
        assert_eq!(own.len(), 64);
        touch(&other.path().join(FILES[2]), UNIX_EPOCH);
        assert_eq!(digest(other.path(), EFFORT), own);
        change(&other.path().join(FILES[2]));
        assert_ne!(digest(other.path(), EFFORT), own);
    }

    #[test]
    fn a_large_model_whose_files_were_touched_is_another() {
        let folder = copy();
        let own = digest(folder.path(), SOME);
        assert_eq!(digest(folder.path(), SOME), own);
        let weights = folder.path().join(FILES[2]);
        let time = weights.metadata().unwrap().modified().unwrap();
        touch(&weights, time + Duration::from_nanos(1000));
        assert_ne!(digest(folder.path(), SOME), own);
        touch(&weights, time);
        assert_eq!(digest(folder.path(), SOME), own);
    }

    #[test]
    fn each_of_its_files_counts() {
        let own = digest(Path::new(MODEL), SOME);
        for name in &FILES[..2] {
            let folder = copy();
            let time = Path::new(MODEL).join(FILES[2]);
            let time = time.metadata().unwrap().modified().unwrap();
            touch(&folder.path().join(FILES[2]), time);
            assert_eq!(digest(folder.path(), SOME), own);
            let path = folder.path().join(name);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, format!("{text} ")).unwrap();
            assert_ne!(digest(folder.path(), SOME), own, "{name}");
        }
    }
}
