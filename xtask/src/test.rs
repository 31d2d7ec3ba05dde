//! Everything that must hold before a change lands, in parts that can be run alone. Where FFmpeg's libraries
//! are, what is checked and tested has the feature `video`; what is packaged has not.

#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::time::Instant;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::shell::{self, cargo};
use crate::{ffmpeg, package, tidy};

/// Warnings are errors here, though not at the desk.
const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Which parts to run; all by default.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these parts alone, with commas between them.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    only: Vec<Part>,
    /// Leave out these parts.
    #[arg(long, value_name = "PARTS", value_delimiter = ',')]
    without: Vec<Part>,
}

/// What can be run alone, in the order in which all of them run: the quick ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Format, house rules and clippy, which also checks that the fuzz targets compile.
    Lint,
    /// Unit, integration and doc tests; the examples are built.
    Tests,
    /// The documentation of all items, private ones, too.
    Docs,
    /// The crates that are published, packaged under other names and built from that.
    Package,
}

impl Args {
    /// The parts that are meant, in their order.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let parts = Part::value_variants().iter().copied();
        parts.filter(|part| {
            let named = self.only.is_empty() || self.only.contains(part);
            named && !self.without.contains(part)
        })
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for part in args.parts() {
        let began = Instant::now();
        match part {
            Part::Lint => lint()?,
            Part::Tests => tests()?,
            Part::Docs => docs()?,
            Part::Package => package::under_other_names()?,
        }
        let part = part.to_possible_value().context("a part has a name")?;
        eprintln!("{}: {} s", part.get_name(), began.elapsed().as_secs());
    }
    Ok(())
}

fn lint() -> Result<()> {
    shell::run(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run(&shell::root())?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked"];
    let clippy = [&clippy, ffmpeg::feature()?, &DENY_WARNINGS].concat();
    shell::run(cargo().args(clippy))
}

fn tests() -> Result<()> {
    let test = ["test", "--workspace", "--locked"];
    shell::run(cargo().args(test).args(ffmpeg::feature()?))
}

fn docs() -> Result<()> {
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]);
    doc.arg("--document-private-items");
    shell::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
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

    #[track_caller]
    fn check(line: &[&str], want: &[Part]) {
        let line = Line::try_parse_from([&["test"], line].concat());
        let parts: Vec<_> = line.expect("a command line").args.parts().collect();
        assert_eq!(parts, want);
    }

    #[test]
    fn parts_run_in_their_order_and_all_of_them_unless_named() {
        check(&[], Part::value_variants());
        check(&["--only", "package,lint"], &[Part::Lint, Part::Package]);
        check(
            &["--only", "docs", "--only", "tests"],
            &[Part::Tests, Part::Docs],
        );
        let rest = [Part::Lint, Part::Tests, Part::Docs];
        check(&["--without", "package"], &rest);
    }

    #[test]
    fn a_part_that_is_not_there_is_refused() {
        let error = Line::try_parse_from(["test", "--only", "lints"]).expect_err("no such part");
        assert!(error.to_string().contains("lint, tests, docs"), "{error}");
    }
}
