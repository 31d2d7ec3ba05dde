//! Saved sequences as bytes. What is read back is held against what it was written with, and trusted no
//! more than any file.
//!
//! A file is eight bytes of a name, the version of the format, a [`Binding`], what its writer puts in, and
//! the SHA-256 of all that. Numbers are little-endian.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};

use deepseek_engram::History;
use sha2::{Digest, Sha256};

use crate::decoder::{Kind, SequenceState};
use crate::limits::{BINDING_BYTES_MAX, BINDING_FIELDS_MAX, HISTORY_MAX, POOLS_MAX, POSITIONS_MAX};
use crate::model::{Pending, Sequence};
use crate::plan::Plan;

/// How such bytes begin.
const NAME: [u8; 8] = *b"DSKVSAVE";

/// The version of the format that is written, and read.
const FORMAT: u32 = 1;

/// Bytes of a checksum.
const CHECKSUM_BYTES: usize = 32;

/// What stands for the id of a medium's token in a history.
const NO_ID: u32 = u32::MAX;

/// Why bytes are no saved sequence, or none that can go on here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// They cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
    /// They begin with something else.
    #[error("it is no saved KV cache")]
    Name,
    /// They are of another version of the format.
    #[error("format {found}, this program reads {FORMAT}")]
    Format {
        /// Their version.
        found: u32,
    },
    /// They were written of another model, or of one that computes otherwise.
    #[error("{what} {}", differ(.found.as_deref(), .now.as_deref()))]
    Misfit {
        /// What differs.
        what: String,
        /// What it was when they were written, if it was said.
        found: Option<String>,
        /// What it is now, if it is said.
        now: Option<String>,
    },
    /// They end too early.
    #[error("it is cut short, in {what}")]
    Short {
        /// Where.
        what: &'static str,
    },
    /// A number is too large.
    #[error("{what}: {found}, at most {most}")]
    Bound {
        /// What is counted.
        what: &'static str,
        /// How many there are said to be.
        found: u64,
        /// How many there may be.
        most: u64,
    },
    /// Numbers contradict each other.
    #[error("{what} does not fit the rest of it")]
    Broken {
        /// Which.
        what: &'static str,
    },
    /// They are not what was written.
    #[error("it is damaged: its checksum differs")]
    Checksum,
    /// There are more than their end.
    #[error("{bytes} bytes stand behind its end")]
    Rest {
        /// How many.
        bytes: u64,
    },
    /// There is no memory for them.
    #[error("no memory for {bytes} bytes of it")]
    Memory {
        /// How many were asked for.
        bytes: u64,
    },
}

type Result<T, E = SavedError> = std::result::Result<T, E>;

/// Both sides of a difference.
fn differ(found: Option<&str>, now: Option<&str>) -> String {
    match (found, now) {
        (Some(found), Some(now)) => format!("{found} then, {now} now"),
        (Some(found), None) => format!("{found} then, none now"),
        (None, Some(now)) => format!("{now} now, none then"),
        (None, None) => "differ".to_owned(),
    }
}

/// What decides the numbers that a saved sequence consists of, and their layout: names and values, in the
/// order in which they are compared. Two models of one binding go on from each other's sequences as from
/// their own, bit for bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binding {
    fields: Vec<(String, String)>,
}

impl Binding {
    /// Of a plan: what it says beside the numbers of the model, and the version of this program, whose
    /// next one may sum in another order. The weights and the device are for the caller to add: only it
    /// knows them.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let numerics = plan.numerics();
        let level = numerics.level();
        let prefill = match plan.cut() {
            Some(_) => "replay",
            None => "full",
        };
        let drafter = match (plan.dspark(), plan.mtp()) {
            (Some(_), _) => "dspark",
            (None, Some(_)) => "mtp",
            (None, None) => "none",
        };
        // What experiments take out of the model.
        let layers = hex(&Sha256::digest(format!("{:?}", plan.layers())));
        Self::default()
            .with("version", env!("CARGO_PKG_VERSION"))
            .with(
                "numerics",
                level.map_or_else(|| format!("{numerics:?}"), |level| level.name().to_owned()),
            )
            .with("prefill", prefill)
            .with("draft head", drafter)
            .with("layers", layers)
    }

    /// The same with one more name and its value; of a long one a hash.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        let value = if value.len() > BINDING_BYTES_MAX {
            hex(&Sha256::digest(&value))
        } else {
            value
        };
        self.fields.push((name.to_owned(), value));
        self
    }

    /// Whether `found` is the same; else the first that differs.
    fn check(&self, found: &[(String, String)]) -> Result<()> {
        let value = |fields: &[(String, String)], name: &str| {
            let field = fields.iter().find(|(own, _)| own == name);
            field.map(|(_, value)| value.clone())
        };
        for (what, _) in self.fields.iter().chain(found) {
            let (found, now) = (value(found, what), value(&self.fields, what));
            if found != now {
                let what = what.clone();
                return Err(SavedError::Misfit { what, found, now });
            }
        }
        Ok(())
    }
}

