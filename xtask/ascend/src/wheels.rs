//! The published packages that have headers and binaries of the vendor's: fetched when a check is made,
//! used, and neither committed nor shipped, as their licences want.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::archive;

/// Bytes of a package. The largest has 44 million.
const WHEEL_BYTES_MAX: u64 = 128 << 20;

/// A package, pinned.
#[derive(Debug)]
struct Package {
    name: &'static str,
    version: &'static str,
    platform: &'static str,
    file: &'static str,
    sha256: &'static str,
    /// What is unpacked of it.
    prefixes: &'static [&'static str],
}

/// Headers of the runtime and of collectives, and a library that uses all of the interface.
const TORCH_NPU: Package = Package {
    name: "torch-npu",
    version: "2.14.0",
    platform: "manylinux_2_28_x86_64",
    file: "torch_npu-2.14.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "7736f7d82cf9f16c7dfc4537f7e7c638153da760273a193455e70857f912189e",
    prefixes: &[
        "torch_npu/include/third_party/acl/inc/acl/",
        "torch_npu/include/third_party/hccl/inc/hccl/",
        "torch_npu/lib/libtorch_npu.so",
    ],
};

/// Headers, library and descriptions of the custom operators for DeepSeek-V4.
const VLLM_ASCEND: Package = Package {
    name: "vllm-ascend",
    version: "0.23.0",
    platform: "manylinux_2_34_x86_64",
    file: "vllm_ascend-0.23.0-cp311-cp311-manylinux_2_34_x86_64.whl",
    sha256: "4f0d25d3b6d8ae85753b53d4bd8d910418865baf413fa779b87012ad1a4a3f87",
    prefixes: &[
        "vllm_ascend/_cann_ops_custom/vendors/custom_transformer/op_api/include/aclnnop/",
        "vllm_ascend/_cann_ops_custom/vendors/custom_transformer/op_api/lib/libcust_opapi.so",
        "vllm_ascend/_cann_ops_custom/vendors/custom_transformer/op_impl/ai_core/tbe/config/ascend910b/\
         aic-ascend910b-ops-info.json",
    ],
};

/// The packages, unpacked.
#[derive(Debug)]
pub(crate) struct Wheels {
    torch_npu: PathBuf,
    vllm_ascend: PathBuf,
}

impl Wheels {
    /// Where the packages lie.
    pub(crate) fn folders(&self) -> [&Path; 2] {
        [&self.torch_npu, &self.vllm_ascend]
    }

    /// The headers of the collectives name themselves from here.
    pub(crate) fn includes(&self) -> [PathBuf; 4] {
        let include = self.torch_npu.join("torch_npu/include");
        let third_party = include.join("third_party");
        [
            third_party.join("acl/inc"),
            third_party.join("acl/inc/acl"),
            third_party.join("hccl/inc"),
            include,
        ]
    }

    /// A library that uses the interface of CANN.
    pub(crate) fn user(&self) -> PathBuf {
        self.torch_npu.join("torch_npu/lib/libtorch_npu.so")
    }

    /// The package of custom operators.
    fn custom(&self) -> PathBuf {
        let package = "vllm_ascend/_cann_ops_custom/vendors/custom_transformer";
        self.vllm_ascend.join(package)
    }

    /// The headers of custom operators.
    pub(crate) fn custom_include(&self) -> PathBuf {
        self.custom().join("op_api/include")
    }

    /// The library of custom operators.
    pub(crate) fn custom_library(&self) -> PathBuf {
        self.custom().join("op_api/lib/libcust_opapi.so")
    }

    /// What the custom operators take.
    pub(crate) fn descriptions(&self) -> PathBuf {
        let file = "op_impl/ai_core/tbe/config/ascend910b/aic-ascend910b-ops-info.json";
        self.custom().join(file)
    }
}

/// What came of fetching.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// All packages.
    Wheels(Wheels),
    /// Not all of them, and why.
    Nothing(String),
}

