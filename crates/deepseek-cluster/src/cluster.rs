//! Ranks as one decoder.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;

use deepseek_core::Rendezvous;
use deepseek_core::operands::Visits;
use deepseek_model::{
    Capacity, Decoder, DraftAsk, Error, Extent, Logits, Media, MediaId, Result, SeqId,
    SequenceState, Step, TokenId, Trouble,
};

use crate::command::{Answer, Command};
use crate::follower::{Follower, Reply, failed, told};
use crate::load::load_all;

/// Ranks that share a model, as one decoder. The first rank is called on the thread of the caller, each of
/// the others on its own.
#[derive(Debug)]
pub struct Cluster<D: Decoder> {
    leader: D,
    followers: Vec<Follower>,
    rendezvous: Arc<dyn Rendezvous>,
    /// Which rank is gone, and why.
    lost: Option<(usize, String)>,
    /// What is being loaded in parts, and where to.
    loading: Option<(SeqId, Arc<SequenceState>)>,
}

/// Lets ranks that wait for this one go where its call panics.
struct Departure<'a>(&'a dyn Rendezvous);

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail(0, "panicked");
        }
    }
}

impl<D: Decoder + 'static> Cluster<D> {
    /// Ranks in their order, of which the first answers, and where they meet.
    ///
    /// # Errors
    /// A system that gives no threads.
    pub fn new(
        leader: D,
        followers: impl IntoIterator<Item = D>,
        rendezvous: Arc<dyn Rendezvous>,
    ) -> Result<Self> {
        let followers = followers
            .into_iter()
            .enumerate()
            .map(|(index, decoder)| Follower::start(index + 1, decoder, Arc::clone(&rendezvous)));
        Ok(Self {
            leader,
            followers: followers.collect::<Result<_>>()?,
            rendezvous,
            lost: None,
            loading: None,
        })
    }

    /// Loads `world` ranks at once, each on a thread of its own. `progress` hears of the first one's layers,
    /// and may end the loading of all.
    ///
    /// # Errors
    /// What the first rank says that fails, and a system that gives no threads.
    ///
    /// # Panics
    /// If there are no ranks.
    pub fn load(
        rendezvous: Arc<dyn Rendezvous>,
        world: usize,
        progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
        load: impl Fn(usize, &mut dyn FnMut(usize, usize) -> ControlFlow<()>) -> Result<D> + Sync,
    ) -> Result<Self> {
        assert!(world > 0, "a cluster has ranks");
        let mut ranks = load_all(world, progress, load)?.into_iter();
        let leader = ranks.next().expect("one rank at least");
        Self::new(leader, ranks, rendezvous)
    }
}

impl<D: Decoder> Cluster<D> {
    /// The first rank.
    #[must_use]
    pub fn leader(&self) -> &D {
        &self.leader
    }

    /// Tells every rank a command, makes the call `own` of the first, and waits for all: what the first gives.
    fn call<T>(
        &mut self,
        command: &Command,
        own: impl FnOnce(&mut D) -> Result<T>,
    ) -> Result<T, Box<Failed<T>>> {
        if let Some((rank, why)) = &self.lost {
            let error = failed(*rank, why.clone());
            return Err(Box::new(Failed::new(error)));
        }
        for follower in &self.followers {
            follower.tell(command.clone());
        }
        let departure = Departure(&*self.rendezvous);
        let done = own(&mut self.leader);
        if let Err(error) = &done {
            self.rendezvous.fail(0, &told(error));
        }
        drop(departure);
        let mut answers = Vec::with_capacity(self.followers.len());
        let mut first = None;
        for follower in &self.followers {
            let rank = follower.rank();
            match follower.reply() {
                Reply::Ran(Ok(answer)) => answers.push((rank, answer)),
                Reply::Ran(Err(error)) => {
                    first.get_or_insert_with(|| failed_as(rank, &error));
                }
                Reply::Gone(why) => {
                    first.get_or_insert_with(|| failed(rank, why.clone()));
                    self.lost.get_or_insert((rank, why));
                }
            }
        }
        let error = match (done, first) {
            (Ok(own), None) => return Ok(own),
            (Ok(own), Some(error)) => Failed {
                error,
                own: Some(own),
                answers,
            },
            (Err(error), _) => Failed {
                error,
                own: None,
                answers,
            },
        };
        // All have come back, so they can meet again.
        self.rendezvous.renew();
        Err(Box::new(error))
    }

    /// The same, where nothing has to be undone.
    fn ask<T>(&mut self, command: &Command, own: impl FnOnce(&mut D) -> Result<T>) -> Result<T> {
        self.call(command, own).map_err(|failed| failed.error)
    }

    /// The same for a call that cannot fail but by the end of a rank, which the next one tells of.
    fn order(&mut self, command: &Command, own: impl FnOnce(&mut D)) {
        let ran = self.ask(command, |leader| {
            own(leader);
            Ok(())
        });
        if let Err(error) = ran {
            self.lost.get_or_insert_with(|| lost_by(&error));
        }
    }

