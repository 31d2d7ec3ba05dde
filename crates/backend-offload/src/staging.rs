//! Buffers of the host that copies run from and to.
//!
//! A buffer belongs to its copy until that has run, so none is written while the device still reads it.
//! Those whose copies have run serve the next; together they are bounded, and whoever wants one more
//! waits for the oldest copy.

use std::collections::{BTreeMap, VecDeque};

use deepseek_core::Result;

use crate::driver::Driver;
use crate::limits::{STAGING_BYTES_MAX, STAGING_PIECE_MAX, STAGING_PIECE_MIN};
use crate::view::View;

/// The staging buffers of a device, on its thread.
pub(crate) struct StagingPool<D: Driver> {
    free: BTreeMap<usize, Vec<D::Staging>>,
    /// Copies to the device, the oldest first, with the sizes of their buffers.
    flights: VecDeque<(usize, D::Flight)>,
    /// Bytes of all buffers, wherever they are.
    bytes: usize,
}

/// A run of bytes that is copied out at once: of which view, from where in it, how many.
type Piece = (usize, usize, usize);

impl<D: Driver> StagingPool<D> {
    pub(crate) fn new() -> Self {
        Self {
            free: BTreeMap::new(),
            flights: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Queues a copy to the device. The bytes are free again when it returns.
    pub(crate) fn copy_in(
        &mut self,
        driver: &mut D,
        bytes: &[u8],
        to: crate::Address,
    ) -> Result<()> {
        for (index, piece) in bytes.chunks(STAGING_PIECE_MAX).enumerate() {
            let size = buffer_bytes(piece.len());
            let mut buffer = self.take(driver, size)?;
            buffer.as_mut()[..piece.len()].copy_from_slice(piece);
            let to = to.plus(index * STAGING_PIECE_MAX);
            let flight = driver.copy_in(buffer, piece.len(), to)?;
            self.flights.push_back((size, flight));
        }
        Ok(())
    }

    /// Copies from the device, after all that was queued before: waits once, unless there are more bytes
    /// than all buffers hold.
    pub(crate) fn copy_out(&mut self, driver: &mut D, from: &[View]) -> Result<Vec<Vec<u8>>> {
        let mut copied: Vec<Vec<u8>> = from
            .iter()
            .map(|view| Vec::with_capacity(view.bytes()))
            .collect();
        let pieces: Vec<Piece> = from
            .iter()
            .enumerate()
            .flat_map(|(index, view)| {
                let starts = (0..view.bytes()).step_by(STAGING_PIECE_MAX);
                let length = move |start: usize| (view.bytes() - start).min(STAGING_PIECE_MAX);
                starts.map(move |start| (index, start, length(start)))
            })
            .collect();
        for pieces in pieces.chunks(STAGING_BYTES_MAX / STAGING_PIECE_MAX) {
            let mut flights = Vec::with_capacity(pieces.len());
            for (index, start, length) in pieces {
                let buffer = self.take(driver, buffer_bytes(*length))?;
                let from = from[*index].at.plus(*start);
                flights.push(driver.copy_out(from, *length, buffer)?);
            }
            for ((index, _, length), flight) in pieces.iter().zip(flights) {
                let buffer = driver.land(flight)?;
                copied[*index].extend_from_slice(&buffer.as_ref()[..*length]);
                self.give(buffer_bytes(*length), buffer);
            }
        }
        Ok(copied)
    }

    /// Waits for all copies to the device.
    pub(crate) fn land_all(&mut self, driver: &mut D) -> Result<()> {
        while let Some((size, flight)) = self.flights.pop_front() {
            let buffer = self.land(driver, size, flight)?;
            self.give(size, buffer);
        }
        Ok(())
    }

    fn take(&mut self, driver: &mut D, size: usize) -> Result<D::Staging> {
        self.collect(driver)?;
        loop {
            if let Some(buffer) = self.free.get_mut(&size).and_then(Vec::pop) {
                return Ok(buffer);
            }
            if self.bytes + size <= STAGING_BYTES_MAX {
                let buffer = driver.staging(size)?;
                self.bytes += size;
                return Ok(buffer);
            }
            self.make_room(driver)?;
        }
    }

    /// Takes back the buffers of copies that have run.
    fn collect(&mut self, driver: &mut D) -> Result<()> {
        while let Some((_, flight)) = self.flights.front() {
            if !driver.has_landed(flight)? {
                break;
            }
            if let Some((size, flight)) = self.flights.pop_front() {
                let buffer = self.land(driver, size, flight)?;
                self.give(size, buffer);
            }
        }
        Ok(())
    }

    /// Lets go of a free buffer of another size, or waits for the oldest copy.
    fn make_room(&mut self, driver: &mut D) -> Result<()> {
        let mut free = self.free.iter_mut();
        if let Some((size, buffer)) = free.find_map(|(size, free)| Some((*size, free.pop()?))) {
            self.bytes -= size;
            drop(buffer);
            return Ok(());
        }
        let oldest = self.flights.pop_front();
        let (size, flight) = oldest.expect("those in hand leave room");
        let buffer = self.land(driver, size, flight)?;
        self.give(size, buffer);
        Ok(())
    }

    /// Waits for a copy. One that failed takes its buffer with it.
    fn land(&mut self, driver: &mut D, size: usize, flight: D::Flight) -> Result<D::Staging> {
        let landed = driver.land(flight);
        if landed.is_err() {
            self.bytes -= size;
        }
        landed
    }

    fn give(&mut self, size: usize, buffer: D::Staging) {
        self.free.entry(size).or_default().push(buffer);
    }
}

/// The size of the buffer for so many bytes.
fn buffer_bytes(bytes: usize) -> usize {
    bytes.next_power_of_two().max(STAGING_PIECE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostChip, HostDriver};
    use crate::{Address, DType};

    fn driver() -> HostDriver {
        HostDriver::new(HostChip::Composed, 1 << 30)
    }

    fn view(at: Address, bytes: usize) -> View {
        View::new(at, DType::I32, [bytes / 4])
    }

    #[test]
    fn bytes_longer_than_any_buffer_come_back_as_they_went() -> Result<()> {
        let (mut driver, mut pool) = (driver(), StagingPool::new());
        for bytes in [
            4,
            STAGING_PIECE_MAX,
            STAGING_PIECE_MAX + 4,
            STAGING_BYTES_MAX + 400,
        ] {
            let sent: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let at = driver.allocate(bytes)?;
            pool.copy_in(&mut driver, &sent, at)?;
            let got = pool.copy_out(&mut driver, &[view(at, bytes), view(at, 4)])?;
            assert!(got[0] == sent, "{bytes} bytes");
            assert_eq!(got[1], sent[..4]);
            assert!(pool.bytes <= STAGING_BYTES_MAX);
            driver.free(at)?;
        }
        Ok(())
    }

    #[test]
    fn no_buffer_is_used_again_before_its_copy_has_run() -> Result<()> {
        let (mut driver, mut pool) = (driver(), StagingPool::new());
        let at = driver.allocate(64)?;
        for value in 0..8 {
            pool.copy_in(&mut driver, &[value; 4], at.plus(4 * usize::from(value)))?;
        }
        // None has run, so each has a buffer of its own.
        assert_eq!(pool.flights.len(), 8);
        assert_eq!(pool.bytes, 8 * STAGING_PIECE_MIN);
        let got = pool.copy_out(&mut driver, &[view(at, 32)])?;
        let want: Vec<u8> = (0..8).flat_map(|value| [value; 4]).collect();
        assert_eq!(got[0], want);
        // Now that they have, the next copies need no more.
        for value in 0..8 {
            pool.copy_in(&mut driver, &[value; 4], at)?;
        }
        assert_eq!(pool.bytes, 9 * STAGING_PIECE_MIN);
        Ok(())
    }

    #[test]
    fn whoever_wants_more_than_there_may_be_waits_for_the_oldest() -> Result<()> {
        let (mut driver, mut pool) = (driver(), StagingPool::new());
        let at = driver.allocate(STAGING_PIECE_MAX)?;
        let piece = vec![1; STAGING_PIECE_MAX];
        for _ in 0..STAGING_BYTES_MAX / STAGING_PIECE_MAX + 3 {
            pool.copy_in(&mut driver, &piece, at)?;
        }
        assert_eq!(pool.bytes, STAGING_BYTES_MAX);
        // A small one finds room among large ones.
        pool.copy_in(&mut driver, &[2; 4], at)?;
        assert!(pool.bytes <= STAGING_BYTES_MAX);
        assert_eq!(
            pool.copy_out(&mut driver, &[view(at, 8)])?[0],
            [2, 2, 2, 2, 1, 1, 1, 1]
        );
        pool.land_all(&mut driver)?;
        assert!(pool.flights.is_empty());
        Ok(())
    }
}
