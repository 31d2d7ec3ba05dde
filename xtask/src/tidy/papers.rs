//! Rules on what is written for readers: papers, links, features.

use std::collections::BTreeSet;

use super::Findings;
use super::house::House;
use crate::devices::{self, Sources};

/// What a reader of any repository looks for.
const PAPERS: [&str; 10] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "NOTICE",
    "README.md",
    "SECURITY.md",
    "deny.toml",
    ".github/workflows/ci.yml",
];

/// The papers are there.
pub(super) fn papers_are_there(house: &House, found: &mut Findings) {
    found.extend(
        PAPERS
            .iter()
            .filter(|path| !house.has(path))
            .map(|path| format!("{path}: missing")),
    );
}

/// Where the pages about models lie that code cites by section.
const MODELS: &str = "docs/models/";

/// A link within the repository leads to a file, and to a heading of it where it names one.
pub(super) fn links_lead_somewhere(house: &House, found: &mut Findings) {
    for (path, text) in house.texts(".md") {
        for (number, line) in prose(text) {
            for target in targets(line) {
                let (file, heading) = target.split_once('#').unwrap_or((target, ""));
                let file = if file.is_empty() {
                    Some(path.to_owned())
                } else {
                    resolve(path, file)
                };
                let Some(file) = file.filter(|file| house.has(file)) else {
                    found.push(format!("{path}:{number}: {target} leads nowhere"));
                    continue;
                };
                let mut headings = prose(house.text(&file)).filter_map(|(_, line)| anchor(line));
                if !heading.is_empty() && !headings.any(|anchor| anchor == heading) {
                    found.push(format!("{path}:{number}: {file} has no heading #{heading}"));
                }
            }
        }
    }
}

/// The numbered lines outside fenced blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

/// The relative targets of a line's links.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'));
    links
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://"))
}

/// `target` as seen from the folder of `from`; nothing if it leaves the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop()?;
            }
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// How a heading is linked to: in lower case, hyphens for blanks, without punctuation.
fn anchor(line: &str) -> Option<String> {
    let heading = line
        .trim_start_matches('#')
        .strip_prefix(' ')
        .filter(|_| line.starts_with('#'))?;
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    Some(kept.collect::<String>().to_lowercase().replace(' ', "-"))
}

/// A section that code cites is one of the last page under `docs/models` that was named before it in the
/// same file, and that page has it. A page is named with its folder, so that a reader finds it.
pub(super) fn cited_sections_are_there(house: &House, found: &mut Findings) {
    let pages: Vec<&str> = house
        .texts(".md")
        .filter_map(|(path, _)| path.strip_prefix(MODELS))
        .collect();
    let sources = house.texts(".rs").chain(house.texts(".py"));
    // What the rules cite of made-up pages in their own tests is no citation.
    for (path, text) in sources.filter(|(path, _)| !path.starts_with("xtask/src/tidy")) {
        let mut page = None;
        for (index, line) in text.lines().enumerate() {
            for name in pages.iter().filter(|name| is_bare(line, name)) {
                let number = index + 1;
                found.push(format!("{path}:{number}: {name} is {MODELS}{name}"));
            }
            let mut rest = line;
            while let Some((before, after)) = rest.split_once('§') {
                page = last_named(before, &pages).or(page);
                rest = after;
                let section = after.split(|c: char| !c.is_ascii_digit() && c != '.');
                let section = section.map(|text| text.trim_end_matches('.')).next();
                let Some(section) = section.filter(|section| !section.is_empty()) else {
                    continue;
                };
                let number = index + 1;
                match page {
                    None => found.push(format!("{path}:{number}: §{section} of which page?")),
                    Some(name) if has_section(house.text(&format!("{MODELS}{name}")), section) => {}
                    Some(name) => {
                        found.push(format!("{path}:{number}: {MODELS}{name} has no §{section}"));
                    }
                }
            }
            page = last_named(rest, &pages).or(page);
        }
    }
}

/// Whether a text names a page without its folder.
fn is_bare(text: &str, page: &str) -> bool {
    let full = format!("{MODELS}{page}");
    text.matches(page).count() > text.matches(full.as_str()).count()
}

