//! Holds the names of the tables against published binaries: who exports them, and who asks for them.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use backend_ascend_sys::{EMULATOR, Library, Presence, Symbol, VLLM_ASCEND_0_23_0, abi};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::baseline::Committed;
use crate::wheels::Wheels;

/// What is committed.
const BASELINE: &str = "xtask/ascend/symbols-baseline.toml";

/// What a binary says of names.
#[derive(Debug, Default)]
struct Binary {
    exports: BTreeSet<String>,
    links: BTreeSet<String>,
    /// Read-only texts that could be names: what is looked up when it runs.
    texts: BTreeSet<String>,
}

impl Binary {
    fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| path.display().to_string())?;
        Self::parse(&bytes).with_context(|| path.display().to_string())
    }

    fn parse(bytes: &[u8]) -> Result<Self> {
        let file = ElfFile64::<object::Endianness>::parse(bytes)?;
        let mut binary = Self::default();
        for symbol in file.dynamic_symbols() {
            let name = symbol.name()?.to_owned();
            if symbol.is_undefined() {
                binary.links.insert(name);
            } else if symbol.is_global() {
                binary.exports.insert(name);
            }
        }
        for section in file.sections() {
            // Linkers keep texts apart, in `.rodata.str1.8` and the like.
            if !section.name()?.starts_with(".rodata") {
                continue;
            }
            let texts = section.data()?.split(|byte| *byte == 0);
            let names = texts.filter_map(|text| std::str::from_utf8(text).ok());
            binary
                .texts
                .extend(names.filter(|text| is_name(text)).map(str::to_owned));
        }
        Ok(binary)
    }
}

/// Whether a text could be the name of a function.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (3..=200).contains(&text.len()) && text.chars().all(is_part)
}

/// Who may speak for a symbol.
#[derive(Debug, Default)]
struct Binaries {
    /// Uses the interface of CANN.
    user: Binary,
    /// The custom operators.
    custom: Binary,
    /// The libraries of CANN itself, where it is installed.
    installed: Option<Binary>,
}

/// Holds the tables against the binaries.
pub(crate) fn check(_root: &Path, wheels: &Wheels) -> Result<Vec<Committed>> {
    let binaries = Binaries {
        user: Binary::read(&wheels.user())?,
        custom: Binary::read(&wheels.custom_library())?,
        installed: installed()?,
    };
    let symbols = abi::symbols().filter(|symbol| symbol.provider != EMULATOR);
    let symbols: Vec<_> = symbols.collect();
    let attested: Vec<_> = symbols
        .iter()
        .map(|symbol| binaries.attest(symbol))
        .collect();
    show(&symbols, &attested);
    let wrong = unattested(&symbols, &attested);
    ensure!(
        wrong.is_empty(),
        "required and named in no binary: {}",
        wrong.join(", ")
    );
    if binaries.installed.is_some() {
        eprintln!("{BASELINE}: not compared, an installed toolkit was read, too");
        return Ok(Vec::new());
    }
    let text = baseline(&symbols, &attested);
    Ok(vec![Committed {
        path: BASELINE,
        text,
    }])
}

/// What the libraries export that `ASCEND_HOME_PATH` leads to, if any is there.
fn installed() -> Result<Option<Binary>> {
    let Some(home) = std::env::var_os("ASCEND_HOME_PATH") else {
        return Ok(None);
    };
    let groups = [
        Library::Ascendcl,
        Library::NnopBase,
        Library::Opapi,
        Library::Hccl,
    ];
    let names = groups.into_iter().flat_map(Library::files);
    let paths = names.map(|name| Path::new(&home).join("lib64").join(name));
    let mut all: Option<Binary> = None;
    for path in paths.filter(|path| path.is_file()) {
        let exports = Binary::read(&path)?.exports;
        all.get_or_insert_default().exports.extend(exports);
    }
    Ok(all)
}

impl Binaries {
    /// Which binaries speak for a symbol. Custom operators share names with those of CANN, so for them the
    /// library that exports them speaks alone.
    fn attest(&self, symbol: &Symbol) -> Vec<&'static str> {
        let name = symbol.name;
        if symbol.provider == VLLM_ASCEND_0_23_0 {
            let exports = self.custom.exports.contains(name);
            return Vec::from_iter(exports.then_some("vllm-ascend exports"));
        }
        if !symbol.provider.version.is_empty() {
            return Vec::new();
        }
        let installed = self.installed.as_ref();
        let said = [
            (self.user.links.contains(name), "torch-npu links"),
            (self.user.texts.contains(name), "torch-npu looks up"),
            (self.custom.links.contains(name), "vllm-ascend links"),
            (
                installed.is_some_and(|cann| cann.exports.contains(name)),
                "CANN exports",
            ),
        ];
        said.into_iter()
            .filter_map(|(is_so, what)| is_so.then_some(what))
            .collect()
    }
}

