//! The table of devices in the README, made of the reports that `deepseek doctor` wrote and that are committed.
//!
//! A state is one of four words, and nobody types it: it follows from where a report is from, and from what
//! failed. A report of an emulator can never say that a device was there.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use toml_edit::{DocumentMut, Item};

use crate::emulate::{self, Vendor};
use crate::shell;

/// Where reports of devices lie, and those of emulators.
const HARDWARE: &str = "docs/hardware-reports/";
const EMULATORS: &str = "docs/emulator-reports/";
/// The form of a report that is read here, as the program writes it.
const REPORT: u64 = 2;
/// What an emulator puts behind the name of a chip.
const EMULATED: &str = "-EMU";

/// Where the table stands in the README.
const README: &str = "README.md";
const BEGIN: &str = "<!-- Written by `cargo xtask devices`. -->\n";
const END: &str = "<!-- End of what is written. -->";

/// What is known of the declarations of a vendor's interface: what headers verify, what binaries attest, and
/// what the emulator lacks.
const HEADERS: &str = "xtask/ascend/abi-baseline.toml";
const BINARIES: &str = "xtask/ascend/symbols-baseline.toml";
const LACKS: &str = "tests/emulators/ascend/emu-unimplemented.toml";

/// Write the table of devices in the README from the reports that are committed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Make the reports of the emulators anew first: minutes.
    #[arg(long)]
    emulate: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = shell::root();
    if args.emulate {
        for vendor in Vendor::ALL {
            for (set_up, file) in vendor.chips() {
                let path = root.join(EMULATORS).join(file);
                let line = ["doctor", "--report"].map(Into::into);
                let line = [&line[..], &[path.into_os_string()]].concat();
                emulate::program(vendor, *set_up, &line)?;
            }
        }
    }
    let mut sources = Sources::default();
    for folder in [HARDWARE, EMULATORS] {
        let entries = root.join(folder).read_dir();
        for entry in entries.with_context(|| folder.to_owned())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let path = format!("{folder}{name}");
            if path.ends_with(".json") {
                sources
                    .reports
                    .push((path.clone(), fs::read_to_string(root.join(path))?));
            }
        }
    }
    sources.reports.sort();
    for (text, path) in [
        (&mut sources.headers, HEADERS),
        (&mut sources.binaries, BINARIES),
        (&mut sources.lacks, LACKS),
    ] {
        *text = fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
    }
    let readme = fs::read_to_string(root.join(README))?;
    let written = sources.written(&readme)?;
    if written == readme {
        shell::say("README.md: the table of devices is as the reports have it\n");
        return Ok(());
    }
    fs::write(root.join(README), written)?;
    shell::say("README.md: written\n");
    Ok(())
}

/// What the table is made of.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// Reports by their paths, in the order of those.
    pub(crate) reports: Vec<(String, String)>,
    pub(crate) headers: String,
    pub(crate) binaries: String,
    pub(crate) lacks: String,
}

/// Whether a path is one of a report.
pub(crate) fn is_report(path: &str) -> bool {
    path.ends_with(".json") && [HARDWARE, EMULATORS].iter().any(|at| path.starts_with(at))
}

