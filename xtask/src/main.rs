//! House rules, fixtures and set-up: `cargo xtask help`.
#![forbid(unsafe_code)]

mod arm;
mod bench;
mod card;
mod check;
mod checkpoint;
mod convert;
mod demo;
mod devices;
mod emulate;
mod ffmpeg;
mod fixtures;
mod man;
mod mutants;
// How the program writes files, as source: no crate of ours is linked here.
#[allow(dead_code, reason = "the program asks for more of it")]
#[path = "../../crates/deepseek-cli/src/output.rs"]
mod output;
mod package;
mod python;
mod shell;
mod synth;
mod tables;
mod test;
mod tidy;
mod train;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Work on this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Ask the embedded model about an image, audio, a video and a text.
    Demo,
    /// Run the program on an emulator of a device that this machine need not have.
    Emulate(emulate::Args),
    /// Write the table of devices in the README from the reports that are committed.
    Devices(devices::Args),
    /// Measure speed: kernels against plain ones, models against what the machine could do, and a peer.
    Bench(bench::Args),
    /// Measure the embedded model and write its card.
    Card,
    /// Set up what the tests need and run them all: format, clippy, tidy, unit, doc and integration
    /// tests, packages.
    Test(test::Args),
    /// Run the tests of the host's kernels as aarch64 would, under an emulator.
    ArmTest(arm::Args),
    /// Convert a checkpoint, as `deepseek convert` does, with the program built anew.
    Convert(convert::Args),
    /// Plant faults into a driver, one at a time, and see each caught by its test.
    Mutants(mutants::Args),
    /// Check the house rules.
    Tidy,
    /// Package the crates that are published, and build each from its package alone.
    Package(package::Args),
    /// Check the audio tower against another implementation, with weights from the package index.
    Check(check::Args),
    /// Make a random checkpoint in the released format from a config.
    Checkpoint(checkpoint::Args),
    /// Make a random checkpoint of the real shapes, of any number of layers, to measure speed with.
    Synth(synth::Args),
    /// Make the golden numbers anew from the Python reference.
    Fixtures(fixtures::Args),
    /// Write the manual pages of the program into `target/man`.
    Man,
    /// Train the embedded model.
    Train(train::Args),
    /// Fetch the packages that the Ascend tables are held against.
    AscendHeaders(tables::Args),
    /// Hold the Ascend tables against published headers. Needs libclang.
    AscendAbiCheck(tables::Args),
    /// Hold the Ascend tables against published binaries.
    AscendSymcheck(tables::Args),
    /// Make the table of what custom Ascend operators take anew.
    AscendContracts(tables::Args),
    /// Write what bindgen makes of an installed Neuware's headers. Needs libclang.
    NeuwareBindgen(tables::Args),
    /// Hold the Cambricon tables against an installed Neuware. Needs libclang.
    NeuwareVerify(tables::Args),
}

fn main() -> Result<()> {
    match Args::parse().task {
        Task::Demo => demo::run(),
        Task::Emulate(args) => emulate::run(&args),
        Task::Devices(args) => devices::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Card => card::run(),
        Task::Test(args) => test::run(&args),
        Task::ArmTest(args) => arm::run(&args),
        Task::Convert(args) => convert::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Tidy => tidy::run(&shell::root()),
        Task::Package(args) => package::run(&args),
        Task::Check(args) => check::run(&args),
        Task::Checkpoint(args) => checkpoint::run(&args),
        Task::Synth(args) => synth::run(&args),
        Task::Fixtures(args) => fixtures::run(&args),
        Task::Man => man::run(),
        Task::Train(args) => train::run(&args),
        Task::AscendHeaders(args) => tables::run("xtask-ascend", "headers", &[], &args),
        Task::AscendAbiCheck(args) => tables::run("xtask-ascend", "abi-check", &["bindgen"], &args),
        Task::AscendSymcheck(args) => tables::run("xtask-ascend", "symcheck", &[], &args),
        Task::AscendContracts(args) => tables::run("xtask-ascend", "contracts", &[], &args),
        Task::NeuwareBindgen(args) => neuware("bindgen", &args),
        Task::NeuwareVerify(args) => neuware("verify", &args),
    }
}

/// A check against an installed Neuware, whose headers are read.
fn neuware(check: &str, args: &tables::Args) -> Result<()> {
    tables::run("xtask-cambricon", check, &["bindgen"], args)
}
