//! What a handle stands for.

pub(crate) use emulator_support::{Handle, Handles};

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
    Graph,
    Communicator,
}

impl emulator_support::HandleKind for Kind {
    fn number(self) -> u8 {
        self as u8
    }
}
