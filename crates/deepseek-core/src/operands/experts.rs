//! The experts of a layer, as a device is given them and as one without an arrangement of its own
//! keeps them.

use std::iter::Sum;
use std::ops::{Add, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::FeedForward;
use crate::backend::{Backend, Use};
use crate::error::Result;
use crate::weights::{Access, WeightView};

/// The matrices of one expert, in its file.
#[derive(Debug, Clone)]
pub struct ExpertViews {
    /// `w1: [inner, hidden]`.
    pub gate: WeightView,
    /// `w3: [inner, hidden]`.
    pub up: WeightView,
    /// `w2: [hidden, inner]`.
    pub down: WeightView,
}

impl ExpertViews {
    /// Takes the matrices to a device.
    pub fn load<B: Backend>(&self, be: &B) -> Result<FeedForward<B>> {
        Ok(FeedForward {
            gate: be.load(&self.gate, Use::Product)?,
            up: be.load(&self.up, Use::Product)?,
            down: be.load(&self.down, Use::Product)?,
        })
    }

    fn bytes(&self) -> u64 {
        let bytes = |view: &WeightView| view.bytes() as u64;
        bytes(&self.gate) + bytes(&self.up) + bytes(&self.down)
    }

    fn advise(&self, access: Access) {
        for view in [&self.gate, &self.up, &self.down] {
            view.data.advise(0..view.data.len(), access);
            view.scales.advise(0..view.scales.len(), access);
        }
    }
}

/// The experts of a layer that a device has: all, or a run of them where ranks divide them.
#[derive(Debug, Clone, Copy)]
pub struct ExpertShare<'a> {
    /// Their matrices.
    pub views: &'a [ExpertViews],
    /// The number of the first.
    pub first: usize,
    /// How many there are on all ranks together.
    pub total: usize,
}

impl<'a> ExpertShare<'a> {
    /// All experts of a layer.
    #[must_use]
    pub fn all(views: &'a [ExpertViews]) -> Self {
        Self {
            views,
            first: 0,
            total: views.len(),
        }
    }

    /// Their numbers.
    #[must_use]
    pub fn range(&self) -> Range<u32> {
        self.first as u32..(self.first + self.views.len()) as u32
    }
}

/// How much of a layer's experts may stay in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Residency {
    /// Bytes; none leaves it to the device.
    pub bytes: Option<u64>,
}

/// How often experts were used, and how often one had to be brought into memory for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Visits {
    /// Uses of an expert.
    pub count: u64,
    /// Experts that were fetched because they were not in memory.
    pub fetched: u64,
}

impl Add for Visits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            fetched: self.fetched + other.fetched,
        }
    }
}

impl Sum for Visits {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Every expert at hand: the bank of a device that neither packs nor streams them.
#[derive(Debug)]
pub struct ExpertBank<B: Backend> {
    experts: Vec<FeedForward<B>>,
    range: Range<u32>,
    pages: Option<ExpertPages>,
}

impl<B: Backend> ExpertBank<B> {
    /// Experts that are copied when they are loaded, all of which stay.
    pub fn copied(be: &B, share: ExpertShare<'_>) -> Result<Self> {
        let experts = share.views.iter().map(|expert| expert.load(be));
        Ok(Self {
            experts: experts.collect::<Result<_>>()?,
            range: share.range(),
            pages: None,
        })
    }

    /// Experts that stay in their files and are read through a map, within `residency`.
    pub fn mapped(be: &B, share: ExpertShare<'_>, residency: Residency) -> Result<Self> {
        Ok(Self {
            pages: Some(ExpertPages::new(share.views, residency)),
            ..Self::copied(be, share)?
        })
    }

    /// The numbers of those that are here.
    #[must_use]
    pub fn range(&self) -> Range<u32> {
        self.range.clone()
    }

    /// One expert, to be used now.
    ///
    /// # Panics
    /// If it is not here.
    #[must_use]
    pub fn expert(&self, id: u32) -> FeedForward<B> {
        let place = id - self.range.start;
        if let Some(pages) = &self.pages {
            pages.visit(place);
        }
        self.experts[place as usize].clone()
    }

