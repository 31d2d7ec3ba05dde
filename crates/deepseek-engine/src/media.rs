//! The media of one request on their way through the decoder.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll};

use deepseek_model::{Decoder, Insert, Media, MediaId, Result, TokenId};

use crate::events::Fault;
use crate::media_source::{
    BrokenSource, MediaError, MediaKind, MediaShape, MediaSource, MediaStream,
};
use crate::request::MediaSpan;

/// What of a prompt is no text.
pub(crate) struct PromptMedia {
    /// One behind the other.
    spans: Vec<MediaSpan>,
    /// By number.
    media: Vec<Medium>,
    stream: Option<MediaStream>,
    /// Those behind `attached` that are at hand.
    ready: VecDeque<Arc<Media>>,
    /// How many have been attached.
    attached: usize,
}

/// A medium of the prompt.
#[derive(Debug)]
struct Medium {
    shape: MediaShape,
    /// From its first row to behind its last.
    places: Range<usize>,
    /// Its number in the decoder, from the step that reads its first row to the one that reads its
    /// last.
    id: Option<MediaId>,
}

/// How much of the media of all prompts may be encoded before the next step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderShare {
    rows: usize,
    untouched: bool,
}

impl EncoderShare {
    /// So many rows, and one medium whatever its size.
    pub(crate) fn new(rows: usize) -> Self {
        Self {
            rows,
            untouched: true,
        }
    }

    /// Takes `rows` of it, if there are as many left.
    fn take(&mut self, rows: usize) -> bool {
        let fits = self.untouched || rows <= self.rows;
        if fits {
            self.untouched = false;
            self.rows = self.rows.saturating_sub(rows);
        }
        fits
    }
}

impl PromptMedia {
    /// The media of a prompt, which have been checked. Whoever gives them begins, with the first that
    /// is not wholly before place `start`.
    pub(crate) fn new(
        spans: Vec<MediaSpan>,
        source: Option<&dyn MediaSource>,
        start: usize,
    ) -> Self {
        let mut media: Vec<Medium> = Vec::new();
        let shapes = source.map_or(&[][..], MediaSource::shapes);
        for span in &spans {
            match media.get_mut(span.media) {
                Some(known) => known.places.end = span.places().end,
                None => media.push(Medium {
                    shape: shapes[span.media],
                    places: span.places(),
                    id: None,
                }),
            }
        }
        let read = media.iter().take_while(|medium| medium.places.end <= start);
        let attached = read.count();
        let source = source.filter(|_| attached < media.len());
        Self {
            stream: source.map(|source| source.open(attached)),
            spans,
            media,
            ready: VecDeque::new(),
            attached,
        }
    }

    /// Ids of the prompt that are rows of images and frames, and those that are rows of audio.
    pub(crate) fn tokens(&self) -> [u32; 2] {
        let mut counts = [0; 2];
        for span in &self.spans {
            let kind = self.media[span.media].shape.kind;
            counts[usize::from(kind == MediaKind::Audio)] += span.rows.len() as u32;
        }
        counts
    }

    /// The ids of a prompt that are text: what repeats in a medium is no repetition.
    pub(crate) fn words(&self, prompt: &[TokenId]) -> Vec<TokenId> {
        let mut words = Vec::with_capacity(prompt.len());
        let mut read = 0;
        for span in &self.spans {
            let places = span.places();
            words.extend_from_slice(&prompt[read..places.start]);
            read = places.end;
        }
        words.extend_from_slice(&prompt[read..]);
        words
    }

    /// The place of the first row that cannot be run in the next step, because its medium is not at
    /// hand or not in the `share`; nothing where all can. A step ends at place `end` or before.
    pub(crate) fn reach(
        &mut self,
        context: &mut Context<'_>,
        end: usize,
        share: &mut EncoderShare,
    ) -> std::result::Result<Option<usize>, Fault> {
        self.fetch(context, end)?;
        let ready = self.ready.iter();
        let now = ready.take_while(|media| share.take(media.tokens())).count();
        let missing = self.media.get(self.attached + now);
        Ok(missing.map(|medium| medium.places.start))
    }

    /// Takes the media that begin before place `end` from the stream, as far as it has them.
    fn fetch(&mut self, context: &mut Context<'_>, end: usize) -> std::result::Result<(), Fault> {
        while let Some(medium) = self.media.get(self.attached + self.ready.len())
            && medium.places.start < end
            && let Some(stream) = &mut self.stream
        {
            let want = medium.shape;
            let given = match stream.as_mut().poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(Some(given)) => given.and_then(|given| kept(given, want)),
                Poll::Ready(None) => Err(Arc::new(BrokenSource::Ended) as MediaError),
            };
            let kind = want.kind;
            let given = given.map_err(|source| Fault::Media { kind, source })?;
            self.ready.push_back(given);
        }
        Ok(())
    }

    /// Has the decoder take in what stands in `places`, all of which is at hand.
    pub(crate) fn attach(
        &mut self,
        decoder: &mut dyn Decoder,
        places: &Range<usize>,
    ) -> Result<()> {
        while let Some(medium) = self.media.get_mut(self.attached)
            && medium.places.start < places.end
        {
            let media = self.ready.pop_front().expect("a medium that is at hand");
            self.attached += 1;
            medium.id = Some(decoder.attach(&media)?);
        }
        Ok(())
    }

    /// Lets go of what ends at or before place `read`.
    pub(crate) fn release(&mut self, decoder: &mut dyn Decoder, read: usize) {
        for medium in &mut self.media {
            if medium.places.end <= read
                && let Some(id) = medium.id.take()
            {
                decoder.release(id);
            }
        }
    }

    /// Which of the ids in `places` are rows of media.
    pub(crate) fn inserts(&self, places: &Range<usize>) -> Vec<Insert> {
        let insert = |span: &MediaSpan| {
            let own = span.places();
            let (first, last) = (own.start.max(places.start), own.end.min(places.end));
            Some(Insert {
                media: self.media[span.media].id.filter(|_| first < last)?,
                tokens: first - places.start..last - places.start,
                from: span.rows.start + first - own.start,
            })
        };
        self.spans.iter().filter_map(insert).collect()
    }
}

/// A medium, if it is what was announced.
fn kept(given: Arc<Media>, want: MediaShape) -> std::result::Result<Arc<Media>, MediaError> {
    let MediaShape { kind, rows } = MediaShape::from(&*given);
    if (kind, rows) == (want.kind, want.rows) {
        return Ok(given);
    }
    Err(Arc::new(BrokenSource::Other { kind, rows, want }))
}

impl fmt::Debug for PromptMedia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spans,
            media,
            attached,
            ..
        } = self;
        f.debug_struct("PromptMedia")
            .field("spans", spans)
            .field("media", media)
            .field("attached", attached)
            .finish_non_exhaustive()
    }
}
