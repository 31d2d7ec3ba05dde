//! The program with the feature `video`, and the tests of what FFmpeg decodes, which want its libraries
//! on the machine.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::process::Command;

use anyhow::Result;

use crate::shell::{self, cargo};

/// What the feature `video` links, as `pkg-config` calls it.
const LIBRARIES: [&str; 5] = [
    "libavcodec",
    "libavformat",
    "libavutil",
    "libswresample",
    "libswscale",
];

/// What brings them on Debian and its kin, together with what their bindings are made with.
const PACKAGES: [&str; 8] = [
    "clang",
    "libavcodec-dev",
    "libavformat-dev",
    "libavutil-dev",
    "libclang-dev",
    "libswresample-dev",
    "libswscale-dev",
    "pkg-config",
];

/// Runs the tests of the feature `video`. Its libraries are installed where that is possible without
/// asking; elsewhere the tests are left out, in plain words.
pub(crate) fn test() -> Result<()> {
    if !is_there() && may_install() {
        shell::run(Command::new("apt-get").args(["update", "--quiet"]))?;
        let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
        shell::run(Command::new("apt-get").args(install).args(PACKAGES))?;
    }
    if !is_there() {
        eprintln!(
            "left out: the tests of the feature video, which want FFmpeg's libraries ({})",
            PACKAGES.join(" ")
        );
        return Ok(());
    }
    // Of the whole workspace, so that what the other tests were built with serves here, too.
    let video = [
        "--workspace",
        "--locked",
        "--features",
        "deepseek-cli/video",
    ];
    let clippy = ["--all-targets", "--", "-D", "warnings"];
    shell::run(cargo().arg("clippy").args(video).args(clippy))?;
    let ffmpeg = ["--test", "ffmpeg"];
    shell::run(cargo().arg("test").args(video).args(ffmpeg))?;
    let e2e = ["--test", "e2e", "--", "media::", "decoding::"];
    shell::run(cargo().arg("test").args(video).args(e2e))
}

fn is_there() -> bool {
    succeeds(Command::new("pkg-config").arg("--exists").args(LIBRARIES))
        && succeeds(Command::new("clang").arg("--version"))
}

/// Whether this is a Debian whose packages we may change.
fn may_install() -> bool {
    let user = Command::new("id").arg("--user").output();
    let is_root = user.is_ok_and(|user| user.stdout.trim_ascii() == b"0");
    is_root && succeeds(Command::new("apt-get").arg("--version"))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
