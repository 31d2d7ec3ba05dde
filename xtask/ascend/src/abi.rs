//! Holds the tables against the headers: parameters, structures, enumerations, constants and codes.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use backend_ascend_sys::types::{CONSTANTS, ENUMERATIONS, LAYOUTS, OPAQUE};
use backend_ascend_sys::{EMULATOR, Provider, STATUSES, Symbol, VLLM_ASCEND_0_23_0, abi};
use xtask_headers::{Difference, Function, Headers, bindings, difference, files};

use crate::baseline::Committed;
use crate::wheels::Wheels;

/// The names that are read of headers.
const NAMES: &str = "acl.*|Hccl.*|ACL_.*|HCCL_.*|.*_MAX_LENGTH";
/// What is committed.
const BASELINE: &str = "xtask/ascend/abi-baseline.toml";

/// A declaration of the tables.
#[derive(Debug, Clone)]
struct Entry {
    provider: Provider,
    name: &'static str,
    function: Function,
}

impl From<&Symbol> for Entry {
    fn from(symbol: &Symbol) -> Self {
        let params = symbol.signature.params.iter();
        let params = params.map(|param| (param.name.to_owned(), param.of.to_string()));
        Self {
            provider: symbol.provider,
            name: symbol.name,
            function: Function {
                params: params.collect(),
                result: symbol.signature.result.to_string(),
            },
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Default)]
struct Report {
    /// Names that equal their headers, by what kind of thing they are.
    verified: BTreeMap<String, usize>,
    /// Names without a header, by kind.
    unverified: BTreeMap<String, Vec<String>>,
    /// What differs, and how.
    mismatches: Vec<String>,
    /// Differences that no call depends on: constness, names of parameters.
    warnings: Vec<String>,
}

/// Headers by the provider whose functions they declare.
struct Sources {
    cann: Headers,
    vllm_ascend: Headers,
    /// Whether the headers of an installed toolkit are among them.
    is_installed: bool,
}

impl Sources {
    /// What a header says of an entry, if one of its provider's does.
    fn header(&self, entry: &Entry) -> Option<&Function> {
        let headers = match entry.provider {
            VLLM_ASCEND_0_23_0 => &self.vllm_ascend,
            _ => &self.cann,
        };
        let header = headers.functions.get(entry.name);
        header.filter(|_| entry.provider.has_headers)
    }
}

/// Reads the headers, compares, and checks that planted mistakes are found.
pub(crate) fn check(root: &Path, wheels: &Wheels) -> Result<Vec<Committed>> {
    let sources = read(root, wheels)?;
    let entries: Vec<Entry> = abi::symbols().map(Entry::from).collect();
    let report = compare(&entries, &sources);
    let found = compare(&planted(&entries, &sources), &sources)
        .mismatches
        .len();
    ensure!(
        found == report.mismatches.len() + PLANTED,
        "{found} mismatches with {PLANTED} planted"
    );
    report.show();
    ensure!(
        report.mismatches.is_empty(),
        "{} mismatches",
        report.mismatches.len()
    );
    if sources.is_installed {
        eprintln!("{BASELINE}: not compared, an installed toolkit was read, too");
        return Ok(Vec::new());
    }
    let text = report.baseline();
    Ok(vec![Committed {
        path: BASELINE,
        text,
    }])
}

fn read(root: &Path, wheels: &Wheels) -> Result<Sources> {
    let shims = root.join("xtask/ascend/shims");
    let mut folders: Vec<_> = wheels.includes().into();
    let mut includes = vec!["acl/acl.h".to_owned(), "hccl/hccl.h".to_owned()];
    let installed =
        std::env::var_os("ASCEND_HOME_PATH").map(|home| Path::new(&home).join("include"));
    let installed = installed.filter(|include| include.join("aclnnop").is_dir());
    if let Some(include) = &installed {
        folders.push(include.clone());
        includes.push("aclnn/acl_meta.h".to_owned());
        includes.push("aclnn/aclnn_base.h".to_owned());
        includes.extend(files(include, "aclnnop")?);
    }
    let cann = headers(&folders, &includes)?;

    let include = wheels.custom_include();
    let mut folders: Vec<_> = wheels.includes().into();
    folders.extend([shims, include.clone()]);
    let vllm_ascend = headers(&folders, &files(&include, "aclnnop")?)?;
    Ok(Sources {
        cann,
        vllm_ascend,
        is_installed: installed.is_some(),
    })
}

/// Reads the files that `includes` name, which are looked for in `folders`.
fn headers(folders: &[PathBuf], includes: &[String]) -> Result<Headers> {
    parsed(&bindings(folders, includes, NAMES)?)
}

/// What bindgen wrote. Structures keep their names, whatever these stand for.
fn parsed(text: &str) -> Result<Headers> {
    let structures = LAYOUTS.iter().map(|layout| layout.name);
    Headers::parse(text, structures.chain(OPAQUE.iter().copied()))
}

fn compare(entries: &[Entry], sources: &Sources) -> Report {
    let mut report = Report::default();
    for entry in entries.iter().filter(|entry| entry.provider != EMULATOR) {
        let kind = kind(entry.provider);
        match sources.header(entry) {
            None => report.unverified(&kind, entry.name),
            Some(header) => match difference(&entry.function, header) {
                Difference::None => report.verified(&kind),
                Difference::Minor(what) => {
                    report.verified(&kind);
                    report
                        .warnings
                        .push(format!("{kind}: {}: {what}", entry.name));
                }
                Difference::Major(what) => {
                    report
                        .mismatches
                        .push(format!("{kind}: {}: {what}", entry.name));
                }
            },
        }
    }
    compare_types(&sources.cann, &mut report);
    report
}

/// How an entry of a provider is called in reports.
fn kind(provider: Provider) -> String {
    let mut kind = format!("functions of {} {}", provider.name, provider.version);
    kind.truncate(kind.trim_end().len());
    kind
}

/// Structures, enumerations, constants and codes against the headers of CANN.
fn compare_types(headers: &Headers, report: &mut Report) {
    for layout in LAYOUTS {
        let mut facts = vec![
            ("size".to_owned(), layout.size, headers.size(layout.name)),
            (
                "alignment".to_owned(),
                layout.align,
                headers.alignment(layout.name),
            ),
        ];
        facts.extend(layout.fields.iter().map(|(field, offset)| {
            (
                format!("offset of {field}"),
                *offset,
                headers.offset(layout.name, field),
            )
        }));
        for (what, ours, theirs) in facts {
            let name = format!("{}: {what}", layout.name);
            report.number(
                "facts of structures",
                &name,
                ours as i128,
                theirs.map(|n| n as i128),
            );
        }
    }
    for enumeration in ENUMERATIONS {
        let theirs = headers.alias(enumeration.name);
        let ours = enumeration.of.to_string();
        match theirs {
            None => report.unverified("enumerations", enumeration.name),
            Some(theirs) if theirs == ours => report.verified("enumerations"),
            Some(theirs) => report
                .mismatches
                .push(format!("{}: {ours}, {theirs}", enumeration.name)),
        }
        for (name, value) in enumeration.values {
            let theirs = headers.values.get(*name).copied();
            report.number("values of enumerations", name, i128::from(*value), theirs);
        }
    }
    for (name, value) in CONSTANTS {
        let theirs = headers.values.get(*name).copied();
        report.number("constants", name, i128::from(*value), theirs);
    }
    for status in STATUSES {
        let theirs = headers.values.get(status.name).copied();
        report.number("codes", status.name, i128::from(status.code), theirs);
    }
}

impl Report {
    fn verified(&mut self, kind: &str) {
        *self.verified.entry(kind.to_owned()).or_default() += 1;
    }

