//! The exports of the built library against the table.

use std::collections::BTreeSet;
use std::fs;

use backend_cambricon_sys::{Tier, abi};
use emulator_support::built_library;
use object::{Object as _, ObjectSymbol as _};

/// What the table declares and the library does not compute: a name in quotes on each line.
const UNIMPLEMENTED: &str = include_str!("../../emu-unimplemented.toml");
/// How names begin that are the vendor's.
const PREFIXES: [&str; 3] = ["cnrt", "cnnl", "cncl"];

/// The names of one of the two lists.
fn listed(list: &str) -> BTreeSet<String> {
    let text = UNIMPLEMENTED
        .split_once(&format!("{list} = ["))
        .expect("the list")
        .1;
    let text = text.split_once("]\n").expect("its end").0;
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.strip_suffix("\","));
    names.map(str::to_owned).collect()
}

fn exported() -> BTreeSet<String> {
    let bytes = fs::read(built_library("neuware_emu")).expect("the built library");
    let file = object::File::parse(&*bytes).expect("a library");
    let symbols = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition());
    let names = symbols.map(|symbol| symbol.name().expect("a name").to_owned());
    names.collect()
}

#[test]
fn every_symbol_of_the_table_is_exported_or_listed() {
    let exported = exported();
    let declared: BTreeSet<_> = abi::symbols()
        .map(|symbol| symbol.name.to_owned())
        .collect();
    let missing: BTreeSet<_> = declared.difference(&exported).cloned().collect();
    assert_eq!(
        missing,
        listed("absent"),
        "emu-unimplemented.toml lists what is missing, and nothing else"
    );
    let is_vendors = |name: &&String| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let unknown: Vec<_> = exported.iter().filter(is_vendors).collect();
    let unknown: Vec<_> = unknown
        .into_iter()
        .filter(|name| !declared.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn what_is_refused_is_of_the_first_tier() {
    for name in listed("refused") {
        let symbol = abi::symbols()
            .find(|symbol| symbol.name == name)
            .expect("declared");
        assert_eq!(symbol.tier, Tier::First, "{name}");
    }
}
