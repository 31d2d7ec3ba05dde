//! The program on accelerators that emulators of their vendors' libraries stand in for, and on machines without either.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::embedded::{assets, question};
use crate::program::{Ran, deepseek, run};

const NOTE: &str = "note: EMULATED: an emulator computes, not a device\n";

/// A vendor's devices, and what an emulator of its libraries shows of them.
struct Vendor {
    /// As they are typed.
    device: &'static str,
    /// The emulator, the variable that names it, and the one that sets it up.
    library: &'static str,
    variable: &'static str,
    config: &'static str,
    /// The chip, and the software behind it.
    chip: &'static str,
    software: &'static str,
    /// Why its chips do no verb whole.
    /// Why operations are composed.
    declined: &'static [(&'static str, &'static str)],
    /// Chips that may be named, and one that is not served.
    chips: &'static [&'static str],
    unserved: &'static str,
    /// A symbol that is looked for.
    symbol: &'static str,
    /// Where the libraries are looked for: the variable, the first of them, and what is missing then.
    home: &'static str,
    first: &'static str,
    missing: &'static str,
    /// Where an installer puts them.
    installed: &'static str,
}

/// Why a chip of Cambricon composes operations.
const CNNL: &str = "composed of the operators of CNNL";

const VENDORS: [Vendor; 2] = [
    Vendor {
        device: "ascend",
        library: "ascend_emu",
        variable: "DEEPSEEK_ASCEND_LIB",
        config: "ASCEND_EMU_CONFIG",
        chip: "Ascend910B3-EMU, family A2",
        software: "CANN 9.1.0",
        declined: &[
            ("hc_pre", "HcPre of vllm-ascend 0.23.0 on "),
            ("hc_post", "HcPost of vllm-ascend 0.23.0 on "),
            ("index_topk", "rows in lists: the indexers take pages"),
            ("attend", "rows in lists: SparseAttnSharedkv takes pages"),
            ("route", "MoeGatingTopKHash of vllm-ascend 0.23.0 on "),
            (
                "experts",
                "roundings within the mixture: GroupedMatmulSwigluQuant",
            ),
        ],
        chips: &["Ascend910B3", "Ascend910_9392", "Ascend950"],
        unserved: "Ascend310P3",
        symbol: "aclrtMalloc",
        home: "ASCEND_HOME_PATH",
        first: "lib64/libascendcl.so",
        missing: "no CANN runtime",
        installed: "/usr/local/Ascend",
    },
    Vendor {
        device: "mlu",
        library: "neuware_emu",
        variable: "DEEPSEEK_NEUWARE_LIB",
        config: "NEUWARE_EMU_CONFIG",
        chip: "MLU590-EMU",
        software: "CNRT 6.14.1, CNNL 1.28.6",
        declined: &[
            ("hc_pre", CNNL),
            ("hc_post", CNNL),
            ("index_topk", CNNL),
            ("attend", CNNL),
            ("route", CNNL),
            ("experts", CNNL),
        ],
        chips: &["MLU590", "MLU590-M9"],
        unserved: "MLU370",
        symbol: "cnrtMalloc",
        home: "NEUWARE_HOME",
        first: "lib64/libcnrt.so",
        missing: "no libcnrt.so",
        installed: "/usr/local/neuware",
    },
];

/// Runs the program to its end with an emulator in place of an installation.
fn emulate<A: AsRef<OsStr>>(vendor: &Vendor, args: &[A]) -> Ran {
    let library = emulator_support::built_library(vendor.library);
    let output = deepseek(args).env(vendor.variable, library).output();
    output.expect("the program starts").into()
}

fn samples() -> Vec<Value> {
    let items = fs::read_to_string(assets("samples/demo.jsonl")).expect("the samples");
    let items = items.lines().map(serde_json::from_str);
    items.collect::<Result<_, _>>().expect("items")
}

