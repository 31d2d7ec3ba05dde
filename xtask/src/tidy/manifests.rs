//! Rules on manifests: who may lean on whom, and what a crate must say of itself.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use super::house::House;

/// The paper with the map of crates.
const MAP: &str = "ARCHITECTURE.md";
/// How the head of that map ends.
const MAP_HEAD: &str = "| may use |";
/// The crate that schedules, and the one of ours that it may use.
const ENGINE: &str = "deepseek-engine";
const ENGINE_USES: &str = "deepseek-model";
/// Packages whose names say that they link something, and why each may stay: the first six link
/// nothing (ours open what they find at run time), the last is the regular expressions of the vendor's
/// prompt crates, built from source.
const LINKED: [&str; 8] = [
    "backend-ascend-sys",
    "backend-cambricon-sys",
    "dirs-sys",
    "js-sys",
    "libfuzzer-sys",
    "linux-raw-sys",
    "windows-sys",
    "onig_sys",
];
/// What only a feature asks for, and who has that feature: the bindings of FFmpeg, and what reads the
/// headers that tables are held against.
const OPTIONAL: [(&str, &str); 2] = [
    ("deepseek-vision", "ffmpeg-next"),
    ("xtask-headers", "bindgen"),
];
/// Packages that need a tool which stands beside no Rust toolchain.
const TOOLS: [&str; 2] = ["bindgen", "cmake"];
/// The file that names the compiler.
const TOOLCHAIN: &str = "rust-toolchain.toml";
/// The one crate that is made of candle.
const CANDLE: &str = "backend-candle";
/// Lines of a crate's README.
const README_LINES_MAX: usize = 60;

/// The table of `ARCHITECTURE.md` names every package and exactly what each of them uses of ours.
pub(super) fn the_map_is_the_manifests(house: &House, found: &mut Findings) {
    let packages = house.packages();
    let ours: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    let mut map = map(house.text(MAP), &ours);
    for package in &packages {
        let uses: BTreeSet<&str> = package
            .dependencies()
            .intersection(&ours)
            .copied()
            .collect();
        match map.remove(package.name.as_str()) {
            Some(may) if may == uses => {}
            Some(may) => found.push(format!(
                "{}: uses {}, {MAP} has {}",
                package.file("Cargo.toml"),
                list(&uses),
                list(&may)
            )),
            None => found.push(format!("{MAP}: no row for {}", package.name)),
        }
    }
    for name in map.keys() {
        found.push(format!("{MAP}: a row for {name}, which is no package"));
    }
}

/// Rows of the map: a name, and the names of what it may use. `core` means `deepseek-core`.
fn map<'a>(paper: &'a str, ours: &BTreeSet<&'a str>) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let full = |short: &'a str| {
        let full = ours
            .iter()
            .find(|name| name.strip_prefix("deepseek-") == Some(short));
        full.copied().unwrap_or(short)
    };
    let rows = paper
        .lines()
        .skip_while(|line| !line.ends_with(MAP_HEAD))
        .skip(2);
    rows.map_while(|line| {
        let [name, _, uses] = line
            .strip_prefix("| `")?
            .strip_suffix(" |")?
            .split(" | ")
            .collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let uses = uses
            .split(", ")
            .filter(|name| *name != "nothing of ours")
            .map(full);
        Some((name.trim_end_matches('`'), uses.collect()))
    })
    .collect()
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        return "nothing of ours".to_owned();
    }
    names.iter().copied().collect::<Vec<_>>().join(", ")
}

/// candle is the material of one backend, not of the house, nor of the host.
pub(super) fn one_backend_knows_candle(house: &House, found: &mut Findings) {
    for package in house
        .packages()
        .iter()
        .filter(|p| p.is_crate() && p.name != CANDLE)
    {
        for name in package
            .dependencies()
            .iter()
            .filter(|name| name.starts_with("candle"))
        {
            found.push(format!(
                "{}: {name} belongs to {CANDLE}",
                package.file("Cargo.toml")
            ));
        }
    }
}