/// Half of a hash is enough to tell two things apart that nobody made alike on purpose.
fn hex(hash: &[u8]) -> String {
    let half = hash.iter().take(CHECKSUM_BYTES / 2);
    half.map(|byte| format!("{byte:02x}")).collect()
}

/// Writes what a [`Reader`] reads.
pub struct Writer<'a> {
    out: &'a mut dyn Write,
    hash: Sha256,
}

impl<'a> Writer<'a> {
    /// Begins with all that stands before the contents. Many small pieces are written: `out` has a buffer.
    ///
    /// # Errors
    /// What `out` says.
    pub fn begin(out: &'a mut dyn Write, binding: &Binding) -> io::Result<Self> {
        let hash = Sha256::new();
        let mut writer = Self { out, hash };
        writer.bytes(&NAME)?;
        writer.number(FORMAT)?;
        writer.count(binding.fields.len())?;
        for (name, value) in &binding.fields {
            for text in [name, value] {
                writer.count(text.len())?;
                writer.bytes(text.as_bytes())?;
            }
        }
        Ok(writer)
    }

    /// Bytes as they are.
    ///
    /// # Errors
    /// What `out` says.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    /// A number.
    ///
    /// # Errors
    /// What `out` says.
    pub fn number(&mut self, number: u32) -> io::Result<()> {
        self.bytes(&number.to_le_bytes())
    }

    /// A number of things.
    ///
    /// # Errors
    /// What `out` says, or more than can be counted.
    pub fn count(&mut self, count: usize) -> io::Result<()> {
        self.number(u32::try_from(count).map_err(io::Error::other)?)
    }

    /// Whether something is so.
    ///
    /// # Errors
    /// What `out` says.
    pub fn flag(&mut self, is_so: bool) -> io::Result<()> {
        self.bytes(&[u8::from(is_so)])
    }

    /// So many numbers, and before them how many.
    ///
    /// # Errors
    /// What `out` says.
    pub fn numbers(&mut self, numbers: &[u32]) -> io::Result<()> {
        self.count(numbers.len())?;
        let bytes: Vec<u8> = numbers.iter().flat_map(|id| id.to_le_bytes()).collect();
        self.bytes(&bytes)
    }

    /// Ends with the checksum.
    ///
    /// # Errors
    /// What `out` says.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(&self.hash.finalize())
    }
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

/// Reads what a [`Writer`] wrote. Takes no more memory than there are bytes.
pub struct Reader<'a> {
    input: &'a mut dyn Read,
    /// Bytes that there are still to be.
    left: u64,
    hash: Sha256,
}

impl<'a> Reader<'a> {
    /// Reads all that stands before the contents. `input` has `bytes` bytes.
    ///
    /// # Errors
    /// What was written by something else, or with another binding.
    pub fn begin(input: &'a mut dyn Read, bytes: u64, binding: &Binding) -> Result<Self> {
        let mut reader = Self {
            input,
            left: bytes,
            hash: Sha256::new(),
        };
        match reader.array("its name") {
            Ok(NAME) => {}
            Ok(_) | Err(SavedError::Short { .. }) => return Err(SavedError::Name),
            Err(error) => return Err(error),
        }
        let found = reader.number("its format")?;
        if found != FORMAT {
            return Err(SavedError::Format { found });
        }
        let what = "what it was written with";
        let mut fields = Vec::new();
        for _ in 0..reader.count(what, BINDING_FIELDS_MAX)? {
            let mut text = || {
                let bytes = reader.count(what, BINDING_BYTES_MAX)?;
                let bytes = reader.block(wide(bytes), what)?;
                String::from_utf8(bytes).map_err(|_| SavedError::Broken { what })
            };
            fields.push((text()?, text()?));
        }
        binding.check(&fields)?;
        Ok(reader)
    }

    /// So many bytes.
    ///
    /// # Errors
    /// Fewer, or no memory for them.
    pub fn block(&mut self, bytes: u64, what: &'static str) -> Result<Vec<u8>> {
        if bytes > self.left {
            return Err(SavedError::Short { what });
        }
        let count = usize::try_from(bytes).map_err(|_| SavedError::Memory { bytes })?;
        let mut block = Vec::new();
        let reserved = block.try_reserve_exact(count);
        reserved.map_err(|_| SavedError::Memory { bytes })?;
        block.resize(count, 0);
        self.fill(&mut block, what)?;
        Ok(block)
    }