/// What a table is said to be nothing without, though no binary names it.
fn unattested(symbols: &[&Symbol], attested: &[Vec<&str>]) -> Vec<&'static str> {
    let pairs = symbols.iter().zip(attested);
    let wrong = pairs.filter(|(symbol, by)| symbol.presence == Presence::Required && by.is_empty());
    wrong.map(|(symbol, _)| symbol.name).collect()
}

fn show(symbols: &[&Symbol], attested: &[Vec<&str>]) {
    for (kind, names) in by_provider(symbols, attested) {
        let count = names.iter().filter(|(_, by)| !by.is_empty()).count();
        eprintln!(
            "{kind}: {count} symbol-attested, {} named in no binary",
            names.len() - count
        );
    }
}

/// A provider's names, and what speaks for each.
type Names<'a> = Vec<(&'static str, &'a [&'a str])>;

fn by_provider<'a>(
    symbols: &[&Symbol],
    attested: &'a [Vec<&'a str>],
) -> BTreeMap<String, Names<'a>> {
    let mut kinds: BTreeMap<String, Names<'_>> = BTreeMap::new();
    for (symbol, by) in symbols.iter().zip(attested) {
        let kind = format!("{} {}", symbol.provider.name, symbol.provider.version);
        kinds
            .entry(kind.trim_end().to_owned())
            .or_default()
            .push((symbol.name, by));
    }
    kinds
}

/// What is committed: what attests a symbol can only change on purpose.
fn baseline(symbols: &[&Symbol], attested: &[Vec<&str>]) -> String {
    let mut text = "# What published binaries attest of the tables.\n\
                    # Made by `cargo xtask ascend-symcheck --write`.\n"
        .to_owned();
    for (kind, names) in by_provider(symbols, attested) {
        let _ = writeln!(text, "\n[\"{kind}\"]");
        for (name, by) in names {
            let by: Vec<_> = by.iter().map(|by| format!("\"{by}\"")).collect();
            let _ = writeln!(text, "{name} = [{}]", by.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(exports: &[&str], links: &[&str], texts: &[&str]) -> Binary {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Binary {
            exports: set(exports),
            links: set(links),
            texts: set(texts),
        }
    }

    fn symbol(provider: backend_ascend_sys::Provider, name: &str) -> &'static Symbol {
        let found =
            abi::symbols().find(|symbol| symbol.provider == provider && symbol.name == name);
        found.expect(name)
    }

    #[test]
    fn a_name_is_attested_by_who_exports_it_or_asks_for_it() {
        let mut binaries = Binaries {
            user: binary(
                &[],
                &["aclrtMalloc"],
                &["aclrtMalloc", "aclnnMoeGatingTopK"],
            ),
            custom: binary(
                &["aclnnMoeGatingTopK", "aclnnHcPre"],
                &["aclCreateTensor"],
                &[],
            ),
            installed: None,
        };
        let by = |binaries: &Binaries, provider, name| binaries.attest(symbol(provider, name));
        let cann = backend_ascend_sys::CANN;
        let malloc = ["torch-npu links", "torch-npu looks up"];
        assert_eq!(by(&binaries, cann, "aclrtMalloc"), malloc);
        let tensor = ["vllm-ascend links"];
        assert_eq!(by(&binaries, cann, "aclCreateTensor"), tensor);
        let gate = "aclnnMoeGatingTopK";
        assert_eq!(by(&binaries, cann, gate), ["torch-npu looks up"]);
        let own = ["vllm-ascend exports"];
        assert_eq!(by(&binaries, VLLM_ASCEND_0_23_0, gate), own);
        // What one version exports says nothing of the next.
        let next = backend_ascend_sys::VLLM_ASCEND_0_30_0RC2;
        assert!(by(&binaries, next, "aclnnHcPre").is_empty());

        assert!(by(&binaries, cann, "aclrtFree").is_empty());
        binaries.installed = Some(binary(&["aclrtFree"], &[], &[]));
        assert_eq!(by(&binaries, cann, "aclrtFree"), ["CANN exports"]);
    }

    #[test]
    fn what_is_required_and_named_nowhere_is_found() {
        let cann = backend_ascend_sys::CANN;
        let symbols = [symbol(cann, "aclrtMalloc"), symbol(cann, "aclrtGetVersion")];
        let nobody = vec![Vec::new(), Vec::new()];
        assert_eq!(unattested(&symbols, &nobody), ["aclrtMalloc"]);
        let somebody = vec![vec!["torch-npu links"], Vec::new()];
        assert!(unattested(&symbols, &somebody).is_empty());
    }

    #[test]
    fn our_own_program_is_read_like_any_other() -> Result<()> {
        let path = std::env::current_exe()?;
        if cfg!(all(target_os = "linux", target_pointer_width = "64")) {
            let binary = Binary::read(&path)?;
            assert!(
                binary
                    .links
                    .iter()
                    .any(|name| name == "dlsym" || name == "malloc")
            );
        }
        assert!(Binary::parse(b"no binary").is_err());
        Ok(())
    }
}
