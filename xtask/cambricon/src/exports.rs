//! What the libraries of an SDK export.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use backend_cambricon_sys::Library;
use object::{Object as _, ObjectSymbol as _};

/// The libraries that an SDK may have.
const LIBRARIES: [Library; 5] = [
    Library::Cndrv,
    Library::Cnrt,
    Library::Cnnl,
    Library::CnnlExtra,
    Library::Cncl,
];

/// The exports of each library that is there, by the name of its file without a version.
pub(crate) type Exports = BTreeMap<&'static str, BTreeSet<String>>;

/// Reads the libraries of a folder.
pub(crate) fn of(folder: &Path) -> Result<Exports> {
    let mut exports = Exports::new();
    for file in LIBRARIES.map(Library::file) {
        let path = folder.join(file);
        if !path.is_file() {
            continue;
        }
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        let library = object::File::parse(&*bytes).with_context(|| path.display().to_string())?;
        let symbols = library.dynamic_symbols();
        let symbols = symbols.filter(|symbol| symbol.is_definition());
        let names = symbols.filter_map(|symbol| symbol.name().ok().map(str::to_owned));
        exports.insert(file, names.collect());
    }
    Ok(exports)
}
