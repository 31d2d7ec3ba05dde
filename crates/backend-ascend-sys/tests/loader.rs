//! The loader against stub libraries, which the system's C compiler makes.
#![cfg(target_os = "linux")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::null_mut;

use backend_ascend_sys::abi::{self, collectives, emulator, runtime, tensors};
use backend_ascend_sys::{
    Ascend, CustomOperators, EMULATOR, Launch, Library, Note, Presence, Refusal, Search, Symbol,
    Unavailable, VLLM_ASCEND_0_23_0, VLLM_ASCEND_0_30_0RC2,
};

/// What a stub returns that is called.
const BUILT_IN: i32 = 23;
const CUSTOM: i32 = 42;

/// C for a function that returns a number, whatever it is given.
fn function(name: &str, value: i32) -> String {
    format!("int {name}(void) {{ return {value}; }}\n")
}

/// C for the second half of an operator.
fn launch(name: &str, value: i32) -> String {
    format!(
        "int {name}(void *workspace, unsigned long size, void *executor, void *stream) {{ return {value}; }}\n"
    )
}

/// C for the functions that a table is nothing without.
fn required(symbols: &[Symbol]) -> String {
    let required = symbols
        .iter()
        .filter(|symbol| symbol.presence == Presence::Required);
    required.map(|symbol| function(symbol.name, 0)).collect()
}

/// Makes a library of C, which may need another one beside it.
fn compile(path: &Path, code: &str, needed: Option<&Path>) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let source = path.with_extension("c");
    fs::write(&source, code).expect("a source");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"])
        .arg(path)
        .arg(&source);
    if let Some(needed) = needed {
        let folder = needed.parent().expect("a folder");
        cc.arg(needed)
            .arg(format!("-Wl,-rpath,{}", folder.display()));
    }
    let done = cc.status().expect("the C compiler that Rust links with");
    assert!(done.success(), "{}: {done}", path.display());
}

/// An installation with the least that a device needs, and a search that finds it alone.
fn install(folder: &Path) -> Search {
    let at = |file: &str| folder.join("lib64").join(file);
    compile(
        &at("libascendcl.so"),
        &required(runtime::Runtime::SYMBOLS),
        None,
    );
    compile(
        &at("libnnopbase.so"),
        &required(tensors::TensorLayer::SYMBOLS),
        None,
    );
    let mut code = String::new();
    for name in ["aclnnMoeGatingTopK", "aclnnCompressor"] {
        code.push_str(&function(&format!("{name}GetWorkspaceSize"), BUILT_IN));
        code.push_str(&launch(name, BUILT_IN));
    }
    // Split over two files, as since CANN 8.5.
    code.push_str(&function("aclnnAddGetWorkspaceSize", 0));
    compile(&at("libopapi_nn.so"), &code, None);
    let mut code = function("aclnnMulGetWorkspaceSize", 0);
    code.push_str(&launch("aclnnMul", BUILT_IN));
    compile(&at("libopapi_math.so"), &code, None);
    Search {
        roots: vec![folder.to_path_buf()],
        ..Search::default()
    }
}

/// A package of custom operators that gives one of the built-in names another meaning, and needs the
/// library that has it.
fn add_package(folder: &Path, root: &Path) {
    let mut code = function("aclnnMoeGatingTopKGetWorkspaceSize", CUSTOM);
    code.push_str(&launch("aclnnMoeGatingTopK", CUSTOM));
    let needed = root.join("lib64/libopapi_nn.so");
    compile(
        &folder.join("op_api/lib/libcust_opapi.so"),
        &code,
        Some(&needed),
    );
    fs::write(
        folder.join("version.info"),
        "custom_opp_compiler_version=9.1.0\n",
    )
    .expect("a file");
}

/// The same, as the Python package brings it, with its version.
fn add_versioned_package(folder: &Path, root: &Path, version: &str) -> PathBuf {
    let package = folder.join("vllm_ascend/_cann_ops_custom/vendors/custom_transformer");
    add_package(&package, root);
    let stamp = format!("__version__ = version = '{version}'\n");
    fs::write(folder.join("vllm_ascend/_version.py"), stamp).expect("a file");
    package
}

