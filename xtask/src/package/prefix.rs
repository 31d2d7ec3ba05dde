//! The workspace under other crate names: manifests and the lock file with a prefix on each of ours.
//!
//! The registry has given some of our names to others, so who publishes puts a name of their own in
//! front: `acme-deepseek-core`. The libraries keep their names, so no line of code changes.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, value};

/// The longest name that the registry takes.
const NAME_BYTES_MAX: usize = 64;
/// The tables of a manifest that name what a package stands on.
const DEPENDENCIES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
/// How each package of a lock file begins.
const LOCKED: &str = "[[package]]\n";

/// What stands in front of each name, without the hyphen between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Prefix {
    /// Reads what was typed: lower-case letters, digits and single hyphens between them, a letter
    /// first.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        if text.is_empty() {
            return Err("empty; a name such as acme is wanted".to_owned());
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err("must begin with a lower-case letter".to_owned());
        }
        if !text.split('-').all(is_part) {
            return Err(
                "lower-case letters, digits and single hyphens between them alone".to_owned(),
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// A package's name with the prefix.
    ///
    /// # Errors
    /// If the registry would not take it for its length.
    pub(super) fn name(&self, name: &str) -> Result<String> {
        let full = format!("{self}-{name}");
        ensure!(
            full.len() <= NAME_BYTES_MAX,
            "{full}: {} characters, {NAME_BYTES_MAX} at most",
            full.len()
        );
        Ok(full)
    }
}

/// Our packages by name, each with the name of its library if it has one.
pub(super) type Ours = BTreeMap<String, Option<String>>;

/// A manifest with the prefix on each name of `ours`: that of the package, and those of its
/// dependencies, whose keys stay. A library keeps its name.
///
/// # Errors
/// If the text is no manifest, or a name becomes too long.
pub(super) fn manifest(text: &str, prefix: &Prefix, ours: &Ours) -> Result<String> {
    let mut manifest: DocumentMut = text.parse()?;
    let root = manifest.as_table_mut();
    rename_package(root, prefix, ours)?;
    rename_dependencies(root, prefix, ours)?;
    if let Some(workspace) = table(root, "workspace") {
        rename_dependencies(workspace, prefix, ours)?;
    }
    if let Some(systems) = table(root, "target") {
        for (_, system) in systems.iter_mut() {
            if let Some(system) = system.as_table_like_mut() {
                rename_dependencies(system, prefix, ours)?;
            }
        }
    }
    Ok(manifest.to_string())
}

fn table<'a>(within: &'a mut dyn TableLike, name: &str) -> Option<&'a mut dyn TableLike> {
    within.get_mut(name)?.as_table_like_mut()
}

fn rename_package(root: &mut Table, prefix: &Prefix, ours: &Ours) -> Result<()> {
    let Some(package) = table(root, "package") else {
        return Ok(());
    };
    let name = package.get("name").and_then(Item::as_str);
    let name = name.context("a package without a name")?.to_owned();
    let Some(library) = ours.get(&name) else {
        return Ok(());
    };
    package.insert("name", value(prefix.name(&name)?));
    if let Some(library) = library {
        let at = root.entry("lib").or_insert_with(toml_edit::table);
        let at = at.as_table_like_mut().context("lib is no table")?;
        at.insert("name", value(library));
    }
    Ok(())
}

/// Names the package behind each key that means one of ours, where the workspace does not do it.
fn rename_dependencies(holder: &mut dyn TableLike, prefix: &Prefix, ours: &Ours) -> Result<()> {
    for kind in DEPENDENCIES {
        let Some(dependencies) = table(holder, kind) else {
            continue;
        };
        for name in ours.keys() {
            let Some(entry) = dependencies.get_mut(name) else {
                continue;
            };
            if let Some(version) = entry.as_str() {
                *entry = value(InlineTable::from_iter([("version", version)]));
            }
            let entry = entry.as_table_like_mut();
            let entry = entry.with_context(|| format!("{kind}.{name} is no dependency"))?;
            if !entry.contains_key("workspace") {
                entry.insert("package", value(prefix.name(name)?));
                entry.fmt();
            }
        }
    }
    Ok(())
}

