//! Whether ranks can divide a model.

use deepseek_core::Parallel;

use super::PlanError;
use crate::config::Config;

/// Of groups of heads and of rows of logits all ranks have as many. Of experts, and of blocks of their inner
/// width, some may have one more than others.
pub(super) fn check(parallel: Parallel, config: &Config) -> Result<(), PlanError> {
    let Parallel { tensor, expert } = parallel;
    for (what, ranks) in [
        ("ranks of tensor parallelism", tensor),
        ("ranks of expert parallelism", expert),
    ] {
        if ranks == 0 {
            return Err(PlanError::Zero { what });
        }
    }
    // With heads on every rank or on as many as there are; experts likewise, or their width besides.
    if tensor > 1 && !tensor.is_multiple_of(expert) {
        return Err(PlanError::Grid { tensor, expert });
    }
    let world = parallel.world();
    for (what, count, ranks) in [
        ("groups of heads", config.o_groups, tensor),
        ("rows of the output matrix", config.vocab_size, world),
    ] {
        if !count.is_multiple_of(ranks) {
            return Err(PlanError::Ranks { what, count, ranks });
        }
    }
    let drafter = config.drafter.as_ref().map(|drafter| drafter.experts);
    for (what, count, ranks) in [
        ("experts", config.experts.count, expert),
        (
            "experts of a draft layer",
            drafter.unwrap_or(expert),
            expert,
        ),
        ("channels of an expert", config.experts.inner, world),
    ] {
        if count < ranks {
            return Err(PlanError::Ranks { what, count, ranks });
        }
    }
    Ok(())
}