/// Fetches what is not there yet, and unpacks it below `folder`.
///
/// # Errors
/// If a package is not the one that is pinned, or cannot be unpacked. That the network is not there is no
/// error.
pub(crate) fn fetch(folder: &Path, python: &Path, offline: bool) -> Result<Fetched> {
    let mut unpacked = Vec::new();
    for package in [TORCH_NPU, VLLM_ASCEND] {
        let wheel = folder.join("dl").join(package.file);
        if !wheel.is_file() {
            if offline {
                return Ok(Fetched::Nothing("offline".to_owned()));
            }
            if let Err(why) = download(&package, &folder.join("dl"), python) {
                return Ok(Fetched::Nothing(format!("offline: {why}")));
            }
        }
        unpacked.push(unpack(&package, &wheel, folder)?);
    }
    let [torch_npu, vllm_ascend] = unpacked.try_into().expect("two packages");
    Ok(Fetched::Wheels(Wheels {
        torch_npu,
        vllm_ascend,
    }))
}

/// Has pip fetch a package from the index that it is set up for.
fn download(package: &Package, folder: &Path, python: &Path) -> Result<(), String> {
    let mut pip = Command::new(python);
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--retries=1",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    pip.args(["--platform", package.platform, "--python-version", "311"]);
    pip.args(["--implementation", "cp", "--abi", "cp311", "--dest"]);
    pip.arg(folder)
        .arg(format!("{}=={}", package.name, package.version));
    let output = pip
        .output()
        .map_err(|error| format!("{}: {error}", python.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| line.starts_with("ERROR"));
    Err(last.unwrap_or("pip failed").to_owned())
}

/// Unpacks a package beside the others, unless that was done before.
fn unpack(package: &Package, wheel: &Path, folder: &Path) -> Result<PathBuf> {
    let digest = digest(wheel)?;
    ensure!(
        digest == package.sha256,
        "{}: SHA-256 {digest}, pinned is {}",
        wheel.display(),
        package.sha256
    );
    let headers = folder.join("headers");
    let to = headers.join(format!("{}-{}", package.name, package.version));
    let manifest = to.join("manifest.json");
    if manifest.is_file() {
        return Ok(to);
    }
    fs::create_dir_all(&headers).with_context(|| headers.display().to_string())?;
    let new = tempfile::tempdir_in(&headers)?;
    let files = archive::unpack(wheel, package.prefixes, new.path())?;
    let text = json!({
        "package": package.name,
        "version": package.version,
        "sha256": digest,
        "files": files,
    });
    fs::write(new.path().join("manifest.json"), format!("{text:#}\n"))?;
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::rename(new.keep(), &to).with_context(|| to.display().to_string())?;
    Ok(to)
}

/// The SHA-256 of a file, as it is written.
fn digest(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| path.display().to_string())?;
    file.take(WHEEL_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let count = bytes.len() as u64;
    ensure!(
        count <= WHEEL_BYTES_MAX,
        "{}: more than {WHEEL_BYTES_MAX} bytes",
        path.display()
    );
    Ok(Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_network_nothing_is_fetched_and_nothing_fails() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let python = folder.path().join("python");
        let offline = fetch(folder.path(), &python, true)?;
        assert!(matches!(offline, Fetched::Nothing(why) if why == "offline"));
        let broken = fetch(folder.path(), &python, false)?;
        assert!(matches!(broken, Fetched::Nothing(why) if why.starts_with("offline: ")));
        Ok(())
    }

    #[test]
    fn another_package_than_the_pinned_one_is_refused() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::create_dir(folder.path().join("dl"))?;
        fs::write(folder.path().join("dl").join(TORCH_NPU.file), "another")?;
        let error = fetch(folder.path(), Path::new("python"), true).expect_err("another digest");
        assert!(error.to_string().contains("pinned is 7736f7d8"), "{error}");
        assert!(!folder.path().join("headers").exists());
        Ok(())
    }
}