/// A lock file with the prefix on each name of `ours`, in the order in which cargo writes it.
///
/// # Errors
/// If a name becomes too long.
pub(super) fn lock(text: &str, prefix: &Prefix, ours: &Ours) -> Result<String> {
    let mut blocks = text.split(LOCKED);
    let head = blocks.next().unwrap_or("").to_owned();
    let mut packages = blocks
        .map(|block| locked(block, prefix, ours))
        .collect::<Result<Vec<_>>>()?;
    packages.sort_by(|a, b| name_in(a).cmp(name_in(b)));
    let packages = packages
        .iter()
        .map(|package| format!("{LOCKED}{package}\n"));
    Ok(head + &packages.collect::<Vec<_>>().join("\n"))
}

/// A package of a lock file, without what follows its last line.
fn locked(block: &str, prefix: &Prefix, ours: &Ours) -> Result<String> {
    let rename = |line: &str| -> Result<String> {
        let name = name_in(line);
        let is_name = line.starts_with("name = ") || line.starts_with(" \"");
        if is_name && ours.contains_key(name) {
            return Ok(line.replacen(name, &prefix.name(name)?, 1));
        }
        Ok(line.to_owned())
    };
    let lines = block.trim_end().lines().map(rename);
    let mut lines = lines.collect::<Result<Vec<_>>>()?;
    // What is needed of one name in two versions stays in the order of the versions.
    if let Some(begin) = lines.iter().position(|line| line.starts_with(" \"")) {
        let end = lines.len() - 1;
        lines[begin..end].sort_by(|a, b| name_in(a).cmp(name_in(b)));
    }
    Ok(lines.join("\n"))
}

