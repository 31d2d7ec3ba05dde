//! bindgen over C headers. It opens libclang when it runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What bindgen makes of the files that `includes` name, which are looked for in `folders`: of the names that begin like
/// `names` does, a regular expression. They are read as C++, because not all of them are C.
///
/// # Errors
/// If the headers cannot be read, or this was built without bindgen.
pub fn bindings(folders: &[PathBuf], includes: &[String], names: &str) -> Result<String> {
    let mut source = String::new();
    for include in includes {
        writeln!(source, "#include <{include}>")?;
    }
    let folders = folders
        .iter()
        .map(|folder| format!("-I{}", folder.display()));
    written(&source, folders, names)
}

#[cfg(feature = "bindgen")]
fn written(source: &str, folders: impl Iterator<Item = String>, names: &str) -> Result<String> {
    let bindings = bindgen::Builder::default()
        .header_contents("headers.hpp", source)
        .clang_args(["-x", "c++", "-std=c++17"])
        .clang_args(folders)
        .allowlist_function(names)
        .allowlist_type(names)
        .allowlist_var(names)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .layout_tests(true)
        .formatter(bindgen::Formatter::None)
        .generate();
    Ok(bindings.context("headers")?.to_string())
}

/// Without bindgen there is nothing to read headers with.
#[cfg(not(feature = "bindgen"))]
fn written(_source: &str, _folders: impl Iterator<Item = String>, _names: &str) -> Result<String> {
    anyhow::bail!("built without the feature bindgen, as the commands of xtask are not")
}

/// The headers in a folder, by the name of which they are included.
///
/// # Errors
/// If the folder cannot be read.
pub fn files(folder: &Path, inner: &str) -> Result<Vec<String>> {
    let path = folder.join(inner);
    let entries = path
        .read_dir()
        .with_context(|| path.display().to_string())?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".h") {
            names.push(format!("{inner}/{name}"));
        }
    }
    names.sort_unstable();
    Ok(names)
}
