//! What stands in a prompt for a picture, a sound or a film (`docs/models/audio-video.md` §5, §6.4,
//! §6.5).
//!
//! The crates of pictures and of sounds do not know each other; here the sound of a film is put in
//! step with its frames. Times are text and tokenised as such, each on its own.

use std::ops::Range;
use std::sync::Arc;

use deepseek_audio::chunks;
use deepseek_audio::shape::RATE;
use deepseek_model::Media;
use deepseek_vision::video::{AudioTokens, Clip, Part, VideoConfig, VideoError, deal};
use deepseek_vision::{Canvas, Note};

use crate::source::{Source, Tape};

/// A medium as a prompt has it. A clone is a handle.
#[derive(Debug, Clone)]
pub struct Medium {
    sources: Vec<Source>,
    pieces: Arc<[Piece]>,
    notes: Vec<Note>,
}

/// What follows next of a medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Words.
    Text(String),
    /// Rows of what one of the medium's sources has.
    Rows {
        /// Which source.
        source: usize,
        /// Which of its media.
        number: usize,
        /// Which rows of it.
        rows: Range<usize>,
    },
}

impl Medium {
    /// A picture: one block.
    #[must_use]
    pub fn picture(canvas: Canvas) -> Self {
        let source = Source::from(Media::Image(canvas));
        let pieces = [whole(&source, 0, 0)].into();
        Self {
            sources: vec![source],
            pieces,
            notes: Vec::new(),
        }
    }

    /// A sound: one block, or several, each behind its time.
    #[must_use]
    pub fn sound(tape: Tape) -> Self {
        let (count, seconds) = (tape.chunks(), tape.shape().chunk_seconds);
        let notes = tape.notes().to_vec();
        let source = Source::Tape(tape.into());
        let mut pieces = Vec::new();
        for number in 0..count {
            if count > 1 {
                pieces.push(Piece::Text(chunks::label(number * seconds)));
            }
            pieces.push(whole(&source, 0, number));
        }
        Self {
            sources: vec![source],
            pieces: pieces.into(),
            notes,
        }
    }

    /// A film: its frames, each behind its time, and the sound of each segment behind the segment's
    /// frames. `config` is the one that `clip` was made with.
    ///
    /// # Errors
    /// A frame that cannot be read.
    pub fn film(
        mut clip: Clip,
        config: &VideoConfig,
        tape: Option<Tape>,
    ) -> Result<Self, VideoError> {
        let (labels, duration) = (clip.labels().to_vec(), clip.video().duration());
        let shots = clip.by_ref().map(|shot| Ok(Media::Shot(shot?)));
        let shots: Vec<Media> = shots.collect::<Result<_, VideoError>>()?;
        let mut notes = clip.video().notes();
        notes.extend(tape.iter().flat_map(|tape| tape.notes().iter().cloned()));
        let frames = Source::Ready(shots.into());
        let parts = match &tape {
            None => (0..labels.len()).map(Part::Frame).collect(),
            Some(tape) => {
                let sound = AudioTokens {
                    tokens: tape.tokens(),
                    token_ms: tape.shape().pool.samples() as u64 * 1000 / u64::from(RATE),
                    segment_ms: (config.segment_seconds * 1000.0).round() as u64,
                };
                deal(&labels, duration, sound)
            }
        };
        let mut pieces = Vec::new();
        for part in parts {
            match (part, &tape) {
                (Part::Frame(number), _) => {
                    pieces.push(Piece::Text(labels[number].to_string()));
                    pieces.push(whole(&frames, 0, number));
                }
                (Part::Audio(tokens), Some(tape)) => block(tape, tokens, &mut pieces),
                (Part::Audio(_), None) => unreachable!("sound is dealt where there is a tape"),
            }
        }
        let tape = tape.map(|tape| Source::Tape(tape.into()));
        Ok(Self {
            sources: [frames].into_iter().chain(tape).collect(),
            pieces: pieces.into(),
            notes,
        })
    }

    /// The same medium, of which more is to be told.
    #[must_use]
    pub fn with_notes(mut self, notes: &[Note]) -> Self {
        self.notes.extend_from_slice(notes);
        self
    }

    /// Where its rows come from.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What there is to be told of it: the user should know, though it could be read.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// What stands in the prompt, one piece behind the other.
    #[must_use]
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// All rows of a medium.
fn whole(of: &Source, source: usize, number: usize) -> Piece {
    Piece::Rows {
        source,
        number,
        rows: 0..of.rows(number).expect("a medium of its source"),
    }
}

/// A block of sound with a start and an end: some tokens of the tape, of more than one chunk if need
/// be. A chunk has its start before its tokens and its end behind them; all starts are alike, and all
/// ends.
fn block(tape: &Tape, tokens: Range<usize>, pieces: &mut Vec<Piece>) {
    let each = tape.shape().chunk_tokens();
    let mut push = |number, rows| {
        pieces.push(Piece::Rows {
            source: 1,
            number,
            rows,
        });
    };
    let (first, last) = (tokens.start / each, (tokens.end - 1) / each);
    push(first, 0..1);
    for number in first..=last {
        let start = tokens.start.max(number * each) - number * each;
        let end = tokens.end.min((number + 1) * each) - number * each;
        push(number, 1 + start..1 + end);
    }
    let end = tape.chunk_tokens(last).expect("a chunk of the tape") + 1;
    push(last, end..end + 1);
}
