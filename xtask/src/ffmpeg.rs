//! The feature `video`: whether this machine has what it links.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::process::Command;

use anyhow::Result;

use crate::shell;

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

/// The flags by which cargo builds the program with the feature `video`, where FFmpeg's libraries are. They
/// are installed where that is possible without asking; elsewhere the feature is left out, in plain words.
pub(crate) fn feature() -> Result<&'static [&'static str]> {
    if !is_there() && may_install() {
        shell::run(Command::new("apt-get").args(["update", "--quiet"]))?;
        let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
        shell::run(Command::new("apt-get").args(install).args(PACKAGES))?;
    }
    if is_there() {
        return Ok(&["--features", "deepseek-cli/video"]);
    }
    eprintln!(
        "left out: the feature video, which wants FFmpeg's libraries ({})",
        PACKAGES.join(" ")
    );
    Ok(&[])
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
