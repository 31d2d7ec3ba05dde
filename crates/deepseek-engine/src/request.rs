//! What is asked of the engine.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use deepseek_model::{Capacity, TokenId};

use crate::constraint::ConstraintSource;
use crate::events::{Reason, RequestId, Sender};
use crate::limits::Limits;
use crate::media_source::{MediaKind, MediaSource};
use crate::refusal::{Invalid, Refusal};
use crate::sampler::Sampling;

/// One prompt to be continued. Held against the engine's bounds by
/// [`Engine::submit`](crate::Engine::submit).
#[derive(Debug, Clone)]
pub struct Request {
    /// The ids to go on from, at least one.
    pub prompt: Vec<TokenId>,
    /// What in the prompt is no text, in order.
    pub spans: Vec<MediaSpan>,
    /// Where the media come from that the spans name.
    pub media: Option<Arc<dyn MediaSource>>,
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
    /// What the answer has to look like: ids that it does not allow are not drawn. An id that ends the
    /// answer has to be allowed, too.
    pub constraint: Option<Arc<dyn ConstraintSource>>,
    /// Whether to tell how likely each id was, and of how many of the most likely in its place besides.
    pub logprobs: Option<u32>,
    /// Ids to have proposed by the draft head at once; 0 for none. Changes how long the answer
    /// takes, never what it is.
    pub drafts: u32,
    /// Whether its place is kept when it is over, as long as nobody else needs it, so that a prompt that
    /// begins as this one, or as this one and its answer, goes on from there. Changes how long that one
    /// takes, never what its answer is.
    pub keep: bool,
}

/// Ids of a prompt that stand for rows of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSpan {
    /// The first of the ids.
    pub at: usize,
    /// The number of the medium: the next one that no span before has named, or one of those.
    pub media: usize,
    /// The rows of it, at least one, for each of which there is an id.
    pub rows: Range<usize>,
}

impl MediaSpan {
    /// The ids.
    #[must_use]
    pub fn places(&self) -> Range<usize> {
        self.at..self.at.saturating_add(self.rows.len())
    }
}

impl Request {
    /// A request with defaults: as long as the context allows, no stop ids, default sampling, no
    /// drafts, its place not kept.
    #[must_use]
    pub fn new(prompt: Vec<TokenId>) -> Self {
        Self {
            prompt,
            spans: Vec::new(),
            media: None,
            max_tokens: None,
            stop_ids: Vec::new(),
            never: Vec::new(),
            sampling: Sampling::default(),
            constraint: None,
            logprobs: None,
            drafts: 0,
            keep: false,
        }
    }

    /// Turns what was asked into what can be run, or refuses.
    pub(crate) fn check(self, capacity: &Capacity, limits: &Limits) -> Result<Accepted, Refusal> {
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
        if let Some(count) = self.logprobs.filter(|count| *count > limits.logprobs_max) {
            let bounds = format!("at most {}", limits.logprobs_max);
            return Err(Invalid::new("logprobs", count, bounds).into());
        }
        self.check_media(capacity)?;
        let vocabulary = capacity.vocabulary;
        let mut ids = self.prompt.iter().chain(&self.stop_ids);
        if let Some(&id) = ids.find(|&&id| id >= vocabulary) {
            return Err(Refusal::UnknownToken { id, vocabulary });
        }
        Ok(Accepted {
            length_max: context - room + self.max_tokens.unwrap_or(room).min(room),
            at_length_max: match self.max_tokens {
                Some(most) if most <= room => Reason::Length,
                Some(_) | None => Reason::Context,
            },
            prompt: self.prompt,
            spans: self.spans,
            media: self.media,
            never: never(&self.never, &self.stop_ids, capacity),
            stop_ids: self.stop_ids,
            sampling: self.sampling,
            constraint: self.constraint,
            logprobs: self.logprobs,
            drafts: self.drafts.min(capacity.drafts).min(capacity.rewind),
            keep: self.keep,
        })
    }

