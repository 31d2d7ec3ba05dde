//! A completion to typed pieces, as it comes: the vendor's stream parser, fed by hand.
//!
//! The vendor's parser is an asynchronous stream over chunks. It never waits for anything but the
//! next chunk, so it is polled here until it asks for one; no runtime is needed.

use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::task::{Context, Poll, Waker};
use std::{fmt, mem};

use deepseek_recipe::stream::{
    ChunkGenerator, InferenceChunk, InferenceFinishReason, OutputChunk, ParsingOptions,
    StreamError, StreamProcessor, StreamTokenizer, ThinkingInitialStage,
};
use futures_core::Stream;

use crate::detok::Utf8;
use crate::encode::Mode;
use crate::error::{Error, Result};
use crate::message::Answer;
use crate::tokenizer::{Tokenizer, marker};

/// Where the model's words begin, and whether they may call tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Where they begin.
    pub stage: Stage,
    /// Whether a tool block is one; else it is plain text. V4.1 needs tools declared.
    pub calls: bool,
}

/// Where the model's words begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// After `<think>`: with reasoning.
    Reasoning,
    /// Within reasoning that goes on: leading line breaks count.
    OpenReasoning,
    /// After `</think>`: with the answer.
    Answer,
    /// Within an answer that goes on, or with the word of a task: leading line breaks count.
    Continuation,
    /// Within a tool block that the prompt has opened.
    Calls,
}

impl Stage {
    /// Where a new answer begins.
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Chat => Self::Answer,
            Mode::Thinking => Self::Reasoning,
        }
    }
}

/// There, with calls.
impl From<Stage> for Start {
    fn from(stage: Stage) -> Self {
        Self { stage, calls: true }
    }
}

/// At the beginning of an answer, with calls.
impl From<Mode> for Start {
    fn from(mode: Mode) -> Self {
        Stage::of(mode).into()
    }
}

/// A piece of a completion. Text in it is certain: no marker and no stop string can begin in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// More reasoning.
    Thinking(String),
    /// More of the answer.
    Text(String),
    /// A tool is called. Its arguments follow.
    Call {
        /// The place of the call among those of this completion, from zero.
        index: usize,
        /// The tool.
        name: String,
    },
    /// More of the arguments of a call, as JSON text.
    Arguments {
        /// The place of the call.
        index: usize,
        /// The piece.
        json: String,
    },
    /// Nothing follows.
    Finished {
        /// The stop string that ended it, if one did.
        stop: Option<String>,
    },
}

/// Reads a completion, id by id or in pieces of text.
///
/// Given ids, `</think>` and `｜DSML｜` count as the single control tokens alone; given text, by
/// their spelling. The opener of a tool block ends reasoning that was not closed. The
/// end-of-sentence marker ends the completion; what comes after it is passed over.
///
/// A piece that may hold the beginning of a marker, or of a stop string, is held back whole until
/// that is decided.
pub struct Reader {
    tokenizer: Option<Tokenizer>,
    chunks: SyncSender<InferenceChunk>,
    stream: Pin<Box<dyn Stream<Item = Result<OutputChunk, StreamError>> + Send>>,
    utf8: Utf8,
    /// Text that may be the beginning of an end-of-sentence marker.
    held: String,
    calls: usize,
    finished: bool,
}

impl Reader {
    /// A reader of what the model writes after a prompt that ended at `start`. The answer is cut
    /// before the first of `stops`; reasoning and calls are not searched.
    pub fn new(tokenizer: &Tokenizer, start: impl Into<Start>, stops: Vec<String>) -> Self {
        Self::build(Some(tokenizer.clone()), start.into(), stops)
    }

    fn build(tokenizer: Option<Tokenizer>, start: Start, stops: Vec<String>) -> Self {
        let options = ParsingOptions {
            parse_tool_calls: start.calls,
            starts_in_tool_calls: start.stage == Stage::Calls,
            thinking_initial_stage: match start.stage {
                Stage::Reasoning => Some(ThinkingInitialStage::ReasoningStart),
                Stage::OpenReasoning => Some(ThinkingInitialStage::ReasoningContinuation),
                Stage::Answer | Stage::Calls => None,
                Stage::Continuation => Some(ThinkingInitialStage::ContentContinuation),
            },
            stop_sequences: stops,
            ..ParsingOptions::default()
        };
        let mut processor = StreamProcessor::new(AsTheyAre, options);
        if let Some(tokenizer) = &tokenizer {
            processor = processor.with_tokenizer(Spelling(tokenizer.clone()));
        }
        // One place is enough: each chunk is taken before the next is sent.
        let (chunks, inbox) = sync_channel(1);
        let stream = Box::pin(processor.into_protocol_stream(Inbox(inbox)));
        let (utf8, held) = (Utf8::default(), String::new());
        Self {
            tokenizer,
            chunks,
            stream,
            utf8,
            held,
            calls: 0,
            finished: false,
        }
    }

