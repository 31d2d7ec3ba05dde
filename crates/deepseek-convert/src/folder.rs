//! The folder that a converted checkpoint is written to. A file lies beside its place until it is whole,
//! under a name of its own, so that a run that was killed leaves nothing that passes for a file, and the
//! next run replaces what it left.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use deepseek_core::file;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::conversion::Other;
use crate::error::{Error, Result, at};
use crate::journal::{self, Journal, ShardRecord};
use crate::limits::{JOURNAL_BYTES_MAX, STRETCH_BYTES};
use crate::shard::Layout;

const CONFIG: &str = "config.json";
const INDEX: &str = "model.safetensors.index.json";

/// How a file ends that is not whole yet.
const PARTIAL: &str = ".partial";

/// The folder and what is done of the conversion in it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    journal: Journal,
}

impl Folder {
    /// Makes a folder for the conversion that `fresh` begins, or goes on in one. `source` is the folder
    /// of the checkpoint, if it lies in one.
    pub(crate) fn open(path: &Path, source: Option<&Path>, fresh: Journal) -> Result<Self> {
        fs::create_dir_all(path).map_err(at(path))?;
        let real = path.canonicalize().map_err(at(path))?;
        if let Some(source) = source
            && source.canonicalize().map_err(at(source))? == real
        {
            return Err(Error::Same {
                out: path.to_owned(),
            });
        }
        let mut folder = Self {
            path: path.to_owned(),
            journal: fresh,
        };
        let place = folder.place(journal::NAME);
        match file::read(&place, JOURNAL_BYTES_MAX) {
            Ok(json) => {
                let earlier = Journal::parse(&json).map_err(|why| Error::Journal {
                    path: place.clone(),
                    why,
                })?;
                folder.go_on(earlier)?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder.begin()?;
            }
            Err(source) => return Err(at(&place)(source)),
        }
        Ok(folder)
    }

    /// Takes up what an earlier run left, if it was the same conversion.
    fn go_on(&mut self, earlier: Journal) -> Result<()> {
        let other = |what: String| Error::Other {
            out: self.path.clone(),
            what,
        };
        if earlier.target != self.journal.target {
            return Err(other(format!("the target {}", earlier.target)));
        }
        if earlier.source != self.journal.source {
            return Err(other("another checkpoint".to_owned()));
        }
        self.journal.shards = earlier.shards;
        Ok(())
    }