fn call(launch: Launch) -> i32 {
    // SAFETY: a stub of this type, which looks at none of its arguments.
    unsafe { launch(null_mut(), 0, null_mut(), null_mut()) }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// An error with all its sources.
fn told(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        write!(text, ": {error}").expect("a text");
        source = error.source();
    }
    text
}

#[test]
fn without_an_installation_every_place_is_told() {
    let nowhere = folder();
    let roots = ["first", "second"].map(|root| nowhere.path().join(root));
    let search = Search {
        roots: roots.to_vec(),
        ..Search::default()
    };
    let error = Ascend::open(&search).expect_err("nothing is installed");
    let Unavailable::NoRuntime { tried } = &error else {
        panic!("{error}");
    };
    let arch = format!("{}-linux", std::env::consts::ARCH);
    let want = roots.iter().flat_map(|root| {
        let inner = root.join(&arch).join("lib64/libascendcl.so");
        [root.join("lib64/libascendcl.so"), inner]
    });
    assert!(
        tried.iter().map(|attempt| attempt.path.clone()).eq(want),
        "{error}"
    );
    for attempt in tried {
        let text = error.to_string();
        assert!(attempt.why.contains("No such file"), "{}", attempt.why);
        assert!(text.contains(&attempt.path.display().to_string()), "{text}");
    }
    assert!(error.hint().is_some_and(|hint| hint.contains("set_env.sh")));
}

#[test]
fn a_search_with_no_place_says_so() {
    let error = Ascend::open(&Search::default()).expect_err("nowhere to look");
    assert_eq!(
        error.to_string(),
        "no CANN runtime: there is nowhere to look"
    );
}

#[test]
fn a_file_that_is_no_library_is_told_with_the_loaders_text() {
    let root = folder();
    let path = root.path().join("lib64/libascendcl.so");
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, "no library").expect("a file");
    let search = Search {
        roots: vec![root.path().to_path_buf()],
        ..Search::default()
    };
    let error = Ascend::open(&search).expect_err("no library");
    let Unavailable::NoRuntime { tried } = error else {
        panic!("{error}");
    };
    assert_eq!(tried[0].path, path);
    assert!(!tried[0].why.contains("No such file"), "{}", tried[0].why);
}

/// The same without some of its files. They are removed before anything is opened, because a library that
/// was opened once stays.
fn install_without(folder: &Path, files: &[&str]) -> Search {
    let search = install(folder);
    for file in files {
        fs::remove_file(folder.join("lib64").join(file)).expect("a file");
    }
    search
}

#[test]
fn each_part_that_is_missing_has_its_own_error() {
    let root = folder();
    let search = install_without(root.path(), &["libopapi_math.so"]);
    let ascend = Ascend::open(&search).expect("an installation");
    assert!(matches!(
        ascend.collectives,
        Err(Unavailable::NoCollectives { .. })
    ));
    let Err(Unavailable::Incomplete { missing, .. }) = &ascend.capture else {
        panic!("{:?}", ascend.capture);
    };
    assert!(missing.contains(&"aclmdlRICaptureBegin"), "{missing:?}");
    assert!(!missing.contains(&"aclmdlRIDebugPrint"), "{missing:?}");

    let root = folder();
    let search = install_without(root.path(), &["libopapi_math.so", "libopapi_nn.so"]);
    let error = Ascend::open(&search).expect_err("no operators");
    assert!(matches!(error, Unavailable::NoOperators { .. }), "{error}");

    let root = folder();
    let search = install_without(root.path(), &["libnnopbase.so"]);
    let error = Ascend::open(&search).expect_err("no tensor layer");
    assert!(
        matches!(error, Unavailable::NoTensorLayer { .. }),
        "{error}"
    );
}