impl Sources {
    /// The sources among files that are known by their paths.
    pub(crate) fn of<'a>(
        reports: impl Iterator<Item = (&'a str, &'a str)>,
        text: impl Fn(&str) -> &'a str,
    ) -> Self {
        let reports = reports.filter(|(path, _)| is_report(path));
        let reports = reports.map(|(path, text)| (path.to_owned(), text.to_owned()));
        Self {
            reports: reports.collect(),
            headers: text(HEADERS).to_owned(),
            binaries: text(BINARIES).to_owned(),
            lacks: text(LACKS).to_owned(),
        }
    }

    /// A README with the tables between their marks.
    ///
    /// # Errors
    /// If the marks are missing, a report is none, or lies where it may not.
    pub(crate) fn written(&self, readme: &str) -> Result<String> {
        let marks = || {
            format!(
                "{README}: no {:?} or no {END:?} behind it",
                BEGIN.trim_end()
            )
        };
        let (before, rest) = readme.split_once(BEGIN).with_context(marks)?;
        let (_, after) = rest.split_once(END).with_context(marks)?;
        let (devices, symbols) = (self.devices()?, self.declarations()?);
        Ok(format!(
            "{before}{BEGIN}\n{devices}\n{symbols}\n{END}{after}"
        ))
    }

    /// A line for each report.
    fn devices(&self) -> Result<String> {
        let mut table = "| chip | software | state | operations beside the host's | report |\n\
                         |---|---|---|---|---|\n"
            .to_owned();
        for (path, text) in &self.reports {
            let report = Report::read(path, text).with_context(|| path.clone())?;
            let _ = writeln!(
                table,
                "| {} | {} | {} | {} | [{}]({path}) |",
                report.about,
                report.software,
                report.state(),
                report.results,
                report.program,
            );
        }
        Ok(table)
    }

    /// A line for each provider of an interface: how many symbols are declared, and what speaks for them.
    fn declarations(&self) -> Result<String> {
        let headers: DocumentMut = self.headers.parse().context(HEADERS)?;
        let binaries: DocumentMut = self.binaries.parse().context(BINARIES)?;
        let lacks: DocumentMut = self.lacks.parse().context(LACKS)?;
        let lacks = lacks.iter().flat_map(|(_, of)| names(of.get("absent")));
        let lacks: BTreeSet<&str> = lacks.collect();
        let mut table =
            "| declarations | number | ABI-verified | symbol-attested | on the emulator |\n\
                         |---|---|---|---|---|\n"
                .to_owned();
        for (provider, symbols) in binaries.iter() {
            let symbols = symbols.as_table_like().context(BINARIES)?;
            let attested = symbols
                .iter()
                .filter(|(_, by)| by.as_array().is_some_and(|by| !by.is_empty()));
            let of = headers.get(&format!("functions of {provider}"));
            let of = |key: &str| of.and_then(|of| of.get(key));
            let verified = of("verified").and_then(Item::as_integer).unwrap_or(0);
            let mark = match provider.split_once(' ') {
                Some((name, version)) => format!("emu_{name}_{}_", version.replace('.', "_")),
                None => String::new(),
            };
            // An operator is listed once for both of its halves.
            let is_there = |name: &str| {
                let half = name.strip_suffix("GetWorkspaceSize").unwrap_or(name);
                !lacks.contains(format!("{mark}{half}").as_str())
            };
            let there = symbols.iter().filter(|(name, _)| is_there(name));
            let counts = [symbols.len(), attested.count(), there.count()];
            let verified = usize::try_from(verified).context(HEADERS)?;
            ensure!(
                verified + names(of("unverified")).count() == counts[0],
                "{HEADERS} and {BINARIES} tell of different declarations of {provider}"
            );
            let _ = writeln!(
                table,
                "| `{provider}` | {} | {verified} | {} | {} |",
                counts[0], counts[1], counts[2]
            );
        }
        Ok(table)
    }
}

/// The texts of a list.
fn names(list: Option<&Item>) -> impl Iterator<Item = &str> {
    let list = list.and_then(Item::as_array).into_iter().flatten();
    list.filter_map(|name| name.as_str())
}

/// What of a report the table tells.
#[derive(Debug)]
struct Report {
    about: String,
    software: String,
    program: String,
    is_emulated: bool,
    failed: Vec<String>,
    results: String,
}

impl Report {
    /// Reads a report, and holds it against the folder that it lies in.
    fn read(path: &str, text: &str) -> Result<Self> {
        let report: Value = serde_json::from_str(text)?;
        let number = report["report"].as_u64();
        ensure!(
            number == Some(REPORT),
            "a report of form {number:?}, {REPORT} is read: ask for one of the newest program"
        );
        let text = |value: &Value, what: &str| {
            let text = value.as_str().filter(|text| is_plain(text));
            text.map(str::to_owned)
                .with_context(|| format!("no {what}, or none that a table can hold"))
        };
        let chip = text(&report["chip"]["name"], "chip")?;
        let is_emulated = report["is_emulated"].as_bool().context("no is_emulated")?;
        ensure!(
            is_emulated == chip.ends_with(EMULATED),
            "{chip}: is_emulated is {is_emulated}"
        );
        match (is_emulated, path.starts_with(EMULATORS)) {
            (true, false) => bail!("of an emulator, among those of hardware"),
            (false, true) => bail!("of a device, among those of emulators"),
            (true, true) | (false, false) => {}
        }
        let failed = report["failed"].as_array().context("no list of failures")?;
        let failed = failed.iter().map(|name| text(name, "name of what failed"));
        let commit = report["commit"].as_str().filter(|text| is_plain(text));
        let version = text(&report["program"], "version of the program")?;
        Ok(Self {
            about: text(&report["chip"]["about"], "chip that is served")?,
            software: text(&report["chip"]["software"], "software")?,
            program: commit.map_or(version.clone(), |commit| format!("{version}, {commit:.9}")),
            failed: failed.collect::<Result<_>>()?,
            results: results(&report["operations"])?,
            is_emulated,
        })
    }

    /// One of the four words; or what failed, and none of them.
    fn state(&self) -> String {
        match (self.failed.as_slice(), self.is_emulated) {
            ([], true) => "emulator-verified".to_owned(),
            ([], false) => "**hardware-verified**".to_owned(),
            (failed, _) => format!("failed: {}", failed.join(", ")),
        }
    }
}

/// Whether a text stands in a cell of a table as it is: reports come from elsewhere.
fn is_plain(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " .,:;+-_()%".contains(c);
    text.chars().all(is_plain) && text.len() <= 80
}