    /// What is certain after one more id; often nothing.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn push(&mut self, id: u32) -> Result<Vec<Delta>> {
        let Some(tokenizer) = &self.tokenizer else {
            return Ok(Vec::new());
        };
        tokenizer.bytes(id)?;
        if id == tokenizer.eos() {
            return self.finish();
        }
        self.feed(InferenceChunk::Tokens {
            token_ids: vec![id],
            logprobs: None,
        })
    }

    /// What is certain after more text, cut anywhere, within a character too.
    ///
    /// # Errors
    /// [`Error::Completion`], which text cannot cause.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<Vec<Delta>> {
        let text = self.utf8.push(bytes);
        self.push_text(&text)
    }

    /// Passes on what comes before an end-of-sentence marker, and holds back what may be one.
    fn push_text(&mut self, text: &str) -> Result<Vec<Delta>> {
        self.held.push_str(text);
        if let Some((before, _)) = self.held.split_once(marker::EOS) {
            let before = before.to_owned();
            self.held.clear();
            let mut deltas = self.feed_text(before)?;
            deltas.extend(self.finish()?);
            return Ok(deltas);
        }
        let begins = |len: &usize| {
            marker::EOS
                .get(..*len)
                .is_some_and(|start| self.held.ends_with(start))
        };
        let keep = (0..marker::EOS.len()).rev().find(begins).unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        let certain = mem::replace(&mut self.held, rest);
        self.feed_text(certain)
    }

    /// The rest of the completion, with [`Delta::Finished`] at its end; nothing the second time.
    /// To be called when the model has stopped for another reason than its end-of-sentence.
    ///
    /// # Errors
    /// [`Error::Completion`], which the model's words cannot cause.
    pub fn finish(&mut self) -> Result<Vec<Delta>> {
        if self.finished {
            return Ok(Vec::new());
        }
        let rest = mem::take(&mut self.held) + &self.utf8.finish();
        let mut deltas = self.feed_text(rest)?;
        if self.tokenizer.is_some() {
            let token_ids = vec![Spelling::FLUSH];
            deltas.extend(self.feed(InferenceChunk::Tokens {
                token_ids,
                logprobs: None,
            })?);
        }
        let finish_reason = InferenceFinishReason::Stop;
        deltas.extend(self.feed(InferenceChunk::Finish { finish_reason })?);
        Ok(deltas)
    }

    /// Whether [`Delta::Finished`] has been given.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn feed_text(&mut self, content: String) -> Result<Vec<Delta>> {
        if content.is_empty() {
            return Ok(Vec::new());
        }
        self.feed(InferenceChunk::Text {
            content,
            token_count: 0,
        })
    }

    fn feed(&mut self, chunk: InferenceChunk) -> Result<Vec<Delta>> {
        let mut deltas = Vec::new();
        if self.finished {
            return Ok(deltas);
        }
        self.chunks
            .try_send(chunk)
            .expect("the last chunk was taken, and the stream lives");
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(output)) = self.stream.as_mut().poll_next(&mut context) {
            let delta = self.delta(output.map_err(Error::Completion)?);
            deltas.extend(delta);
            if self.finished {
                break;
            }
        }
        Ok(deltas)
    }

    fn delta(&mut self, output: OutputChunk) -> Option<Delta> {
        let index = self.calls.wrapping_sub(1);
        match output {
            OutputChunk::Start { .. } => None,
            OutputChunk::Reasoning { content, .. } => Some(Delta::Thinking(content)),
            OutputChunk::Content { content, .. } => Some(Delta::Text(content)),
            OutputChunk::ToolCallBegin => {
                self.calls += 1;
                None
            }
            OutputChunk::ToolCallNamed { tool_name } => Some(Delta::Call {
                index,
                name: tool_name,
            }),
            OutputChunk::ToolCallArgumentsDelta { arguments } => Some(Delta::Arguments {
                index,
                json: arguments,
            }),
            OutputChunk::Finish { stop_sequence, .. } => {
                self.finished = true;
                Some(Delta::Finished {
                    stop: stop_sequence,
                })
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("calls", &self.calls)
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

/// Reads a whole completion, with its markers spelled out.
///
/// # Errors
/// [`Error::Completion`], which text cannot cause.
pub fn parse(completion: &str, start: impl Into<Start>) -> Result<Answer> {
    let mut reader = Reader::build(None, start.into(), Vec::new());
    let mut answer = Answer::default();
    for delta in reader
        .push_bytes(completion.as_bytes())?
        .iter()
        .chain(&reader.finish()?)
    {
        answer.push(delta);
    }
    Ok(answer)
}

/// The chunks sent by hand, as the vendor's parser wants to receive them.
struct Inbox(Receiver<InferenceChunk>);

impl Stream for Inbox {
    type Item = InferenceChunk;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<InferenceChunk>> {
        match self.0.try_recv() {
            Ok(chunk) => Poll::Ready(Some(chunk)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
        }
    }
}

/// Keeps the vendor's chunks instead of turning them into a protocol's.
struct AsTheyAre;

impl ChunkGenerator for AsTheyAre {
    type Chunk = OutputChunk;

    async fn generate(&mut self, chunk: OutputChunk) -> Vec<OutputChunk> {
        vec![chunk]
    }
}

/// The tokenizer as the vendor's parser sees it.
struct Spelling(Tokenizer);

impl Spelling {
    /// A control token without text. Before one, the parser gives out bytes that it held back as a
    /// part of a character; at the end of a stream it would drop them.
    const FLUSH: u32 = u32::MAX;
}

impl StreamTokenizer for Spelling {
    fn decode_ids(&self, ids: &[u32], _: bool) -> Result<String, String> {
        if ids == [Self::FLUSH] {
            return Ok(String::new());
        }
        self.0.decode(ids).map_err(|error| error.to_string())
    }

    fn is_special_token(&self, id: u32) -> bool {
        id == Self::FLUSH || self.0.is_added(id)
    }
}
