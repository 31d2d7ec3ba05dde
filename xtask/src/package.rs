//! Packages every crate that is published and builds each from its package alone, under its own name
//! or under another.

mod prefix;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result};
use serde_json::Value;

use self::prefix::{Ours, Prefix};
use crate::shell::{self, cargo};

/// How the names of our target folders begin, below `target/`.
const FOLDER: &str = "package-";
/// Where the workspace stands under other names, below `target/`.
const PREFIXED: &str = "prefixed";
/// What a copy of the workspace does without.
const LEFT: [&str; 3] = [".git", "__pycache__", "target"];

/// Under which names.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write the workspace to target/prefixed/NAME with NAME- before the name of each published
    /// crate, and package that. The libraries and the program keep their names.
    #[arg(long, value_name = "NAME", value_parser = Prefix::parse)]
    prefix: Option<Prefix>,
}

/// A package of the workspace.
#[derive(Debug)]
struct Member {
    name: String,
    manifest: PathBuf,
    library: Option<String>,
    is_published: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.prefix {
        None => package(&shell::root()),
        Some(prefix) => prefixed(prefix),
    }
}

/// What the tests run: the packages are built under other names, so that nothing can mean a crate by
/// the name of its package. Under their own names they hold the same files.
pub(crate) fn under_other_names() -> Result<()> {
    prefixed(&Prefix::parse("other").map_err(Error::msg)?)
}

/// Writes the workspace under other names, and packages it.
fn prefixed(prefix: &Prefix) -> Result<()> {
    let root = shell::root();
    let copy = root.join("target").join(PREFIXED).join(prefix.to_string());
    if copy.exists() {
        fs::remove_dir_all(&copy).with_context(|| copy.display().to_string())?;
    }
    write(&root, &copy, prefix)?;
    package(&copy)
}

/// Copies the workspace at `root`, its published crates under other names.
fn write(root: &Path, copy: &Path, prefix: &Prefix) -> Result<()> {
    let members = members(root)?;
    let published = members.iter().filter(|member| member.is_published);
    let ours: Ours = published
        .map(|member| (member.name.clone(), member.library.clone()))
        .collect();
    for member in &members {
        let from = member.manifest.parent().context("a manifest in a folder")?;
        let to = copy.join(from.strip_prefix(root)?);
        copy_folder(from, &to)?;
    }
    let manifests = members.iter().map(|member| member.manifest.clone());
    for from in manifests.chain([root.join("Cargo.toml")]) {
        let text = read(&from)?;
        let text = prefix::manifest(&text, prefix, &ours);
        let text = text.with_context(|| from.display().to_string())?;
        put(&copy.join(from.strip_prefix(root)?), &text)?;
    }
    let lock = prefix::lock(&read(&root.join("Cargo.lock"))?, prefix, &ours)?;
    put(&copy.join("Cargo.lock"), &lock)
}

/// The packages of the workspace at `root`.
fn members(root: &Path) -> Result<Vec<Member>> {
    let mut command = cargo();
    command.args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--manifest-path",
    ]);
    let answer = shell::output(command.arg(root.join("Cargo.toml")))?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let packages = answer["packages"].as_array().context("no packages")?;
    packages.iter().map(member).collect()
}

/// A package as `cargo metadata` tells of it.
fn member(package: &Value) -> Result<Member> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let targets = package["targets"].as_array().context("no targets")?;
    let is_library = |target: &&Value| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.contains(&"lib".into()))
    };
    let library = targets.iter().find(is_library);
    Ok(Member {
        name: text(&package["name"]).context("no name")?,
        manifest: text(&package["manifest_path"])
            .context("no manifest")?
            .into(),
        library: library.and_then(|target| text(&target["name"])),
        // A list of the registries that it may go to; none of them is for the work on this
        // repository alone, and may read its other files.
        is_published: package["publish"]
            .as_array()
            .is_none_or(|to| !to.is_empty()),
    })
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if LEFT.iter().any(|name| entry.file_name() == *name) {
            continue;
        } else if entry.file_type()?.is_dir() {
            copy_folder(&path, &to)?;
        } else {
            fs::copy(&path, &to).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

/// Runs `cargo package` on the workspace at `root`.
///
/// cargo takes a version for immutable: what it unpacked and built of a package once, it takes for
/// the package of the same version from then on. It knows them by the place where they were made, so
/// each run makes them in a place of its own, and removes what cargo keeps of it.
fn package(root: &Path) -> Result<()> {
    let target = shell::root().join("target");
    remove_old(&target)?;
    let folder = target.join(format!("{FOLDER}{}", std::process::id()));
    let before = unpacked()?;
    let mut package = cargo();
    package.args(["package", "--workspace", "--locked", "--allow-dirty"]);
    for member in members(root)?.iter().filter(|member| !member.is_published) {
        package.args(["--exclude", &member.name]);
    }
    package.arg("--manifest-path").arg(root.join("Cargo.toml"));
    // What is built here is never run, so nobody needs to find a line of it.
    package.env("CARGO_PROFILE_DEV_DEBUG", "0");
    package.env("CARGO_INCREMENTAL", "0");
    let result = shell::run(package.arg("--target-dir").arg(&folder));
    for path in unpacked()?.difference(&before) {
        fs::remove_dir_all(path).with_context(|| path.display().to_string())?;
    }
    remove_old(&target)?;
    result
}

/// Removes the folders of runs that are over or were stopped.
fn remove_old(target: &Path) -> Result<()> {
    for path in folders(target, FOLDER)? {
        fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Where cargo keeps packages that it unpacked from no registry of a host: their folders have no
/// host in front of the hash.
fn unpacked() -> Result<BTreeSet<PathBuf>> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    match home {
        Some(home) => folders(&home.join("registry/src"), "-"),
        None => Ok(BTreeSet::new()),
    }
}

/// The folders in `at` whose names begin so; none if there is no `at`.
fn folders(at: &Path, begin: &str) -> Result<BTreeSet<PathBuf>> {
    let entries = match at.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(error).with_context(|| at.display().to_string()),
    };
    let mut folders = BTreeSet::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name().to_string_lossy().starts_with(begin) {
            folders.insert(entry.path());
        }
    }
    Ok(folders)
}
