//! Faults that are planted into a driver one at a time, each to be caught by a named test.
//!
//! A fault is a line of code with another in its place. The tree is copied under `target`, so that the one at hand
//! is never touched, and built there with a target folder of its own, which is kept: what a run builds once serves
//! the next. `cargo xtask tidy` holds that every fault still has its place and its test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde_json::Value;
use toml_edit::{DocumentMut, Item, TableLike};

use crate::shell::{self, cargo};

/// How long a test may take that takes seconds without a fault: what never ends is caught as well.
const LIMIT: Duration = Duration::from_secs(180);
/// Faults that a driver has at least.
const FAULTS_MIN: usize = 20;
/// Folders that are not part of the tree.
const MADE: [&str; 2] = [".git", "target"];

/// Plant faults into a driver, and see each caught by its test.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose driver.
    vendor: Vendor,
    /// Only the faults whose names have this in them.
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Pass over so many faults, and then plant at most --count.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,
    /// How many faults at most.
    #[arg(long, value_name = "N", default_value_t = usize::MAX, hide_default_value = true)]
    count: usize,
}

/// Whose driver has a list of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Vendor {
    /// The driver over CANN.
    Ascend,
    /// The driver over Neuware.
    Cambricon,
}

impl Vendor {
    /// The list.
    fn file(self) -> &'static str {
        match self {
            Self::Ascend => "xtask/mutants/ascend.toml",
            Self::Cambricon => "xtask/mutants/cambricon.toml",
        }
    }
}

/// A line of code with another in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong with it, in a few words.
    name: String,
    file: String,
    /// A part of a line that stands once in the file.
    find: String,
    replace: String,
    /// The package and the name of the test program.
    suite: [String; 2],
    /// The test that must catch it, with its module.
    test: String,
}

/// What became of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Caught,
    /// The test did not end.
    Hung,
    Survived,
    Unbuilt,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Hung => "caught: it never ended",
            Self::Survived => "SURVIVED",
            Self::Unbuilt => "DID NOT BUILD",
        })
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = shell::root();
    let file = args.vendor.file();
    let faults = read(&fs::read_to_string(root.join(file)).context(file)?).context(file)?;
    let meant = faults
        .iter()
        .filter(|fault| fault.name.contains(&args.only));
    let meant: Vec<_> = meant.skip(args.skip).take(args.count).collect();
    ensure!(
        !meant.is_empty(),
        "{file}: no fault of {} is meant",
        faults.len()
    );
    let tree = Tree::of(&root)?;
    // A test that fails by itself catches nothing.
    let suites: BTreeSet<_> = meant.iter().map(|fault| &fault.suite).collect();
    for suite in suites {
        let program = tree.build(suite)?.context("the tree does not build")?;
        let tests = meant.iter().filter(|fault| fault.suite == *suite);
        for test in tests.map(|fault| &fault.test).collect::<BTreeSet<_>>() {
            let end = program.run(test)?;
            ensure!(end == End::Survived, "{test}: fails without a fault");
        }
    }
    let mut ends = BTreeMap::new();
    for (number, fault) in meant.iter().enumerate() {
        let end = tree.plant(fault)?;
        shell::say(&format!(
            "{:>3} of {}: {end}: {}\n",
            number + 1,
            meant.len(),
            fault.name
        ));
        ends.insert(number, end);
    }
    shell::say(&table(&meant, &ends));
    let wrong = ends
        .values()
        .filter(|end| matches!(end, End::Survived | End::Unbuilt));
    let wrong = wrong.count();
    ensure!(
        wrong == 0,
        "{wrong} of {} faults were not caught",
        meant.len()
    );
    Ok(())
}

/// The faults, their tests and what became of them.
fn table(faults: &[&Fault], ends: &BTreeMap<usize, End>) -> String {
    let mut text = "\n| fault | file | test | |\n|---|---|---|---|\n".to_owned();
    for (number, end) in ends {
        let Fault {
            name, file, test, ..
        } = faults[*number];
        text.push_str(&format!("| {name} | `{file}` | `{test}` | {end} |\n"));
    }
    text
}

/// Reads a list of faults.
///
/// # Errors
/// With the name of a fault that lacks something, has lines in place of a part of one, or a suite that no one knows.
pub(crate) fn read(text: &str) -> Result<Vec<Fault>> {
    let list: DocumentMut = text.parse()?;
    let suites = list.get("suites").and_then(Item::as_table_like);
    let suites = suites.context("no suites")?;
    let faults = list.get("fault").and_then(Item::as_array_of_tables);
    let faults = faults.context("no faults")?;
    faults.iter().map(|fault| one(suites, fault)).collect()
}

