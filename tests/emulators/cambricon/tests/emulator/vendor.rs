//! The vendor whose emulator is run.

use std::path::Path;

use backend_cambricon_sys::Neuware;
use emulator_support::{Control, Vendor};

pub(crate) enum Mlu {}

// SAFETY: the functions of the emulator's own table.
unsafe impl Vendor for Mlu {
    const EMULATOR: &'static str = "neuware_emu";
    type Library = Neuware;
    type Code = u32;

    fn load(path: &Path) -> Neuware {
        Neuware::emulator(path).expect("the built library")
    }

    fn control(neuware: &Neuware) -> Control<u32> {
        let own = neuware.emulator.as_ref().expect("an emulator");
        Control {
            configure: own.neuwareEmuConfigure,
            report: own.neuwareEmuReport,
        }
    }
}
