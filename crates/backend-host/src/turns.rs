//! Things that take turns: each is lent as counted handles, and lent again when all of them are gone.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// As many things of a kind as were ever held at once, with the memory that they have taken.
#[derive(Default)]
pub(crate) struct Turns<T>(Mutex<VecDeque<Arc<T>>>);

impl<T> fmt::Debug for Turns<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Turns({})", self.all().len())
    }
}

impl<T: Default> Turns<T> {
    /// One that nobody holds, made of what it was last time by `make`.
    pub(crate) fn take(&self, make: impl FnOnce(&mut T)) -> Arc<T> {
        // The one that was lent longest ago is the first to be free.
        let free = {
            let mut all = self.all();
            let place = all.iter_mut().position(|one| Arc::get_mut(one).is_some());
            place.and_then(|place| all.remove(place))
        };
        let mut one = free.unwrap_or_default();
        make(Arc::get_mut(&mut one).expect("nobody else holds it"));
        self.all().push_back(Arc::clone(&one));
        one
    }
}

impl<T> Turns<T> {
    /// Nothing that holds the lock can fail halfway, so a poisoned one is as good.
    fn all(&self) -> MutexGuard<'_, VecDeque<Arc<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_lent_again() {
        let turns = Turns::<Vec<u32>>::default();
        let first = turns.take(|list| list.push(1));
        let second = turns.take(|list| list.push(2));
        assert_eq!((&*first, &*second), (&vec![1], &vec![2]));
        let place = Arc::as_ptr(&first);
        let handle = Arc::clone(&first);
        drop(first);
        let third = turns.take(|list| list.push(3));
        assert_ne!(Arc::as_ptr(&third), place);
        drop(handle);
        let fourth = turns.take(|list| list.push(4));
        assert_eq!((Arc::as_ptr(&fourth), &*fourth), (place, &vec![1, 4]));
        assert_eq!(turns.all().len(), 3);
    }
}
