//! What is known of a device without calling it.

use backend_offload::{Chip, Declined, Packed, Part, Verb};
use deepseek_core::weights::WeightView;
use deepseek_core::{Level, Result};

use crate::limits::{CNNL_OLDEST, CNRT_OLDEST};

/// What an emulator puts behind the name of a chip.
const EMULATED: &str = "-EMU";

/// A release of one of the vendor's libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) library: &'static str,
    pub(crate) version: [i32; 3],
}

/// A chip: its name, the releases that it runs with, and that all of its operations are composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CambriconChip {
    name: String,
    model: String,
    releases: [Release; 2],
}

impl CambriconChip {
    pub(crate) fn new(name: &str, model: &str, releases: [Release; 2]) -> Self {
        Self {
            name: name.to_owned(),
            model: model.to_owned(),
            releases,
        }
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
        let oldest = [CNRT_OLDEST, CNNL_OLDEST];
        let old = self.releases.iter().zip(oldest);
        let old = old.filter(|(release, oldest)| release.version[..2] < oldest[..]);
        let told = old.map(|(release, [major, minor])| {
            let [a, b, c] = release.version;
            format!(
                "{} {a}.{b}.{c} is older than {major}.{minor}: calls may fail",
                release.library
            )
        });
        told.collect()
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
    fn pack(&self, weight: &WeightView) -> Result<Packed<()>> {
        Ok(Packed {
            form: (),
            parts: vec![Part::widened(weight)],
        })
    }

    fn takes(&self, _: &Verb<()>) -> Result<(), Declined> {
        Err(Declined("composed of the operators of CNNL".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chip(name: &str, cnrt: [i32; 3], cnnl: [i32; 3]) -> CambriconChip {
        let release = |library, version| Release { library, version };
        CambriconChip::new(
            name,
            "MLU590",
            [release("CNRT", cnrt), release("CNNL", cnnl)],
        )
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
    }
}
