//! The manual pages of the program, which writes them itself.

use anyhow::Result;

use crate::{demo, shell};

/// Builds the program and writes its pages into `target/man`.
pub(crate) fn run() -> Result<()> {
    demo::build()?;
    let folder = shell::root().join("target/man");
    shell::run(demo::deepseek().arg("man").arg(folder))
}
