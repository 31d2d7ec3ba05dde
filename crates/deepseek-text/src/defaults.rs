//! How the vendor draws tokens where a request does not say.

use std::ops::RangeInclusive;

use deepseek_recipe::request::{
    DEFAULT_MAX_EFFORT_MAX_TOKENS, DEFAULT_MAX_TOKENS_UPPER_BOUND, DEFAULT_NON_THINKING_MAX_TOKENS,
    DEFAULT_THINKING_MAX_TOKENS,
};

use crate::options::{Edition, Effort, Mode, Options};

/// What to draw with where nothing is asked for, and the bounds within which the vendor's own
/// service draws whatever is asked for (`docs/models/deepseek-v4.md` §4.7,
/// `docs/models/deepseek-v41.md` §6.5).
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// The temperature.
    pub temperature: f32,
    /// Temperatures that the service draws with.
    pub temperatures: RangeInclusive<f32>,
    /// The probability of the most likely tokens that are kept.
    pub top_p: f32,
    /// Such probabilities that the service draws with.
    pub top_ps: RangeInclusive<f32>,
    /// Tokens of an answer; `None` for what the context holds.
    pub max_tokens: Option<u32>,
}

impl Defaults {
    /// The longest answer that the service gives.
    pub const MAX_TOKENS_MAX: u32 = DEFAULT_MAX_TOKENS_UPPER_BOUND;

    /// The defaults for prompts written so.
    pub fn of(options: &Options) -> Self {
        let free = Self {
            temperature: 1.0,
            temperatures: 0.0..=2.0,
            top_p: 1.0,
            top_ps: 0.0..=1.0,
            max_tokens: None,
        };
        match (options.edition, options.mode, options.effort) {
            (Edition::First | Edition::Refreshed, ..) => free,
            (Edition::V41, Mode::Chat, _) | (Edition::V41, _, Effort::None) => Self {
                top_ps: 1.0..=1.0,
                max_tokens: Some(DEFAULT_NON_THINKING_MAX_TOKENS),
                ..free
            },
            (Edition::V41, Mode::Thinking, effort) => Self {
                temperatures: 1.0..=1.0,
                top_ps: 0.95..=1.0,
                max_tokens: Some(match effort {
                    Effort::Max | Effort::Score(100..) => DEFAULT_MAX_EFFORT_MAX_TOKENS,
                    Effort::None | Effort::Low | Effort::High | Effort::Score(_) => {
                        DEFAULT_THINKING_MAX_TOKENS
                    }
                }),
                ..free
            },
        }
    }

    /// The temperature and the probability that the service draws with when these are asked for.
    pub fn settle(&self, temperature: Option<f32>, top_p: Option<f32>) -> (f32, f32) {
        let within = |asked: f32, bounds: &RangeInclusive<f32>| {
            asked.max(*bounds.start()).min(*bounds.end())
        };
        (
            within(temperature.unwrap_or(self.temperature), &self.temperatures),
            within(top_p.unwrap_or(self.top_p), &self.top_ps),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edition: Edition, mode: Mode, effort: Effort, max_tokens: Option<u32>) -> Defaults {
        let defaults = Defaults::of(&Options {
            edition,
            mode,
            effort,
            ..Options::default()
        });
        assert_eq!(defaults.max_tokens, max_tokens);
        assert_eq!(defaults.settle(None, None), (1.0, 1.0));
        defaults
    }

    #[test]
    fn v4_draws_as_asked() {
        for mode in [Mode::Chat, Mode::Thinking] {
            let defaults = check(Edition::Refreshed, mode, Effort::Max, None);
            assert_eq!(defaults.settle(Some(0.3), Some(0.5)), (0.3, 0.5));
        }
    }

    #[test]
    fn v41_thinks_hot_and_wide() {
        let (v41, thinking) = (Edition::V41, Mode::Thinking);
        for effort in [Effort::Low, Effort::High, Effort::Score(99)] {
            let defaults = check(v41, thinking, effort, Some(65_536));
            assert_eq!(defaults.settle(Some(0.3), Some(0.5)), (1.0, 0.95));
            assert_eq!(defaults.settle(Some(1.7), Some(0.97)), (1.0, 0.97));
        }
        for effort in [Effort::Max, Effort::Score(100)] {
            check(v41, thinking, effort, Some(131_072));
        }
        assert_eq!(Defaults::MAX_TOKENS_MAX, 393_216);
    }

    #[test]
    fn v41_chats_at_the_temperature_asked_for() {
        for (mode, effort) in [(Mode::Chat, Effort::Max), (Mode::Thinking, Effort::None)] {
            let defaults = check(Edition::V41, mode, effort, Some(8_192));
            assert_eq!(defaults.settle(Some(0.3), Some(0.5)), (0.3, 1.0));
        }
    }
}
