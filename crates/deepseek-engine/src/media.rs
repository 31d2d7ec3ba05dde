//! The media of one request on their way through the decoder.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use deepseek_model::{Decoder, Insert, MediaId, Result, TokenId};

use crate::bell::Bell;
use crate::feed::Feed;
use crate::request::Placed;
use crate::source::{Source, TapeError};

/// What of a prompt is no text.
#[derive(Debug)]
pub(crate) struct Media {
    sources: Vec<Source>,
    /// One behind the other, each with its medium.
    placed: Vec<(Placed, usize)>,
    /// By their first rows.
    seen: Vec<Seen>,
    feed: Option<Feed>,
    /// Those of `seen` that the feed brings, in order.
    fed: Vec<usize>,
    /// How many of these have been taken from it.
    taken: usize,
}

/// A medium of the prompt.
#[derive(Debug)]
struct Seen {
    source: usize,
    number: usize,
    /// From its first row to behind its last.
    places: Range<usize>,
    /// Its number in the decoder, from the step that reads its first row to the one that reads its last.
    id: Option<MediaId>,
}

impl Media {
    /// The media of a prompt. Where there are tapes, a thread begins to read, which rings `bell`.
    pub(crate) fn new(all: Vec<Placed>, sources: Vec<Source>, bell: &Arc<Bell>) -> Self {
        let mut seen: Vec<Seen> = Vec::new();
        let mut known = HashMap::new();
        let mut placed = Vec::with_capacity(all.len());
        for place in all {
            let index = *known
                .entry((place.source, place.number))
                .or_insert(seen.len());
            match seen.get_mut(index) {
                Some(seen) => seen.places.end = place.places().end,
                None => seen.push(Seen {
                    source: place.source,
                    number: place.number,
                    places: place.places(),
                    id: None,
                }),
            }
            placed.push((place, index));
        }
        let (mut fed, mut order) = (Vec::new(), Vec::new());
        for (index, seen) in seen.iter().enumerate() {
            if let Source::Tape(tape) = &sources[seen.source] {
                fed.push(index);
                order.push(Arc::clone(tape));
            }
        }
        Self {
            feed: (!order.is_empty()).then(|| Feed::start(order, Arc::clone(bell))),
            sources,
            placed,
            seen,
            fed,
            taken: 0,
        }
    }

    /// Ids of the prompt that are rows of pictures and frames, and those that are rows of sounds.
    pub(crate) fn tokens(&self) -> [u32; 2] {
        let mut counts = [0; 2];
        for (placed, _) in &self.placed {
            let is_sound = self.sources[placed.source].is_sound(placed.number);
            counts[usize::from(is_sound)] += placed.rows.len() as u32;
        }
        counts
    }

    /// The ids of a prompt that are text: what repeats in a medium is no repetition.
    pub(crate) fn words(&self, prompt: &[TokenId]) -> Vec<TokenId> {
        let mut words = Vec::with_capacity(prompt.len());
        let mut read = 0;
        for (placed, _) in &self.placed {
            let places = placed.places();
            words.extend_from_slice(&prompt[read..places.start]);
            read = places.end;
        }
        words.extend_from_slice(&prompt[read..]);
        words
    }

    /// The place of the first row that is not at hand yet; nothing where all are.
    pub(crate) fn reach(&mut self) -> std::result::Result<Option<usize>, TapeError> {
        let Some(feed) = self.feed.as_mut().filter(|_| self.taken < self.fed.len()) else {
            return Ok(None);
        };
        let missing = self.taken + usize::from(feed.poll()?);
        let missing = self.fed.get(missing).map(|index| &self.seen[*index]);
        Ok(missing.map(|seen| seen.places.start))
    }

    /// Has the decoder take in what stands in `places`, all of which is at hand.
    pub(crate) fn attach(
        &mut self,
        decoder: &mut dyn Decoder,
        places: &Range<usize>,
    ) -> Result<()> {
        for seen in &mut self.seen {
            let reached = seen.places.start < places.end && seen.places.end > places.start;
            if !reached || seen.id.is_some() {
                continue;
            }
            seen.id = Some(match (&self.sources[seen.source], &mut self.feed) {
                (Source::Ready(media), _) => decoder.attach(&media[seen.number])?,
                (Source::Tape(_), Some(feed)) => {
                    self.taken += 1;
                    decoder.attach(&feed.take())?
                }
                (Source::Tape(_), None) => unreachable!("a feed reads the tapes"),
            });
        }
        Ok(())
    }

    /// Lets go of what ends at or before place `read`.
    pub(crate) fn release(&mut self, decoder: &mut dyn Decoder, read: usize) {
        for seen in &mut self.seen {
            if seen.places.end <= read
                && let Some(id) = seen.id.take()
            {
                decoder.release(id);
            }
        }
    }

    /// Which of the ids in `places` are rows of media.
    pub(crate) fn inserts(&self, places: &Range<usize>) -> Vec<Insert> {
        let insert = |(placed, seen): &(Placed, usize)| {
            let own = placed.places();
            let (first, last) = (own.start.max(places.start), own.end.min(places.end));
            Some(Insert {
                media: self.seen[*seen].id.filter(|_| first < last)?,
                tokens: first - places.start..last - places.start,
                from: placed.rows.start + first - own.start,
            })
        };
        self.placed.iter().filter_map(insert).collect()
    }
}
