//! Which program this is: its version, the commit it was built from, and what was built in.

use backend_host::KernelSet;

use crate::device::FEATURES;

/// The commit, where the program was built from a repository.
pub(crate) const COMMIT: Option<&str> = option_env!("DEEPSEEK_COMMIT");

/// What `--version` prints behind the name.
pub(crate) fn long() -> String {
    format!(
        "{}\ncommit    {}\nfeatures  {}\nkernels   {}",
        env!("CARGO_PKG_VERSION"),
        COMMIT.unwrap_or("unknown"),
        features(),
        KernelSet::best()
    )
}

/// What was built in that other builds lack.
pub(crate) fn features() -> String {
    let names = FEATURES.iter().filter(|(_, is_there)| *is_there);
    let names: Vec<&str> = names.map(|(name, _)| *name).collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
