//! The operations of a driver beside those of the host's, on the same bytes: what the tests of a driver run
//! over an emulator, and who has the device over that.
//!
//! ```
//! use backend_offload::host::{HostChip, HostDriver};
//! use backend_offload::trial::{Case, Trial};
//!
//! let mut trial = Trial::new(HostDriver::new(HostChip::Composed, 1 << 20));
//! for case in Case::ALL {
//!     let found = trial.run(case, 7)?;
//!     assert!(found.flaw.is_none() && found.operations > 0, "{case}: {found:?}");
//! }
//! # Ok::<(), deepseek_core::Error>(())
//! ```

mod cases;
mod graphs;
mod pair;

use std::fmt;

use deepseek_core::Result;

pub use self::graphs::{Replayed, replayed};
use crate::driver::{Chip, Driver};
use crate::trial::pair::Pair;

/// Operations that are tried together. All of them together are all that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Memory filled, and BF16 widened.
    Fills,
    /// Round trips through number formats, ties and every binade among them.
    Roundings,
    /// Slices, joins, shifted lists and masks.
    Moves,
    /// Rows gathered, taken and stored.
    Rows,
    /// Rows by matrices and by stacks of them, in either type.
    Products,
    /// Matrices in batches.
    Batches,
    /// Sums and products of numbers, with repetition.
    Pairs,
    /// Functions of one number.
    Functions,
    /// Sums, maxima and norms.
    Reductions,
    /// Pairs of channels rotated either way.
    Rotations,
    /// The places of the largest, ties and what is no number among them.
    Choices,
    /// Visits sorted by expert.
    Visits,
    /// Rows by matrices of INT8 and of INT4: as they are, and rounded to INT8 where the chip has products of integers.
    Integers,
    /// Streams read, mixed and written.
    Streams,
    /// Experts chosen and weighed.
    Gates,
}

impl Case {
    /// All that consist of primitives, whatever a chip does whole.
    pub const ALL: [Self; 13] = [
        Self::Fills,
        Self::Roundings,
        Self::Moves,
        Self::Rows,
        Self::Products,
        Self::Batches,
        Self::Pairs,
        Self::Functions,
        Self::Reductions,
        Self::Rotations,
        Self::Choices,
        Self::Visits,
        Self::Integers,
    ];
    /// Verbs that a chip may do whole: nothing is tried of those that it declines.
    pub const WHOLE: [Self; 2] = [Self::Streams, Self::Gates];
}

impl Case {
    /// What is tried, in a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fills => "fills",
            Self::Roundings => "roundings",
            Self::Moves => "moves",
            Self::Rows => "rows",
            Self::Products => "products",
            Self::Batches => "batches",
            Self::Pairs => "pairs",
            Self::Functions => "functions",
            Self::Reductions => "reductions",
            Self::Rotations => "rotations",
            Self::Choices => "choices",
            Self::Visits => "visits",
            Self::Integers => "integers",
            Self::Streams => "streams",
            Self::Gates => "gates",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Results that were compared.
    pub operations: u64,
    /// The largest share that a number took of what it may differ by; 0 where all have the same bits.
    pub worst: f32,
    /// The first result that differs by more, with its operation and both numbers.
    pub flaw: Option<String>,
}

impl Found {
    /// What came of two cases together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            worst: self.worst.max(other.worst),
            flaw: self.flaw.or(other.flaw),
        }
    }
}

/// A driver beside the host's. Both belong to the thread that made them.
#[derive(Debug)]
pub struct Trial<D: Driver>(Pair<D>);

impl<D: Driver<Chip: Chip<Form = ()>>> Trial<D> {
    /// Tries a driver.
    #[must_use]
    pub fn new(driver: D) -> Self {
        Self(Pair::new(driver))
    }

    /// Runs the operations of a case on both, on shapes and numbers that a seed decides, and compares what
    /// they give. What the case had of memory is given back.
    ///
    /// # Errors
    /// What either says: the driver, or the host's of an operation that no driver should be asked for.
    pub fn run(&mut self, case: Case, seed: u64) -> Result<Found> {
        self.0.begin(seed);
        let ran = cases::run(&mut self.0, case);
        let found = self.0.end()?;
        ran.map(|()| found)
    }
}
