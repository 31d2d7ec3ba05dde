//! The corpora of the fuzz targets `conversation` and `tokenizer`, read once by the same functions.

#[path = "../../../fuzz/src/conversation.rs"]
mod conversation;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/tokenizer.rs"]
mod tokenizer;

#[test]
fn every_file_of_the_corpora_is_read_or_refused_as_its_name_says() {
    replay::corpus("conversation", conversation::read);
    replay::corpus("tokenizer", tokenizer::read);
}