fn one(suites: &dyn TableLike, fault: &dyn TableLike) -> Result<Fault> {
    let text = |key: &str| {
        let text = fault.get(key).and_then(|item| item.as_str());
        text.map(str::to_owned).with_context(|| format!("no {key}"))
    };
    let name = text("name").context("a fault")?;
    let rest = || -> Result<Fault> {
        let (find, replace, test) = (text("find")?, text("replace")?, text("test")?);
        let is_line = |text: &str| !text.contains('\n');
        ensure!(is_line(&find) && is_line(&replace), "more than a line");
        ensure!(find != replace, "nothing is changed");
        let (suite, test) = test
            .split_once(' ')
            .context("test: a suite and a test of it")?;
        let package = suites.get(suite).and_then(|item| item.as_str());
        let package = package.with_context(|| format!("no suite {suite}"))?;
        Ok(Fault {
            name: name.clone(),
            file: text("file")?,
            find,
            replace,
            suite: [package.to_owned(), suite.to_owned()],
            test: test.to_owned(),
        })
    };
    rest().with_context(|| name.clone())
}

/// What is wrong with the lists among files that are known by their paths: faults whose place or test is gone.
pub(crate) fn stale<'a>(
    lists: impl Iterator<Item = (&'a str, &'a str)>,
    file: impl Fn(&str) -> &'a str,
    tests: &BTreeSet<&str>,
) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in lists.filter(|(path, _)| path.starts_with("xtask/mutants/")) {
        let faults = match read(text) {
            Ok(faults) => faults,
            Err(error) => {
                found.push(format!("{path}: {error:#}"));
                continue;
            }
        };
        if faults.len() < FAULTS_MIN {
            found.push(format!(
                "{path}: {} faults, at least {FAULTS_MIN}",
                faults.len()
            ));
        }
        for fault in faults {
            let name = &fault.name;
            let places = file(&fault.file).matches(&fault.find).count();
            if places != 1 {
                let text = format!("{path}: {name}: {places} places in {}, not 1", fault.file);
                found.push(text);
            }
            let own = fault.test.rsplit("::").next().unwrap_or("");
            if !tests.contains(own) {
                found.push(format!("{path}: {name}: there is no test {own}"));
            }
        }
    }
    found
}

/// A copy of the tree, and where it is built.
#[derive(Debug)]
struct Tree {
    root: PathBuf,
    target: PathBuf,
}

/// A test program of the copy, and the folder that it runs in.
#[derive(Debug)]
struct Program {
    file: PathBuf,
    folder: PathBuf,
}

impl Tree {
    /// Copies what differs, so that what was built of the rest is still good.
    fn of(root: &Path) -> Result<Self> {
        let at = root.join("target/mutants");
        let tree = Self {
            root: at.join("tree"),
            target: at.join("target"),
        };
        let files = copy(root, &tree.root, &MADE)?;
        shell::say(&format!("{files} files copied into target/mutants/tree\n"));
        Ok(tree)
    }

    /// Plants a fault, has its test run, and takes the fault back.
    fn plant(&self, fault: &Fault) -> Result<End> {
        let path = self.root.join(&fault.file);
        let text = fs::read_to_string(&path).with_context(|| fault.file.clone())?;
        let places = text.matches(&fault.find).count();
        ensure!(places == 1, "{}: {places} places, not 1", fault.name);
        fs::write(&path, text.replacen(&fault.find, &fault.replace, 1))?;
        let end = self.build(&fault.suite).and_then(|program| match program {
            None => Ok(End::Unbuilt),
            Some(program) => program.run(&fault.test),
        });
        fs::write(&path, text)?;
        end
    }

    /// Builds a test program, if it can be built.
    fn build(&self, [package, suite]: &[String; 2]) -> Result<Option<Program>> {
        let mut build = cargo();
        build.args(["test", "--locked", "--no-run", "--quiet"]);
        build.args(["--message-format", "json", "-p", package, "--test", suite]);
        build
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target);
        // A fault changes a line: the rest of its crate is not compiled again.
        build.env("CARGO_INCREMENTAL", "1");
        build.env_remove("RUSTFLAGS");
        let built = build.stderr(Stdio::null()).output().context("cargo")?;
        if !built.status.success() {
            return Ok(None);
        }
        let lines = built.stdout.split(|byte| *byte == b'\n');
        let messages = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
        let mut programs = messages.filter_map(|message| {
            let is_meant = message["target"]["name"] == **suite;
            let file = message["executable"].as_str().filter(|_| is_meant)?;
            let manifest = Path::new(message["manifest_path"].as_str()?);
            Some(Program {
                file: file.into(),
                folder: manifest.parent()?.to_owned(),
            })
        });
        let program = programs.next();
        Ok(Some(program.with_context(|| {
            format!("no test program {suite} of {package}")
        })?))
    }
}

impl Program {
    /// Runs a test: whether it fails.
    fn run(&self, test: &str) -> Result<End> {
        let mut program = Command::new(&self.file);
        program.args(["--exact", test]).current_dir(&self.folder);
        program.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = program
            .spawn()
            .with_context(|| self.file.display().to_string())?;
        let Some(text) = said(&mut child)? else {
            child.kill()?;
            child.wait()?;
            return Ok(End::Hung);
        };
        let status = child.wait()?;
        ensure!(
            text.contains("running 1 test"),
            "there is no test {test}:\n{text}"
        );
        Ok(if status.success() {
            End::Survived
        } else {
            End::Caught
        })
    }
}

