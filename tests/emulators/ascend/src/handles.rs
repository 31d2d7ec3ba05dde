//! Handles: numbers that no pointer can be, so that a caller who follows one stops at once, and that are
//! never given twice, so that one that was destroyed is told from one that lives.

use std::ptr::without_provenance_mut;

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Context = 1,
    Stream,
    Event,
    Tensor,
    Scalar,
    IntArray,
    FloatArray,
    BoolArray,
    TensorList,
    ScalarList,
    Executor,
}

/// A handle as the caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Handle(pub(crate) u64);

/// Where the next handles come from.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    serial: u64,
}

/// The upper bits of every handle. No address of a process has them.
const MARK: u64 = 0x0ACE << 48;

impl Handles {
    pub(crate) fn make(&mut self, kind: Kind) -> Handle {
        self.serial += 1;
        Handle(MARK | (kind as u64) << 40 | self.serial)
    }
}

impl Handle {
    pub(crate) fn is_null(self) -> bool {
        self.0 == 0
    }

    /// Whether it is, or was, a handle of this kind.
    pub(crate) fn is(self, kind: Kind) -> bool {
        self.0 >> 40 == MARK >> 40 | kind as u64
    }

    /// As C has it.
    pub(crate) fn pointer<T>(self) -> *mut T {
        without_provenance_mut(self.0 as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_knows_its_kind_and_is_new() {
        let mut handles = Handles::default();
        let [first, second] = [(); 2].map(|()| handles.make(Kind::Stream));
        assert_ne!(first, second);
        assert!(first.is(Kind::Stream) && !first.is(Kind::Event));
        assert!(!Handle(0).is(Kind::Stream) && Handle(0).is_null());
    }
}
