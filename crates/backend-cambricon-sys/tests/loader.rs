//! The loader against stub libraries, which the system's C compiler makes.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use backend_cambricon_sys::abi::{emulator, operators, runtime};
use backend_cambricon_sys::{Neuware, Search, Symbol, Tier, Unavailable};

/// C for functions of these names.
fn functions<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut code = String::new();
    for name in names {
        writeln!(code, "int {name}(void) {{ return 0; }}").expect("a text");
    }
    code
}

/// The functions that a table is nothing without.
fn first(symbols: &[Symbol]) -> impl Iterator<Item = &'static str> {
    let first = symbols.iter().filter(|symbol| symbol.tier == Tier::First);
    first
        .map(|symbol| symbol.name)
        .collect::<Vec<_>>()
        .into_iter()
}

/// Makes a library of C.
fn compile(path: &Path, code: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let source = path.with_extension("c");
    fs::write(&source, code).expect("a source");
    let mut cc = Command::new("cc");
    let done = cc
        .args(["-shared", "-fPIC", "-o"])
        .arg(path)
        .arg(&source)
        .status();
    let done = done.expect("the C compiler that Rust links with");
    assert!(done.success(), "{}: {done}", path.display());
}

/// An installation with the least that a device needs but for some functions, and a search that finds it alone.
fn install(folder: &Path, without: &[&str], more: &[&'static str]) -> Search {
    let tables = [
        ("cnrt", "libcnrt.so.6.14.1", runtime::Runtime::SYMBOLS),
        ("cnnl", "libcnnl.so", operators::Operators::SYMBOLS),
    ];
    for (head, file, symbols) in tables {
        let names = first(symbols).filter(|name| !without.contains(name));
        let more = more.iter().filter(|name| name.starts_with(head));
        let code = functions(names.chain(more.copied()));
        compile(&folder.join("lib64").join(file), &code);
    }
    Search {
        roots: vec![folder.to_path_buf()],
        system: false,
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn without_an_installation_every_place_is_told() {
    let nowhere = folder();
    let roots = ["first", "second"].map(|root| nowhere.path().join(root));
    let search = Search {
        roots: roots.to_vec(),
        system: false,
    };
    let error = Neuware::open(&search).expect_err("nothing is installed");
    let Unavailable::NoLibrary { file, tried } = &error else {
        panic!("{error}");
    };
    assert_eq!(*file, "libcnrt.so");
    let want = roots.iter().map(|root| root.join("lib64/libcnrt.so"));
    assert!(
        tried.iter().map(|attempt| attempt.path.clone()).eq(want),
        "{error}"
    );
    let text = error.to_string();
    for attempt in tried {
        assert!(attempt.why.contains("No such file"), "{}", attempt.why);
        assert!(text.contains(&attempt.path.display().to_string()), "{text}");
    }
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("NEUWARE_HOME"))
    );
}

#[test]
fn a_search_with_no_place_says_so() {
    let error = Neuware::open(&Search::default()).expect_err("nowhere to look");
    assert_eq!(error.to_string(), "no libcnrt.so: there is nowhere to look");
}

#[test]
fn a_file_that_is_no_library_is_told_with_the_loaders_text() {
    let root = folder();
    let path = root.path().join("lib64/libcnrt.so");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, "no library").expect("a file");
    let search = Search {
        roots: vec![root.path().to_path_buf()],
        system: false,
    };
    let Unavailable::NoLibrary { tried, .. } = Neuware::open(&search).expect_err("no library")
    else {
        panic!("a library that is none");
    };
    assert_eq!(tried[0].path, path);
    assert!(!tried[0].why.contains("No such file"), "{}", tried[0].why);
}

#[test]
fn the_first_tier_alone_is_a_device_and_what_is_off_is_told() {
    let root = folder();
    let neuware = Neuware::open(&install(root.path(), &[], &[])).expect("an installation");
    assert!(neuware.emulator.is_none());
    assert!(neuware.driver.is_err() && neuware.fusions.is_err() && neuware.collectives.is_err());
    assert!(neuware.operators.cnnlGroupGemm.is_none());
    assert_eq!(neuware.missing(Tier::First).count(), 0);
    assert!(
        neuware
            .missing(Tier::Second)
            .any(|name| name == "cnnlGroupGemm")
    );
    let runtime = &neuware.lookups[0];
    let (file, name) = runtime.found.as_ref().expect("found");
    assert!(
        file.ends_with("lib64/libcnrt.so.6.14.1"),
        "a version without a link"
    );
    assert_eq!(*name, "cnrtGetLibVersion");
}

