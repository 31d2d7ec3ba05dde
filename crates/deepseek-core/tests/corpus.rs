//! The corpus of the fuzz target, read once by the same function.

#[path = "../../../fuzz/src/checkpoint.rs"]
mod checkpoint;

use std::fs;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/checkpoint");
    let (mut good, mut bad) = (0, 0);
    for entry in fs::read_dir(corpus).expect("the corpus") {
        let path = entry.expect("a file of the corpus").path();
        let read = checkpoint::read(&fs::read(&path).expect("a file of the corpus"));
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) if name.starts_with("good-") => assert!(read, "{name} is refused"),
            Some(name) if name.starts_with("bad-") => assert!(!read, "{name} is read"),
            _ => continue,
        }
        if read { good += 1 } else { bad += 1 }
    }
    assert!(
        good >= 8 && bad >= 6,
        "{good} good files and {bad} bad ones"
    );
}
