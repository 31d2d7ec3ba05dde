//! The table against itself: names, pairs, counts, and the signatures that are known to differ.

use std::collections::BTreeSet;

use backend_ascend_sys::abi::{self, operators, vllm_ascend_0_23_0, vllm_ascend_0_30_0rc2};
use backend_ascend_sys::signature::Type;
use backend_ascend_sys::{CANN, EMULATOR, Presence, Symbol, VLLM_ASCEND_0_30_0RC2};

/// How many symbols each table has: functions, and two for each operator.
const COUNTS: [usize; 9] = [70, 12, 48, 1, 256, 31, 66, 22, 5];

#[test]
fn tables_have_their_symbols() {
    assert_eq!(abi::TABLES.map(<[Symbol]>::len), COUNTS);
    assert_eq!(abi::symbols().count(), COUNTS.iter().sum::<usize>());
}

#[test]
fn no_provider_declares_a_name_twice() {
    let mut seen = BTreeSet::new();
    for symbol in abi::symbols() {
        let provider = (symbol.provider.name, symbol.provider.version);
        assert!(
            seen.insert((provider, symbol.name)),
            "{provider:?} {}",
            symbol.name
        );
    }
}

#[test]
fn no_function_names_two_parameters_alike() {
    for symbol in abi::symbols() {
        let names: BTreeSet<_> = symbol
            .signature
            .params
            .iter()
            .map(|param| param.name)
            .collect();
        assert_eq!(
            names.len(),
            symbol.signature.params.len(),
            "{}",
            symbol.name
        );
    }
}

#[test]
fn an_operator_is_a_pair() {
    for table in [
        operators::Operators::SYMBOLS,
        vllm_ascend_0_23_0::Operators::SYMBOLS,
        vllm_ascend_0_30_0rc2::Operators::SYMBOLS,
    ] {
        for pair in table.chunks(2) {
            let [plan, launch] = pair else {
                panic!("{}: alone", pair[0].name);
            };
            assert_eq!(plan.name, format!("{}GetWorkspaceSize", launch.name));
            let ends = "workspaceSize: *mut u64, executor: *mut *mut aclOpExecutor) -> i32";
            assert!(plan.signature.to_string().ends_with(ends), "{}", plan.name);
            assert_eq!(
                launch.signature.to_string(),
                "(workspace: *mut void, workspaceSize: u64, executor: *mut aclOpExecutor, \
                 stream: *mut void) -> i32"
            );
        }
    }
}

#[test]
fn signatures_are_normalised() {
    let signature = |name: &str| {
        let found = abi::symbols().find(|symbol| symbol.provider == CANN && symbol.name == name);
        found.expect(name).signature.to_string()
    };
    assert_eq!(
        signature("aclrtMalloc"),
        "(devPtr: *mut *mut void, size: usize, policy: u32) -> i32"
    );
    assert_eq!(signature("aclGetRecentErrMsg"), "() -> *const char");
    assert_eq!(
        signature("aclCreateScalar"),
        "(value: *mut void, dataType: i32) -> *mut aclScalar"
    );
    assert_eq!(
        signature("ReleaseHugeMem"),
        "(arg: *mut void, sync: bool) -> void"
    );
}

#[test]
fn nothing_passes_a_structure_by_value() {
    for symbol in abi::symbols() {
        let types = symbol.signature.params.iter().map(|param| param.of);
        for of in types.chain([symbol.signature.result]) {
            assert!(!matches!(of, Type::Struct(_)), "{}", symbol.name);
        }
    }
}

#[test]
fn what_no_binary_attests_is_optional() {
    let unattested = abi::symbols().filter(|symbol| symbol.provider == VLLM_ASCEND_0_30_0RC2);
    for symbol in unattested {
        assert!(!symbol.provider.has_headers);
        assert_eq!(symbol.presence, Presence::Optional, "{}", symbol.name);
    }
}

#[test]
fn names_that_differ_between_providers_are_kept_apart() {
    let params = |table: &[Symbol], name: &str| {
        let found = table.iter().find(|symbol| symbol.name == name);
        found.map(|symbol| symbol.signature.params.len())
    };
    let built_in = operators::Operators::SYMBOLS;
    let first = vllm_ascend_0_23_0::Operators::SYMBOLS;
    let second = vllm_ascend_0_30_0rc2::Operators::SYMBOLS;
    let cases = [
        ("aclnnCompressor", Some(17), Some(22), None),
        ("aclnnGroupedMatmulSwigluQuantV2", Some(17), Some(18), None),
        ("aclnnHcPre", None, Some(13), Some(15)),
        ("aclnnInplacePartialRotaryMul", Some(7), Some(7), Some(8)),
        ("aclnnMoeGatingTopKHash", None, Some(18), Some(21)),
    ];
    for (name, cann, v23, v30) in cases {
        let name = format!("{name}GetWorkspaceSize");
        let found = [built_in, first, second].map(|table| params(table, &name));
        assert_eq!(found, [cann, v23, v30], "{name}");
    }
}

#[test]
fn an_emulator_tells_providers_apart_by_a_prefix() {
    let first = |table: &[Symbol]| table[0].emulated_name();
    assert_eq!(
        first(vllm_ascend_0_23_0::Operators::SYMBOLS),
        "emu_vllm_ascend_0_23_0_aclnnCompressorMetadataGetWorkspaceSize"
    );
    assert_eq!(
        first(vllm_ascend_0_30_0rc2::Operators::SYMBOLS),
        "emu_vllm_ascend_0_30_0rc2_aclnnHcPreGetWorkspaceSize"
    );
    let matmul = first(operators::Operators::SYMBOLS);
    assert_eq!(matmul, "aclnnMatmulGetWorkspaceSize");
    assert_eq!(CANN.emulator_prefix(), "");
    assert_eq!(EMULATOR.emulator_prefix(), "");
}
