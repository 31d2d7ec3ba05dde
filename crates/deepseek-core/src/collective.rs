//! What ranks do together: the same call on each of them, in the same order.

use std::fmt;

use crate::backend::Backend;
use crate::error::Result;

/// A device as one of several ranks that share a model. What is provided is that of one rank alone.
///
/// - All ranks make the same calls, in the same order, with tensors of the same shapes, and each gets the
///   same bits: what follows is computed by each on its own and must stay alike.
/// - Like other work a call may be queued, and its failure appears at the next call that waits. Where one
///   rank fails, the others get [`Error::Rank`](crate::Error::Rank) instead of waiting for it.
pub trait Collective: Backend {
    /// Which rank it is.
    fn rank(&self) -> usize {
        0
    }

    /// How many ranks there are.
    fn world(&self) -> usize {
        1
    }

    /// The sum of the `x` of all ranks, in the order of the ranks, as 32-bit floats.
    fn all_reduce(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        Ok(x.clone())
    }

    /// The `x: [.., n]` of all ranks side by side, in the order of the ranks: `[.., world * n]`.
    fn all_gather(&self, x: &Self::Tensor) -> Result<Self::Tensor> {
        Ok(x.clone())
    }
}

/// What ranks meet through. Whoever drives them tells it of a rank that cannot come.
pub trait Rendezvous: fmt::Debug + Send + Sync {
    /// A rank failed: others that wait for it, or will, get an error that says so.
    fn fail(&self, rank: usize, why: &str);

    /// All ranks have been waited for, so the next calls are made by all of them again.
    fn renew(&self);
}
