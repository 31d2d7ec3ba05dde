//! What both halves of the worker ask of FFmpeg.

use ffmpeg_next::codec::context::Context as Codec;
use ffmpeg_next::codec::threading;
use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::stream::Disposition;
use ffmpeg_next::{Rational, Stream, media};

use crate::limits::WORKER_THREADS;

use super::super::error::VideoError;
use super::failure;

/// What FFmpeg says is wrong.
pub(super) fn fault(error: ffmpeg_next::Error) -> VideoError {
    failure(error.to_string())
}

/// The decoder's settings for a stream.
pub(super) fn codec(stream: &Stream<'_>) -> Result<Codec, VideoError> {
    let mut codec = Codec::from_parameters(stream.parameters()).map_err(fault)?;
    codec.set_threading(threading::Config {
        kind: threading::Type::Frame,
        count: WORKER_THREADS,
        ..threading::Config::default()
    });
    Ok(codec)
}

/// The stream of the video, if there is one: the cover of a record is none.
pub(super) fn video(input: &Input) -> Option<Stream<'_>> {
    let stream = input.streams().best(media::Type::Video)?;
    let is_cover = stream.disposition().contains(Disposition::ATTACHED_PIC);
    (!is_cover).then_some(stream)
}

/// Seconds of a time in a stream's units.
#[expect(clippy::as_conversions, reason = "times are far below 2^53")]
pub(super) fn seconds(time: i64, base: Rational) -> f64 {
    time as f64 * f64::from(base.numerator()) / f64::from(base.denominator())
}
