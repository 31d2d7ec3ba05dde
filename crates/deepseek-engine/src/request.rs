//! What is asked of the engine, and the ways in which it says no.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use deepseek_model::{Capacity, TokenId};

use crate::events::{Reason, Sender};
use crate::limits::Limits;
use crate::sampler::Sampling;
use crate::source::Source;

/// One prompt to be continued. Held against the engine's bounds by
/// [`Engine::submit`](crate::Engine::submit).
#[derive(Debug, Clone)]
pub struct Request {
    /// The ids to go on from, at least one.
    pub prompt: Vec<TokenId>,
    /// What in the prompt is no text, in order. A tape is read once and forward: its chunks stand in
    /// the prompt in their order, from the first on.
    pub media: Vec<Placed>,
    /// Where the media come from.
    pub sources: Vec<Source>,
    /// Ids to draw at most, at least 1. Whatever is asked, prompt and answer together end where
    /// the context does.
    pub max_tokens: Option<u32>,
    /// Ids that end the answer. They are not sent.
    pub stop_ids: Vec<TokenId>,
    /// Ids that are not drawn whatever their logits, because nobody knows their text. Those that end
    /// the answer are drawn all the same; so much of a range as the vocabulary lacks is left out.
    pub never: Vec<Range<TokenId>>,
    /// How ids are drawn.
    pub sampling: Sampling,
    /// Ids to have proposed by the draft head at once; 0 for none. Changes how long the answer
    /// takes, never what it is.
    pub drafts: u32,
}

/// Ids of a prompt that stand for rows of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The first of the ids.
    pub at: usize,
    /// Which of the request's sources the medium is of.
    pub source: usize,
    /// Which of the source's media it is.
    pub number: usize,
    /// The rows, at least one, for each of which there is an id.
    pub rows: Range<usize>,
}

impl Placed {
    /// The ids.
    #[must_use]
    pub fn places(&self) -> Range<usize> {
        self.at..self.at.saturating_add(self.rows.len())
    }
}

impl Request {
    /// A request with defaults: as long as the context allows, no stop ids, default sampling, no
    /// drafts.
    #[must_use]
    pub fn new(prompt: Vec<TokenId>) -> Self {
        Self {
            prompt,
            media: Vec::new(),
            sources: Vec::new(),
            max_tokens: None,
            stop_ids: Vec::new(),
            never: Vec::new(),
            sampling: Sampling::default(),
            drafts: 0,
        }
    }

    /// Turns what was asked into what can be run, or refuses.
    pub(crate) fn check(self, capacity: &Capacity, limits: &Limits) -> Result<Order, Refusal> {
        if self.prompt.is_empty() {
            return Err(Refusal::Empty);
        }
        let (tokens, context) = (self.prompt.len(), capacity.context);
        let Some(room) = u32::try_from(tokens)
            .ok()
            .and_then(|tokens| context.checked_sub(tokens))
        else {
            return Err(Refusal::TooLong { tokens, context });
        };
        if room == 0 {
            return Err(Refusal::TooLong { tokens, context });
        }
        if self.max_tokens == Some(0) {
            return Err(Invalid::new("max_tokens", 0, "at least 1").into());
        }
        if self.stop_ids.len() > limits.stop_ids_max {
            let bounds = format!("at most {}", limits.stop_ids_max);
            return Err(Invalid::new("stop_ids", self.stop_ids.len(), bounds).into());
        }
        self.check_media(capacity, limits)?;
        let vocabulary = capacity.vocabulary;
        let mut ids = self.prompt.iter().chain(&self.stop_ids);
        if let Some(&id) = ids.find(|&&id| id >= vocabulary) {
            return Err(Refusal::UnknownToken { id, vocabulary });
        }
        Ok(Order {
            length_max: context - room + self.max_tokens.unwrap_or(room).min(room),
            at_length_max: match self.max_tokens {
                Some(most) if most <= room => Reason::Length,
                Some(_) | None => Reason::Context,
            },
            prompt: self.prompt,
            media: self.media,
            sources: self.sources,
            never: never(&self.never, &self.stop_ids, capacity),
            stop_ids: self.stop_ids,
            sampling: self.sampling,
            drafts: self.drafts.min(capacity.drafts).min(capacity.rewind),
        })
    }

