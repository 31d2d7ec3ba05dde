//! Each operation beside the host's driver, on random shapes and under random schedules.

use backend_offload::trial::{Case, Trial};
use deepseek_core::Result;
use emulator_support::SEEDS;

use super::open;
use crate::Session;

/// Runs a case under each seed; nothing may be found or left.
#[track_caller]
fn check(case: Case) -> Result<()> {
    for seed in SEEDS {
        let session = Session::random(seed);
        let mut trial = Trial::new(open(&session)?);
        let found = trial.run(case, seed)?;
        assert_eq!(found.flaw, None, "seed {seed}");
        assert!(found.operations > 0, "seed {seed}");
        drop(trial);
        session.clean();
    }
    Ok(())
}

#[test]
fn memory_is_filled_and_bf16_is_widened() -> Result<()> {
    check(Case::Fills)
}

#[test]
fn round_trips_are_exact() -> Result<()> {
    check(Case::Roundings)
}

#[test]
fn numbers_are_moved() -> Result<()> {
    check(Case::Moves)
}

#[test]
fn rows_are_gathered_taken_and_stored() -> Result<()> {
    check(Case::Rows)
}

#[test]
fn rows_are_multiplied_by_matrices_of_either_type() -> Result<()> {
    check(Case::Products)
}

#[test]
fn matrices_are_multiplied_in_batches() -> Result<()> {
    check(Case::Batches)
}

#[test]
fn numbers_are_added_and_multiplied_with_repetition() -> Result<()> {
    check(Case::Pairs)
}

#[test]
fn functions_are_those_of_the_host() -> Result<()> {
    check(Case::Functions)
}

#[test]
fn dimensions_are_reduced_and_rows_are_normed() -> Result<()> {
    check(Case::Reductions)
}

#[test]
fn pairs_of_channels_are_rotated_either_way() -> Result<()> {
    check(Case::Rotations)
}

#[test]
fn the_best_are_found_ties_and_no_numbers_among_them() -> Result<()> {
    check(Case::Choices)
}

#[test]
fn visits_are_sorted_by_expert_and_none_of_them_too() -> Result<()> {
    check(Case::Visits)
}

#[test]
fn integers_are_multiplied_as_what_they_stand_for() -> Result<()> {
    check(Case::Integers)
}