    /// Begins in a folder that is empty.
    fn begin(&self) -> Result<()> {
        let mut entries = fs::read_dir(&self.path).map_err(at(&self.path))?;
        let left = format!("{}{PARTIAL}", journal::NAME);
        let other = entries.find(|entry| {
            let name = entry.as_ref().map(fs::DirEntry::file_name);
            name.map_or(true, |name| name != *left)
        });
        match other.transpose().map_err(at(&self.path))? {
            None => self.save(),
            Some(other) => Err(Error::Occupied {
                out: self.path.clone(),
                found: other.file_name().to_string_lossy().into_owned(),
            }),
        }
    }

    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    fn place(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn save(&self) -> Result<()> {
        self.write(journal::NAME, self.journal.to_json().as_bytes())
    }

    /// Writes a file at once.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.appear(name, |partial| {
            let mut file = File::create(partial).map_err(at(partial))?;
            file.write_all(bytes).map_err(at(partial))?;
            file.sync_all().map_err(at(partial))
        })
    }

    /// Moves what `make` writes to its place. What is not made is not left behind.
    fn appear<T>(&self, name: &str, make: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
        let (place, partial) = (self.place(name), self.place(&format!("{name}{PARTIAL}")));
        let made = make(&partial).and_then(|made| {
            fs::rename(&partial, &place).map_err(at(&place))?;
            Ok(made)
        });
        if made.is_err() {
            // Half a file is worth nothing, and the error says more than why it cannot be removed.
            let _ = fs::remove_file(&partial);
        }
        made
    }

    /// Whether a file is finished and what it was then. `progress` hears the share of it that was read,
    /// and may break off.
    pub(crate) fn holds(
        &self,
        name: &str,
        progress: &mut dyn FnMut(f64) -> ControlFlow<()>,
    ) -> Result<bool> {
        let Some(record) = self.journal.shard(name) else {
            return Ok(false);
        };
        let place = self.place(name);
        match file::metadata(&place) {
            Ok(found) if found.is_file() && found.len() == record.bytes => {}
            _ => return Ok(false),
        }
        Ok(digest(&place, progress)?.1 == record.sha256)
    }

    /// Makes a file, and records it.
    pub(crate) fn make(
        &mut self,
        name: &str,
        layout: &Layout,
        threads: usize,
        report: &mut dyn FnMut(u64, &str) -> ControlFlow<()>,
    ) -> Result<()> {
        // Without its config a folder is no checkpoint, as long as files of it are made anew.
        match fs::remove_file(self.place(CONFIG)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(at(&self.place(CONFIG))(error));
            }
            _ => {}
        }
        let record = self.appear(name, |partial| {
            let tensors = layout.write(partial, threads, report)?;
            let whole = layout.source_bytes();
            let (bytes, sha256) = digest(partial, &mut |_| report(whole, name))?;
            Ok(ShardRecord {
                file: name.to_owned(),
                bytes,
                sha256,
                tensors,
            })
        })?;
        self.journal.shards.retain(|shard| shard.file != name);
        self.journal.shards.push(record);
        self.save()
    }

    /// Copies the files that go with the weights.
    pub(crate) fn copy(&self, others: &[Other]) -> Result<()> {
        for other in others {
            match other {
                Other::Carried(name, bytes) => self.write(name, bytes)?,
                Other::File(from) => {
                    let name = from.file_name().unwrap_or_default().to_string_lossy();
                    self.appear(&name, |partial| {
                        let mut source = file::open(from).map_err(at(from))?;
                        let mut to = File::create(partial).map_err(at(partial))?;
                        std::io::copy(&mut source, &mut to).map_err(at(partial))?;
                        to.sync_all().map_err(at(partial))
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Writes which file holds which tensor.
    pub(crate) fn write_index(&self, shards: &[(String, Layout)]) -> Result<()> {
        let mut places: Map<String, Value> = Map::new();
        for (file, layout) in shards {
            places.extend(layout.names().map(|name| (name.to_owned(), json!(file))));
        }
        let index = json!({
            "metadata": { "total_size": self.journal.bytes_after },
            "weight_map": places,
        });
        self.write(INDEX, format!("{index:#}\n").as_bytes())
    }

    /// Writes the config, which makes a checkpoint of the folder, and the last of the journal.
    pub(crate) fn finish(&mut self, config: &str) -> Result<()> {
        let order = |shard: &ShardRecord| shard.file.clone();
        self.journal.shards.sort_by_key(order);
        self.journal.complete = true;
        self.write(CONFIG, config.as_bytes())?;
        self.save()
    }
}

/// The length and the digest of a file. `progress` hears the share that was read, and may break off.
fn digest(path: &Path, progress: &mut dyn FnMut(f64) -> ControlFlow<()>) -> Result<(u64, String)> {
    let mut source = file::open(path).map_err(at(path))?;
    let length = source.metadata().map_err(at(path))?.len();
    let (mut hash, mut read, mut buffer) = (Sha256::new(), 0, vec![0; STRETCH_BYTES]);
    loop {
        let count = source.read(&mut buffer).map_err(at(path))?;
        if count == 0 {
            return Ok((read, hexadecimal(&hash.finalize())));
        }
        hash.update(&buffer[..count]);
        read += count as u64;
        if progress(read as f64 / length.max(1) as f64).is_break() {
            return Err(Error::Interrupted);
        }
    }
}

/// Bytes as text.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
