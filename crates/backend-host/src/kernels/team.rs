//! Threads that share the turns of a loop.
//!
//! A step of a model is some hundred short loops, one right after the other. So whoever begins one takes
//! part in it, the others look for the next one awake for a while before they sleep, and nobody is waited
//! for who has not come in: a thread that the system runs late costs nothing but its help.
#![allow(
    unsafe_code,
    reason = "threads borrow what a loop works on until all of them have left it"
)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{fmt, hint, io, mem};

/// How long a thread stays awake for the next loop: about as long as it takes to wake one.
const AWAKE: Duration = Duration::from_micros(50);

/// Looks at a number before others are let run.
const LOOKS: u32 = 64;

/// Turns of a loop for each thread, at least: the more, the less the last one is waited for.
const SHARES: usize = 8;

/// A loop's number stands above [`OPEN`] and the count of those inside.
const NUMBER: u32 = 32;
/// The loop may be entered.
const OPEN: u64 = 1 << 31;
/// Threads inside, but for the one that began it.
const INSIDE: u64 = OPEN - 1;

thread_local! {
    /// Which of its team's threads this one is; 0 for all others.
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Threads that wait for loops.
pub(super) struct Team {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Number, [`OPEN`] and [`INSIDE`] of the newest loop.
    state: AtomicU64,
    /// What is done in it.
    current: UnsafeCell<Option<Loop>>,
    /// The turn that comes next.
    next: AtomicUsize,
    /// Held by who has begun a loop, with its number.
    begun: Mutex<u64>,
    /// Whether a thread panicked in the loop, and what it said.
    has_panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// How long threads stay awake.
    awake: Duration,
    sleeping: AtomicUsize,
    bed: Mutex<()>,
    alarm: Condvar,
    is_over: AtomicBool,
}

// SAFETY: `current` is written by who holds `begun`, while nobody is inside; it is read by those inside.
unsafe impl Sync for Shared {}
// SAFETY: the loop that it points to may run on any thread.
unsafe impl Send for Shared {}

#[derive(Clone, Copy)]
struct Loop {
    body: *const (dyn Fn(usize) + Sync),
    count: usize,
    /// Turns that are taken at once.
    batch: usize,
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Team({} threads)", self.count())
    }
}

impl Team {
    /// A team of `count` threads, at least one: those that begin loops are one of them.
    ///
    /// # Errors
    /// If the system gives no more threads.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let mut team = Self {
            shared: Arc::new(Shared {
                state: AtomicU64::new(0),
                current: UnsafeCell::new(None),
                next: AtomicUsize::new(0),
                begun: Mutex::new(0),
                has_panicked: AtomicBool::new(false),
                panic: Mutex::new(None),
                // With fewer cores than threads, who looks for work keeps others from it.
                awake: if count <= cores {
                    AWAKE
                } else {
                    Duration::ZERO
                },
                sleeping: AtomicUsize::new(0),
                bed: Mutex::new(()),
                alarm: Condvar::new(),
                is_over: AtomicBool::new(false),
            }),
            threads: Vec::new(),
        };
        for index in 1..count {
            let shared = Arc::clone(&team.shared);
            let thread = thread::Builder::new().name(format!("kernel-{index}"));
            team.threads.push(thread.spawn(move || {
                INDEX.set(index);
                shared.help();
            })?);
        }
        Ok(team)
    }

    /// How many threads there are.
    pub(super) fn count(&self) -> usize {
        self.threads.len() + 1
    }

    /// Which of the threads runs this; 0 is whoever begins loops.
    pub(super) fn index() -> usize {
        INDEX.get()
    }

    /// Runs `body` on each of `0..count`, in any order, and returns when all are done. Within a loop, and
    /// while another thread has begun one, all turns are those of the caller.
    ///
    /// # Panics
    /// If `body` does; the other turns may have been taken or not.
    pub(super) fn run(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        let begun = match self.shared.begun.try_lock() {
            _ if count <= 1 || self.threads.is_empty() => None,
            Ok(begun) => Some(begun),
            Err(TryLockError::Poisoned(begun)) => Some(begun.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        };
        let Some(mut begun) = begun else {
            return (0..count).for_each(body);
        };
        // SAFETY: the pointer is used by those inside the loop alone, and this function ends when nobody is.
        let body = unsafe {
            mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(body)
        };
        let turns = Loop {
            body,
            count,
            batch: (count / (self.count() * SHARES)).max(1),
        };
        let shared = &*self.shared;
        // SAFETY: nobody is inside: the loop before was left by all.
        unsafe { *shared.current.get() = Some(turns) };
        shared.next.store(0, Ordering::Relaxed);
        shared.has_panicked.store(false, Ordering::Relaxed);
        *begun = (*begun + 1) & u64::from(u32::MAX);
        shared
            .state
            .store(*begun << NUMBER | OPEN, Ordering::SeqCst);
        let open = Open(shared);
        shared.wake();
        shared.take_turns(turns);
        drop(open);
        // A panic of this thread has left by now, and what another said then is replaced by the next.
        let has_panicked = shared.has_panicked.load(Ordering::Relaxed);
        let payload = has_panicked.then(|| lock(&shared.panic).take()).flatten();
        drop(begun);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.bed));
        self.shared.alarm.notify_all();
        for thread in self.threads.drain(..) {
            // It catches all panics, so there is nothing to hear of.
            let _ = thread.join();
        }
    }
}

/// A loop that may be entered. Closed when dropped, whatever happened within, and left by all.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state.fetch_and(!OPEN, Ordering::AcqRel);
        let mut looks = 0;
        while self.0.state.load(Ordering::Acquire) & INSIDE > 0 {
            look_away(&mut looks);
        }
    }
}

