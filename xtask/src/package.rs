//! Packages every crate that is published and compiles each from its package alone, under its own name
//! or under another.

mod prefix;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Error, Result};
use serde_json::Value;
use toml_edit::{Array, DocumentMut, Item, Table, value};

use self::prefix::{Ours, Prefix};
use crate::shell::{self, cargo};

/// Where packages are made and unpacked, below `target/`.
const PACKAGED: &str = "packaged";
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
    version: String,
    manifest: PathBuf,
    library: Option<String>,
    is_published: bool,
}

impl Member {
    /// The folder that its package unpacks to.
    fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.prefix {
        None => package(&shell::root()),
        Some(prefix) => prefixed(prefix),
    }
}

/// What the tests run: the packages are compiled under other names, so that nothing can mean a crate by
/// the name of its package. Under their own names they hold the same files.
pub(crate) fn under_other_names() -> Result<()> {
    prefixed(&Prefix::parse("other").map_err(Error::msg)?)
}

/// Writes the workspace under other names, and packages it.
fn prefixed(prefix: &Prefix) -> Result<()> {
    let root = shell::root();
    let copy = root.join("target").join(PREFIXED).join(prefix.to_string());
    remove(&copy)?;
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
        version: text(&package["version"]).context("no version")?,
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

/// Packages what is published of the workspace at `root`, and compiles each package with nothing but what
/// packages hold, as those who use it will: with its own features, and not with those that another asks for.
///
/// cargo would do it itself, but builds where it could check, and builds everything that ours stand on
/// once more. It also takes a version for immutable, so that it knows a package by its name from the last time.
fn package(root: &Path) -> Result<()> {
    let target = shell::root().join("target");
    let folder = target.join(PACKAGED);
    remove(&folder)?;
    let (published, others): (Vec<_>, Vec<_>) = members(root)?
        .into_iter()
        .partition(|member| member.is_published);
    let mut package = cargo();
    package.args([
        "package",
        "--workspace",
        "--locked",
        "--allow-dirty",
        "--no-verify",
    ]);
    for member in &others {
        package.args(["--exclude", &member.name]);
    }
    package.arg("--manifest-path").arg(root.join("Cargo.toml"));
    shell::run(package.arg("--target-dir").arg(&folder))?;
    for member in &published {
        let package = format!("package/{}.crate", member.folder());
        // With the time of now: cargo would take the one in a package for old, whatever is in it.
        let mut unpack = Command::new("tar");
        shell::run_in(&folder, unpack.args(["-x", "-z", "-m", "-f", &package]))?;
    }
    let manifest = folder.join("Cargo.toml");
    put(
        &manifest,
        &alone(&read(&root.join("Cargo.toml"))?, &published)?,
    )?;
    put(&folder.join("Cargo.lock"), &read(&root.join("Cargo.lock"))?)?;
    for member in &published {
        let mut check = cargo();
        check.args(["check", "--package", &member.name]);
        check.arg("--manifest-path").arg(&manifest);
        // What ours stand on was compiled there for the other checks.
        shell::run(check.arg("--target-dir").arg(&target))?;
    }
    remove(&folder)
}

/// The manifest of a workspace of unpacked packages, which find each other as if the registry had them, with
/// the profile of the workspace that they are from.
fn alone(manifest: &str, packages: &[Member]) -> Result<String> {
    let from: DocumentMut = manifest.parse()?;
    let mut alone = DocumentMut::new();
    let mut workspace = Table::new();
    workspace.insert("resolver", from["workspace"]["resolver"].clone());
    workspace.insert(
        "members",
        value(Array::from_iter(packages.iter().map(Member::folder))),
    );
    alone.insert("workspace", Item::Table(workspace));
    let mut dev = from["profile"]["dev"].clone();
    if let Some(named) = dev.get_mut("package").and_then(Item::as_table_mut) {
        named.retain(|name, _| name == "*");
    }
    alone["profile"]["dev"] = dev;
    for package in packages {
        alone["patch"]["crates-io"][&package.name]["path"] = value(package.folder());
    }
    Ok(alone.to_string())
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| folder.display().to_string())
        }
        _ => Ok(()),
    }
}
