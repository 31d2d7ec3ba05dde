//! Images and audio for decoders that have no encoders, and sources that give them.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;

use deepseek_audio::{Audio, AudioConfig, Chunks, Level, Pool};
use deepseek_engine::{MediaError, MediaKey, MediaShape, MediaSource, MediaStream};
use deepseek_model::Media;
use deepseek_vision::{Canvas, Image, VisionConfig};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;

/// How the toys of these tests look at images: no more than a few tokens each.
pub(crate) const VISION: VisionConfig = VisionConfig {
    layers: 1,
    hidden: 4,
    heads: 1,
    inner: 4,
    patch: 1,
    rope_theta: 1e4,
    downsample: 1,
    max_tokens: 12,
    min_pixels: 1,
    max_wh_ratio: None,
    out: 4,
};

/// How they listen: 25 tokens to a chunk of a second.
pub(crate) const AUDIO: AudioConfig = AudioConfig {
    layers: 1,
    hidden: 4,
    heads: 1,
    inner: 4,
    mels: 8,
    positions: 50,
    chunk_seconds: 1,
    pad_to_chunk: false,
    keep_padding_tokens: false,
    level: Level::Fixed(1.5),
    pool: Pool::Avg2,
    projector_bias: false,
    out: 4,
};

/// The chunks of some audio of so many samples.
pub(crate) fn audio(rng: &mut ChaCha8Rng, samples: usize) -> Vec<Media> {
    let wave: Vec<f32> = (0..samples)
        .map(|_| rng.next_u32() as f32 / u32::MAX as f32 - 0.5)
        .collect();
    let open = move || {
        let blocks: Vec<Vec<f32>> = wave.chunks(1000).map(<[f32]>::to_vec).collect();
        Ok(Audio::from_blocks(16_000, blocks.into_iter()))
    };
    let chunks = Chunks::new(&AUDIO, open).unwrap();
    chunks.map(|chunk| Media::Audio(chunk.unwrap())).collect()
}

/// Some image of a few pixels.
pub(crate) fn image(rng: &mut ChaCha8Rng) -> Media {
    let mut side = || 1 + rng.next_u32() as usize % 3;
    let (width, height) = (side(), side());
    let pixels = (0..width * height * 3)
        .map(|_| rng.next_u32() as u8)
        .collect();
    let image = Image::from_rgb(width, height, pixels);
    Media::Image(Canvas::new(&image, &VISION))
}

/// Media for a prompt, and when they are there.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) media: Vec<Arc<Media>>,
    shapes: Vec<MediaShape>,
    keys: Vec<MediaKey>,
    pace: Pace,
}

/// Keys that were given.
static KEYS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All at once.
    AtHand,
    /// Each when it is asked for a second time.
    Asked,
    /// When another thread has made them.
    Threaded,
}

/// A key of this number.
fn key(number: u64) -> MediaKey {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    MediaKey(key)
}

impl Source {
    pub(crate) fn new(media: Vec<Media>, pace: Pace) -> Self {
        Self {
            shapes: media.iter().map(MediaShape::from).collect(),
            keys: media
                .iter()
                .map(|_| key(KEYS.fetch_add(1, Ordering::Relaxed)))
                .collect(),
            media: media.into_iter().map(Arc::new).collect(),
            pace,
        }
    }
}

impl MediaSource for Source {
    fn shapes(&self) -> &[MediaShape] {
        &self.shapes
    }

    fn key(&self, number: usize) -> Option<MediaKey> {
        self.keys.get(number).copied()
    }

    fn open(&self, first: usize) -> MediaStream {
        let media = self.media[first..].to_vec();
        match self.pace {
            Pace::AtHand => Box::pin(AtHand(media.into_iter())),
            Pace::Asked => Box::pin(Asked {
                media: AtHand(media.into_iter()),
                before: false,
            }),
            Pace::Threaded => Box::pin(Threaded::new(media)),
        }
    }
}

struct AtHand(std::vec::IntoIter<Arc<Media>>);

impl futures_core::Stream for AtHand {
    type Item = Result<Arc<Media>, MediaError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

struct Asked {
    media: AtHand,
    before: bool,
}

impl futures_core::Stream for Asked {
    type Item = Result<Arc<Media>, MediaError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.before = !self.before;
        if self.before {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.media).poll_next(context)
    }
}

struct Threaded {
    arrived: Receiver<Arc<Media>>,
    reader: Arc<Mutex<Waker>>,
}

impl Threaded {
    fn new(media: Vec<Arc<Media>>) -> Self {
        let (sender, arrived) = sync_channel(1);
        let reader = Arc::new(Mutex::new(Waker::noop().clone()));
        let wakes = Arc::clone(&reader);
        thread::spawn(move || {
            for media in media {
                // Nobody listens once the request is over.
                if sender.send(media).is_err() {
                    return;
                }
                let reader = wakes.lock().unwrap().clone();
                reader.wake();
            }
        });
        Self { arrived, reader }
    }
}

impl futures_core::Stream for Threaded {
    type Item = Result<Arc<Media>, MediaError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        *self.reader.lock().unwrap() = context.waker().clone();
        match self.arrived.try_recv() {
            Ok(media) => Poll::Ready(Some(Ok(media))),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }
}
