//! `starts`: how many instances a second are started, answered and stopped by so many starters at once, and how long
//! one start takes beside others of its kind. Engines lock little; the kernel's locks (memory maps, process table,
//! mounts, network) and the daemons in between are what decides.
//!
//! Nothing is kept: an instance is stopped as soon as it has answered, and its starter makes the next. What is made
//! ahead, be it a pool of slots or of isolates, is used up within moments of a step and from then on has to be put back
//! as fast as it is taken, which a `stop` does or the next start waits for: either is within the rate.

use super::arrivals::Arrivals;
use super::bound;
use super::gate::{Gate, Stage};
use super::throughput::{encoded, histogram};
use super::{Case, start_answered};
use crate::backend::Deployment;
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases, nanos};
use hdrhistogram::Histogram as Hdr;
use isobench_core::record::{BoundBy, StartMode, Starts};
use isobench_core::{Experiment, Fault, FaultKind, Record};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How often the one starter beside others would start if a start took no time, in millihertz: it rests 1 ms on
/// average, by chance, so that it does not fall into step with the scheduler's tick. Long enough to have left its
/// processor to others; short enough that a step of ten seconds has thousands of its starts where they are quick.
const RESTS_MHZ: u64 = 1_000_000;

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    starters: &[u32],
    duration: Duration,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let mut went_well = 0;
    for &n in starters {
        for mode in [StartMode::Together, StartMode::Beside] {
            match (Step { request, deployment, n, mode, duration }.measure(case)) {
                Ok(starts) => emit(Record::Starts(starts)),
                Err(fault) if went_well > 0 => {
                    let reason = bound::of_fault(fault)?;
                    emit(bound::bound(request, Experiment::Starts, went_well, reason));
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            }
        }
        went_well = n;
    }
    let kind = if request.target.emulated { " where the processor is emulated" } else { "" };
    let why = format!("{went_well} starters are the most that were planned{kind}");
    emit(bound::bound(request, Experiment::Starts, went_well, (BoundBy::Count, why)));
    Ok(())
}

/// One number of starters, in one mode.
#[derive(Clone, Copy)]
struct Step<'a> {
    request: &'a BlockRequest,
    deployment: &'a dyn Deployment,
    n: u32,
    mode: StartMode,
    duration: Duration,
}

/// What one starter did.
struct Lane {
    timed: Option<[Hdr<u64>; 2]>,
    starts: u64,
    elapsed: Duration,
}

/// Says that the step is over when it goes: whoever comes to an end, well or by a fault or a panic, ends it for all,
/// so that nobody starts on alone.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Step<'_> {
    fn measure(&self, case: &Case) -> Result<Starts, Fault> {
        let [mut starts, mut destroys] = [histogram(), histogram()];
        let (mut count, mut elapsed) = (0, Duration::ZERO);
        for lane in self.lanes(case)? {
            count += lane.starts;
            elapsed += lane.elapsed;
            for (sum, part) in [&mut starts, &mut destroys].into_iter().zip(lane.timed.iter().flatten()) {
                sum.add(part).expect("the same bounds");
            }
        }
        Ok(Starts {
            cell: self.request.cell,
            block: self.request.block,
            n: self.n,
            mode: self.mode,
            starts: count,
            elapsed_ns: nanos(elapsed / self.n),
            hdr: encoded(&starts)?,
            destroy_hdr: encoded(&destroys)?,
        })
    }

    /// Runs the starters, each on a thread of its own; the first fault, if there is one, stands for all.
    fn lanes(&self, case: &Case) -> Result<Vec<Lane>, Fault> {
        let (gate, over) = (Gate::new(), AtomicBool::new(false));
        let (ready, others): (Sender<()>, Receiver<()>) = channel();
        std::thread::scope(|scope| {
            let mut threads = Vec::with_capacity(self.n as usize);
            for i in 0..self.n {
                let (case, ready, gate, over) = (case.again(), ready.clone(), &gate, &over);
                // Of those that work beside one, the first is the one.
                let timed = self.mode == StartMode::Together || i == 0;
                let thread = move || self.lane(&case, timed, ready, gate, over);
                match std::thread::Builder::new().spawn_scoped(scope, thread) {
                    Ok(thread) => threads.push(thread),
                    Err(e) => {
                        gate.open(Stage::Abandon);
                        return Err(Fault::new(FaultKind::Internal, format!("a thread for one of {}: {e}", self.n)));
                    }
                }
            }
            drop(ready);
            // Nothing is ever sent: it ends when the last starter has let go of its end, be it by a panic.
            let _all_ready = others.recv();
            gate.open(Stage::Go);
            let panicked = || Fault::new(FaultKind::Internal, "a thread of the starters panicked");
            let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked())));
            // All are joined before the first fault is looked at.
            let lanes: Vec<Result<Lane, Fault>> = joined.collect();
            lanes.into_iter().collect()
        })
    }

    /// One starter. Those that are timed go on for the step's time, the others until those are done.
    fn lane(&self, case: &Case, timed: bool, ready: Sender<()>, gate: &Gate, over: &AtomicBool) -> Result<Lane, Fault> {
        let mut phases = Phases::new();
        // What an engine keeps for a thread is made by the thread's first start, as by the first in a process.
        let warmed = if self.request.in_process { self.one(case, &mut phases).map(drop) } else { Ok(()) };
        drop(ready);
        if gate.wait_for(Stage::Go) == Stage::Abandon {
            return Ok(Lane { timed: None, starts: 0, elapsed: Duration::ZERO });
        }
        let _ends = Ends(over);
        warmed?;
        let mut rests = Arrivals::new(u64::from(self.request.block), RESTS_MHZ);
        let mut rested = Duration::ZERO;
        let mut lane = Lane { timed: timed.then(|| [histogram(), histogram()]), starts: 0, elapsed: Duration::ZERO };
        let begun = Instant::now();
        loop {
            let times = self.one(case, &mut phases)?;
            lane.starts += 1;
            for (histogram, ns) in lane.timed.iter_mut().flatten().zip(times) {
                histogram.saturating_record(ns);
            }
            if over.load(Ordering::Relaxed) || (timed && begun.elapsed() >= self.duration) {
                lane.elapsed = begun.elapsed();
                return Ok(lane);
            }
            if timed && self.mode == StartMode::Beside {
                let next = rests.next().unwrap_or(rested);
                std::thread::sleep(next - rested);
                rested = next;
            }
        }
    }

    /// An instance that comes, answers and goes: nanoseconds to its answer, and those of its end.
    fn one(&self, case: &Case, phases: &mut Phases) -> Result<[u64; 2], Fault> {
        let instance = start_answered(self.request, self.deployment, case, phases)?;
        let before = Instant::now();
        instance.stop(Deadline::after(self.request.target.limits.stop_deadline()))?;
        Ok([phases.total(), nanos(before.elapsed())])
    }
}
