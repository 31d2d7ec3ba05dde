//! What the program finds out about a machine.

use crate::program::{Checkpoint, run};

fn line<'a>(page: &'a str, name: &str) -> &'a str {
    let line = page.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {page}")).trim()
}

#[test]
fn a_page_tells_what_there_is_and_that_it_works() {
    let page = run(&["doctor", "--threads", "2"]).done();
    for name in ["system", "processor", "memory"] {
        assert!(!line(&page, name).is_empty(), "{page}");
    }
    let version = line(&page, "deepseek");
    assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{page}");
    assert!(line(&page, "kernels").starts_with("cpu:"), "{page}");
    assert!(
        line(&page, "reading").ends_with("GB/s, 2 threads"),
        "{page}"
    );
    let check = line(&page, "self-check");
    assert!(
        check.starts_with("ok: ") && check.contains("cpu:p"),
        "{page}"
    );
    assert!(
        line(&page, "model").starts_with("ok: the embedded one"),
        "{page}"
    );
}

/// The plain kernels are held against the second implementation, and that one against them.
#[test]
fn every_device_has_another_to_be_held_against() {
    for (device, other) in [("cpu:plain", "of cpu-plain"), ("cpu-plain", "of cpu:plain")] {
        let page = run(&["doctor", "--device", device]).done();
        let check = line(&page, "self-check");
        assert!(
            check.starts_with("ok: ") && check.ends_with(other),
            "{page}"
        );
        let is_measured = page.contains("multiplying");
        assert_eq!(is_measured, device == "cpu:plain", "{page}");
    }
}

#[test]
fn a_model_is_held_against_the_memory() {
    let checkpoint = Checkpoint::endless();
    let ask = |more: &[&str]| checkpoint.run("doctor", more).done();
    let page = ask(&["--context", "100000"]);
    let model = line(&page, "model").to_owned();
    assert!(model.contains("for 100000 tokens"), "{page}");
    let page = ask(&[]);
    assert!(line(&page, "model").contains("for 8192 tokens"), "{page}");
    assert_ne!(line(&page, "model"), model);
}

#[test]
fn a_model_that_is_not_there_is_told_before_anything_is_measured() {
    let ran = run(&["doctor", "--model", "/nowhere"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
}
