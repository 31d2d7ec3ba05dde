//! Which rows of a pool each query reads: as runs that the host knows, or as ids on the device.

use std::ops::Range;
use std::sync::Arc;

use crate::backend::{Backend, Lists, NO_ROW};
use crate::error::Result;

/// Rows of one pool for each query, as runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs {
    ends: Vec<u32>,
    runs: Vec<Range<u32>>,
}

impl Runs {
    /// No queries yet, with room for `queries`.
    #[must_use]
    pub fn with_capacity(queries: usize) -> Self {
        Self {
            ends: Vec::with_capacity(queries),
            runs: Vec::with_capacity(queries),
        }
    }

    /// No queries any more; the memory is kept.
    pub fn clear(&mut self) {
        self.ends.clear();
        self.runs.clear();
    }

    /// Adds a query and its rows. Empty runs are dropped.
    pub fn push(&mut self, runs: impl IntoIterator<Item = Range<u32>>) {
        self.runs
            .extend(runs.into_iter().filter(|run| !run.is_empty()));
        self.ends
            .push(u32::try_from(self.runs.len()).expect("fewer runs than rows"));
    }

    /// Adds a query that reads single rows, in the order given; neighbours become one run.
    pub fn push_rows(&mut self, rows: impl IntoIterator<Item = u32>) {
        let first = self.runs.len();
        for row in rows {
            match self.runs[first..].last_mut() {
                Some(run) if run.end == row => run.end += 1,
                _ => self.runs.push(row..row + 1),
            }
        }
        self.ends
            .push(u32::try_from(self.runs.len()).expect("fewer runs than rows"));
    }

    /// Adds the queries of another list after ours.
    pub fn extend(&mut self, other: &Self) {
        for query in 0..other.queries() {
            self.push(other.runs(query).iter().cloned());
        }
    }

    /// How many queries there are.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.ends.len()
    }

    /// The runs of one query.
    ///
    /// # Panics
    /// If there is no such query.
    #[must_use]
    pub fn runs(&self, query: usize) -> &[Range<u32>] {
        let start = if query == 0 {
            0
        } else {
            self.ends[query - 1] as usize
        };
        &self.runs[start..self.ends[query] as usize]
    }

    /// How many rows one query has.
    ///
    /// # Panics
    /// If there is no such query.
    #[must_use]
    pub fn count(&self, query: usize) -> usize {
        self.runs(query).iter().map(ExactSizeIterator::len).sum()
    }

    /// The most rows that any query has.
    #[must_use]
    pub fn most(&self) -> usize {
        (0..self.queries())
            .map(|query| self.count(query))
            .max()
            .unwrap_or(0)
    }

    /// The rows of one query, in order.
    pub fn rows(&self, query: usize) -> impl Iterator<Item = u32> + '_ {
        self.runs(query).iter().cloned().flatten()
    }

    /// `[queries, k]`: the rows of each query, those before or behind them being [`NO_ROW`].
    fn padded(&self, k: usize, padding: Padding) -> Vec<u32> {
        let mut ids = vec![NO_ROW; self.queries() * k];
        for (query, ids) in ids.chunks_exact_mut(k.max(1)).enumerate() {
            let skip = match padding {
                Padding::Before => k - self.count(query),
                Padding::Behind => 0,
            };
            let places = ids[skip..].iter_mut().zip(self.rows(query));
            places.for_each(|(id, row)| *id = row);
        }
        ids
    }
}

/// Where a list is padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    Before,
    Behind,
}

/// The rows of one pool that each query sees, or that were chosen for it. A clone is a handle.
#[derive(Debug)]
pub enum Selection<B: Backend> {
    /// Known on the host.
    Runs(Arc<Runs>),
    /// On the device.
    Rows {
        /// `[queries, k]`, [`NO_ROW`] where a query has fewer.
        ids: B::Ids,
        /// The most rows of a query, at least 1.
        k: usize,
    },
}

impl<B: Backend> Clone for Selection<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Runs(runs) => Self::Runs(Arc::clone(runs)),
            Self::Rows { ids, k } => Self::Rows {
                ids: ids.clone(),
                k: *k,
            },
        }
    }
}

impl<B: Backend> Selection<B> {
    /// The rows of `runs` as the device takes them: as they are, or padded behind to `k` each, or to
    /// as many as the longest list has if that is more.
    pub fn of(be: &B, runs: &Arc<Runs>, k: usize) -> Result<Self> {
        Self::as_taken(be, runs, k, Padding::Behind)
    }

    /// The same, padded before.
    pub fn ending(be: &B, runs: &Arc<Runs>, k: usize) -> Result<Self> {
        Self::as_taken(be, runs, k, Padding::Before)
    }

    fn as_taken(be: &B, runs: &Arc<Runs>, k: usize, padding: Padding) -> Result<Self> {
        match be.lists() {
            Lists::Runs => Ok(Self::Runs(Arc::clone(runs))),
            Lists::Padded | Lists::Fixed => {
                let k = k.max(runs.most()).max(1);
                let ids = be.ids(&runs.padded(k, padding))?;
                Ok(Self::Rows { ids, k })
            }
        }
    }

    /// The most rows that a query may have, as far as the host knows.
    #[must_use]
    pub fn most(&self) -> usize {
        match self {
            Self::Runs(runs) => runs.most(),
            Self::Rows { k, .. } => *k,
        }
    }

    /// Ids on the device, `[queries, k]`, padded behind, and their `k`, at least 1. What is known as
    /// runs is brought there.
    pub fn ids(&self, be: &B) -> Result<(B::Ids, usize)> {
        self.on_device(be, self.most().max(1), Padding::Behind)
    }

    /// The same of `k` rows each, padded before where the rows are known as runs.
    ///
    /// # Panics
    /// If a query has more rows.
    pub fn ids_ending(&self, be: &B, k: usize) -> Result<B::Ids> {
        let (ids, width) = self.on_device(be, k, Padding::Before)?;
        assert_eq!(width, k, "rows of a query");
        Ok(ids)
    }

    fn on_device(&self, be: &B, k: usize, padding: Padding) -> Result<(B::Ids, usize)> {
        match self {
            Self::Runs(runs) => Ok((be.ids(&runs.padded(k, padding))?, k)),
            Self::Rows { ids, k } => Ok((ids.clone(), *k)),
        }
    }

    /// The rows as runs on the host. Waits if they were chosen on a device: within a step only an
    /// onlooker may ask.
    pub fn on_host(&self, be: &B) -> Result<Arc<Runs>> {
        match self {
            Self::Runs(runs) => Ok(Arc::clone(runs)),
            Self::Rows { ids, k } => {
                let ids = be.ids_on_host(ids)?;
                let mut runs = Runs::with_capacity(ids.len() / k);
                for ids in ids.chunks(*k) {
                    runs.push_rows(ids.iter().copied().filter(|id| *id != NO_ROW));
                }
                Ok(Arc::new(runs))
            }
        }
    }
}
