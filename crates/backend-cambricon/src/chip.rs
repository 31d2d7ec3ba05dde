//! What is known of a device without calling it.

use std::fmt;

use backend_offload::{Chip, Declined, Packed, Verb};
use deepseek_core::weights::WeightView;
use deepseek_core::{Level, Result};

/// What an emulator puts behind the name of a chip.
const EMULATED: &str = "-EMU";

/// How the names of chips begin that are known to have BF16: those of the 500 series.
const SERVED: &str = "MLU5";

/// A release of one of the vendor's libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) library: &'static str,
    pub(crate) version: [i32; 3],
    /// The oldest that the declarations are said to fit, major and minor.
    pub(crate) oldest: [i32; 2],
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.version;
        write!(f, "{} {a}.{b}.{c}", self.library)
    }
}

/// What releases lack that can be done without: the name of a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Of those that multiply runs of rows by one call.
    pub(crate) groups: Option<&'static str>,
    /// Of those that capture.
    pub(crate) captures: Option<&'static str>,
}

/// A chip: its name, the releases that it runs with, and that all of its operations are composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CambriconChip {
    name: String,
    model: String,
    /// None where no library was asked.
    releases: Vec<Release>,
    lacks: Lacks,
    /// Why it is no rank, if it can be none.
    joins_none: Option<String>,
}

impl CambriconChip {
    pub(crate) fn new(name: &str, model: &str, releases: &[Release]) -> Self {
        Self {
            name: name.to_owned(),
            model: model.to_owned(),
            releases: releases.to_vec(),
            lacks: Lacks::default(),
            joins_none: None,
        }
    }

    /// The same on releases that lack functions.
    pub(crate) fn lacking(self, lacks: Lacks) -> Self {
        Self { lacks, ..self }
    }

    /// The same where collectives are not installed.
    pub(crate) fn without_ranks(mut self, why: Option<String>) -> Self {
        self.joins_none = why;
        self
    }

    /// A chip by the vendor's name for it, without a device: what it takes and how it packs is known. None if it is not known to
    /// have BF16.
    #[must_use]
    pub fn named(model: &str) -> Option<Self> {
        let is_served = model.starts_with(SERVED);
        is_served.then(|| Self::new("mlu", model, &[]))
    }

    /// The vendor's name for the chip, such as `MLU590`; empty where the driver's library is absent.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether it is an emulator, which says nothing of a device's kernels, speed or numerics.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        self.name.ends_with(EMULATED)
    }

    /// What a user should know of the releases that are installed.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let old = self.releases.iter();
        let old = old.filter(|release| release.version[..2] < release.oldest[..]);
        let told = old.map(|release| {
            let [major, minor] = release.oldest;
            format!("{release} is older than {major}.{minor}: calls may fail")
        });
        let lacks = self.lacks.groups.map(|name| {
            format!("no {name}: rows of experts are multiplied run by run, and where runs end is waited for")
        });
        told.chain(lacks).collect()
    }
}

impl Chip for CambriconChip {
    type Form = ();

    fn name(&self) -> &str {
        &self.name
    }

    fn levels(&self) -> &[Level] {
        &Level::ALL
    }

    /// As plain numbers, in BF16 where that holds them.
    fn pack(&self, above: &[&WeightView]) -> Result<Packed<()>> {
        Ok(Packed::widened(above))
    }

    fn takes(&self, _: &Verb<()>) -> Result<(), Declined> {
        Err(Declined("composed of the operators of CNNL".to_owned()))
    }

    fn captures(&self) -> Result<(), Declined> {
        match self.lacks.captures {
            None => Ok(()),
            Some(lacks) => Err(Declined(format!("no graphs: no {lacks}"))),
        }
    }

    fn joins(&self) -> Result<(), Declined> {
        let why = self.joins_none.as_ref();
        why.map_or(Ok(()), |why| Err(Declined(why.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CNNL_OLDEST, CNRT_OLDEST};

    fn chip(name: &str, cnrt: [i32; 3], cnnl: [i32; 3]) -> CambriconChip {
        let release = |library, version, oldest| Release {
            library,
            version,
            oldest,
        };
        let releases = [
            release("CNRT", cnrt, CNRT_OLDEST),
            release("CNNL", cnnl, CNNL_OLDEST),
        ];
        CambriconChip::new(name, "MLU590", &releases)
    }

    #[test]
    fn a_chip_is_known_without_a_device() {
        let chip = CambriconChip::named("MLU590-M9").expect("a chip that is served");
        assert_eq!((chip.model(), chip.notes()), ("MLU590-M9", Vec::new()));
        for model in ["MLU370-X8", "MLU290", "590", ""] {
            assert_eq!(CambriconChip::named(model), None, "{model}");
        }
    }

    #[test]
    fn an_emulated_chip_says_so() {
        assert!(chip("mlu:0-EMU", [6, 14, 1], [1, 28, 6]).is_emulated());
        assert!(!chip("mlu:0", [6, 14, 1], [1, 28, 6]).is_emulated());
    }

    #[test]
    fn old_releases_are_told() {
        assert!(chip("mlu:0", [6, 0, 0], [1, 23, 0]).notes().is_empty());
        assert!(chip("mlu:0", [7, 0, 0], [2, 0, 0]).notes().is_empty());
        let notes = chip("mlu:0", [5, 9, 9], [1, 22, 9]).notes();
        assert_eq!(notes.len(), 2);
        assert_eq!(notes[0], "CNRT 5.9.9 is older than 6.0: calls may fail");
        let chip = chip("mlu:0", [6, 0, 0], [1, 23, 0]).lacking(Lacks {
            groups: Some("cnnlGroupGemm"),
            captures: None,
        });
        assert!(chip.notes()[0].starts_with("no cnnlGroupGemm: "));
    }
}