/// The first word within the first quotation marks.
fn name_in(text: &str) -> &str {
    let quoted = text.split('"').nth(1).unwrap_or("");
    quoted.split(' ').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acme() -> Prefix {
        Prefix::parse("acme").expect("a prefix")
    }

    fn ours() -> Ours {
        let library = |name: &str| (name.to_owned(), Some(name.replace('-', "_")));
        let program = ("deepseek-cli".to_owned(), None);
        [library("deepseek-core"), library("backend-candle"), program].into()
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let found = manifest(text, &acme(), &ours()).expect("a manifest");
        assert_eq!(found, want);
    }

    #[test]
    fn a_package_is_renamed_and_its_library_is_not() {
        check(
            "[package]\nname = \"deepseek-core\"\nversion = \"1.0.0\"\n",
            "[package]\nname = \"acme-deepseek-core\"\nversion = \"1.0.0\"\n\n\
             [lib]\nname = \"deepseek_core\"\n",
        );
        check(
            "[package]\nname = \"deepseek-core\"\n[lib]\npath = \"core.rs\"\n",
            "[package]\nname = \"acme-deepseek-core\"\n[lib]\npath = \"core.rs\"\nname = \"deepseek_core\"\n",
        );
        check(
            "[package]\nname = \"deepseek-cli\"\n\n[[bin]]\nname = \"deepseek\"\n",
            "[package]\nname = \"acme-deepseek-cli\"\n\n[[bin]]\nname = \"deepseek\"\n",
        );
    }

    #[test]
    fn a_package_that_is_not_published_keeps_its_name() {
        let text = "[package]\nname = \"xtask\"\n\n[dependencies]\nclap.workspace = true\n";
        check(text, text);
    }

    #[test]
    fn keys_of_dependencies_stay_so_that_features_mean_the_same() {
        check(
            "[features]\ncuda = [\"backend-candle/cuda\"]\n\n[dependencies]\n\
             backend-candle.workspace = true\ndeepseek-core = { path = \"../core\", version = \"1\" }\n\
             serde = \"1\"\n\n[target.'cfg(unix)'.dev-dependencies]\ndeepseek-core = \"1\"\n",
            "[features]\ncuda = [\"backend-candle/cuda\"]\n\n[dependencies]\n\
             backend-candle.workspace = true\ndeepseek-core = { path = \"../core\", version = \"1\", package = \"acme-deepseek-core\" }\n\
             serde = \"1\"\n\n[target.'cfg(unix)'.dev-dependencies]\ndeepseek-core = { version = \"1\", package = \"acme-deepseek-core\" }\n",
        );
    }

    #[test]
    fn the_workspace_names_the_packages_behind_its_keys() {
        check(
            "[workspace]\nmembers = [\"crates/*\"]\n\n[workspace.dependencies]\n\
             deepseek-core = { path = \"crates/deepseek-core\" }\ndeepseek-recipe = \"0.2.0\"\n",
            "[workspace]\nmembers = [\"crates/*\"]\n\n[workspace.dependencies]\n\
             deepseek-core = { path = \"crates/deepseek-core\", package = \"acme-deepseek-core\" }\ndeepseek-recipe = \"0.2.0\"\n",
        );
    }

    #[test]
    fn what_is_no_manifest_is_an_error() {
        for text in [
            "[package",
            "[package]\n",
            "[dependencies]\ndeepseek-core = 1\n",
        ] {
            assert!(manifest(text, &acme(), &ours()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_lock_file_is_in_order_under_the_new_names() -> Result<()> {
        let text = "# Made by cargo.\nversion = 4\n\n\
            [[package]]\nname = \"adler2\"\nversion = \"2.0.0\"\nsource = \"s\"\n\n\
            [[package]]\nname = \"backend-candle\"\nversion = \"0.1.0\"\ndependencies = [\n \"aho 1.0.0\",\n \"aho 0.9.0\",\n \"deepseek-core\",\n]\n\n\
            [[package]]\nname = \"deepseek-core\"\nversion = \"0.1.0\"\n";
        let want = "# Made by cargo.\nversion = 4\n\n\
            [[package]]\nname = \"acme-backend-candle\"\nversion = \"0.1.0\"\ndependencies = [\n \"acme-deepseek-core\",\n \"aho 1.0.0\",\n \"aho 0.9.0\",\n]\n\n\
            [[package]]\nname = \"acme-deepseek-core\"\nversion = \"0.1.0\"\n\n\
            [[package]]\nname = \"adler2\"\nversion = \"2.0.0\"\nsource = \"s\"\n";
        assert_eq!(lock(text, &acme(), &ours())?, want);
        Ok(())
    }

    #[test]
    fn a_prefix_that_makes_no_name_is_refused_with_the_reason() {
        for good in ["a", "acme", "acme2", "my-own-3"] {
            assert_eq!(
                Prefix::parse(good).map(|prefix| prefix.to_string()),
                Ok(good.to_owned())
            );
        }
        let cases = [
            ("", "empty"),
            ("2a", "must begin"),
            ("-a", "must begin"),
            ("Acme", "must begin"),
            ("a-", "lower-case letters, digits"),
            ("a--b", "lower-case letters, digits"),
            ("a_b", "lower-case letters, digits"),
            ("a/../b", "lower-case letters, digits"),
            ("a b", "lower-case letters, digits"),
            ("aé", "lower-case letters, digits"),
        ];
        for (bad, want) in cases {
            let error = Prefix::parse(bad).expect_err(bad);
            assert!(error.starts_with(want), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_name_is_as_long_as_the_registry_takes_it() {
        let long = Prefix::parse(&"a".repeat(NAME_BYTES_MAX - 5)).expect("a prefix");
        assert!(long.name("core").is_ok());
        let error = long.name("cores").expect_err("one more");
        assert!(
            error.to_string().ends_with("65 characters, 64 at most"),
            "{error}"
        );
    }
}