    fn unverified(&mut self, kind: &str, name: &str) {
        self.unverified
            .entry(kind.to_owned())
            .or_default()
            .push(name.to_owned());
    }

    fn number(&mut self, kind: &str, name: &str, ours: i128, theirs: Option<i128>) {
        match theirs {
            None => self.unverified(kind, name),
            Some(theirs) if theirs == ours => self.verified(kind),
            Some(theirs) => {
                let text = format!("{kind}: {name}: {ours}, {theirs} in the header");
                self.mismatches.push(text);
            }
        }
    }

    /// Every kind, with how many of it are verified and how many are not.
    fn counts(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (kind, count) in &self.verified {
            counts.entry(kind).or_default().0 = *count;
        }
        for (kind, names) in &self.unverified {
            counts.entry(kind).or_default().1 = names.len();
        }
        counts
    }

    fn show(&self) {
        for (kind, (verified, unverified)) in self.counts() {
            eprintln!("{kind}: {verified} ABI-verified, {unverified} without a header");
        }
        for warning in &self.warnings {
            eprintln!("warning: {warning}");
        }
        for mismatch in &self.mismatches {
            eprintln!("mismatch: {mismatch}");
        }
        let total = |pick: fn((usize, usize)) -> usize| -> usize {
            self.counts().into_values().map(pick).sum()
        };
        eprintln!(
            "{} ABI-verified, {} unverified, {} mismatches, {} warnings",
            total(|counts| counts.0),
            total(|counts| counts.1),
            self.mismatches.len(),
            self.warnings.len()
        );
    }

