//! Strings that end an answer, found wherever the text is cut.

use crate::limits::Limits;
use crate::request::Invalid;

/// A watch for stop strings, and the text that may be the beginning of one.
///
/// Of several strings the one that is complete first ends the text; of those complete at the same
/// place, the one that begins first. So the cut does not depend on how the text arrives.
#[derive(Debug)]
pub(crate) struct Stops {
    strings: Vec<String>,
    held: String,
}

impl Stops {
    pub(crate) fn new(strings: Vec<String>, limits: &Limits) -> Result<Self, Invalid> {
        if strings.len() > limits.stop_strings_max {
            let bounds = format!("at most {}", limits.stop_strings_max);
            return Err(Invalid::new("stop strings", strings.len(), bounds));
        }
        let most = limits.stop_string_bytes_max;
        if let Some(string) = strings.iter().find(|s| s.is_empty() || s.len() > most) {
            let bounds = format!("from 1 to {most} bytes");
            return Err(Invalid::new(
                "stop string",
                format_args!("{} bytes", string.len()),
                bounds,
            ));
        }
        Ok(Self {
            strings,
            held: String::new(),
        })
    }

    /// Takes more text, gives what is certain, and says whether a stop string has been met, before
    /// which the text ends.
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|stop| {
            let start = self.held.find(stop)?;
            Some((start + stop.len(), start))
        });
        if let Some((_, start)) = found.min() {
            self.held.truncate(start);
            return (self.finish(), true);
        }
        let begins = |start: usize| {
            let tail = self.held.get(start..);
            tail.is_some_and(|tail| self.strings.iter().any(|stop| stop.starts_with(tail)))
        };
        let longest = self.strings.iter().map(String::len).max().unwrap_or(0);
        let len = self.held.len();
        let certain = (len.saturating_sub(longest)..len)
            .find(|&at| begins(at))
            .unwrap_or(len);
        let rest = self.held.split_off(certain);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// Gives what was held back: nothing more comes that could complete it.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(strings: &[&str]) -> Result<Stops, Invalid> {
        let limits = Limits {
            stop_strings_max: 3,
            stop_string_bytes_max: 8,
            ..Limits::default()
        };
        Stops::new(strings.iter().map(ToString::to_string).collect(), &limits)
    }

    /// Feeds `text` cut into one, two and three pieces in every way, and character by character.
    #[track_caller]
    fn check(strings: &[&str], text: &str, want: &str, stopped: bool) {
        let cuts: Vec<usize> = (0..=text.len())
            .filter(|&at| text.is_char_boundary(at))
            .collect();
        let pairs = cuts
            .iter()
            .flat_map(|&a| cuts.iter().map(move |&b| vec![a.min(b), a.max(b)]));
        for cut in pairs.chain([cuts.clone()]) {
            let mut stops = stops(strings).unwrap();
            let (mut out, mut met, mut from) = (String::new(), false, 0);
            for to in cut.iter().copied().chain([text.len()]) {
                let (certain, found) = stops.push(text.get(from..to).unwrap());
                out.push_str(&certain);
                (met, from) = (found, to);
                if met {
                    break;
                }
            }
            out.push_str(&stops.finish());
            assert_eq!(
                (out.as_str(), met),
                (want, stopped),
                "{text:?} cut at {cut:?}"
            );
        }
    }

    #[test]
    fn text_ends_before_a_stop_string_however_it_is_cut() {
        check(&["END"], "so it ENDs", "so it ", true);
        check(&["END"], "END", "", true);
        check(&["END"], "the EN", "the EN", false);
        check(&["END"], "EENEND", "EEN", true);
        check(&["aab"], "aaaab", "aa", true);
        check(&["。終"], "始。終り", "始", true);
        check(&[], "anything", "anything", false);
    }

    #[test]
    fn of_several_the_first_to_be_complete_counts() {
        check(&["abcd", "bc"], "xabcd", "xa", true);
        check(&["bc", "abc"], "xabcd", "x", true);
        check(&["cd", "ab"], "xabcd", "x", true);
    }

    #[test]
    fn bounds_are_kept_and_named() {
        assert!(stops(&["a", "b", "c"]).is_ok());
        let refused = |strings: &[&str]| stops(strings).unwrap_err().to_string();
        assert_eq!(
            refused(&["a", "b", "c", "d"]),
            "stop strings: 4, must be at most 3"
        );
        assert!(stops(&["12345678"]).is_ok());
        assert_eq!(
            refused(&["123456789"]),
            "stop string: 9 bytes, must be from 1 to 8 bytes"
        );
        assert_eq!(
            refused(&[""]),
            "stop string: 0 bytes, must be from 1 to 8 bytes"
        );
    }
}
