//! One answer: a conversation in, typed pieces out.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use deepseek_engine::{
    Canceller, ConstraintSource, Engine, Event, Events, Fault, Invalid, Logprobs, Reason, Refusal,
    Request, RequestId, Sampling, Usage,
};
use deepseek_model::TokenId;
use deepseek_text::{Conversation, Detokenizer, Flaw, Message, Reader, Stops, Tokenizer};
use futures_core::Stream;

use crate::constraint::AnswerConstraint;
use crate::limits::{MEDIA_MAX, STOP_STRING_BYTES_MAX, STOP_STRINGS_MAX};
use crate::media_item::MediaItem;
use crate::prompt::Prompt;

/// How an answer is to be made.
#[derive(Debug, Clone, Default)]
pub struct TurnOptions {
    /// As in [`Request::max_tokens`].
    pub max_tokens: Option<u32>,
    /// As in [`Request::sampling`].
    pub sampling: Sampling,
    /// What the visible answer has to look like; reasoning before it may be anything.
    pub constraint: Option<AnswerConstraint>,
    /// As in [`Request::logprobs`].
    pub logprobs: Option<u32>,
    /// As in [`Request::drafts`].
    pub drafts: u32,
    /// As in [`Request::keep`]: for conversations that go on.
    pub keep: bool,
    /// What in the conversation is no text, one for each of [`Conversation::media`].
    pub media: Vec<MediaItem>,
    /// Strings before which the answer ends. Only visible text is searched, neither reasoning nor
    /// calls.
    pub stops: Vec<String>,
    /// Ids beside the tokenizer's own that end the answer, as a config may name several. They are
    /// no part of it.
    pub ends: Vec<TokenId>,
}

/// A piece of an answer. Text in it is certain: it holds no part of a character, of a marker, or
/// of a stop string.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Delta {
    /// So much of the prompt has been run.
    Prefill {
        /// Tokens of the prompt that have been run.
        done: u32,
        /// Tokens of the prompt.
        total: u32,
    },
    /// The model wrote this id, and so likely it was. Its text comes when it is certain.
    Token {
        /// The id.
        id: TokenId,
        /// How likely it was.
        logprobs: Logprobs,
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

/// One answer, as it comes, which ends after [`Delta::Finished`] or an error: an iterator that waits,
/// and a [`Stream`] for those who may not. Dropping it cancels the request.
#[derive(Debug)]
pub struct Turn {
    events: Events,
    parser: OutputParser,
    stops: Stops,
    call_ids: HashSet<String>,
    ready: VecDeque<Result<Delta, TurnError>>,
    /// What was asked and how much has been read, should the engine fail to tell.
    usage: Usage,
    stage: Stage,
}

/// How far an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Answering,
    /// A stop string was met. The engine has been told, and is still to say what the answer took.
    Cut,
    Over,
}

/// How ids become text.
#[derive(Debug)]
enum OutputParser {
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
        check_media(&media).map_err(Refusal::from)?;
        let encoded = deepseek_text::encode(tokenizer, conversation, prompt)?;
        let constraint = options.constraint.take();
        let constraint = constraint.map(|constraint| constraint.behind(tokenizer, encoded.start));
        options.constraint = constraint.transpose()?;
        let reader = Reader::new(tokenizer, encoded.start, Vec::new());
        let placeholders = engine.capacity().placeholders;
        let prompt = Prompt::unfold(tokenizer, &encoded, &media, placeholders)?;
        let mut turn = Self::submit(
            engine,
            tokenizer,
            prompt,
            options,
            OutputParser::Answer(reader.into()),
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
        let parser = OutputParser::Plain(Detokenizer::new(tokenizer));
        let prompt = Prompt {
            ids: prompt,
            ..Prompt::default()
        };
        Self::submit(engine, tokenizer, prompt, options, parser)
    }

    fn submit(
        engine: &Engine,
        tokenizer: &Tokenizer,
        prompt: Prompt,
        options: TurnOptions,
        parser: OutputParser,
    ) -> Result<Self, TurnError> {
        let TurnOptions {
            max_tokens,
            sampling,
            constraint,
            logprobs,
            drafts,
            keep,
            stops,
            ends,
            ..
        } = options;
        check_stops(&stops).map_err(Refusal::from)?;
        let stop_ids = [&[tokenizer.eos()][..], &ends].concat();
        let usage = Usage {
            // Too long a prompt is refused below.
            prompt: u32::try_from(prompt.ids.len()).unwrap_or(u32::MAX),
            ..Usage::default()
        };
        let request = Request {
            prompt: prompt.ids,
            spans: prompt.spans,
            media: Some(Arc::new(prompt.media)),
            max_tokens,
            stop_ids,
            never: vec![without_text(tokenizer, engine.capacity().vocabulary)],
            sampling,
            constraint: constraint.map(|own| Arc::new(own) as Arc<dyn ConstraintSource>),
            logprobs,
            drafts,
            keep,
        };
        Ok(Self {
            events: engine.submit(request)?,
            parser,
            stops: Stops::new(stops),
            call_ids: HashSet::new(),
            ready: VecDeque::new(),
            usage,
            stage: Stage::Answering,
        })
    }

