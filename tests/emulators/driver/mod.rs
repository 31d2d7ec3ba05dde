//! What every driver of a vendor's holds over the vendor's emulator. The tests of each include it, and say whose emulator it is (`Session`),
//! which driver is held (`Tested`), and how the vendor names what is asked after (`NAME`, `MEMORY`, `MALLOC`, `GRAPHS`).

mod graphs;
mod operations;
pub(crate) mod ranks;
pub(crate) mod runtime;

use backend_offload::{Address, DType, Driver, Op, View};
use deepseek_core::Result;
use serde_json::{Value, json};

use crate::{Session, Tested};

/// How a vendor names what captures and replays, and what comes of what a capture forbids.
pub(crate) struct Graphs {
    /// All calls that capture or replay.
    pub(crate) calls: &'static [&'static str],
    /// A code that they may return, and what the vendor calls it.
    pub(crate) code: u32,
    pub(crate) code_name: &'static str,
    /// The codes of memory that is asked for, of the device and pinned, and of a wait.
    pub(crate) forbidden: [&'static str; 3],
    /// That of a capture which one of them has ended.
    pub(crate) ended: &'static str,
}

/// A driver of the first device of a run.
pub(crate) fn open(session: &Session) -> Result<Tested> {
    Tested::open(session.library(), 0)
}

/// The n-th call of a function fails.
pub(crate) fn fault(call: &str, nth: u64, code: u32) -> Value {
    json!({"faults": [{"call": call, "nth": nth, "code": code}]})
}

pub(crate) fn send(driver: &mut Tested, bytes: &[u8], to: Address) -> Result<()> {
    let mut buffer = driver.staging(bytes.len())?;
    buffer.as_mut().copy_from_slice(bytes);
    let flight = driver.copy_in(buffer, bytes.len(), to)?;
    driver.land(flight).map(drop)
}

pub(crate) fn fetch(driver: &mut Tested, from: Address, bytes: usize) -> Result<Vec<u8>> {
    let buffer = driver.staging(bytes)?;
    let flight = driver.copy_out(from, bytes, buffer)?;
    Ok(driver.land(flight)?.as_ref()[..bytes].to_vec())
}

/// Twice what lies at `at`, from there to 64 bytes behind.
pub(crate) fn doubled(at: Address) -> Op<()> {
    let x = View::new(at, DType::F32, [16]);
    Op::Add {
        a: x,
        b: x,
        out: View {
            at: at.plus(64),
            ..x
        },
    }
}
