//! What can be set, as JSON. What is not named has its default.

use emulator_support::{Faults, OnViolation, Schedule};
use serde::Deserialize;

/// Devices that a process may see.
const DEVICES_MAX: u32 = 8;
/// Bytes that a device may have: far less than its addresses, because none is given twice.
const MEMORY_BYTES_MAX: usize = 1 << 36;

/// Which chip is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Profile {
    Mlu590,
    /// Without BF16.
    Mlu370,
}

/// What can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) profile: Profile,
    pub(crate) devices: u32,
    /// Memory of each device.
    pub(crate) memory_bytes: usize,
    pub(crate) schedule: Schedule,
    /// What decides a random schedule.
    pub(crate) seed: u64,
    pub(crate) on_violation: OnViolation,
    /// What device memory reads as that was never written.
    pub(crate) pattern: u8,
    /// How long a wait that nothing queued can end goes on, for another thread to queue it.
    pub(crate) deadlock_ms: u64,
    /// What is returned for what is not done: releases differ.
    pub(crate) not_ready: i32,
    pub(crate) faults: Faults,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            profile: Profile::Mlu590,
            devices: 1,
            memory_bytes: 8 << 30,
            schedule: Schedule::Lazy,
            seed: 0,
            on_violation: OnViolation::Error,
            // Not a number in every float type, and -1 in every integer.
            pattern: 0xFF,
            deadlock_ms: 2000,
            not_ready: 1,
            faults: Faults::default(),
        }
    }
}

impl Config {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let config: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !(1..=DEVICES_MAX).contains(&config.devices) {
            return Err(format!("{} devices, 1 to {DEVICES_MAX}", config.devices));
        }
        if config.memory_bytes > MEMORY_BYTES_MAX {
            let bytes = config.memory_bytes;
            return Err(format!("memory_bytes: {bytes}, at most {MEMORY_BYTES_MAX}"));
        }
        if ![1, 632_014].contains(&config.not_ready) {
            return Err(format!("not_ready: {}, 1 or 632014", config.not_ready));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_has_its_default_and_bounds_are_kept() {
        let config = Config::parse(r#"{"profile": "mlu370", "seed": 5}"#).expect("a configuration");
        assert_eq!(
            (config.profile, config.seed, config.devices),
            (Profile::Mlu370, 5, 1)
        );
        for text in [
            r#"{"devices": 0}"#,
            r#"{"devices": 9}"#,
            r#"{"not_ready": 2}"#,
            r#"{"memory_bytes": 68719476737}"#,
            r#"{"speed": 1}"#,
            "",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