    /// A number of bytes that is known beforehand.
    ///
    /// # Errors
    /// Fewer.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, what)?;
        Ok(bytes)
    }

    /// A number.
    ///
    /// # Errors
    /// Too few bytes.
    pub fn number(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    /// A number of things.
    ///
    /// # Errors
    /// More than `most`.
    pub fn count(&mut self, what: &'static str, most: usize) -> Result<usize> {
        let found = self.number(what)?;
        let count = usize::try_from(found).ok().filter(|count| *count <= most);
        count.ok_or(SavedError::Bound {
            what,
            found: found.into(),
            most: wide(most),
        })
    }

    /// Whether something is so.
    ///
    /// # Errors
    /// Neither yes nor no.
    pub fn flag(&mut self, what: &'static str) -> Result<bool> {
        match self.array(what)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(SavedError::Broken { what }),
        }
    }

    /// Numbers, and before them how many.
    ///
    /// # Errors
    /// More than `most`.
    pub fn numbers(&mut self, what: &'static str, most: usize) -> Result<Vec<u32>> {
        let count = wide(self.count(what, most)?);
        let bytes = self.block(count.saturating_mul(4), what)?;
        let numbers = bytes.as_chunks().0.iter();
        Ok(numbers.map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// Holds the checksum against what was read, and takes nothing behind it.
    ///
    /// # Errors
    /// Another checksum, or more bytes.
    pub fn end(mut self) -> Result<()> {
        let want = self.hash.clone().finalize();
        let found: [u8; CHECKSUM_BYTES] = self.array("its checksum")?;
        if found.as_slice() != want.as_slice() {
            return Err(SavedError::Checksum);
        }
        match self.left {
            0 => Ok(()),
            bytes => Err(SavedError::Rest { bytes }),
        }
    }

    fn fill(&mut self, bytes: &mut [u8], what: &'static str) -> Result<()> {
        let left = self.left.checked_sub(wide(bytes.len()));
        self.left = left.ok_or(SavedError::Short { what })?;
        self.input
            .read_exact(bytes)
            .map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => SavedError::Short { what },
                _ => SavedError::Io(error),
            })?;
        self.hash.update(&*bytes);
        Ok(())
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

impl SequenceState {
    /// Writes it. That numbers in it were not finite is not written: such a sequence does not go on.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, to: &mut Writer<'_>) -> io::Result<()> {
        let Sequence {
            position,
            reached,
            pending,
            settled,
            history,
            trouble: _,
        } = &self.sequence;
        to.flag(self.kind != Kind::Whole)?;
        for number in [position, reached, settled] {
            to.number(*number)?;
        }
        to.flag(pending.is_some())?;
        if let Some(Pending { at, tokens, media }) = pending {
            to.number(*at)?;
            to.numbers(tokens)?;
            let media: Vec<u8> = media.iter().copied().map(u8::from).collect();
            to.bytes(&media)?;
        }
        to.flag(history.is_some())?;
        if let Some(history) = history {
            let ids = history.ring().iter().map(|id| id.unwrap_or(NO_ID));
            to.numbers(&ids.collect::<Vec<_>>())?;
        }
        to.count(self.rows.len())?;
        for rows in &self.rows {
            to.bytes(&wide(rows.len()).to_le_bytes())?;
            to.bytes(rows)?;
        }
        Ok(())
    }

    /// Reads what was written. Whether it is a sequence that a decoder could have, that one says when it
    /// loads it; a tail is one of no sequence until it is adopted ([`Decoder::adopt`](crate::Decoder::adopt)).
    ///
    /// # Errors
    /// Bytes that end, or numbers beyond what any model has.
    pub fn read(from: &mut Reader<'_>) -> Result<Self> {
        let kind = if from.flag("its extent")? {
            Kind::Tail(None)
        } else {
            Kind::Whole
        };
        let what = "its position";
        let [position, reached, settled] =
            [from.number(what)?, from.number(what)?, from.number(what)?];
        let is_ordered = settled <= position && position <= reached;
        if !is_ordered || !usize::try_from(reached).is_ok_and(|at| at <= POSITIONS_MAX) {
            return Err(SavedError::Broken { what });
        }
        let pending = if from.flag("what waits of a prompt")? {
            Some(Pending::read(from)?)
        } else {
            None
        };
        let history = if from.flag("its n-grams")? {
            let ids = from.numbers("its n-grams", HISTORY_MAX)?;
            let ids = ids.into_iter().map(|id| (id != NO_ID).then_some(id));
            let [position, reached] = [position, reached].map(u64::from);
            Some(History::from_ring(ids.collect(), position, reached))
        } else {
            None
        };
        let what = "its rows";
        let mut rows = Vec::new();
        for _ in 0..from.count(what, POOLS_MAX)? {
            let bytes = u64::from_le_bytes(from.array(what)?);
            rows.push(from.block(bytes, what)?);
        }
        Ok(Self {
            sequence: Sequence {
                position,
                reached,
                pending,
                settled,
                history,
                trouble: None,
            },
            rows,
            kind,
        })
    }
}

impl Pending {
    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let what = "what waits of a prompt";
        let at = from.number(what)?;
        let tokens = from.numbers(what, POSITIONS_MAX)?;
        let media = from.block(wide(tokens.len()), what)?;
        let media = media.into_iter().map(|byte| match byte {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(SavedError::Broken { what }),
        });
        Ok(Self {
            at,
            tokens,
            media: media.collect::<Result<_>>()?,
        })
    }
}
