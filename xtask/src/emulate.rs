//! The program on an emulator of a device: the whole way from a question to words, without the device.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::demo::unset;
use crate::ffmpeg;
use crate::shell::{self, cargo};

/// Which device, and what is asked of the program.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose library is emulated.
    vendor: Vendor,
    /// A command of the program: run "What is 12 + 30?".
    #[arg(last = true, required = true, value_name = "COMMAND")]
    line: Vec<OsString>,
}

/// Whose library there is an emulator of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Vendor {
    /// CANN, of Ascend NPUs.
    Ascend,
    /// Neuware, of Cambricon's MLUs.
    Cambricon,
}

impl Vendor {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Ascend, Self::Cambricon];

    /// The chips that the emulator can be: what sets it up for each, and how a report of that is called.
    pub(crate) fn chips(self) -> &'static [(Option<SetUp>, &'static str)] {
        match self {
            Self::Ascend => &[
                (
                    Some(("ASCEND_EMU_CONFIG", r#"{"family": "a2"}"#)),
                    "ascend-a2.json",
                ),
                (
                    Some(("ASCEND_EMU_CONFIG", r#"{"family": "a3"}"#)),
                    "ascend-a3.json",
                ),
                (
                    Some(("ASCEND_EMU_CONFIG", r#"{"family": "a5"}"#)),
                    "ascend-a5.json",
                ),
            ],
            Self::Cambricon => &[(None, "mlu.json")],
        }
    }

    /// The device as the program knows it, the emulator's library, and the variable that names it.
    fn parts(self) -> [&'static str; 3] {
        match self {
            Self::Ascend => ["ascend", "ascend_emu", "DEEPSEEK_ASCEND_LIB"],
            Self::Cambricon => ["mlu", "neuware_emu", "DEEPSEEK_NEUWARE_LIB"],
        }
    }
}

/// A variable, and the configuration of an emulator that stands in it.
pub(crate) type SetUp = (&'static str, &'static str);

/// Runs a command of the program on an emulator.
pub(crate) fn run(args: &Args) -> Result<()> {
    program(args.vendor, None, &args.line)
}

/// Builds the program and the emulator as the tests have them, and runs the one on the other, set up as is
/// said. The emulator is optimised and keeps its assertions (`profile.dev` in `Cargo.toml`).
pub(crate) fn program(vendor: Vendor, set_up: Option<SetUp>, line: &[OsString]) -> Result<()> {
    // As the tests build them: with the features of the whole workspace, so that nothing is built twice.
    let build = [
        "build",
        "--workspace",
        "--locked",
        "--lib",
        "--bin",
        "deepseek",
    ];
    shell::run(cargo().args(build).args(ffmpeg::feature()?))?;
    let [device, library, variable] = vendor.parts();
    let file = format!("target/debug/{DLL_PREFIX}{library}{DLL_SUFFIX}");
    let library = shell::root().join(&file);
    ensure!(
        library.is_file(),
        "{file}: the build has made no such library"
    );
    shell::say("EMULATED: an emulator computes on the host. It shows nothing of a device.\n");
    let mut program = unset("target/debug/deepseek");
    program.args(line).env(variable, library);
    program.env("DEEPSEEK_DEVICE", device);
    if let Some((variable, configuration)) = set_up {
        program.env(variable, configuration);
    }
    // Without the time that it takes, which others would take for the device's.
    let status = program.status().context("start deepseek")?;
    ensure!(status.success(), "deepseek: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn a_command_stands_behind_two_hyphens() {
        for (name, vendor) in [("ascend", Vendor::Ascend), ("cambricon", Vendor::Cambricon)] {
            let line = ["emulate", name, "--", "run", "--stats", "What is 12 + 30?"];
            let args = Line::try_parse_from(line).expect("a line").args;
            assert_eq!(args.vendor, vendor);
            assert_eq!(args.line, ["run", "--stats", "What is 12 + 30?"]);
        }
        for line in [
            &["emulate", "ascend"][..],
            &["emulate", "ascend", "run"],
            &["emulate", "cuda", "--", "run"],
        ] {
            assert!(Line::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
