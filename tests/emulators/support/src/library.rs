//! Where a test finds the library that it is to load.

use std::env;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;

/// The shared library `name` beside the running test. Cargo puts it there, without a hash in its name,
/// for a package that has the library itself or depends on it for its tests.
///
/// # Panics
/// If the program does not know where it lies.
#[must_use]
pub fn built_library(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows where it lies");
    test.with_file_name(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_beside_the_test() {
        let path = built_library("some");
        assert!(path.is_absolute());
        assert_eq!(path.parent(), env::current_exe().expect("a test").parent());
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(name.starts_with("libsome."), "{name}");
    }
}
