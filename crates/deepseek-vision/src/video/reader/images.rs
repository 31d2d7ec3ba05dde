//! Numbered images, one file each.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use deepseek_core::file;

use crate::image::{Image, ImageError};
use crate::limits::FILE_BYTES_MAX;

use super::super::error::VideoError;
use super::{FrameReader, Parts, Rate, Timeline, in_room, room_for_frame};

const FORMAT: &str = "image folder";

/// What the names of images end in.
const ENDINGS: [&str; 8] = ["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

struct Images {
    paths: Vec<PathBuf>,
    decode: fn(&[u8]) -> Result<Image, ImageError>,
}

/// The images of a folder, or those that fit a pattern, in their order.
pub(super) fn files(at: &Path) -> Result<Vec<PathBuf>, VideoError> {
    if at.is_dir() {
        return find(at, is_image);
    }
    let pattern = at.file_name().map(OsStr::to_string_lossy);
    let pattern = pattern.unwrap_or_default();
    let folder = at.parent().filter(|folder| *folder != Path::new(""));
    find(folder.unwrap_or(Path::new(".")), |name| {
        fits(name, &pattern)
    })
}

pub(super) fn open(at: &Path, fps: f64) -> Result<Parts, VideoError> {
    let rate = Rate::new(fps, 1.0)?;
    let paths = files(at)?;
    let ticks: Vec<u64> = (0..).zip(&paths).map(|(tick, _)| tick).collect();
    let end = u64::try_from(ticks.len()).unwrap_or(u64::MAX);
    let timeline = Timeline::of_ticks(FORMAT, &ticks, end, rate)?;
    let decode = Image::decode;
    Ok(Parts::new(timeline, Images { paths, decode }))
}

/// The files of a folder with such names, by number and then by name.
fn find(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, VideoError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // What is no file, such as a link to nothing, is missed when its turn comes, not passed over.
        if is_wanted(&name) && !entry.path().is_dir() {
            room_for_frame(found.len())?;
            let Some(number) = number(&name) else {
                return Err(VideoError::Unnumbered { name });
            };
            found.push((number, name, entry.path()));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, _, path)| path).collect())
}

fn is_image(name: &str) -> bool {
    let ending = Path::new(name).extension().map(OsStr::to_ascii_lowercase);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// Whether a name is the pattern with any text in place of its first star.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| rest.ends_with(after)),
        None => name == pattern,
    }
}

/// The last number in a name, its ending aside: by its length without zeros and its digits, so that
/// it may be of any size.
fn number(name: &str) -> Option<(usize, String)> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let digits = |c: char| c.is_ascii_digit();
    let behind = stem.trim_end_matches(|c| !digits(c));
    let before = behind.trim_end_matches(digits);
    let number = behind
        .strip_prefix(before)
        .filter(|text| !text.is_empty())?;
    let number = number.trim_start_matches('0');
    Some((number.len(), number.to_owned()))
}

impl FrameReader for Images {
    fn frame(&mut self, index: usize) -> Result<Image, VideoError> {
        let Some(path) = self.paths.get(index) else {
            return Err(VideoError::NoFrames { format: FORMAT });
        };
        let most = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
        let bytes = file::read(path, most).map_err(|error| {
            let why = format!("{}: {error}", path.display());
            io::Error::new(error.kind(), why)
        })?;
        let image = (self.decode)(&bytes).map_err(|source| {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            VideoError::Image { name, source }
        });
        in_room(image?)
    }

    fn orient_as_published(&mut self) {
        self.decode = Image::decode_as_published;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_last_of_a_name_and_may_be_long() {
        let order = [
            "shot2_0009.png",
            "a10.jpg",
            "7_11.x.png",
            "p99999999999999999999999.png",
        ];
        let numbers: Vec<_> = order.iter().map(|name| number(name)).collect();
        assert!(
            numbers.is_sorted() && numbers.iter().all(Option::is_some),
            "{numbers:?}"
        );
        assert_eq!(number("a007.png"), number("b7.png"));
        assert_eq!(number("cover.jp2"), None);
        assert!(number("0.png").is_some());
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, fits_it) in [
            ("*", true),
            ("a*.png", true),
            ("a1.png", true),
            ("a*1.png", true),
            ("a1*1.png", false),
            ("b*", false),
            ("a1.pn", false),
        ] {
            assert_eq!(fits("a1.png", pattern), fits_it, "{pattern}");
        }
    }
}
