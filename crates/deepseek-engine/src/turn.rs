//! A conversation in, typed pieces of the answer out.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use deepseek_model::{Placeholders, TokenId};
use deepseek_text::{Conversation, Detokenizer, Encoded, Flaw, Message, Reader, Stops, Tokenizer};

use crate::engine::Engine;
use crate::events::{Canceller, Event, Events, Fault, Reason, Usage};
use crate::limits::Limits;
use crate::medium::{Medium, Piece};
use crate::request::{Invalid, Placed, Refusal, Request};
use crate::sampler::Sampling;
use crate::source::Source;

/// How an answer is to be made.
#[derive(Debug, Clone, Default)]
pub struct TurnOptions {
    /// As in [`Request::max_tokens`].
    pub max_tokens: Option<u32>,
    /// As in [`Request::sampling`].
    pub sampling: Sampling,
    /// As in [`Request::drafts`].
    pub drafts: u32,
    /// What in the conversation is no text, one for each of [`Conversation::media`].
    pub media: Vec<Medium>,
    /// Strings before which the answer ends. Only visible text is searched, neither reasoning nor
    /// calls.
    pub stops: Vec<String>,
    /// Ids beside the tokenizer's own that end the answer, as a config may name several. They are
    /// no part of it.
    pub ends: Vec<TokenId>,
}