    /// The engine's request.
    #[must_use]
    pub fn request(&self) -> RequestId {
        self.events.request()
    }

    /// A handle that cancels this turn.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.events.canceller()
    }

    fn take(&mut self, event: Event) {
        match (self.stage, event) {
            (Stage::Answering, event) => self.read(event),
            (Stage::Cut, Event::Finished { usage, .. }) => self.end_cut(usage),
            (Stage::Cut, Event::Failed(_)) => self.end_cut(self.usage),
            (Stage::Cut | Stage::Over, _) => {}
        }
    }

    fn read(&mut self, event: Event) {
        match event {
            Event::Prefill { done, total } => {
                self.ready.push_back(Ok(Delta::Prefill { done, total }));
            }
            Event::Token { id, logprobs } => {
                self.usage.generated += 1;
                if let Some(logprobs) = logprobs {
                    self.ready.push_back(Ok(Delta::Token { id, logprobs }));
                }
                match self.parser.push(id) {
                    Ok(deltas) => {
                        if self.hear(deltas) {
                            self.events.canceller().cancel();
                            self.stage = Stage::Cut;
                        }
                    }
                    Err(error) => self.end(Err(error.into())),
                }
            }
            Event::Finished { reason, usage } => match self.parser.finish() {
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
            _ => {}
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

    /// Ends an answer that a stop string ended. Of what it took, only the ids that were read count.
    fn end_cut(&mut self, usage: Usage) {
        let usage = Usage {
            generated: self.usage.generated,
            ..usage
        };
        self.end(Ok(Delta::Finished {
            reason: Reason::StopString,
            usage,
        }));
    }

    fn end(&mut self, last: Result<Delta, TurnError>) {
        self.end_text();
        self.ready.push_back(last);
        self.stage = Stage::Over;
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
        while self.ready.is_empty() && self.stage != Stage::Over {
            let event = self.events.recv()?;
            self.take(event);
        }
        self.ready.pop_front()
    }
}

impl Stream for Turn {
    type Item = Result<Delta, TurnError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.ready.is_empty() && this.stage != Stage::Over {
            match ready!(Pin::new(&mut this.events).poll_next(context)) {
                Some(event) => this.take(event),
                None => return Poll::Ready(None),
            }
        }
        Poll::Ready(this.ready.pop_front())
    }
}

impl OutputParser {
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

/// Holds media against their bound: a video with audio counts as two.
fn check_media(items: &[MediaItem]) -> Result<(), Invalid> {
    let sources: usize = items.iter().map(|item| item.sources().len()).sum();
    if sources > MEDIA_MAX {
        let bounds = format!("at most {MEDIA_MAX}");
        return Err(Invalid::new("media", sources, bounds));
    }
    Ok(())
}

/// Holds stop strings against their bounds.
fn check_stops(strings: &[String]) -> Result<(), Invalid> {
    if strings.len() > STOP_STRINGS_MAX {
        let bounds = format!("at most {STOP_STRINGS_MAX}");
        return Err(Invalid::new("stop strings", strings.len(), bounds));
    }
    let is_out = |string: &&String| string.is_empty() || string.len() > STOP_STRING_BYTES_MAX;
    if let Some(string) = strings.iter().find(is_out) {
        let bounds = format!("from 1 to {STOP_STRING_BYTES_MAX} bytes");
        let bytes = format!("{} bytes", string.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_stop_strings_are_kept_and_named() {
        let check = |count: usize, bytes: usize| check_stops(&vec!["x".repeat(bytes); count]);
        assert!(check(STOP_STRINGS_MAX, STOP_STRING_BYTES_MAX).is_ok());
        let refused = |count, bytes| check(count, bytes).unwrap_err().to_string();
        assert_eq!(refused(17, 1), "stop strings: 17, must be at most 16");
        let bounds = "must be from 1 to 256 bytes";
        assert_eq!(refused(1, 257), format!("stop string: 257 bytes, {bounds}"));
        assert_eq!(refused(1, 0), format!("stop string: 0 bytes, {bounds}"));
    }
}
