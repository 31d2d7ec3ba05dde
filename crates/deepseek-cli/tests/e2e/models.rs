//! What `--model` may name.

use std::fs;
use std::path::Path;

use crate::program::{Checkpoint, Ran, deepseek, run};

/// The folder of a snapshot in a hub's cache, with the files of a checkpoint.
fn cached(cache: &Path, name: &str, snapshot: &str, checkpoint: &Checkpoint) {
    let folder = cache.join(name).join("snapshots").join(snapshot);
    fs::create_dir_all(&folder).expect("a folder");
    for name in checkpoint.names() {
        fs::copy(checkpoint.file(&name), folder.join(&name)).expect("a file");
    }
}

fn head(cache: &Path, name: &str, snapshot: &str) {
    let refs = cache.join(name).join("refs");
    fs::create_dir_all(&refs).expect("a folder");
    fs::write(refs.join("main"), snapshot).expect("a file");
}

fn count(model: &str) -> Ran {
    run(&["tokenize", "--model", model, "--count", "Hello"])
}

#[test]
fn a_file_of_a_checkpoint_stands_for_it() {
    let checkpoint = Checkpoint::v41();
    let whole = run(&["inspect", "--json", checkpoint.path()]).done();
    for name in checkpoint.names() {
        assert_eq!(
            count(&checkpoint.file(&name)).done(),
            count(checkpoint.path()).done()
        );
        if name.ends_with(".safetensors") {
            let file = checkpoint.file(&name);
            assert_eq!(run(&["inspect", "--json", &file]).done(), whole);
            assert_eq!(run(&["inspect", "--json", "-m", &file]).done(), whole);
        }
    }
    let mut here = deepseek(&["tokenize", "-m", "config.json", "--count", "Hello"]);
    let here = here
        .current_dir(checkpoint.path())
        .output()
        .expect("it starts");
    assert_eq!(Ran::from(here), count(checkpoint.path()));
}

#[test]
fn a_model_is_found_in_the_hubs_cache_by_its_name() {
    const FOLDER: &str = "models--deepseek-ai--DeepSeek-V4-Flash";
    const NAME: &str = "deepseek-ai/DeepSeek-V4-Flash";

    let checkpoint = Checkpoint::new();
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let cache = home.path().join("hub");
    cached(&cache, FOLDER, "abc123", &checkpoint);
    let line = ["tokenize", "--model", NAME, "--count", "Hello"];
    let by = |variable: &str, value: &Path| -> Ran {
        let mut command = deepseek(&line);
        command.env("HOME", home.path()).env(variable, value);
        command.output().expect("it starts").into()
    };
    // The only snapshot, however the cache is named.
    let want = count(checkpoint.path());
    assert_eq!(by("HF_HUB_CACHE", &cache), want);
    assert_eq!(by("HF_HOME", home.path()), want);
    fs::create_dir_all(home.path().join("c/huggingface")).expect("a folder");
    fs::rename(&cache, home.path().join("c/huggingface/hub")).expect("it moves");
    let cache = home.path().join("c/huggingface/hub");
    assert_eq!(by("XDG_CACHE_HOME", &home.path().join("c")), want);
    let folder = cache.join(FOLDER).display().to_string();
    assert_eq!(count(&folder), want);

    // Of several, the one that is meant.
    let other = Checkpoint::v41();
    cached(&cache, FOLDER, "def456", &other);
    let error = format!("{folder}: 2 snapshots, and refs/main names none of them");
    by("HF_HUB_CACHE", &cache).failed(3, &error, "abc123");
    head(&cache, FOLDER, "../../elsewhere");
    by("HF_HUB_CACHE", &cache).failed(3, &error, "abc123");
    let inspected = |path: &str| run(&["inspect", "--json", path]).done();
    head(&cache, FOLDER, "def456\n");
    assert_eq!(inspected(&folder), inspected(other.path()));
    head(&cache, FOLDER, "abc123");
    assert_eq!(inspected(&folder), inspected(checkpoint.path()));
}

#[test]
fn a_model_that_nobody_fetched_is_told_with_the_way_to_it() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut command = deepseek(&["run", "-m", "deepseek-ai/None", "x"]);
    let ran = command.env("HF_HUB_CACHE", home.path()).output();
    let cache = home.path().display();
    Ran::from(ran.expect("it starts")).failed(
        3,
        &format!("deepseek-ai/None: neither a folder nor in the hub's cache, {cache}"),
        "hf download deepseek-ai/None",
    );
}

#[test]
fn gguf_is_told_what_to_take_instead() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let file = folder.path().join("model.gguf");
    fs::write(&file, b"GGUF").expect("a file");
    for path in [file.as_path(), folder.path()] {
        let path = path.to_str().expect("text");
        let error = format!("{path}: GGUF is not read, safetensors are");
        run(&["inspect", "-m", path]).failed(3, &error, "hf download");
        run(&["run", "-m", path, "x"]).failed(3, &error, "hf download");
    }
}