    /// What is committed: what is verified can only change on purpose.
    fn baseline(&self) -> String {
        let mut text = "# What published headers verify of the tables, and what has no header.\n\
                        # Made by `cargo xtask ascend-abi-check --write`.\n"
            .to_owned();
        for (kind, (verified, unverified)) in self.counts() {
            let _ = writeln!(text, "\n[\"{kind}\"]\nverified = {verified}");
            if unverified == 0 {
                continue;
            }
            text.push_str("unverified = [\n");
            for name in self.unverified.get(kind).into_iter().flatten() {
                let _ = writeln!(text, "    \"{name}\",");
            }
            text.push_str("]\n");
        }
        if !self.warnings.is_empty() {
            text.push_str("\n[warnings]\nall = [\n");
            for warning in &self.warnings {
                let _ = writeln!(text, "    \"{warning}\",");
            }
            text.push_str("]\n");
        }
        text
    }
}

/// Mistakes that are planted to see that they are found.
const PLANTED: usize = 3;

/// The table with a parameter of another width, one that is dropped, and two that are swapped.
fn planted(entries: &[Entry], sources: &Sources) -> Vec<Entry> {
    let mut entries = entries.to_vec();
    let mut wrong: BTreeSet<&str> = BTreeSet::new();
    let mut plant = |fits: &dyn Fn(&Function) -> Option<usize>,
                     change: &dyn Fn(&mut Function, usize)| {
        for entry in &mut entries {
            let header = sources.header(entry);
            let is_sound = header.is_some_and(|header| *header == entry.function);
            if !is_sound || wrong.contains(entry.name) {
                continue;
            }
            if let Some(at) = fits(&entry.function) {
                change(&mut entry.function, at);
                wrong.insert(entry.name);
                return;
            }
        }
    };
    // Two numbers side by side of one type: only their names tell them apart.
    let pair = |function: &Function| {
        let mut types = function.params.windows(2);
        types.position(|pair| pair[0].1 == "f64" && pair[1].1 == "f64")
    };
    plant(&pair, &|function, at| function.params.swap(at, at + 1));
    let wide = |function: &Function| {
        let mut types = function.params.iter();
        types.position(|(_, of)| matches!(of.as_str(), "i64" | "u64" | "usize"))
    };
    plant(&wide, &|function, at| {
        function.params[at].1 = "i32".to_owned();
    });
    let several = |function: &Function| (function.params.len() > 1).then_some(0);
    plant(&several, &|function, at| drop(function.params.remove(at)));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table's entries that the small headers declare.
    fn small() -> (Vec<Entry>, Sources) {
        let cann = parsed(xtask_headers::EXAMPLE).expect("bindings");
        let vllm_ascend = parsed(xtask_headers::EXAMPLE).expect("bindings");
        let sources = Sources {
            cann,
            vllm_ascend,
            is_installed: false,
        };
        let entries = abi::symbols().map(Entry::from);
        let entries = entries.filter(|entry| sources.header(entry).is_some());
        let entries = entries.collect();
        (entries, sources)
    }

    #[test]
    fn what_equals_its_header_is_verified() {
        let (entries, sources) = small();
        assert_eq!(entries.len(), 3);
        let report = compare(&entries, &sources);
        assert!(report.mismatches.is_empty(), "{:?}", report.mismatches);
        assert_eq!(report.verified["functions of cann"], 2);
        assert_eq!(report.verified["functions of vllm_ascend 0.23.0"], 1);
    }

    #[test]
    fn planted_mistakes_are_found() {
        let (entries, sources) = small();
        let report = compare(&planted(&entries, &sources), &sources);
        assert_eq!(report.mismatches.len(), PLANTED, "{:?}", report.mismatches);
    }

    #[track_caller]
    fn check(change: impl Fn(&mut Function), want: &str) {
        let (entries, sources) = small();
        let entry = entries
            .iter()
            .find(|entry| entry.name == "aclnnHcPreGetWorkspaceSize");
        let mut entry = entry.expect("an operator").clone();
        change(&mut entry.function);
        let report = compare(&[entry], &sources);
        let found = [report.mismatches, report.warnings].concat();
        assert!(
            matches!(&found[..], [text] if text.contains(want)),
            "{found:?}"
        );
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        check(
            |f| f.params[4].1 = "i32".to_owned(),
            "hcMult: i32, hcMult: i64 in the header",
        );
        check(
            |f| drop(f.params.remove(3)),
            "12 parameters, 13 in the header",
        );
        check(|f| f.params.swap(6, 7), "normEps, hcEps");
        check(
            |f| f.result = "i64".to_owned(),
            "returns i64, i32 in the header",
        );
        check(|f| f.params[0].0 = "y".to_owned(), "y is x in the header");
        let mutable = "*mut aclTensor".to_owned();
        check(
            |f| f.params[0].1.clone_from(&mutable),
            "x: *mut aclTensor, *const aclTensor",
        );
    }

    #[test]
    fn what_has_no_header_is_counted_as_such() {
        let (_, sources) = small();
        let entries: Vec<Entry> = abi::symbols().map(Entry::from).collect();
        let report = compare(&entries, &sources);
        let unverified = &report.unverified["functions of vllm_ascend 0.30.0rc2"];
        assert_eq!(
            unverified.len(),
            22,
            "never, whatever another version declares"
        );
        let text = report.baseline();
        assert!(
            text.contains("[\"functions of cann\"]\nverified = 2\n"),
            "{text}"
        );
    }

    #[test]
    fn a_number_that_differs_is_a_mismatch() {
        let mut report = Report::default();
        report.number("codes", "A", 1, Some(1));
        report.number("codes", "B", 1, Some(2));
        report.number("codes", "C", 1, None);
        assert_eq!(report.counts()["codes"], (1, 1));
        assert_eq!(report.mismatches, ["codes: B: 1, 2 in the header"]);
    }
}