/// The page that a text names last.
fn last_named<'a>(text: &str, pages: &[&'a str]) -> Option<&'a str> {
    let places = pages.iter().map(|page| (text.rfind(page), *page));
    let last = places.max().filter(|(place, _)| place.is_some());
    last.map(|(_, page)| page)
}

/// Whether a page has a heading with this number, `3.7` or `3`.
fn has_section(page: &str, section: &str) -> bool {
    prose(page).any(|(_, line)| {
        let heading = line.trim_start_matches('#');
        let number = heading.trim_start().split(' ').next().unwrap_or("");
        heading.len() < line.len() && number.trim_end_matches('.') == section
    })
}

/// Every feature of a manifest is in its crate's README or in the top one, and the other way round.
pub(super) fn features_are_written_down(house: &House, found: &mut Findings) {
    let packages = house.packages();
    let features = |dir: &str| -> BTreeSet<&str> {
        let packages = packages
            .iter()
            .filter(|package| dir.is_empty() || package.dir == dir);
        packages
            .flat_map(|package| package.keys("features"))
            .collect()
    };
    for package in &packages {
        let readmes = [
            house.text(&package.file("README.md")),
            house.text("README.md"),
        ];
        for feature in package
            .keys("features")
            .filter(|feature| *feature != "default")
        {
            if !readmes.iter().any(|readme| named(readme).contains(feature)) {
                let manifest = package.file("Cargo.toml");
                found.push(format!("{manifest}: no README names the feature {feature}"));
            }
        }
    }
    for (path, text) in house.texts("README.md") {
        let known = features(path.trim_end_matches("README.md").trim_end_matches('/'));
        for name in named(text).difference(&known) {
            found.push(format!("{path}: no manifest has the feature {name}"));
        }
    }
}

/// The table of devices in the README is what its command makes of the reports that are committed.
pub(super) fn devices_are_as_their_reports_say(house: &House, found: &mut Findings) {
    let reports = || {
        house
            .texts(".json")
            .filter(|(path, _)| devices::is_report(path))
    };
    if reports().next().is_none() {
        return;
    }
    let readme = house.text("README.md");
    match Sources::of(reports(), |path| house.text(path)).written(readme) {
        Ok(written) if written == readme => {}
        Ok(_) => {
            found.push("README.md: the table of devices is stale: cargo xtask devices".to_owned());
        }
        Err(error) => found.push(format!("{error:#}")),
    }
}