    /// Whether the model looks at or listens to such media, and each lies in the prompt behind the one
    /// before.
    fn check_media(&self, capacity: &Capacity, limits: &Limits) -> Result<(), Refusal> {
        if self.sources.len() > limits.media_max {
            let bounds = format!("at most {}", limits.media_max);
            return Err(Invalid::new("sources", self.sources.len(), bounds).into());
        }
        let mut free = 0;
        let mut begun = vec![0; self.sources.len()];
        for placed in &self.media {
            let source = self.sources.get(placed.source).ok_or_else(|| {
                let bounds = format!("below {}", self.sources.len());
                Invalid::new("source", placed.source, bounds)
            })?;
            match source.is_sound(placed.number) {
                true if capacity.audio.is_none() => return Err(Refusal::Deaf),
                false if capacity.vision.is_none() => return Err(Refusal::Blind),
                true | false => {}
            }
            let has = source.rows(placed.number).unwrap_or_default();
            if placed.rows.is_empty() || placed.rows.end > has {
                let rows = format!("{:?} of {}", placed.rows, placed.number);
                return Err(Invalid::new("rows", rows, format!("some of {has}")).into());
            }
            let (ids, count) = (placed.places(), placed.rows.len());
            if ids.start < free || ids.end > self.prompt.len() {
                let bounds = format!("{count} ids between {free} and {}", self.prompt.len());
                return Err(Invalid::new("media", placed.at, bounds).into());
            }
            free = ids.end;
            // A tape runs forward alone.
            let next = &mut begun[placed.source];
            let in_order = placed.number == *next || placed.number + 1 == *next;
            if matches!(source, Source::Tape(_)) && !in_order {
                let bounds = format!("{next}, the next, or the one before");
                return Err(Invalid::new("chunk", placed.number, bounds).into());
            }
            *next = (placed.number + 1).max(*next);
        }
        Ok(())
    }
}

/// The ids that are not drawn: those that stand for media, and those asked for but for the ones that
/// end the answer.
fn never(
    asked: &[Range<TokenId>],
    stop_ids: &[TokenId],
    capacity: &Capacity,
) -> Vec<Range<TokenId>> {
    let mut ends = stop_ids.to_vec();
    ends.sort_unstable();
    let mut never = Vec::new();
    for ids in asked {
        let (mut start, end) = (ids.start, ids.end.min(capacity.vocabulary));
        for stop in ends.iter().filter(|id| (ids.start..end).contains(*id)) {
            never.push(start..*stop);
            start = stop + 1;
        }
        never.push(start..end);
    }
    never.extend(capacity.placeholders.iter().map(|id| id..id + 1));
    never.retain(|ids| !ids.is_empty());
    never
}

/// A request that this engine can run: the prompt is neither empty nor too long, every id is in the
/// vocabulary.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) prompt: Vec<TokenId>,
    /// One behind the other, within the prompt.
    pub(crate) media: Vec<Placed>,
    pub(crate) sources: Vec<Source>,
    /// Ids that are not drawn.
    pub(crate) never: Vec<Range<TokenId>>,
    /// Ids of prompt and answer together: more than the prompt's, no more than the context's.
    pub(crate) length_max: u32,
    /// Why it ends there.
    pub(crate) at_length_max: Reason,
    pub(crate) stop_ids: Vec<TokenId>,
    pub(crate) sampling: Sampling,
    /// No more than the decoder can propose, nor than it can take back.
    pub(crate) drafts: u32,
}

/// An order that waits for a place, with the line to whoever placed it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) order: Order,
    pub(crate) sender: Sender,
    pub(crate) submitted: Instant,
}

/// Why the engine did not take a request. The caller can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue is full. Try again later.
    #[error("busy: {waiting} requests are waiting")]
    Busy {
        /// Requests in the queue, which is all that it holds.
        waiting: usize,
    },
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    Empty,
    /// The prompt leaves no room for an answer.
    #[error("a prompt of {tokens} tokens, with its answer, in a context of {context}")]
    TooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of the context, of which an answer needs at least one.
        context: u32,
    },
    /// An id is not in the vocabulary.
    #[error("token {id} in a vocabulary of {vocabulary}")]
    UnknownToken {
        /// The id.
        id: TokenId,
        /// The ids of the model are below this.
        vocabulary: u32,
    },
    /// The prompt holds a picture or a film, and the model does not look at any.
    #[error("the model does not look at pictures")]
    Blind,
    /// The prompt holds a sound, and the model does not listen to any.
    #[error("the model does not listen to sounds: no audio_config in its config.json")]
    Deaf,
    /// A parameter is out of its bounds.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The engine has been told to close.
    #[error("the engine is closing")]
    Closing,
    /// The engine's thread panicked; there will be no more answers.
    #[error("the engine has ended: {why}")]
    Ended {
        /// What ended it.
        why: String,
    },
}

