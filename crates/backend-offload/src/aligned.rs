//! Memory of a vendor's that begins where callers are promised.

use std::collections::BTreeMap;

use deepseek_core::Result;

use crate::limits::BLOCK_BYTES_MIN;
use crate::view::Address;

/// Memory that is held: where it begins for callers, a multiple of 512, and where for the vendor.
#[derive(Debug, Default)]
pub struct Allocations(BTreeMap<Address, Address>);

impl Allocations {
    /// Takes memory from a vendor that may promise less.
    ///
    /// # Errors
    /// What the vendor says.
    pub fn take(
        &mut self,
        bytes: usize,
        malloc: impl Fn(usize) -> Result<Address>,
        free: impl Fn(Address) -> Result<()>,
    ) -> Result<Address> {
        let (bytes, step) = (bytes.max(1), BLOCK_BYTES_MIN as u64);
        let mut given = malloc(bytes)?;
        if given.0 % step != 0 {
            // Room to begin later: rarely needed, and large pages are not to be had by halves.
            free(given)?;
            given = malloc(bytes + BLOCK_BYTES_MIN)?;
        }
        let at = Address(given.0.next_multiple_of(step));
        self.0.insert(at, given);
        Ok(at)
    }

    /// Whether memory is held.
    #[must_use]
    pub fn holds(&self, at: Address) -> bool {
        self.0.contains_key(&at)
    }

    /// Lets go of memory: where it begins for the vendor.
    pub fn remove(&mut self, at: Address) -> Option<Address> {
        self.0.remove(&at)
    }

    /// All that is held, as the vendor has it.
    pub fn all(&self) -> impl Iterator<Item = Address> {
        self.0.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn memory_begins_where_it_is_promised_and_is_given_back_as_it_was_given() -> Result<()> {
        for (first, want) in [(1024, vec![]), (1088, vec![1088])] {
            let (next, freed) = (RefCell::new(first), RefCell::new(Vec::new()));
            let malloc = |bytes: usize| {
                let at = *next.borrow();
                *next.borrow_mut() += bytes as u64 + 64;
                Ok(Address(at))
            };
            let free = |at: Address| {
                freed.borrow_mut().push(at.0);
                Ok(())
            };
            let mut held = Allocations::default();
            let at = held.take(100, malloc, free)?;
            assert_eq!((at.0 % 512, freed.borrow().clone()), (0, want));
            assert!(held.holds(at));
            let given = held.all().next().expect("one");
            assert!(given <= at && at.0 - given.0 < 512, "{given:?} for {at:?}");
            assert_eq!(held.remove(at), Some(given));
            assert!(!held.holds(at) && held.remove(at).is_none());
        }
        Ok(())
    }
}
