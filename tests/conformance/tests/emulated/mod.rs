//! An accelerator over the emulator of its vendor: the suite, every fixture, and what a step asks of the vendor's library.
//!
//! Beside the numbers each test holds that the emulator found nothing: no violation, nothing left. The test of each vendor includes it,
//! and says whose emulator it is (`Session`), which driver is held (`Tested`), and how the vendor names what is asked after.

pub(crate) mod graphs;
mod media;
mod places;
mod ranks;
#[path = "../scene/mod.rs"]
mod scene;
mod steps;
mod suite;
mod v4;
mod v41;

use anyhow::Result;
use backend_offload::{Offload, Options};
use conformance::model::{Open, open};
use deepseek_core::Numerics;
use deepseek_model::Model;

use crate::{SHARE, Session, Tested};

pub(crate) type Device = Offload<Tested>;

/// Memory that its owner let go of holds no number, so that a use of it shows.
const POISONED: Options = Options {
    memory_bytes: None,
    poison: true,
    capture: false,
};

pub(crate) fn device(session: &Session) -> Result<Device> {
    device_with(session, POISONED)
}

pub(crate) fn device_with(session: &Session, options: Options) -> Result<Device> {
    let library = session.library();
    Ok(Offload::start(options, move || Tested::open(library, 0))?)
}

fn model(session: &Session, name: &str, opened: Open) -> Result<Model<Device>> {
    open(device(session)?, name, opened)
}

pub(crate) fn at(numerics: Numerics) -> Open {
    Open {
        numerics,
        ..Open::default()
    }
}

/// One of each `SHARE` of these: that of a number, where there is one.
fn some<T: Copy>(number: usize, all: &[T]) -> impl Iterator<Item = T> {
    let shares = all.chunks(SHARE);
    shares.filter_map(move |share| share.get(number).or(share.first()).copied())
}

/// Runs a case under a random schedule; nothing may be found or left.
fn emulated(seed: u64, case: impl FnOnce(&Session) -> Result<()>) -> Result<()> {
    let session = Session::random(seed);
    case(&session)?;
    session.clean();
    Ok(())
}
