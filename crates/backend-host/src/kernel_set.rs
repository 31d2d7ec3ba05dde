//! Which kernels compute: one set for each instruction set that has its own.

use std::fmt;
use std::str::FromStr;

use crate::kernels::Isa;

/// A set of kernels, named after the instruction set that it is compiled for.
///
/// At the level `exact` all sets give the same bits: sums run in one order, see the crate's page. Where
/// inputs of products are rounded, [`KernelSet::Avx512Bf16`] has an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KernelSet {
    /// AVX-512 with BF16 and VBMI: products of pairs, where both sides are exact in BF16.
    Avx512Bf16,
    /// AVX-512 foundation, with what [`KernelSet::Avx2`] needs.
    Avx512,
    /// AVX2 with fused multiply-add and half-precision floats (F16C).
    Avx2,
    /// NEON, which every aarch64 has.
    Neon,
    /// What the compiler makes of plain loops for the target as such, with SSE2 on x86-64.
    Plain,
}

impl KernelSet {
    /// All sets, the fastest of each processor first.
    pub const ALL: [Self; 5] = [
        Self::Avx512Bf16,
        Self::Avx512,
        Self::Avx2,
        Self::Neon,
        Self::Plain,
    ];

    /// The sets that this processor runs, in that order. The last, [`KernelSet::Plain`], runs
    /// everywhere.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|set| set.isa().is_some())
    }

    /// The fastest that this processor runs.
    #[must_use]
    pub fn best() -> Self {
        let mut sets = Self::available();
        sets.find(|set| *set != Self::Avx512Bf16 || pairs_pay())
            .unwrap_or(Self::Plain)
    }

    /// Its name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Plain => "plain",
        }
    }

    /// The instruction set, where the processor has it.
    pub(crate) fn isa(self) -> Option<Isa> {
        match self {
            Self::Avx512Bf16 => Isa::avx512_bf16(),
            Self::Avx512 => Isa::avx512(),
            Self::Avx2 => Isa::avx2(),
            Self::Neon => Isa::neon(),
            Self::Plain => Some(Isa::Baseline),
        }
    }
}

/// Whether products of BF16 pairs are faster than fused multiply-adds of floats: AMD's processors that have
/// them make nearly as many instructions in a second of either, Intel's half as many.
fn pairs_pay() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let vendor = std::arch::x86_64::__cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        name.as_flattened() == b"AuthenticAMD"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
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
    fn each_processor_has_sets_of_its_own_kind_alone() {
        for set in KernelSet::available() {
            let fits = match set {
                KernelSet::Avx512Bf16 | KernelSet::Avx512 | KernelSet::Avx2 => {
                    cfg!(target_arch = "x86_64")
                }
                KernelSet::Neon => cfg!(target_arch = "aarch64"),
                KernelSet::Plain => true,
            };
            assert!(fits, "{set}");
        }
        if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            assert_eq!(KernelSet::best(), KernelSet::Neon);
        }
    }

    #[test]
    fn the_plain_set_runs_everywhere() {
        assert_eq!(KernelSet::available().last(), Some(KernelSet::Plain));
        assert!(KernelSet::best().isa().is_some());
    }
}