/// How many kinds of operations there were, how many results, and how far the worst was off.
fn results(operations: &Value) -> Result<String> {
    let cases = operations.as_array().context("no list of operations")?;
    ensure!(!cases.is_empty(), "no operation was tried");
    let results: u64 = cases
        .iter()
        .filter_map(|case| case["results"].as_u64())
        .sum();
    let worst = cases.iter().filter_map(|case| case["worst"].as_f64());
    let worst = 100.0 * worst.fold(0.0, f64::max);
    Ok(format!(
        "{} kinds, {results} results, within {worst:.0} % of what they may differ by",
        cases.len()
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const AT: &str = "docs/emulator-reports/a.json";

    fn report() -> Value {
        json!({
            "report": 2,
            "program": "0.1.0",
            "commit": null,
            "is_emulated": true,
            "chip": {"name": "Ascend910B3-EMU", "about": "Ascend910B3-EMU, family A2", "software": "CANN 9.1.0"},
            "failed": [],
            "operations": [
                {"case": "fills", "results": 30, "worst": 0.0},
                {"case": "products", "results": 12, "worst": 0.253},
            ],
        })
    }

    fn sources(path: &str, report: &Value) -> Sources {
        Sources {
            reports: vec![(path.to_owned(), report.to_string())],
            headers: "[\"functions of cann\"]\nverified = 1\nunverified = [\"aclnnA\", \"aclnnAGetWorkspaceSize\"]\n\
                      [\"functions of more 0.2\"]\nverified = 2\n"
                .to_owned(),
            binaries: "[\"cann\"]\naclInit = [\"x links\"]\naclnnAGetWorkspaceSize = []\naclnnA = []\n\
                       [\"more 0.2\"]\naclnnA = [\"x exports\"]\naclnnB = [\"x exports\"]\n"
                .to_owned(),
            lacks: "[operators]\nabsent = [\"aclnnA\", \"emu_more_0_2_aclnnB\"]\n".to_owned(),
        }
    }

    fn readme() -> String {
        format!("# A\n\n{BEGIN}old\n{END}\n\nrest\n")
    }

    #[track_caller]
    fn refused(path: &str, report: &Value, want: &str) {
        let error = sources(path, report).written(&readme()).expect_err(want);
        let text = format!("{error:#}");
        assert!(text.starts_with(path) && text.contains(want), "{text}");
    }

    #[test]
    fn the_tables_are_made_of_reports_and_baselines() -> Result<()> {
        let text = sources(AT, &report()).written(&readme())?;
        let row = "| Ascend910B3-EMU, family A2 | CANN 9.1.0 | emulator-verified | 2 kinds, 42 results, within 25 % of \
                   what they may differ by | [0.1.0](docs/emulator-reports/a.json) |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| `cann` | 3 | 1 | 1 | 1 |\n"), "{text}");
        assert!(text.contains("| `more 0.2` | 2 | 2 | 2 | 1 |\n"), "{text}");
        assert!(
            text.starts_with("# A\n\n") && text.ends_with("\n\nrest\n"),
            "{text}"
        );
        assert!(!text.contains("old"));
        assert_eq!(
            sources(AT, &report()).written(&text)?,
            text,
            "written again"
        );
        Ok(())
    }

    #[test]
    fn a_device_is_verified_by_its_own_report_alone() -> Result<()> {
        let at = "docs/hardware-reports/a.json";
        refused(at, &report(), "of an emulator, among those of hardware");
        let mut device = report();
        device["chip"]["name"] = "Ascend910B3".into();
        refused(at, &device, "Ascend910B3: is_emulated is true");
        device["is_emulated"] = false.into();
        refused(AT, &device, "of a device, among those of emulators");
        let text = sources(at, &device).written(&readme())?;
        assert!(text.contains("| **hardware-verified** |"), "{text}");
        device["failed"] = json!(["products", "self-check"]);
        let text = sources(at, &device).written(&readme())?;
        assert!(text.contains("| failed: products, self-check |"), "{text}");
        assert!(!text.contains("verified** |"), "{text}");
        Ok(())
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for (field, value, want) in [
            ("report", json!(1), "a report of form Some(1)"),
            ("chip", json!(null), "no chip"),
            ("operations", json!([]), "no operation was tried"),
            ("program", json!("a | b"), "no version of the program"),
            ("failed", json!("no"), "no list of failures"),
        ] {
            let mut report = report();
            report[field] = value;
            refused(AT, &report, want);
        }
        let mut sources = sources(AT, &report());
        let error = sources.written("# A\n").expect_err("no marks").to_string();
        assert!(error.starts_with("README.md: no "), "{error}");
        sources.binaries.push_str("aclnnC = []\n");
        let error = sources
            .written(&readme())
            .expect_err("another number")
            .to_string();
        assert!(
            error.contains("different declarations of more 0.2"),
            "{error}"
        );
    }
}
