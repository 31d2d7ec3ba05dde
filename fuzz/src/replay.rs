//! Reads the corpus of a fuzz target once, in the tests of the crate whose reader it is for.

use std::fs;

/// Reads every file of a corpus. What begins with `good-` must be read and what begins with `bad-`
/// refused; of both there are some. Other names, such as a fuzzer gives, need only be survived.
pub(crate) fn corpus(target: &str, read: impl Fn(&[u8]) -> bool) {
    let folder = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("a file of the corpus").path();
        let is_read = read(&fs::read(&path).expect("a file of the corpus"));
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if name.starts_with("good-") => assert!(is_read, "{name} is refused"),
            Some(name) if name.starts_with("bad-") => assert!(!is_read, "{name} is read"),
            _ => continue,
        }
        if is_read { good += 1 } else { bad += 1 }
    }
    assert!(
        good >= 1 && bad >= 3,
        "{target}: {good} good files and {bad} bad ones"
    );
}
