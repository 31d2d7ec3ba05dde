//! bindgen over C headers. It opens libclang when it runs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::headers::Headers;

/// Reads the files that `includes` name, which are looked for in `folders`.
pub(crate) fn read(folders: &[PathBuf], includes: &[String]) -> Result<Headers> {
    let mut source = String::new();
    for include in includes {
        writeln!(source, "#include <{include}>")?;
    }
    let folders = folders
        .iter()
        .map(|folder| format!("-I{}", folder.display()));
    Headers::parse(&bindings(&source, folders)?)
}

/// What bindgen makes of a source, as C++, because the headers of collectives are not C.
#[cfg(feature = "bindgen")]
fn bindings(source: &str, folders: impl Iterator<Item = String>) -> Result<String> {
    let bindings = bindgen::Builder::default()
        .header_contents("ascend.hpp", source)
        .clang_args(["-x", "c++", "-std=c++17"])
        .clang_args(folders)
        .allowlist_function("acl.*|Hccl.*")
        .allowlist_type("acl.*|Hccl.*")
        .allowlist_var("ACL_.*|HCCL_.*|.*_MAX_LENGTH")
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
fn bindings(_source: &str, _folders: impl Iterator<Item = String>) -> Result<String> {
    anyhow::bail!("built without the feature bindgen, as `cargo xtask ascend-abi-check` is not")
}

/// The headers in a folder, by the name of which they are included.
pub(crate) fn files(folder: &Path, inner: &str) -> Result<Vec<String>> {
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
