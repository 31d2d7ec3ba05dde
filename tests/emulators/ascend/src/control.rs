//! Set-up and report: what a test calls.

use std::ffi::c_char;
use std::io;

use backend_ascend_sys::VLLM_ASCEND_0_23_0;

use crate::call::Call;
use crate::codes;
use crate::config::{Config, Provider};
use crate::emulator::Emulator;
use crate::exports::Text;
use crate::failure::{Failure, Outcome};

#[expect(clippy::unnecessary_wraps, reason = "the form of every call")]
pub(crate) fn version(_call: &mut Call) -> Outcome<*const c_char> {
    Ok(c"ascend-emulator 1".as_ptr())
}

/// Begins a new run with another configuration.
pub(crate) fn configure(call: &mut Call, json: Text) -> Outcome {
    let invalid = |text: String| Failure::new(codes::INVALID_PARAM, text);
    let text = json.read().ok_or_else(|| invalid("no text".to_owned()))?;
    let config = Config::parse(&text).map_err(invalid)?;
    begin(call, config)
}

/// Begins a new run with the same configuration.
pub(crate) fn reset(call: &mut Call) -> Outcome {
    let config = call.config.clone();
    begin(call, config)
}

/// Nothing where the operators of a provider are there, which is named by what their names begin with.
pub(crate) fn provides(call: &mut Call, provider: Text) -> Outcome {
    let prefix = VLLM_ASCEND_0_23_0.emulator_prefix();
    let is_there = call.config.provider == Provider::VllmAscend023;
    if is_there && provider.read() == Some(prefix) {
        return Ok(());
    }
    Err(Failure::new(
        codes::FIND_KERNEL,
        "a provider that is not there",
    ))
}

fn begin(call: &mut Call, config: Config) -> Outcome {
    let epoch = call.epoch + 1;
    let refused = |error: io::Error| Failure::new(codes::RT_MEMORY_ALLOCATION, error.to_string());
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
