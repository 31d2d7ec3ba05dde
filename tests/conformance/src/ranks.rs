//! Fixtures whose model is divided among ranks.

use anyhow::Result;
use deepseek_cluster::Cluster;
use deepseek_core::{Group, Kernels, Member, Parallel};
use deepseek_model::Model;

use crate::model::{Open, open};

/// The ways to divide a model among two ranks.
pub const PAIRS: [Parallel; 3] = [
    Parallel {
        tensor: 2,
        expert: 1,
    },
    Parallel {
        tensor: 1,
        expert: 2,
    },
    Parallel {
        tensor: 2,
        expert: 2,
    },
];

/// Loads a fixture on as many devices as its ranks are, each of which joins as the member that it is given.
///
/// # Errors
/// If it cannot be read, or a rank cannot be loaded.
pub fn open_on<B: Kernels>(
    device: impl Fn(Member) -> Result<B> + Sync,
    name: &str,
    opened: Open,
) -> Result<Cluster<Model<B>>> {
    divided(opened.parallel, device, |be| open(be, name, opened))
}

/// The same for whatever a rank is loaded by.
///
/// # Errors
/// If a rank cannot be loaded.
pub fn divided<B: Kernels>(
    parallel: Parallel,
    device: impl Fn(Member) -> Result<B> + Sync,
    load: impl Fn(B) -> Result<Model<B>> + Sync,
) -> Result<Cluster<Model<B>>> {
    let members = Group::of(parallel.world());
    let rank = |member: &Member| load(device(member.clone())?);
    let ranks: Result<Vec<_>> = std::thread::scope(|scope| {
        let rank = &rank;
        let ranks: Vec<_> = members
            .iter()
            .map(|member| scope.spawn(move || rank(member)))
            .collect();
        let loaded = ranks.into_iter().map(|rank| rank.join());
        loaded.map(|rank| rank.expect("no panic")).collect()
    });
    let mut ranks = ranks?.into_iter();
    let leader = ranks.next().expect("one rank at least");
    Ok(Cluster::new(leader, ranks, members[0].rendezvous())?)
}
