//! Rules on source files: what stands where.

use std::collections::BTreeSet;

use super::Findings;
use super::house::{House, code};
use crate::mutants;

/// Where `unsafe` may stand, by crate. The roots of these crates deny it, all others forbid it.
const UNSAFE: [(&str, &str); 16] = [
    ("crates/backend-abi", "src/addresses.rs"),
    ("crates/backend-abi", "src/library.rs"),
    ("crates/backend-ascend", "src/cann"),
    ("crates/backend-ascend-sys", "src/table.rs"),
    ("crates/backend-cambricon", "src/neuware"),
    ("crates/backend-cambricon-sys", "src/table.rs"),
    ("crates/backend-offload", "src/queue.rs"),
    ("crates/deepseek-core", "src/weights/shard.rs"),
    ("crates/backend-host", "src/kernels"),
    ("crates/deepseek-cli", "src/heap.rs"),
    ("tests/emulators/ascend", "src/exports"),
    ("tests/emulators/cambricon", "src/exports"),
    ("tests/emulators/support", "src/addresses.rs"),
    ("tests/emulators/support", "src/argument.rs"),
    ("tests/emulators/support", "src/host.rs"),
    ("tests/emulators/support", "src/run.rs"),
];

/// Where outside bytes are read, by the beginning of the path, and the fuzz target for it.
const READERS: [(&str, &str); 13] = [
    ("crates/backend-ascend-sys/src/packages", "packages"),
    ("crates/deepseek-cli/src/eval/task", "task"),
    ("crates/deepseek-convert/src/journal", "journal"),
    ("crates/deepseek-audio/src/decode", "audio"),
    ("crates/deepseek-core/src/weights/", "checkpoint"),
    ("crates/deepseek-engine/src/saved", "cache"),
    ("crates/deepseek-model/src/config", "config"),
    ("crates/deepseek-model/src/saved", "cache"),
    ("crates/deepseek-text/src/tokenizer", "tokenizer"),
    ("crates/deepseek-text/src/wire", "conversation"),
    ("crates/deepseek-vision/src/decode", "image"),
    ("crates/deepseek-vision/src/formats", "image"),
    ("crates/deepseek-vision/src/video/reader", "video"),
];
/// Files among those that see no outside bytes: a list of modules, bounds, and views of what has
/// been proven before.
const NO_READERS: [&str; 3] = ["mod.rs", "limits.rs", "view.rs"];
/// What a reader must not do.
const DENIED: [&str; 6] = [
    "clippy::unwrap_used",
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::arithmetic_side_effects",
    "clippy::as_conversions",
    "clippy::panic",
];

/// Words that mean a device.
const DEVICES: [&str; 6] = ["ascend", "cambricon", "candle", "cuda", "metal", "rocm"];
/// The one file above the backends that may say them.
const DEVICE_FILE: &str = "crates/deepseek-cli/src/device.rs";

/// Files whose types are read from or written to the outside.
const SERDE_FILES: [&str; 6] = [
    "crates/deepseek-cli/src/eval/task.rs",
    "crates/deepseek-convert/src/journal.rs",
    "crates/deepseek-core/src/weights/header.rs",
    "crates/deepseek-model/src/config/",
    "crates/deepseek-text/src/tokenizer/file.rs",
    "crates/deepseek-text/src/wire.rs",
];

/// What code may not say, in two halves so that this list may stand here.
const WORDS: [(&str, &str, &str); 8] = [
    ("todo", "!", "code that is missing"),
    ("unimplemented", "!", "code that is missing"),
    ("dbg", "!", "a trace of debugging"),
    ("#[ig", "nore", "a test that does not run"),
    (
        "#[should_",
        "panic",
        "a test that does not ask for the error",
    ),
    ("thread::", "sleep", "waiting for time instead of an event"),
    ("mpsc::", "channel", "a queue without a bound"),
    ("unbounded_", "channel", "a queue without a bound"),
];
/// Folders that another machine has not, or not with the same in them.
const PLACES: [(&str, &str); 3] = [("/ro", "ot/"), ("/tm", "p/"), ("/wo", "rk/")];

/// Where what outlives a step is declared, but for weights and media.
const KEPT: [&str; 6] = [
    "crates/deepseek-attn/src/memory.rs",
    "crates/deepseek-core/src/operands/pool.rs",
    "crates/deepseek-model/src/decoder.rs",
    "crates/deepseek-model/src/draft/drafter.rs",
    "crates/deepseek-model/src/model.rs",
    "crates/deepseek-model/src/model/replay.rs",
];

