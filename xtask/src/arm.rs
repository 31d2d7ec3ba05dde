//! The host's kernels on aarch64, on a machine that is none: tests are built for it and run under an emulator.
//!
//! Compiler, linker, libraries and emulator are packages of Debian, unpacked below `target`; nothing of the
//! system is changed. What is shown is results, never speed.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::shell::{self, cargo, root};

/// Where packages lie and what was unpacked of them.
const FOLDER: &str = "target/arm-test";

/// What is compiled for.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What must be there, and is named as Debian 12 does.
const WANTED: [&str; 4] = [
    "rustc-web",
    "gcc-aarch64-linux-gnu",
    "libc6-dev-arm64-cross",
    "qemu-user-static",
];

/// The standard library of the target.
const LIBRARY: &str = "libstd-rust-web-dev:arm64";

/// Parts of the names of what is unpacked of all that those depend on. The rest is part of every machine that
/// links programs.
const UNPACKED: [&str; 5] = [
    "rust-web",
    "rustc-web",
    "libllvm",
    "aarch64-linux-gnu",
    "arm64-cross",
];

/// Processors that are emulated: one with products of bytes (`dotprod`), one without, so that each finds
/// what it has.
const PROCESSORS: [&str; 2] = ["neoverse-n1", "cortex-a57"];

/// What is tested. Always both, because another choice of packages would build their dependencies anew.
const PACKAGES: [&str; 4] = ["--package", "backend-host", "--package", "conformance"];

/// The tests: kernels and the device alone with the golden operations and verbs, and whole models on each
/// kernel set.
const TESTS: [&[&str]; 2] = [
    &[
        "--lib", "--test", "bits", "--test", "experts", "--test", "steps", "--test", "devices",
    ],
    &["--test", "invariants", "the_kernel_set_changes_nothing"],
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fail where the packages cannot be had, instead of saying so.
    #[arg(long)]
    require: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let tools = match Tools::fetch() {
        Ok(tools) => tools,
        Err(error) if !args.require => {
            eprintln!("skipped: {error:#}");
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for processor in PROCESSORS {
        for tests in TESTS {
            shell::run(&mut tools.test(processor, tests))?;
        }
    }
    Ok(())
}

/// What was unpacked.
struct Tools {
    unpacked: PathBuf,
}

impl Tools {
    /// Has the packages fetched and unpacked, where that was not done before.
    fn fetch() -> Result<Self> {
        let fits = cfg!(all(target_os = "linux", target_arch = "x86_64"));
        ensure!(
            fits,
            "the compiler and the emulator are programs for Linux on x86-64"
        );
        let folder = root().join(FOLDER);
        let unpacked = folder.join("unpacked");
        if !unpacked.exists() {
            let wanted = WANTED.join(", ");
            packages(&folder).with_context(|| {
                format!("no packages {wanted}, which apt-get fetches from Debian 12")
            })?;
        }
        Ok(Self { unpacked })
    }

    /// A program among them.
    fn program(&self, name: &str) -> PathBuf {
        self.unpacked.join("usr/bin").join(name)
    }

    /// Runs tests as this processor would.
    fn test(&self, processor: &str, tests: &[&str]) -> Command {
        let usr = self.unpacked.join("usr");
        let emulator = self.program("qemu-aarch64-static");
        let libraries = usr.join("aarch64-linux-gnu");
        let runner = [
            emulator.as_os_str(),
            "-cpu".as_ref(),
            processor.as_ref(),
            "-L".as_ref(),
            libraries.as_os_str(),
        ];
        let runner: Vec<_> = runner.iter().map(|word| word.to_string_lossy()).collect();
        let linker = self.program("aarch64-linux-gnu-gcc");
        let sysroot = format!("link-arg=--sysroot={}", self.unpacked.display());
        let mut test = cargo();
        test.args(["test", "--locked", "--target", TARGET]);
        // Of another compiler, and so nothing that other commands could use or would have to wait for.
        test.arg("--target-dir")
            .arg(root().join(FOLDER).join("build"));
        for (key, value) in [
            ("linker", format!("{:?}", linker.to_string_lossy())),
            ("runner", format!("{runner:?}")),
            ("rustflags", format!("{:?}", ["-C", &sysroot])),
        ] {
            test.args(["--config", &format!("target.{TARGET}.{key}={value}")]);
        }
        test.env("RUSTC", self.program("rustc"));
        // Of the compiler and of the linker, which look for them where they would be installed.
        test.env("LD_LIBRARY_PATH", usr.join("lib/x86_64-linux-gnu"));
        test.args(PACKAGES).args(tests);
        test
    }
}

/// Fetches the packages to a folder and unpacks them in it. Apt keeps its lists there, too: those of the system
/// need not know of packages for another processor, and no rights are asked for.
fn packages(folder: &Path) -> Result<()> {
    let fetched = folder.join("packages");
    for kept in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(kept))?;
    }
    fs::create_dir_all(&fetched)?;
    let apt = |program: &str| {
        let mut apt = Command::new(program);
        for (key, value) in [
            ("Dir::State::Lists", folder.join("lists")),
            ("Dir::Cache", folder.join("cache")),
        ] {
            apt.arg(format!("-o{key}={}", value.display()));
        }
        apt.args(["-oAPT::Architectures=amd64,arm64", "-oAPT::Sandbox::User="]);
        apt.args(["-oDebug::NoLocking=true", "--quiet"]);
        apt
    };
    shell::run(apt("apt-get").arg("update"))?;
    let mut depends = apt("apt-cache");
    depends.args(["depends", "--recurse", "--important"]);
    let list = String::from_utf8(shell::output(depends.args(WANTED))?)?;
    let names = unpacked(&list);
    let mut download = apt("apt-get");
    download.args(["download", LIBRARY]).args(&names);
    shell::run_in(&fetched, &mut download)?;
    // What was unpacked in part is not taken for the whole.
    let part = folder.join("part");
    if part.exists() {
        fs::remove_dir_all(&part)?;
    }
    for package in fs::read_dir(&fetched)? {
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(package?.path()).arg(&part);
        shell::run(&mut unpack)?;
    }
    fs::rename(&part, folder.join("unpacked")).context("what was unpacked")
}

