//! `open_loop`: requests at a set rate, whatever becomes of those before. Latency counts from the intended start.

use super::arrivals::Arrivals;
use super::pool::{Pool, Source, Turn};
use super::throughput::{encoded, histogram};
use super::{Case, start_answered};
use crate::backend::{Deployment, Instance};
use crate::protocol::{BlockRequest, OpenLoop};
use crate::stopwatch::{Deadline, Phases, nanos};
use hdrhistogram::Histogram as Hdr;
use isobench_core::load::Rates;
use isobench_core::record::{Load, Policy};
use isobench_core::{Fault, FaultKind, Record, seed_of};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a cell is kept busy to find what it can answer.
const CALIBRATION: Duration = Duration::from_millis(500);

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    asked: &OpenLoop,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let threads = if let Policy::Warm(n) = asked.policy { n } else { asked.most_instances };
    with_lanes(request, deployment, case, asked.policy, threads.max(1), |run| {
        let rates: Vec<(u64, Option<u32>)> = match &asked.rates {
            Rates::Fixed(rates) => rates.iter().map(|&rate| (rate, None)).collect(),
            Rates::Sweep(percents) => {
                let capacity = capacity_mhz(asked.policy, run)?;
                percents.iter().map(|&percent| (capacity * u64::from(percent) / 100, Some(percent))).collect()
            }
        };
        for (rate_mhz, percent) in rates {
            let rate_mhz = rate_mhz.max(1);
            let wanted = Duration::from_secs_f64(f64::from(asked.requests) * 1e3 / rate_mhz as f64);
            let longest = Duration::from_millis(asked.longest_ms);
            let duration = wanted.max(Duration::from_millis(asked.shortest_ms)).min(longest);
            let seed = seed(asked.seed, request, asked.policy, rate_mhz, percent);
            let ran = run(Source::Poisson(Box::new(Arrivals::new(seed, rate_mhz).peekable()), duration))?;
            emit(Record::Load(ran.record(request, asked.policy, rate_mhz, percent, seed)?));
        }
        Ok(())
    })
}

/// What a cell answers, in millihertz, when it is never left without a request: by the same threads and the same
/// bookkeeping as under load, so that no rate is asked for that the generator itself cannot keep.
fn capacity_mhz(policy: Policy, run: &mut dyn FnMut(Source) -> Result<Ran, Fault>) -> Result<u64, Fault> {
    if let Policy::KeepAlive(_) = policy {
        // Kept instances are started first, or it would be their starts that are counted.
        run(Source::Endless(CALIBRATION))?;
    }
    let ran = run(Source::Endless(CALIBRATION))?;
    Ok((ran.latencies.len() as f64 / ran.took.as_secs_f64() * 1e3) as u64)
}

/// From everything that tells one point from another, so that no two share arrivals.
fn seed(run: u64, request: &BlockRequest, policy: Policy, rate_mhz: u64, percent: Option<u32>) -> u64 {
    let rate = percent.map_or_else(|| rate_mhz.to_string(), |percent| format!("{percent}%"));
    let text = format!("{run}/{}/{}/{policy}/{rate}", request.cell, request.block);
    seed_of(text.as_bytes())
}

/// What one thread saw.
struct Seen {
    latencies: Hdr<u64>,
    generator: Hdr<u64>,
    late: u64,
    cold: u64,
    answers: Option<(Instant, Instant)>,
    ended: Instant,
}

/// What all threads saw.
struct Ran {
    latencies: Hdr<u64>,
    generator: Hdr<u64>,
    late: u64,
    cold: u64,
    /// From the first answer to the last.
    answered: Duration,
    /// From the beginning until the last thread was done, stops included.
    took: Duration,
    counts: super::pool::Counts,
}

/// Makes instances that live by `policy`, each on a thread of its own, for as long as `act` lets requests arrive at
/// them: a warm pool is the same at every rate, and what is kept lives on from one rate to the next.
fn with_lanes<T>(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    policy: Policy,
    threads: u32,
    act: impl FnOnce(&mut dyn FnMut(Source) -> Result<Ran, Fault>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let patience = request.target.limits.call_deadline(request.target.emulated);
    let (ready, go) = (Barrier::new(threads as usize + 1), Barrier::new(threads as usize + 1));
    // What arrives next; none when there will be nothing more.
    let current: Mutex<Option<Arc<Pool>>> = Mutex::new(None);
    let announce = |source: Option<Source>| {
        ready.wait();
        // Its clock begins when it is made: not before every thread is there.
        let pool = source.map(|source| Arc::new(Pool::new(source, threads as usize, patience)));
        current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&pool);
        go.wait();
        pool
    };
    let next = || {
        ready.wait();
        go.wait();
        current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    };
    let (sender, results) = channel();
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads as usize)
            .map(|thread| {
                let (case, sender, next) = (case.again(), sender.clone(), &next);
                scope.spawn(move || {
                    fine_timer();
                    let mut lane = Lane { request, deployment, case, policy, instance: None, expires: None };
                    let begun = if matches!(policy, Policy::Warm(_)) { lane.start() } else { Ok(()) };
                    // A thread that failed goes on to meet the others, or they would wait for ever.
                    while let Some(pool) = next() {
                        let seen = begun.clone().and_then(|()| lane.serve(&pool, thread));
                        if seen.is_err() {
                            pool.end();
                        }
                        // Whoever hears it has given up if this fails, and says so by the next `next`.
                        let _ = sender.send(seen);
                    }
                    lane.stop()
                })
            })
            .collect();
        let mut run = |source| {
            let pool = announce(Some(source)).expect("made of the source");
            let seen: Vec<Result<Seen, Fault>> = results.iter().take(threads as usize).collect();
            let seen: Vec<Seen> = seen.into_iter().collect::<Result<_, _>>()?;
            Ok(Ran::of(&seen, &pool))
        };
        let done = act(&mut run);
        announce(None);
        for handle in handles {
            let panicked = || Fault::new(FaultKind::Internal, "a thread of the open loop panicked");
            let stopped = handle.join().unwrap_or_else(|_| Err(panicked()));
            if done.is_ok() {
                stopped?;
            }
        }
        done
    })
}

