//! What a handle stands for.

pub(crate) use emulator_support::{Handle, Handles};

/// What a handle stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Queue = 1,
    Notifier,
    Operators,
    Tensor,
    OpTensor,
    Div,
    Activation,
    Reduce,
    MatMul,
    Algorithm,
    Heuristic,
    Norm,
    GroupGemm,
    GroupTensor,
    Topology,
    Entity,
    Communicator,
}

impl emulator_support::HandleKind for Kind {
    fn number(self) -> u8 {
        self as u8
    }
}
