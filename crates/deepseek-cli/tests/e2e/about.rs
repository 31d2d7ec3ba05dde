//! What the program tells of itself: version, devices, completions, pages, log.

use std::fs;

use serde_json::Value;

use crate::program::{Checkpoint, run};

#[test]
fn the_version_names_commit_features_and_kernels() {
    let version = run(&["--version"]).done();
    let lines: Vec<&str> = version.lines().collect();
    assert_eq!(lines[0], format!("deepseek {}", env!("CARGO_PKG_VERSION")));
    let names = lines[1..].iter().map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.map(|name| name.expect("a name")).collect();
    assert_eq!(names, ["commit", "features", "kernels"]);
    let kernels = lines[3].split_whitespace().last().expect("a set");
    let devices = run(&["devices"]).done();
    assert!(
        devices.contains(&format!("\n  cpu:{kernels} ")),
        "{version} {devices}"
    );
    let short = run(&["-V"]).done();
    assert_eq!(short, format!("deepseek {}\n", env!("CARGO_PKG_VERSION")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_fault_of_help_and_version_too() {
    use std::fs::File;
    use std::process::Stdio;

    use crate::program::{Ran, deepseek};

    for line in [
        &["--version"][..],
        &["help"],
        &["--help"],
        &["run", "--help"],
        &["completions", "bash"],
        &["config"],
        &["devices"],
    ] {
        let full = File::options().write(true).open("/dev/full");
        let Ok(full) = full else { return };
        let output = deepseek(line).stdout(Stdio::from(full)).output();
        let ran = Ran::from(output.expect("it starts"));
        ran.failed(1, "No space left on device", "");
    }
}

#[test]
fn devices_are_listed_with_what_is_missing() {
    let page = run(&["devices"]).done();
    assert!(page.starts_with("  cpu "), "{page}");
    for name in [
        "cpu:avx512",
        "cpu:avx2",
        "cpu:neon",
        "cpu:plain",
        "cpu-plain",
        "cuda",
        "metal",
    ] {
        assert_eq!(
            page.matches(&format!(" {name} ")).count(),
            1,
            "{name} in {page}"
        );
    }
    let json: Value = serde_json::from_str(&run(&["devices", "--json"]).done()).expect("JSON");
    for device in json.as_array().expect("a list") {
        let (name, is_there) = (&device["name"], &device["is_there"]);
        let name = name.as_str().expect("a name");
        if name.starts_with("cpu") {
            let line = ["run", "--device", name, "What is 12 + 30?"];
            assert_eq!(run(&line).code == Some(0), *is_there == true, "{name}");
        }
    }
}

#[test]
fn completions_and_pages_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).done();
        for word in ["tokenize", "completions", "prompt-file"] {
            assert!(script.contains(word), "{word} for {shell}");
        }
    }
    run(&["completions", "cmd"]).failed(2, "'cmd'", "see deepseek completions --help");

    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let pages = folder.path().join("man");
    run(&["man", pages.to_str().expect("text")]).done();
    let page = |name: &str| fs::read_to_string(pages.join(name)).expect(name);
    assert!(page("deepseek.1").contains(".TH deepseek 1"));
    let run = page("deepseek-run.1");
    assert!(
        run.contains("prompt\\-file") && run.contains("Exit codes"),
        "{run}"
    );
    assert!(!pages.join("deepseek-man.1").exists());
}

#[test]
fn the_log_has_what_was_done_and_no_word_of_it() {
    let checkpoint = Checkpoint::new();
    let ask = |more: &[&str]| {
        let flags = ["--no-thinking", "--temperature", "0", "-n", "8"];
        let ran = checkpoint.run("run", &[&flags[..], more, &["Zanzibar"]].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    };
    let quiet = ask(&[]);
    assert_eq!(quiet.err.lines().count(), 1, "{quiet:?}");
    for flags in [&["-v"][..], &["--log", "info"]] {
        let ran = ask(flags);
        assert_eq!(ran.out, quiet.out);
        let line = |what: &str| {
            ran.err
                .lines()
                .find(|line| line.contains(what))
                .map(str::to_owned)
        };
        let laid_out = line(" INFO laid out ").expect("a line");
        assert!(laid_out.contains(" numerics=\"released\""), "{laid_out}");
        let loaded = line(" INFO loaded ").expect("a line");
        assert!(loaded.contains(" threads=1 "), "{loaded}");
        let answered = line(" INFO answered ").expect("a line");
        assert!(answered.contains(" generated=8 "), "{answered}");
        assert!(
            !ran.err.contains("Zanzibar") && !ran.err.contains("DEBUG"),
            "{ran:?}"
        );
    }
    let ran = ask(&["-vv"]);
    assert!(ran.err.contains(" DEBUG mapped files=1 "), "{ran:?}");
    let lines = |what: &str| ran.err.lines().filter(|line| line.contains(what)).count();
    let [admitted, ended] = [" DEBUG admitted request=", " DEBUG ended request="].map(lines);
    assert_eq!([admitted, ended], [1, 1], "{ran:?}");
    assert!(!ran.err.contains("TRACE"), "{ran:?}");
    let ran = ask(&["-vvv"]);
    let steps = ran.err.lines().filter(|line| line.contains(" TRACE step "));
    // The prompt in one step, then a step for each of the eight ids but the last.
    assert_eq!(steps.count(), 8, "{ran:?}");
    assert!(!ran.err.contains("Zanzibar"), "{ran:?}");
    let ran = checkpoint.run("run", &["-v", "--log", "info", "x"]);
    ran.failed(2, "'--log <LEVEL>'", "see deepseek run --help");
}
