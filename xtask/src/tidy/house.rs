//! The repository as the rules see it: paths, texts, and the little of a manifest that they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};

/// Folders that are made, not written.
const SKIPPED: [&str; 5] = [".git", "target", "corpus", "artifacts", "__pycache__"];
/// How names of files end whose text the rules read.
const TEXTS: [&str; 7] = ["rs", "md", "toml", "lock", "yml", "py", "sh"];

/// Files by their path from the root, with `/` between the parts.
#[derive(Debug, Default)]
pub(super) struct House {
    paths: BTreeSet<String>,
    texts: BTreeMap<String, String>,
}

/// A package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    /// Its name.
    pub(super) name: String,
    /// Its folder.
    pub(super) dir: String,
    sections: BTreeMap<String, Vec<String>>,
}

impl House {
    /// Reads what stands below `root`.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut house = Self::default();
        house.enter(root, "")?;
        Ok(house)
    }

    fn enter(&mut self, folder: &Path, at: &str) -> Result<()> {
        let entries = folder
            .read_dir()
            .with_context(|| folder.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{at}{name}");
            if !entry.file_type()?.is_dir() {
                if is_text(&path) {
                    let text = std::fs::read_to_string(entry.path());
                    self.texts
                        .insert(path.clone(), text.with_context(|| path.clone())?);
                }
                self.paths.insert(path);
            } else if !SKIPPED.contains(&name.as_str()) {
                self.enter(&entry.path(), &format!("{path}/"))?;
                self.paths.insert(path);
            }
        }
        Ok(())
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// A text; empty if there is none.
    pub(super) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// The texts whose paths end so; all with an empty ending.
    pub(super) fn texts(&self, ending: &str) -> impl Iterator<Item = (&str, &str)> {
        let texts = self
            .texts
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()));
        texts.filter(move |(path, _)| path.ends_with(ending))
    }

    /// The packages of the workspace, but for the fuzz targets, which stand outside of the house.
    pub(super) fn packages(&self) -> Vec<Package> {
        self.texts("/Cargo.toml")
            .filter(|(path, _)| !path.starts_with("fuzz/"))
            .map(|(path, text)| {
                let sections = sections(text);
                let dir = path.trim_end_matches("/Cargo.toml").to_owned();
                let lines = sections.get("package").map_or(&[][..], Vec::as_slice);
                let name = lines.iter().find_map(|line| line.strip_prefix("name = "));
                let name = name.unwrap_or("").trim_matches('"').to_owned();
                Package {
                    name,
                    dir,
                    sections,
                }
            })
            .collect()
    }
}

impl Package {
    /// Whether it is meant for others, rather than for the work on this repository.
    pub(super) fn is_crate(&self) -> bool {
        self.dir.starts_with("crates/") || self.dir == "assets"
    }

    /// A file of it.
    pub(super) fn file(&self, path: &str) -> String {
        format!("{}/{path}", self.dir)
    }

    /// The lines of a section of its manifest.
    pub(super) fn section(&self, name: &str) -> Option<&[String]> {
        self.sections.get(name).map(Vec::as_slice)
    }

    /// The names that a section gives values to.
    pub(super) fn keys(&self, section: &str) -> impl Iterator<Item = &str> {
        self.section(section)
            .unwrap_or_default()
            .iter()
            .filter_map(|line| key(line))
    }

    /// What its code stands on when it is used, on any system.
    pub(super) fn dependencies(&self) -> BTreeSet<&str> {
        let sections = self.sections.keys().map(String::as_str);
        let sections = sections
            .filter(|section| *section == "dependencies" || section.ends_with(".dependencies"));
        sections.flat_map(|section| self.keys(section)).collect()
    }
}

/// What of a line is code.
pub(super) fn code(line: &str) -> &str {
    match line.split_once("//") {
        Some((code, _)) if !code.ends_with(':') => code,
        _ => line,
    }
}

fn is_text(path: &str) -> bool {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_report = ending == "json" && path.starts_with("docs/");
    TEXTS.contains(&ending) || is_report || path.starts_with(".ci/")
}

/// The lines of a manifest by section, without comments and blank lines.
fn sections(manifest: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections = BTreeMap::<String, Vec<String>>::new();
    let mut section = String::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            section = name.trim_matches(['[', ']']).to_owned();
            sections.entry(section.clone()).or_default();
        } else if !line.is_empty() && !line.starts_with('#') {
            sections
                .entry(section.clone())
                .or_default()
                .push(line.to_owned());
        }
    }
    sections
}

/// The name before the first dot or equals sign.
fn key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(['.', '='])?;
    let key = key.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (!key.is_empty() && key.chars().all(is_name)).then_some(key)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tidy::Findings;

    /// A house of these files.
    pub(in crate::tidy) fn house(files: &[(&str, &str)]) -> House {
        let mut house = House::default();
        for (path, text) in files {
            house.texts.insert((*path).to_owned(), (*text).to_owned());
            let mut at = Some(*path);
            while let Some(path) = at {
                house.paths.insert(path.to_owned());
                at = path.rsplit_once('/').map(|(folder, _)| folder);
            }
        }
        house
    }

    /// What a rule finds in a house of these files must be this, finding by finding: each is given
    /// by its beginning.
    #[track_caller]
    pub(in crate::tidy) fn check(
        rule: fn(&House, &mut Findings),
        files: &[(&str, &str)],
        want: &[&str],
    ) {
        let mut found = Findings::new();
        rule(&house(files), &mut found);
        let agree = found.len() == want.len()
            && found
                .iter()
                .zip(want)
                .all(|(found, want)| found.starts_with(want));
        assert!(agree, "found {found:#?}, want {want:#?}");
    }

    #[test]
    fn a_manifest_gives_its_names() {
        let manifest = "[package]\nname = \"a\"\n\n[dependencies]\nb.workspace = true\n\
            # c.workspace = true\nd = { version = \"1\", features = [\n    \"e\",\n] }\n\
            [target.'cfg(unix)'.dependencies]\nf = \"1\"\n[dev-dependencies]\ng = \"1\"\n";
        let house = house(&[
            ("crates/a/Cargo.toml", manifest),
            ("fuzz/Cargo.toml", manifest),
        ]);
        let packages = house.packages();
        assert_eq!(packages.len(), 1);
        assert_eq!(
            (packages[0].name.as_str(), packages[0].dir.as_str()),
            ("a", "crates/a")
        );
        assert_eq!(packages[0].dependencies(), ["b", "d", "f"].into());
    }

    #[test]
    fn a_comment_is_not_code() {
        assert_eq!(code("let x = 1; // one"), "let x = 1; ");
        assert_eq!(code("/// A doc."), "");
        assert_eq!(code("let u = \"https://a.b\";"), "let u = \"https://a.b\";");
    }
}
