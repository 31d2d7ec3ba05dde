//! The threads of the host's kernels.
#![allow(unsafe_code, reason = "threads write rectangles of one matrix")]

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::{fmt, mem};

use deepseek_core::{Error, Result};

use super::lanes::{Isa, LANES};
use super::team::Team;

/// Work below this many multiply-adds is done where it stands: sharing it would cost more.
const SMALL: usize = 1 << 15;

/// Threads, the instruction set they use, and the memory they work in.
#[derive(Debug)]
pub(crate) struct Pool {
    team: Team,
    isa: Isa,
    scratch: Box<[Mutex<Vec<Vec<f32>>>]>,
}

fn no_threads(count: usize, error: &impl fmt::Display) -> Error {
    Error::NoThreads {
        device: "cpu".to_owned(),
        count,
        why: error.to_string(),
    }
}

impl Pool {
    /// A pool of at least one thread, that of the caller.
    ///
    /// # Errors
    /// [`Error::NoThreads`] if the system gives no more threads.
    pub(crate) fn start(threads: usize, isa: Isa) -> Result<Self> {
        let count = threads.max(1);
        Ok(Self {
            team: Team::start(count).map_err(|error| no_threads(count, &error))?,
            isa,
            scratch: (0..count).map(|_| Mutex::default()).collect(),
        })
    }

    /// The same with the best instruction set, where the system gives the threads.
    #[cfg(test)]
    pub(crate) fn new(threads: usize) -> Self {
        Self::start(threads, Isa::available()[0]).expect("the system gives threads")
    }

