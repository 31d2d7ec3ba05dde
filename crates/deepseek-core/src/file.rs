//! Files of the outside, opened by name: what stands there is looked at before it is opened, so that
//! nobody waits for a FIFO or reads a device, and no more is read than a bound allows.

use std::fs::{self, File, FileType, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// Links that are followed one after the other: as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Opens a regular file.
///
/// # Errors
/// What the system refuses; [`ErrorKind::InvalidInput`] for a folder, a FIFO, a socket or a device,
/// which is not opened at all.
pub fn open(path: &Path) -> io::Result<File> {
    regular(&metadata(path)?)?;
    let file = File::open(path)?;
    // Another may stand there by now.
    regular(&file.metadata()?)?;
    Ok(file)
}

/// All of a regular file, at most so many bytes.
///
/// # Errors
/// As [`open`] and [`read_all`].
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    match file.metadata()?.len() {
        bytes if bytes > most => Err(too_large(&format!("{bytes} bytes"), most)),
        _ => read_all(file, most),
    }
}

/// All that comes out of a stream, at most so many bytes. Beyond those it is not read.
///
/// # Errors
/// What the system refuses; [`ErrorKind::FileTooLarge`] for more.
pub fn read_all(stream: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more shows that there are too many.
    let read = stream
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    match u64::try_from(read) {
        Ok(read) if read <= most => Ok(bytes),
        _ => Err(too_large("more bytes", most)),
    }
}

/// What the system knows of a path, at the end of all links.
///
/// # Errors
/// What the system refuses. Of a link to nothing it is said where that leads.
pub fn metadata(path: &Path) -> io::Result<Metadata> {
    fs::metadata(path).map_err(|error| match dead_end(path) {
        Some(end) if error.kind() == ErrorKind::NotFound => {
            let why = format!("a link to {}, where there is nothing", end.display());
            io::Error::new(ErrorKind::NotFound, why)
        }
        _ => error,
    })
}

/// Where a path leads if it is a link.
fn dead_end(path: &Path) -> Option<PathBuf> {
    let mut end = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(next) = fs::read_link(&end) else {
            break;
        };
        end = end.parent().unwrap_or(Path::new("")).join(next);
    }
    (end != path).then_some(end)
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let why = format!("{}, not a regular file", kind(metadata.file_type()));
    Err(io::Error::new(ErrorKind::InvalidInput, why))
}

/// What stands in place of a file.
fn kind(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else {
        "a device"
    }
}

fn too_large(what: &str, most: u64) -> io::Error {
    let why = format!("{what}, at most {most} are read");
    io::Error::new(ErrorKind::FileTooLarge, why)
}
