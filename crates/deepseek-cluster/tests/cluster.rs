//! Ranks that add up, fail, panic and go on.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use deepseek_audio::Chunk;
use deepseek_cluster::Cluster;
use deepseek_core::operands::Visits;
use deepseek_core::{Error as CoreError, Group, HostTensor, Member};
use deepseek_model::{
    Capacity, Decoder, DraftAsk, Error, Extent, Logits, Media, MediaId, Placeholders, Result,
    SeqId, SequenceState, Span, Step, TokenId, Want,
};

/// What a rank does at its next call, in place of what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Right,
    /// Before it meets the others.
    Fails,
    Panics,
    /// It meets them for something else.
    Differs,
}

/// A rank whose logits are the sum of a number of each rank, and of what it holds.
#[derive(Debug)]
struct Rank {
    member: Member,
    next: Arc<Mutex<Next>>,
    /// Positions of two sequences.
    positions: [u32; 2],
    media: Vec<bool>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Rank {
    fn called(&self, what: impl Into<String>) {
        self.calls.lock().expect("no panic").push(what.into());
    }

    fn fault(&self) -> Error {
        CoreError::Device {
            device: format!("device {}", self.member.rank()),
            why: "on purpose".to_owned(),
        }
        .into()
    }

    /// What is to happen, once.
    fn happens(&self) -> Next {
        std::mem::replace(&mut *self.next.lock().expect("no panic"), Next::Right)
    }
}

impl Decoder for Rank {
    fn capacity(&self) -> Capacity {
        Capacity {
            vocabulary: 2,
            context: 100,
            sequences: 2,
            step_tokens: 10,
            rewind: 10,
            drafts: 1,
            vision: None,
            audio: None,
            placeholders: Placeholders::default(),
        }
    }

    fn step(&mut self, step: &Step) -> Result<Logits> {
        let mut own = vec![self.member.rank() as f32 + 1.0, self.positions[0] as f32];
        match self.happens() {
            Next::Right => {}
            Next::Fails => return Err(self.fault()),
            Next::Panics => panic!("a bug on purpose"),
            Next::Differs => own.push(0.0),
        }
        let mut sum = vec![0.0; own.len()];
        self.member.all_reduce(&own, &mut sum)?;
        for span in &step.spans {
            self.positions[span.seq.0 as usize] += span.tokens.len() as u32;
        }
        Ok(Logits::new(2, sum, &[1]))
    }

    fn draft(&mut self, asks: &[DraftAsk]) -> Result<Vec<Vec<TokenId>>> {
        self.called("draft");
        Ok(asks.iter().map(|ask| vec![ask.after]).collect())
    }

    fn save(&mut self, seq: SeqId, _: Extent) -> Result<SequenceState> {
        let position = self.positions[seq.0 as usize];
        Ok(SequenceState::new(position, vec![vec![7]]))
    }

    fn load(&mut self, seq: SeqId, state: &SequenceState) -> Result<()> {
        self.positions[seq.0 as usize] = 0;
        if self.happens() == Next::Fails {
            return Err(self.fault());
        }
        self.positions[seq.0 as usize] = state.position();
        Ok(())
    }

    fn load_more(
        &mut self,
        seq: SeqId,
        state: &SequenceState,
        from: usize,
        _: usize,
    ) -> Result<Option<usize>> {
        self.called(format!("load from {from}"));
        if from < 2 {
            return Ok(Some(from + 1));
        }
        self.load(seq, state).map(|()| None)
    }

    fn rewind(&mut self, seq: SeqId, position: u32) {
        self.positions[seq.0 as usize] = position;
    }

    fn resume(&mut self, seq: SeqId, position: u32) {
        self.called("resume");
        self.rewind(seq, position);
    }

    fn forget(&mut self, seq: SeqId) {
        self.called("forget");
        self.positions[seq.0 as usize] = 0;
    }

    fn visits(&self) -> Visits {
        Visits {
            count: 10,
            fetched: self.member.rank() as u64,
        }
    }

    fn attach(&mut self, _: &Media) -> Result<MediaId> {
        if self.happens() == Next::Fails {
            return Err(self.fault());
        }
        let free = self.media.iter().position(|held| !held);
        let id = free.unwrap_or(self.media.len());
        self.media.resize(self.media.len().max(id + 1), true);
        self.media[id] = true;
        Ok(MediaId(id as u32))
    }

