//! The corpora of the fuzz targets `picture` and `film`, read once by the same functions.

#[path = "../../../fuzz/src/film.rs"]
mod film;
#[path = "../../../fuzz/src/picture.rs"]
mod picture;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn every_image_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("picture", picture::read);
}

#[test]
fn every_video_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("film", film::read);
}
