//! Reads bytes as each of the files of a package of custom operators.

use super::packages;

/// Whether the bytes were good as each of the files.
pub(crate) fn read(bytes: &[u8]) -> bool {
    let versions = [packages::compiler(bytes), packages::release(bytes)];
    for version in versions.iter().flatten().flatten() {
        assert!(!version.is_empty() && version.is_ascii());
    }
    let order = packages::priority(bytes);
    for name in order.iter().flatten() {
        let parts = std::path::Path::new(name).components().count();
        assert!(parts == 1 && !name.contains(".."), "{name:?} is no folder");
    }
    versions.iter().all(Result::is_ok) && order.is_ok()
}