#[test]
fn a_runtime_that_is_too_old_is_told_with_all_that_it_lacks() {
    let root = folder();
    let search = install(root.path());
    let old = root.path().join("lib64/libascendcl.so");
    fs::remove_file(&old).expect("a file");
    compile(&old, &function("aclInit", 0), None);
    let error = Ascend::open(&search).expect_err("an old runtime");
    let Unavailable::Incomplete { library, missing } = &error else {
        panic!("{error}");
    };
    let required = |symbol: &&Symbol| symbol.presence == Presence::Required;
    let count = runtime::Runtime::SYMBOLS.iter().filter(required).count();
    assert_eq!((library, missing.len()), (&old, count - 1), "{error}");
}

#[test]
fn an_operator_is_there_with_both_halves_or_not() {
    let root = folder();
    let search = install(root.path());
    let operators = Ascend::open(&search).expect("an installation").operators;
    assert_eq!(operators.Mul.map(|mul| call(mul.launch)), Some(BUILT_IN));
    assert!(operators.Add.is_none(), "without its second half");
    assert!(operators.Sub.is_none());
}

#[test]
fn one_name_of_two_libraries_is_two_functions() {
    let root = folder();
    let mut search = install(root.path());
    search.custom_operators = vec![add_versioned_package(root.path(), root.path(), "0.23.0")];
    let ascend = Ascend::open(&search).expect("an installation");
    let built_in = ascend.operators.MoeGatingTopK.expect("a built-in operator");
    assert_eq!(call(built_in.launch), BUILT_IN);

    let [package] = &ascend.custom[..] else {
        panic!("{:?}", ascend.notes);
    };
    assert_eq!(package.provider, VLLM_ASCEND_0_23_0);
    assert_eq!(package.compiler.as_deref(), Some("9.1.0"));
    let CustomOperators::VllmAscend0_23_0(custom) = &package.operators else {
        panic!("{:?}", package.provider);
    };
    assert_eq!(
        custom.MoeGatingTopK.map(|gate| call(gate.launch)),
        Some(CUSTOM)
    );
    // The library that the package needs has one, which takes other operands.
    assert!(ascend.operators.Compressor.is_some());
    assert!(custom.Compressor.is_none(), "that of another library");
}

#[test]
fn every_symbol_is_asked_for_once() {
    let root = folder();
    let mut search = install(root.path());
    search.custom_operators = vec![add_versioned_package(root.path(), root.path(), "0.23.0")];
    let ascend = Ascend::open(&search).expect("an installation");
    let collectives = collectives::Collectives::SYMBOLS.len();
    let asked =
        |symbol: &&Symbol| symbol.provider != EMULATOR && symbol.provider != VLLM_ASCEND_0_30_0RC2;
    let want = abi::symbols().filter(asked).count() - collectives;
    assert_eq!(ascend.lookups.len(), want);
    let found = |name: &str| {
        let of = |lookup: &&backend_ascend_sys::Lookup| {
            lookup.symbol.name == name && lookup.symbol.library == Library::Opapi
        };
        ascend
            .lookups
            .iter()
            .find(of)
            .and_then(|lookup| lookup.library.clone())
    };
    assert_eq!(
        found("aclnnMul"),
        Some(root.path().join("lib64/libopapi_math.so"))
    );
    assert_eq!(found("aclnnSub"), None);
}

#[test]
fn kernels_are_of_a_chip() {
    let root = folder();
    let mut search = install(root.path());
    let package = add_versioned_package(root.path(), root.path(), "0.23.0");
    let kernels = package.join("op_impl/ai_core/tbe/config/ascend910b");
    fs::create_dir_all(kernels).expect("a folder");
    search.custom_operators = vec![package];
    let ascend = Ascend::open(&search).expect("an installation");
    assert!(ascend.custom[0].has_kernels("ascend910b"));
    assert!(!ascend.custom[0].has_kernels("ascend910_93"));
}

