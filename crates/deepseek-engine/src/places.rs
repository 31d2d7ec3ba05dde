//! Places in the decoder, and what was left in them: a prompt that begins as an earlier one did goes on
//! from there.

use std::collections::VecDeque;

use deepseek_model::{SeqId, SequenceState, TokenId};

use crate::events::RequestId;
use crate::media_source::{MediaKey, MediaSource};
use crate::request::MediaSpan;

/// The places that nobody has.
#[derive(Debug)]
pub(crate) struct Places {
    empty: Vec<SeqId>,
    /// Those in which something was left, the oldest first.
    kept: VecDeque<Kept>,
    /// Positions that the decoder takes back.
    rewind: u32,
}

/// What a sequence left in its place.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) seq: SeqId,
    /// Whose it was, if that was here.
    pub(crate) request: Option<RequestId>,
    pub(crate) text: KeptText,
    /// The furthest that the decoder has stood.
    pub(crate) reached: u32,
    /// Its tail where its prompt ended.
    pub(crate) state: Option<SequenceState>,
}

/// What the decoder has read: ids, and what stands for media among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeptText {
    pub(crate) ids: Vec<TokenId>,
    pub(crate) media: Vec<KeptSpan>,
}

/// Ids that are rows of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptSpan {
    pub(crate) at: usize,
    pub(crate) end: usize,
    pub(crate) from: usize,
    pub(crate) key: Option<MediaKey>,
}

/// A place for a sequence, and where it begins.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) seq: SeqId,
    /// Ids of the prompt that need not be run.
    pub(crate) cached: u32,
    /// The furthest that the sequence has stood that was there.
    pub(crate) reached: u32,
    pub(crate) state: Option<SequenceState>,
    /// Whether the state is to be put back first.
    pub(crate) restores: bool,
}

impl Start {
    /// A place in which nothing stands.
    pub(crate) fn anew(seq: SeqId) -> Self {
        Self {
            seq,
            cached: 0,
            reached: 0,
            state: None,
            restores: false,
        }
    }

    /// The same, once the sequence stands where it begins: a state from behind that is of another prompt.
    pub(crate) fn begun(self) -> Self {
        let state = self.state;
        Self {
            state: state.filter(|state| state.position() <= self.cached),
            ..self
        }
    }
}

impl KeptSpan {
    pub(crate) fn all(spans: &[MediaSpan], source: Option<&dyn MediaSource>) -> Vec<Self> {
        let span = |span: &MediaSpan| Self {
            at: span.at,
            end: span.places().end,
            from: span.rows.start,
            key: source.and_then(|source| source.key(span.media)),
        };
        spans.iter().map(span).collect()
    }

    /// Whether both are known to be the same rows at the same place.
    fn is(&self, other: &Self) -> bool {
        self == other && self.key.is_some()
    }
}

impl KeptText {
    /// With how many ids both begin.
    fn common(&self, other: &Self) -> usize {
        let pairs = self.ids.iter().zip(&other.ids);
        let ids = pairs.take_while(|(own, other)| own == other).count();
        let pairs = self.media.iter().zip(&other.media);
        let media = pairs.take_while(|(own, other)| own.is(other)).count();
        // The first rows that only one of them has, or that are not the same.
        let next = [&self.media, &other.media].map(|spans| spans.get(media).map(|span| span.at));
        next.into_iter().flatten().fold(ids, usize::min)
    }

    /// The same up to a place.
    pub(crate) fn cut(mut self, end: usize) -> Self {
        self.ids.truncate(end);
        self.media.retain(|span| span.at < end);
        if let Some(last) = self.media.last_mut() {
            last.end = last.end.min(end);
        }
        self
    }
}

impl Kept {
    /// Where a prompt of these ids could go on, and whether for that the state is to be put back.
    fn start(&self, prompt: &KeptText, rewind: u32) -> Option<(u32, bool)> {
        // At least one id is run, for the logits after it.
        let common = self
            .text
            .common(prompt)
            .min(prompt.ids.len().saturating_sub(1));
        let common = u32::try_from(common).expect("a prompt fits the context");
        let back = |end: u32, reached: u32| {
            let to = common.min(end);
            (to > 0 && reached - to <= rewind).then_some(to)
        };
        let stands = u32::try_from(self.text.ids.len()).expect("a sequence fits the context");
        let live = back(stands, self.reached).map(|to| (to, false));
        let state = self.state.as_ref();
        let tail = || back(state?.position(), state?.reached());
        live.or_else(|| Some((tail()?, true)))
    }
}

impl Places {
    pub(crate) fn new(count: u32, rewind: u32) -> Self {
        Self {
            empty: (0..count).rev().map(SeqId).collect(),
            kept: VecDeque::new(),
            rewind,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.empty.len() + self.kept.len()
    }

    /// Whether a prompt could go on from something.
    pub(crate) fn keeps_any(&self) -> bool {
        !self.kept.is_empty()
    }

    /// The place in which most of the prompt stands already; else an empty one, else the one that was
    /// left longest ago.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn take(&mut self, prompt: &KeptText) -> Start {
        let starts = self.kept.iter().enumerate();
        let starts =
            starts.filter_map(|(place, kept)| Some((kept.start(prompt, self.rewind)?, place)));
        if let Some(((cached, restores), place)) = starts.max() {
            let kept = self.kept.remove(place).expect("a place of the list");
            let restored = kept.state.as_ref().filter(|_| restores);
            return Start {
                seq: kept.seq,
                cached,
                reached: restored.map_or(kept.reached, SequenceState::reached),
                state: kept.state,
                restores,
            };
        }
        Start::anew(self.vacate().expect("a place that nobody has"))
    }

