//! Deadlines: one thread per process terminates what runs too long.
//!
//! Arming and disarming is one atomic each, because it is done around every call that is timed. The thread looks at all
//! deadlines every few milliseconds, which is how late a termination can be.

use isobench_runner::stopwatch::{Deadline, nanos};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How often the thread looks: rarely enough to cost a measurement nothing (200 wake-ups of a few microseconds a second)
/// and often enough for deadlines of a hundred milliseconds.
const POLL: Duration = Duration::from_millis(5);

/// Nothing runs.
const IDLE: u64 = 0;
/// The thread is about to terminate it.
const FIRING: u64 = u64::MAX - 1;
/// The thread has terminated it.
const FIRED: u64 = u64::MAX;

struct Watched {
    /// When it is due, in nanoseconds since the thread's epoch, or one of the states above.
    due: AtomicU64,
    isolate: v8::IsolateHandle,
}

struct Watchdog {
    epoch: Instant,
    watched: Mutex<Vec<Arc<Watched>>>,
}

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

/// An isolate under the watchdog's eyes, until dropped.
pub(crate) struct Watch {
    watchdog: &'static Watchdog,
    watched: Arc<Watched>,
}

impl Watch {
    pub(crate) fn new(isolate: v8::IsolateHandle) -> Watch {
        let watchdog = WATCHDOG.get_or_init(|| {
            std::thread::Builder::new().name("watchdog".into()).spawn(patrol).expect("a thread for deadlines");
            // A second back, so that no deadline is `IDLE`.
            let epoch = Instant::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(Instant::now);
            Watchdog { epoch, watched: Mutex::new(Vec::new()) }
        });
        let watched = Arc::new(Watched { due: AtomicU64::new(IDLE), isolate });
        watchdog.watched.lock().expect("nobody panics under this lock").push(Arc::clone(&watched));
        Watch { watchdog, watched }
    }

    pub(crate) fn arm(&self, deadline: Deadline) {
        let due = nanos(deadline.at().saturating_duration_since(self.watchdog.epoch));
        self.watched.due.store(due.clamp(IDLE + 1, FIRING - 1), Ordering::Relaxed);
    }

    /// Ends the watch; answers whether execution was terminated. If it was, the termination has been requested by the
    /// time this returns, so that cancelling it cannot come too early and hit the next call.
    pub(crate) fn disarm(&self) -> bool {
        let due = &self.watched.due;
        let armed = due.load(Ordering::Relaxed);
        if armed < FIRING && due.compare_exchange(armed, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return false;
        }
        while due.load(Ordering::Acquire) != FIRED {
            std::thread::yield_now();
        }
        due.store(IDLE, Ordering::Relaxed);
        true
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watchdog.watched.lock().expect("nobody panics under this lock");
        if let Some(at) = all.iter().position(|w| Arc::ptr_eq(w, &self.watched)) {
            all.swap_remove(at);
        }
    }
}

fn patrol() {
    let watchdog = WATCHDOG.wait();
    loop {
        std::thread::sleep(POLL);
        let now = nanos(watchdog.epoch.elapsed());
        for watched in watchdog.watched.lock().expect("nobody panics under this lock").iter() {
            let due = watched.due.load(Ordering::Relaxed);
            let overdue = due != IDLE && due < FIRING && due <= now;
            if overdue && watched.due.compare_exchange(due, FIRING, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                watched.isolate.terminate_execution();
                watched.due.store(FIRED, Ordering::Release);
            }
        }
    }
}