#[test]
fn a_package_of_an_unknown_version_is_told_by_its_folder_and_not_opened() {
    let root = folder();
    let mut search = install(root.path());
    let package = add_versioned_package(root.path(), root.path(), "0.24.0");
    search.custom_operators = vec![package.clone()];
    let ascend = Ascend::open(&search).expect("an installation");
    assert!(ascend.custom.is_empty());
    let note = ascend
        .notes
        .iter()
        .find(|note| matches!(note, Note::Package { .. }));
    let text = told(note.expect("a note"));
    let want = "of version 0.24.0; known are vllm-ascend 0.23.0, 0.30.0rc2";
    assert!(text.starts_with(&package.display().to_string()), "{text}");
    assert!(text.contains(want), "{text}");

    for provider in [VLLM_ASCEND_0_23_0, VLLM_ASCEND_0_30_0RC2] {
        search.assume_version = Some(provider.version.to_owned());
        let ascend = Ascend::open(&search).expect("an installation");
        let used = ascend.custom.iter().map(|package| package.provider);
        assert_eq!(used.collect::<Vec<_>>(), [provider]);
    }
}

#[test]
fn a_package_without_a_version_is_not_opened() {
    let root = folder();
    let mut search = install(root.path());
    let package = root.path().join("a/b/c/package");
    add_package(&package, root.path());
    search.custom_operators = vec![package];
    let ascend = Ascend::open(&search).expect("an installation");
    let refusals = ascend.notes.iter().filter(|note| {
        matches!(
            note,
            Note::Package {
                why: Refusal::NoVersion { .. },
                ..
            }
        )
    });
    assert_eq!(
        (ascend.custom.len(), refusals.count()),
        (0, 1),
        "{:?}",
        ascend.notes
    );
}

#[test]
fn a_hostile_version_file_costs_its_package_alone() {
    let root = folder();
    let mut search = install(root.path());
    let package = add_versioned_package(root.path(), root.path(), "0.23.0");
    search.custom_operators = vec![package.clone()];
    let path = package.join("version.info");
    let long = vec![b'9'; (64 << 10) + 1];
    let files: [(&[u8], &str); 3] = [
        (b"custom_opp_compiler_version=\xff", "not UTF-8"),
        (b"custom_opp_compiler_version=9.1.0 --force", "no version"),
        (&long, "65537 bytes, at most 65536"),
    ];
    for (bytes, want) in files {
        fs::write(&path, bytes).expect("a file");
        let ascend = Ascend::open(&search).expect("an installation");
        assert!(ascend.custom.is_empty(), "{want}");
        let texts: Vec<_> = ascend.notes.iter().map(|note| told(note)).collect();
        assert!(
            texts.iter().any(|text| text.contains(want)),
            "{want}: {texts:?}"
        );
    }
    fs::remove_file(&path).expect("a file");
    fs::create_dir(&path).expect("a folder");
    let ascend = Ascend::open(&search).expect("an installation");
    let texts: Vec<_> = ascend.notes.iter().map(|note| told(note)).collect();
    assert!(
        texts.iter().any(|text| text.contains("not a file")),
        "{texts:?}"
    );
}

#[test]
fn packages_are_tried_in_the_order_of_the_installation() {
    let root = folder();
    let mut search = install(root.path());
    let opp = root.path().join("opp");
    let package = opp.join("vendors/second");
    add_package(&package, root.path());
    fs::create_dir_all(opp.join("vendors/first")).expect("a folder");
    fs::write(
        opp.join("vendors/config.ini"),
        "load_priority=first,second\n",
    )
    .expect("a file");
    search.operators = Some(opp);
    search.assume_version = Some("0.23.0".to_owned());
    let ascend = Ascend::open(&search).expect("an installation");
    assert_eq!(ascend.custom[0].path, package);
    assert!(ascend.notes.is_empty(), "{:?}", ascend.notes);
}

#[test]
fn a_hostile_order_of_packages_leads_nowhere() {
    let root = folder();
    let mut search = install(root.path());
    add_package(&root.path().join("outside"), root.path());
    let opp = root.path().join("opp");
    fs::create_dir_all(opp.join("vendors")).expect("a folder");
    search.operators = Some(opp.clone());
    search.assume_version = Some("0.23.0".to_owned());
    let outside = root.path().join("outside").display().to_string();
    for name in ["../../outside", &outside, "..", "a\0b", ".hidden"] {
        let path = opp.join("vendors/config.ini");
        fs::write(&path, format!("load_priority={name}\n")).expect("a file");
        let ascend = Ascend::open(&search).expect("an installation");
        assert!(ascend.custom.is_empty(), "{name}");
        let [note @ Note::Priority { .. }] = &ascend.notes[..] else {
            panic!("{name}: {:?}", ascend.notes);
        };
        assert!(
            told(note).contains("no name of a package"),
            "{}",
            told(note)
        );
    }
}

