//! Handles: numbers that no pointer can be, so that a caller who follows one stops at once, and that are
//! never given twice, so that one that was destroyed is told from one that lives.

use std::ptr::without_provenance_mut;

/// What a handle stands for, as a number.
pub trait HandleKind: Copy {
    /// The number, another for each kind.
    fn number(self) -> u8;
}

/// A handle as the caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle(pub u64);

/// Where the next handles come from.
#[derive(Debug, Default)]
pub struct Handles {
    serial: u64,
}

/// The upper bits of every handle. No address of a process has them.
const MARK: u64 = 0x0ACE << 48;

impl Handles {
    /// A new handle of a kind.
    pub fn make(&mut self, kind: impl HandleKind) -> Handle {
        self.serial += 1;
        Handle(MARK | u64::from(kind.number()) << 40 | self.serial)
    }
}

impl Handle {
    /// Whether it is null.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Whether it is, or was, a handle of this kind.
    #[must_use]
    pub fn is(self, kind: impl HandleKind) -> bool {
        self.0 >> 40 == MARK >> 40 | u64::from(kind.number())
    }

    /// As C has it.
    #[must_use]
    pub fn pointer<T>(self) -> *mut T {
        without_provenance_mut(self.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy)]
    enum Kind {
        Stream = 1,
        Event,
    }

    impl HandleKind for Kind {
        fn number(self) -> u8 {
            self as u8
        }
    }

    #[test]
    fn a_handle_knows_its_kind_and_is_new() {
        let mut handles = Handles::default();
        let [first, second] = [(); 2].map(|()| handles.make(Kind::Stream));
        assert_ne!(first, second);
        assert!(first.is(Kind::Stream) && !first.is(Kind::Event));
        assert!(!Handle(0).is(Kind::Stream) && Handle(0).is_null());
    }
}