    /// Whether the model has an encoder for each medium, and each lies in the prompt behind the one
    /// before.
    fn check_media(&self, capacity: &Capacity) -> Result<(), Refusal> {
        let shapes = self.media.as_ref().map_or(&[][..], |media| media.shapes());
        let (mut free, mut next) = (0, 0);
        for span in &self.spans {
            let shape = shapes.get(span.media).filter(|_| span.media <= next);
            let Some(shape) = shape else {
                let bounds = format!("at most {next}, the next, of {}", shapes.len());
                return Err(Invalid::new("media", span.media, bounds).into());
            };
            next = next.max(span.media + 1);
            match shape.kind {
                MediaKind::Audio if capacity.audio.is_none() => return Err(Refusal::NoAudio),
                MediaKind::Image if capacity.vision.is_none() => return Err(Refusal::NoVision),
                MediaKind::Audio | MediaKind::Image => {}
            }
            if span.rows.is_empty() || span.rows.end > shape.rows {
                let rows = format!("{:?} of {}", span.rows, span.media);
                let bounds = format!("some of {}", shape.rows);
                return Err(Invalid::new("rows", rows, bounds).into());
            }
            let (ids, count) = (span.places(), span.rows.len());
            if ids.start < free || ids.end > self.prompt.len() {
                let bounds = format!("{count} ids between {free} and {}", self.prompt.len());
                return Err(Invalid::new("spans", span.at, bounds).into());
            }
            free = ids.end;
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
pub(crate) struct Accepted {
    pub(crate) prompt: Vec<TokenId>,
    /// One behind the other, within the prompt.
    pub(crate) spans: Vec<MediaSpan>,
    pub(crate) media: Option<Arc<dyn MediaSource>>,
    /// Ids that are not drawn.
    pub(crate) never: Vec<Range<TokenId>>,
    /// Ids of prompt and answer together: more than the prompt's, no more than the context's.
    pub(crate) length_max: u32,
    /// Why it ends there.
    pub(crate) at_length_max: Reason,
    pub(crate) stop_ids: Vec<TokenId>,
    pub(crate) sampling: Sampling,
    pub(crate) constraint: Option<Arc<dyn ConstraintSource>>,
    /// No more than the engine's limit.
    pub(crate) logprobs: Option<u32>,
    /// No more than the decoder can propose, nor than it can take back.
    pub(crate) drafts: u32,
    /// Whether its place is kept.
    pub(crate) keep: bool,
}

/// A request that waits for a place, with the channel to whoever made it.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) request: RequestId,
    pub(crate) accepted: Accepted,
    pub(crate) sender: Sender,
    pub(crate) submitted: Instant,
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

    fn check(change: impl FnOnce(&mut Request)) -> Result<Accepted, Refusal> {
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
        let image = 0..1;
        assert_eq!(check(&[], &[]), [image]);
        assert_eq!(check(&[2..3, 7..10], &[]), [2..3, 7..10, 0..1]);
        assert_eq!(check(&[7..99, 10..12], &[]), [7..10, 0..1]);
        let tail = 4..10;
        assert_eq!(check(&[tail], &[9, 1, 5, 5, 4]), [6..9, 0..1]);
    }

    #[test]
    fn logprobs_are_bounded() {
        let most = Limits::default().logprobs_max;
        assert_eq!(
            check(|r| r.logprobs = Some(most)).unwrap().logprobs,
            Some(most)
        );
        assert_eq!(
            check(|r| r.logprobs = Some(most + 1))
                .unwrap_err()
                .to_string(),
            "logprobs: 21, must be at most 20"
        );
    }

    #[test]
    fn drafts_are_bounded_by_what_can_be_taken_back() {
        assert_eq!(check(|r| r.drafts = 2).unwrap().drafts, 2);
        assert_eq!(check(|r| r.drafts = 4).unwrap().drafts, 3);
    }
}