/// Nothing that holds one of the locks can fail halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a moment, and from time to time lets others run.
fn look_away(looks: &mut u32) {
    *looks += 1;
    match *looks % LOOKS {
        0 => thread::yield_now(),
        _ => hint::spin_loop(),
    }
}

impl Shared {
    /// Wakes those who sleep.
    fn wake(&self) {
        // The loop was opened before this is read, and who goes to sleep is counted before it looks for one.
        if self.sleeping.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.bed));
            self.alarm.notify_all();
        }
    }

    /// Takes turns of a loop until none is left.
    fn take_turns(&self, turns: Loop) {
        // SAFETY: whoever calls this is inside the loop.
        let body = unsafe { &*turns.body };
        loop {
            let first = self.next.fetch_add(turns.batch, Ordering::Relaxed);
            if first >= turns.count {
                return;
            }
            (first..turns.count.min(first + turns.batch)).for_each(body);
        }
    }

    /// Whether a loop is open that is not the one `seen` last.
    fn is_open(&self, seen: u64) -> bool {
        let state = self.state.load(Ordering::SeqCst);
        state & OPEN > 0 && state >> NUMBER != seen
    }

    /// Takes part in the loop that is open, if it is not the one `seen` last.
    fn join(&self, seen: &mut u64) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if state & OPEN == 0 || state >> NUMBER == *seen {
                return false;
            }
            let (before, inside) = (Ordering::Acquire, Ordering::Acquire);
            match self
                .state
                .compare_exchange_weak(state, state + 1, inside, before)
            {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        *seen = state >> NUMBER;
        // SAFETY: a loop was open, and is not replaced as long as this thread is inside.
        let turns = unsafe { *self.current.get() };
        let turns = turns.expect("a loop that is open is there");
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.take_turns(turns))) {
            *lock(&self.panic) = Some(payload);
            self.has_panicked.store(true, Ordering::Relaxed);
        }
        self.state.fetch_sub(1, Ordering::Release);
        true
    }

    /// What a thread does all its life.
    fn help(&self) {
        let mut seen = 0;
        loop {
            let start = Instant::now();
            let mut looks = 0;
            while !self.join(&mut seen) {
                look_away(&mut looks);
                if looks % LOOKS == 0 && start.elapsed() >= self.awake {
                    self.sleep(seen);
                }
                if self.is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }

    /// Sleeps until a loop is open or all is over.
    fn sleep(&self, seen: u64) {
        let bed = lock(&self.bed);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        let nothing = |(): &mut ()| !self.is_open(seen) && !self.is_over.load(Ordering::SeqCst);
        drop(self.alarm.wait_while(bed, nothing));
        self.sleeping.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(count: usize) -> Team {
        Team::start(count).expect("the system gives threads")
    }

    /// Runs a loop in which each turn is counted.
    fn count(team: &Team, turns: usize) {
        let taken: Vec<AtomicUsize> = (0..turns).map(|_| AtomicUsize::new(0)).collect();
        team.run(turns, &|turn| {
            taken[turn].fetch_add(1, Ordering::Relaxed);
        });
        let taken = taken.into_iter().map(AtomicUsize::into_inner);
        assert!(taken.into_iter().all(|times| times == 1), "{turns} turns");
    }

    #[test]
    fn every_turn_is_taken_once() {
        for threads in [1, 2, 3, 16] {
            let team = team(threads);
            assert_eq!(team.count(), threads);
            for turns in (0..200).chain([1000, 10_000]) {
                count(&team, turns);
            }
        }
    }

    #[test]
    fn a_loop_finds_its_threads_awake_or_asleep() {
        let team = team(3);
        for pause in [0, 10, 40, 60, 200, 1000] {
            for _ in 0..50 {
                count(&team, 7);
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(pause) {
                    hint::spin_loop();
                }
            }
        }
    }

    #[test]
    fn all_threads_take_part() {
        let team = team(3);
        // Each turn waits until as many threads as there are have come in.
        let inside = Mutex::new(Vec::new());
        team.run(3, &|_| {
            lock(&inside).push(Team::index());
            while lock(&inside).len() < 3 {
                thread::yield_now();
            }
        });
        let mut inside = inside.into_inner().expect("no panic");
        inside.sort_unstable();
        assert_eq!(inside, [0, 1, 2]);
    }

    #[test]
    fn a_loop_within_a_loop_is_its_callers() {
        let team = team(4);
        let taken = AtomicUsize::new(0);
        team.run(10, &|_| {
            let index = Team::index();
            team.run(10, &|_| {
                assert_eq!(Team::index(), index);
                taken.fetch_add(1, Ordering::Relaxed);
            });
        });
        assert_eq!(taken.into_inner(), 100);
    }

    #[test]
    fn loops_may_begin_on_several_threads() {
        let team = team(3);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..200).for_each(|turns| count(&team, turns)));
            }
        });
    }

    #[test]
    fn a_panic_reaches_who_began_the_loop() {
        let team = team(3);
        for bad in [0, 50, 99] {
            let ran = catch_unwind(AssertUnwindSafe(|| {
                team.run(100, &|turn| assert_ne!(turn, bad, "this one"));
            }));
            let said = *ran
                .expect_err("a panic")
                .downcast::<String>()
                .expect("text");
            assert!(said.contains("this one"), "{said}");
            count(&team, 100);
        }
        // All threads at once, of which one is heard.
        for _ in 0..20 {
            let inside = AtomicUsize::new(0);
            let ran = catch_unwind(AssertUnwindSafe(|| {
                team.run(3, &|_| {
                    inside.fetch_add(1, Ordering::Relaxed);
                    while inside.load(Ordering::Relaxed) < 3 {
                        thread::yield_now();
                    }
                    panic!("that one");
                });
            }));
            assert!(ran.is_err());
            count(&team, 100);
        }
    }
}
