//! Files that are what they say: they open, and every byte is where it should be.

mod support;

use std::borrow::Cow;
use std::ops::ControlFlow;

use deepseek_core::format::{Format, ScaleFormat};
use deepseek_core::weights::{Checkpoint, Dtype, Shard, Tensors};
use safetensors::View;
use support::{file, folder, shard};

/// A tensor for the writer of the `safetensors` crate.
struct Written(safetensors::Dtype, Vec<usize>, Vec<u8>);

impl View for &Written {
    fn dtype(&self) -> safetensors::Dtype {
        self.0
    }

    fn shape(&self) -> &[usize] {
        &self.1
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.2)
    }

    fn data_len(&self) -> usize {
        self.2.len()
    }
}

#[test]
fn what_the_format_s_own_library_writes_is_read_back() {
    use safetensors::Dtype as Their;
    let pairs = [
        (Their::F64, Dtype::F64),
        (Their::F32, Dtype::F32),
        (Their::F16, Dtype::F16),
        (Their::BF16, Dtype::Bf16),
        (Their::I64, Dtype::I64),
        (Their::I32, Dtype::I32),
        (Their::I16, Dtype::I16),
        (Their::I8, Dtype::I8),
        (Their::U64, Dtype::U64),
        (Their::U32, Dtype::U32),
        (Their::U16, Dtype::U16),
        (Their::U8, Dtype::U8),
        (Their::BOOL, Dtype::Bool),
        (Their::F8_E4M3, Dtype::F8E4m3),
        (Their::F8_E5M2, Dtype::F8E5m2),
        (Their::F8_E8M0, Dtype::F8E8m0),
    ];
    let tensors: Vec<(String, Written)> = pairs
        .iter()
        .enumerate()
        .flat_map(|(n, (dtype, _))| [[n, 3], [2, 0]].map(|shape| (n, *dtype, shape)))
        .map(|(n, dtype, shape)| {
            let bytes = shape[0] * shape[1] * dtype.bitsize() / 8;
            let name = format!("{dtype:?} \"{}\" é", shape[1]);
            (name, Written(dtype, shape.to_vec(), vec![n as u8; bytes]))
        })
        .collect();
    let notes = [("format".to_owned(), "pt".to_owned())].into();
    let views = tensors.iter().map(|(name, tensor)| (name, tensor));
    let bytes = safetensors::serialize(views, Some(notes)).unwrap();

    let shard = Shard::from_bytes("model.safetensors", bytes).unwrap();
    assert_eq!(shard.tensors().len(), tensors.len());
    for (name, Written(dtype, shape, bytes)) in &tensors {
        let tensor = shard
            .tensor(name)
            .unwrap_or_else(|| panic!("{name} is there"));
        let ours = pairs.iter().find(|(their, _)| their == dtype).unwrap().1;
        assert_eq!((tensor.name(), tensor.dtype()), (name.as_str(), ours));
        assert_eq!(
            (tensor.shape(), &**tensor.bytes()),
            (shape.as_slice(), bytes.as_slice())
        );
        assert_eq!(Dtype::parse(&ours.to_string()), Some(ours));
    }
}

