//! Unpacking an archive from outside: only what is asked for, nowhere but where it is asked to, and no
//! more than there is room for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use zip::ZipArchive;

/// Entries of an archive. The largest that is read has 2795.
const ENTRIES_MAX: usize = 20_000;
/// Bytes of one unpacked file. The largest that is asked for has 97 MB.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of all unpacked files together.
const TOTAL_BYTES_MAX: u64 = 512 << 20;

/// How much may be unpacked.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    entries: usize,
    file: u64,
    total: u64,
}

const BOUNDS: Bounds = Bounds {
    entries: ENTRIES_MAX,
    file: FILE_BYTES_MAX,
    total: TOTAL_BYTES_MAX,
};

/// Unpacks the entries whose names begin with one of `prefixes` into `folder`, and returns their names.
///
/// # Errors
/// If an entry that is asked for is no plain file, leads out of the folder, stands there twice or is too
/// large; or if none is found for a prefix.
pub(crate) fn unpack(archive: &Path, prefixes: &[&str], folder: &Path) -> Result<Vec<String>> {
    let file = File::open(archive).with_context(|| archive.display().to_string())?;
    let names = unpack_within(file, prefixes, folder, BOUNDS);
    names.with_context(|| archive.display().to_string())
}

fn unpack_within(
    archive: impl Read + Seek,
    prefixes: &[&str],
    folder: &Path,
    bounds: Bounds,
) -> Result<Vec<String>> {
    let mut archive = ZipArchive::new(archive)?;
    let count = archive.len();
    ensure!(
        count <= bounds.entries,
        "{count} entries, at most {}",
        bounds.entries
    );
    let mut names = BTreeSet::new();
    let mut left = bounds.total;
    for index in 0..count {
        let mut entry = archive.by_index(index)?;
        let name = entry.name()?.into_owned();
        if !prefixes.iter().any(|prefix| name.starts_with(prefix)) || entry.is_dir() {
            continue;
        }
        ensure!(
            entry.is_file() && !entry.is_symlink(),
            "{name}: not a plain file"
        );
        let to = folder.join(inside(&name)?);
        ensure!(names.insert(name.clone()), "{name}: stands there twice");
        let most = bounds.file.min(left);
        left -= copy(&mut entry, &to, most).with_context(|| name.clone())?;
    }
    for prefix in prefixes {
        let has_any = names.iter().any(|name| name.starts_with(prefix));
        ensure!(has_any, "{prefix}: nothing of that name");
    }
    Ok(names.into_iter().collect())
}

/// The name of an entry as a path that leads nowhere else.
fn inside(name: &str) -> Result<PathBuf> {
    let path = Path::new(name);
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let has_odd = name.contains(['\\', ':']) || name.chars().any(char::is_control);
    if name.is_empty() || has_odd || !path.components().all(is_plain) {
        bail!("{name:?}: leads out of the folder");
    }
    Ok(path.to_path_buf())
}

/// Copies at most so many bytes into a new file: what an entry says of its size is not believed.
fn copy(entry: &mut impl Read, to: &Path, most: u64) -> Result<u64> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create_new(to)?;
    let written = io::copy(&mut entry.take(most + 1), &mut file)?;
    ensure!(written <= most, "more than {most} bytes");
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const SMALL: Bounds = Bounds {
        entries: 8,
        file: 64,
        total: 100,
    };

    fn archive(entries: &[(&str, &[u8])]) -> Cursor<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            let start = zip.start_file(*name, SimpleFileOptions::default());
            start.expect("an entry");
            zip.write_all(bytes).expect("its bytes");
        }
        zip.finish().expect("an archive")
    }

    #[track_caller]
    fn refuses(archive: Cursor<Vec<u8>>, want: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("inner");
        let error = unpack_within(archive, &["a"], &inner, SMALL).expect_err(want);
        assert!(format!("{error:#}").contains(want), "{error:#}");
        let beside = fs::read_dir(folder.path()).expect("the folder").count();
        assert!(beside <= 1, "something lies beside the folder");
    }

    #[test]
    fn what_is_asked_for_is_unpacked_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let archive = archive(&[("a/b.h", b"b"), ("a/c/d.h", b"d"), ("e.h", b"e")]);
        let names = unpack_within(archive, &["a/"], folder.path(), SMALL).expect("two files");
        assert_eq!(names, ["a/b.h", "a/c/d.h"]);
        assert_eq!(
            fs::read(folder.path().join("a/c/d.h")).expect("a file"),
            b"d"
        );
        assert!(!folder.path().join("e.h").exists());
    }

    #[test]
    fn a_name_that_leads_out_is_refused() {
        for name in ["a/../../x", "a\\..\\x", "a:x", "a/./../../../x", "a\u{7}"] {
            refuses(archive(&[(name, b"x")]), "leads out");
        }
        for name in ["", "/a", "..", "../a"] {
            assert!(inside(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_link_is_refused() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let link = zip.add_symlink("a", "b", SimpleFileOptions::default());
        link.expect("a link");
        refuses(zip.finish().expect("an archive"), "not a plain file");
    }

    #[test]
    fn a_file_is_so_large_and_no_larger() {
        let folder = tempfile::tempdir().expect("a folder");
        let most = archive(&[("a", &[0; 64])]);
        assert!(unpack_within(most, &["a"], folder.path(), SMALL).is_ok());
        refuses(archive(&[("a", &[0; 65])]), "more than 64 bytes");
    }

    #[test]
    fn all_files_are_so_large_and_no_larger() {
        let folder = tempfile::tempdir().expect("a folder");
        let most = archive(&[("a", &[0; 64]), ("ab", &[0; 36])]);
        assert!(unpack_within(most, &["a"], folder.path(), SMALL).is_ok());
        refuses(
            archive(&[("a", &[0; 64]), ("ab", &[0; 37])]),
            "more than 36 bytes",
        );
    }

    #[test]
    fn there_are_so_many_entries_and_no_more() {
        let names: Vec<_> = (0..9).map(|index| format!("a{index}")).collect();
        let entries: Vec<_> = names.iter().map(|name| (name.as_str(), &b""[..])).collect();
        let folder = tempfile::tempdir().expect("a folder");
        assert!(unpack_within(archive(&entries[..8]), &["a"], folder.path(), SMALL).is_ok());
        refuses(archive(&entries), "9 entries, at most 8");
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        refuses(archive(&[("b", b"")]), "a: nothing of that name");
        refuses(Cursor::new(b"no archive".to_vec()), "");
    }
}
