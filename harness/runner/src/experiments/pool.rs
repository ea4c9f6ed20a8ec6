//! Who serves the next request of an open loop: the arrivals, the instances that wait for them, and their threads.
//!
//! There is no dispatcher that could be late by itself. Every idle instance's thread stands in line, and the head of
//! the line sleeps until the next arrival: it takes the request, hands the head to the one behind it, and serves. When
//! nobody stands in line, requests wait; who comes back takes the oldest at once. That is a queue with as many servers
//! as instances, whose arrivals do not depend on the answers.

use super::arrivals::Arrivals;
use std::iter::Peekable;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where requests come from.
pub(super) enum Source {
    /// Arrivals by the clock, for so long.
    Poisson(Box<Peekable<Arrivals>>, Duration),
    /// Always one more, for so long: how a capacity is found.
    Endless(Duration),
}

impl Source {
    /// The next request's intended start; `None` once there will be no more.
    fn peek(&mut self, now: Duration) -> Option<Duration> {
        match self {
            Source::Poisson(arrivals, end) => arrivals.peek().copied().filter(|at| at < end),
            Source::Endless(end) => (now < *end).then_some(now),
        }
    }

    fn advance(&mut self) {
        if let Source::Poisson(arrivals, _) = self {
            arrivals.next();
        }
    }
}

/// What a thread is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Serve the request that was to start at `intended`.
    Serve {
        /// Its intended start.
        intended: Instant,
        /// Nobody was free then.
        late: bool,
    },
    /// Nobody needed the instance for as long as it is kept: stop it, and come back without.
    Expire,
    /// There will be no more requests.
    End,
}

/// The line and the arrivals.
pub(super) struct Pool {
    state: Mutex<State>,
    /// One for each thread.
    wake: Vec<Condvar>,
    begun: Instant,
    /// How long a request waits at most.
    patience: Duration,
}

/// What came of the arrivals.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    /// Requests that arrived.
    pub offered: u64,
    /// Of those, given up.
    pub dropped: u64,
    /// First and last arrival.
    pub span: Option<(Duration, Duration)>,
    /// Instances alive, and the most there were.
    live: u32,
    pub most_live: u32,
}

struct State {
    source: Source,
    /// Idle threads with an instance, the last used at the end; then those without.
    ready: Vec<usize>,
    empty: Vec<usize>,
    counts: Counts,
    ended: bool,
}

impl State {
    fn head(&self) -> Option<usize> {
        self.ready.last().or(self.empty.last()).copied()
    }

    fn leave(&mut self, thread: usize) {
        self.ready.retain(|t| *t != thread);
        self.empty.retain(|t| *t != thread);
    }

    fn arrived(&mut self, at: Duration) {
        self.source.advance();
        self.counts.offered += 1;
        self.counts.span = Some((self.counts.span.map_or(at, |(first, _)| first), at));
    }
}

impl Pool {
    /// A pool of `threads` threads, whose clock begins now.
    pub fn new(source: Source, threads: usize, patience: Duration) -> Pool {
        let counts = Counts::default();
        let state = State { source, ready: Vec::new(), empty: Vec::new(), counts, ended: false };
        Pool {
            state: Mutex::new(state),
            wake: (0..threads).map(|_| Condvar::new()).collect(),
            begun: Instant::now(),
            patience,
        }
    }

    /// What came of the arrivals so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// When the clock began.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// An instance more or less is alive.
    pub fn alive(&self, change: i32) {
        let counts = &mut self.lock().counts;
        counts.live = counts.live.saturating_add_signed(change);
        counts.most_live = counts.most_live.max(counts.live);
    }

    /// No more requests for anybody: something went wrong.
    pub fn end(&self) {
        self.finish(&mut self.lock());
    }

    /// Stands in line, with an instance that is kept until `expires` or without one, until there is something to do.
    pub fn next(&self, thread: usize, ready: bool, expires: Option<Instant>) -> Turn {
        let mut state = self.lock();
        let mut nobody_was_free = state.head().is_none();
        if ready {
            state.ready.push(thread)
        } else {
            state.empty.push(thread)
        }
        loop {
            let now = Instant::now();
            let since = now.saturating_duration_since(self.begun);
            while let Some(at) = state.source.peek(since).filter(|at| *at + self.patience <= since) {
                state.arrived(at);
                state.counts.dropped += 1;
            }
            let next = if state.ended { None } else { state.source.peek(since) };
            let Some(at) = next else {
                self.finish(&mut state);
                state.leave(thread);
                return Turn::End;
            };
            let head = state.head() == Some(thread);
            let intended = self.begun + at;
            // By the intended start and not by when this thread happens to run: on a busy machine it wakes late.
            if head && at <= since && expires.is_none_or(|expires| intended <= expires) {
                state.arrived(at);
                state.leave(thread);
                self.promote(state);
                return Turn::Serve { intended, late: nobody_was_free };
            }
            if expires.is_some_and(|expires| expires <= now) {
                state.leave(thread);
                self.promote(state);
                return Turn::Expire;
            }
            // Behind the head one is woken by who leaves it; the long wait is for nobody's sake but a bug's.
            let until = if head { self.begun + at } else { self.begun + at + self.patience };
            let until = expires.map_or(until, |expires| until.min(expires));
            let waited = self.wake[thread].wait_timeout(state, until.saturating_duration_since(now));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            nobody_was_free = false;
        }
    }

    /// Wakes who stands at the head now, after letting go of the lock that it needs.
    fn promote(&self, state: MutexGuard<State>) {
        let head = state.head();
        drop(state);
        if let Some(head) = head {
            self.wake[head].notify_one();
        }
    }

    fn finish(&self, state: &mut State) {
        if !state.ended {
            state.ended = true;
            self.wake.iter().for_each(Condvar::notify_one);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pool of one thread whose first request is due already.
    fn due() -> (Pool, Instant) {
        let arrivals = Arrivals::new(7, 1_000_000).peekable();
        let pool = Pool::new(Source::Poisson(Box::new(arrivals), Duration::from_secs(60)), 1, Duration::from_secs(60));
        let first = Arrivals::new(7, 1_000_000).next().unwrap();
        let intended = pool.begun() + first;
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        (pool, intended)
    }

    #[test]
    fn an_instance_serves_what_was_due_by_its_expiry_however_late_it_wakes() {
        let (pool, intended) = due();
        assert!(matches!(pool.next(0, true, Some(intended)), Turn::Serve { intended: at, .. } if at == intended));
        let (pool, intended) = due();
        let before = intended - Duration::from_nanos(1);
        assert_eq!(pool.next(0, true, Some(before)), Turn::Expire);
        // The thread comes back without an instance, and the request has not been lost.
        assert!(matches!(pool.next(0, false, None), Turn::Serve { intended: at, .. } if at == intended));
        assert_eq!(pool.counts().offered, 1);
    }
}
