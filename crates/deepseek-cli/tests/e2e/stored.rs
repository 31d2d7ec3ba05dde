//! The tensors of a checkpoint, to be written again in another way.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

/// One of them: its type, its shape and its bytes.
pub(crate) type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// All of them by name.
pub(crate) type Stored = BTreeMap<String, Tensor>;

/// Reads the shards of a folder.
pub(crate) fn read(folder: &Path) -> Stored {
    let mut stored = Stored::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        let is_shard =
            name.is_some_and(|name| name.starts_with("model") && name.ends_with(".safetensors"));
        if !is_shard {
            continue;
        }
        let bytes = fs::read(&path).expect("a shard");
        let tensors = SafeTensors::deserialize(&bytes).expect("a shard");
        for (name, view) in tensors.tensors() {
            let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            stored.insert(name, tensor);
        }
    }
    stored
}

/// A copy of the folder with other tensors, all of them in one file.
pub(crate) fn write(folder: &Path, stored: &Stored) -> TempDir {
    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for name in ["config.json", "tokenizer.json"] {
        let from = folder.join(name);
        if from.exists() {
            fs::copy(from, copy.path().join(name)).expect(name);
        }
    }
    let views = stored.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes);
        (name, view.expect("the bytes are those of the shape"))
    });
    let file = copy.path().join("model.safetensors");
    safetensors::serialize_to_file(views, None, &file).expect("the folder takes files");
    copy
}
