//! One request in the decoder.

use std::sync::Arc;
use std::task::Context;
use std::time::Instant;

use deepseek_model::{Decoder, Extent, SeqId, SequenceState, Span, TokenId, Trouble, Want};
use tracing::debug;

use crate::constraint::Constraint;
use crate::events::{Event, Fault, Reason, RequestId, Sender, Usage};
use crate::logprobs::Logprobs;
use crate::media::{EncoderShare, PromptMedia};
use crate::places::{Kept, KeptSpan, KeptText, Start};
use crate::request::{Accepted, Queued};
use crate::sampler::Sampler;
use crate::scheduler::Standing;
use crate::speculate::verify;

/// A sequence and what became of it so far.
///
/// The decoder has the first `fed` of `ids`: part of the prompt, or all but the id drawn last.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) seq: SeqId,
    request: RequestId,
    ids: Vec<TokenId>,
    media: PromptMedia,
    /// Its media in short, if its place is to be kept.
    kept: Option<Vec<KeptSpan>>,
    /// Its tail where its prompt ended, or an earlier one.
    state: Option<SequenceState>,
    fed: u32,
    /// The furthest that the decoder has stood.
    reached: u32,
    length_max: u32,
    at_length_max: Reason,
    stop_ids: Vec<TokenId>,
    drafts: u32,
    sampler: Sampler,
    constraint: Option<Box<dyn Constraint>>,
    /// The ids that it allows, a bit each.
    allowed: Vec<u32>,
    /// Of how many ids besides the drawn one it is told how likely they were, if of any.
    logprobs: Option<u32>,
    sender: Sender,
    usage: Usage,
    admitted: Instant,
    first_drawn: Option<Instant>,
    end: Option<End>,
}

/// How a sequence ended.
#[derive(Debug)]
enum End {
    Finished(Reason),
    Failed(Fault),
}

impl Sequence {
    pub(crate) fn new(start: Start, queued: Queued) -> Self {
        let Queued {
            request,
            accepted,
            sender,
            submitted,
        } = queued;
        let Accepted {
            prompt,
            spans,
            media,
            never,
            length_max,
            at_length_max,
            stop_ids,
            sampling,
            constraint,
            logprobs,
            drafts,
            keep,
        } = accepted;
        let admitted = Instant::now();
        let kept = keep.then(|| KeptSpan::all(&spans, media.as_deref()));
        let media = PromptMedia::new(spans, media.as_deref(), start.cached as usize);
        let [image_tokens, audio_tokens] = media.tokens();
        Self {
            seq: start.seq,
            request,
            sampler: Sampler::new(sampling, &media.words(&prompt)).never(never),
            usage: Usage {
                prompt: count(prompt.len()),
                image_tokens,
                audio_tokens,
                cached: start.cached,
                queued: admitted - submitted,
                ..Usage::default()
            },
            ids: prompt,
            constraint: constraint.map(|source| source.begin()),
            allowed: Vec::new(),
            logprobs,
            media,
            kept,
            state: start.state,
            fed: start.cached,
            reached: start.reached,
            length_max,
            at_length_max,
            stop_ids,
            drafts,
            sender,
            admitted,
            first_drawn: None,
            end: None,
        }
    }

    /// Whether its prompt has been run and its reader keeps up.
    pub(crate) fn decodes(&self) -> bool {
        self.fed >= self.usage.prompt && self.sender.room() > 0
    }

    /// What the next step, of `step_tokens`, could do for it. Takes what is then to be encoded out of
    /// the `share`.
    pub(crate) fn standing(
        &mut self,
        context: &mut Context<'_>,
        step_tokens: u32,
        share: &mut EncoderShare,
    ) -> Standing {
        if self.fed < self.usage.prompt {
            let end = self.fed as usize + step_tokens as usize;
            let reach = match self.media.reach(context, end, share) {
                // A prompt may go on within a medium, which begins before that.
                Ok(reach) => reach.map_or(self.usage.prompt, count).max(self.fed),
                Err(fault) => {
                    self.fail(fault);
                    self.fed
                }
            };
            return match reach - self.fed {
                0 => Standing::Paused,
                pending => Standing::Prefill { pending },
            };
        }
        // Both are bounds on what one step may draw; a draft is worth one id more.
        let room = u32::try_from(self.sender.room()).unwrap_or(u32::MAX);
        let left = self.length_max - self.length();
        match room {
            0 => Standing::Paused,
            _ => Standing::Decode {
                drafts: self.drafts.min(room.min(left) - 1),
            },
        }
    }

    /// The id drawn last.
    pub(crate) fn last(&self) -> TokenId {
        *self.ids.last().expect("a prompt is not empty")
    }

    /// Has the decoder take in the media that its next `tokens` reach.
    pub(crate) fn attach(
        &mut self,
        decoder: &mut dyn Decoder,
        tokens: u32,
    ) -> deepseek_model::Result<()> {
        let places = self.fed as usize..(self.fed + tokens) as usize;
        self.media.attach(decoder, &places)
    }

    /// Lets go of the media that have been read, or of all where the sequence is over.
    pub(crate) fn release(&mut self, decoder: &mut dyn Decoder) {
        let read = if self.is_over() {
            usize::MAX
        } else {
            self.fed as usize
        };
        self.media.release(decoder, read);
    }

