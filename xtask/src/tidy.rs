//! The house rules: what the compiler cannot hold and a reader should not have to.
//!
//! A rule is a function from the repository's texts to what it finds wrong with them. All rules run
//! and all findings are printed, each with its place. Formatting is left to `cargo fmt`.
#![allow(clippy::print_stderr, reason = "xtask talks to a terminal")]

mod house;
mod manifests;
mod papers;
mod sources;

use std::path::Path;

use anyhow::{Result, ensure};

use self::house::House;

/// What a rule finds wrong: `place: what`.
type Findings = Vec<String>;

/// The rules, in the order in which they report.
const RULES: [fn(&House, &mut Findings); 24] = [
    manifests::the_map_is_the_manifests,
    manifests::one_backend_knows_candle,
    manifests::the_engine_knows_the_model_alone,
    manifests::no_system_library_is_linked,
    manifests::the_promised_compiler_is_the_tested_one,
    manifests::crates_are_described,
    manifests::lints_are_the_workspaces,
    sources::files_say_what_they_are,
    sources::unsafe_stands_in_its_places,
    sources::readers_deny_panics,
    sources::readers_are_fuzzed,
    sources::devices_are_named_in_one_file,
    sources::layers_call_devices_alone,
    sources::nothing_kept_is_an_activation,
    sources::verbs_have_cases,
    sources::serde_stands_at_the_edges,
    sources::words_that_may_not_occur,
    sources::no_path_is_of_one_machine,
    sources::planted_faults_have_their_places,
    papers::papers_are_there,
    papers::links_lead_somewhere,
    papers::cited_sections_are_there,
    papers::features_are_written_down,
    papers::devices_are_as_their_reports_say,
];

/// Checks the repository at `root`.
///
/// # Errors
/// If a file cannot be read, or a rule finds anything.
pub(crate) fn run(root: &Path) -> Result<()> {
    let findings = findings(&House::read(root)?);
    for finding in &findings {
        eprintln!("{finding}");
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    Ok(())
}

fn findings(house: &House) -> Findings {
    let mut findings = Findings::new();
    for rule in RULES {
        rule(house, &mut findings);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_repository_is_tidy() -> Result<()> {
        let findings = findings(&House::read(&crate::shell::root())?);
        assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
        Ok(())
    }

    #[test]
    fn what_is_wrong_anywhere_fails_the_run() -> Result<()> {
        let root = std::env::temp_dir().join(format!("tidy-{}", std::process::id()));
        std::fs::create_dir_all(&root)?;
        std::fs::write(root.join("README.md"), "[nowhere](nowhere.md)\n")?;
        let error = run(&root).expect_err("a dead link");
        std::fs::remove_dir_all(&root)?;
        assert!(error.to_string().starts_with("tidy: "), "{error}");
        Ok(())
    }
}