    fn release(&mut self, media: MediaId) {
        self.media[media.0 as usize] = false;
    }
}

/// Ranks, and what each is to do and has been asked.
struct Ranks {
    cluster: Cluster<Rank>,
    next: Vec<Arc<Mutex<Next>>>,
    calls: Vec<Arc<Mutex<Vec<String>>>>,
}

impl Ranks {
    fn start(world: usize) -> Self {
        let members = Group::of(world);
        let next: Vec<_> = (0..world)
            .map(|_| Arc::new(Mutex::new(Next::Right)))
            .collect();
        let calls: Vec<_> = (0..world).map(|_| Arc::default()).collect();
        let meeting = members[0].rendezvous();
        let mut go_on = |_, _| ControlFlow::Continue(());
        let cluster = Cluster::load(meeting, world, &mut go_on, |rank, _| {
            Ok(Rank {
                member: members[rank].clone(),
                next: Arc::clone(&next[rank]),
                positions: [0; 2],
                media: Vec::new(),
                calls: Arc::clone(&calls[rank]),
            })
        });
        Self {
            cluster: cluster.expect("threads"),
            next,
            calls,
        }
    }

    fn let_rank(&self, rank: usize, next: Next) {
        *self.next[rank].lock().expect("no panic") = next;
    }

    fn calls_of(&self, rank: usize) -> Vec<String> {
        std::mem::take(&mut *self.calls[rank].lock().expect("no panic"))
    }