#[test]
fn it_answers_the_samples_in_the_words_of_the_host() {
    let items = samples();
    assert!(items.len() >= 4);
    for vendor in &VENDORS {
        for item in &items {
            let line = ["run", "--device", vendor.device];
            let line = line.map(str::to_owned).to_vec();
            let ran = emulate(vendor, &[line, question(item)].concat());
            assert_eq!(ran.err, NOTE, "{} {item}", vendor.device);
            assert_eq!(ran.done().trim_end(), item["answer"], "{}", vendor.device);
        }
    }
}

#[test]
fn it_says_that_it_is_emulated_and_never_how_fast_it_is() {
    for vendor in &VENDORS {
        let first = format!("{}:0", vendor.device);
        let ask = |flags: &[&str]| {
            let line = ["run", "--device", &first, "What is 12 + 30?"];
            let ran = emulate(vendor, &[&line[..], flags].concat());
            assert!(ran.err.starts_with(NOTE), "{ran:?}");
            assert_eq!(ran.code, Some(0), "{ran:?}");
            ran
        };
        let ran = ask(&["--stats"]);
        let line = format!("\ndevice       {first} EMULATED\n");
        assert!(ran.err.contains(&line), "{ran:?}");
        for rate in ["tokens/s", "first token", " s,"] {
            assert!(!ran.err.contains(rate), "{rate} in {ran:?}");
        }
        let json: Value = serde_json::from_str(&ask(&["--json"]).out).expect("JSON");
        assert_eq!(json["device"], format!("{first} EMULATED"));
        assert_eq!(json["seconds"], Value::Null);
        emulate(vendor, &["bench", "--device", vendor.device]).failed(
            2,
            &format!("--device {first}: an emulator has no speed"),
            "measure a device",
        );
    }
}

#[test]
fn several_devices_share_the_model_and_are_told() {
    let item = &samples()[0];
    for vendor in &VENDORS {
        for way in [["--tp", "2"], ["--ep", "2"]] {
            let first = format!("{}:1", vendor.device);
            let words = ["run", "--device", &first, "--stats"];
            let words = words.iter().chain(&way).map(|word| (*word).to_owned());
            let line: Vec<String> = words.collect();
            let library = emulator_support::built_library(vendor.library);
            let output = deepseek(&[line, question(item)].concat())
                .env(vendor.variable, library)
                .env(vendor.config, r#"{"devices": 3, "deadlock_ms": 60000}"#)
                .output();
            let ran = Ran::from(output.expect("the program starts"));
            assert_eq!(ran.code, Some(0), "{ran:?}");
            assert_eq!(ran.out.trim_end(), item["answer"], "{first} {way:?}");
            let told = format!("\ndevice       {first} EMULATED, 2 ranks (");
            assert!(ran.err.contains(&told), "{ran:?}");
        }
        let line = ["run", "--device", vendor.device, "--tp", "2", "x"];
        let want = format!(
            "--device {}:0: 2 from there on, 1 are installed",
            vendor.device
        );
        emulate(vendor, &line).failed(1, &want, "deepseek devices");
    }
}

#[test]
fn it_is_listed_as_what_it_is() {
    for vendor in &VENDORS {
        let first = format!("{}:0", vendor.device);
        let page = emulate(vendor, &["devices"]).done();
        let line = page
            .lines()
            .find(|line| line.contains(&format!(" {first} ")));
        let line = line.expect("a device");
        let about = format!("{}, {}", vendor.chip, vendor.software);
        assert!(line.contains(&about), "{line}");
        assert!(line.ends_with("EMULATED: no device computes"), "{line}");
        let json = emulate(vendor, &["devices", "--json"]).done();
        let json: Value = serde_json::from_str(&json).expect("JSON");
        for device in json.as_array().expect("a list") {
            let is_emulated = device["name"] == first;
            assert_eq!(device["is_emulated"], is_emulated, "{device}");
        }
    }
}

#[test]
fn the_doctor_tries_every_operation_and_writes_a_report() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    for vendor in &VENDORS {
        let file = folder.path().join(format!("{}.json", vendor.device));
        let path = file.to_str().expect("text");
        let ran = emulate(
            vendor,
            &["doctor", "--device", vendor.device, "--report", path],
        );
        assert_eq!(ran.err, NOTE, "{ran:?}");
        let page = ran.done();
        for name in [
            "fills",
            "roundings",
            "products",
            "visits",
            "graphs",
            "self-check",
            "model",
        ] {
            let line = page.lines().find_map(|line| line.strip_prefix(name));
            let line = line.unwrap_or_else(|| panic!("{name} in {page}"));
            assert!(line.trim_start().starts_with("ok: "), "{name}: {line}");
        }
        for (verb, why) in vendor.declined {
            assert!(page.contains(why), "{verb} in {page}");
        }
        assert!(page.contains("EMULATED: no device computes"), "{page}");
        let report = fs::read_to_string(&file).expect("a report");
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(
            (&report["report"], &report["is_emulated"]),
            (&2.into(), &true.into())
        );
        let (name, software) = (&report["chip"]["name"], &report["chip"]["software"]);
        assert!(name.as_str().is_some_and(|name| name.ends_with("-EMU")));
        let about = json!([vendor.chip, vendor.software]);
        assert_eq!(json!([report["chip"]["about"], software]), about);
        assert_eq!(report["failed"].as_array().map(Vec::len), Some(0));
        assert_eq!(
            report["page"].as_array().map(Vec::len),
            Some(page.lines().count())
        );
        let operations = report["operations"].as_array().expect("operations");
        assert_eq!(operations.len(), 13);
        assert!(
            operations
                .iter()
                .all(|case| case["results"].as_u64() > Some(0))
        );
        // Symbols by whose they are and by the name of the file that has them.
        let files = report["symbols"].as_object().expect("symbols").values();
        let library = format!("lib{}.so", vendor.library);
        let mut names = files.filter_map(|files| files[&library].as_array());
        assert!(names.any(|names| names.contains(&vendor.symbol.into())));
        assert!(report["missing"].as_object().is_some());
    }
}

