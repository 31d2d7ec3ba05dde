//! Which kernels compute: one set for each instruction set that has its own.

use std::fmt;
use std::str::FromStr;

use crate::kernels::Isa;

/// A set of kernels, named after the instruction set that it is compiled for.
///
/// At the level `exact` all sets give the same bits: sums run in one order, see the crate's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelSet {
    /// AVX-512 foundation, with what [`KernelSet::Avx2`] needs.
    Avx512,
    /// AVX2 with fused multiply-add and half-precision floats (F16C).
    Avx2,
    /// What the target has by itself: SSE2 on x86-64, NEON on aarch64.
    Plain,
}

impl KernelSet {
    /// All sets, the best first.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Plain];

    /// The sets that this processor runs, the best first. The last, [`KernelSet::Plain`], runs
    /// everywhere.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.isa().is_some())
    }

    /// The best that this processor runs.
    #[must_use]
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Plain)
    }

    /// Its name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Plain => "plain",
        }
    }

    /// The instruction set, where the processor has it.
    pub(crate) fn isa(self) -> Option<Isa> {
        match self {
            Self::Avx512 => Isa::avx512(),
            Self::Avx2 => Isa::avx2(),
            Self::Plain => Some(Isa::Baseline),
        }
    }
}

impl fmt::Display for KernelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no set's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoKernelSet;

impl fmt::Display for NoKernelSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "want {}", KernelSet::ALL.map(KernelSet::name).join(", "))
    }
}

impl std::error::Error for NoKernelSet {}

impl FromStr for KernelSet {
    type Err = NoKernelSet;

    fn from_str(text: &str) -> Result<Self, NoKernelSet> {
        let named = |set: &Self| set.name() == text;
        Self::ALL.into_iter().find(named).ok_or(NoKernelSet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for set in KernelSet::ALL {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        for other in ["", "AVX2", "sse", "avx512 "] {
            assert_eq!(other.parse::<KernelSet>(), Err(NoKernelSet), "{other}");
        }
    }

    #[test]
    fn the_plain_set_runs_everywhere() {
        assert_eq!(KernelSet::available().last(), Some(KernelSet::Plain));
        assert!(KernelSet::best().isa().is_some());
    }
}