/// A piece of an answer. Text in it is certain: it holds no part of a character, of a marker, or
/// of a stop string.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// So much of the prompt has been run.
    Prefill {
        /// Tokens of the prompt that have been run.
        done: u32,
        /// Tokens of the prompt.
        total: u32,
    },
    /// More reasoning.
    Thinking(String),
    /// More of the visible answer.
    Text(String),
    /// A tool is called.
    ToolCall {
        /// The name by which its result will refer to the call; new in the conversation.
        id: String,
        /// The tool.
        name: String,
        /// A JSON object as text.
        arguments: String,
    },
    /// Something in the answer is not as it should be. What could not be read as a call has come as
    /// text.
    Flaw(Flaw),
    /// Nothing follows.
    Finished {
        /// Why.
        reason: Reason,
        /// What it took. `generated` counts up to the id with which the answer ended.
        usage: Usage,
    },
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TurnError {
    /// The conversation cannot be encoded, or the model wrote an id that the tokenizer lacks.
    #[error(transparent)]
    Text(#[from] deepseek_text::Error),
    /// There are too few media, or too many.
    #[error("{found} media for a conversation with {want}")]
    Media {
        /// Media at hand.
        found: usize,
        /// Media of the conversation.
        want: usize,
    },
    /// The engine does not take it.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The machine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// One answer, as it comes: an iterator that ends after [`Delta::Finished`] or an error. Dropping
/// it cancels the request.
#[derive(Debug)]
pub struct Turn {
    events: Events,
    voice: Voice,
    stops: Stops,
    call_ids: HashSet<String>,
    ready: VecDeque<Result<Delta, TurnError>>,
    /// What was asked and how much has been read, should the engine fail to tell.
    usage: Usage,
    over: bool,
}

/// How ids become text.
#[derive(Debug)]
enum Voice {
    Answer(Box<Reader>),
    Plain(Detokenizer),
}

impl Turn {
    /// Asks for the next message of a conversation.
    ///
    /// # Errors
    /// If the conversation leaves nothing to answer or cannot be encoded, an option is out of its
    /// bounds, or the engine does not take the request.
    pub fn start(
        engine: &Engine,
        tokenizer: &Tokenizer,
        conversation: &Conversation,
        prompt: &deepseek_text::Options,
        mut options: TurnOptions,
    ) -> Result<Self, TurnError> {
        conversation.check()?;
        let media = std::mem::take(&mut options.media);
        let (found, want) = (media.len(), conversation.media().count());
        if found != want {
            return Err(TurnError::Media { found, want });
        }
        let encoded = deepseek_text::encode(tokenizer, conversation, prompt)?;
        let reader = Reader::new(tokenizer, encoded.start, Vec::new());
        let placeholders = engine.capacity().placeholders;
        let prompt = Prompt::unfold(tokenizer, &encoded, &media, placeholders)?;
        let mut turn = Self::submit(
            engine,
            tokenizer,
            prompt,
            options,
            Voice::Answer(reader.into()),
        )?;
        turn.call_ids = call_ids(conversation);
        Ok(turn)
    }

    /// Asks for what follows a prompt without a conversation's layout. Everything that comes is
    /// [`Delta::Text`], markers spelled out.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn complete(
        engine: &Engine,
        tokenizer: &Tokenizer,
        prompt: Vec<TokenId>,
        options: TurnOptions,
    ) -> Result<Self, TurnError> {
        let voice = Voice::Plain(Detokenizer::new(tokenizer));
        let prompt = Prompt {
            ids: prompt,
            ..Prompt::default()
        };
        Self::submit(engine, tokenizer, prompt, options, voice)
    }

    fn submit(
        engine: &Engine,
        tokenizer: &Tokenizer,
        prompt: Prompt,
        options: TurnOptions,
        voice: Voice,
    ) -> Result<Self, TurnError> {
        let TurnOptions {
            max_tokens,
            sampling,
            drafts,
            stops,
            ends,
            ..
        } = options;
        check_stops(&stops, engine.limits()).map_err(Refusal::from)?;
        let stop_ids = [&[tokenizer.eos()][..], &ends].concat();
        let usage = Usage {
            // Too long a prompt is refused below.
            prompt: u32::try_from(prompt.ids.len()).unwrap_or(u32::MAX),
            ..Usage::default()
        };
        let request = Request {
            prompt: prompt.ids,
            media: prompt.placed,
            sources: prompt.sources,
            max_tokens,
            stop_ids,
            never: vec![without_text(tokenizer, engine.capacity().vocabulary)],
            sampling,
            drafts,
        };
        Ok(Self {
            events: engine.submit(request)?,
            voice,
            stops: Stops::new(stops),
            call_ids: HashSet::new(),
            ready: VecDeque::new(),
            usage,
            over: false,
        })
    }

    /// A handle that cancels this turn.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.events.canceller()
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Prefill { done, total } => {
                self.ready.push_back(Ok(Delta::Prefill { done, total }));
            }
            Event::Token { id } => {
                self.usage.generated += 1;
                match self.voice.push(id) {
                    Ok(deltas) => {
                        if self.hear(deltas) {
                            self.cut();
                        }
                    }
                    Err(error) => self.end(Err(error.into())),
                }
            }
            Event::Finished { reason, usage } => match self.voice.finish() {
                Ok(deltas) => {
                    let reason = if self.hear(deltas) {
                        Reason::StopString
                    } else {
                        reason
                    };
                    self.end(Ok(Delta::Finished { reason, usage }));
                }
                Err(error) => self.end(Err(error.into())),
            },
            Event::Failed(fault) => self.end(Err(fault.into())),
        }
    }

    /// Sorts what was read, and says whether a stop string was met; what follows it is dropped.
    fn hear(&mut self, deltas: Vec<deepseek_text::Delta>) -> bool {
        for delta in deltas {
            match delta {
                deepseek_text::Delta::Thinking(text) => {
                    self.ready.push_back(Ok(Delta::Thinking(text)));
                }
                deepseek_text::Delta::Text(text) => {
                    let (certain, met) = self.stops.push(&text);
                    let met = met.is_some();
                    self.say(certain);
                    if met {
                        return true;
                    }
                }
                deepseek_text::Delta::Call {
                    name, arguments, ..
                } => {
                    self.end_text();
                    let id = self.new_call_id();
                    self.ready.push_back(Ok(Delta::ToolCall {
                        id,
                        name,
                        arguments,
                    }));
                }
                deepseek_text::Delta::Flaw(flaw) => self.ready.push_back(Ok(Delta::Flaw(flaw))),
                // The engine says when the answer has ended; the rest of its events follow.
                _ => {}
            }
        }
        false
    }

    /// Ends the answer at a stop string. The engine is told, and asked what it took.
    fn cut(&mut self) {
        self.events.canceller().cancel();
        let usage = self.events.by_ref().find_map(|event| match event {
            Event::Finished { usage, .. } => Some(usage),
            Event::Prefill { .. } | Event::Token { .. } | Event::Failed(_) => None,
        });
        let usage = Usage {
            generated: self.usage.generated,
            ..usage.unwrap_or(self.usage)
        };
        self.end(Ok(Delta::Finished {
            reason: Reason::StopString,
            usage,
        }));
    }

    fn end(&mut self, last: Result<Delta, TurnError>) {
        self.end_text();
        self.ready.push_back(last);
        self.over = true;
    }

    fn end_text(&mut self) {
        let rest = self.stops.finish();
        self.say(rest);
    }

    fn new_call_id(&mut self) -> String {
        let id = (0..)
            .map(|number: u64| format!("call_{number}"))
            .find(|id| !self.call_ids.contains(id))
            .expect("a conversation has fewer calls than there are numbers");
        self.call_ids.insert(id.clone());
        id
    }

    fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.ready.push_back(Ok(Delta::Text(text)));
        }
    }
}

impl Iterator for Turn {
    type Item = Result<Delta, TurnError>;

    /// Waits for the next piece.
    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.over {
            let event = self.events.recv()?;
            self.take(event);
        }
        self.ready.pop_front()
    }
}

impl Voice {
    fn push(&mut self, id: TokenId) -> deepseek_text::Result<Vec<deepseek_text::Delta>> {
        match self {
            Self::Answer(reader) => reader.push(id),
            Self::Plain(detokenizer) => Ok(vec![deepseek_text::Delta::Text(detokenizer.push(id)?)]),
        }
    }