    /// An empty place, else the one that was left longest ago, if there is any.
    pub(crate) fn vacate(&mut self) -> Option<SeqId> {
        let empty = self.empty.pop();
        empty.or_else(|| Some(self.kept.pop_front()?.seq))
    }

    /// Takes the place in which a request left something.
    pub(crate) fn find(&mut self, request: RequestId) -> Option<Kept> {
        let mut kept = self.kept.iter();
        let at = kept.position(|kept| kept.request == Some(request))?;
        self.kept.remove(at)
    }

    /// Takes back a place in which nothing is left.
    pub(crate) fn free(&mut self, seq: SeqId) {
        self.empty.push(seq);
    }

    /// Takes back a place in which something is left.
    pub(crate) fn keep(&mut self, kept: Kept) {
        self.kept.push_back(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ids: &[TokenId], media: &[(usize, usize, u8)]) -> KeptText {
        let span = |(at, end, key): &(usize, usize, u8)| KeptSpan {
            at: *at,
            end: *end,
            from: 0,
            key: (*key > 0).then_some(MediaKey([*key; 32])),
        };
        KeptText {
            ids: ids.to_vec(),
            media: media.iter().map(span).collect(),
        }
    }

    #[test]
    fn prompts_are_alike_up_to_the_first_id_or_medium_that_differs() {
        let own = text(&[1, 2, 9, 9, 3, 4], &[(2, 4, 7)]);
        let check = |ids: &[TokenId], media: &[(usize, usize, u8)], want| {
            let other = text(ids, media);
            assert_eq!(own.common(&other), want, "{ids:?} {media:?}");
            assert_eq!(other.common(&own), want, "{ids:?} {media:?}");
        };
        check(&[1, 2, 9, 9, 3, 4, 5], &[(2, 4, 7)], 6);
        check(&[1, 2, 9, 9, 5], &[(2, 4, 7)], 4);
        check(&[1, 5], &[], 1);
        check(&[1, 2, 9, 9, 3, 4], &[], 2);
        check(&[1, 2, 9, 9, 3, 4], &[(2, 4, 8)], 2);
        check(&[1, 2, 9, 9, 3, 4], &[(2, 3, 7)], 2);
        check(&[1, 2, 9, 9, 3, 4, 9], &[(2, 4, 7), (6, 7, 8)], 6);
        let unknown = text(&[1, 9], &[(1, 2, 0)]);
        assert_eq!(unknown.common(&unknown), 1);
    }

    #[test]
    fn what_was_cut_within_a_medium_ends_there() {
        let own = text(&[1, 2, 9, 9, 3], &[(2, 4, 7)]);
        assert_eq!(own.clone().cut(3), text(&[1, 2, 9], &[(2, 3, 7)]));
        assert_eq!(own.clone().cut(2), text(&[1, 2], &[]));
        assert_eq!(own.clone().cut(5), own);
    }

    /// Ten ids that stand, of which eight are the prompt.
    fn kept(seq: u32) -> Kept {
        Kept {
            seq: SeqId(seq),
            request: None,
            text: text(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[]),
            reached: 11,
            state: Some(SequenceState::new(8, Vec::new())),
        }
    }

    /// Where a prompt of the first `common` of those ids, and two others, begins.
    fn check(common: usize, want: Option<(u32, bool)>) {
        let ids = [&kept(0).text.ids[..common], &[90, 91]].concat();
        assert_eq!(kept(0).start(&text(&ids, &[]), 2), want, "{common}");
    }

    #[test]
    fn a_prompt_goes_on_from_where_it_differs_as_far_as_can_be_taken_back() {
        check(10, Some((10, false)));
        check(9, Some((9, false)));
        check(8, Some((8, true)));
        check(7, Some((7, true)));
        check(6, Some((6, true)));
        check(5, None);
        check(0, None);
        // The last id of a prompt is run whatever there is.
        let again = text(&kept(0).text.ids[..8], &[]);
        assert_eq!(kept(0).start(&again, 2), Some((7, true)));
    }

    #[test]
    fn a_place_with_the_prompt_comes_before_an_empty_one_and_that_before_a_kept_one() {
        let mut places = Places::new(3, 2);
        let [a, b] = [places.take(&text(&[1], &[])), places.take(&text(&[1], &[]))];
        assert_eq!((a.seq, b.seq), (SeqId(0), SeqId(1)));
        places.keep(kept(0));
        places.keep(Kept {
            text: text(&[50, 51, 52], &[]),
            state: None,
            reached: 3,
            ..kept(1)
        });
        assert_eq!(places.len(), 3);
        let start = places.take(&text(&[50, 51, 52, 53], &[]));
        assert_eq!((start.seq, start.cached, start.reached), (SeqId(1), 3, 3));
        let start = places.take(&text(&[70], &[]));
        assert_eq!((start.seq, start.cached), (SeqId(2), 0));
        let start = places.take(&text(&[1, 2, 3, 4, 5, 6, 7, 70], &[]));
        assert_eq!((start.seq, start.cached, start.reached), (SeqId(0), 7, 8));
        assert!(start.restores && start.state.is_some());
        // Once it has been put back, it is of another prompt than this one.
        assert!(start.begun().state.is_none());
        places.keep(kept(0));
        let start = places.take(&text(&[1, 2, 3, 4, 5, 6, 7, 8, 70], &[]));
        assert!(start.restores && start.begun().state.is_some());
        places.keep(kept(0));
        let start = places.take(&text(&[80, 81], &[]));
        assert_eq!((start.seq, start.cached), (SeqId(0), 0));
        assert!(!places.keeps_any() && start.state.is_none());
    }
}
