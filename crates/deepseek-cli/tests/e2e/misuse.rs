//! How the program refuses: one line, a hint, and a code for who has to act.

use std::fs;

use deepseek_text::Tokenizer;

use crate::program::{Checkpoint, pipe, run};

#[test]
fn a_line_that_makes_no_sense_is_misuse() {
    run(&["run", "--model"]).failed(2, "a value is required for '--model <MODEL>'", "--help");
    run(&["rum"]).failed(2, "unrecognized subcommand 'rum'", "'run'");
    run(&["run", "--model", ".", "--tempo", "1", "x"]).failed(2, "'--tempo'", "'--temperature'");
    run(&["run", "--model", ".", "--numerics", "half", "x"]).failed(2, "'half'", "--help");
    run(&["run", "--model", ".", "--device", "gpu", "x"]).failed(
        2,
        "want cpu[:SET], cpu-plain, cuda[:N], metal[:N], ascend[:N] or mlu[:N]",
        "--help",
    );
    run(&["run", "--model", ".", "--device", "cpu:sse", "x"]).failed(
        2,
        "kernels: want avx512-bf16, avx512, avx2, neon, plain",
        "--help",
    );
    run(&["run", "--model", ".", "--raw", "--system", "s", "x"]).failed(2, "'--raw'", "--help");
    run(&["run", "--model", ".", "--max-tokens", "0", "x"]).failed(2, "'0'", "--help");
    run(&["logits", "--model", ".", "--out", "x"]).failed(2, "--ids <IDS>", "--help");
    run(&["tokenize", "--model", ".", "--tokenizer", "t.json", "x"]).failed(
        2,
        "--model <MODEL>",
        "--help",
    );
}

#[test]
fn sampling_out_of_its_bounds_is_misuse() {
    let refused = |flag: &str, value: &str, error: &str| {
        run(&["run", "--model", ".", flag, value, "x"]).failed(2, error, "");
    };
    refused(
        "--temperature",
        "-1",
        "temperature: -1, must be from 0 to 100",
    );
    refused("--top-p", "-0.5", "top_p: -0.5, must be above 0, up to 1");
    refused(
        "--temperature",
        "101",
        "temperature: 101, must be from 0 to 100",
    );
    refused("--top-p", "0", "top_p: 0, must be above 0, up to 1");
    refused("--min-p", "NaN", "min_p: NaN, must be from 0 to 1");
    refused(
        "--frequency-penalty",
        "-3",
        "frequency_penalty: -3, must be from -2 to 2",
    );
}

#[test]
fn whole_numbers_out_of_their_range_are_told_it() {
    for (line, range) in [
        (&["run", "-n", "-1", "x"][..], "from 1 to 4294967295"),
        (&["run", "-c", "1", "x"], "from 2 to 4294967295"),
        (&["run", "-s", "-1", "x"], "from 0 to 18446744073709551615"),
        (&["run", "--top-k", "-3", "x"], "from 0 to 4294967295"),
        (&["run", "--threads", "1025", "x"], "from 1 to 1024"),
        (&["chat", "--draft", "-2"], "from 0 to 4294967295"),
        (&["bench", "-n", "-5"], "from 0 to 4294967295"),
        (&["bench", "-r", "0"], "from 1 to 65535"),
        (&["eval", "--batch", "33", "x"], "from 1 to 32"),
        (&["doctor", "-c", "-9"], "from 2 to 4294967295"),
    ] {
        let error = format!("want a whole number {range}");
        run(line).failed(2, &error, &format!("see deepseek {} --help", line[0]));
    }
    run(&["run", "--expert-memory", "much", "x"]).failed(
        2,
        "want a size such as 512MiB or 8GB",
        "--help",
    );
    run(&["run", "--fps", "-1", "x"]).failed(2, "want a number above 0", "--help");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for (line, names) in [
        (
            &["run", "--no-thinking", "--effort", "max", "x"][..],
            "--effort",
        ),
        (&["run", "--raw", "--tools", "t.json", "x"], "--tools"),
        (&["tokenize", "-f", "a", "text"], "--file"),
        (&["inspect", "-m", "a", "b"], "--model"),
    ] {
        let help = format!("see deepseek {} --help", line[0]);
        run(line).failed(2, names, &help);
    }
}

