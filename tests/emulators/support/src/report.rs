//! What was found, and what was called.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure::Fault;

/// Violations that are kept; what comes after is counted.
const VIOLATIONS_MAX: usize = 1000;

/// What a violation does besides being written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnViolation {
    /// The call or the queue fails.
    Error,
    /// The process ends.
    Abort,
}

/// A use of the interface that a device would punish, or worse, would not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which check found it.
    pub kind: &'static str,
    /// The call that was made, or that had queued what ran.
    pub call: String,
    /// What is wrong.
    pub text: String,
}

/// Violations, leaks and calls.
#[derive(Debug, Default)]
pub struct Report {
    violations: Vec<Violation>,
    dropped: u64,
    leaks: Vec<String>,
    calls: BTreeMap<&'static str, u64>,
}

impl Report {
    /// Counts a call: which one of its name it is, from 1.
    pub fn count(&mut self, call: &'static str) -> u64 {
        let count = self.calls.entry(call).or_default();
        *count += 1;
        *count
    }

    /// Writes down a violation.
    pub fn violation(&mut self, violation: Violation) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(violation);
        } else {
            self.dropped += 1;
        }
    }

    /// Writes down what a check found, and ends the process if that is set.
    #[expect(
        clippy::print_stderr,
        reason = "the last words of a process that is set to end here"
    )]
    pub fn found(&mut self, on: OnViolation, call: &str, fault: Fault) {
        if on == OnViolation::Abort {
            eprintln!("{call}: {}: {}", fault.kind, fault.text);
            std::process::abort();
        }
        self.violation(Violation {
            kind: fault.kind,
            call: call.to_owned(),
            text: fault.text,
        });
    }

    /// Writes down what was left behind.
    pub fn leak(&mut self, what: String) {
        self.leaks.push(what);
    }

    /// All of it, and what is alive now as leaks, too.
    #[must_use]
    pub fn json(&self, alive: Vec<String>) -> Value {
        let violations = self.violations.iter().map(|violation| {
            json!({"kind": violation.kind, "call": violation.call, "text": violation.text})
        });
        let leaks: Vec<_> = self.leaks.iter().cloned().chain(alive).collect();
        json!({
            "violations": violations.collect::<Vec<_>>(),
            "violations_dropped": self.dropped,
            "leaks": leaks,
            "calls": self.calls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_all_of_it() {
        let mut report = Report::default();
        assert_eq!(
            [report.count("a"), report.count("a"), report.count("b")],
            [1, 2, 1]
        );
        report.leak("one".to_owned());
        for _ in 0..VIOLATIONS_MAX + 2 {
            report.violation(Violation {
                kind: "k",
                call: "a".to_owned(),
                text: "t".to_owned(),
            });
        }
        let json = report.json(vec!["two".to_owned()]);
        assert_eq!(json["calls"], json!({"a": 2, "b": 1}));
        assert_eq!(json["leaks"], json!(["one", "two"]));
        assert_eq!(
            json["violations"].as_array().map(Vec::len),
            Some(VIOLATIONS_MAX)
        );
        assert_eq!(
            json["violations"][0],
            json!({"kind": "k", "call": "a", "text": "t"})
        );
        assert_eq!(json["violations_dropped"], 2);
    }
}
