//! Calls that fail on demand.

use serde::Deserialize;

/// The n-th call of a function fails.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The function.
    pub call: String,
    /// Which of its calls, the first being 1.
    pub nth: u64,
    /// What it returns instead of doing its work.
    pub code: i32,
}

/// What is to fail.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// What the n-th call of a function is to return, if it is to fail.
    #[must_use]
    pub fn code(&self, call: &str, nth: u64) -> Option<i32> {
        let mut faults = self.0.iter();
        let fault = faults.find(|fault| fault.call == call && fault.nth == nth)?;
        Some(fault.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_of_one_function_fails() {
        let faults = r#"[{"call": "malloc", "nth": 2, "code": 7}]"#;
        let faults: Faults = serde_json::from_str(faults).expect("a list");
        let codes = [1, 2, 3].map(|nth| faults.code("malloc", nth));
        assert_eq!(codes, [None, Some(7), None]);
        assert_eq!(faults.code("free", 2), None);
    }
}
