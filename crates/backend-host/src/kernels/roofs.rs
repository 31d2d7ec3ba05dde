//! What the machine can do at most: loops that do nothing else.
#![allow(unsafe_code, reason = "compiled for each instruction set")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    reason = "one promise, that of the instruction set, covers all operations on registers"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use deepseek_core::{Error, Result};
use memmap2::MmapMut;

use super::lanes::{LANES, Lanes, for_each_isa, vectors};
use super::pool::Pool;

/// The most that the threads of a [`Host`](crate::Host) do together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roofs {
    /// Bytes that are read from memory in a second.
    pub read: f64,
    /// Operations with 32-bit floats in a second, two for a multiplication with its addition.
    pub multiply: f64,
}

/// Numbers that are read: far more than caches hold.
const NUMBERS: usize = 64 << 20;

/// Rounds of a piece of arithmetic: long beside the start of a thread.
const ROUNDS: usize = 1 << 20;

/// How often each is tried; the best counts, because others may be at work on the machine.
const TRIES: usize = 5;

/// Sums whose additions make a round. How many of them are in flight at once depends on the registers: enough
/// to hide how long an addition takes, and none that has to wait in memory.
const SUMS: usize = 12;

/// Multiply-adds of one round of [`multiply`].
const ROUND: usize = SUMS * LANES;

for_each_isa! {
    /// Multiplies and adds in registers, [`ROUND`] numbers a round, and leaves a sum in `out`, so that none
    /// of it is left out.
    multiply(by: &[f32; LANES], rounds: usize, out: &mut [f32; LANES]) = multiply_on
}

for_each_isa! {
    /// Reads `from`, whole vectors of it, and leaves a sum in `out`.
    read(from: &[f32], out: &mut [f32; LANES]) = read_on
}

#[inline(always)]
unsafe fn multiply_on<L: Lanes>(by: &[f32; LANES], rounds: usize, out: &mut [f32; LANES]) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::TILE[0] * L::TILE[1] {
            4 => multiply_by::<L, 4>(by, rounds, out),
            6 => multiply_by::<L, 6>(by, rounds, out),
            _ => multiply_by::<L, SUMS>(by, rounds, out),
        }
    }
}

/// `N` of the sums at once, the others after them.
#[inline(always)]
unsafe fn multiply_by<L: Lanes, const N: usize>(
    by: &[f32; LANES],
    rounds: usize,
    out: &mut [f32; LANES],
) {
    // SAFETY: promised by the caller.
    let (by, mut sums) = unsafe { (L::load(by), [L::splat(0.0); N]) };
    for _ in 0..rounds * (SUMS / N) {
        for sum in &mut sums {
            // SAFETY: promised by the caller.
            *sum = unsafe { by.fma(by, *sum) };
        }
    }
    // SAFETY: promised by the caller.
    unsafe { total(sums).store(out) };
}

#[inline(always)]
unsafe fn read_on<L: Lanes>(from: &[f32], out: &mut [f32; LANES]) {
    // SAFETY: promised by the caller.
    unsafe {
        match L::TILE[0] * L::TILE[1] {
            4 => read_by::<L, 4>(from, out),
            6 => read_by::<L, 6>(from, out),
            _ => read_by::<L, SUMS>(from, out),
        }
    }
}

/// `N` vectors at once.
#[inline(always)]
unsafe fn read_by<L: Lanes, const N: usize>(from: &[f32], out: &mut [f32; LANES]) {
    // SAFETY: promised by the caller.
    let (one, mut sums) = unsafe { (L::splat(1.0), [L::splat(0.0); N]) };
    for vectors in vectors(from).as_chunks::<N>().0 {
        for (sum, vector) in sums.iter_mut().zip(vectors) {
            // SAFETY: promised by the caller.
            *sum = unsafe { L::load(vector).fma(one, *sum) };
        }
    }
    // SAFETY: promised by the caller.
    unsafe { total(sums).store(out) };
}

#[inline(always)]
unsafe fn total<L: Lanes, const N: usize>(sums: [L; N]) -> L {
    // SAFETY: promised by the caller.
    let one = unsafe { L::splat(1.0) };
    let mut all = sums[0];
    for sum in &sums[1..] {
        // SAFETY: promised by the caller.
        all = unsafe { sum.fma(one, all) };
    }
    all
}

/// Measures both roofs. Takes about half a second and 256 MiB.
///
/// # Errors
/// [`Error::OutOfMemory`] where there is less.
pub(crate) fn roofs(pool: &Pool) -> Result<Roofs> {
    let mut map =
        MmapMut::map_anon(NUMBERS * size_of::<f32>()).map_err(|_| Error::OutOfMemory {
            device: "cpu".to_owned(),
            bytes: NUMBERS * size_of::<f32>(),
        })?;
    // Pages as weights have them. Where they are refused, these are small as those are.
    #[cfg(target_os = "linux")]
    map.advise(memmap2::Advice::HugePage).ok();
    // Not zero: the system would map one page of zeros over and over.
    map.fill(1);
    // SAFETY: any four bytes are a float, and a map begins a page.
    let numbers = unsafe { map.align_to::<f32>().1 };
    let threads = pool.count();
    let part = NUMBERS.div_ceil(threads);
    let bytes = (NUMBERS * size_of::<f32>()) as f64;
    let read = best(bytes, || {
        let parts: Vec<&[f32]> = numbers.chunks(part).collect();
        let mut sums = vec![[0.0; LANES]; parts.len()];
        pool.pieces(&mut sums, 1, NUMBERS, |index, sums| {
            read(pool.isa(), parts[index], &mut sums[0]);
        });
        black_box(sums);
    });
    let rounds = threads * ROUNDS;
    let operations = (2 * rounds * ROUND) as f64;
    let multiply = best(operations, || {
        let mut sums = vec![[0.0; LANES]; threads];
        pool.pieces(&mut sums, 1, rounds, |_, sums| {
            multiply(pool.isa(), black_box(&[1e-6; _]), ROUNDS, &mut sums[0]);
        });
        black_box(sums);
    });
    Ok(Roofs { read, multiply })
}

/// How much of `amount` is done in a second, at best.
fn best(amount: f64, mut work: impl FnMut()) -> f64 {
    let times = (0..TRIES).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    let best = times.min().unwrap_or(Duration::MAX);
    amount / best.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Isa;
    use super::*;

    #[test]
    fn all_of_it_is_done() {
        for isa in Isa::available() {
            let mut out = [0.0; LANES];
            multiply(isa, &[1.0; LANES], 100, &mut out);
            assert_eq!(out, [(SUMS * 100) as f32; LANES], "{isa:?}");
            let from: Vec<f32> = (0..10 * ROUND)
                .map(|place| (place % LANES) as f32)
                .collect();
            read(isa, &from, &mut out);
            let want: [f32; LANES] = std::array::from_fn(|lane| (10 * SUMS * lane) as f32);
            assert_eq!(out, want, "{isa:?}");
        }
    }
}
