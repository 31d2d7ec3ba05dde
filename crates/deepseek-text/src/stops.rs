//! Strings that end an answer, found wherever the text is cut.

/// A watch for stop strings, and the text that may be the beginning of one.
///
/// Of several strings the one that is complete first ends the text; of those complete at the same
/// place, the one that begins first. So the cut does not depend on how the text arrives.
#[derive(Debug)]
pub struct Stops {
    strings: Vec<String>,
    held: String,
}

impl Stops {
    /// A watch for `strings`. An empty one is never met.
    pub fn new(mut strings: Vec<String>) -> Self {
        strings.retain(|string| !string.is_empty());
        Self {
            strings,
            held: String::new(),
        }
    }

    /// Takes more text, gives what is certain, and the stop string that has been met, before which
    /// the text ends.
    pub fn push(&mut self, text: &str) -> (String, Option<&str>) {
        self.held.push_str(text);
        let found = self.strings.iter().filter_map(|stop| {
            let start = self.held.find(stop)?;
            Some((start + stop.len(), start, stop.as_str()))
        });
        if let Some((_, start, stop)) = found.min() {
            self.held.truncate(start);
            return (std::mem::take(&mut self.held), Some(stop));
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
        (std::mem::replace(&mut self.held, rest), None)
    }

    /// Gives what was held back: nothing more comes that could complete it.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` cut into one, two and three pieces in every way, and character by character.
    #[track_caller]
    fn check(strings: &[&str], text: &str, want: &str, stopped: Option<&str>) {
        let cuts: Vec<usize> = (0..=text.len())
            .filter(|&at| text.is_char_boundary(at))
            .collect();
        let pairs = cuts
            .iter()
            .flat_map(|&a| cuts.iter().map(move |&b| vec![a.min(b), a.max(b)]));
        for cut in pairs.chain([cuts.clone()]) {
            let mut stops = Stops::new(strings.iter().map(ToString::to_string).collect());
            let (mut out, mut met, mut from) = (String::new(), None, 0);
            for to in cut.iter().copied().chain([text.len()]) {
                let (certain, found) = stops.push(text.get(from..to).unwrap());
                out.push_str(&certain);
                (met, from) = (found.map(str::to_owned), to);
                if met.is_some() {
                    break;
                }
            }
            out.push_str(&stops.finish());
            assert_eq!(
                (out.as_str(), met.as_deref()),
                (want, stopped),
                "{text:?} cut at {cut:?}"
            );
        }
    }

    #[test]
    fn text_ends_before_a_stop_string_however_it_is_cut() {
        check(&["END"], "so it ENDs", "so it ", Some("END"));
        check(&["END"], "END", "", Some("END"));
        check(&["END"], "the EN", "the EN", None);
        check(&["END"], "EENEND", "EEN", Some("END"));
        check(&["aab"], "aaaab", "aa", Some("aab"));
        check(&["。終"], "始。終り", "始", Some("。終"));
        check(&[], "anything", "anything", None);
        check(&[""], "anything", "anything", None);
    }

    #[test]
    fn of_several_the_first_to_be_complete_counts() {
        check(&["abcd", "bc"], "xabcd", "xa", Some("bc"));
        check(&["bc", "abc"], "xabcd", "x", Some("abc"));
        check(&["cd", "ab"], "xabcd", "x", Some("ab"));
    }
}