    /// Its part of a step: its next `tokens`, then those drafted.
    pub(crate) fn span(&self, tokens: u32, drafted: &[TokenId]) -> Span {
        let (start, end) = (self.fed as usize, (self.fed + tokens) as usize);
        let want = match drafted {
            _ if self.fed + tokens < self.length() => Want::Nothing,
            [] => Want::Last,
            _ => Want::All,
        };
        let tokens = [&self.ids[start..end], drafted].concat();
        Span {
            seq: self.seq,
            at: self.fed,
            tokens,
            media: self.media.inserts(&(start..end)),
            want,
        }
    }

    /// Reads what a step yielded for [`span`](Self::span). Answers the position to which the
    /// decoder must take the sequence back, if it must.
    pub(crate) fn read<'a>(
        &mut self,
        tokens: u32,
        drafted: &[TokenId],
        rows: impl ExactSizeIterator<Item = &'a [f32]>,
    ) -> Option<u32> {
        self.fed += tokens;
        self.reached = self.reached.max(self.fed + count(drafted.len()));
        if self.fed <= self.usage.prompt {
            self.sender.progress(self.fed, self.usage.prompt);
        }
        let proposed = u32::try_from(drafted.len()).expect("drafts are few");
        let accepted = verify(rows, drafted, |row| self.draw(row));
        self.usage.drafted += proposed;
        self.usage.accepted += accepted;
        self.fed += accepted;
        (accepted < proposed && self.end.is_none()).then_some(self.fed)
    }

    /// Draws and sends the next id. Nothing if that ended the sequence.
    fn draw(&mut self, row: &[f32]) -> Option<TokenId> {
        let length = self.length();
        let allowed = match &mut self.constraint {
            Some(constraint) => {
                self.allowed.clear();
                self.allowed.resize(row.len().div_ceil(32), u32::MAX);
                constraint.narrow(&mut self.allowed);
                Some(self.allowed.as_slice())
            }
            None => None,
        };
        let id = match self.sampler.draw_among(row, length, allowed) {
            Ok(id) => id,
            Err(fault) => {
                self.end = Some(End::Failed(fault));
                return None;
            }
        };
        if let Some(constraint) = &mut self.constraint {
            constraint.accept(id);
        }
        self.first_drawn.get_or_insert_with(Instant::now);
        self.usage.generated += 1;
        if self.stop_ids.contains(&id) {
            self.end = Some(End::Finished(Reason::Stop));
            return None;
        }
        self.ids.push(id);
        let logprobs = self.logprobs;
        let logprobs = logprobs.map(|count| Logprobs::of(row, id, count as usize));
        self.sender.token(id, logprobs);
        if self.length() == self.length_max {
            self.end = Some(End::Finished(self.at_length_max));
            return None;
        }
        Some(id)
    }

    /// Saves what a later prompt may go on from, where its own has just been run to its end. A decoder
    /// that cannot save makes later prompts slower, and does no other harm.
    pub(crate) fn save(&mut self, decoder: &mut dyn Decoder) {
        if self.kept.is_some() && self.fed == self.usage.prompt {
            self.state = decoder.save(self.seq, Extent::Tail).ok();
        }
    }

    /// What it leaves in its place, if that is to be kept and good for anything. The decoder is taken
    /// back to what was taken up.
    pub(crate) fn leave(&mut self, decoder: &mut dyn Decoder) -> Option<Kept> {
        let media = self.kept.take()?;
        if matches!(self.end, Some(End::Failed(_))) || self.fed == 0 {
            return None;
        }
        decoder.rewind(self.seq, self.fed);
        let ids = std::mem::take(&mut self.ids);
        Some(Kept {
            seq: self.seq,
            request: Some(self.request),
            text: KeptText { ids, media }.cut(self.fed as usize),
            reached: self.reached,
            state: self.state.take(),
        })
    }

    fn length(&self) -> u32 {
        count(self.ids.len())
    }

    pub(crate) fn fail(&mut self, fault: Fault) {
        self.end = Some(End::Failed(fault));
    }

    /// Fails if the trouble lies in what it has taken up: what was proposed beyond its end is nobody's.
    pub(crate) fn meet(&mut self, trouble: Trouble) {
        if trouble.position < self.fed {
            self.fail(Fault::NotFinite(trouble));
        }
    }

    pub(crate) fn fail_with(&mut self, error: &Arc<deepseek_model::Error>) {
        self.fail(Fault::Decoder(Arc::clone(error)));
    }

    /// Whether it is over, be it that its reader has gone.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some() || self.sender.is_cancelled()
    }

    /// Tells the reader how it ended; cancelled, if it ended in no other way.
    pub(crate) fn conclude(self) {
        let now = Instant::now();
        let first_drawn = self.first_drawn.unwrap_or(now);
        let usage = Usage {
            prefill: first_drawn - self.admitted,
            decode: now - first_drawn,
            ..self.usage
        };
        debug!(
            request = %self.request,
            place = self.seq.0,
            generated = usage.generated,
            drafted = usage.drafted,
            accepted = usage.accepted,
            end = ?self.end,
            "ended"
        );
        self.sender
            .end(match self.end.unwrap_or(End::Finished(Reason::Cancelled)) {
                End::Finished(reason) => Event::Finished { reason, usage },
                End::Failed(fault) => Event::Failed(fault),
            });
    }
}

/// A number of ids of one sequence.
fn count(ids: usize) -> u32 {
    u32::try_from(ids).expect("a sequence fits the context")
}
