//! The vendor whose emulator is run.

use std::path::Path;

use backend_ascend_sys::Ascend;
use emulator_support::{Control, Vendor};

pub(crate) enum Cann {}

// SAFETY: the functions of the emulator's own table.
unsafe impl Vendor for Cann {
    const EMULATOR: &'static str = "ascend_emu";
    type Library = Ascend;
    type Code = i32;

    fn load(path: &Path) -> Ascend {
        Ascend::emulator(path).expect("the built library")
    }

    fn control(ascend: &Ascend) -> Control<i32> {
        let own = ascend.emulator.as_ref().expect("an emulator");
        Control {
            configure: own.ascendEmuConfigure,
            report: own.ascendEmuReport,
        }
    }
}