    /// The same for what puts a sequence in a place, which is empty on all ranks where one could not.
    fn place<T>(
        &mut self,
        seq: SeqId,
        command: &Command,
        own: impl FnOnce(&mut D) -> Result<T>,
    ) -> Result<T> {
        let placed = self.ask(command, own);
        if placed.is_err() {
            self.loading = None;
            self.forget(seq);
        }
        placed
    }
}

/// A call that not all ranks could make.
struct Failed<T> {
    error: Error,
    /// What the first rank gave, if it could.
    own: Option<T>,
    /// Which others could, and what they answered.
    answers: Vec<(usize, Answer)>,
}

impl<T> Failed<T> {
    fn new(error: Error) -> Self {
        Self {
            error,
            own: None,
            answers: Vec::new(),
        }
    }
}

/// The error of a rank as that of all: one that is already told of stays what it is.
fn failed_as(rank: usize, error: &Error) -> Error {
    match error {
        Error::Core(deepseek_core::Error::Rank { rank, why }) => failed(*rank, why.clone()),
        other => failed(rank, told(other)),
    }
}

/// Which rank an error names, and why.
fn lost_by(error: &Error) -> (usize, String) {
    match error {
        Error::Core(deepseek_core::Error::Rank { rank, why }) => (*rank, why.clone()),
        other => (0, told(other)),
    }
}

impl<D: Decoder> Decoder for Cluster<D> {
    fn capacity(&self) -> Capacity {
        self.leader.capacity()
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        let command = Command::Step(Arc::new(step.clone()));
        self.ask(&command, |leader| leader.step(step))
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
        self.ask(&Command::Draft(asks.into()), |leader| leader.draft(asks))
    }

    /// All ranks have the same rows, so those of the first are enough.
    fn save(&mut self, seq: SeqId, extent: Extent) -> Result<SequenceState> {
        self.leader.save(seq, extent)
    }

    fn save_more(&mut self, seq: SeqId, state: &mut SequenceState, bytes: usize) -> Result<bool> {
        self.leader.save_more(seq, state, bytes)
    }

    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        let command = Command::Load(seq, Arc::new(state.clone()));
        self.place(seq, &command, |leader| leader.load(seq, state))
    }

    /// Copies the state once, when its first part is loaded.
    fn load_more(
        &mut self,
        seq: SeqId,
        state: &SequenceState,
        from: usize,
        bytes: usize,
    ) -> Result<Option<usize>> {
        let shared = match self.loading.take() {
            Some((place, shared)) if place == seq && from > 0 => shared,
            _ => Arc::new(state.clone()),
        };
        let command = Command::LoadMore {
            seq,
            state: Arc::clone(&shared),
            from,
            bytes,
        };
        let own = |leader: &mut D| leader.load_more(seq, state, from, bytes);
        let next = self.place(seq, &command, own)?;
        if next.is_some() {
            self.loading = Some((seq, shared));
        }
        Ok(next)
    }

    fn adopt(&mut self, seq: SeqId, tail: &mut SequenceState) -> Result<()> {
        let command = Command::Adopt(seq, Arc::new(tail.clone()));
        self.ask(&command, |leader| leader.adopt(seq, tail))
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        let command = Command::Rewind(seq, position);
        self.order(&command, |leader| leader.rewind(seq, position));
    }

    fn resume(&mut self, seq: SeqId, position: u32) {
        let command = Command::Resume(seq, position);
        self.order(&command, |leader| leader.resume(seq, position));
    }

    fn trouble(&self, seq: SeqId) -> Option<Trouble> {
        self.leader.trouble(seq)
    }

    /// Those of all ranks.
    fn visits(&self) -> Visits {
        let of_others = self.followers.iter().map(|follower| {
            follower.tell(Command::Visits);
            match follower.reply() {
                Reply::Ran(Ok(Answer::Visits(visits))) => visits,
                Reply::Ran(_) | Reply::Gone(_) => Visits::default(),
            }
        });
        of_others.sum::<Visits>() + self.leader.visits()
    }

    fn forget(&mut self, seq: SeqId) {
        self.order(&Command::Forget(seq), |leader| leader.forget(seq));
    }

    /// Where one rank cannot, those that could let go of it, so that all number media alike.
    fn attach(&mut self, media: &Media) -> Result<MediaId> {
        let command = Command::Attach(Arc::new(media.clone()));
        let Failed {
            error,
            own,
            answers,
        } = match self.call(&command, |leader| leader.attach(media)) {
            Ok(id) => return Ok(id),
            Err(failed) => *failed,
        };
        if let Some(id) = own {
            self.leader.release(id);
        }
        for (rank, answer) in answers {
            if let Answer::Attached(id) = answer {
                let follower = &self.followers[rank - 1];
                follower.tell(Command::Release(id));
                if let Reply::Gone(why) = follower.reply() {
                    self.lost.get_or_insert((rank, why));
                }
            }
        }
        Err(error)
    }

    fn release(&mut self, media: MediaId) {
        self.order(&Command::Release(media), |leader| leader.release(media));
    }
}
