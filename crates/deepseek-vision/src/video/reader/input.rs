//! A file of bytes: opened as often as it is needed, read without belief in what it says.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use deepseek_core::file;

use crate::limits::VIDEO_BYTES_MAX;

use super::super::error::VideoError;

/// Bytes that are read at once where a file is walked through by its heads.
const BUFFER_BYTES: usize = 4096;

/// Where the bytes of a video are.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// In a file.
    File(PathBuf),
    /// In memory.
    Bytes(Arc<[u8]>),
}

/// What bytes come out of.
pub(crate) trait Stream: Read + Seek + Send {}

impl<T: Read + Seek + Send> Stream for T {}

impl Source {
    /// A reader at the beginning, and how many bytes there are.
    pub(crate) fn open(&self) -> Result<(Box<dyn Stream>, u64), VideoError> {
        let (stream, bytes): (Box<dyn Stream>, u64) = match self {
            Self::File(path) => {
                let file = file::open(path)?;
                let bytes = file.metadata()?.len();
                (Box::new(file), bytes)
            }
            Self::Bytes(bytes) => {
                let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                (Box::new(Cursor::new(Arc::clone(bytes))), length)
            }
        };
        if bytes > VIDEO_BYTES_MAX {
            let max = VIDEO_BYTES_MAX;
            return Err(VideoError::FileBytes { bytes, max });
        }
        Ok((stream, bytes))
    }
}

/// The first bytes of a stream, as if there were no more.
pub(super) struct Head {
    stream: Box<dyn Stream>,
    at: u64,
    end: u64,
}

impl Head {
    /// Of a stream that is at its beginning.
    pub(super) fn new(stream: Box<dyn Stream>, end: u64) -> Self {
        let at = 0;
        Self { stream, at, end }
    }
}

impl Read for Head {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        let read = self.stream.by_ref().take(left).read(buffer)?;
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(count);
        Ok(read)
    }
}

impl Seek for Head {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = self.stream.seek(to)?;
        Ok(self.at)
    }
}

/// A reader that knows where it is. What it cannot read, because the file has ended, is an error in
/// the data.
pub(super) struct Input {
    stream: BufReader<Box<dyn Stream>>,
    format: &'static str,
    at: u64,
    bytes: u64,
}

impl Input {
    pub(super) fn open(source: &Source, format: &'static str) -> Result<Self, VideoError> {
        let (stream, bytes) = source.open()?;
        Ok(Self {
            stream: BufReader::with_capacity(BUFFER_BYTES, stream),
            format,
            at: 0,
            bytes,
        })
    }

    /// What is wrong with the data.
    pub(super) fn corrupt(&self, why: impl Into<String>) -> VideoError {
        let (format, why) = (self.format, why.into());
        VideoError::Corrupt { format, why }
    }

    /// What the data are that is not read.
    pub(super) fn unsupported(&self, why: impl Into<String>) -> VideoError {
        let (format, why) = (self.format, why.into());
        VideoError::Unsupported { format, why }
    }

    /// Bytes before the next one.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes from the next one to the end.
    pub(super) fn left(&self) -> u64 {
        self.bytes.saturating_sub(self.at)
    }

    /// Goes to a place within the file, its end included.
    pub(super) fn seek(&mut self, to: u64) -> Result<(), VideoError> {
        if to > self.bytes {
            return Err(self.ended());
        }
        if to != self.at {
            self.stream.seek(SeekFrom::Start(to))?;
            self.at = to;
        }
        Ok(())
    }

    /// Goes behind a chunk of so many bytes. One more makes them even, which the file's last may lack.
    pub(super) fn seek_behind(&mut self, at: u64, bytes: u32) -> Result<(), VideoError> {
        let end = at.saturating_add(bytes.into());
        let even = end.saturating_add(u64::from(bytes % 2));
        self.seek(if end == self.bytes { end } else { even })
    }

    /// Whether so many bytes from `at` are more than there are.
    pub(super) fn goes_beyond(&self, at: u64, bytes: u32) -> bool {
        at.saturating_add(bytes.into()) > self.bytes
    }

    /// Leaves bytes out.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), VideoError> {
        self.seek(self.at.saturating_add(count))
    }

    /// At most so many bytes from here, fewer at the end.
    pub(super) fn head(&mut self, count: usize) -> Result<Vec<u8>, VideoError> {
        let left = usize::try_from(self.left()).unwrap_or(usize::MAX);
        self.take(count.min(left))
    }

    /// So many bytes. Memory is taken once they are known to be there.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<u8>, VideoError> {
        let length = u64::try_from(count).unwrap_or(u64::MAX);
        if length > self.left() {
            return Err(self.ended());
        }
        let mut bytes = vec![0; count];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// So many bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], VideoError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// A line without its end, at most so many bytes of it.
    pub(super) fn line(&mut self, max: u64) -> Result<Vec<u8>, VideoError> {
        let mut line = Vec::new();
        let read = self
            .stream
            .by_ref()
            .take(max)
            .read_until(b'\n', &mut line)?;
        self.at = self
            .at
            .saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        if line.pop() == Some(b'\n') {
            Ok(line)
        } else {
            Err(self.corrupt("a line that does not end"))
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), VideoError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self.stream.read_exact(bytes) {
            Ok(()) => {
                self.at = self.at.saturating_add(length);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.ended()),
            Err(error) => Err(error.into()),
        }
    }

    fn ended(&self) -> VideoError {
        self.corrupt("the file ends early")
    }
}