#[test]
fn unusual_files_that_are_right_open() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: &[(&str, usize, usize)] = &[
        ("{}", 0, 0),
        ("{}   \n\t ", 0, 0),
        (r#"{"__metadata__":{"format":"pt"}}"#, 0, 0),
        (&format!(r#"{{"__metadata__":{deep}}}"#), 0, 0),
        (
            r#"{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}"#,
            1,
            1,
        ),
        (
            r#"{"a":{"data_offsets":[0,6],"shape":[1,1,1,1,1,1,1,3],"dtype":"BF16"}}"#,
            6,
            1,
        ),
        (
            // Neither in the order of the names nor aligned to the element.
            r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},
                "a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                "d":{"dtype":"F32","shape":[0],"data_offsets":[5,5]},
                "c":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#,
            5,
            4,
        ),
    ];
    for (header, data, count) in cases {
        let shard = Shard::from_bytes("model.safetensors", file(header, *data)).expect(header);
        assert_eq!(shard.tensors().len(), *count, "{header}");
    }
}

#[test]
fn shards_are_joined_as_the_index_says() {
    let one = shard(&[("b", "U8", &[2], &[1, 2]), ("d", "I64", &[1], &[3; 8])]);
    let two = shard(&[("a", "U8", &[1], &[4]), ("c", "BF16", &[2, 1], &[5; 4])]);
    let index = br#"{
        "metadata": {"total_size": 15, "total_parameters": 6, "more": {"is": ["passed", "over"]}},
        "weight_map": {"d": "z.safetensors", "a": "y.safetensors", "b": "z.safetensors", "c": "y.safetensors"},
        "notes": null
    }"#;
    let dir = folder(&[
        ("model.safetensors.index.json", index),
        ("z.safetensors", &one),
        ("y.safetensors", &two),
        ("unlisted.safetensors", b"never opened"),
    ]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(
        (checkpoint.len(), checkpoint.is_empty(), checkpoint.bytes()),
        (4, false, 15)
    );
    let files: Vec<_> = checkpoint
        .shards()
        .map(|path| path.file_name().unwrap())
        .collect();
    assert_eq!(files, ["z.safetensors", "y.safetensors"]);
    assert_eq!(&**checkpoint.tensor("b").unwrap().bytes(), [1, 2]);
    assert!(checkpoint.tensor("e").is_none());

    // A tensor keeps its file mapped.
    let tensor = checkpoint.tensor("c").unwrap().clone();
    drop((checkpoint, dir));
    assert_eq!(
        (tensor.shape(), &**tensor.bytes()),
        (&[2, 1][..], &[5; 4][..])
    );
}

#[test]
fn a_single_file_needs_no_index() {
    let dir = folder(&[("model.safetensors", &shard(&[("a", "U8", &[1], &[7])]))]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!((checkpoint.len(), checkpoint.bytes()), (1, 1));
}

#[test]
fn as_many_tensors_as_the_largest_release_open() {
    let names: Vec<String> = (0..145_116)
        .map(|n| {
            format!(
                "layers.{}.ffn.experts.{}.w{}.weight",
                n / 2304,
                n / 6 % 384,
                n % 6
            )
        })
        .collect();
    let tensors: Vec<(&str, &str, &[usize], &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), "I8", &[1, 1][..], &[9][..]))
        .collect();
    let dir = folder(&[("model.safetensors", &shard(&tensors))]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!((checkpoint.len(), checkpoint.bytes()), (145_116, 145_116));
    assert!(names.iter().all(|name| checkpoint.tensor(name).is_some()));
}

#[test]
fn warming_reports_every_byte_and_can_be_broken_off() {
    let zeros = vec![0; 40 << 20];
    let dir = folder(&[(
        "model.safetensors",
        &shard(&[("a", "U8", &[zeros.len()], &zeros)]),
    )]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let size = checkpoint.bytes();

    let mut reports = Vec::new();
    let whole = checkpoint.warm(&|_| true, &mut |done, total| {
        reports.push((done, total));
        ControlFlow::Continue(())
    });
    assert!(
        whole.is_continue() && reports.is_sorted() && reports.len() == 3,
        "{reports:?}"
    );
    assert_eq!(reports.last(), Some(&(size, size)));

    let mut count = 0;
    let broken = checkpoint.warm(&|_| true, &mut |_, _| {
        count += 1;
        if count == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert!(broken.is_break() && count == 2);

    let none = checkpoint.warm(&|_| false, &mut |_, _| unreachable!("nothing is wanted"));
    assert!(none.is_continue());
}

#[test]
fn a_matrix_has_the_format_of_its_bytes() {
    let bytes: Vec<u8> = (0..192).collect();
    let shard = shard(&[
        ("f32.weight", "F32", &[2, 3], &bytes[..24]),
        ("bf16.weight", "BF16", &[2, 3], &bytes[..12]),
        ("fp8.weight", "F8_E4M3", &[3, 5], &bytes[..15]),
        ("fp8.scale", "F8_E8M0", &[2, 2], &bytes[..4]),
        ("base.weight", "F8_E4M3", &[3, 5], &bytes[..15]),
        ("base.scale", "F32", &[2, 2], &bytes[..16]),
        ("fp4.weight", "I8", &[2, 24], &bytes[..48]),
        ("fp4.scale", "F8_E8M0", &[2, 2], &bytes[..4]),
        ("fp4u.weight", "U8", &[1, 16], &bytes[..16]),
        ("fp4u.scale", "F8_E8M0", &[1, 1], &bytes[..1]),
        ("f16.weight", "F16", &[2, 3], &bytes[..12]),
        ("fp8u.weight", "F8_E4M3", &[3, 5], &bytes[..15]),
        ("fp8u.scale", "U8", &[2, 2], &bytes[..4]),
        ("fp4f.weight", "U8", &[2, 24], &bytes[..48]),
        ("fp4f.scale", "F32", &[2, 2], &bytes[..16]),
        ("fp4b.weight", "I8", &[2, 24], &bytes[..48]),
        ("fp4b.scale", "U8", &[2, 2], &bytes[..4]),
        ("int8.weight", "I8", &[3, 5], &bytes[..15]),
        ("int8.scale", "F32", &[3, 1], &bytes[..12]),
        ("int4.weight", "I32", &[2, 6], &bytes[..48]),
        ("int4.scale", "F32", &[2, 3], &bytes[..24]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let tensors = Tensors::new(&shard, [2, 4]);
    let fp8 = |scale| Format::Fp8 {
        tile: [2, 4],
        scale,
    };
    let fp4 = |scale| Format::Fp4 { block: 32, scale };
    let cases = [
        ("f32", [2, 3], Format::F32, 24, 0),
        ("bf16", [2, 3], Format::Bf16, 12, 0),
        ("fp8", [3, 5], fp8(ScaleFormat::E8m0), 15, 4),
        ("base", [3, 5], fp8(ScaleFormat::F32), 15, 16),
        ("f16", [2, 3], Format::F16, 12, 0),
        ("fp8u", [3, 5], fp8(ScaleFormat::E8m0), 15, 4),
        ("fp4", [2, 48], fp4(ScaleFormat::E8m0), 48, 4),
        ("fp4u", [1, 32], fp4(ScaleFormat::E8m0), 16, 1),
        ("fp4f", [2, 48], fp4(ScaleFormat::F32), 48, 16),
        ("fp4b", [2, 48], fp4(ScaleFormat::E8m0), 48, 4),
        ("int8", [3, 5], Format::Int8, 15, 12),
        ("int4", [2, 48], Format::Int4 { group: 16 }, 48, 24),
    ];
    for (name, shape, format, data, scales) in cases {
        let view = tensors.matrix(&format!("{name}.weight"), shape).unwrap();
        assert_eq!(
            (view.format, view.shape, view.tile_row),
            (format, shape, 0),
            "{name}"
        );
        assert_eq!(view.name, format!("{name}.weight"));
        assert_eq!(
            (&*view.data, &*view.scales),
            (&bytes[..data], &bytes[..scales]),
            "{name}"
        );
    }
}

#[test]
fn names_are_read_below_a_prefix() {
    let floats = [1.5_f32, -2.0].map(f32::to_le_bytes).concat();
    let brains = [0x80, 0x3f, 0x00, 0xc0];
    let shard = shard(&[
        ("layers.3.attn.sink", "F32", &[2], &floats),
        ("layers.3.norm.weight", "BF16", &[2, 1], &brains),
        ("layers.3.table", "I64", &[1, 1], &[1, 0, 0, 0, 0, 0, 0, 0]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let layer = Tensors::new(&shard, [128, 128]).at("layers.3");
    assert_eq!(layer.name("norm.weight"), "layers.3.norm.weight");
    assert_eq!(layer.at("attn").vector("sink", 2).unwrap(), [1.5, -2.0]);
    assert_eq!(layer.array("norm.weight", &[2, 1]).unwrap(), [1.0, -2.0]);
    assert_eq!(layer.integers("table", [1, 1]).unwrap(), [1]);
    assert!(layer.has("table") && !layer.has("layers.3.table") && !layer.has("tabl"));
}

#[test]
fn halves_and_integers_of_every_width_are_widened() {
    // 1, -2, the smallest half and the largest.
    let halves = [0x3c00_u16, 0xc000, 0x0001, 0x7bff].map(u16::to_le_bytes);
    let shard = shard(&[
        ("halves", "F16", &[4], &halves.concat()),
        (
            "I64",
            "I64",
            &[1, 2],
            &[7_i64, -1].map(i64::to_le_bytes).concat(),
        ),
        (
            "I32",
            "I32",
            &[1, 2],
            &[7_i32, -1].map(i32::to_le_bytes).concat(),
        ),
        (
            "I16",
            "I16",
            &[1, 2],
            &[7_i16, -1].map(i16::to_le_bytes).concat(),
        ),
        ("I8", "I8", &[1, 2], &[7, 0xff]),
        (
            "U64",
            "U64",
            &[1, 2],
            &[7, u64::MAX].map(u64::to_le_bytes).concat(),
        ),
        (
            "U32",
            "U32",
            &[1, 2],
            &[7, u32::MAX].map(u32::to_le_bytes).concat(),
        ),
        (
            "U16",
            "U16",
            &[1, 2],
            &[7, u16::MAX].map(u16::to_le_bytes).concat(),
        ),
        ("U8", "U8", &[1, 2], &[7, u8::MAX]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let tensors = Tensors::new(&shard, [1, 1]);
    let want = [1.0, -2.0, 2.0_f32.powi(-24), 65_504.0];
    assert_eq!(tensors.vector("halves", 4).unwrap(), want);
    let last = [
        ("I64", -1),
        ("I32", -1),
        ("I16", -1),
        ("I8", -1),
        ("U64", i64::MAX),
        ("U32", i64::from(u32::MAX)),
        ("U16", i64::from(u16::MAX)),
        ("U8", i64::from(u8::MAX)),
    ];
    for (name, last) in last {
        assert_eq!(tensors.integers(name, [1, 2]).unwrap(), [7, last], "{name}");
    }
}

#[test]
fn a_stack_is_cut_into_its_rows() {
    let bytes: Vec<u8> = (0..24).collect();
    let shard = shard(&[
        ("stack", "I16", &[2, 3, 2], &bytes),
        ("none", "U8", &[0, 9], &[]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let second = shard.tensor("stack").unwrap().narrow_rows(1..2).unwrap();
    assert_eq!(
        (second.shape(), &**second.bytes()),
        (&[1, 3, 2][..], &bytes[12..])
    );
    let tail = second.reshape(&[3, 2]).unwrap().narrow_rows(2..3).unwrap();
    assert_eq!(
        (tail.name(), tail.shape(), &**tail.bytes()),
        ("stack", &[1, 2][..], &bytes[20..])
    );
    assert_eq!(second.narrow_rows(1..1).unwrap().shape(), [0, 3, 2]);
    assert_eq!(
        shard
            .tensor("none")
            .unwrap()
            .narrow_rows(0..0)
            .unwrap()
            .shape(),
        [0, 9]
    );
}

#[test]
fn a_file_within_the_program_is_borrowed_and_proven_like_any_other() {
    let bytes: &'static [u8] =
        shard(&[("a", "U8", &[3], &[1, 2, 3]), ("b", "BF16", &[1], &[4; 2])]).leak();
    let checkpoint = Checkpoint::from_static("inside.safetensors", bytes).expect("a checkpoint");
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
    let within = bytes.as_ptr_range();
    for tensor in checkpoint.tensors() {
        assert!(
            within.contains(&tensor.bytes().as_ptr()),
            "{tensor:?} is a copy"
        );
    }
    let mut read = 0;
    let flow = checkpoint.warm(&|_| true, &mut |done, total| {
        read = done;
        assert!(done <= total);
        ControlFlow::Continue(())
    });
    assert_eq!(
        (flow, read),
        (ControlFlow::Continue(()), checkpoint.bytes())
    );

    let cut = bytes.split_at(bytes.len() - 1).0;
    let error = Checkpoint::from_static("inside.safetensors", cut).expect_err("a byte is missing");
    assert!(error.to_string().contains("tensor b"), "{error}");
    let error = Checkpoint::from_static("inside.safetensors", &[1, 2]).expect_err("no header");
    assert!(
        error.to_string().starts_with("inside.safetensors: 2 bytes"),
        "{error}"
    );
}