/// Where the verbs are declared.
const VERBS: &str = "crates/deepseek-core/src/kernels.rs";

/// How the names of the files begin that hold a case for each.
const CASES: &str = "tests/conformance/src/verbs";

/// The first line of a source file tells a reader what the file is.
pub(super) fn files_say_what_they_are(house: &House, found: &mut Findings) {
    for (path, text) in house.texts(".rs").filter(|(path, _)| path.contains("src/")) {
        let first = text.lines().next().unwrap_or("");
        if !first.starts_with("//! ") && !first.starts_with("#![doc = include_str!") {
            found.push(format!("{path}:1: does not say what the file is"));
        }
    }
}

/// `unsafe` is forbidden but in a few places.
pub(super) fn unsafe_stands_in_its_places(house: &House, found: &mut Findings) {
    for package in house.packages() {
        let place = UNSAFE.iter().find(|(dir, _)| *dir == package.dir);
        let want = if place.is_some() {
            "#![deny(unsafe_code)]"
        } else {
            "#![forbid(unsafe_code)]"
        };
        for root in ["src/lib.rs", "src/main.rs"].map(|root| package.file(root)) {
            if house.has(&root) && !house.text(&root).lines().any(|line| line == want) {
                found.push(format!("{root}: no {want}"));
            }
        }
    }
    let places = UNSAFE.map(|(dir, place)| format!("{dir}/{place}"));
    for (path, line, code) in lines_of_code(house) {
        let allows = code.trim_start().starts_with('#')
            && (code.contains("allow(unsafe_code") || code.contains("expect(unsafe_code"));
        if allows && !places.iter().any(|place| path.starts_with(place)) {
            found.push(format!("{path}:{line}: allows unsafe code"));
        }
    }
}

/// Where outside bytes are read, nothing may panic.
pub(super) fn readers_deny_panics(house: &House, found: &mut Findings) {
    for (path, text) in readers(house) {
        // Lints hold for a module and those below it.
        let parent = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let texts = [text, house.text(&format!("{parent}.rs"))];
        if !texts.iter().any(|text| denies(text)) {
            found.push(format!("{path}: reads outside bytes without\n{}", denial()));
        }
    }
}

fn readers(house: &House) -> impl Iterator<Item = (&str, &str)> {
    house.texts(".rs").filter(|(path, _)| {
        let name = path.rsplit_once('/').map_or(*path, |(_, name)| name);
        READERS.iter().any(|(place, _)| path.starts_with(place)) && !NO_READERS.contains(&name)
    })
}

/// What a reader's file has at its head.
fn denial() -> String {
    format!("#![deny(\n    {}\n)]", DENIED.join(",\n    "))
}

fn denies(text: &str) -> bool {
    let Some((_, list)) = text.split_once("#![deny(") else {
        return false;
    };
    let list = list.split_once(")]").map_or("", |(list, _)| list);
    DENIED.iter().all(|lint| list.contains(lint))
}

/// Each reader of outside bytes has a fuzz target.
pub(super) fn readers_are_fuzzed(house: &House, found: &mut Findings) {
    for (place, target) in READERS {
        let path = format!("fuzz/fuzz_targets/{target}.rs");
        if house.texts(".rs").any(|(path, _)| path.starts_with(place)) && !house.has(&path) {
            found.push(format!("{path}: missing, {place} reads outside bytes"));
        }
    }
}

/// Devices are named in the backends and in one file of the command line.
pub(super) fn devices_are_named_in_one_file(house: &House, found: &mut Findings) {
    for (path, line, code) in lines_of_code(house) {
        let may = !path.starts_with("crates/") || path.starts_with("crates/backend-");
        if may || path == DEVICE_FILE || !path.contains("/src/") {
            continue;
        }
        let code = code.to_lowercase();
        let mut words = code.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(word) = words.find(|word| DEVICES.contains(word)) {
            found.push(format!(
                "{path}:{line}: names {word}, which {DEVICE_FILE} may"
            ));
        }
    }
}

/// What a layer asks of a device is a method of the device, so that a device may do it its own way:
/// the provided bodies are called by the traits, by devices and by the suite alone.
pub(super) fn layers_call_devices_alone(house: &House, found: &mut Findings) {
    for (path, line, code) in lines_of_code(house) {
        let may = !path.starts_with("crates/")
            || path.starts_with("crates/deepseek-core/")
            || path.starts_with("crates/backend-");
        if !may && path.contains("/src/") && code.contains("reference::") {
            found.push(format!(
                "{path}:{line}: calls a provided body, not a device"
            ));
        }
    }
}