#[test]
fn a_prompt_is_wanted() {
    run(&["run", "--model", "."]).failed(2, "the prompt is empty", "");
    run(&["run", "--model", ".", ""]).failed(2, "the prompt is empty", "");
    pipe(&["run", "--model", ".", "-"], b"\n").failed(2, "the prompt is empty", "");
    pipe(&["run", "--model", "."], b"a\xff").failed(3, "stdin is not UTF-8 text", "");
}

#[test]
fn a_folder_that_is_none_is_named() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let path = folder.path().to_str().expect("the path is text");
    let missing = format!("{path}/missing");
    let hint = "a folder with config.json, tokenizer.json and safetensors files";
    run(&["run", "--model", &missing, "x"]).failed(3, &missing, hint);
    run(&["chat", "--model", &missing]).failed(3, &missing, hint);
    run(&["tokenize", "--model", &missing, "x"]).failed(3, &missing, hint);
    run(&["inspect", &missing]).failed(3, &missing, hint);
    run(&["run", "--model", path, "x"]).failed(3, "config.json: No such file", hint);
    fs::write(&missing, "a file").expect("the folder takes files");
    run(&["run", "--model", &missing, "x"]).failed(3, "missing is not a folder", hint);
}

#[test]
fn a_config_that_does_not_hold_is_input() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("config.json", b"{");
    let hint = "";
    checkpoint
        .run("run", &["x"])
        .failed(3, "config.json: invalid JSON: EOF while parsing", hint);
    checkpoint
        .run("run", &["x"])
        .failed(3, &checkpoint.file("config.json"), hint);
    checkpoint.write("config.json", b"\xff");
    checkpoint
        .run("run", &["x"])
        .failed(3, "config.json is not UTF-8 text", hint);
    checkpoint.write("config.json", &vec![b' '; 2 << 20]);
    checkpoint
        .run("run", &["x"])
        .failed(3, "at most 1048576 are read", hint);
    checkpoint.write("config.json", br#"{ "model_type": "llama" }"#);
    checkpoint
        .run("run", &["x"])
        .failed(3, "model_type: \"llama\" is not supported", hint);
    checkpoint.write("config.json", br#"{ "model_type": "deepseek_v4" }"#);
    checkpoint.run("run", &["x"]).failed(3, "is missing", hint);
}

#[test]
fn a_tokenizer_that_is_missing_or_broken_is_input() {
    let checkpoint = Checkpoint::new();
    checkpoint.write("tokenizer.json", b"[]");
    checkpoint
        .run("run", &["x"])
        .failed(3, "tokenizer: not a readable tokenizer.json", "");
    checkpoint
        .run("run", &["x"])
        .failed(3, &checkpoint.file("tokenizer.json"), "");
    let large = Tokenizer::tiny_json(289).expect("there are letters enough");
    checkpoint.write("tokenizer.json", large.as_bytes());
    checkpoint.run("run", &["x"]).failed(
        3,
        "289 ids in tokenizer.json, 288 in config.json",
        "of different models",
    );
    fs::remove_file(checkpoint.file("tokenizer.json")).expect("it is there");
    let hint = "a folder with config.json, tokenizer.json and safetensors files";
    checkpoint
        .run("run", &["x"])
        .failed(3, "tokenizer.json: No such file", hint);
    checkpoint
        .run("chat", &[])
        .failed(3, "tokenizer.json: No such file", hint);
}

#[test]
fn files_that_are_cut_short_are_input() {
    let checkpoint = Checkpoint::new();
    let whole = checkpoint.read("model.safetensors");
    for length in [0, 7, 8, 100, whole.len() - 1] {
        checkpoint.write("model.safetensors", &whole[..length]);
        checkpoint
            .run("run", &["x"])
            .failed(3, "", "cut short or damaged");
    }
    fs::remove_file(checkpoint.file("model.safetensors")).expect("it is there");
    checkpoint
        .run("run", &["x"])
        .failed(3, "holds neither", "cut short or damaged");
}

#[test]
fn files_that_are_another_models_are_input() {
    let checkpoint = Checkpoint::new();
    checkpoint.set("q_lora_rank", 41);
    let hint = "hold the files against the config with deepseek inspect";
    checkpoint.run("run", &["x"]).failed(
        3,
        "shape [40, 48] in the file, [41, 48] by the config",
        hint,
    );
}

#[test]
fn long_names_make_no_long_messages() {
    let checkpoint = Checkpoint::new();
    let long = "n".repeat(900_000);
    let read = |lines: &[&str]| {
        let ran = checkpoint.run(lines[0], &lines[1..]);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        for line in ran.err.lines() {
            assert!(line.chars().count() < 1100, "{} characters", line.len());
        }
        assert!(ran.err.contains("nn…"), "{}", ran.err);
    };
    let item =
        format!(r#"{{ "task": "t", "id": "i", "messages": [], "answer": "", "match": "{long}" }}"#);
    checkpoint.write("items.jsonl", item.as_bytes());
    read(&["eval", &checkpoint.file("items.jsonl")]);
    let talk = format!(r#"[{{ "role": "{long}", "content": "x" }}]"#);
    checkpoint.write("talk.json", talk.as_bytes());
    read(&["run", "--conversation", &checkpoint.file("talk.json")]);
    let name = long.get(..3000).expect("letters");
    read(&["run", "--conversation", name]);
}

#[test]
fn names_in_messages_do_nothing_to_a_terminal() {
    let checkpoint = Checkpoint::new();
    let name = "\x1b]0;title\x07\u{9b}31m\r\u{202e}";
    let shown = r"\u001b]0;title\u0007\u009b31m \u202e";
    let missing = checkpoint.file(name);
    run(&["run", "--model", &missing, "x"]).failed(3, shown, "a checkpoint is");
    run(&["inspect", &missing]).failed(3, shown, "a checkpoint is");
    run(&["run", "--numerics", name, "x"]).failed(2, r"\u009b31m \u202e", "--help");
    run(&["eval", &missing]).failed(3, shown, "");
    let talk = serde_json::json!([{ "role": name, "content": "x" }]);
    checkpoint.write("talk.json", talk.to_string().as_bytes());
    let ran = checkpoint.run("run", &["--conversation", &checkpoint.file("talk.json")]);
    ran.failed(3, shown, "");
}

#[cfg(unix)]
#[test]
fn names_that_are_no_text_can_be_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let name = OsStr::from_bytes(b"miss\xff\x1bing");
    for line in [
        [OsStr::new("inspect"), name].as_slice(),
        &[OsStr::new("eval"), name],
        &[
            OsStr::new("run"),
            OsStr::new("--model"),
            name,
            OsStr::new("x"),
        ],
    ] {
        let ran = run(line);
        assert!(ran.err.contains("miss\u{fffd}\\u001bing: "), "{ran:?}");
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""));
    }
}

#[cfg(not(any(feature = "cuda", feature = "metal")))]
#[test]
fn devices_that_the_build_leaves_out_are_told() {
    let checkpoint = Checkpoint::new();
    for (device, name, feature) in [("cuda:1", "CUDA", "cuda"), ("metal", "Metal", "metal")] {
        let error = format!("this build has no {name} support");
        let hint = format!("rebuild with --features {feature}, or use --device cpu");
        for command in ["run", "bench"] {
            let line = [command, "--model", checkpoint.path(), "--device", device];
            let prompt = (command == "run").then_some("x");
            let line: Vec<&str> = line.into_iter().chain(prompt).collect();
            run(&line).failed(1, &error, &hint);
        }
    }
}
