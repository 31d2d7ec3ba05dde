//! Audio as samples of one channel, in the worker.

use std::io::Write;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::format::sample::{Sample, Type};
use ffmpeg_next::software::resampling::Context as Converter;
use ffmpeg_next::{ChannelLayout, Packet, decoder, frame, media};

use crate::limits::SILENCE_SAMPLES;

use super::super::error::VideoError;
use super::av::{codec, fault, seconds, video};
use super::failure;
use super::wire::Reply;

/// Sends the audio of a file: its rate, blocks, the end. It begins with the video, if there is one:
/// with silence, or without what was before.
pub(super) fn send(input: &mut Input, replies: &mut impl Write) -> Result<(), VideoError> {
    let origin = origin(input)?;
    let stream = input
        .streams()
        .best(media::Type::Audio)
        .ok_or_else(|| failure("no audio"))?;
    let (index, base) = (stream.index(), stream.time_base());
    let mut decoder = codec(&stream)?.decoder().audio().map_err(fault)?;
    let mut sender = Sender {
        replies,
        rate: 0,
        cut: None,
    };
    let begins = |frame: &frame::Audio| {
        let time = frame.timestamp().map(|time| seconds(time, base));
        origin.zip(time).map_or(0.0, |(origin, time)| time - origin)
    };
    loop {
        let mut packet = Packet::empty();
        match packet.read(input) {
            Ok(()) if packet.stream() == index => {
                // What is broken is left out, as players do.
                decoder.send_packet(&packet).ok();
            }
            Ok(()) | Err(ffmpeg_next::Error::InvalidData) => continue,
            Err(ffmpeg_next::Error::Eof) => break,
            Err(error) => return Err(fault(error)),
        }
        sender.drain(&mut decoder, begins)?;
    }
    decoder.send_eof().map_err(fault)?;
    sender.drain(&mut decoder, begins)?;
    if sender.rate == 0 {
        return Err(failure("no samples"));
    }
    Reply::End.write(replies)?;
    Ok(())
}

/// When the first frame of the video is seen; nothing, if there is no video.
fn origin(input: &mut Input) -> Result<Option<f64>, VideoError> {
    let Some(stream) = video(input) else {
        return Ok(None);
    };
    let (index, base) = (stream.index(), stream.time_base());
    let times = input
        .packets()
        .filter(|(stream, _)| stream.index() == index);
    let times = times.filter_map(|(_, packet)| packet.pts().or(packet.dts()));
    let origin = times.min().map(|time| seconds(time, base));
    input.seek(0, ..).map_err(fault)?;
    Ok(origin)
}

struct Sender<'a, W> {
    replies: &'a mut W,
    /// Samples a second; zero before the first of them.
    rate: u32,
    /// Samples that come before the video and are not sent.
    cut: Option<usize>,
}

impl<W: Write> Sender<'_, W> {
    fn drain(
        &mut self,
        decoder: &mut decoder::Audio,
        begins: impl Fn(&frame::Audio) -> f64,
    ) -> Result<(), VideoError> {
        let mut frame = frame::Audio::empty();
        while decoder.receive_frame(&mut frame).is_ok() {
            if self.cut.is_none() {
                self.begin(frame.rate(), begins(&frame))?;
            }
            if frame.rate() != self.rate {
                return Err(failure("audio whose rate changes"));
            }
            let mut samples = mono(&mut frame)?;
            let cut = self.cut.get_or_insert(0);
            let gone = samples.len().min(*cut);
            *cut = cut.saturating_sub(gone);
            samples.drain(..gone);
            if !samples.is_empty() {
                Reply::Audio(samples).write(self.replies)?;
            }
        }
        Ok(())
    }

    /// Says the rate, and makes the audio begin with the video.
    #[expect(
        clippy::as_conversions,
        reason = "an offset of absurd length is cut to what fits"
    )]
    fn begin(&mut self, rate: u32, begins: f64) -> Result<(), VideoError> {
        self.rate = rate;
        Reply::Rate(rate).write(self.replies)?;
        let samples = (begins * f64::from(rate)).round();
        self.cut = Some((-samples) as usize);
        let mut silence = samples as usize;
        while silence > 0 {
            let count = silence.min(SILENCE_SAMPLES);
            Reply::Audio(vec![0.0; count]).write(self.replies)?;
            silence = silence.saturating_sub(count);
        }
        Ok(())
    }
}

/// The mean of the channels.
#[expect(clippy::as_conversions, reason = "few channels")]
fn mono(frame: &mut frame::Audio) -> Result<Vec<f32>, VideoError> {
    let channels = frame.channels();
    if frame.channel_layout().is_empty() {
        frame.set_channel_layout(ChannelLayout::default(channels.into()));
    }
    let (layout, rate) = (frame.channel_layout(), frame.rate());
    let floats = Sample::F32(Type::Packed);
    let mut converter =
        Converter::get(frame.format(), layout, rate, floats, layout, rate).map_err(fault)?;
    let mut converted = frame::Audio::empty();
    converter.run(frame, &mut converted).map_err(fault)?;
    let channels = usize::from(channels).max(1);
    let samples = converted.samples().saturating_mul(channels);
    let (floats, _) = converted.data(0).as_chunks::<4>();
    let floats = floats
        .get(..samples)
        .ok_or_else(|| failure("samples are missing"))?;
    let blocks = floats.chunks_exact(channels);
    Ok(blocks
        .map(|block| {
            let sum: f32 = block.iter().copied().map(f32::from_ne_bytes).sum();
            sum / channels as f32
        })
        .collect())
}
