//! The corpora of the fuzz targets `image` and `video`, read once by the same functions.

#[path = "../../../fuzz/src/image.rs"]
mod image;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/video.rs"]
mod video;

#[test]
fn every_image_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("image", image::read);
}

#[test]
fn every_video_of_the_corpus_is_read_or_refused_as_its_name_says() {
    replay::corpus("video", video::read);
}
