//! The corpus of the fuzz target `audio`, read once by the same function.

#[path = "../../../fuzz/src/audio.rs"]
mod audio;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("audio", audio::read);
}
