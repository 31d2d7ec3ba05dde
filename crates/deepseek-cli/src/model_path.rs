//! What `--model` may name: a checkpoint's folder, a file in it, a folder of the hub's cache, or a model by
//! its name there. Nothing is fetched.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::anyhow;
use deepseek_core::file;

use crate::args;
use crate::fault::{FOLDER, Fault, Result};
use crate::limits::REF_BYTES_MAX;

/// How the folder of a model begins in the hub's cache; what follows is its name, with this between its
/// parts.
const CACHED: &str = "models";
const BETWEEN: &str = "--";

/// Files of a checkpoint that stand for their folder.
const FILES: [&str; 4] = [
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "tokenizer.json",
];

/// The folder of the checkpoint that is meant. What leads to none is given back as it is, for whoever opens
/// it to say so.
pub(crate) fn resolve(named: &Path) -> Result<PathBuf> {
    let has_ending = |ending: &str| named.extension().is_some_and(|own| own == ending);
    if has_ending("gguf") {
        return Err(gguf(named));
    }
    match file::metadata(named) {
        Ok(found) if found.is_dir() => in_folder(named),
        Ok(_) => {
            let name = named.file_name().and_then(|name| name.to_str());
            let is_part =
                has_ending("safetensors") || name.is_some_and(|name| FILES.contains(&name));
            Ok(match named.parent() {
                Some(folder) if is_part && folder == Path::new("") => PathBuf::from("."),
                Some(folder) if is_part => folder.to_owned(),
                _ => named.to_owned(),
            })
        }
        Err(_) => match hub_name(named) {
            Some(parts) if named.symlink_metadata().is_err() => cached(parts),
            _ => Ok(named.to_owned()),
        },
    }
}

/// A folder is a checkpoint, or the place in the hub's cache where the snapshots of one lie.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    if folder.join("snapshots").is_dir() && !folder.join("config.json").exists() {
        snapshot(folder)
    } else {
        let is_gguf = |path: PathBuf| path.extension().is_some_and(|own| own == "gguf");
        let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
        match folder.join("config.json").symlink_metadata() {
            Err(_) if entries.any(|entry| is_gguf(entry.path())) => Err(gguf(folder)),
            _ => Ok(folder.to_owned()),
        }
    }
}

/// The two parts of a model's name on the hub.
fn hub_name(named: &Path) -> Option<[&str; 2]> {
    let [owner, name] = named.to_str()?.split('/').collect::<Vec<_>>()[..] else {
        return None;
    };
    let is_plain = |part: &str| {
        let letters = |c: char| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c);
        !part.is_empty() && part.chars().all(letters) && !part.starts_with('.')
    };
    (is_plain(owner) && is_plain(name)).then_some([owner, name])
}

/// The model of this name in the hub's cache.
fn cached([owner, name]: [&str; 2]) -> Result<PathBuf> {
    let fetch = || format!("fetch it first: hf download {owner}/{name}; {FOLDER}");
    let Some(cache) = args::hub_cache() else {
        let error = anyhow!("{owner}/{name}: neither a folder nor in the hub's cache");
        return Err(Fault::input(error).hint(fetch()));
    };
    let folder = cache.join([CACHED, owner, name].join(BETWEEN));
    if folder.is_dir() {
        snapshot(&folder)
    } else {
        let cache = cache.display();
        let error = anyhow!("{owner}/{name}: neither a folder nor in the hub's cache, {cache}");
        Err(Fault::input(error).hint(fetch()))
    }
}

/// The snapshot that `main` means in a folder of the hub's cache, or the only one there.
fn snapshot(folder: &Path) -> Result<PathBuf> {
    let snapshots = folder.join("snapshots");
    let main = file::read(&folder.join("refs/main"), REF_BYTES_MAX).ok();
    let main = main.and_then(|bytes| String::from_utf8(bytes).ok());
    let main = main.map(|text| PathBuf::from(text.trim())).filter(|name| {
        let parts: Vec<Component<'_>> = name.components().collect();
        matches!(parts.as_slice(), [Component::Normal(_)])
    });
    if let Some(found) = main
        .map(|name| snapshots.join(name))
        .filter(|path| path.is_dir())
    {
        return Ok(found);
    }
    let entries = fs::read_dir(&snapshots).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.retain(|path| path.is_dir());
    all.sort();
    match all.as_slice() {
        [only] => Ok(only.clone()),
        some => {
            let error = anyhow!(
                "{}: {} snapshots, and refs/main names none of them",
                folder.display(),
                some.len()
            );
            let hint = some.first().map_or_else(
                || "fetch the model again".to_owned(),
                |first| format!("name one, such as {}", first.display()),
            );
            Err(Fault::input(error).hint(hint))
        }
    }
}

/// A file of another format.
fn gguf(named: &Path) -> Fault {
    let error = anyhow!("{}: GGUF is not read, safetensors are", named.display());
    Fault::input(error).hint(
        "take the checkpoint that it was made of: hf download deepseek-ai/DeepSeek-V4-Flash, then \
         --model deepseek-ai/DeepSeek-V4-Flash",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_on_the_hub_has_two_plain_parts() {
        assert_eq!(
            hub_name(Path::new("deepseek-ai/DeepSeek-V4.1_x")),
            Some(["deepseek-ai", "DeepSeek-V4.1_x"])
        );
        for name in [
            "", "a", "a/", "/a", "a/b/c", "../a", "a/..", "./a", "a b/c", "a/b:c",
        ] {
            assert_eq!(hub_name(Path::new(name)), None, "{name}");
        }
    }
}
