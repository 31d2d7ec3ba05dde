//! Ranks that are loaded at once, a thread each.

use std::ops::ControlFlow;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use deepseek_model::{Error, Result};

/// What `load` gives for each rank. `progress` hears of the layers of the first one; where it ends, or a rank
/// fails, the others end at their next layer.
pub(crate) fn load_all<D: Send>(
    world: usize,
    progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
    load: impl Fn(usize, &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<D> + Sync,
) -> Result<Vec<D>> {
    let is_over = AtomicBool::new(false);
    // Loads a rank, whose layers are told of, unless another rank is at its end.
    let one = |rank: usize, progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>| {
        let loaded = load(rank, &mut |done, total| {
            if is_over.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            progress(done, total)
        });
        if loaded.is_err() {
            is_over.store(true, Ordering::Relaxed);
        }
        loaded
    };
    let loaded = thread::scope(|scope| {
        let one = &one;
        let silent = |rank| move || one(rank, &mut |_, _| ControlFlow::Continue(()));
        let followers: Vec<_> = (1..world).map(|rank| scope.spawn(silent(rank))).collect();
        let mut loaded = vec![one(0, progress)];
        for follower in followers {
            loaded.push(follower.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        loaded
    });
    // One that failed by itself says more than those that ended because of it.
    let (mut all, mut worst) = (Vec::with_capacity(world), None);
    for one in loaded {
        match one {
            Ok(decoder) => all.push(decoder),
            Err(Error::Interrupted) => worst = worst.or(Some(Error::Interrupted)),
            Err(error) if matches!(worst, None | Some(Error::Interrupted)) => worst = Some(error),
            Err(_) => {}
        }
    }
    match worst {
        None => Ok(all),
        Some(error) => Err(error),
    }
}
