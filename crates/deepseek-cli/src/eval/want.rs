//! What an answer is held against.

use deepseek_text::{Answer, Call, Json};

/// The answer that is wanted, and how an answer meets it. White space around either means nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Want {
    /// All that is said is this.
    Exact(String),
    /// This occurs in what is said.
    Contains(String),
    /// The last line of what is said is this.
    LastLine(String),
    /// One tool is called, with these arguments; what is said beside it means nothing.
    Call {
        /// The tool.
        name: String,
        /// A JSON object. The order of its keys means nothing, and numbers mean their exact value.
        arguments: Json,
    },
}

impl Want {
    /// Whether `answer` is what is wanted.
    pub(crate) fn is_met_by(&self, answer: &Answer) -> bool {
        let said = answer.text.trim();
        match self {
            Self::Exact(text) => said == text.trim(),
            Self::Contains(text) => said.contains(text.trim()),
            Self::LastLine(text) => said.lines().last().unwrap_or("").trim() == text.trim(),
            Self::Call { name, arguments } => match answer.calls.as_slice() {
                [call] => {
                    call.name == *name
                        && Json::parse(&call.arguments).is_ok_and(|own| own.means(arguments))
                }
                _ => false,
            },
        }
    }

    /// What is wanted, as reports show it.
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Exact(text) | Self::Contains(text) | Self::LastLine(text) => text.clone(),
            Self::Call { name, arguments } => {
                let (name, arguments) = (name.clone(), arguments.to_string());
                let call = Call {
                    id: None,
                    name,
                    arguments,
                };
                call.to_json().to_string()
            }
        }
    }
}

/// An answer, as reports show it.
pub(crate) fn show(answer: &Answer) -> String {
    let calls = answer.calls.iter().map(|call| call.to_json().to_string());
    let text = answer.text.trim().to_owned();
    let parts: Vec<String> = std::iter::once(text)
        .chain(calls)
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(text: &str) -> Answer {
        Answer {
            text: text.to_owned(),
            ..Answer::default()
        }
    }

    fn called(calls: &[(&str, &str)]) -> Answer {
        let call = |&(name, arguments): &(&str, &str)| Call {
            id: None,
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        };
        Answer {
            calls: calls.iter().map(call).collect(),
            ..Answer::default()
        }
    }

    #[track_caller]
    fn check(want: &Want, met: &[Answer], missed: &[Answer]) {
        for answer in met {
            assert!(want.is_met_by(answer), "{want:?} by {answer:?}");
        }
        for answer in missed {
            assert!(!want.is_met_by(answer), "{want:?} not by {answer:?}");
        }
    }

    #[test]
    fn exact_is_all_that_is_said() {
        let want = Want::Exact("3".to_owned());
        check(
            &want,
            &["3", " 3\n"].map(said),
            &["", "33", "3 shapes", "3\n3"].map(said),
        );
    }

    #[test]
    fn contains_is_anywhere() {
        let want = Want::Contains("red".to_owned());
        check(
            &want,
            &["red", "It is red."].map(said),
            &["", "re d", "Red"].map(said),
        );
    }

    #[test]
    fn the_last_line_counts_alone() {
        let want = Want::LastLine("7".to_owned());
        check(
            &want,
            &["7", "3 + 4\n 7 \n"].map(said),
            &["", "7\n8", "= 7"].map(said),
        );
    }

    #[test]
    fn a_call_is_its_name_and_its_arguments() {
        let want = Want::Call {
            name: "find".to_owned(),
            arguments: json!({ "a": 1, "b": "x" }).into(),
        };
        let same = r#"{ "b": "x", "a": 1 }"#;
        let met = [called(&[("find", same)])];
        let missed = [
            called(&[]),
            called(&[("seek", same)]),
            called(&[("find", r#"{ "a": 1 }"#)]),
            called(&[("find", r#"{ "a": 1, "#)]),
            called(&[("find", same), ("find", same)]),
            said(same),
        ];
        check(&want, &met, &missed);
    }

    #[test]
    fn numbers_of_a_call_are_held_digit_by_digit() {
        let want = Want::Call {
            name: "find".to_owned(),
            arguments: Json::parse(r#"{"id": 12345678901234567890123, "f": 1.10}"#).expect("JSON"),
        };
        let met = [called(&[(
            "find",
            r#"{"f": 1.1, "id": 12345678901234567890123}"#,
        )])];
        let missed = [
            called(&[("find", r#"{"id": 12345678901234567890124, "f": 1.10}"#)]),
            called(&[("find", r#"{"id": 1.2345678901234568e+22, "f": 1.10}"#)]),
            called(&[("find", r#"{"id": "12345678901234567890123", "f": 1.10}"#)]),
        ];
        check(&want, &met, &missed);
        let line = r#"{"name":"find","arguments":{"id":12345678901234567890123,"f":1.10}}"#;
        assert_eq!(want.show(), line);
    }

    #[test]
    fn reasoning_is_no_answer() {
        let thought = Answer {
            reasoning: "3".to_owned(),
            ..Answer::default()
        };
        check(&Want::Contains("3".to_owned()), &[], &[thought]);
    }

    #[test]
    fn what_is_shown_names_calls_and_text() {
        let both = Answer {
            text: "Looking.\n".to_owned(),
            ..called(&[("find", "{\"a\":1}"), ("find", "{\"a\":")])
        };
        let lines = [
            "Looking.",
            r#"{"name":"find","arguments":{"a":1}}"#,
            r#"{"name":"find","arguments":"{\"a\":"}"#,
        ];
        assert_eq!(show(&both), lines.join("\n"));
        assert_eq!(show(&said("")), "");
    }
}
