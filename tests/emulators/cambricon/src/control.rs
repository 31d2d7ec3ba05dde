//! Set-up and report: what a test calls.

use std::ffi::c_char;

use emulator_support::argument::Text;
use emulator_support::failure::{Failure, Outcome};

use crate::call::Call;
use crate::codes;
use crate::config::Config;
use crate::emulator::Emulator;

#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn version(_call: &mut Call) -> Outcome<*const c_char> {
    Ok(c"neuware-emulator 1".as_ptr())
}

/// Begins a new run with another configuration.
pub(crate) fn configure(call: &mut Call, json: Text) -> Outcome {
    let invalid = |text: String| Failure::new(codes::ARGS, text);
    let text = json.read().ok_or_else(|| invalid("no text".to_owned()))?;
    let config = Config::parse(&text).map_err(invalid)?;
    begin(call, config)
}

/// Begins a new run with the same configuration.
pub(crate) fn reset(call: &mut Call) -> Outcome {
    let config = call.config.clone();
    begin(call, config)
}

fn begin(call: &mut Call, config: Config) -> Outcome {
    let epoch = call.epoch + 1;
    let refused = |error: std::io::Error| Failure::new(codes::NO_MEMORY, error.to_string());
    **call = Emulator::new(config, epoch).map_err(refused)?;
    Ok(())
}

/// Writes the report, as JSON, as far as it fits; returns its bytes with the zero behind it.
#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn report(call: &mut Call, buffer: Text, capacity: usize) -> Outcome<usize> {
    let text = call.report.json(call.alive()).to_string();
    buffer.write(&text, capacity);
    Ok(text.len() + 1)
}
