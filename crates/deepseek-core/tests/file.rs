//! What is opened by name, and what is not.

use std::fs;
use std::io::{self, ErrorKind};

use deepseek_core::file;

#[test]
fn a_bound_holds_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    fs::write(&path, [7; 5]).unwrap();
    assert_eq!(file::read(&path, 5).unwrap(), [7; 5]);
    let error = file::read(&path, 4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert_eq!(error.to_string(), "5 bytes, at most 4 are read");
    fs::write(&path, []).unwrap();
    assert_eq!(file::read(&path, 0).unwrap(), [0; 0]);
}

#[test]
fn a_stream_without_end_is_read_to_its_bound() {
    assert_eq!(file::read_all(&[1, 2, 3][..], 3).unwrap(), [1, 2, 3]);
    let error = file::read_all(io::repeat(0), 1 << 20).unwrap_err();
    assert_eq!(error.to_string(), "more bytes, at most 1048576 are read");
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[track_caller]
    fn refused(path: &Path, kind: ErrorKind, want: &str) {
        let error = file::open(path).expect_err("refused");
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, want));
        assert!(file::read(path, 9).is_err());
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let made = Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(made.success());
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("fifo", at("link")).unwrap();
        let kind = ErrorKind::InvalidInput;
        refused(folder.path(), kind, "a folder, not a regular file");
        refused(&at("fifo"), kind, "a FIFO, not a regular file");
        refused(&at("link"), kind, "a FIFO, not a regular file");
        refused(&at("socket"), kind, "a socket, not a regular file");
        refused(Path::new("/dev/null"), kind, "a device, not a regular file");
    }

    #[test]
    fn a_link_is_followed_and_one_to_nothing_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("there", at("two")).unwrap();
        symlink("two", at("one")).unwrap();
        let why = format!(
            "a link to {}, where there is nothing",
            at("there").display()
        );
        refused(&at("one"), ErrorKind::NotFound, &why);
        fs::write(at("there"), "text").unwrap();
        assert_eq!(file::read(&at("one"), 9).unwrap(), b"text");
        symlink("loop", at("loop")).unwrap();
        assert!(file::open(&at("loop")).is_err());
    }
}