/// One thread and the instance that it has or not.
struct Lane<'a> {
    request: &'a BlockRequest,
    deployment: &'a dyn Deployment,
    case: Case,
    policy: Policy,
    instance: Option<Box<dyn Instance>>,
    /// When the instance is no longer kept.
    expires: Option<Instant>,
}

impl Lane<'_> {
    fn start(&mut self) -> Result<(), Fault> {
        self.instance = Some(start_answered(self.request, self.deployment, &self.case, &mut Phases::new())?);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Fault> {
        self.expires = None;
        let deadline = Deadline::after(self.request.target.limits.stop_deadline());
        self.instance.take().map_or(Ok(()), |instance| instance.stop(deadline))
    }

    fn serve(&mut self, pool: &Pool, thread: usize) -> Result<Seen, Fault> {
        let mut seen = Seen {
            latencies: histogram(),
            generator: histogram(),
            late: 0,
            cold: 0,
            answers: None,
            ended: pool.begun(),
        };
        if self.instance.is_some() {
            pool.alive(1);
        }
        loop {
            match pool.next(thread, self.instance.is_some(), self.expires) {
                Turn::End => break,
                Turn::Expire => self.retire(pool)?,
                Turn::Serve { intended, late } => {
                    let answered = self.one(pool, &mut seen, intended, late)?;
                    seen.latencies.saturating_record(nanos(answered.saturating_duration_since(intended)));
                    seen.answers = Some((seen.answers.map_or(answered, |(first, _)| first), answered));
                    match self.policy {
                        Policy::Warm(_) => {}
                        Policy::Fresh => self.retire(pool)?,
                        Policy::KeepAlive(ms) => self.expires = Some(answered + Duration::from_millis(ms)),
                    }
                    seen.ended = Instant::now();
                }
            }
        }
        Ok(seen)
    }

    /// One request; answers with when its answer was there.
    fn one(&mut self, pool: &Pool, seen: &mut Seen, intended: Instant, late: bool) -> Result<Instant, Fault> {
        let sent = Instant::now();
        if late {
            seen.late += 1;
        } else {
            seen.generator.saturating_record(nanos(sent.saturating_duration_since(intended)));
        }
        let Some(instance) = &mut self.instance else {
            seen.cold += 1;
            pool.alive(1);
            let mut phases = Phases::new();
            self.instance = Some(start_answered(self.request, self.deployment, &self.case, &mut phases)?);
            return Ok(phases.ended());
        };
        let deadline = Deadline::after(self.request.target.limits.call_deadline(self.request.target.emulated));
        let answer = instance.call(&self.case.input, deadline);
        let answered = Instant::now();
        self.case.verify(answer?)?;
        Ok(answered)
    }

    fn retire(&mut self, pool: &Pool) -> Result<(), Fault> {
        self.stop()?;
        pool.alive(-1);
        Ok(())
    }
}

impl Ran {
    fn of(seen: &[Seen], pool: &Pool) -> Ran {
        let (mut latencies, mut generator) = (histogram(), histogram());
        for lane in seen {
            latencies.add(&lane.latencies).expect("the same bounds");
            generator.add(&lane.generator).expect("the same bounds");
        }
        let answers = || seen.iter().filter_map(|lane| lane.answers);
        let answered = answers().map(|(_, last)| last).max().zip(answers().map(|(first, _)| first).min());
        let ended = seen.iter().map(|lane| lane.ended).max().unwrap_or(pool.begun());
        Ran {
            latencies,
            generator,
            late: seen.iter().map(|lane| lane.late).sum(),
            cold: seen.iter().map(|lane| lane.cold).sum(),
            answered: answered.map_or(Duration::ZERO, |(last, first)| last - first),
            took: (ended - pool.begun()).max(Duration::from_nanos(1)),
            counts: pool.counts(),
        }
    }

    fn record(
        self,
        request: &BlockRequest,
        policy: Policy,
        rate_mhz: u64,
        percent: Option<u32>,
        seed: u64,
    ) -> Result<Load, Fault> {
        Ok(Load {
            cell: request.cell,
            block: request.block,
            policy,
            rate_mhz,
            percent,
            seed,
            offered: self.counts.offered,
            offered_ns: self.counts.span.map_or(0, |(first, last)| nanos(last - first)),
            answered: self.latencies.len(),
            answered_ns: nanos(self.answered),
            late: self.late,
            dropped: self.counts.dropped,
            cold: self.cold,
            most_instances: self.counts.most_live,
            generator_ns: [0.5, 0.99].map(|q| self.generator.value_at_quantile(q)),
            hdr: encoded(&self.latencies)?,
        })
    }
}

/// Lets this thread's timers end when they should: the kernel may put them off by 50 µs otherwise, to save power. A
/// process that the thread starts inherits it; agents set no timers.
fn fine_timer() {
    // SAFETY: plain prctl on the calling thread; where it is refused, sleeps stay as coarse as they were.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}
