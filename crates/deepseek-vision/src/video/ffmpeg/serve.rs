//! The worker: decodes one file, and nothing else.

use std::io::{self, Read, Write};

use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::{Dictionary, format, log, media};
use rlimit::Resource;

use crate::limits::{VIDEO_FRAMES_MAX, WORKER_CPU_SECONDS, WORKER_FILES, WORKER_MEMORY_BYTES};

use super::super::error::VideoError;
use super::super::reader::Source;
use super::av::{fault, seconds, video};
use super::failure;
use super::image::Frames;
use super::samples;
use super::wire::{Ask, Reply, Task};

/// The demuxers that may open a file: those of videos and audio, and none that opens others.
const FORMATS: &str = "3g2,3gp,aac,ac3,aiff,amr,asf,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,\
    matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,wav,webm,wtv,w64";

/// Decodes for a parent that asks on `asks` and listens on `replies`: the whole of a worker's life.
/// The process gives up what it does not need, for good, before it looks at anything.
///
/// # Errors
/// If the limits cannot be set, or the parent does not make sense or has gone. What is wrong with the
/// file is told to the parent.
pub fn serve(asks: &mut impl Read, replies: &mut impl Write) -> io::Result<()> {
    give_up_rights()?;
    let Some(Ask::Open(task, source)) = Ask::read(asks).map_err(io::Error::other)? else {
        return Err(io::Error::other("nothing was asked"));
    };
    let done = match task {
        Task::Frames => frames(&source, asks, replies),
        Task::Audio => samples::send(&mut open(&source)?, replies),
    };
    match done {
        Err(VideoError::Io(error)) => Err(error),
        Err(error) => Reply::Failure(text(&error)).write(replies),
        Ok(()) => Ok(()),
    }
}

/// What the parent says of an error, its own words left out.
fn text(error: &VideoError) -> String {
    match error {
        VideoError::Worker { why } => why.clone(),
        other => other.to_string(),
    }
}

/// Bounds of the operating system, which cannot be raised again.
fn give_up_rights() -> io::Result<()> {
    let set = |resource: Resource, limit: u64| {
        // No more than there is leave for.
        let (_, hard) = resource.get()?;
        let limit = limit.min(hard);
        resource.set(limit, limit)
    };
    set(Resource::AS, WORKER_MEMORY_BYTES)?;
    set(Resource::CPU, WORKER_CPU_SECONDS)?;
    set(Resource::NOFILE, WORKER_FILES)?;
    set(Resource::FSIZE, 0)?;
    set(Resource::CORE, 0)
}

/// Opens a file by its content: no name, so that none means anything, and no other file.
pub(super) fn open(source: &Source) -> io::Result<Input> {
    let open = || -> Result<Input, VideoError> {
        ffmpeg_next::init().map_err(fault)?;
        log::set_level(log::Level::Quiet);
        let (stream, _) = source.open()?;
        let stream = StreamIo::from_read_seek(stream).map_err(fault)?;
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "none");
        options.set("format_whitelist", FORMATS);
        format::input_from_stream(stream, None, Some(options)).map_err(fault)
    };
    open().map_err(io::Error::other)
}

fn frames(
    source: &Source,
    asks: &mut impl Read,
    replies: &mut impl Write,
) -> Result<(), VideoError> {
    let timeline = timeline(&mut open(source).map_err(inner)?)?;
    let origin = timeline.origin;
    timeline.reply.write(replies)?;
    let mut frames = Frames::new(open(source).map_err(inner)?, origin)?;
    while let Some(ask) = Ask::read(asks)? {
        let Ask::Frame(time) = ask else {
            return Err(failure("a second file"));
        };
        Reply::Frame(frames.at(time)?).write(replies)?;
    }
    Ok(())
}

/// The error of [`open`], as it was.
pub(super) fn inner(error: io::Error) -> VideoError {
    match error.downcast::<VideoError>() {
        Ok(error) => error,
        Err(error) => error.into(),
    }
}

struct Times {
    reply: Reply,
    /// When the first frame is seen, in the file's own time.
    origin: f64,
}

/// When frames are seen: what their packets say, from the first that can be decoded on.
fn timeline(input: &mut Input) -> Result<Times, VideoError> {
    let has_audio = input.streams().best(media::Type::Audio).is_some();
    let stream = video(input).ok_or_else(|| failure("no video"))?;
    let (index, base) = (stream.index(), stream.time_base());
    let rate = stream.avg_frame_rate();
    let mut times = Vec::new();
    let mut end = f64::NEG_INFINITY;
    for (stream, packet) in input.packets() {
        let Some(time) = packet
            .pts()
            .or(packet.dts())
            .filter(|_| stream.index() == index)
        else {
            continue;
        };
        if times.len() == VIDEO_FRAMES_MAX {
            let max = VIDEO_FRAMES_MAX;
            return Err(VideoError::Frames { max });
        }
        let length = match packet.duration() {
            0 => f64::from(rate.denominator()) / f64::from(rate.numerator()),
            ticks => seconds(ticks, base),
        };
        let length = if length.is_finite() {
            length.max(0.0)
        } else {
            0.0
        };
        let time = seconds(time, base);
        end = end.max(time + length);
        times.push(time);
    }
    times.sort_by(f64::total_cmp);
    let origin = times.first().copied().ok_or_else(|| failure("no frames"))?;
    let reply = Reply::Timeline {
        has_audio,
        duration: end - origin,
        times: times.iter().map(|time| time - origin).collect(),
    };
    Ok(Times { reply, origin })
}
