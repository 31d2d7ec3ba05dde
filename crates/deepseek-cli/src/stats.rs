//! The figures of an answer: speed, the time to the first token, memory.

use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use deepseek_chat::Completion;

use crate::device::Devices;
use crate::ending;

/// Writes what an answer took, on which device, the seed that gives it again, and how it ended.
/// `drafts` says whether the draft head was at work.
pub(crate) fn write(
    out: &mut impl Write,
    said: &Completion,
    seed: u64,
    drafts: bool,
    devices: Devices,
) -> io::Result<()> {
    let usage = &said.usage;
    // The first id comes with the prompt's last step.
    let decoded = usage.generated.saturating_sub(1);
    let run = usage.prompt - usage.cached;
    // How long an emulator takes says nothing of what it stands in for.
    let pace = |tokens, time| {
        if devices.are_emulated() {
            format!("{tokens} tokens")
        } else {
            pace(tokens, time)
        }
    };
    writeln!(out, "prefill      {}", pace(run, usage.prefill))?;
    if usage.cached > 0 {
        writeln!(out, "cached       {} tokens of the prompt", usage.cached)?;
    }
    for (kind, tokens) in [
        ("images", usage.image_tokens),
        ("audio", usage.audio_tokens),
    ] {
        if tokens > 0 {
            writeln!(out, "{kind:<13}{tokens} tokens of these")?;
        }
    }
    if !devices.are_emulated() {
        let seconds = usage.time_to_first_token().as_secs_f64();
        writeln!(out, "first token  {seconds:.3} s")?;
    }
    writeln!(out, "decode       {}", pace(decoded, usage.decode))?;
    if drafts {
        writeln!(
            out,
            "drafts       {} of {} accepted",
            usage.accepted, usage.drafted
        )?;
    }
    writeln!(out, "device       {}", devices.marked())?;
    writeln!(
        out,
        "peak memory  {}",
        peak_memory().map_or("unknown".to_owned(), megabytes)
    )?;
    writeln!(out, "seed         {seed}")?;
    writeln!(out, "finish       {}", ending::name(said.reason))
}

fn pace(tokens: u32, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let rate = if seconds > 0.0 {
        f64::from(tokens) / seconds
    } else {
        0.0
    };
    format!("{tokens} tokens in {seconds:.3} s, {rate:.1} tokens/s")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The signals that this process was started to ignore, a bit each, where the system tells.
#[cfg(unix)]
pub(crate) fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

/// The most memory that this process has held, mapped files included, where the system tells.
fn peak_memory() -> Option<u64> {
    high_water(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The line `VmHWM:  1234 kB` of a process's status, in bytes.
fn high_water(status: &str) -> Option<u64> {
    bytes_of(status, "VmHWM:")
}

/// A line `Name:  1234 kB` of a table of the system's, in bytes.
fn bytes_of(table: &str, name: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// What is in memory of the files that this process has mapped, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) all: u64,
    /// Of these, what lies in huge pages.
    pub(crate) huge: u64,
}

impl Mapped {
    /// That of this process, where the system tells.
    pub(crate) fn now() -> Option<Self> {
        Self::of(&fs::read_to_string("/proc/self/smaps_rollup").ok()?)
    }

    fn of(rollup: &str) -> Option<Self> {
        let [all, own, huge] =
            ["Rss:", "Anonymous:", "FilePmdMapped:"].map(|name| bytes_of(rollup, name));
        Some(Self {
            all: all?.saturating_sub(own?),
            huge: huge?,
        })
    }
}

#[cfg(test)]
mod tests {
    use deepseek_core::Parallel;
    use deepseek_engine::{Reason, RequestId, Usage};
    use deepseek_text::Answer;

    use super::*;
    use crate::device::DeviceName;

    #[test]
    fn the_high_water_mark_is_read_from_its_line() {
        assert_eq!(
            high_water("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS: 1 kB"),
            Some(1234 * 1024)
        );
        assert_eq!(high_water("VmRSS: 1 kB"), None);
        assert_eq!(high_water("VmHWM: many kB"), None);
    }

    #[test]
    fn figures_stand_one_a_line() {
        let usage = Usage {
            prompt: 10,
            image_tokens: 3,
            audio_tokens: 0,
            cached: 2,
            generated: 5,
            drafted: 4,
            accepted: 3,
            queued: Duration::from_millis(100),
            prefill: Duration::from_millis(400),
            decode: Duration::from_secs(2),
        };
        let said = Completion {
            answer: Answer::default(),
            tokens: Vec::new(),
            flaws: Vec::new(),
            reason: Reason::Length,
            usage,
            request: RequestId::default(),
        };
        let devices = Devices {
            first: DeviceName::CpuPlain,
            parallel: Parallel::ALONE,
        };
        let mut out = Vec::new();
        write(&mut out, &said, 7, true, devices).expect("memory takes all");
        let text = String::from_utf8(out).expect("figures are text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "prefill      8 tokens in 0.400 s, 20.0 tokens/s");
        assert_eq!(lines[1], "cached       2 tokens of the prompt");
        assert_eq!(lines[2], "images       3 tokens of these");
        assert_eq!(lines[3], "first token  0.500 s");
        assert_eq!(lines[4], "decode       4 tokens in 2.000 s, 2.0 tokens/s");
        assert_eq!(lines[5], "drafts       3 of 4 accepted");
        assert_eq!(lines[6], "device       cpu-plain");
        assert!(lines[7].starts_with("peak memory  "), "{}", lines[7]);
        assert_eq!(lines[8], "seed         7");
        assert_eq!(lines[9], "finish       length");
    }

    #[test]
    fn huge_pages_are_told_from_others() {
        let rollup = "560e7d2000-7ffd8e000 ---p 00000000 00:00 0   [rollup]\nRss:    3072 kB\nPss:   2970 kB\n\
                      Anonymous:    1024 kB\nAnonHugePages:   0 kB\nFilePmdMapped:    2048 kB\n";
        let (all, huge) = (2 << 20, 2 << 20);
        assert_eq!(Mapped::of(rollup), Some(Mapped { all, huge }));
        // Older systems do not tell.
        assert_eq!(Mapped::of("Rss:  3072 kB\nAnonymous:  1024 kB\n"), None);
        assert_eq!(Mapped::of("Rss:  many kB\n"), None);
    }
}