/// The engine sees ids and logits: whatever knows text, files or media stands above it or below the
/// decoder.
pub(super) fn the_engine_knows_the_model_alone(house: &House, found: &mut Findings) {
    let packages = house.packages();
    let ours: BTreeSet<&str> = packages.iter().map(|package| &*package.name).collect();
    for package in packages.iter().filter(|package| package.name == ENGINE) {
        for name in package.dependencies().intersection(&ours) {
            if *name != ENGINE_USES {
                found.push(format!(
                    "{}: {name}, but {ENGINE} knows {ENGINE_USES} alone",
                    package.file("Cargo.toml")
                ));
            }
        }
    }
}

/// The default build needs a Rust toolchain and the compilers beside it, nothing else.
pub(super) fn no_system_library_is_linked(house: &House, found: &mut Findings) {
    for name in built(house.text("Cargo.lock")) {
        let links = name.ends_with("-sys") || name.ends_with("_sys") || TOOLS.contains(&name);
        if links && !LINKED.contains(&name) {
            found.push(format!(
                "Cargo.lock: {name} links or needs what a machine may not have"
            ));
        }
    }
}

/// The packages of a lock that are built without features: those that the workspace's own, which
/// come from nowhere, lead to by another way than through what only a feature asks for.
fn built(lock: &str) -> BTreeSet<&str> {
    let mut uses: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut open = Vec::new();
    for package in lock.split("[[package]]").skip(1) {
        let words = package.split('"').skip(1).step_by(2);
        let names = words.map(|word| word.split(' ').next().unwrap_or(""));
        let mut names = names.collect::<Vec<_>>().into_iter();
        let name = names.next().unwrap_or("");
        if !package.contains("\nsource = ") {
            open.push(name);
        }
        let asked = names.filter(|used| !OPTIONAL.contains(&(name, *used)));
        uses.entry(name).or_default().extend(asked);
    }
    let mut built = BTreeSet::new();
    while let Some(name) = open.pop() {
        if uses.contains_key(name) && built.insert(name) {
            open.extend(&uses[name]);
        }
    }
    built
}

/// The oldest compiler that is promised is the one that everything is built and tested with: the first
/// two numbers of it.
pub(super) fn the_promised_compiler_is_the_tested_one(house: &House, found: &mut Findings) {
    let promised = quoted(house.text("Cargo.toml"), "rust-version");
    let tested = quoted(house.text(TOOLCHAIN), "channel");
    let tested = tested.map(|channel| channel.rsplit_once('.').map_or(channel, |(head, _)| head));
    if promised != tested {
        let [promised, tested] = [promised, tested].map(|version| version.unwrap_or("nothing"));
        found.push(format!(
            "Cargo.toml: rust-version {promised}, {TOOLCHAIN} has {tested}"
        ));
    }
}

/// The text that a manifest gives to a name, the first time that it does.
fn quoted<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = manifest.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix('='))?;
    value.trim().strip_prefix('"')?.strip_suffix('"')
}

/// A crate has a short README and says how its documentation is built.
pub(super) fn crates_are_described(house: &House, found: &mut Findings) {
    for package in house.packages().iter().filter(|package| package.is_crate()) {
        let manifest = package.file("Cargo.toml");
        let readme = package.file("README.md");
        if package.section("package.metadata.docs.rs").is_none() {
            found.push(format!("{manifest}: no [package.metadata.docs.rs]"));
        }
        if !package.keys("package").any(|key| key == "description") {
            found.push(format!("{manifest}: no description"));
        }
        if !house.has(&readme) {
            found.push(format!("{readme}: missing"));
            continue;
        }
        let mut lines = house.text(&readme).lines();
        if lines.next() != Some(&format!("# {}", package.name)) {
            found.push(format!("{readme}: does not begin with its name"));
        }
        let count = lines.count() + 1;
        if count > README_LINES_MAX {
            found.push(format!(
                "{readme}: {count} lines, at most {README_LINES_MAX}"
            ));
        }
    }
}

