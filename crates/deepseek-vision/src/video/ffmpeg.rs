//! Videos that FFmpeg decodes, in a process of its own (`docs/models/audio-video.md` §6.1).
//!
//! Its decoders are the largest hostile surface of all. So they run in a child under limits of the
//! operating system, which opens the one file that it is told and hands back frames and audio over a
//! pipe; whatever becomes of it, the parent has an error. [`Workers`] is the parent's end, [`serve()`]
//! the child's.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::panic
)]

mod av;
mod image;
mod samples;
mod serve;
mod wire;

use std::fmt;
use std::io::{self, BufReader, BufWriter};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use crate::image::Image;
use crate::limits::{AUDIO_RATE_MAX, VIDEO_FRAMES_MAX, VIDEO_SECONDS_MAX};

use super::reader::{self, FrameReader, OpenTrack, Parts, Source, Timeline};
use super::track::Track;
use super::{Video, VideoError};

pub use self::serve::serve;
use self::wire::{Ask, Reply, Task};

/// What FFmpeg reads is not one format.
const FORMAT: &str = "FFmpeg";

/// How decoding processes are started.
#[derive(Clone)]
pub struct Workers {
    start: Arc<dyn Fn() -> Command + Send + Sync>,
}

impl Workers {
    /// `start` gives a command that calls [`serve()`] on its standard input and output, such as this
    /// program with a word that makes it do so.
    #[must_use]
    pub fn new(start: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        let start = Arc::new(start);
        Self { start }
    }

    /// Opens any video: as [`Video::open`] does, and by a worker what that does not read.
    ///
    /// # Errors
    /// [`VideoError`], which [`VideoError::Worker`] is for what FFmpeg does not read, either.
    pub fn open(&self, at: &Path) -> Result<Video, VideoError> {
        self.video(Source::File(at.to_owned()))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Workers::open`].
    pub fn from_bytes(&self, bytes: impl Into<Arc<[u8]>>) -> Result<Video, VideoError> {
        self.video(Source::Bytes(bytes.into()))
    }

    /// The audio of a file, of whatever kind, with or without a video: such as Opus.
    ///
    /// # Errors
    /// [`VideoError`] for what has no audio, or none that can be decoded.
    pub fn audio(&self, at: &Path) -> Result<Track, VideoError> {
        self.track(&Source::File(at.to_owned()))
    }

    /// The same for a file in memory.
    ///
    /// # Errors
    /// As [`Workers::audio`].
    pub fn audio_from_bytes(&self, bytes: impl Into<Arc<[u8]>>) -> Result<Track, VideoError> {
        self.track(&Source::Bytes(bytes.into()))
    }

    fn video(&self, source: Source) -> Result<Video, VideoError> {
        match reader::open(&source) {
            Err(error) if error.may_be_read_by_ffmpeg() => {}
            Ok(mut parts) if matches!(parts.track, Some(Err(_))) => {
                // Of the audio FFmpeg may know more.
                let workers = self.clone();
                parts.track = Some(Ok(Box::new(move || workers.track(&source))));
                return Ok(Video::of(parts));
            }
            known => return Ok(Video::of(known?)),
        }
        let mut worker = Worker::spawn(&self.start, Task::Frames, &source)?;
        let Reply::Timeline {
            has_audio,
            duration,
            times,
        } = worker.hear()?
        else {
            return Err(failure("the worker spoke out of turn"));
        };
        let timeline = timeline(times, duration)?;
        let times = timeline.times.clone();
        let workers = self.clone();
        let track = move || workers.track(&source);
        let mut parts = Parts::new(timeline, Frames { worker, times });
        parts.track = has_audio.then(|| -> Result<OpenTrack, String> { Ok(Box::new(track)) });
        Ok(Video::of(parts))
    }

    fn track(&self, source: &Source) -> Result<Track, VideoError> {
        let mut worker = Worker::spawn(&self.start, Task::Audio, source)?;
        match worker.hear()? {
            Reply::Rate(rate) if (1..=AUDIO_RATE_MAX).contains(&rate) => Ok(Track::new(
                rate,
                Blocks {
                    worker: Some(worker),
                },
            )),
            Reply::Rate(rate) => Err(failure(format!("audio of {rate} samples a second"))),
            _ => Err(failure("the worker spoke out of turn")),
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").finish_non_exhaustive()
    }
}

/// What a worker says of a video, checked: it may have been taken over by the file.
fn timeline(times: Vec<f64>, duration: f64) -> Result<Timeline, VideoError> {
    let is_ordered = times.first() == Some(&0.0) && times.is_sorted();
    if !is_ordered || times.last().is_none_or(|last| *last > duration) {
        return Err(VideoError::NoFrames { format: FORMAT });
    }
    if times.len() > VIDEO_FRAMES_MAX {
        let max = VIDEO_FRAMES_MAX;
        return Err(VideoError::Frames { max });
    }
    if !(0.0..=VIDEO_SECONDS_MAX).contains(&duration) {
        let (seconds, max) = (duration, VIDEO_SECONDS_MAX);
        return Err(VideoError::Length { seconds, max });
    }
    Ok(Timeline { times, duration })
}

fn failure(why: impl Into<String>) -> VideoError {
    VideoError::Worker { why: why.into() }
}

/// A process that decodes one video. It ends with this value.
struct Worker {
    child: Child,
    asks: BufWriter<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Worker {
    fn spawn(
        start: &Arc<dyn Fn() -> Command + Send + Sync>,
        task: Task,
        source: &Source,
    ) -> Result<Self, VideoError> {
        let mut child = start()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let Some((asks, replies)) = pipes else {
            return Err(failure("no pipes"));
        };
        let mut worker = Self {
            child,
            asks: BufWriter::new(asks),
            replies: BufReader::new(replies),
        };
        worker.ask(&Ask::open(task, source)?)?;
        Ok(worker)
    }

    /// A worker that is gone does not listen; why it is gone, its reply says.
    fn ask(&mut self, ask: &Ask) -> Result<(), VideoError> {
        match ask.write(&mut self.asks) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn hear(&mut self) -> Result<Reply, VideoError> {
        match Reply::read(&mut self.replies)? {
            Some(Reply::Failure(why)) => Err(failure(why)),
            Some(reply) => Ok(reply),
            None => {
                let status = self.child.wait()?;
                Err(failure(format!("the worker ended: {status}")))
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be over already, and then there is nothing to end.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Frames of a worker, which is asked for one after the other.
struct Frames {
    worker: Worker,
    times: Vec<f64>,
}

impl FrameReader for Frames {
    fn frame(&mut self, index: usize) -> Result<Image, VideoError> {
        let time = self.times.get(index).copied().unwrap_or(f64::MAX);
        self.worker.ask(&Ask::Frame(time))?;
        match self.worker.hear()? {
            Reply::Frame(image) => Ok(image),
            _ => Err(failure("the worker spoke out of turn")),
        }
    }
}

/// Audio of a worker, until it has ended.
struct Blocks {
    worker: Option<Worker>,
}

impl Iterator for Blocks {
    type Item = io::Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = match self.worker.as_mut()?.hear() {
            Ok(Reply::Audio(block)) => return Some(Ok(block)),
            Ok(Reply::End) => None,
            Ok(_) => Some(Err(failure("the worker spoke out of turn"))),
            Err(error) => Some(Err(error)),
        };
        self.worker = None;
        block.map(|block| block.map_err(io::Error::other))
    }
}