    /// How many experts may be in memory at once: at least the one in use.
    #[must_use]
    pub fn resident_max(&self) -> usize {
        self.pages
            .as_ref()
            .map_or(usize::MAX, ExpertPages::resident_max)
    }

    /// What is known of their use: nothing where all of them may stay.
    #[must_use]
    pub fn visits(&self) -> Visits {
        let visits = |pages: &ExpertPages| pages.lock().visits;
        self.pages.as_ref().map_or_else(Visits::default, visits)
    }

    /// Begins to fetch experts that will be used soon, as far as they are here and not in memory.
    pub fn prefetch(&self, ids: &[u32]) {
        if let Some(pages) = &self.pages {
            let here = ids.iter().filter(|id| self.range.contains(*id));
            pages.prefetch(here.map(|id| id - self.range.start));
        }
    }
}

/// Which experts of a mapped layer are in memory, as far as is known here: those that were fetched
/// or used and not let go since.
#[derive(Debug)]
struct ExpertPages {
    views: Box<[ExpertViews]>,
    bound: Option<u64>,
    recent: Mutex<Recent>,
}

#[derive(Debug)]
struct Recent {
    /// When each was last asked for; none where it is not in memory.
    at: Box<[Option<u64>]>,
    now: u64,
    bytes: u64,
    visits: Visits,
}

impl ExpertPages {
    fn new(views: &[ExpertViews], residency: Residency) -> Self {
        Self {
            bound: residency.bytes,
            recent: Mutex::new(Recent {
                at: vec![None; views.len()].into(),
                now: 0,
                bytes: 0,
                visits: Visits::default(),
            }),
            views: views.into(),
        }
    }