    /// The same pool on another instruction set.
    #[cfg(test)]
    pub(crate) fn with_isa(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// Lends `work` rooms for so many numbers each, with whatever was left in them. Each thread keeps
    /// its own, so that inner loops ask the system for no memory; what is lent within `work` is
    /// another.
    pub(crate) fn scratch<const N: usize, T>(
        &self,
        lengths: [usize; N],
        work: impl FnOnce([&mut [f32]; N]) -> T,
    ) -> T {
        // Threads of another pool, if they ever came here, would share ours.
        let kept = &self.scratch[Team::index() % self.scratch.len()];
        // Nothing that holds the lock can fail halfway, so a poisoned one is as good.
        let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |length: usize| length.next_multiple_of(LANES);
        let total = lengths.into_iter().map(size).sum::<usize>() + LANES;
        let mut numbers = kept().pop().unwrap_or_default();
        if numbers.len() < total {
            // What grows with a text, and so a little with each step, asks for more a few times in its life.
            let step = (total.next_power_of_two() / 8).max(LANES);
            numbers = vec![0.0; total.next_multiple_of(step)];
        }
        let first = numbers.as_ptr().align_offset(size_of::<[f32; LANES]>());
        let mut rest = &mut numbers[first.min(LANES)..];
        let result = work(lengths.map(|length| {
            let (room, later) = mem::take(&mut rest).split_at_mut(size(length));
            rest = later;
            &mut room[..length]
        }));
        kept().push(numbers);
        result
    }

    /// The instruction set.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// How many threads there are.
    pub(crate) fn count(&self) -> usize {
        self.team.count()
    }

    /// Runs `work` on pieces of `out`, of `piece` entries each, with the index of the piece. `cost`
    /// is the work of the whole in multiply-adds.
    pub(crate) fn pieces<T: Send>(
        &self,
        out: &mut [T],
        piece: usize,
        cost: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let length = out.len();
        let whole = Whole(out.as_mut_ptr());
        self.share(length.div_ceil(piece), cost, &|index| {
            let first = index * piece;
            // SAFETY: the piece begins inside.
            let from = unsafe { whole.at(first) };
            // SAFETY: it ends inside, and no other turn has these entries.
            let out = unsafe { std::slice::from_raw_parts_mut(from, piece.min(length - first)) };
            work(index, out);
        });
    }

    /// Takes `count` turns of `work`, which all together are so many multiply-adds.
    fn share(&self, count: usize, cost: usize, work: &(dyn Fn(usize) + Sync)) {
        if cost < SMALL {
            (0..count).for_each(work);
        } else {
            self.team.run(count, work);
        }
    }

    /// Runs `work` on rectangles of `out: [.., width]`, at most `wide` columns of each band of rows,
    /// with the index of the band and the first column. Those of one band follow each other.
    ///
    /// # Panics
    /// If bands overlap or are no rows of `out`.
    pub(crate) fn tiles(
        &self,
        out: &mut [f32],
        width: usize,
        (bands, wide): (&[Range<usize>], usize),
        cost: usize,
        work: impl Fn([usize; 2], Tile<'_>) + Sync,
    ) {
        let apart = bands.windows(2).all(|two| two[0].end <= two[1].start);
        let end = bands.iter().map(|band| band.end).max().unwrap_or(0);
        assert!(apart && end * width <= out.len(), "{bands:?} of {width}");
        let across = width.div_ceil(wide);
        let whole = Whole(out.as_mut_ptr());
        let tile = |index: usize| {
            let (band, column) = (index / across, index % across * wide);
            let Range { start, end } = bands[band];
            let tile = Tile {
                // SAFETY: the first number of a rectangle that lies inside.
                first: unsafe { whole.at(start * width + column) },
                stride: width,
                rows: end - start,
                columns: wide.min(width - column),
                matrix: PhantomData,
            };
            work([band, column], tile);
        };
        self.share(bands.len() * across, cost, &tile);
    }
}

/// Where entries begin that are shared among threads.
struct Whole<T>(*mut T);

// SAFETY: each thread goes to entries of its own.
unsafe impl<T: Send> Sync for Whole<T> {}

impl<T> Whole<T> {
    /// # Safety
    /// There must be such an entry.
    unsafe fn at(&self, index: usize) -> *mut T {
        // SAFETY: promised by the caller.
        unsafe { self.0.add(index) }
    }
}

/// A rectangle of a matrix, to be written.
pub(crate) struct Tile<'a> {
    first: *mut f32,
    stride: usize,
    rows: usize,
    columns: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

impl<'a> Tile<'a> {
    /// A whole matrix.
    pub(crate) fn whole(numbers: &'a mut [f32], columns: usize) -> Self {
        Self {
            first: numbers.as_mut_ptr(),
            stride: columns,
            rows: numbers.len() / columns,
            columns,
            matrix: PhantomData,
        }
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns it has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The numbers of one row.
    #[inline]
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: a row begins `stride` numbers after the one before.
        let first = unsafe { self.first.add(row * self.stride) };
        // SAFETY: the rectangle lies inside its matrix, and no other has these numbers.
        unsafe { std::slice::from_raw_parts_mut(first, self.columns) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_within_rooms_are_others_and_are_kept() {
        let pool = Pool::new(1);
        let places = || {
            pool.scratch([100, 7], |[a, b]| {
                assert_eq!((a.len(), b.len()), (100, 7));
                a.fill(1.0);
                b.fill(2.0);
                let within = pool.scratch([100], |[c]| {
                    c.fill(3.0);
                    c.as_ptr().addr()
                });
                assert!(a.iter().all(|x| *x == 1.0) && b.iter().all(|x| *x == 2.0));
                [a.as_ptr().addr(), b.as_ptr().addr(), within]
            })
        };
        let first = places();
        assert_eq!(places(), first);
        assert!(
            first.iter().all(|place| place.is_multiple_of(64)),
            "{first:?}"
        );
    }

    #[test]
    fn rectangles_cover_a_matrix_once() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            for [rows, width] in [[0, 5], [1, 1], [7, 5], [8, 6], [9, 13]] {
                let mut out = vec![0.0; rows * width];
                let bands = [0..rows / 2, rows / 2..rows / 2, rows / 2..rows];
                pool.tiles(
                    &mut out,
                    width,
                    (&bands, 3),
                    SMALL,
                    |[band, column], mut tile| {
                        let row = bands[band].start;
                        assert!(tile.rows() == bands[band].len() && tile.columns() <= 3);
                        for below in 0..tile.rows() {
                            for (right, x) in tile.row(below).iter_mut().enumerate() {
                                *x += ((row + below) * width + column + right + 1) as f32;
                            }
                        }
                    },
                );
                let want: Vec<f32> = (1..=rows * width).map(|place| place as f32).collect();
                assert_eq!(out, want, "{rows} by {width}");
            }
        }
    }
}
