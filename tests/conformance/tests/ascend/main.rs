//! Ascend over the emulator of CANN: the suite, every fixture, and what a step asks of the vendor's library.
//!
//! Beside the numbers each test holds that the emulator found nothing: no violation, nothing left. Linux
//! only, as the emulator's loader is.
#![cfg(target_os = "linux")]

mod media;
mod places;
#[path = "../scene/mod.rs"]
mod scene;
#[allow(dead_code, reason = "the tests of the driver ask for more of it")]
#[path = "../../../../crates/backend-ascend/tests/emulated/session.rs"]
mod session;
mod steps;
mod suite;
mod v4;
mod v41;

use anyhow::Result;
use backend_ascend::AscendDriver;
use backend_offload::{Offload, Options};
use conformance::model::{Open, open};
use deepseek_core::Numerics;
use deepseek_model::Model;

use self::session::Session;

type Npu = Offload<AscendDriver>;

/// Memory that its owner let go of holds no number, so that a use of it shows.
const POISONED: Options = Options {
    memory_bytes: None,
    poison: true,
};

fn device(session: &Session) -> Result<Npu> {
    device_with(session, POISONED)
}

fn device_with(session: &Session, options: Options) -> Result<Npu> {
    let ascend = session.ascend();
    Ok(Offload::start(options, move || {
        AscendDriver::open(ascend, 0)
    })?)
}

fn model(session: &Session, name: &str, opened: Open) -> Result<Model<Npu>> {
    open(device(session)?, name, opened)
}

fn at(numerics: Numerics) -> Open {
    Open {
        numerics,
        ..Open::default()
    }
}

/// Runs a case under a random schedule; nothing may be found or left.
fn emulated(seed: u64, case: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
    let session = Session::random(seed);
    case(&session)?;
    session.clean();
    Ok(())
}
