//! The memory of the device that the host plays.

use std::collections::BTreeMap;

use deepseek_core::quant::unpack_row;
use deepseek_core::{Error, Result};

use super::{NAME, fault};
use crate::matrix::{encode, floats};
use crate::view::{Address, DType, View};

/// What memory holds that nobody has written: no number, whatever type it is read as.
const UNWRITTEN: u8 = 0xff;
/// Where addresses begin, how they are aligned, and what lies between two allocations and belongs to
/// neither.
const FIRST: u64 = 0x1000;
const ALIGN: usize = 512;
const GAP: usize = 4096;

/// Allocations by their addresses. Addresses are never used again, so whatever uses memory that was
/// given back is found.
#[derive(Debug)]
pub(super) struct HostMemory {
    allocations: BTreeMap<Address, Vec<u8>>,
    next: Address,
    free_bytes: usize,
}

impl HostMemory {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            allocations: BTreeMap::new(),
            next: Address(FIRST),
            free_bytes: bytes,
        }
    }

    pub(super) fn allocate(&mut self, bytes: usize) -> Result<Address> {
        let Some(rest) = self.free_bytes.checked_sub(bytes) else {
            return Err(Error::OutOfMemory {
                device: NAME.to_owned(),
                bytes,
            });
        };
        self.free_bytes = rest;
        let at = self.next;
        self.next = at.plus(bytes.next_multiple_of(ALIGN) + GAP);
        self.allocations.insert(at, vec![UNWRITTEN; bytes]);
        Ok(at)
    }

    pub(super) fn free(&mut self, at: Address) -> Result<()> {
        match self.allocations.remove(&at) {
            None => Err(fault(format!("{:#x} given back and not held", at.0))),
            Some(bytes) => {
                self.free_bytes += bytes.len();
                Ok(())
            }
        }
    }

    pub(super) fn read(&self, at: Address, bytes: usize) -> Result<&[u8]> {
        let found = self.allocations.range(..=at).next_back();
        let run = found.and_then(|(start, all)| {
            let first = usize::try_from(at.0 - start.0).ok()?;
            all.get(first..first.checked_add(bytes)?)
        });
        run.ok_or_else(|| missing(at, bytes))
    }

    fn room(&mut self, at: Address, bytes: usize) -> Result<&mut [u8]> {
        let found = self.allocations.range_mut(..=at).next_back();
        let run = found.and_then(|(start, all)| {
            let first = usize::try_from(at.0 - start.0).ok()?;
            all.get_mut(first..first.checked_add(bytes)?)
        });
        run.ok_or_else(|| missing(at, bytes))
    }

    pub(super) fn write(&mut self, at: Address, bytes: &[u8]) -> Result<()> {
        self.room(at, bytes.len())
            .map(|room| room.copy_from_slice(bytes))
    }

    /// The bytes of a view.
    pub(super) fn bytes(&self, view: &View) -> Result<&[u8]> {
        match view.bytes() {
            0 => Ok(&[]),
            bytes => self.read(view.at, bytes),
        }
    }

    pub(super) fn bytes_mut(&mut self, view: &View) -> Result<&mut [u8]> {
        match view.bytes() {
            0 => Ok(&mut []),
            bytes => self.room(view.at, bytes),
        }
    }

    /// The numbers of a view of floats.
    pub(super) fn floats(&self, view: &View) -> Result<Vec<f32>> {
        let mut values = vec![0.0; view.count()];
        unpack_row(floats(view.dtype), self.bytes(view)?, &mut values);
        Ok(values)
    }

    /// The numbers of a list, each of which must be one of `0..below`.
    pub(super) fn places(&self, view: &View, below: usize) -> Result<Vec<usize>> {
        let numbers = self.bytes(view)?.as_chunks::<4>().0.iter();
        let place = |bytes: &[u8; 4]| {
            let number = i32::from_le_bytes(*bytes);
            let place = usize::try_from(number).ok().filter(|place| *place < below);
            place.ok_or_else(|| fault(format!("number {number} where there are {below}")))
        };
        assert_eq!(view.dtype, DType::I32, "a list");
        numbers.map(place).collect()
    }

    /// Stores floats, rounded to what the view keeps.
    pub(super) fn put(&mut self, view: &View, values: &[f32]) -> Result<()> {
        assert_eq!(values.len(), view.count(), "numbers of {view}");
        let bytes = encode(view.dtype, values);
        self.bytes_mut(view)
            .map(|room| room.copy_from_slice(&bytes))
    }

    /// Stores a list.
    pub(super) fn put_places(&mut self, view: &View, places: &[usize]) -> Result<()> {
        assert_eq!(places.len(), view.count(), "numbers of {view}");
        let room = self.bytes_mut(view)?.as_chunks_mut::<4>().0;
        for (bytes, place) in room.iter_mut().zip(places) {
            *bytes = (*place as i32).to_le_bytes();
        }
        Ok(())
    }
}

fn missing(at: Address, bytes: usize) -> Error {
    fault(format!("{bytes} bytes at {:#x}, which is not held", at.0))
}
