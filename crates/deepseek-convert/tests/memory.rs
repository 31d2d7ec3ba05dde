//! A conversion holds no more of a model than a few bands of rows. Alone in its process, whose peak it
//! reads.
#![cfg(target_os = "linux")]

use std::fs;
use std::ops::ControlFlow;

use deepseek_convert::{Conversion, Target};
use deepseek_core::weights::Checkpoint;
use deepseek_model::Config;

/// What a thread holds: a band of a million numbers as floats, in the new format and widened again, and the
/// pages of the files around it.
const THREAD_BYTES: u64 = 12 << 20;
/// What there is beside: names, headers, records.
const BESIDE_BYTES: u64 = 12 << 20;

/// A layer with experts of real size, 6 MB each in FP4.
fn config() -> String {
    let json = include_str!("../../../assets/tiny/config.json");
    let mut config: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let changes = serde_json::json!({
        "hidden_size": 2048, "moe_intermediate_size": 2048, "n_routed_experts": 14,
        "num_hidden_layers": 1, "compress_ratios": [0, 0], "num_hash_layers": 0,
    });
    for (key, value) in changes.as_object().expect("an object") {
        config[key] = value.clone();
    }
    config.to_string()
}

/// The most memory that this process has had, the pages of files among it.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .expect("a number")
        << 10
}

#[test]
fn memory_does_not_grow_with_the_model() {
    let text = config();
    let [from, out] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    deepseek_testkit::write_synthetic(from.path(), &text, 1, &mut |_, _| ()).expect("a checkpoint");
    let checkpoint = Checkpoint::open(from.path()).expect("it holds");
    assert!(
        checkpoint.bytes() > 80 << 20,
        "{} bytes",
        checkpoint.bytes()
    );
    let config = Config::parse(&text).expect("it holds");
    // From here on the peak is counted anew.
    fs::write("/proc/self/clear_refs", "5").expect("a process may forget its own peak");
    let before = peak();
    for (target, threads) in [(Target::W4a8, 1), (Target::W8a8, 2)] {
        let conversion = Conversion::new(&config, &text, &checkpoint, target).expect("it can be");
        let out = out.path().join(target.name());
        let run = conversion.run(&out, threads, &mut |_| ControlFlow::Continue(()));
        run.expect("nothing refuses");
        let more = peak() - before;
        let most = threads as u64 * THREAD_BYTES + BESIDE_BYTES;
        assert!(more <= most, "{target}: {more} bytes more, at most {most}");
    }
}
