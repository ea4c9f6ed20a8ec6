//! Keeps processors from halting.
//!
//! A call that crosses to another process finds that process asleep, and on a machine with nothing else to do its
//! processor has halted. In a virtual machine, waking a halted processor goes through the hypervisor and takes longer than
//! everything else about the call, so that a container could look cheaper than the process in it. A spinner on each
//! processor, in the scheduling class that runs only when nothing else wants to, keeps them awake without taking time from
//! what is measured.

use crate::probe::{dependent_steps, probe};
use crate::processors::{self, OURS};
use crate::stopwatch::nanos;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most that the contention probe may become slower while the spinners run: where processors are hardware threads of one
/// core, a spinner takes execution units from the work beside it. Then there are none.
const SLOWER: f64 = 1.03;

/// Probes on either side of that comparison; the fastest of each counts.
const PROBES: usize = 5;

/// Processors that are kept awake until it is dropped.
pub struct Awake {
    over: Arc<AtomicBool>,
    spinners: Vec<JoinHandle<()>>,
}

impl Awake {
    /// Keeps every processor awake that this process may use. `None` where that would cost the work something: a CPU quota
    /// is in force, or a spinner slows the probe.
    pub fn start() -> Option<Awake> {
        if crate::cgroup::Own::find().cpu_quota_milli().is_some() {
            return None;
        }
        let fastest = || (0..PROBES).map(|_| probe()).min().unwrap_or(0);
        let alone = fastest();
        let over = Arc::new(AtomicBool::new(false));
        let spinner = |processor: usize| {
            let over = Arc::clone(&over);
            let spin = move || spin(processor, &over);
            std::thread::Builder::new().name("awake".into()).spawn(spin).ok()
        };
        let awake = Awake { spinners: OURS.each().filter_map(spinner).collect(), over: Arc::clone(&over) };
        (fastest() as f64 <= alone as f64 * SLOWER).then_some(awake)
    }

    /// Returns how many processors are kept awake. A spinner that was refused its processor or its scheduling class has
    /// ended and does not count.
    pub fn processors(&self) -> u32 {
        self.spinners.iter().filter(|spinner| !spinner.is_finished()).count() as u32
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for spinner in self.spinners.drain(..) {
            // A spinner cannot panic, and there is nothing to be done about one that did.
            let _ = spinner.join();
        }
    }
}

/// Runs on one processor whenever nothing else wants it.
fn spin(processor: usize, over: &AtomicBool) {
    // SAFETY: plain calls for the calling thread, with a valid parameter block.
    let idle = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &libc::sched_param { sched_priority: 0 }) };
    if idle != 0 || !processors::pin(0, [processor]) {
        return;
    }
    let mut x = 1;
    while !over.load(Ordering::Relaxed) {
        // Every step waits for the one before: a sibling thread of the core keeps nearly all of its execution units. No
        // `pause`, which a hypervisor may take as a reason to run another machine.
        x = black_box(dependent_steps(x, 100));
    }
}

/// Round trips of each kind, and the rest before each: long enough that a processor with nothing to do halts.
const ROUND_TRIPS: usize = 100;
const REST: Duration = Duration::from_millis(1);

/// Median round trip of a byte between two threads on two processors, nanoseconds: as the machine is, and kept awake.
/// `None` with one processor, or where it cannot be kept awake.
pub fn wake_up_ns() -> Option<[u64; 2]> {
    let [asks, answers] = [OURS.each().next()?, OURS.each().nth(1)?];
    let halting = round_trip_ns(asks, answers)?;
    let _awake = Awake::start()?;
    Some([halting, round_trip_ns(asks, answers)?])
}

fn round_trip_ns(asks: usize, answers: usize) -> Option<u64> {
    let (mut here, mut there) = UnixStream::pair().ok()?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            processors::pin(0, [answers]);
            let mut byte = [0];
            // Until the other end is closed.
            while there.read_exact(&mut byte).and_then(|()| there.write_all(&byte)).is_ok() {}
        });
        // Moved in, so that it is closed however this thread ends.
        let asker = scope.spawn(move || {
            processors::pin(0, [asks]);
            let mut one = || {
                std::thread::sleep(REST);
                let begun = Instant::now();
                here.write_all(&[0]).and_then(|()| here.read_exact(&mut [0])).ok()?;
                Some(nanos(begun.elapsed()))
            };
            let mut all = (0..ROUND_TRIPS).map(|_| one()).collect::<Option<Vec<u64>>>()?;
            all.sort_unstable();
            Some(all[ROUND_TRIPS / 2])
        });
        asker.join().ok().flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinners_end_with_it() {
        let Some(awake) = Awake::start() else {
            return eprintln!("SKIPPED: a quota or a sibling thread forbids spinners");
        };
        assert_eq!(awake.processors() as usize, OURS.count());
        let over = Arc::clone(&awake.over);
        drop(awake);
        assert_eq!(Arc::strong_count(&over), 1, "no thread holds it any more");
    }
}