#[test]
fn operators_without_their_folder_are_a_note() {
    let root = folder();
    let mut search = install(root.path());
    let unset = Ascend::open(&search).expect("an installation").notes;
    assert_eq!(unset, [Note::OperatorPathUnset]);
    let path = root.path().join("nowhere");
    search.operators = Some(path.clone());
    let missing = Ascend::open(&search).expect("an installation").notes;
    assert_eq!(missing, [Note::OperatorPathMissing { path }]);
    assert!(missing[0].to_string().contains("561107"));
}

/// C for all that an emulator needs.
fn emulator() -> String {
    let tables = [
        emulator::Emulator::SYMBOLS,
        runtime::Runtime::SYMBOLS,
        tensors::TensorLayer::SYMBOLS,
    ];
    tables.iter().map(|symbols| required(symbols)).collect()
}

#[test]
fn an_emulator_has_custom_operators_under_their_prefix_alone() {
    let place = folder();
    let path = place.path().join("libascend_emu.so");
    let mut code = emulator();
    for (prefix, value) in [("", BUILT_IN), ("emu_vllm_ascend_0_23_0_", CUSTOM)] {
        for name in ["aclnnMoeGatingTopK", "aclnnHcPre"] {
            let name = format!("{prefix}{name}");
            code.push_str(&function(&format!("{name}GetWorkspaceSize"), value));
            code.push_str(&launch(&name, value));
        }
    }
    // Without the prefix it is nobody's, for there is no such built-in operator.
    code.push_str(&function("aclnnHcPostGetWorkspaceSize", BUILT_IN));
    code.push_str(&launch("aclnnHcPost", BUILT_IN));
    compile(&path, &code, None);

    let ascend = Ascend::emulator(&path).expect("an emulator");
    assert!(ascend.emulator.is_some());
    let built_in = ascend.operators.MoeGatingTopK.expect("a built-in operator");
    assert_eq!(call(built_in.launch), BUILT_IN);
    let [package] = &ascend.custom[..] else {
        panic!("{:?}", ascend.custom);
    };
    let CustomOperators::VllmAscend0_23_0(custom) = &package.operators else {
        panic!("{:?}", package.provider);
    };
    assert_eq!(
        custom.MoeGatingTopK.map(|gate| call(gate.launch)),
        Some(CUSTOM)
    );
    assert_eq!(custom.HcPre.map(|pre| call(pre.launch)), Some(CUSTOM));
    assert!(custom.HcPost.is_none());
    assert!(package.has_kernels("any"));
    assert_eq!(ascend.lookups.len(), abi::symbols().count());
}

#[test]
fn an_emulator_is_used_where_it_is_named_and_nowhere_else() {
    let root = folder();
    install(root.path());
    let path = root.path().join("lib64/libascendcl.so");
    let error = Ascend::emulator(&path).expect_err("a runtime");
    assert_eq!(error, Unavailable::NotAnEmulator { path: path.clone() });
    let relative = PathBuf::from("libascend_emu.so");
    let error = Ascend::emulator(&relative).expect_err("a relative path");
    assert_eq!(error, Unavailable::RelativeEmulator { path: relative });
    let absent = root.path().join("libascend_emu.so");
    let error = Ascend::emulator(&absent).expect_err("no file");
    assert!(error.to_string().contains("libascend_emu.so"), "{error}");

    let root = folder();
    let search = install(root.path());
    let path = root.path().join("lib64/libascendcl.so");
    compile(&path, &emulator(), None);
    let error = Ascend::open(&search).expect_err("an emulator among libraries");
    assert_eq!(error, Unavailable::EmulatorFound { path });
}