    fn resident_max(&self) -> usize {
        let largest = self.views.iter().map(ExpertViews::bytes).max();
        let fit = |bound: u64| usize::try_from(bound / largest.unwrap_or(0).max(1));
        self.bound
            .map_or(usize::MAX, |bound| fit(bound).unwrap_or(usize::MAX).max(1))
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that an expert is used. Without a bound there is nothing to let go, so nothing is noted.
    fn visit(&self, id: u32) {
        if let Some(bound) = self.bound {
            let mut recent = self.lock();
            recent.visits.count += 1;
            self.keep(&mut recent, id);
            self.shrink(&mut recent, bound);
        }
    }

    /// Asks the system for experts that are not there: of the first of `ids`, as many as the bound
    /// allows, so that none is let go before it is used.
    fn prefetch(&self, ids: impl IntoIterator<Item = u32>) {
        let mut recent = self.lock();
        let mut room = self.bound.unwrap_or(u64::MAX);
        for id in ids {
            let view = &self.views[id as usize];
            let Some(rest) = room.checked_sub(view.bytes()) else {
                break;
            };
            room = rest;
            if recent.at[id as usize].is_none() {
                view.advise(Access::Soon);
            }
            // Those that are there are not the next to go, either.
            self.keep(&mut recent, id);
        }
        if let Some(bound) = self.bound {
            self.shrink(&mut recent, bound);
        }
    }

    fn keep(&self, recent: &mut Recent, id: u32) {
        recent.now += 1;
        let now = recent.now;
        if recent.at[id as usize].replace(now).is_none() {
            recent.bytes += self.views[id as usize].bytes();
            recent.visits.fetched += u64::from(self.bound.is_some());
        }
    }

    /// Lets go of those that were asked for longest ago, though never of the last.
    fn shrink(&self, recent: &mut Recent, bound: u64) {
        while recent.bytes > bound {
            let kept = recent.at.iter().enumerate();
            let oldest = kept
                .filter_map(|(id, at)| at.map(|at| (at, id)))
                .min()
                .filter(|(at, _)| *at < recent.now);
            let Some((_, id)) = oldest else { break };
            recent.at[id] = None;
            recent.bytes -= self.views[id].bytes();
            self.views[id].advise(Access::Over);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use super::*;
    use crate::format::Format;
    use crate::weights::{Bytes, Owner};

    /// A file that writes down what it is advised of.
    #[derive(Debug, Default)]
    struct File {
        bytes: Vec<u8>,
        advice: Mutex<Vec<(usize, Access)>>,
    }

    impl Owner for File {
        fn bytes(&self) -> &[u8] {
            &self.bytes
        }

        fn advise(&self, range: Range<usize>, access: Access) {
            let expert = range.start / EXPERT;
            let mut advice = self.advice.lock().expect("no panic");
            if advice.last() != Some(&(expert, access)) {
                advice.push((expert, access));
            }
        }
    }

    /// Bytes of an expert: three matrices of two rows of four floats.
    const EXPERT: usize = 3 * 2 * 4 * 4;

    fn pages(bound: Option<usize>) -> (Arc<File>, ExpertPages) {
        let file = Arc::new(File {
            bytes: vec![0; 4 * EXPERT],
            ..File::default()
        });
        let view = |start: usize| WeightView {
            name: "w".to_owned(),
            format: Format::F32,
            shape: [2, 4],
            data: Bytes::new(file.clone(), start..start + EXPERT / 3).expect("lies inside"),
            scales: Vec::new().into(),
            tile_row: 0,
            stride: None,
        };
        let views: Vec<_> = (0..4)
            .map(|id| ExpertViews {
                gate: view(id * EXPERT),
                up: view(id * EXPERT + EXPERT / 3),
                down: view(id * EXPERT + 2 * EXPERT / 3),
            })
            .collect();
        let bytes = bound.map(|experts| (experts * EXPERT) as u64);
        let pages = ExpertPages::new(&views, Residency { bytes });
        (file, pages)
    }

    fn advice(file: &File) -> Vec<(usize, Access)> {
        std::mem::take(&mut *file.advice.lock().expect("no panic"))
    }

    #[test]
    fn what_was_used_longest_ago_is_let_go_beyond_the_bound() {
        let (file, pages) = pages(Some(2));
        for id in [0, 1, 0] {
            pages.visit(id);
        }
        assert_eq!(advice(&file), []);
        pages.visit(2);
        assert_eq!(advice(&file), [(1, Access::Over)]);
        pages.visit(3);
        assert_eq!(advice(&file), [(0, Access::Over)]);
        let visits = Visits {
            count: 5,
            fetched: 4,
        };
        assert_eq!(pages.lock().visits, visits);
    }

    #[test]
    fn as_many_fit_as_their_bytes_say() {
        for (bound, most) in [(None, usize::MAX), (Some(0), 1), (Some(1), 1), (Some(3), 3)] {
            assert_eq!(pages(bound).1.resident_max(), most, "{bound:?}");
        }
    }

    #[test]
    fn the_expert_in_use_stays_however_small_the_bound() {
        let (file, pages) = pages(Some(0));
        pages.visit(0);
        assert_eq!(advice(&file), []);
        pages.visit(1);
        assert_eq!(advice(&file), [(0, Access::Over)]);
    }

    #[test]
    fn experts_are_asked_for_once_while_they_stay() {
        let (file, pages) = pages(None);
        pages.prefetch([1, 2, 1]);
        assert_eq!(advice(&file), [(1, Access::Soon), (2, Access::Soon)]);
        pages.prefetch([2, 3]);
        assert_eq!(advice(&file), [(3, Access::Soon)]);
    }

    #[test]
    fn no_more_is_asked_for_than_may_stay() {
        let (file, pages) = pages(Some(2));
        pages.visit(3);
        pages.prefetch([0, 1, 2]);
        let soon = [(0, Access::Soon), (1, Access::Soon)];
        assert_eq!(advice(&file), [&soon[..], &[(3, Access::Over)]].concat());
        // What was let go is asked for again.
        pages.prefetch([3]);
        assert_eq!(advice(&file), [(3, Access::Soon), (0, Access::Over)]);
        // What is there stays, because it will be used.
        pages.prefetch([1, 2]);
        assert_eq!(advice(&file), [(2, Access::Soon), (3, Access::Over)]);
    }
}
