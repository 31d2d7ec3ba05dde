//! The loop: what the engine's thread does, turn after turn.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Instant;

use deepseek_model::{Decoder, DraftAsk, Logits, Step, TokenId};
use tracing::{debug, error, trace};

use crate::errand::{Begun, Errand, Work};
use crate::events::{Event, Fault, Reason, Usage};
use crate::limits::Limits;
use crate::media::EncoderShare;
use crate::places::{KeptSpan, KeptText, Places, Start};
use crate::queue::{Queue, QueueState};
use crate::request::{Accepted, Queued};
use crate::scheduler::{Grant, Standing, schedule};
use crate::sequence::Sequence;
use crate::speculate::propose;
use crate::wake;

/// Runs until the queue is closed and empty, or the decoder panics. Either way every request that
/// was taken has ended, and the queue takes no more.
pub(crate) fn run(decoder: Box<dyn Decoder>, limits: Limits, queue: &Queue) {
    let mut run = Run::new(decoder, limits, queue);
    // After a panic only the readers' channels are touched, never the decoder.
    let fault = catch_unwind(AssertUnwindSafe(|| run.turns()))
        .err()
        .map(|payload| {
            let message = Arc::from(said(&*payload));
            Fault::Panicked { message }
        });
    queue.end(fault.as_ref());
    for mut sequence in run.running.drain(..) {
        sequence.fail(fault.clone().unwrap_or(Fault::Closed));
        sequence.conclude();
    }
}

struct Run<'a> {
    decoder: Box<dyn Decoder>,
    queue: &'a Queue,
    /// Wakes this thread.
    waker: Waker,
    step_tokens: u32,
    encoder_rows_max: usize,
    saved_bytes_max: usize,
    /// What is asked of places and waits for one.
    errand: Option<Errand>,
    /// What of that is under way.
    work: Option<Work>,
    /// Places in the decoder that nobody has.
    places: Places,
    /// Whoever has one, the oldest first.
    running: Vec<Sequence>,
}

/// One sequence's part of the step at hand.
struct Part {
    grant: Grant,
    drafted: Vec<TokenId>,
}

impl<'a> Run<'a> {
    fn new(decoder: Box<dyn Decoder>, limits: Limits, queue: &'a Queue) -> Self {
        let capacity = decoder.capacity();
        // Everybody who has a place must fit into one step.
        let places = capacity.sequences.min(capacity.step_tokens);
        Self {
            decoder,
            queue,
            waker: wake::waker(thread::current()),
            step_tokens: capacity.step_tokens,
            encoder_rows_max: limits.encoder_rows_max,
            saved_bytes_max: limits.saved_bytes_max,
            errand: None,
            work: None,
            places: Places::new(places, capacity.rewind),
            running: Vec::new(),
        }
    }

    fn turns(&mut self) {
        loop {
            self.retire();
            self.work();
            self.admit();
            let state = self.queue.state();
            if self.is_over(&state) {
                return;
            }
            let grants = self.schedule();
            let parts = self.attach(grants);
            let parts = self.draft(parts);
            if parts.is_empty() {
                self.wait(&state);
                continue;
            }
            let step = self.step(&parts);
            let began = Instant::now();
            let ran = self.decoder.step(&step);
            trace!(
                sequences = parts.len(),
                tokens = step
                    .spans
                    .iter()
                    .map(|span| span.tokens.len())
                    .sum::<usize>(),
                drafted = parts.iter().map(|part| part.drafted.len()).sum::<usize>(),
                seconds = began.elapsed().as_secs_f64(),
                "step"
            );
            match ran {
                Ok(logits) => {
                    self.read(&parts, &logits);
                    self.decoder.recycle(logits);
                }
                Err(error) => self.fail(&parts, error),
            }
        }
    }