/// A parameter that is out of its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {value}, must be {bounds}")]
pub struct Invalid {
    /// The parameter's name.
    pub field: &'static str,
    /// What was asked for.
    pub value: String,
    /// What may be asked for.
    pub bounds: String,
}

impl Invalid {
    pub(crate) fn new(
        field: &'static str,
        value: impl fmt::Display,
        bounds: impl Into<String>,
    ) -> Self {
        Self {
            field,
            value: format!("{value}"),
            bounds: bounds.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use deepseek_model::Placeholders;

    use super::*;

    const CAPACITY: Capacity = Capacity {
        vocabulary: 10,
        context: 8,
        sequences: 2,
        step_tokens: 4,
        rewind: 3,
        drafts: 5,
        vision: None,
        audio: None,
        placeholders: Placeholders {
            image: None,
            audio: None,
            video: None,
        },
    };

    fn check(change: impl FnOnce(&mut Request)) -> Result<Order, Refusal> {
        let mut request = Request::new(vec![1, 2, 3]);
        change(&mut request);
        let limits = Limits {
            stop_ids_max: 2,
            ..Limits::default()
        };
        request.check(&CAPACITY, &limits)
    }

    #[test]
    fn a_prompt_has_between_one_token_and_one_less_than_the_context() {
        assert_eq!(check(|r| r.prompt.clear()).unwrap_err(), Refusal::Empty);
        assert_eq!(check(|r| r.prompt = vec![0; 7]).unwrap().length_max, 8);
        let too_long = |tokens| Refusal::TooLong { tokens, context: 8 };
        assert_eq!(check(|r| r.prompt = vec![0; 8]).unwrap_err(), too_long(8));
        assert_eq!(check(|r| r.prompt = vec![0; 9]).unwrap_err(), too_long(9));
    }

    #[test]
    fn every_id_is_below_the_vocabulary() {
        let unknown = Refusal::UnknownToken {
            id: 10,
            vocabulary: 10,
        };
        assert!(check(|r| r.prompt = vec![9]).is_ok());
        assert_eq!(check(|r| r.prompt = vec![9, 10]).unwrap_err(), unknown);
        assert!(check(|r| r.stop_ids = vec![9]).is_ok());
        assert_eq!(check(|r| r.stop_ids = vec![10]).unwrap_err(), unknown);
    }

    #[test]
    fn the_answer_ends_at_max_tokens_or_with_the_context() {
        assert_eq!(check(|r| r.max_tokens = Some(1)).unwrap().length_max, 4);
        assert_eq!(check(|r| r.max_tokens = Some(5)).unwrap().length_max, 8);
        assert_eq!(check(|r| r.max_tokens = Some(6)).unwrap().length_max, 8);
        assert_eq!(
            check(|r| r.max_tokens = Some(u32::MAX)).unwrap().length_max,
            8
        );
        assert_eq!(check(|_| ()).unwrap().length_max, 8);
    }

    #[test]
    fn a_refusal_names_the_parameter_and_its_bounds() {
        let text = |refusal: Refusal| refusal.to_string();
        assert_eq!(
            text(check(|r| r.max_tokens = Some(0)).unwrap_err()),
            "max_tokens: 0, must be at least 1"
        );
        assert!(check(|r| r.stop_ids = vec![1; 2]).is_ok());
        assert_eq!(
            text(check(|r| r.stop_ids = vec![1; 3]).unwrap_err()),
            "stop_ids: 3, must be at most 2"
        );
    }

    #[test]
    fn ids_without_text_are_not_drawn_unless_they_end_the_answer() {
        let mut capacity = CAPACITY;
        capacity.placeholders.image = Some(0);
        let check = |ids: &[Range<TokenId>], stop_ids: &[TokenId]| {
            let mut request = Request::new(vec![1]);
            (request.never, request.stop_ids) = (ids.to_vec(), stop_ids.to_vec());
            let limits = Limits::default();
            request.check(&capacity, &limits).unwrap().never
        };
        let picture = 0..1;
        assert_eq!(check(&[], &[]), [picture]);
        assert_eq!(check(&[2..3, 7..10], &[]), [2..3, 7..10, 0..1]);
        assert_eq!(check(&[7..99, 10..12], &[]), [7..10, 0..1]);
        let tail = 4..10;
        assert_eq!(check(&[tail], &[9, 1, 5, 5, 4]), [6..9, 0..1]);
    }

    #[test]
    fn drafts_are_bounded_by_what_can_be_taken_back() {
        assert_eq!(check(|r| r.drafts = 2).unwrap().drafts, 2);
        assert_eq!(check(|r| r.drafts = 4).unwrap().drafts, 3);
    }
}