/// Lints stand once, in the workspace.
pub(super) fn lints_are_the_workspaces(house: &House, found: &mut Findings) {
    for package in house.packages() {
        if package
            .section("lints")
            .is_none_or(|lines| lines != ["workspace = true"])
        {
            found.push(format!(
                "{}: lints are not the workspace's",
                package.file("Cargo.toml")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::tests::check;

    const CORE: (&str, &str) = (
        "crates/deepseek-core/Cargo.toml",
        "[package]\nname = \"deepseek-core\"\n",
    );

    fn attn(dependencies: &str) -> String {
        format!("[package]\nname = \"deepseek-attn\"\n[dependencies]\n{dependencies}")
    }

    fn map_of(rows: &str) -> String {
        format!("# A\n\n| crate | what | may use |\n|---|---|---|\n{rows}\nText.\n")
    }

    #[test]
    fn the_map_and_the_manifests_agree() {
        let map = map_of(
            "| `deepseek-core` | words | nothing of ours |\n| `deepseek-attn` | a | core |\n",
        );
        let attn = attn("deepseek-core.workspace = true\nhalf.workspace = true\n");
        let files = [
            CORE,
            ("crates/deepseek-attn/Cargo.toml", &attn),
            (MAP, &map),
        ];
        check(the_map_is_the_manifests, &files, &[]);
    }

    #[test]
    fn an_arrow_that_is_not_on_the_map_is_found() {
        let rule = the_map_is_the_manifests;
        let one = map_of(
            "| `deepseek-core` | words | nothing of ours |\n| `deepseek-attn` | a | nothing of ours |\n",
        );
        let more = attn("deepseek-core.workspace = true\n");
        let files = [
            CORE,
            ("crates/deepseek-attn/Cargo.toml", &more),
            (MAP, &one),
        ];
        check(
            rule,
            &files,
            &[
                "crates/deepseek-attn/Cargo.toml: uses deepseek-core, ARCHITECTURE.md has nothing of ours",
            ],
        );

        let two = map_of(
            "| `deepseek-core` | words | nothing of ours |\n| `deepseek-attn` | a | core |\n",
        );
        let files = [
            CORE,
            ("crates/deepseek-attn/Cargo.toml", &attn("")),
            (MAP, &two),
        ];
        check(
            rule,
            &files,
            &[
                "crates/deepseek-attn/Cargo.toml: uses nothing of ours, ARCHITECTURE.md has deepseek-core",
            ],
        );
    }

    #[test]
    fn a_package_without_a_row_and_a_row_without_a_package_are_found() {
        let map = map_of("| `deepseek-moe` | m | core |\n");
        check(
            the_map_is_the_manifests,
            &[CORE, (MAP, &map)],
            &[
                "ARCHITECTURE.md: no row for deepseek-core",
                "ARCHITECTURE.md: a row for deepseek-moe",
            ],
        );
    }

    #[test]
    fn candle_below_the_backends_is_found() {
        let rule = one_backend_knows_candle;
        let attn = attn("candle-core.workspace = true\n");
        check(
            rule,
            &[("crates/deepseek-attn/Cargo.toml", &attn)],
            &["crates/deepseek-attn/Cargo.toml: candle-core"],
        );
        let backend = |name: &str| {
            format!("[package]\nname = \"{name}\"\n[dependencies]\ncandle-core = \"1\"\n")
        };
        let host = backend("backend-host");
        check(
            rule,
            &[("crates/backend-host/Cargo.toml", &host)],
            &["crates/backend-host/Cargo.toml: candle-core"],
        );
        let candle = backend("backend-candle");
        check(rule, &[("crates/backend-candle/Cargo.toml", &candle)], &[]);
    }

    #[test]
    fn an_engine_that_knows_more_than_the_model_is_found() {
        let text = (
            "crates/deepseek-text/Cargo.toml",
            "[package]\nname = \"deepseek-text\"\n",
        );
        let check = |uses: &str, want: &[&str]| {
            let engine = format!("[package]\nname = \"deepseek-engine\"\n[dependencies]\n{uses}");
            let engine = ("crates/deepseek-engine/Cargo.toml", &*engine);
            check(the_engine_knows_the_model_alone, &[text, engine], want);
        };
        check("deepseek-model.workspace = true\nthiserror = \"2\"\n", &[]);
        check(
            "deepseek-text.workspace = true\n",
            &["crates/deepseek-engine/Cargo.toml: deepseek-text"],
        );
        check("[dev-dependencies]\ndeepseek-text = \"1\"\n", &[]);
    }

    #[test]
    fn a_linked_library_is_found() {
        let package = |name: &str, source: &str, uses: &[&str]| {
            let uses: Vec<_> = uses.iter().map(|name| format!(" \"{name}\",\n")).collect();
            let uses = uses.concat();
            format!("[[package]]\nname = \"{name}\"\n{source}dependencies = [\n{uses}]\n\n")
        };
        let ours = |uses| package(OPTIONAL[0].0, "version = \"0.1.0\"\n", uses);
        let theirs = |name, uses| package(name, "source = \"registry\"\n", uses);
        let lock = [
            ours(&["windows-sys 0.60.2", "half", "ffmpeg-next"]),
            theirs("windows-sys", &[]),
            theirs("half", &["openssl-sys", "cmake"]),
            theirs("openssl-sys", &["half"]),
            theirs("cmake", &[]),
            theirs("ffmpeg-next", &["bindgen"]),
            theirs("bindgen", &["clang-sys"]),
            theirs("clang-sys", &[]),
        ];
        let rule = no_system_library_is_linked;
        check(
            rule,
            &[("Cargo.lock", &lock.concat())],
            &["Cargo.lock: cmake", "Cargo.lock: openssl-sys"],
        );
        // What a feature brings is found where it is needed without one.
        let lock = lock.concat().replace("\"openssl-sys\",", "\"bindgen\",");
        let found = ["bindgen", "clang-sys", "cmake"].map(|name| format!("Cargo.lock: {name}"));
        check(
            rule,
            &[("Cargo.lock", &lock)],
            &found.each_ref().map(String::as_str),
        );
    }

    #[test]
    fn a_promise_of_a_compiler_that_is_not_tested_is_found() {
        let rule = the_promised_compiler_is_the_tested_one;
        let manifest = (
            "Cargo.toml",
            "[workspace.package]\nrust-version = \"1.95\"\n",
        );
        let toolchain = |text| (TOOLCHAIN, text);
        let same = toolchain("[toolchain]\nchannel = \"1.95.0\"\n");
        check(rule, &[manifest, same], &[]);
        let newer = toolchain("[toolchain]\nchannel = \"1.96.0\"\n");
        let want = ["Cargo.toml: rust-version 1.95, rust-toolchain.toml has 1.96"];
        check(rule, &[manifest, newer], &want);
        let none = toolchain("[toolchain]\n");
        let want = ["Cargo.toml: rust-version 1.95, rust-toolchain.toml has nothing"];
        check(rule, &[manifest, none], &want);
    }

    #[test]
    fn a_crate_that_does_not_present_itself_is_found() {
        let rule = crates_are_described;
        let whole = "[package]\nname = \"a\"\ndescription = \"A.\"\n[package.metadata.docs.rs]\n";
        let manifest = ("crates/a/Cargo.toml", whole);
        check(
            rule,
            &[manifest, ("crates/a/README.md", "# a\n\nA.\n")],
            &[],
        );
        check(rule, &[manifest], &["crates/a/README.md: missing"]);
        check(
            rule,
            &[manifest, ("crates/a/README.md", "A.\n")],
            &["crates/a/README.md: does not begin"],
        );
        let long = format!("# a\n{}", "word\n".repeat(60));
        check(
            rule,
            &[manifest, ("crates/a/README.md", &long)],
            &["crates/a/README.md: 61 lines"],
        );
        let bare = ("crates/a/Cargo.toml", "[package]\nname = \"a\"\n");
        check(
            rule,
            &[bare, ("crates/a/README.md", "# a\n")],
            &[
                "crates/a/Cargo.toml: no [package.metadata.docs.rs]",
                "crates/a/Cargo.toml: no description",
            ],
        );
    }

    #[test]
    fn lints_of_ones_own_are_found() {
        let rule = lints_are_the_workspaces;
        let own = "[package]\nname = \"a\"\n[lints.rust]\ndead_code = \"allow\"\n";
        check(
            rule,
            &[("xtask/Cargo.toml", own)],
            &["xtask/Cargo.toml: lints"],
        );
        check(
            rule,
            &[("xtask/Cargo.toml", "[lints]\nworkspace = true\n")],
            &[],
        );
    }
}