#[test]
fn a_function_of_the_second_tier_is_there_if_its_library_has_it() {
    let root = folder();
    let search = install(root.path(), &[], &["cnnlGroupGemm"]);
    let neuware = Neuware::open(&search).expect("an installation");
    assert!(neuware.operators.cnnlGroupGemm.is_some());
    assert!(neuware.operators.cnnlSortPairs.is_none());
}

#[test]
fn all_that_either_library_lacks_is_told_at_once() {
    let root = folder();
    let search = install(
        root.path(),
        &["cnrtMalloc", "cnnlConcat", "cnnlCreate"],
        &[],
    );
    let error = Neuware::open(&search).expect_err("too little");
    let Unavailable::Incomplete { missing } = &error else {
        panic!("{error}");
    };
    let names: Vec<_> = missing.iter().map(|(_, name)| *name).collect();
    assert_eq!(names, ["cnrtMalloc", "cnnlCreate", "cnnlConcat"]);
    let text = error.to_string();
    assert!(
        text.contains("libcnnl.so") && text.contains("libcnrt.so.6.14.1"),
        "{text}"
    );
    assert!(error.hint().is_some());
}

#[test]
fn other_releases_names_are_taken_for_functions_of_the_same_signature() {
    let root = folder();
    let renamed = ["cnrtMemcpyAsync_V3", "cnnlCreateMatMulDescriptor"];
    let others = ["cnrtMemcpyAsync", "cnnlMatMulDescCreate"];
    let neuware = Neuware::open(&install(root.path(), &renamed, &others)).expect("an installation");
    let found = |name: &str| {
        let lookup = neuware
            .lookups
            .iter()
            .find(|lookup| lookup.symbol.name == name);
        lookup
            .and_then(|lookup| lookup.found.as_ref())
            .map(|(_, name)| *name)
    };
    assert_eq!(renamed.map(found), others.map(Some));
}

#[test]
fn a_second_root_is_tried_behind_the_first() {
    let (none, root) = (folder(), folder());
    let mut search = install(root.path(), &[], &[]);
    search.roots.insert(0, none.path().to_path_buf());
    Neuware::open(&search).expect("an installation");
}

/// A library with all that the first tier has, and the mark of an emulator.
fn compile_emulator(path: &Path) {
    let names = first(runtime::Runtime::SYMBOLS);
    let names = names.chain(first(operators::Operators::SYMBOLS));
    let names = names.chain(first(emulator::Emulator::SYMBOLS));
    compile(path, &functions(names));
}

#[test]
fn an_emulator_is_used_where_it_is_named_and_nowhere_else() {
    let root = folder();
    let named = root.path().join("libsome_emu.so");
    compile_emulator(&named);
    let neuware = Neuware::emulator(&named).expect("an emulator");
    assert!(neuware.emulator.is_some());

    let search = install(root.path(), &[], &[]);
    fs::remove_file(root.path().join("lib64/libcnrt.so.6.14.1")).expect("a file");
    let hidden = root.path().join("lib64/libcnrt.so");
    compile_emulator(&hidden);
    let error = Neuware::open(&search).expect_err("an emulator");
    assert_eq!(error, Unavailable::EmulatorFound { path: hidden });
}

#[test]
fn what_is_named_as_an_emulator_and_is_none_is_refused() {
    let root = folder();
    install(root.path(), &[], &[]);
    let library = root.path().join("lib64/libcnnl.so");
    let refused = |path: &Path| Neuware::emulator(path).expect_err("refused");
    assert_eq!(
        refused(&library),
        Unavailable::NotAnEmulator {
            path: library.clone()
        }
    );
    let relative = Path::new("libneuware_emu.so");
    assert!(matches!(
        refused(relative),
        Unavailable::RelativeEmulator { .. }
    ));
    let error = refused(&root.path().join("none.so"));
    assert!(matches!(&error, Unavailable::NoEmulator { .. }), "{error}");
}
