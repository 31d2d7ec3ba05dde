//! What is known of a device without calling it.

use std::fmt;

use backend_offload::{Chip, Declined, Packed, Verb};
use deepseek_core::weights::WeightView;
use deepseek_core::{Level, Result};

use crate::{custom, integers};

/// What an emulator puts behind the name of a chip.
const EMULATED: &str = "-EMU";

/// The families of chips that are served. They differ in which operators and formats they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// 910B.
    A2,
    /// 910C: two devices in a chip.
    A3,
    /// 950.
    A5,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A2 => "A2",
            Self::A3 => "A3",
            Self::A5 => "A5",
        })
    }
}

impl Family {
    /// The family of a chip by the name that the runtime has for it; none if it is not served.
    #[must_use]
    pub fn of(soc: &str) -> Option<Self> {
        let soc = soc.strip_suffix(EMULATED).unwrap_or(soc);
        let families = [
            ("Ascend910B", Self::A2),
            ("Ascend910_93", Self::A3),
            ("Ascend910_95", Self::A5),
            ("Ascend950", Self::A5),
        ];
        let mut families = families.into_iter();
        families.find_map(|(head, family)| soc.starts_with(head).then_some(family))
    }
}

/// A chip: its name, its family, and that all of its operations are composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AscendChip {
    name: String,
    soc: String,
    family: Family,
    /// Why nothing is captured, if nothing is.
    captures_none: Option<String>,
    /// Why it is no rank, if it can be none.
    joins_none: Option<String>,
    /// Operators for integers that the installation lacks.
    lacks: Vec<&'static str>,
    /// The custom operators that it lacks, or why it has none.
    custom: Result<Vec<&'static str>, String>,
}

impl AscendChip {
    pub(crate) fn new(name: &str, soc: &str, family: Family) -> Self {
        Self {
            name: name.to_owned(),
            soc: soc.to_owned(),
            family,
            captures_none: None,
            joins_none: None,
            lacks: Vec::new(),
            custom: Err("not installed".to_owned()),
        }
    }

    /// The same on a release without graphs.
    pub(crate) fn without_captures(mut self, why: Option<String>) -> Self {
        self.captures_none = why;
        self
    }

    /// The same where collectives are not installed.
    pub(crate) fn without_ranks(mut self, why: Option<String>) -> Self {
        self.joins_none = why;
        self
    }

    /// The same on a release without some operators for integers.
    pub(crate) fn without(mut self, lacks: Vec<&'static str>) -> Self {
        self.lacks = lacks;
        self
    }

    /// The same with a package of custom operators that lacks some, or why there is none.
    pub(crate) fn with_custom(mut self, custom: Result<Vec<&'static str>, String>) -> Self {
        self.custom = custom;
        self
    }

    /// Whether a custom operator is there.
    fn has(&self, operator: &str) -> Result<(), Declined> {
        let why = match &self.custom {
            Ok(lacks) if !lacks.contains(&operator) => return Ok(()),
            Ok(_) => "this one is missing",
            Err(why) => why.as_str(),
        };
        let name = custom::NAME;
        Err(Declined(format!(
            "{operator} of {name} on {}: {why}",
            self.family
        )))
    }

    /// Why it multiplies no integers, if it does not.
    fn multiplies_none(&self) -> Option<Declined> {
        let why = match self.family {
            Family::A5 => format!("{}: integers are multiplied on A2 and A3", self.family),
            Family::A2 | Family::A3 if self.lacks.is_empty() => return None,
            Family::A2 | Family::A3 => format!("the release lacks {}", self.lacks.join(", ")),
        };
        Some(Declined(why))
    }

    /// A chip by the vendor's name for it, without a device: what it takes and how it packs is known. None
    /// if it is not served.
    #[must_use]
    pub fn named(soc: &str) -> Option<Self> {
        Some(Self::new("npu", soc, Family::of(soc)?))
    }

    /// The vendor's name for the chip, such as `Ascend910B3`.
    #[must_use]
    pub fn soc(&self) -> &str {
        &self.soc
    }

    /// Its family.
    #[must_use]
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it is an emulator, which says nothing of a device's kernels, speed or numerics.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.soc.ends_with(EMULATED)
    }
}

impl Chip for AscendChip {
    type Form = ();

    fn name(&self) -> &str {
        &self.name
    }

    fn levels(&self) -> &[Level] {
        &Level::ALL
    }

    /// Integers as A2 and A3 multiply them; all else as plain numbers, in BF16 where that holds them.
    fn pack(&self, above: &[&WeightView]) -> Result<Packed<()>> {
        let integers = match self.multiplies_none() {
            None => integers::packed(above),
            Some(_) => None,
        };
        Ok(integers.unwrap_or_else(|| Packed::widened(above)))
    }

    fn takes(&self, verb: &Verb<()>) -> Result<(), Declined> {
        let integers = || self.multiplies_none().map_or(Ok(()), Err);
        match verb {
            Verb::Project { products, .. } => integers().and_then(|()| {
                let mut products = products.iter();
                products.try_for_each(|(weight, dtype)| integers::takes(weight, *dtype))
            }),
            Verb::Grouped { weight, dtype, .. } => {
                integers().and_then(|()| integers::takes(weight, *dtype))
            }
            Verb::IndexTopk { .. } => Err(Declined(
                "rows in lists: the indexers take pages, lengths and INT8 keys".to_owned(),
            )),
            Verb::Attend { .. } => Err(Declined(
                "rows in lists: SparseAttnSharedkv takes pages, and a window by position"
                    .to_owned(),
            )),
            Verb::Experts { .. } => Err(Declined(
                "roundings within the mixture: GroupedMatmulSwigluQuant weighs rows behind them"
                    .to_owned(),
            )),
            verb => {
                custom::operator(verb).map_or(Ok(()), |operator| self.has(operator))?;
                custom::takes(verb)
            }
        }
    }

    fn captures(&self) -> Result<(), Declined> {
        unless(self.captures_none.as_ref())
    }

    fn joins(&self) -> Result<(), Declined> {
        unless(self.joins_none.as_ref())
    }
}

/// Whether there is no reason against it.
fn unless(why: Option<&String>) -> Result<(), Declined> {
    why.map_or(Ok(()), |why| Err(Declined(why.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_of_the_family_that_its_name_begins_with() {
        for (soc, family) in [
            ("Ascend910B4-1", Some(Family::A2)),
            ("Ascend910B3-EMU", Some(Family::A2)),
            ("Ascend910_9392", Some(Family::A3)),
            ("Ascend910_9599", Some(Family::A5)),
            ("Ascend950PR", Some(Family::A5)),
            ("Ascend910A", None),
            ("Ascend310P3", None),
            ("", None),
        ] {
            assert_eq!(Family::of(soc), family, "{soc}");
        }
    }

    #[test]
    fn a_chip_is_known_without_a_device() {
        let chip = AscendChip::named("Ascend910_9392").expect("a chip that is served");
        assert_eq!((chip.soc(), chip.family()), ("Ascend910_9392", Family::A3));
        assert_eq!(AscendChip::named("Ascend310P3"), None);
    }

    #[test]
    fn an_emulated_chip_says_so() {
        let emulated = |soc| AscendChip::new("npu:0", soc, Family::A2).is_emulated();
        assert!(emulated("Ascend910B3-EMU"));
        assert!(!emulated("Ascend910B3"));
    }
}