    fn finish(&mut self) -> deepseek_text::Result<Vec<deepseek_text::Delta>> {
        match self {
            Self::Answer(reader) => reader.finish(),
            Self::Plain(detokenizer) => Ok(vec![deepseek_text::Delta::Text(detokenizer.finish())]),
        }
    }
}

/// Holds stop strings against their bounds.
fn check_stops(strings: &[String], limits: &Limits) -> Result<(), Invalid> {
    if strings.len() > limits.stop_strings_max {
        let bounds = format!("at most {}", limits.stop_strings_max);
        return Err(Invalid::new("stop strings", strings.len(), bounds));
    }
    let most = limits.stop_string_bytes_max;
    if let Some(string) = strings.iter().find(|s| s.is_empty() || s.len() > most) {
        let bounds = format!("from 1 to {most} bytes");
        let bytes = format_args!("{} bytes", string.len());
        return Err(Invalid::new("stop string", bytes, bounds));
    }
    Ok(())
}

/// The ids of a model that its tokenizer has no text for.
fn without_text(tokenizer: &Tokenizer, vocabulary: TokenId) -> Range<TokenId> {
    // A tokenizer's ids are without gaps.
    let known = u32::try_from(tokenizer.vocab_size()).unwrap_or(vocabulary);
    known.min(vocabulary)..vocabulary
}

/// The names that calls of the conversation have.
fn call_ids(conversation: &Conversation) -> HashSet<String> {
    let ids = |message: &Message| match message {
        Message::Assistant { answer, .. } => answer
            .calls
            .iter()
            .filter_map(|call| call.id.clone())
            .collect(),
        Message::Tool { call, .. } => call.iter().cloned().collect(),
        Message::System(_)
        | Message::Developer(_)
        | Message::User { .. }
        | Message::LatestReminder { .. } => Vec::new(),
    };
    conversation.messages.iter().flat_map(ids).collect()
}

/// A prompt with its media in their places, as a [`Request`] takes it.
#[derive(Debug, Default)]
pub struct Prompt {
    /// As in [`Request::prompt`].
    pub ids: Vec<TokenId>,
    /// As in [`Request::media`].
    pub placed: Vec<Placed>,
    /// As in [`Request::sources`].
    pub sources: Vec<Source>,
}

impl Prompt {
    /// Puts the pieces of each medium where its one placeholder stands.
    fn unfold(
        tokenizer: &Tokenizer,
        encoded: &Encoded,
        media: &[Medium],
        placeholders: Placeholders,
    ) -> deepseek_text::Result<Self> {
        let mut prompt = Self::default();
        let mut read = 0;
        for place in &encoded.media {
            prompt.ids.extend_from_slice(&encoded.ids[read..place.at]);
            let stands = encoded.ids[place.at];
            prompt.push(tokenizer, &media[place.index], placeholders, stands)?;
            read = place.at + 1;
        }
        prompt.ids.extend_from_slice(&encoded.ids[read..]);
        Ok(prompt)
    }

    /// Adds a medium. `stands` is the id for its rows where the model does not say.
    ///
    /// # Errors
    /// A label that the tokenizer does not take.
    pub fn push(
        &mut self,
        tokenizer: &Tokenizer,
        medium: &Medium,
        placeholders: Placeholders,
        stands: TokenId,
    ) -> deepseek_text::Result<()> {
        let first = self.sources.len();
        self.sources.extend_from_slice(medium.sources());
        for piece in medium.pieces() {
            match piece {
                Piece::Text(text) => self.ids.extend(tokenizer.encode(text)?),
                Piece::Rows {
                    source,
                    number,
                    rows,
                } => {
                    let placed = Placed {
                        at: self.ids.len(),
                        source: first + source,
                        number: *number,
                        rows: rows.clone(),
                    };
                    let id = match self.sources[placed.source].is_sound(*number) {
                        true => placeholders.audio,
                        false => placeholders.image,
                    };
                    let end = placed.places().end;
                    self.ids.resize(end, id.unwrap_or(stands));
                    self.placed.push(placed);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_stop_strings_are_kept_and_named() {
        let limits = Limits {
            stop_strings_max: 3,
            stop_string_bytes_max: 8,
            ..Limits::default()
        };
        let check = |strings: &[&str]| {
            let strings: Vec<String> = strings.iter().map(ToString::to_string).collect();
            check_stops(&strings, &limits)
        };
        assert!(check(&["a", "b", "c"]).is_ok());
        let refused = |strings: &[&str]| check(strings).unwrap_err().to_string();
        assert_eq!(
            refused(&["a", "b", "c", "d"]),
            "stop strings: 4, must be at most 3"
        );
        assert!(check(&["12345678"]).is_ok());
        assert_eq!(
            refused(&["123456789"]),
            "stop string: 9 bytes, must be from 1 to 8 bytes"
        );
        assert_eq!(
            refused(&[""]),
            "stop string: 0 bytes, must be from 1 to 8 bytes"
        );
    }
}
