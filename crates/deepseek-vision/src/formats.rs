//! Kinds of files: those that are read, as messages and help texts list them, and those that are known
//! by name alone.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

/// What is read as an image.
pub const IMAGES: &str = "PNG, JPEG, GIF, WebP, BMP, TIFF";
/// What is read as a video without the feature `video`.
pub const VIDEOS: &str = "GIF, APNG, WebP, Y4M, MJPEG-AVI, numbered images";

/// First bytes of a file that are looked at to find its kind: two packets of a transport stream, and
/// of a text as much as stands before its first element.
pub(crate) const HEAD_BYTES: usize = 512;
/// Bytes of a packet of a transport stream.
const TS_BYTES: usize = 188;

/// What files begin with that this crate does not read: bytes, where they are, and the kind.
const MARKS: [(usize, &[u8], &str); 69] = [
    (0, b"\0\0\0\x0CJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xFF\x0A", "JPEG XL"),
    (0, b"\0\0\0\x0CjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xFF\x4F\xFF\x51", "JPEG 2000"),
    (0, b"II\xBC\x01", "JPEG XR"),
    (0, b"\xFF\xD8\xFF\xF7", "JPEG-LS"),
    (0, b"8BPS", "PSD"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"\0\0\x02\0\0\0", "TGA"),
    (0, b"\0\0\x0A\0\0\0", "TGA"),
    (0, b"\0\0\x02\0", "CUR"),
    (0, b"icns", "ICNS"),
    (0, b"qoif", "QOI"),
    (0, b"\x76\x2F\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"DDS ", "DDS"),
    (0, b"farbfeld", "farbfeld"),
    (0, b"BPG\xFB", "BPG"),
    (0, b"FLIF", "FLIF"),
    (0, b"\x0A\x05\x01", "PCX"),
    (0, b"\x59\xA6\x6A\x95", "Sun raster"),
    (0, b"\x01\xDA", "SGI"),
    (0, b"gimp xcf", "XCF"),
    (0, b"/* XPM */", "XPM"),
    (0, b"#define", "XBM"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"FORM", "IFF"),
    (0, b"\xD7\xCD\xC6\x9A", "WMF"),
    (0, b"\x01\0\0\0\x58\0\0\0", "EMF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x8AMNG", "MNG"),
    (0, b"\x8BJNG", "JNG"),
    (0, b"YUV4MPEG2", "Y4M video"),
    (8, b"AVI ", "AVI video"),
    (8, b"WAVE", "WAV audio"),
    (0, b"\x1A\x45\xDF\xA3", "Matroska or WebM"),
    (0, b"FLV\x01", "FLV"),
    (0, b"\x30\x26\xB2\x75\x8E\x66\xCF\x11", "ASF (WMV, WMA)"),
    (0, b"\0\0\x01\xBA", "MPEG-PS"),
    (0, b"\0\0\x01\xB3", "MPEG video"),
    (0, b"\0\0\0\x01\x67", "H.264 video"),
    (0, b"\0\0\0\x01\x40", "H.265 video"),
    (0, b"DKIF", "IVF"),
    (0, b".RMF", "RealMedia"),
    (0, b"FWS", "Flash"),
    (0, b"CWS", "Flash"),
    (0, b"ZWS", "Flash"),
    (4, b"moov", "QuickTime"),
    (4, b"mdat", "QuickTime"),
    (4, b"wide", "QuickTime"),
    (0, b"OggS", "Ogg"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"ID3", "MP3 audio"),
    (0, b"caff", "CAF audio"),
    (0, b"MThd", "MIDI"),
    (0, b"RF64", "RF64 audio"),
    (0, b"PK\x03\x04", "ZIP archive"),
    (0, b"\x1F\x8B", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xFD7zXZ\0", "xz"),
    (0, b"\x28\xB5\x2F\xFD", "Zstandard"),
    (0, b"7z\xBC\xAF\x27\x1C", "7-Zip archive"),
    (0, b"Rar!", "RAR archive"),
    (0, b"\x7FELF", "ELF program"),
    (0, b"MZ", "Windows program"),
    (257, b"ustar", "tar archive"),
];

/// What the file type box of ISO media says, by the beginning of its brand.
const BRANDS: [(&[u8], &str); 14] = [
    (b"avi", "AVIF"),
    (b"hei", "HEIC"),
    (b"hev", "HEIC"),
    (b"mif1", "HEIF"),
    (b"msf1", "HEIF"),
    (b"crx ", "Canon CR3"),
    (b"jp", "JPEG 2000"),
    (b"mj", "Motion JPEG 2000"),
    (b"qt", "QuickTime"),
    (b"M4A", "M4A audio"),
    (b"M4B", "M4A audio"),
    (b"3g", "3GPP"),
    (b"F4", "F4V"),
    (b"", "MP4"),
];

/// How texts that are images or pages begin, behind a byte-order mark, blanks and a declaration.
const ELEMENTS: [(&[u8], &str); 4] = [
    (b"<svg", "SVG"),
    (b"<!doctype svg", "SVG"),
    (b"<!doctype html", "HTML page"),
    (b"<html", "HTML page"),
];

/// Whether a file is a RIFF container of this kind.
pub(crate) fn is_riff(bytes: &[u8], kind: &[u8; 4]) -> bool {
    matches!(bytes, [b'R', b'I', b'F', b'F', _, _, _, _, own @ ..] if own.starts_with(kind))
}

/// The kind of a file, if it is one that is known by name and not read.
pub(crate) fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let has = |at: usize, mark: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(mark));
    if has(4, b"ftyp") {
        let mut brands = BRANDS.into_iter();
        return brands.find_map(|(brand, kind)| has(8, brand).then_some(kind));
    }
    let mut marks = MARKS.into_iter();
    let marked = marks.find_map(|(at, mark, kind)| has(at, mark).then_some(kind));
    marked
        .or_else(|| portable(bytes))
        .or_else(|| transport(bytes))
        .or_else(|| text(bytes))
        .or_else(|| bytes.ends_with(b"TRUEVISION-XFILE.\0").then_some("TGA"))
}

/// The formats of Netpbm: a letter, a digit and white space.
fn portable(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [b'P', b'1'..=b'7' | b'F' | b'f', blank, ..] if blank.is_ascii_whitespace() => Some("PNM"),
        _ => None,
    }
}

/// Transport streams begin each packet with the same byte, those of cameras behind a time.
fn transport(bytes: &[u8]) -> Option<&'static str> {
    let begins = |at: usize| bytes.get(at) == Some(&0x47);
    let is_plain = begins(0) && begins(TS_BYTES);
    let is_timed = begins(4) && begins(TS_BYTES.saturating_add(8));
    (is_plain || is_timed).then_some("MPEG-TS")
}

fn text(bytes: &[u8]) -> Option<&'static str> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let head = bytes.get(..HEAD_BYTES).unwrap_or(bytes);
    let head = head.trim_ascii_start().to_ascii_lowercase();
    let is_declared = head.starts_with(b"<?xml") || head.starts_with(b"<!--");
    let begins = |at: &[u8]| {
        let mut elements = ELEMENTS.into_iter();
        elements.find_map(|(element, kind)| at.starts_with(element).then_some(kind))
    };
    if is_declared {
        let mut places = 0..head.len();
        return places.find_map(|at| begins(head.get(at..)?));
    }
    begins(&head)
}
