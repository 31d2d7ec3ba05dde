//! Emulators are no part of the product.

use std::process::Command;

use serde_json::Value;

/// The packages of the workspace that depend on one, tests left out. It is not published, so no other can.
fn dependents(package: &str) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args([
        "metadata",
        "--no-deps",
        "--offline",
        "--format-version",
        "1",
    ]);
    let answer = cargo.output().expect("cargo");
    let text = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{text}");
    let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
    let packages = answer["packages"].as_array().expect("packages").iter();
    let depends = |of: &&Value| {
        let mut uses = of["dependencies"].as_array().expect("a list").iter();
        uses.any(|other| other["name"] == package && other["kind"] != "dev")
    };
    let names = packages
        .filter(depends)
        .map(|of| of["name"].as_str().expect("a name").to_owned());
    names.collect()
}

#[test]
fn nothing_but_tests_depends_on_the_emulators() {
    let emulators = ["ascend-emulator", "cambricon-emulator"];
    for emulator in emulators {
        assert_eq!(dependents(emulator), Vec::<String>::new(), "{emulator}");
    }
    // The command does find who depends on a package.
    assert_eq!(dependents("emulator-support"), emulators);
}