#[test]
fn a_chip_tells_of_every_operation_without_a_device() {
    for vendor in &VENDORS {
        for name in vendor.chips {
            let chip = format!("{}:{name}", vendor.device);
            let page = run(&["inspect", "--device", &chip]).done();
            let (_, page) = page.split_once("\noperations on ").expect("a list");
            assert!(page.starts_with(name), "{page}");
            for (verb, why) in vendor.declined {
                let line = format!("\n  {verb:<10} composed: {why}");
                assert!(page.contains(&line), "{verb} in {page}");
            }
        }
        let line = ["inspect", "--json", "--device", vendor.device];
        let json: Value = serde_json::from_str(&emulate(vendor, &line).done()).expect("JSON");
        assert_eq!(json["chip"]["name"], vendor.chip);
        assert_eq!(json["chip"]["verbs"].as_array().map(Vec::len), Some(6));
        let unserved = format!("{}:{}", vendor.device, vendor.unserved);
        run(&["inspect", "--device", &unserved]).failed(2, "want ascend[:SOC]", "--help");
    }
}

#[test]
fn a_machine_without_the_libraries_says_what_was_looked_for() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let home = folder.path().to_str().expect("text");
    for vendor in &VENDORS {
        if Path::new(vendor.installed).exists() {
            continue;
        }
        let Vendor { missing, first, .. } = vendor;
        let looked = format!("{missing}, tried: {home}/{first}, ");
        let ask = |line: &[&str]| {
            let output = deepseek(line).env(vendor.home, home).output();
            Ran::from(output.expect("it starts"))
        };
        for command in [&["run", "x"][..], &["doctor"], &["inspect"]] {
            let hint = if command[0] == "inspect" {
                "name a chip"
            } else {
                vendor.home
            };
            let ran = ask(&[command, &["--device", vendor.device]].concat());
            ran.failed(1, &looked, hint);
        }
        let page = ask(&["devices"]).done();
        assert!(
            page.contains(&format!("\n- {:<11} {looked}", vendor.device)),
            "{page}"
        );
        let ran = deepseek(&["run", "--device", vendor.device, "x"])
            .env(vendor.variable, "libemulator.so")
            .output();
        let ran = Ran::from(ran.expect("it starts"));
        ran.failed(1, "the path of an emulator is absolute", "");
    }
}
