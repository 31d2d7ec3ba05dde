//! The table against itself: names, tiers, counts, and what the release notes say of signatures.

use std::collections::BTreeSet;

use backend_cambricon_sys::signature::Type;
use backend_cambricon_sys::types::HANDLES;
use backend_cambricon_sys::{Library, Symbol, Tier, abi};

/// How many symbols each table has.
const COUNTS: [usize; 6] = [49, 14, 144, 21, 23, 4];

#[test]
fn tables_have_their_symbols() {
    assert_eq!(abi::TABLES.map(<[Symbol]>::len), COUNTS);
    assert_eq!(abi::symbols().count(), COUNTS.iter().sum::<usize>());
}

#[test]
fn no_name_stands_for_two_entries() {
    let mut seen = BTreeSet::new();
    for name in abi::symbols().flat_map(Symbol::names) {
        assert!(seen.insert(name), "{name}");
    }
}

#[test]
fn no_function_names_two_parameters_alike() {
    for symbol in abi::symbols() {
        let params = symbol.signature.params;
        let names: BTreeSet<_> = params.iter().map(|param| param.name).collect();
        assert_eq!(names.len(), params.len(), "{}", symbol.name);
    }
}

#[test]
fn what_is_not_of_the_runtime_or_the_operators_is_not_of_the_first_tier() {
    for symbol in abi::symbols() {
        let is_core = matches!(
            symbol.library,
            Library::Cnrt | Library::Cnnl | Library::Emulator
        );
        assert!(is_core || symbol.tier > Tier::First, "{}", symbol.name);
    }
    let tier = |name: &str| {
        abi::symbols()
            .find(|symbol| symbol.name == name)
            .expect(name)
            .tier
    };
    let tiers = [
        ("cnnlMatMul_v2", Tier::First),
        ("cnnlBatchMatMulEx", Tier::First),
        ("cnnlMatMulEx_v2", Tier::Second),
        ("cnnlGroupGemm", Tier::Second),
        ("cnrtMemAllocAsync", Tier::Third),
        ("cnrtQueueBeginCapture", Tier::Third),
    ];
    for (name, want) in tiers {
        assert_eq!(tier(name), want, "{name}");
    }
}

#[test]
fn the_structure_of_properties_is_not_bound() {
    let names = abi::symbols().flat_map(Symbol::names);
    let bound: Vec<_> = names
        .filter(|name| name.contains("GetDeviceProperties"))
        .collect();
    assert!(bound.is_empty(), "{bound:?}");
}

#[test]
fn an_operator_with_a_workspace_has_a_function_that_asks_for_its_size() {
    // Those whose size comes with the algorithm.
    let by_algorithm = ["cnnlMatMul_v2", "cnnlBatchMatMulEx", "cnnlMatMulEx_v2"];
    // Those that have a workspace in their signature and none to ask for: they are given none.
    let without = ["cnnlRotaryEmbedding_v2", "cnnlGroupQuant"];
    let names: BTreeSet<_> = abi::symbols().map(|symbol| symbol.name).collect();
    for symbol in abi::symbols() {
        let takes = symbol
            .signature
            .params
            .iter()
            .any(|param| param.name == "workspace");
        if !takes || by_algorithm.contains(&symbol.name) || without.contains(&symbol.name) {
            continue;
        }
        let core = symbol.name.trim_start_matches("cnnl");
        let core = core
            .split('_')
            .next()
            .unwrap_or(core)
            .trim_end_matches("Forward");
        let asks = |name: &&str| name.contains(core) && name.contains("WorkspaceSize");
        assert!(names.iter().any(asks), "{}: {core}", symbol.name);
    }
}

#[test]
fn signatures_are_normalised() {
    let signature = |name: &str| {
        let found = abi::symbols().find(|symbol| symbol.name == name);
        found.expect(name).signature.to_string()
    };
    assert_eq!(
        signature("cnrtMalloc"),
        "(pPtr: *mut *mut void, bytes: usize) -> u32"
    );
    assert_eq!(
        signature("cnnlConcat"),
        "(handle: cnnlHandle_t, concat_num: i32, axis: i32, inputs_desc: *const cnnlTensorDescriptor_t, \
         inputs: *const *const void, workspace: *mut void, workspace_size: usize, \
         output_desc: cnnlTensorDescriptor_t, output: *mut void) -> u32"
    );
    assert_eq!(
        signature("cnnlGetLibVersion"),
        "(major: *mut i32, minor: *mut i32, patch: *mut i32) -> void"
    );
}

#[test]
fn structures_that_pass_by_value_are_handles_but_for_one() {
    for symbol in abi::symbols() {
        for param in symbol.signature.params {
            let Type::Struct(name) = param.of else {
                continue;
            };
            assert!(
                HANDLES.contains(&name) || name == "cnrtDim3_t",
                "{}",
                symbol.name
            );
        }
    }
}
