//! What can be set, as JSON. What is not named has its default.

use emulator_support::{Faults, OnViolation, Schedule};
use serde::Deserialize;

/// Devices that a process may see.
const DEVICES_MAX: u32 = 16;
/// Bytes that a device may have: far less than its addresses, because none is given twice.
const HBM_BYTES_MAX: usize = 1 << 36;

/// Which chip is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Family {
    A2,
    A3,
    A5,
}

/// Whose operators there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Provider {
    /// Those that CANN brings.
    #[serde(rename = "cann91")]
    Cann,
    /// And those of vllm-ascend 0.23.0.
    #[serde(rename = "cann91+vllm_ascend_0.23")]
    VllmAscend023,
}

/// Bounds of a device.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// Streams of one device.
    pub(crate) streams: usize,
    /// Graphs of the process.
    pub(crate) graphs: usize,
}

/// What can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) family: Family,
    pub(crate) devices: u32,
    /// Memory of each device.
    pub(crate) hbm_bytes: usize,
    pub(crate) schedule: Schedule,
    /// What decides a random schedule.
    pub(crate) seed: u64,
    pub(crate) on_violation: OnViolation,
    pub(crate) cann_version: String,
    pub(crate) provider: Provider,
    /// What device memory reads as that was never written.
    pub(crate) pattern: u8,
    /// How long a wait that nothing queued can end goes on, for another thread to queue it.
    pub(crate) deadlock_ms: u64,
    pub(crate) limits: Limits,
    pub(crate) faults: Faults,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            streams: 1984,
            graphs: 1024,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            family: Family::A2,
            devices: 1,
            hbm_bytes: 8 << 30,
            schedule: Schedule::Lazy,
            seed: 0,
            on_violation: OnViolation::Error,
            cann_version: "9.1.0".to_owned(),
            provider: Provider::Cann,
            // Not a number in every float type, and -1 in every integer.
            pattern: 0xFF,
            deadlock_ms: 2000,
            limits: Limits::default(),
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
        if config.hbm_bytes > HBM_BYTES_MAX {
            return Err(format!(
                "hbm_bytes: {}, at most {HBM_BYTES_MAX}",
                config.hbm_bytes
            ));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_has_its_default() {
        let config = Config::parse(r#"{"family": "a3", "seed": 5}"#).expect("a configuration");
        assert_eq!(
            (config.family, config.seed, config.devices),
            (Family::A3, 5, 1)
        );
        assert_eq!(config.limits.streams, 1984);
    }

    #[test]
    fn what_is_not_known_or_out_of_bounds_is_refused() {
        for text in [
            r#"{"famly": "a3"}"#,
            r#"{"family": "a4"}"#,
            r#"{"provider": "cann91+vllm_ascend"}"#,
            r#"{"devices": 0}"#,
            r#"{"devices": 17}"#,
            r#"{"hbm_bytes": 68719476737}"#,
            "{",
        ] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
    }
}