/// What is kept from step to step is rows, integers, weights and media: rows can be copied, saved and
/// taken back, activations cannot.
pub(super) fn nothing_kept_is_an_activation(house: &House, found: &mut Findings) {
    for (path, line, code) in lines_of_code(house) {
        let kept = KEPT.iter().any(|file| path.ends_with(file));
        let field = code
            .strip_prefix("    ")
            .filter(|rest| !rest.starts_with(' '));
        let Some((_, of)) = field.and_then(|field| field.split_once(": ")) else {
            continue;
        };
        let owns = !of.contains('&') && of.ends_with(',');
        let activation = ["B::Tensor", "Residual<B>"]
            .iter()
            .any(|name| of.contains(name));
        if kept && owns && activation {
            found.push(format!("{path}:{line}: keeps an activation between steps"));
        }
    }
}

/// Every verb is held against its provided body by a case of the suite.
pub(super) fn verbs_have_cases(house: &House, found: &mut Findings) {
    let code = |place: &str| -> String {
        lines_of_code(house)
            .filter(|(path, ..)| path.starts_with(place))
            .map(|(.., code)| format!("{code}\n"))
            .collect()
    };
    let (verbs, cases) = (code(VERBS), code(CASES));
    let mut names: Vec<_> = verbs
        .split("\n    fn ")
        .skip(1)
        .filter_map(|verb| verb.split(['(', '<']).next())
        .collect();
    names.sort_unstable();
    for name in names {
        let is_held = ["be.", "reference::"].map(|of| cases.contains(&format!("{of}{name}(")));
        // A verb that is another one with fewer operands has that one's body.
        let has_body = verbs.contains(&format!("reference::{name}("));
        if !is_held[0] || has_body && !is_held[1] {
            found.push(format!("{VERBS}: {name} has no case in {CASES}.rs"));
        }
    }
}

/// Types that are read or written stand at the edges; inner types are not serialisable.
pub(super) fn serde_stands_at_the_edges(house: &House, found: &mut Findings) {
    for (path, line, code) in lines_of_code(house).filter(|(path, ..)| path.starts_with("crates/"))
    {
        let may = SERDE_FILES.iter().any(|place| path.starts_with(place));
        if !may && (code.contains("Serialize") || code.contains("Deserialize")) {
            found.push(format!(
                "{path}:{line}: a serialisable type inside the house"
            ));
        }
    }
}

/// Words that mean a thing unfinished, untested or unbounded.
pub(super) fn words_that_may_not_occur(house: &House, found: &mut Findings) {
    for (path, line, code) in lines_of_code(house) {
        for (head, tail, what) in WORDS {
            let word = format!("{head}{tail}");
            if code.contains(&word) {
                found.push(format!("{path}:{line}: {word}: {what}"));
            }
        }
    }
}

/// Nothing that is written here depends on where one of us keeps it.
pub(super) fn no_path_is_of_one_machine(house: &House, found: &mut Findings) {
    for (path, text) in house.texts("") {
        for (index, line) in text.lines().enumerate() {
            for place in PLACES.map(|(head, tail)| format!("{head}{tail}")) {
                // Not within a longer path, such as that of a page on the net.
                let mut before = line.split(&place).collect::<Vec<_>>();
                before.pop();
                if before
                    .iter()
                    .any(|text| !text.ends_with(char::is_alphanumeric))
                {
                    found.push(format!(
                        "{path}:{}: {place} is a folder of one machine",
                        index + 1
                    ));
                }
            }
        }
    }
}

/// Each fault that is planted into a driver still has its place and its test.
pub(super) fn planted_faults_have_their_places(house: &House, found: &mut Findings) {
    let mut tests = BTreeSet::new();
    for (_, _, code) in lines_of_code(house) {
        let name = code
            .trim_start()
            .strip_prefix("fn ")
            .and_then(|rest| rest.split_once('('));
        tests.extend(name.map(|(name, _)| name));
    }
    let lists = house.texts(".toml");
    found.extend(mutants::stale(lists, |path| house.text(path), &tests));
}

