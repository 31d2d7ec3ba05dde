//! A prompt with its media in their places, as the engine takes it.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use deepseek_engine::{
    MediaError, MediaKey, MediaKind, MediaShape, MediaSource, MediaSpan, MediaStream,
};
use deepseek_model::{Media, Placeholders, TokenId};
use deepseek_text::{Encoded, Tokenizer};
use futures_core::Stream;

use crate::audio_source::{AudioSource, AudioSourceError, ChunkReader};
use crate::media_item::{MediaItem, MediaRows, Segment};
use crate::media_key;
use crate::prefetch::Prefetcher;

/// A prompt with its media in their places.
#[derive(Debug, Default)]
pub struct Prompt {
    /// As in [`Request::prompt`](deepseek_engine::Request::prompt).
    pub ids: Vec<TokenId>,
    /// As in [`Request::spans`](deepseek_engine::Request::spans).
    pub spans: Vec<MediaSpan>,
    /// What the spans name.
    pub media: PromptMedia,
}

/// The media of a prompt: at hand, or, where they are audio, read by a thread of their own a little
/// ahead of the engine.
#[derive(Debug, Default)]
pub struct PromptMedia {
    shapes: Vec<MediaShape>,
    keys: Vec<Option<MediaKey>>,
    entries: Vec<Entry>,
}

/// One medium. A clone is a handle.
#[derive(Debug, Clone)]
enum Entry {
    Ready(Arc<Media>),
    /// The chunk of it of this number.
    Chunk(Arc<AudioSource>, usize),
}

impl Prompt {
    /// Puts the segments of each item where its one placeholder stands.
    pub(crate) fn unfold(
        tokenizer: &Tokenizer,
        encoded: &Encoded,
        items: &[MediaItem],
        placeholders: Placeholders,
    ) -> deepseek_text::Result<Self> {
        let mut prompt = Self::default();
        let mut read = 0;
        for place in &encoded.media {
            prompt.ids.extend_from_slice(&encoded.ids[read..place.at]);
            let stands = encoded.ids[place.at];
            prompt.push(tokenizer, &items[place.index], placeholders, stands)?;
            read = place.at + 1;
        }
        prompt.ids.extend_from_slice(&encoded.ids[read..]);
        Ok(prompt)
    }

    /// Adds an item. `stands` is the id for its rows where the model does not say.
    ///
    /// # Errors
    /// A label that the tokenizer does not take.
    pub fn push(
        &mut self,
        tokenizer: &Tokenizer,
        item: &MediaItem,
        placeholders: Placeholders,
        stands: TokenId,
    ) -> deepseek_text::Result<()> {
        let mut numbers = HashMap::new();
        for segment in item.segments() {
            match segment {
                Segment::Text(text) => self.ids.extend(tokenizer.encode(text)?),
                Segment::Rows {
                    source,
                    number,
                    rows,
                } => {
                    let media = *numbers
                        .entry((source, number))
                        .or_insert_with(|| self.media.push(&item.sources()[*source], *number));
                    let span = MediaSpan {
                        at: self.ids.len(),
                        media,
                        rows: rows.clone(),
                    };
                    let id = match self.media.shapes[media].kind {
                        MediaKind::Audio => placeholders.audio,
                        MediaKind::Image => placeholders.image,
                    };
                    self.ids.resize(span.places().end, id.unwrap_or(stands));
                    self.spans.push(span);
                }
            }
        }
        Ok(())
    }
}

impl PromptMedia {
    /// Adds a medium of a source, and says which number it has.
    fn push(&mut self, source: &MediaRows, number: usize) -> usize {
        let (shape, entry) = match source {
            MediaRows::Ready(media) => {
                let media = &media[number];
                (MediaShape::from(&**media), Entry::Ready(Arc::clone(media)))
            }
            MediaRows::Audio(audio) => {
                let shape = MediaShape {
                    kind: MediaKind::Audio,
                    rows: audio.chunk_rows(number).expect("a chunk of the audio"),
                };
                (shape, Entry::Chunk(Arc::clone(audio), number))
            }
        };
        // Here, and not when the engine asks, which has others waiting.
        self.keys.push(match &entry {
            Entry::Ready(media) => media_key::of(media),
            Entry::Chunk(audio, chunk) => Some(media_key::of_chunk(audio, *chunk)),
        });
        self.shapes.push(shape);
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// Shows all of them, in order, until one is refused. Waits for what is read.
    ///
    /// # Errors
    /// What `take` says, or audio that cannot be read any more.
    pub fn each<E: From<AudioSourceError>>(
        &self,
        mut take: impl FnMut(&Media) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut readers = HashMap::new();
        self.entries.iter().try_for_each(|entry| match entry {
            Entry::Ready(media) => take(media),
            Entry::Chunk(audio, number) => {
                let chunks = readers.entry(Arc::as_ptr(audio));
                let chunks = chunks.or_insert_with(|| ChunkReader::new(Arc::clone(audio)));
                take(&chunks.read(*number)?)
            }
        })
    }
}

impl MediaSource for PromptMedia {
    fn shapes(&self) -> &[MediaShape] {
        &self.shapes
    }

    fn key(&self, number: usize) -> Option<MediaKey> {
        self.keys.get(number).copied().flatten()
    }

    fn open(&self, first: usize) -> MediaStream {
        let wanted = &self.entries[first..];
        let audio = |entry: &Entry| match entry {
            Entry::Ready(_) => None,
            Entry::Chunk(audio, number) => Some((Arc::clone(audio), *number)),
        };
        let order: Vec<_> = wanted.iter().filter_map(audio).collect();
        let prefetcher = (!order.is_empty()).then(|| Prefetcher::start(order));
        Box::pin(PromptStream {
            entries: wanted.iter().cloned().collect(),
            prefetcher,
        })
    }
}

/// The media of a prompt on their way to the engine.
#[derive(Debug)]
struct PromptStream {
    entries: VecDeque<Entry>,
    prefetcher: Option<Prefetcher>,
}

impl Stream for PromptStream {
    type Item = Result<Arc<Media>, MediaError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let media = match (this.entries.front(), &mut this.prefetcher) {
            (None, _) => return Poll::Ready(None),
            (Some(Entry::Ready(media)), _) => Ok(Arc::clone(media)),
            (Some(Entry::Chunk(..)), Some(prefetcher)) => match ready!(prefetcher.poll(context)) {
                Ok(chunk) => Ok(Arc::new(chunk)),
                Err(error) => Err(Arc::new(error) as MediaError),
            },
            (Some(Entry::Chunk(..)), None) => unreachable!("audio is read by a prefetcher"),
        };
        this.entries.pop_front();
        Poll::Ready(Some(media))
    }
}
