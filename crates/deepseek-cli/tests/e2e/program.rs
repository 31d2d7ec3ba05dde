//! The program under test, and checkpoints for it.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use deepseek_text::Tokenizer;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// The index of a checkpoint of several files.
const INDEX: &str = "model.safetensors.index.json";

/// What a run of the program left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// What it printed, if it ended well.
    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Holds the end against the exit code, the error and the hint that are wanted. Each is one
    /// line, and `""` stands for no hint.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, error: &str, hint: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let lines: Vec<&str> = self.err.lines().collect();
        let first = lines.first().and_then(|line| line.strip_prefix("error: "));
        assert!(
            first.is_some_and(|line| line.contains(error)),
            "no {error:?} in {self:?}"
        );
        let second = lines
            .get(1)
            .and_then(|line| line.strip_prefix("hint: "))
            .unwrap_or("");
        assert_eq!(second.is_empty(), hint.is_empty(), "{self:?}");
        assert!(second.contains(hint), "no {hint:?} in {self:?}");
        assert!(lines.len() <= 2, "{self:?}");
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes text");
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// The program with arguments, no stdin, and nobody's settings.
pub(crate) fn deepseek<A: AsRef<OsStr>>(args: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deepseek"));
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.env_clear().env("DEEPSEEK_CONFIG", "");
    command
}

/// Runs the program to its end.
pub(crate) fn run<A: AsRef<OsStr>>(args: &[A]) -> Ran {
    deepseek(args).output().expect("the program starts").into()
}

/// Runs it with `text` on stdin.
pub(crate) fn pipe<A: AsRef<OsStr>>(args: &[A], text: &[u8]) -> Ran {
    let mut child = deepseek(args)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may have ended before it read everything.
    let _ = stdin.write_all(text);
    drop(stdin);
    child.wait_with_output().expect("the program ends").into()
}

/// Presses Ctrl-C.
#[cfg(unix)]
pub(crate) fn interrupt(child: &std::process::Child) {
    signal(child, "INT");
}

/// Sends a signal by its name.
#[cfg(unix)]
pub(crate) fn signal(child: &std::process::Child, name: &str) {
    let line = format!("kill -{name} {}", child.id());
    let status = Command::new("sh")
        .args(["-c", &line])
        .status()
        .expect("there is a shell");
    assert!(status.success(), "{line}");
}

/// Makes a FIFO.
#[cfg(unix)]
pub(crate) fn fifo(path: &str) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.expect("there is mkfifo").success(), "{path}");
}

/// The folder of a fixture.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/fixtures/v4")
        .join(name)
}

/// A checkpoint of one's own, to be talked to and to be broken: a small model with random weights
/// and a draft head, and a tokenizer of bytes.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    folder: TempDir,
}

