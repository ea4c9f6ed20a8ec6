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
use isobench_core::{Fault, FaultKind, Record, sha256_hex};
use std::sync::{Barrier, OnceLock};
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
    let rates: Vec<(u64, Option<u32>)> = match &asked.rates {
        Rates::Fixed(rates) => rates.iter().map(|&rate| (rate, None)).collect(),
        Rates::Sweep(percents) => {
            let capacity = capacity_mhz(request, deployment, case, asked.policy, asked.most_instances)?;
            percents.iter().map(|&percent| (capacity * u64::from(percent) / 100, Some(percent))).collect()
        }
    };
    for (rate_mhz, percent) in rates {
        let rate_mhz = rate_mhz.max(1);
        let wanted = Duration::from_secs_f64(f64::from(asked.requests) * 1e3 / rate_mhz as f64);
        let longest = Duration::from_millis(asked.longest_ms);
        let duration = wanted.max(Duration::from_millis(asked.shortest_ms)).min(longest);
        let seed = seed(asked.seed, request, asked.policy, rate_mhz, percent);
        let source = Source::Poisson(Box::new(Arrivals::new(seed, rate_mhz).peekable()), duration);
        let threads = threads(asked.policy, asked.most_instances);
        let ran = run(request, deployment, case, asked.policy, threads, source)?;
        emit(Record::Load(ran.record(request, asked.policy, rate_mhz, percent, seed)?));
    }
    Ok(())
}

/// What a cell answers, in millihertz, when it is never left without a request: by the same threads and the same
/// bookkeeping as under load, so that no rate is asked for that the generator itself cannot keep. A kept instance is
/// taken to answer as a warm one does, and as many as processors to keep those busy.
fn capacity_mhz(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    policy: Policy,
    most: u32,
) -> Result<u64, Fault> {
    let processors = || std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
    let policy = if let Policy::KeepAlive(_) = policy { Policy::Warm(processors()) } else { policy };
    let source = Source::Endless(CALIBRATION);
    let ran = run(request, deployment, case, policy, threads(policy, most), source)?;
    let per_second = ran.latencies.len() as f64 / ran.took.as_secs_f64();
    Ok((per_second * 1e3) as u64)
}

fn threads(policy: Policy, most: u32) -> u32 {
    if let Policy::Warm(n) = policy { n } else { most }.max(1)
}

/// The first eight bytes of a hash of everything that tells one point from another, so that no two share arrivals.
fn seed(run: u64, request: &BlockRequest, policy: Policy, rate_mhz: u64, percent: Option<u32>) -> u64 {
    let rate = percent.map_or_else(|| rate_mhz.to_string(), |percent| format!("{percent}%"));
    let text = format!("{run}/{}/{}/{policy}/{rate}", request.cell, request.block);
    u64::from_str_radix(&sha256_hex(text.as_bytes())[..16], 16).unwrap_or(run)
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

/// Lets `source` arrive at instances that live by `policy`, each on a thread of its own.
fn run(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    policy: Policy,
    threads: u32,
    source: Source,
) -> Result<Ran, Fault> {
    let limits = &request.target.limits;
    let patience = limits.call_deadline(request.target.emulated);
    let (ready, go) = (Barrier::new(threads as usize + 1), Barrier::new(threads as usize + 1));
    let pool: OnceLock<Pool> = OnceLock::new();
    let seen: Vec<Result<Seen, Fault>> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads as usize)
            .map(|thread| {
                let (case, ready, go, pool) = (case.again(), &ready, &go, &pool);
                scope.spawn(move || {
                    fine_timer();
                    let mut lane = Lane { request, deployment, case, policy, instance: None };
                    let begun = if matches!(policy, Policy::Warm(_)) { lane.start() } else { Ok(()) };
                    // Every thread reaches both barriers, also one that failed, or the others would wait for ever.
                    ready.wait();
                    go.wait();
                    let pool = pool.get().expect("made before the second barrier");
                    let seen = begun.and_then(|()| lane.serve(pool, thread));
                    if seen.is_err() {
                        pool.end();
                    }
                    seen
                })
            })
            .collect();
        ready.wait();
        let live = if let Policy::Warm(n) = policy { n } else { 0 };
        let made = Pool::new(source, threads as usize, live, Instant::now(), patience);
        assert!(pool.set(made).is_ok(), "set once");
        go.wait();
        let join = |handle: std::thread::ScopedJoinHandle<'_, Result<Seen, Fault>>| {
            let panicked = || Fault::new(FaultKind::Internal, "a thread of the open loop panicked");
            handle.join().unwrap_or_else(|_| Err(panicked()))
        };
        handles.into_iter().map(join).collect()
    });
    let seen: Vec<Seen> = seen.into_iter().collect::<Result<_, _>>()?;
    let pool = pool.into_inner().expect("set above");
    Ok(Ran::of(&seen, &pool))
}

/// One thread and the instance that it has or not.
struct Lane<'a> {
    request: &'a BlockRequest,
    deployment: &'a dyn Deployment,
    case: Case,
    policy: Policy,
    instance: Option<Box<dyn Instance>>,
}

impl Lane<'_> {
    fn start(&mut self) -> Result<(), Fault> {
        self.instance = Some(start_answered(self.request, self.deployment, &self.case, &mut Phases::new())?);
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Fault> {
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
        let mut expires = None;
        loop {
            match pool.next(thread, self.instance.is_some(), expires) {
                Turn::End => break,
                Turn::Expire => self.retire(pool)?,
                Turn::Serve { intended, late } => {
                    let answered = self.one(pool, &mut seen, intended, late)?;
                    seen.latencies.saturating_record(nanos(answered.saturating_duration_since(intended)));
                    seen.answers = Some((seen.answers.map_or(answered, |(first, _)| first), answered));
                    match self.policy {
                        Policy::Warm(_) => {}
                        Policy::Fresh => self.retire(pool)?,
                        Policy::KeepAlive(ms) => expires = Some(answered + Duration::from_millis(ms)),
                    }
                    seen.ended = Instant::now();
                }
            }
            if self.instance.is_none() {
                expires = None;
            }
        }
        self.stop()?;
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