    /// Whether nobody may come and nobody is left, or nobody may stay.
    fn is_over(&self, state: &QueueState) -> bool {
        let QueueState::Closing(deadline) = state else {
            return false;
        };
        let is_idle = self.running.is_empty() && self.work.is_none();
        is_idle || deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Saves and loads places: all that is asked where nobody waits for it, else a part.
    fn work(&mut self) {
        let bytes = if self.running.is_empty() {
            usize::MAX
        } else {
            self.saved_bytes_max
        };
        if self.work.is_none() {
            let errand = self.errand.take();
            match errand.or_else(|| self.queue.take_errand()) {
                None => return,
                Some(errand) => match errand.begin(&mut self.places) {
                    Begun::Work(work) => self.work = Some(work),
                    Begun::Waits(errand) => self.errand = Some(errand),
                    Begun::Over => {}
                },
            }
        }
        if let Some(work) = self.work.take() {
            self.work = work.go_on(&mut *self.decoder, &mut self.places, bytes);
        }
    }

    /// Whether there is something to do with places that waits for no place.
    fn has_work(&self) -> bool {
        self.work.is_some() || self.errand.is_none() && self.queue.has_errands()
    }

    /// Gives places to those who have waited longest, and ends those who no longer wait. Whoever is
    /// still waiting afterwards, it is because every place is taken.
    fn admit(&mut self) {
        for queued in self.queue.take(self.places.len()) {
            if queued.sender.is_cancelled() {
                turn_away(queued);
                continue;
            }
            let start = self.start(&queued.accepted);
            debug!(
                request = %queued.request,
                place = start.seq.0,
                prompt = queued.accepted.prompt.len(),
                cached = start.cached,
                queued_seconds = queued.submitted.elapsed().as_secs_f64(),
                "admitted"
            );
            self.running.push(Sequence::new(start, queued));
        }
    }

    /// A place for a request, with as much of its prompt as stands there already.
    fn start(&mut self, accepted: &Accepted) -> Start {
        let mut prompt = KeptText::default();
        if self.places.keeps_any() {
            prompt.ids.clone_from(&accepted.prompt);
            prompt.media = KeptSpan::all(&accepted.spans, accepted.media.as_deref());
        }
        let start = self.places.take(&prompt);
        let (decoder, seq) = (&mut self.decoder, start.seq);
        let is_back = match start.state.as_ref().filter(|_| start.restores) {
            Some(state) => decoder.load(seq, state).is_ok(),
            None => start.cached > 0,
        };
        if is_back {
            decoder.resume(seq, start.cached);
            start.begun()
        } else {
            decoder.forget(seq);
            Start::anew(seq)
        }
    }

    /// Shares out the next step. What an encoder does before it is bounded while somebody decodes,
    /// and by the step otherwise.
    fn schedule(&mut self) -> Vec<Grant> {
        let rows = if self.running.iter().any(Sequence::decodes) {
            self.encoder_rows_max
        } else {
            usize::MAX
        };
        let mut share = EncoderShare::new(rows);
        let mut context = Context::from_waker(&self.waker);
        let step_tokens = self.step_tokens;
        let standings = self.running.iter_mut();
        let standings: Vec<Standing> = standings
            .map(|sequence| sequence.standing(&mut context, step_tokens, &mut share))
            .collect();
        schedule(&standings, step_tokens)
    }

    /// Has the media taken in that the step will read. Who fails at that is left out of it.
    fn attach(&mut self, grants: Vec<Grant>) -> Vec<Grant> {
        let mut attached = Vec::with_capacity(grants.len());
        for grant in grants {
            let sequence = &mut self.running[grant.index];
            match sequence.attach(&mut *self.decoder, grant.tokens) {
                Ok(()) => attached.push(grant),
                Err(error) => sequence.fail_with(&Arc::new(error)),
            }
        }
        attached
    }

    /// Has the drafts made that were granted, for all sequences at once. If that fails, those who were
    /// granted some are left out of the step.
    fn draft(&mut self, grants: Vec<Grant>) -> Vec<Part> {
        let asks = grants.iter().filter(|grant| grant.drafts > 0).map(|grant| {
            let sequence = &self.running[grant.index];
            DraftAsk {
                seq: sequence.seq,
                after: sequence.last(),
                max: grant.drafts,
            }
        });
        let proposed = propose(&mut *self.decoder, &asks.collect::<Vec<_>>());
        let mut proposed = proposed.map(Vec::into_iter).map_err(Arc::new);
        let mut parts = Vec::with_capacity(grants.len());
        for grant in grants {
            let drafted = match &mut proposed {
                _ if grant.drafts == 0 => Vec::new(),
                Ok(proposed) => proposed.next().unwrap_or_default(),
                Err(error) => {
                    self.running[grant.index].fail_with(error);
                    continue;
                }
            };
            parts.push(Part { grant, drafted });
        }
        parts
    }

    fn step(&self, parts: &[Part]) -> Step {
        let span =
            |part: &Part| self.running[part.grant.index].span(part.grant.tokens, &part.drafted);
        Step {
            spans: parts.iter().map(span).collect(),
        }
    }

    fn read(&mut self, parts: &[Part], logits: &Logits) {
        for (index, part) in parts.iter().enumerate() {
            let sequence = &mut self.running[part.grant.index];
            let rows = logits.span(index);
            if let Some(position) = sequence.read(part.grant.tokens, &part.drafted, rows) {
                self.decoder.rewind(sequence.seq, position);
            }
            if let Some(trouble) = self.decoder.trouble(sequence.seq) {
                sequence.meet(trouble);
            }
            sequence.save(&mut *self.decoder);
            sequence.release(&mut *self.decoder);
        }
    }

    fn fail(&mut self, parts: &[Part], error: deepseek_model::Error) {
        error!(sequences = parts.len(), %error, "the step failed");
        let error = Arc::new(error);
        for part in parts {
            self.running[part.grant.index].fail_with(&error);
        }
    }

    /// Frees the places of those who are over, then tells their readers.
    fn retire(&mut self) {
        for mut sequence in self.running.extract_if(.., |sequence| sequence.is_over()) {
            sequence.release(&mut *self.decoder);
            match sequence.leave(&mut *self.decoder) {
                Some(kept) => self.places.keep(kept),
                None => {
                    self.decoder.forget(sequence.seq);
                    self.places.free(sequence.seq);
                }
            }
            sequence.conclude();
        }
    }

    /// Waits until someone comes, goes or reads on.
    fn wait(&self, state: &QueueState) {
        let deadline = match state {
            QueueState::Closing(deadline) => *deadline,
            QueueState::Open | QueueState::Ended(_) => None,
        };
        // Who failed at drafting is still to be retired.
        if !self.running.iter().any(Sequence::is_over) && !self.has_work() {
            wake::wait(deadline);
        }
    }
}

/// Ends a request that was cancelled before it had a place.
fn turn_away(queued: Queued) {
    let prompt = queued.accepted.prompt.len();
    let usage = Usage {
        prompt: u32::try_from(prompt).expect("a prompt fits the context"),
        queued: queued.submitted.elapsed(),
        ..Usage::default()
    };
    queued.sender.end(Event::Finished {
        reason: Reason::Cancelled,
        usage,
    });
}

/// What a panic said.
fn said(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without words")
}
