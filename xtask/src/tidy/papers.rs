//! Rules on what is written for readers: papers, links, features.

use std::collections::BTreeSet;

use super::Findings;
use super::house::House;

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
