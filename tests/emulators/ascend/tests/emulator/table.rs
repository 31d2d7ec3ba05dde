//! The exports of the built library against the table. An operator goes by one name, for both its halves.

use std::collections::BTreeSet;
use std::fs;

use backend_ascend_sys::abi;
use emulator_support::built_library;
use object::{Object as _, ObjectSymbol as _};

/// What the table declares and the library does not export: a name in quotes on each line.
const UNIMPLEMENTED: &str = include_str!("../../emu-unimplemented.toml");
/// How names begin that are the vendors'.
const PREFIXES: [&str; 7] = [
    "acl",
    "Acl",
    "Hccl",
    "emu_",
    "InitHuge",
    "UnInitHuge",
    "ReleaseHuge",
];

fn unimplemented() -> BTreeSet<String> {
    let lines = UNIMPLEMENTED.lines().map(str::trim);
    let names = lines.filter_map(|line| line.strip_prefix('"')?.strip_suffix("\","));
    names.map(str::to_owned).collect()
}

fn exported() -> BTreeSet<String> {
    let bytes = fs::read(built_library("ascend_emu")).expect("the built library");
    let file = object::File::parse(&*bytes).expect("a library");
    let symbols = file
        .dynamic_symbols()
        .filter(|symbol| symbol.is_definition());
    let names = symbols.map(|symbol| symbol.name().expect("a name").to_owned());
    names.collect()
}

#[test]
fn every_symbol_of_the_table_is_exported_or_listed() {
    let (exported, listed) = (exported(), unimplemented());
    let declared: BTreeSet<_> = abi::symbols()
        .map(|symbol| format!("{}{}", symbol.provider.emulator_prefix(), symbol.name))
        .collect();
    let missing = declared.difference(&exported);
    let missing: BTreeSet<_> = missing
        .map(|name| name.trim_end_matches("GetWorkspaceSize").to_owned())
        .collect();
    assert_eq!(
        missing, listed,
        "emu-unimplemented.toml lists what is missing, and nothing else"
    );
    let vendors = exported.iter().filter(|name| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with("ascendEmu")
    });
    let unknown: Vec<_> = vendors.filter(|name| !declared.contains(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