impl Checkpoint {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let checkpoint = Self { folder };
        for name in ["config.json", "model.safetensors"] {
            checkpoint.write(
                name,
                &fs::read(fixture("prolike-s0").join(name)).expect(name),
            );
        }
        let tokenizer = Tokenizer::tiny_json(288).expect("bytes and markers fit");
        checkpoint.write("tokenizer.json", tokenizer.as_bytes());
        checkpoint
    }

    /// One of V4.1, with everything that release has.
    pub(crate) fn v41() -> Self {
        Self::v41_with(|_| {})
    }

    /// One of V4.1 whose `text_config` is changed before its weights are drawn.
    pub(crate) fn v41_with(change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let json = Tokenizer::tiny_v41_json(320).expect("bytes and markers fit");
        let tokenizer = Tokenizer::parse(json.as_bytes()).expect("a tokenizer");
        let ids = tokenizer.engram_ids().expect("ids");
        let compressed = ids.iter().max().map_or(0, |most| *most as usize + 1);
        let config = deepseek_testkit::tiny_v41_config(ids.len(), compressed).expect("a config");
        let mut config: Value = serde_json::from_str(&config).expect("the config is JSON");
        change(&mut config["text_config"]);
        let config = config.to_string();
        deepseek_testkit::write_checkpoint(folder.path(), &config, 5).expect("a checkpoint");
        let checkpoint = Self { folder };
        checkpoint.write("tokenizer.json", json.as_bytes());
        checkpoint
    }

    /// One of V4 with this config, of 288 ids, and weights of real size.
    pub(crate) fn synthetic(config: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        deepseek_testkit::write_synthetic(folder.path(), config, 3, &mut |_, _| ())
            .expect("a checkpoint");
        let checkpoint = Self { folder };
        let tokenizer = Tokenizer::tiny_json(288).expect("bytes and markers fit");
        checkpoint.write("tokenizer.json", tokenizer.as_bytes());
        checkpoint
    }

    /// One of V4 that says `words`, and then its end, after a prompt of so many ids.
    pub(crate) fn speaker(prompt: usize, words: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let json = Tokenizer::tiny_json(288).expect("bytes and markers fit");
        let tokenizer = Tokenizer::parse(json.as_bytes()).expect("a tokenizer");
        let mut ids = tokenizer.encode_trusted(words).expect("text encodes");
        ids.push(tokenizer.eos());
        deepseek_testkit::write_speaker(folder.path(), 288, prompt, &ids).expect("a checkpoint");
        let checkpoint = Self { folder };
        checkpoint.write("tokenizer.json", json.as_bytes());
        checkpoint
    }

    /// One whose most likely answers do not end, and with room for them.
    pub(crate) fn endless() -> Self {
        let checkpoint = Self::new();
        checkpoint.set("max_position_embeddings", 1 << 18);
        checkpoint.without_end("model.safetensors")
    }

    /// The end of an answer without weights, so that another token is always likelier; `name` is
    /// the file with the output matrix.
    pub(crate) fn without_end(self, name: &str) -> Self {
        const EOS: usize = 1;
        self.with_output_rows(name, |id| id != EOS)
    }

    /// All ids without weights, so that each is as likely as any other.
    pub(crate) fn without_preference(self, name: &str) -> Self {
        self.with_output_rows(name, |_| false)
    }

    /// All ids without weights but those that are `kept`.
    pub(crate) fn with_output_rows(self, name: &str, kept: impl Fn(usize) -> bool) -> Self {
        let mut bytes = self.read(name);
        let (header, metadata) = SafeTensors::read_metadata(&bytes).expect("a safetensors file");
        let head = metadata.info("head.weight").expect("the output matrix");
        let (start, end) = head.data_offsets;
        let row = (end - start) / head.shape[0];
        let rows = bytes[8 + header + start..8 + header + end].chunks_mut(row);
        for (_, row) in rows.enumerate().filter(|(id, _)| !kept(*id)) {
            row.fill(0);
        }
        self.write(name, &bytes);
        self
    }

    /// Moves the tensors whose names begin so to a file of their own, and gives its path.
    pub(crate) fn take_out(&self, prefix: &str, name: &str) -> String {
        const SHARD: &str = "model-00001-of-00001.safetensors";

        let bytes = self.read(SHARD);
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let all = tensors.tensors();
        let (taken, left): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|(name, _)| name.starts_with(prefix));
        let serialise = |views| safetensors::serialize(views, None).expect("tensors");
        let mut index: Value = serde_json::from_slice(&self.read(INDEX)).expect("JSON");
        let places = index["weight_map"].as_object_mut().expect("places");
        places.retain(|name, _| !name.starts_with(prefix));
        let total: usize = left.iter().map(|(_, view)| view.data().len()).sum();
        index["metadata"]["total_size"] = total.into();
        self.write(name, &serialise(taken));
        self.write(SHARD, &serialise(left));
        self.write(INDEX, index.to_string().as_bytes());
        self.file(name)
    }

    /// Says in the index that these tensors, of so many bytes, are in a file.
    pub(crate) fn place<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        file: &str,
        bytes: usize,
    ) {
        let mut index: Value = serde_json::from_slice(&self.read(INDEX)).expect("JSON");
        for name in names {
            index["weight_map"][name] = file.into();
        }
        let total = index["metadata"]["total_size"].as_u64().expect("a size");
        index["metadata"]["total_size"] = (total + bytes as u64).into();
        self.write(INDEX, index.to_string().as_bytes());
    }

    pub(crate) fn path(&self) -> &str {
        self.folder.path().to_str().expect("the path is text")
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.path())
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.file(name), bytes).expect(name);
    }

    /// Names in the folder, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = self.folder.path().read_dir().expect("the folder");
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        let mut names: Vec<String> = entries
            .map(|entry| name(entry).into_string().expect("text"))
            .collect();
        names.sort();
        names
    }

    /// Sets a key of the config.
    pub(crate) fn set(&self, key: &str, value: impl Into<Value>) {
        let mut config: Value =
            serde_json::from_slice(&self.read("config.json")).expect("the config is JSON");
        config[key] = value.into();
        self.write("config.json", config.to_string().as_bytes());
    }

    /// Runs `command` on it with more arguments.
    pub(crate) fn run(&self, command: &str, args: &[&str]) -> Ran {
        run(&self.line(command, args))
    }

    /// The arguments that run `command` on it.
    pub(crate) fn line(&self, command: &str, args: &[&str]) -> Vec<String> {
        let line = [command, "--model", self.path(), "--threads", "1"];
        line.iter().chain(args).map(ToString::to_string).collect()
    }
}