/// Path, number and code of every line of Rust.
fn lines_of_code(house: &House) -> impl Iterator<Item = (&str, usize, &str)> {
    house.texts(".rs").flat_map(|(path, text)| {
        text.lines()
            .enumerate()
            .map(move |(index, line)| (path, index + 1, code(line)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::house::tests::check;

    #[test]
    fn a_file_without_a_word_is_found() {
        let rule = files_say_what_they_are;
        check(
            rule,
            &[("crates/a/src/b.rs", "use c;\n")],
            &["crates/a/src/b.rs:1"],
        );
        check(rule, &[("crates/a/src/b.rs", "")], &["crates/a/src/b.rs:1"]);
        let good = [
            ("crates/a/src/b.rs", "//! What it is.\n"),
            (
                "crates/a/src/lib.rs",
                "#![doc = include_str!(\"../README.md\")]\n",
            ),
            ("crates/a/build.rs", "fn main() {}\n"),
        ];
        check(rule, &good, &[]);
    }

    #[test]
    fn unsafe_out_of_place_is_found() {
        let rule = unsafe_stands_in_its_places;
        let moe = (
            "crates/deepseek-moe/Cargo.toml",
            "[package]\nname = \"deepseek-moe\"\n",
        );
        let root = "crates/deepseek-moe/src/lib.rs";
        check(rule, &[moe, (root, "#![forbid(unsafe_code)]\n")], &[]);
        check(
            rule,
            &[moe, (root, "#![deny(unsafe_code)]\n")],
            &[&format!("{root}: no #![forbid")],
        );
        let main = "crates/deepseek-moe/src/main.rs";
        check(
            rule,
            &[moe, (main, "fn main() {}\n")],
            &[&format!("{main}: no #![forbid")],
        );

        let core = (
            "crates/deepseek-core/Cargo.toml",
            "[package]\nname = \"deepseek-core\"\n",
        );
        let root = ("crates/deepseek-core/src/lib.rs", "#![deny(unsafe_code)]\n");
        let shard = (
            "crates/deepseek-core/src/weights/shard.rs",
            "#![allow(unsafe_code)]\n",
        );
        check(rule, &[core, root, shard], &[]);
        let other = (
            "crates/deepseek-core/src/rope.rs",
            "#[allow(unsafe_code)]\n",
        );
        check(
            rule,
            &[core, root, other],
            &["crates/deepseek-core/src/rope.rs:1: allows"],
        );
        check(
            rule,
            &[core, ("crates/deepseek-core/src/lib.rs", "")],
            &["crates/deepseek-core/src/lib.rs: no #![deny"],
        );
    }

    #[test]
    fn a_reader_that_may_panic_is_found() {
        let rule = readers_deny_panics;
        let path = "crates/deepseek-core/src/weights/header.rs";
        let deny = format!("//! A.\n\n{}\n", denial());
        check(rule, &[(path, &deny)], &[]);
        // The message has what is missing, as it is to be written.
        let want = format!("{path}: reads outside bytes without\n{}", denial());
        check(rule, &[(path, "//! A.\n")], &[&want]);
        for lint in DENIED {
            check(rule, &[(path, &deny.replace(lint, "clippy::all"))], &[path]);
        }
        check(
            rule,
            &[("crates/deepseek-core/src/weights/view.rs", "//! A.\n")],
            &[],
        );

        let below = ("crates/deepseek-model/src/config/rope.rs", "//! A.\n");
        check(
            rule,
            &[below, ("crates/deepseek-model/src/config.rs", &deny)],
            &[],
        );
        check(
            rule,
            &[below],
            &["crates/deepseek-model/src/config/rope.rs"],
        );
    }

    #[test]
    fn a_reader_without_a_fuzz_target_is_found() {
        let reader = ("crates/deepseek-model/src/config.rs", "//! A.\n");
        check(
            readers_are_fuzzed,
            &[reader],
            &["fuzz/fuzz_targets/config.rs: missing"],
        );
        check(
            readers_are_fuzzed,
            &[reader, ("fuzz/fuzz_targets/config.rs", "")],
            &[],
        );
    }

    #[test]
    fn a_device_named_elsewhere_is_found() {
        let rule = devices_are_named_in_one_file;
        let line = "let device = backend_candle::Candle::cuda(0);\n";
        check(
            rule,
            &[("crates/deepseek-cli/src/run.rs", line)],
            &["crates/deepseek-cli/src/run.rs:1: names candle"],
        );
        check(
            rule,
            &[("crates/deepseek-model/src/a.rs", "\"Metal\"\n")],
            &["crates/deepseek-model/src/a.rs:1: names metal"],
        );
        check(
            rule,
            &[
                (DEVICE_FILE, line),
                ("crates/backend-candle/src/lib.rs", line),
            ],
            &[],
        );
        check(
            rule,
            &[(
                "crates/deepseek-core/src/a.rs",
                "//! As candle does, not metallic.\nlet metallic = 1;\n",
            )],
            &[],
        );
    }

    #[test]
    fn a_layer_that_calls_a_provided_body_is_found() {
        let rule = layers_call_devices_alone;
        let line = "use deepseek_core::reference::attend;\n";
        check(
            rule,
            &[("crates/deepseek-attn/src/layer.rs", line)],
            &["crates/deepseek-attn/src/layer.rs:1: calls a provided body"],
        );
        let may = [
            "crates/deepseek-core/src/kernels.rs",
            "crates/backend-candle/src/kernels.rs",
            "crates/deepseek-vision/tests/tower.rs",
            "tests/conformance/src/verbs.rs",
        ];
        check(rule, &may.map(|path| (path, line)), &[]);
    }

    #[test]
    fn an_activation_that_is_kept_is_found() {
        let rule = nothing_kept_is_an_activation;
        let path = KEPT[0];
        let found = format!("{path}:2: keeps an activation between steps");
        for field in [
            "tail: B::Tensor",
            "pub tail: Option<(B::Tensor, u32)>",
            "x: Residual<B>",
        ] {
            let text = format!("struct Pool<B> {{\n    {field},\n}}\n");
            check(rule, &[(path, &text)], &[&found]);
            check(rule, &[("crates/deepseek-model/src/block.rs", &text)], &[]);
        }
        let may = "struct Pool<B> {\n    rows: B::Rows,\n}\nfn f(\n    x: &B::Tensor,\n) {}\n";
        check(rule, &[(path, may)], &[]);
    }

    #[test]
    fn a_verb_without_a_case_is_found() {
        let rule = verbs_have_cases;
        let verbs = "trait Kernels {\n    fn a(&self) {\n        reference::a(self)\n    }\n    \
                     fn a_few(&self) {\n        self.a()\n    }\n}\n";
        let cases = "tests/conformance/src/verbs/few.rs";
        let held = "be.a();\nreference::a(be);\nbe.a_few();\n";
        check(rule, &[(VERBS, verbs), (cases, held)], &[]);
        for missing in held.split_inclusive('\n') {
            let rest = held.replace(missing, "");
            let name = if missing.contains("few") {
                "a_few"
            } else {
                "a"
            };
            let want = format!("{VERBS}: {name} has no case");
            check(rule, &[(VERBS, verbs), (cases, &rest)], &[&want]);
        }
    }

    #[test]
    fn a_serialisable_inner_type_is_found() {
        let rule = serde_stands_at_the_edges;
        let line = "#[derive(Deserialize)]\n";
        check(
            rule,
            &[("crates/deepseek-model/src/plan.rs", line)],
            &["crates/deepseek-model/src/plan.rs:1"],
        );
        check(
            rule,
            &[
                ("crates/deepseek-text/src/wire.rs", line),
                ("tests/e2e/src/lib.rs", line),
            ],
            &[],
        );
    }

    #[test]
    fn every_word_of_the_list_is_found() {
        let rule = words_that_may_not_occur;
        for (head, tail, _) in WORDS {
            let text = format!("//! A.\nlet x = 1; {head}{tail}\n");
            check(
                rule,
                &[("crates/a/src/b.rs", &text)],
                &[&format!("crates/a/src/b.rs:2: {head}{tail}")],
            );
            check(
                rule,
                &[("crates/a/src/b.rs", &format!("// {head}{tail}\n"))],
                &[],
            );
        }
        check(
            rule,
            &[("crates/a/src/b.rs", "mpsc::sync_channel(1)\n")],
            &[],
        );
    }
    #[test]
    fn a_path_of_one_machine_is_found() {
        let rule = no_path_is_of_one_machine;
        for (head, tail) in PLACES {
            let text = format!("# A\nSee `{head}{tail}b`.\n");
            check(rule, &[("README.md", &text)], &["README.md:2: "]);
            let page = format!("https://a.b/c{head}{tail}d\n");
            check(rule, &[("README.md", &page)], &[]);
        }
    }
}
