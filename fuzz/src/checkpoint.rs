//! Reads bytes as a file of tensors, or as an index, and uses all that it finds there.

use deepseek_core::quant::decode_row;
use deepseek_core::weights::{Checkpoint, Dtype, RawTensor, Shard, Tensors};

/// Whether the bytes were a good file. They are an index too if they begin like one.
pub(crate) fn read(bytes: &[u8]) -> bool {
    match Shard::from_bytes("fuzz.safetensors", bytes.to_vec()) {
        Ok(shard) => {
            use_up(&shard, bytes.len());
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            bytes.first() == Some(&b'{') && index(bytes)
        }
    }
}

/// Whether the bytes are the index of two small files.
fn index(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().expect("a folder");
    let header = br#"{"NAME":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    for name in ["a", "b"] {
        let header = String::from_utf8_lossy(header).replace("NAME", name);
        let length = (header.len() as u64).to_le_bytes();
        let file = [&length, header.as_bytes(), &[7]].concat();
        std::fs::write(dir.path().join(format!("{name}.safetensors")), file).expect("a file");
    }
    let path = dir.path().join("model.safetensors.index.json");
    std::fs::write(path, bytes).expect("an index");
    Checkpoint::open(dir.path()).is_ok_and(|checkpoint| {
        assert_eq!(checkpoint.bytes(), checkpoint.len() as u64);
        assert!(checkpoint.names().is_sorted());
        true
    })
}

/// Checks what a shard promises, and asks for every tensor in every way.
fn use_up(shard: &Shard, file_bytes: usize) {
    let bytes: usize = shard
        .tensors()
        .iter()
        .map(|tensor| tensor.bytes().len())
        .sum();
    assert!(bytes + 8 < file_bytes);
    assert!(shard.tensors().is_sorted_by(|a, b| a.name() < b.name()));
    let tensors = Tensors::new(shard, [2, 3]);
    for tensor in shard.tensors() {
        let elements = if tensor.shape().contains(&0) {
            0
        } else {
            tensor.shape().iter().product()
        };
        assert_eq!(tensor.bytes().len(), elements * tensor.dtype().bytes());
        if let Ok(floats) = tensors.array(tensor.name(), tensor.shape()) {
            assert_eq!(floats.len(), elements);
        }
        cut(tensor);
        if let [rows, columns] = *tensor.shape() {
            let packed = matches!(tensor.dtype(), Dtype::I8 | Dtype::U8);
            let columns = if packed {
                columns.saturating_mul(2)
            } else {
                columns
            };
            tensors.integers(tensor.name(), [rows, columns]).ok();
            matrix(&tensors, tensor.name(), [rows, columns]);
        }
    }
}

fn cut(tensor: &RawTensor) {
    let rows = tensor.shape().first().copied().unwrap_or(0);
    for (start, end) in [(0, rows), (rows / 2, rows), (rows, rows.saturating_add(1))] {
        if let Ok(part) = tensor.narrow_rows(start..end) {
            assert_eq!(part.shape()[0], end - start);
            part.reshape(part.shape()).expect("its own shape");
        }
    }
}

fn matrix(tensors: &Tensors<'_>, name: &str, [rows, columns]: [usize; 2]) {
    let Ok(view) = tensors.matrix(name, [rows, columns]) else {
        return;
    };
    // An empty matrix may have any number of rows.
    if view.data.is_empty() {
        return;
    }
    let mut row = vec![0.0; columns];
    for index in 0..rows {
        decode_row(&view, index, &mut row);
    }
    decode_row(&view.narrow(rows - 1..rows), 0, &mut row);
}
