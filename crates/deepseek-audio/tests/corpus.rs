//! The corpus of the fuzz target `sound`, read once by the same function.

#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/sound.rs"]
mod sound;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("sound", sound::read);
}
