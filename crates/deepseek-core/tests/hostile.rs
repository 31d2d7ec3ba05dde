//! Files that lie: each is refused with an error that names what is wrong, without a panic and
//! without memory beyond the bytes that exist.

mod support;

#[path = "support/counting.rs"]
mod counting;

use std::fs;
use std::path::Path;

use deepseek_core::Error;
use deepseek_core::weights::{Checkpoint, Shard, Tensors};
use support::{file, folder, shard, text};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Held at most while a file of so many bytes is read: a few times the file, and a little for paths
/// and messages.
fn held_max(file_bytes: usize) -> usize {
    16 * 1024 + 12 * file_bytes
}

/// Opens `bytes` from memory and from disk, and wants an error with all of `parts` in its text.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let owned = bytes.to_vec();
    let (opened, held) = counting::most_held(|| Shard::from_bytes("model.safetensors", owned));
    wants(opened.map(drop), parts);
    assert!(
        held <= held_max(bytes.len()),
        "{parts:?}: {held} bytes held for {}",
        bytes.len()
    );
    refused_folder(&[("model.safetensors", bytes)], parts);
}

/// Opens a folder of `files` and wants an error with all of `parts` in its text.
#[track_caller]
fn refused_folder(files: &[(&str, &[u8])], parts: &[&str]) {
    let dir = folder(files);
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    let (opened, held) = counting::most_held(|| Checkpoint::open(dir.path()).map(drop));
    wants(opened, parts);
    assert!(
        held <= held_max(bytes),
        "{parts:?}: {held} bytes held for {bytes}"
    );
}