/// The names after "feature" or "features", in backticks, and after `--features`.
fn named(text: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for part in text.split("--features ").skip(1) {
        let list = part
            .split(|c: char| c.is_whitespace() || c == '`')
            .next()
            .unwrap_or("");
        names.extend(list.split(',').filter(|name| !name.is_empty()));
    }
    let lists = ["eature `", "eatures `"]
        .into_iter()
        .flat_map(|word| text.split(word).skip(1));
    for list in lists {
        // A list goes on as long as only commas and "and" stand between the backticks.
        let mut pieces = list.split('`');
        while let Some(name) = pieces.next() {
            names.insert(name);
            if !matches!(pieces.next(), Some(", " | " and " | " or ")) {
                break;
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::tests::check;

    #[test]
    fn a_missing_paper_is_found() {
        let files = PAPERS.map(|path| (path, ""));
        check(papers_are_there, &files, &[]);
        for (index, path) in PAPERS.iter().enumerate() {
            let files: Vec<_> = PAPERS
                .iter()
                .filter(|other| *other != path)
                .map(|p| (*p, ""))
                .collect();
            assert_eq!(files.len() + 1, PAPERS.len(), "{index}");
            check(papers_are_there, &files, &[path]);
        }
    }

    #[test]
    fn a_dead_link_is_found() {
        let rule = links_lead_somewhere;
        let live = "[a](b/c.md), [d](./b/), [e](https://f.g/h), [i](b/c.md#two-words-1)\n```\n[x](y)\n```\n";
        let c = ("b/c.md", "# Two `words`, 1\n[up](../README.md)\n");
        check(rule, &[("README.md", live), c], &[]);
        check(
            rule,
            &[("README.md", "\n[a](b.md)\n")],
            &["README.md:2: b.md leads nowhere"],
        );
        check(
            rule,
            &[("README.md", "[a](../b.md)\n")],
            &["README.md:1: ../b.md leads nowhere"],
        );
        check(
            rule,
            &[("README.md", "[a](b/c.md#three)\n"), c],
            &["README.md:1: b/c.md has no heading #three"],
        );
        check(
            rule,
            &[("README.md", "# One\n[a](#one) [b](#two)\n")],
            &["README.md:2: README.md has no heading #two"],
        );
    }

    #[test]
    fn a_citation_of_a_section_that_is_not_there_is_found() {
        let rule = cited_sections_are_there;
        let page = ("docs/models/m.md", "# M\n\n## 3. Pass\n\n### 3.7 Experts\n");
        let other = ("docs/models/n.md", "# N\n\n## 5. Else\n");
        let source = |text| ("crates/a/src/a.rs", text);
        let good =
            "//! As `docs/models/m.md` §3.7, §3 and\n//! docs/models/n.md §5. See §5, item 1\n";
        check(rule, &[page, other, source(good)], &[]);
        let none = "//! A § alone, then §3.7 of something\n";
        let want = ["crates/a/src/a.rs:1: §3.7 of which page?"];
        check(rule, &[page, other, source(none)], &want);
        let gone = "//! `docs/models/m.md` §3.8\n//! `docs/models/n.md`\n// §3.7, and `docs/models/m.md` §3.\n";
        let want = [
            "crates/a/src/a.rs:1: docs/models/m.md has no §3.8",
            "crates/a/src/a.rs:3: docs/models/n.md has no §3.7",
        ];
        check(rule, &[page, other, source(gone)], &want);
        let bare = "//! As docs/models/n.md and `m.md` §3.7\n";
        let want = ["crates/a/src/a.rs:1: m.md is docs/models/m.md"];
        check(rule, &[page, other, source(bare)], &want);
    }

    #[test]
    fn a_table_of_devices_that_is_not_the_reports_is_found() {
        let rule = devices_are_as_their_reports_say;
        let at = "docs/emulator-reports/a.json";
        check(rule, &[("README.md", ""), ("docs/a.json", "{}")], &[]);
        check(rule, &[("README.md", ""), (at, "{}")], &["README.md: no "]);
        let text =
            "<!-- Written by `cargo xtask devices`. -->\nold\n<!-- End of what is written. -->\n";
        let none = [("README.md", text), (at, "{}")];
        check(
            rule,
            &none,
            &["docs/emulator-reports/a.json: a report of form None"],
        );
        let report = r#"{"report": 2, "program": "1", "is_emulated": true, "failed": [],
            "chip": {"name": "C-EMU", "about": "C", "software": "S"}, "operations": [{"results": 1}]}"#;
        let stale = [("README.md", text), (at, report)];
        check(rule, &stale, &["README.md: the table of devices is stale"]);
    }

    #[test]
    fn a_feature_that_nobody_wrote_down_is_found() {
        let rule = features_are_written_down;
        let manifest = (
            "crates/a/Cargo.toml",
            "[package]\nname = \"a\"\n[features]\ndefault = []\ncuda = []\nmetal = []\n",
        );
        check(
            rule,
            &[
                manifest,
                ("crates/a/README.md", "The features `cuda` and `metal`.\n"),
            ],
            &[],
        );
        check(
            rule,
            &[
                manifest,
                ("README.md", "Run with `--features cuda,metal`.\n"),
            ],
            &[],
        );
        check(
            rule,
            &[
                manifest,
                ("crates/a/README.md", "The feature `cuda` and `more`.\n"),
            ],
            &[
                "crates/a/Cargo.toml: no README names the feature metal",
                "crates/a/README.md: no manifest has the feature more",
            ],
        );
        check(
            rule,
            &[("README.md", "Needs `--features video`.\n")],
            &["README.md: no manifest has the feature video"],
        );
    }
}