/// The packages to unpack, of what `apt-cache depends` lists: names stand at the beginnings of lines.
fn unpacked(list: &str) -> Vec<&str> {
    let marks = UNPACKED.iter().chain(&WANTED);
    let is_ours = |name: &&str| marks.clone().any(|mark| name.contains(mark));
    let names = list.lines().filter(|line| !line.starts_with([' ', '|']));
    let names = names.filter(|name| !name.contains([':', '<']));
    names.filter(is_ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_those_that_a_machine_does_not_have_anyway() {
        let list = "rustc-web\n  Depends: libc6\n |Depends: gcc\n  Depends: <libc-dev>\n\
                    libc6\ngcc\n<libc-dev>\nlibstd-rust-web-1.96\nlibllvm22\n\
                    gcc-12-aarch64-linux-gnu\nlibc6-dev-arm64-cross\nqemu-user-static\nlibgcc-s1:arm64\n";
        let want = [
            "rustc-web",
            "libstd-rust-web-1.96",
            "libllvm22",
            "gcc-12-aarch64-linux-gnu",
            "libc6-dev-arm64-cross",
            "qemu-user-static",
        ];
        assert_eq!(unpacked(list), want);
    }

    #[test]
    fn cargo_is_told_of_programs_in_a_folder_with_blanks() {
        let tools = Tools {
            unpacked: "/a b".into(),
        };
        let test = tools.test("neoverse-n1", TESTS[0]);
        let line: Vec<_> = test.get_args().map(|word| word.to_string_lossy()).collect();
        let key = format!("target.{TARGET}");
        let emulator = "/a b/usr/bin/qemu-aarch64-static";
        let libraries = "/a b/usr/aarch64-linux-gnu";
        for set in [
            format!(r#"{key}.linker="/a b/usr/bin/aarch64-linux-gnu-gcc""#),
            format!(r#"{key}.runner=["{emulator}", "-cpu", "neoverse-n1", "-L", "{libraries}"]"#),
            format!(r#"{key}.rustflags=["-C", "link-arg=--sysroot=/a b"]"#),
        ] {
            assert!(line.iter().any(|word| *word == set), "{set} in {line:?}");
        }
    }
}