#[track_caller]
fn wants(result: Result<(), Error>, parts: &[&str]) {
    let error = text(&result.expect_err(&format!("{parts:?} should be refused")));
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn a_file_whose_frame_lies_is_refused() {
    let path = "model.safetensors";
    let mut long = file("{}", 0);
    long[0] += 1;
    let mut short = file("{} ", 0);
    short[0] -= 1;
    let cases: &[(&[u8], &str)] = &[
        (b"", "0 bytes, too short for a header"),
        (b"\x02\0\0\0\0\0\0", "7 bytes, too short for a header"),
        (b"\0\0\0\0\0\0\0\0", "header does not begin with a brace"),
        (b"\0\0\0\0\0\0\0\0{}", "header does not begin with a brace"),
        (&long, "header of 3 bytes, 2 are there"),
        (&short, "1 bytes of data, tensors for 0"),
        (
            &[0xff; 16],
            "header of 18446744073709551615 bytes, at most 100000000",
        ),
        (
            b"\0\0\0\0\0\0\0\x02{}",
            "header of 144115188075855872 bytes, at most",
        ),
        (
            b"\x01\xe1\xf5\x05\0\0\0\0{}",
            "header of 100000001 bytes, at most 100000000",
        ),
        (
            b"\x00\xe1\xf5\x05\0\0\0\0{}",
            "header of 100000000 bytes, 2 are there",
        ),
        (
            b"version https://git-lfs.example/spec/v1\n",
            "at most 100000000 are read",
        ),
        (
            b"PK\x03\x04\0\0\0\0\0\0\0\0",
            "header of 67324752 bytes, 4 are there",
        ),
        (b"GGUF\x03\0\0\0\0\0\0\0", "at most 100000000 are read"),
    ];
    for (bytes, why) in cases {
        refused(bytes, &[path, why]);
    }
}

#[test]
fn a_header_that_is_not_json_is_refused() {
    let path = "model.safetensors";
    let cases: &[(&[u8], &str)] = &[
        (b" {}", "header does not begin with a brace"),
        (b"[]", "header does not begin with a brace"),
        (b"\xef\xbb\xbf{}", "header does not begin with a brace"),
        (b"{", "header: EOF while parsing an object"),
        (b"{\"a\":", "header: tensor a: EOF while parsing"),
        (b"{} x", "header: trailing characters"),
        (b"{}{}", "header: trailing characters"),
        (b"{}\0\0", "header: trailing characters"),
        (b"{\"\xff\":{}}", "header is no UTF-8 at byte 2"),
        (b"{}\xc3", "header is no UTF-8 at byte 2"),
        (b"{'a':{}}", "header: key must be a string"),
        (b"{a:{}}", "header: key must be a string"),
        (b"{/* none */}", "header: key must be a string"),
        (b"{\"\\ud800\":{}}", "header: unexpected end of hex escape"),
        (b"{\"\\u00\":{}}", "header: invalid escape"),
        (b"{\"a\x01\":{}}", "header: control character"),
        (
            b"{\"__metadata__\":{},\"__metadata__\":{}}",
            "duplicate field `__metadata__`",
        ),
    ];
    for (header, why) in cases {
        refused(&file(header, 0), &[path, why]);
    }
}

#[test]
fn a_name_that_cannot_be_one_is_refused() {
    let entry = r#"{"dtype":"U8","shape":[0],"data_offsets":[0,0]}"#;
    let long = "x".repeat(513);
    let cases: &[(&str, &str)] = &[
        ("", "\"\" cannot name a tensor"),
        ("\\u0000", "\"\\0\" cannot name a tensor"),
        ("a\\u001b[2J", "\"a\\u{1b}[2J\" cannot name a tensor"),
        ("a\\nb", "\"a\\nb\" cannot name a tensor"),
        (&long, "a name of 513 bytes, at most 512"),
    ];
    for (name, why) in cases {
        refused(
            &file(format!(r#"{{"{name}":{entry}}}"#), 0),
            &["model.safetensors", why],
        );
    }
    for second in ["a", "\\u0061"] {
        let header = format!(r#"{{"a":{entry},"b":{entry},"{second}":{entry}}}"#);
        refused(
            &file(header, 0),
            &["model.safetensors", "tensor a: named twice"],
        );
    }
}

#[test]
fn an_entry_that_is_none_is_refused() {
    let cases: &[(&str, &str)] = &[
        ("null", "invalid type: null"),
        ("3", "invalid type: integer `3`"),
        ("\"F32\"", "invalid type: string"),
        ("[]", "invalid length 0"),
        ("{}", "missing field `dtype`"),
        (
            r#"{"shape":[1],"data_offsets":[0,4]}"#,
            "missing field `dtype`",
        ),
        (
            r#"{"dtype":"F32","data_offsets":[0,4]}"#,
            "missing field `shape`",
        ),
        (
            r#"{"dtype":"F32","shape":[1]}"#,
            "missing field `data_offsets`",
        ),
        (
            r#"{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}"#,
            "duplicate field",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}"#,
            "duplicate field",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}"#,
            "unknown field `more`",
        ),
        (
            r#"{"dtype":7,"shape":[1],"data_offsets":[0,4]}"#,
            "invalid type: integer `7`",
        ),
        (
            r#"{"dtype":"F32","shape":null,"data_offsets":[0,4]}"#,
            "at most 8 dimensions",
        ),
        (
            r#"{"dtype":"F32","shape":1,"data_offsets":[0,4]}"#,
            "at most 8 dimensions",
        ),
        (
            r#"{"dtype":"F32","shape":{"0":1},"data_offsets":[0,4]}"#,
            "at most 8 dimensions",
        ),
        (
            r#"{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}"#,
            "expected usize",
        ),
        (
            r#"{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}"#,
            "expected usize",
        ),
        (
            r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#,
            "integer `-1`",
        ),
        (
            r#"{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}"#,
            "floating point `1.0`",
        ),
        (
            r#"{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}"#,
            "number out of range",
        ),
        (
            r#"{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}"#,
            "expected value",
        ),
        (
            r#"{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}"#,
            "expected usize",
        ),
        (
            r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}"#,
            "more than 8 dim",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[]}"#,
            "invalid length 0",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[4]}"#,
            "invalid length 1",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}"#,
            "trailing characters",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}"#,
            "integer `-4`",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4.5]}"#,
            "floating point `4.5`",
        ),
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":{"0":0}}"#,
            "invalid type: map",
        ),
    ];
    for (entry, why) in cases {
        let parts = &["model.safetensors", "tensor layers.0.x", why];
        refused(&file(format!(r#"{{"layers.0.x":{entry}}}"#), 4), parts);
    }
}

#[test]
fn an_entry_that_contradicts_its_bytes_is_refused() {
    let cases: &[(&str, usize, &str)] = &[
        (
            r#""F8_E3M4","shape":[4],"data_offsets":[0,4]"#,
            4,
            "unknown dtype \"F8_E3M4\"",
        ),
        (
            r#""bf16","shape":[2],"data_offsets":[0,4]"#,
            4,
            "unknown dtype \"bf16\"",
        ),
        (
            r#""F4","shape":[8],"data_offsets":[0,4]"#,
            4,
            "unknown dtype \"F4\"",
        ),
        (
            r#""C64","shape":[1],"data_offsets":[0,8]"#,
            8,
            "unknown dtype \"C64\"",
        ),
        (
            r#""","shape":[4],"data_offsets":[0,4]"#,
            4,
            "unknown dtype \"\"",
        ),
        (
            r#""F32\u001b","shape":[1],"data_offsets":[0,4]"#,
            4,
            "unknown dtype \"F32\\u{1b}\"",
        ),
        (
            r#""F32","shape":[2],"data_offsets":[0,4]"#,
            4,
            "F32 [2] is 8 bytes, 4 are stored",
        ),
        (
            r#""F32","shape":[1],"data_offsets":[0,8]"#,
            8,
            "F32 [1] is 4 bytes, 8 are stored",
        ),
        (
            r#""BF16","shape":[],"data_offsets":[0,0]"#,
            0,
            "BF16 [] is 2 bytes, 0 are stored",
        ),
        (
            r#""I8","shape":[3,0],"data_offsets":[0,3]"#,
            3,
            "I8 [3, 0] is 0 bytes, 3 are stored",
        ),
        (
            r#""I64","shape":[1],"data_offsets":[0,7]"#,
            7,
            "I64 [1] is 8 bytes, 7 are stored",
        ),
        (
            r#""F32","shape":[1],"data_offsets":[4,0]"#,
            4,
            "begins at byte 4, the tensor before",
        ),
        (
            r#""F32","shape":[1],"data_offsets":[0,4]"#,
            3,
            "ends at byte 4 of 3",
        ),
        (
            r#""F32","shape":[1],"data_offsets":[0,4]"#,
            0,
            "ends at byte 4 of 0",
        ),
        (
            r#""F32","shape":[1],"data_offsets":[4,8]"#,
            8,
            "begins at byte 4, the tensor before",
        ),
        (
            r#""U8","shape":[9],"data_offsets":[0,18446744073709551615]"#,
            9,
            "ends at byte 18446744073709551615 of 9",
        ),
        (
            r#""U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]"#,
            0,
            "begins at byte 18446744073709551615, the tensor before it ends at 0",
        ),
        (
            r#""U8","shape":[4294967296,4294967296],"data_offsets":[0,0]"#,
            0,
            "U8 [4294967296, 4294967296] is more than can be addressed",
        ),
        (
            r#""F64","shape":[4611686018427387904],"data_offsets":[0,0]"#,
            0,
            "F64 [4611686018427387904] is more than can be addressed",
        ),
        (
            r#""U8","shape":[0,18446744073709551615,2],"data_offsets":[0,0]"#,
            0,
            "is more than can be addressed",
        ),
        (
            r#""U8","shape":[18446744073709551615],"data_offsets":[0,4]"#,
            4,
            "U8 [18446744073709551615] is 18446744073709551615 bytes, 4 are stored",
        ),
    ];
    for (entry, data, why) in cases {
        let header = format!(r#"{{"layers.0.x":{{"dtype":{entry}}}}}"#);
        let parts = &["tensor layers.0.x: ", why, "model.safetensors"];
        refused(&file(header, *data), parts);
    }
}

#[test]
fn tensors_that_share_or_leave_bytes_are_refused() {
    let two = |first: [usize; 2], second: [usize; 2], data: usize| {
        let entry = |[start, end]: [usize; 2]| {
            let length = end.saturating_sub(start);
            format!(r#"{{"dtype":"U8","shape":[{length}],"data_offsets":[{start},{end}]}}"#)
        };
        file(
            format!(r#"{{"a":{},"b":{}}}"#, entry(first), entry(second)),
            data,
        )
    };
    let path = "model.safetensors";
    let tensor_b = "tensor b: begins at byte";
    refused(
        &two([0, 4], [5, 8], 8),
        &[path, tensor_b, "5, the tensor before it ends at 4"],
    );
    refused(
        &two([0, 4], [3, 8], 8),
        &[path, tensor_b, "3, the tensor before it ends at 4"],
    );
    refused(
        &two([0, 4], [0, 4], 4),
        &[path, "begins at byte 0, the tensor before it ends at 4"],
    );
    refused(
        &two([0, 8], [2, 4], 8),
        &[path, tensor_b, "2, the tensor before it ends at 8"],
    );
    refused(
        &two([0, 4], [4, 3], 4),
        &[path, tensor_b, "4 and ends at 3"],
    );
    refused(
        &two([0, 4], [4, 8], 7),
        &["tensor b: ends at byte 8 of 7", path],
    );
    refused(
        &two([0, 4], [4, 8], 9),
        &[path, "9 bytes of data, tensors for 8"],
    );
    refused(&file("{}", 1), &[path, "1 bytes of data, tensors for 0"]);
}

#[test]
fn a_header_made_to_cost_memory_or_depth_is_refused() {
    let path = "model.safetensors";
    let deep = "[".repeat(100_000);
    refused(&file(format!(r#"{{"a":{deep}"#), 0), &[path, "tensor a"]);
    refused(
        &file(format!(r#"{{"a":{{"shape":{deep}"#), 0),
        &[path, "tensor a", "expected usize"],
    );
    refused(
        &file(format!(r#"{{"a":{{"more":{deep}"#), 0),
        &[path, "unknown field `more`"],
    );
    refused(
        &file(format!(r#"{{"__metadata__":{deep}"#), 0),
        &[path, "header: EOF"],
    );

    let ones = vec!["1"; 100_000].join(",");
    let long = format!(r#"{{"a":{{"dtype":"U8","shape":[{ones}],"data_offsets":[0,1]}}}}"#);
    refused(
        &file(long, 1),
        &[path, "tensor a", "more than 8 dimensions"],
    );

    // As many of the smallest entries as a header can hold, and one byte too many behind them.
    let entries: Vec<String> = (0..20_000)
        .map(|n| format!(r#""{n:x}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    let many = file(format!("{{{}}}", entries.join(",")), 1);
    refused(&many, &[path, "1 bytes of data, tensors for 0"]);
}

#[test]
fn a_header_beyond_the_bound_is_not_read() {
    let dir = folder(&[("model.safetensors", &200_000_000_u64.to_le_bytes())]);
    let path = dir.path().join("model.safetensors");
    // A hole: it takes no room on disk, and none in memory as long as nobody reads it.
    fs::File::options()
        .append(true)
        .open(path)
        .unwrap()
        .set_len(200_000_008)
        .unwrap();
    let (opened, held) = counting::most_held(|| Checkpoint::open(dir.path()).map(drop));
    wants(
        opened,
        &[
            "model.safetensors",
            "header of 200000000 bytes, at most 100000000",
        ],
    );
    assert!(held <= held_max(0), "{held} bytes held");
}

#[test]
fn a_truncated_file_is_refused_wherever_it_ends() {
    let whole = shard(&[("a", "F32", &[2], &[0; 8]), ("b", "BF16", &[1, 3], &[0; 6])]);
    Shard::from_bytes("whole", whole.clone()).expect("the whole file is good");
    for end in 0..whole.len() {
        refused(&whole[..end], &["model.safetensors"]);
    }
}

#[test]
fn a_folder_without_a_checkpoint_is_refused() {
    refused_folder(
        &[],
        &["holds neither model.safetensors.index.json nor model.safetensors"],
    );
    refused_folder(
        &[("model-00001-of-00001.safetensors", &file("{}", 0))],
        &["holds neither"],
    );
    let missing = Checkpoint::open(Path::new("no such folder"));
    wants(missing.map(drop), &["no such folder", "holds neither"]);
    for name in ["model.safetensors", "model.safetensors.index.json"] {
        let dir = folder(&[]);
        fs::create_dir(dir.path().join(name)).unwrap();
        wants(
            Checkpoint::open(dir.path()).map(drop),
            &[name, "a folder, not a regular file"],
        );
    }
    let dir = folder(&[("model.safetensors", b"")]);
    let file = dir.path().join("model.safetensors");
    wants(
        Checkpoint::open(&file).map(drop),
        &["model.safetensors", "directory"],
    );
}

#[test]
fn an_index_that_is_none_is_refused() {
    let deep = "[".repeat(100_000);
    let cases: &[(&str, &str)] = &[
        ("", "EOF while parsing"),
        ("{}", "missing field `weight_map`"),
        ("null", "invalid type: null"),
        (&deep, "invalid type"),
        (r#"{"weight_map":[]}"#, "an object of file names"),
        (r#"{"weight_map":{"a":1}}"#, "invalid type: integer `1`"),
        (r#"{"weight_map":{"a":null}}"#, "invalid type: null"),
        (
            r#"{"weight_map":{"a":"a.safetensors"}"#,
            "EOF while parsing",
        ),
        (r#"{"weight_map":{}} {}"#, "trailing characters"),
        (
            r#"{"weight_map":{},"weight_map":{}}"#,
            "duplicate field `weight_map`",
        ),
        (
            r#"{"weight_map":{"a":"s.safetensors","a":"s.safetensors"}}"#,
            "tensor a: named twice",
        ),
        (
            r#"{"weight_map":{"":"s.safetensors"}}"#,
            "\"\" cannot name a tensor",
        ),
        (
            r#"{"weight_map":{"a":"../s.safetensors"}}"#,
            "\"../s.safetensors\" is no file",
        ),
        (
            r#"{"weight_map":{"a":"/s.safetensors"}}"#,
            "\"/s.safetensors\" is no file",
        ),
        (
            r#"{"weight_map":{"a":"b/s.safetensors"}}"#,
            "\"b/s.safetensors\" is no file",
        ),
        (
            r#"{"weight_map":{"a":"b\\s.safetensors"}}"#,
            "is no file of this folder",
        ),
        (
            r#"{"weight_map":{"a":"c:s.safetensors"}}"#,
            "\"c:s.safetensors\" is no file",
        ),
        (
            r#"{"weight_map":{"a":"s\u0000.safetensors"}}"#,
            "is no file of this folder",
        ),
        (
            r#"{"weight_map":{"a":".safetensors"}}"#,
            "\".safetensors\" is no file",
        ),
        (r#"{"weight_map":{"a":".."}}"#, "\"..\" is no file"),
        (r#"{"weight_map":{"a":""}}"#, "\"\" is no file"),
        (
            r#"{"weight_map":{"a":"pytorch_model.bin"}}"#,
            "\"pytorch_model.bin\" is no file",
        ),
        (
            r#"{"metadata":{"total_size":-1},"weight_map":{}}"#,
            "integer `-1`",
        ),
        (
            r#"{"metadata":{"total_size":1.5},"weight_map":{}}"#,
            "floating point `1.5`",
        ),
        (
            r#"{"metadata":{"total_size":"1"},"weight_map":{}}"#,
            "invalid type: string",
        ),
        (
            r#"{"metadata":{"total_size":1},"weight_map":{}}"#,
            "total_size 1, the tensors have 0",
        ),
        (r#"{"metadata":[[[1]]],"weight_map":{}}"#, "invalid type"),
    ];
    for (index, why) in cases {
        let files: &[(&str, &[u8])] = &[
            ("model.safetensors.index.json", index.as_bytes()),
            ("s.safetensors", &file("{}", 0)),
        ];
        refused_folder(files, &["model.safetensors.index.json", why]);
    }
    let index = b"{\"weight_map\":{\"\xff\":\"s.safetensors\"}}";
    refused_folder(
        &[("model.safetensors.index.json", index)],
        &["index.json", "unicode"],
    );
}

#[test]
fn an_index_that_disagrees_with_its_files_is_refused() {
    let a = shard(&[("a", "U8", &[2], &[0; 2])]);
    let b = shard(&[("b", "U8", &[3], &[0; 3])]);
    let both = shard(&[("a", "U8", &[2], &[0; 2]), ("b", "U8", &[3], &[0; 3])]);
    let cut = &b[..b.len() - 1];
    let good = r#"{"a":"1.safetensors","b":"2.safetensors"}"#;
    type Case<'a> = (
        &'a str,
        Option<u64>,
        &'a [u8],
        Option<&'a [u8]>,
        &'a [&'a str],
    );
    let cases: &[Case<'_>] = &[
        (good, None, &a, None, &["2.safetensors"]),
        (
            good,
            None,
            &a,
            Some(b""),
            &["2.safetensors", "0 bytes, too short"],
        ),
        (
            good,
            None,
            &a,
            Some(cut),
            &["tensor b: ends at byte 3 of 2", "2.safetensors"],
        ),
        (
            good,
            None,
            &a,
            Some(&a),
            &["tensor a: in ", "1.safetensors and in ", "2.safetensors"],
        ),
        (
            good,
            None,
            &a,
            Some(&both),
            &["tensor a: in ", "1.safetensors and in "],
        ),
        (
            good,
            None,
            &b,
            Some(&a),
            &["tensor a: not in ", "1.safetensors, where the index"],
        ),
        (
            good,
            None,
            &both,
            Some(&file("{}", 0)),
            &["tensor b: not in ", "2.safetensors, where"],
        ),
        (
            good,
            Some(6),
            &a,
            Some(&b),
            &["total_size 6, the tensors have 5 bytes"],
        ),
        (
            r#"{"a":"1.safetensors"}"#,
            None,
            &both,
            None,
            &["tensor b: in ", "but not in the index"],
        ),
        (
            r#"{"a":"1.safetensors","c":"1.safetensors"}"#,
            None,
            &a,
            None,
            &[
                "tensor c: not in ",
                "1.safetensors, where the index places it",
            ],
        ),
    ];
    for (map, total, first, second, parts) in cases {
        let total = total.map(|n| format!(r#""metadata":{{"total_size":{n}}},"#));
        let index = format!(r#"{{{}"weight_map":{map}}}"#, total.unwrap_or_default());
        let mut files = vec![
            ("model.safetensors.index.json", index.as_bytes()),
            ("1.safetensors", *first),
        ];
        files.extend(second.map(|bytes| ("2.safetensors", bytes)));
        refused_folder(&files, parts);
    }
}

#[test]
fn a_tensor_that_does_not_fit_the_config_is_refused_with_both_shapes() {
    let shard = shard(&[
        ("x.f32.weight", "F32", &[2, 4], &[0; 32]),
        ("x.f64.weight", "F64", &[2, 4], &[0; 64]),
        ("x.flat.weight", "BF16", &[8], &[0; 16]),
        ("x.scaled.weight", "BF16", &[2, 4], &[0; 16]),
        ("x.scaled.scale", "F8_E8M0", &[1, 1], &[0; 1]),
        ("x.fp8.weight", "F8_E4M3", &[2, 4], &[0; 8]),
        ("x.fp8.scale", "F8_E8M0", &[1, 2], &[0; 2]),
        ("x.bare.weight", "F8_E4M3", &[2, 4], &[0; 8]),
        ("x.odd.weight", "F8_E4M3", &[2, 4], &[0; 8]),
        ("x.odd.scale", "BF16", &[2, 2], &[0; 8]),
        ("x.fp4.weight", "I8", &[2, 32], &[0; 64]),
        ("x.fp4.scale", "F8_E8M0", &[2, 1], &[0; 2]),
        ("x.fp4f.weight", "I8", &[2, 32], &[0; 64]),
        ("x.fp4f.scale", "BF16", &[2, 2], &[0; 8]),
        ("x.half.weight", "I8", &[2, 32], &[0; 64]),
        ("x.ids", "I32", &[2, 3], &[0; 24]),
        ("x.int8.weight", "I8", &[2, 4], &[0; 8]),
        ("x.int8.scale", "F32", &[2, 2], &[0; 16]),
        ("x.wide.weight", "U8", &[2, 4], &[0; 8]),
        ("x.wide.scale", "F32", &[2, 1], &[0; 8]),
        ("x.int4.weight", "I32", &[2, 6], &[0; 48]),
        ("x.int4.scale", "F32", &[2, 4], &[0; 32]),
        ("x.lines.weight", "I32", &[2, 6], &[0; 48]),
        ("x.lines.scale", "F32", &[1, 3], &[0; 12]),
        ("x.none4.weight", "I32", &[2, 6], &[0; 48]),
        ("x.none4.scale", "F32", &[2, 0], &[]),
        ("x.byte4.weight", "I32", &[2, 6], &[0; 48]),
        ("x.byte4.scale", "U8", &[2, 3], &[0; 6]),
        ("x.bare4.weight", "I32", &[2, 6], &[0; 48]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let x = Tensors::new(&shard, [1, 2]).at("x");

    let matrix = |name: &str, shape, parts: &[&str]| wants(x.matrix(name, shape).map(drop), parts);
    matrix(
        "none.weight",
        [2, 4],
        &["tensor x.none.weight: missing from the checkpoint"],
    );
    let both = "x.f32.weight: shape [2, 4] in the file, [4, 2] by the config";
    matrix("f32.weight", [4, 2], &[both]);
    matrix(
        "flat.weight",
        [2, 4],
        &["x.flat.weight: shape [8] in the file, [2, 4] by the config"],
    );
    matrix(
        "f64.weight",
        [2, 4],
        &["x.f64.weight: stored as F64, want F32, BF16"],
    );
    matrix(
        "ids",
        [2, 3],
        &["x.ids: stored as I32, want a type for columns that are no multiple of 8"],
    );
    matrix(
        "scaled.weight",
        [2, 4],
        &["x.scaled.scale: scales for x.scaled.weight", "BF16"],
    );
    matrix(
        "fp8.weight",
        [2, 8],
        &["x.fp8.weight: shape [2, 4] in the file, [2, 8] by"],
    );
    matrix(
        "fp8.weight",
        [2, 4],
        &["x.fp8.scale: shape [1, 2] in the file, [2, 2] by the config"],
    );
    matrix(
        "bare.weight",
        [2, 4],
        &["x.bare.scale: missing from the checkpoint"],
    );
    matrix(
        "odd.weight",
        [2, 4],
        &["x.odd.scale: stored as BF16, want F8_E8M0, U8 or F32"],
    );
    matrix(
        "fp4.weight",
        [2, 32],
        &["x.fp4.scale: stored as F8_E8M0, want F32"],
    );
    matrix(
        "fp4.weight",
        [2, 128],
        &["x.fp4.weight: shape [2, 32] in the file, [2, 64] by the"],
    );
    matrix(
        "fp4.weight",
        [2, 65],
        &["x.fp4.weight: stored as I8", "odd number of columns"],
    );
    matrix(
        "fp4.weight",
        [2, 64],
        &["x.fp4.scale: shape [2, 1] in the file, [2, 2] by the config"],
    );
    matrix(
        "fp4f.weight",
        [2, 64],
        &["x.fp4f.scale: stored as BF16, want F8_E8M0, U8 or F32"],
    );
    matrix(
        "half.weight",
        [2, 64],
        &["x.half.scale: missing from the checkpoint"],
    );
    matrix(
        "int8.weight",
        [2, 4],
        &["x.int8.scale: shape [2, 2] in the file, [2, 1] by the config"],
    );
    matrix(
        "wide.weight",
        [2, 4],
        &["x.wide.weight: shape [2, 4] in the file, [2, 2] by the config"],
    );
    matrix(
        "int4.weight",
        [2, 40],
        &["x.int4.weight: shape [2, 6] in the file, [2, 5] by the config"],
    );
    // Twelve columns for a scale are no words, one line is not two, and no groups are none of any length.
    for (name, shape) in [("int4", "[2, 4]"), ("lines", "[1, 3]"), ("none4", "[2, 0]")] {
        let scales = format!("x.{name}.scale: scales of shape {shape} for INT4 of 2 rows and 48");
        matrix(&format!("{name}.weight"), [2, 48], &[&scales]);
    }
    matrix(
        "byte4.weight",
        [2, 48],
        &["x.byte4.scale: stored as U8, want F32"],
    );
    matrix(
        "bare4.weight",
        [2, 48],
        &["x.bare4.scale: missing from the checkpoint"],
    );

    wants(
        x.vector("flat.weight", 9).map(drop),
        &["x.flat.weight: shape [8] in the file, [9] by"],
    );
    wants(
        x.vector("ids", 6).map(drop),
        &["x.ids: shape [2, 3] in the file, [6] by the config"],
    );
    wants(x.vector("none", 1).map(drop), &["tensor x.none: missing"]);
    wants(
        x.array("f64.weight", &[2, 4]).map(drop),
        &["x.f64.weight: stored as F64, want F32, BF16 or"],
    );
    wants(
        x.array("f32.weight", &[8]).map(drop),
        &["shape [2, 4] in the file, [8] by the config"],
    );
    wants(
        x.integers("f32.weight", [2, 4]).map(drop),
        &["x.f32.weight: stored as F32, want integers"],
    );
    wants(
        x.integers("ids", [3, 2]).map(drop),
        &["x.ids: shape [2, 3] in the file, [3, 2] by"],
    );
}

#[test]
fn a_slice_that_does_not_exist_is_refused() {
    let shard = shard(&[
        ("stack", "U8", &[2, 3, 4], &[0; 24]),
        ("scalar", "U8", &[], &[0]),
        ("empty", "U8", &[0, 4], &[]),
    ]);
    let shard = Shard::from_bytes("model.safetensors", shard).unwrap();
    let tensor = |name| shard.tensor(name).unwrap();
    let stack = tensor("stack");
    wants(
        stack.narrow_rows(1..3).map(drop),
        &["tensor stack: rows 1..3 asked of shape [2, 3, 4]"],
    );
    #[allow(clippy::reversed_empty_ranges)]
    wants(
        stack.narrow_rows(1..0).map(drop),
        &["tensor stack: rows 1..0"],
    );
    wants(
        stack.narrow_rows(usize::MAX..usize::MAX).map(drop),
        &["tensor stack: rows 1844"],
    );
    wants(
        tensor("scalar").narrow_rows(0..1).map(drop),
        &["tensor scalar: rows 0..1 asked of"],
    );
    wants(
        tensor("empty").narrow_rows(0..1).map(drop),
        &["tensor empty: rows 0..1"],
    );
    wants(
        stack.reshape(&[5, 5]).map(drop),
        &["tensor stack: shape [2, 3, 4] in the file, [5, 5]"],
    );
    wants(
        stack.reshape(&[usize::MAX, 2]).map(drop),
        &["tensor stack: shape [2, 3, 4] in"],
    );
}