/// What a program writes until it ends; nothing if it does not within the limit.
fn said(child: &mut Child) -> Result<Option<String>> {
    let mut out = child.stdout.take().context("stdout is piped")?;
    let (sender, receiver) = sync_channel(1);
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = out.read_to_end(&mut text);
        // Whoever waited may have given up.
        let _ = sender.send(read.map(|_| String::from_utf8_lossy(&text).into_owned()));
    });
    match receiver.recv_timeout(LIMIT) {
        Ok(text) => Ok(Some(text?)),
        Err(_) => Ok(None),
    }
}

/// Makes a folder what another is, without those that are named. How many files were copied.
fn copy(from: &Path, to: &Path, without: &[&str]) -> Result<usize> {
    fs::create_dir_all(to)?;
    let (mut names, mut copied) = (BTreeSet::new(), 0);
    for entry in from
        .read_dir()
        .with_context(|| from.display().to_string())?
    {
        let entry = entry?;
        let name = entry.file_name();
        if without.iter().any(|other| name == **other) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        names.insert(name);
        if entry.file_type()?.is_dir() {
            copied += copy(&from, &to, &[])?;
            continue;
        }
        let text = fs::read(&from)?;
        if fs::read(&to).ok().as_ref() != Some(&text) {
            fs::write(&to, text)?;
            copied += 1;
        }
    }
    for entry in to.read_dir()? {
        let entry = entry?;
        if !names.contains(&entry.file_name()) {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(fault: &str) -> String {
        format!("[suites]\nemulated = \"backend-x\"\n[[fault]]\nname = \"a fault\"\n{fault}")
    }

    const GOOD: &str =
        "file = \"a.rs\"\nfind = \"x + 1\"\nreplace = \"x\"\ntest = \"emulated runtime::one\"\n";

    #[test]
    fn a_fault_is_read_or_it_is_said_what_it_lacks() -> Result<()> {
        let faults = read(&list(GOOD))?;
        let fault = &faults[0];
        assert_eq!(
            (fault.find.as_str(), fault.test.as_str()),
            ("x + 1", "runtime::one")
        );
        assert_eq!(fault.suite, ["backend-x", "emulated"]);
        for (from, to, want) in [
            ("find = \"x + 1\"\n", "", "a fault: no find"),
            ("x + 1", "x\\n", "a fault: more than a line"),
            ("x + 1", "x", "a fault: nothing is changed"),
            ("emulated r", "others r", "a fault: no suite others"),
            ("emulated r", "r", "a fault: test: a suite and a test of it"),
        ] {
            let error = read(&list(&GOOD.replace(from, to))).expect_err(want);
            assert_eq!(format!("{error:#}"), want);
        }
        assert!(read("").is_err() && read("[suites]\n").is_err());
        Ok(())
    }

    #[test]
    fn a_fault_without_its_place_or_its_test_is_found() {
        let text = list(GOOD);
        let found = |path: &str, source: &'static str, tests: &[&str]| {
            let tests = tests.iter().copied().collect();
            let lists = [(path, text.as_str())].into_iter();
            stale(lists, |_| source, &tests)
        };
        let few = "xtask/mutants/x.toml: 1 faults, at least 20";
        let at = "xtask/mutants/x.toml";
        assert_eq!(found(at, "let y = x + 1;", &["one"]), [few]);
        assert!(found("xtask/x.toml", "", &[]).is_empty());
        let want = [
            few,
            "xtask/mutants/x.toml: a fault: 2 places in a.rs, not 1",
        ];
        assert_eq!(found(at, "x + 1 + x + 1", &["one"]), want);
        let want = [few, "xtask/mutants/x.toml: a fault: there is no test one"];
        assert_eq!(found(at, "x + 1", &["two"]), want);
    }

    #[test]
    fn only_what_differs_is_copied_and_what_is_gone_goes() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("a/target"))?;
        fs::create_dir_all(from.join("target"))?;
        fs::write(from.join("a/target/b"), "b")?;
        fs::write(from.join("target/c"), "c")?;
        fs::write(from.join("d"), "d")?;
        assert_eq!(copy(&from, &to, &["target"])?, 2);
        assert_eq!(copy(&from, &to, &["target"])?, 0);
        assert_eq!(fs::read_to_string(to.join("a/target/b"))?, "b");
        assert!(!to.join("target").exists());
        fs::write(to.join("d"), "planted")?;
        fs::write(to.join("e"), "more")?;
        assert_eq!(copy(&from, &to, &["target"])?, 1);
        assert_eq!(fs::read_to_string(to.join("d"))?, "d");
        assert!(!to.join("e").exists());
        Ok(())
    }
}
