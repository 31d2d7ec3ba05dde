//! What is written by name. A regular file is written beside its place and moved there when it is
//! whole. Whatever else stands there, a FIFO or a device, is written into and stays. Links are followed.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf, is_separator};

use tempfile::NamedTempFile;

/// Links that are followed one after the other: as many as Linux follows.
const LINKS_MAX: usize = 40;

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    /// No file can have this name.
    #[error("{}: want a file, not a folder", .0.display())]
    Folder(PathBuf),
    /// The file is not to be written.
    #[error("{}: a file that is read-only is not replaced", .0.display())]
    ReadOnly(PathBuf),
    /// It would be lost while it is needed.
    #[error("{}: the same file as {}, which is read", .place.display(), .input.display())]
    Input {
        /// What was to be written.
        place: PathBuf,
        /// What is read.
        input: PathBuf,
    },
    /// The system refuses.
    #[error("{}", .place.display())]
    Io {
        /// What was to be written.
        place: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Where something is to be written, looked at and not yet touched.
#[derive(Debug)]
pub(crate) struct Place {
    /// As it was named.
    named: PathBuf,
    /// At the end of all links.
    real: PathBuf,
    /// What stands there, if anything does.
    there: Option<Metadata>,
}

impl Place {
    /// Looks at a place.
    ///
    /// # Errors
    /// A name that no file can have, and a file that may not be written.
    pub(crate) fn find(named: &Path) -> Result<Self, OutputError> {
        let refused = |source| OutputError::Io {
            place: named.to_owned(),
            source,
        };
        if named.to_string_lossy().ends_with(is_separator) || named.file_name().is_none() {
            return Err(OutputError::Folder(named.to_owned()));
        }
        let real = follow(named).map_err(refused)?;
        let there = match fs::metadata(&real) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(refused(error)),
        };
        let place = Self {
            named: named.to_owned(),
            real,
            there,
        };
        match &place.there {
            Some(there) if there.is_dir() => Err(OutputError::Folder(place.named)),
            // The bits count for root, too, whom no system stops.
            Some(there) if there.is_file() && there.permissions().readonly() => {
                Err(OutputError::ReadOnly(place.named))
            }
            Some(there) if there.is_file() => {
                let opened = OpenOptions::new().append(true).open(&place.real);
                opened.map_err(refused)?;
                Ok(place)
            }
            _ => Ok(place),
        }
    }

    /// Refuses to be one of the files that are read, by whatever name.
    ///
    /// # Errors
    /// The first that it is.
    pub(crate) fn spare(
        &self,
        inputs: impl IntoIterator<Item = PathBuf>,
    ) -> Result<(), OutputError> {
        match inputs.into_iter().find(|input| self.is(input)) {
            None => Ok(()),
            Some(input) => Err(OutputError::Input {
                place: self.named.clone(),
                input,
            }),
        }
    }

    /// Whether a path leads to the regular file that stands here.
    fn is(&self, input: &Path) -> bool {
        match (&self.there, fs::metadata(input)) {
            (Some(there), Ok(other)) if there.is_file() => same(there, &other, &self.real, input),
            _ => false,
        }
    }

    /// Whether a file is to be moved here: where nothing stands, or a regular file that is named itself.
    pub(crate) fn makes_file(&self) -> bool {
        let regular = self.there.as_ref().is_none_or(Metadata::is_file);
        regular && !names_descriptor(&self.real)
    }

    /// Whether a file is there that would be lost.
    pub(crate) fn replaces(&self) -> bool {
        self.there.is_some() && self.makes_file()
    }

    /// Opens what stands here, or a file beside the place. A FIFO waits for its reader.
    ///
    /// # Errors
    /// A folder that is missing or takes no files, and what the system refuses.
    pub(crate) fn open(self) -> Result<Output, OutputError> {
        let to = match &self.there {
            old if self.makes_file() => self.beside(old.as_ref()),
            // What others have written through the same descriptor stays.
            there => OpenOptions::new()
                .write(true)
                .append(there.as_ref().is_some_and(Metadata::is_file))
                .open(&self.real)
                .map(To::Into),
        };
        match to {
            Ok(to) => Ok(Output {
                place: self.named,
                file: BufWriter::new(to),
            }),
            Err(source) => Err(OutputError::Io {
                place: self.named,
                source,
            }),
        }
    }

    /// A new file in the folder of the place, with the mode and the owner of the old one.
    fn beside(&self, old: Option<&Metadata>) -> io::Result<To> {
        let folder = self.real.parent().filter(|path| *path != Path::new(""));
        let folder = folder.unwrap_or(Path::new("."));
        // What is missing is better named without the name of the new file.
        fs::metadata(folder)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".deepseek-").suffix(".partial");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let partial = builder.tempfile_in(folder)?;
        if let Some(old) = old {
            #[cfg(unix)]
            {
                use std::os::unix::fs::{MetadataExt, fchown};

                // Only root may give a file away; anyone else makes it his own.
                let _ = fchown(partial.as_file(), Some(old.uid()), Some(old.gid()));
            }
            partial.as_file().set_permissions(old.permissions())?;
        }
        Ok(To::Beside {
            partial,
            real: self.real.clone(),
        })
    }
}

/// A file that is being written. Dropped before its end, it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Output {
    place: PathBuf,
    file: BufWriter<To>,
}

#[derive(Debug)]
enum To {
    /// A file to be moved to its place.
    Beside {
        partial: NamedTempFile,
        real: PathBuf,
    },
    /// What stands in the place.
    Into(File),
}

impl Output {
    /// The file beside the place, which whoever ends the program at once is to remove.
    pub(crate) fn partial(&self) -> Option<&Path> {
        match self.file.get_ref() {
            To::Beside { partial, .. } => Some(partial.path()),
            To::Into(_) => None,
        }
    }

    /// Writes more.
    ///
    /// # Errors
    /// What the system refuses: a disk that is full, a reader that has gone.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| OutputError::Io {
            place: self.place.clone(),
            source,
        })
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// As [`Output::push`].
    pub(crate) fn finish(self) -> Result<(), OutputError> {
        let put = || {
            let to = self
                .file
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            if let To::Beside { partial, real } = to {
                partial.as_file().sync_all()?;
                partial.persist(real).map_err(|error| error.error)?;
            }
            Ok(())
        };
        let place = self.place;
        put().map_err(|source| OutputError::Io { place, source })
    }
}

/// For what is written by others; what fails then does not name the place.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Beside { partial, .. } => partial.write(bytes),
            Self::Into(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The number under which what a path names is open, such as 1 for `/dev/stdout`.
pub(crate) fn descriptor(path: &Path) -> Option<OsString> {
    let real = follow(path).ok()?;
    let name = real.file_name()?.to_owned();
    names_descriptor(&real).then_some(name)
}

fn names_descriptor(path: &Path) -> bool {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.is_some_and(|folder| {
        folder == Path::new("/dev/fd") || folder.starts_with("/proc") && folder.ends_with("fd")
    })
}

/// Where the links that begin at a path end. What a descriptor leads to is not named.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut real = path.to_owned();
    for _ in 0..LINKS_MAX {
        match fs::read_link(&real) {
            Ok(next) if !names_descriptor(&real) => {
                real = real.parent().unwrap_or(Path::new("")).join(next);
            }
            // No link, or nothing at all.
            _ => return Ok(real),
        }
    }
    Err(io::Error::other("too many links"))
}

/// Whether two names are of one file.
#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata, _: &Path, _: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// The same where files have no numbers: hard links are not seen.
#[cfg(not(unix))]
fn same(_: &Metadata, _: &Metadata, one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