    fn step(&mut self) -> Result<Vec<f32>> {
        let at = self.cluster.leader().positions[0];
        let span = Span {
            seq: SeqId(0),
            at,
            tokens: vec![1],
            media: Vec::new(),
            want: Want::Last,
        };
        let step = Step { spans: vec![span] };
        self.cluster.step(&step).map(Logits::into_values)
    }
}

fn told<T: std::fmt::Debug>(result: Result<T>) -> (usize, String) {
    match result.expect_err("a rank failed") {
        Error::Core(CoreError::Rank { rank, why }) => (rank, why),
        other => panic!("{other}"),
    }
}

#[test]
fn every_rank_makes_every_call() -> Result<()> {
    let mut ranks = Ranks::start(3);
    assert_eq!(ranks.step()?, [6.0, 0.0]);
    assert_eq!(ranks.step()?, [6.0, 3.0]);
    ranks.cluster.rewind(SeqId(0), 1);
    assert_eq!(ranks.step()?, [6.0, 3.0]);
    let saved = ranks.cluster.save(SeqId(0), Extent::Whole)?;
    ranks.cluster.forget(SeqId(0));
    assert_eq!(ranks.step()?, [6.0, 0.0]);
    ranks.cluster.load(SeqId(0), &saved)?;
    assert_eq!(ranks.step()?, [6.0, 6.0]);
    ranks.cluster.resume(SeqId(0), 1);
    assert_eq!(ranks.step()?, [6.0, 3.0]);
    let ask = DraftAsk {
        seq: SeqId(0),
        after: 5,
        max: 1,
    };
    assert_eq!(ranks.cluster.draft(&[ask])?, [[5]]);
    let visits = Visits {
        count: 30,
        fetched: 3,
    };
    assert_eq!(ranks.cluster.visits(), visits);
    let of = ranks.calls_of(0);
    assert_eq!(of, ["forget", "resume", "draft"]);
    assert_eq!((ranks.calls_of(1), ranks.calls_of(2)), (of.clone(), of));
    Ok(())
}

#[test]
fn a_sequence_is_loaded_in_parts_on_every_rank() -> Result<()> {
    let mut ranks = Ranks::start(2);
    let state = SequenceState::new(4, vec![vec![7]]);
    let mut from = Some(0);
    while let Some(at) = from {
        from = ranks.cluster.load_more(SeqId(0), &state, at, 1)?;
    }
    let parts = ["load from 0", "load from 1", "load from 2"];
    assert_eq!(ranks.calls_of(1), parts);
    assert_eq!(ranks.step()?, [3.0, 8.0]);
    Ok(())
}

#[test]
fn a_rank_that_fails_fails_the_call_and_all_go_on() -> Result<()> {
    let mut ranks = Ranks::start(3);
    for rank in 0..3 {
        ranks.let_rank(rank, Next::Fails);
        let error = ranks.step().expect_err("a rank failed");
        let why = format!("device {rank} failed: on purpose");
        match rank {
            0 => assert_eq!(error.to_string(), why),
            _ => assert_eq!(told::<()>(Err(error)), (rank, why)),
        }
        ranks.cluster.forget(SeqId(0));
        assert_eq!(ranks.step()?, [6.0, 0.0]);
        ranks.cluster.forget(SeqId(0));
    }
    // Two at once, and one that asks for something else.
    ranks.let_rank(1, Next::Fails);
    ranks.let_rank(2, Next::Fails);
    assert!(ranks.step().is_err());
    ranks.let_rank(1, Next::Differs);
    let (_, why) = told(ranks.step());
    assert!(why.contains("all_reduce of 3 numbers"), "{why}");
    ranks.cluster.forget(SeqId(0));
    assert_eq!(ranks.step()?, [6.0, 0.0]);
    Ok(())
}

#[test]
fn a_place_that_one_rank_could_not_fill_is_empty_on_all() -> Result<()> {
    let mut ranks = Ranks::start(2);
    let state = SequenceState::new(4, vec![vec![7]]);
    ranks.let_rank(1, Next::Fails);
    assert_eq!(told(ranks.cluster.load(SeqId(0), &state)).0, 1);
    assert_eq!(ranks.step()?, [3.0, 0.0]);
    Ok(())
}

#[test]
fn a_rank_that_panics_ends_all_of_them_with_an_error() {
    let mut ranks = Ranks::start(3);
    ranks.let_rank(2, Next::Panics);
    let gone = (2, "panicked: a bug on purpose".to_owned());
    assert_eq!(told(ranks.step()), gone);
    assert_eq!(told(ranks.step()).0, 2);
    // Calls without an answer do not wait for it either.
    ranks.cluster.forget(SeqId(0));
    ranks.cluster.release(MediaId(0));
    assert_eq!(ranks.cluster.visits().count, 20);
    assert_eq!(told(ranks.cluster.draft(&[])).0, 2);
}

#[test]
fn the_first_rank_may_panic_and_the_others_end() {
    let mut ranks = Ranks::start(3);
    ranks.let_rank(0, Next::Panics);
    let ran = catch_unwind(AssertUnwindSafe(|| ranks.step()));
    assert!(ran.is_err());
    // Their threads have to end here.
    drop(ranks);
}

#[test]
fn media_have_the_same_number_on_every_rank_whoever_failed() -> Result<()> {
    let mut ranks = Ranks::start(3);
    let chunk = Chunk {
        start: 0,
        label: None,
        features: HostTensor::new(&[1, 1], vec![0.0]),
        tokens: 1,
    };
    let audio = Media::Audio(chunk);
    for rank in 0..3 {
        ranks.let_rank(rank, Next::Fails);
        assert!(ranks.cluster.attach(&audio).is_err(), "rank {rank}");
    }
    let first = ranks.cluster.attach(&audio)?;
    assert_eq!(
        (first, ranks.cluster.attach(&audio)?),
        (MediaId(0), MediaId(1))
    );
    ranks.cluster.release(first);
    assert_eq!(ranks.cluster.attach(&audio)?, first);
    Ok(())
}

#[test]
fn loading_ends_on_all_ranks_where_one_fails() {
    let members = Group::of(3);
    let meeting = members[0].rendezvous();
    let load = |rank: usize, progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>| {
        if rank == 1 {
            return Err(Error::NoVision);
        }
        // The others have layers for as long as nobody stops them.
        while progress(0, 1) == ControlFlow::Continue(()) {
            std::thread::yield_now();
        }
        Err::<Rank, _>(Error::Interrupted)
    };
    let mut go_on = |_, _| ControlFlow::Continue(());
    let loaded = Cluster::load(Arc::clone(&meeting), 3, &mut go_on, load);
    assert!(matches!(loaded, Err(Error::NoVision)));

    // And where whoever is told of the progress stops it.
    let load = |_: usize, progress: &mut dyn FnMut(usize, usize) -> ControlFlow<()>| {
        while progress(0, 1) == ControlFlow::Continue(()) {
            std::thread::yield_now();
        }
        Err::<Rank, _>(Error::Interrupted)
    };
    let loaded = Cluster::load(meeting, 3, &mut |_, _| ControlFlow::Break(()), load);
    assert!(matches!(loaded, Err(Error::Interrupted)));
}
