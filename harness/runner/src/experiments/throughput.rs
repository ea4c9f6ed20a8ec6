//! `throughput`: a closed loop at fixed concurrency, on warm instances or with a fresh one per request.

use super::{Case, start_answered};
use crate::backend::Deployment;
use crate::probe::probe;
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases, nanos};
use base64::Engine;
use hdrhistogram::Histogram as Hdr;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use isobench_core::record::{HISTOGRAM_CEILING_NS, Histogram, Mode, Stretch};
use isobench_core::{Fault, FaultKind, Record};
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    warm: &[u32],
    fresh: &[u32],
    duration_ms: u64,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let duration = Duration::from_millis(duration_ms);
    for (mode, concurrencies) in [(Mode::Warm, warm), (Mode::Fresh, fresh)] {
        for &n in concurrencies {
            emit(Record::Histogram(closed_loop(request, deployment, case, mode, n, duration)?));
        }
    }
    Ok(())
}

/// A stretch of a single loop between two probes lasts this long, or one call: a neighbour comes and goes within
/// milliseconds.
const STRETCH: Duration = Duration::from_millis(2);

/// What one thread saw.
struct Lane {
    latencies: Hdr<u64>,
    begun: Instant,
    ended: Instant,
    /// None where others loop at the same time.
    stretches: Vec<Stretch>,
}

/// `n` threads, each with one request in flight on an instance of its own.
fn closed_loop(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    mode: Mode,
    n: u32,
    duration: Duration,
) -> Result<Histogram, Fault> {
    let barrier = Barrier::new(n as usize);
    let lanes: Vec<Result<Lane, Fault>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n)
            .map(|_| {
                let (case, barrier) = (case.again(), &barrier);
                scope.spawn(move || match mode {
                    Mode::Warm => warm_lane(request, deployment, &case, barrier, duration, n == 1),
                    Mode::Fresh => fresh_lane(request, deployment, &case, barrier, duration, n == 1),
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(Fault::new(FaultKind::Internal, "a thread of the closed loop panicked")))
            })
            .collect()
    });
    let lanes: Vec<Lane> = lanes.into_iter().collect::<Result<_, _>>()?;
    let mut latencies = histogram();
    for lane in &lanes {
        latencies.add(&lane.latencies).expect("the same bounds");
    }
    let begun = lanes.iter().map(|l| l.begun).min().expect("at least one lane");
    let ended = lanes.iter().map(|l| l.ended).max().expect("at least one lane");
    // Several loops contend with each other, which is part of what they measure: only one alone has stretches.
    let stretches: Vec<Stretch> = lanes.into_iter().flat_map(|lane| lane.stretches).collect();
    let elapsed_ns = match &stretches[..] {
        [] => nanos(ended - begun),
        stretches => stretches.iter().map(|stretch| stretch.elapsed_ns).sum(),
    };
    Ok(Histogram {
        cell: request.cell,
        block: request.block,
        n,
        mode,
        calls: latencies.len(),
        elapsed_ns,
        stretches,
        hdr: encoded(&latencies)?,
    })
}

fn warm_lane(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    barrier: &Barrier,
    duration: Duration,
    alone: bool,
) -> Result<Lane, Fault> {
    let limits = &request.target.limits;
    let started = start_answered(request, deployment, case, &mut Phases::new());
    // Every lane reaches the barrier, also one that failed, or the others would wait for ever.
    barrier.wait();
    let mut instance = started?;
    let lane = measure(duration, alone, || {
        let deadline = Deadline::after(limits.call_deadline(request.target.emulated));
        let before = Instant::now();
        let answer = instance.call(&case.input, deadline);
        let ns = nanos(before.elapsed());
        case.verify(answer?)?;
        Ok(ns)
    })?;
    instance.stop(Deadline::after(limits.stop_deadline()))?;
    Ok(lane)
}

fn fresh_lane(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    barrier: &Barrier,
    duration: Duration,
    alone: bool,
) -> Result<Lane, Fault> {
    let mut phases = Phases::new();
    barrier.wait();
    // The latency is that of the answer; `stop` is part of what the loop costs, and so of calls per second.
    measure(duration, alone, || {
        let instance = start_answered(request, deployment, case, &mut phases)?;
        let ns = phases.total();
        instance.stop(Deadline::after(request.target.limits.stop_deadline()))?;
        Ok(ns)
    })
}

/// Repeats `one` until `duration` has passed, at least once; a loop that is `alone` in stretches between probes.
fn measure(duration: Duration, alone: bool, mut one: impl FnMut() -> Result<u64, Fault>) -> Result<Lane, Fault> {
    let mut latencies = histogram();
    let mut stretches = Vec::new();
    let mut before = if alone { probe() } else { 0 };
    let mut stretch_begun = Instant::now();
    let (begun, mut calls) = (stretch_begun, 0);
    loop {
        latencies.saturating_record(one()?);
        calls += 1;
        let ended = Instant::now();
        let over = ended - begun >= duration;
        if alone && (over || ended - stretch_begun >= STRETCH) {
            let after = probe();
            stretches.push(Stretch { calls, elapsed_ns: nanos(ended - stretch_begun), probe_ns: [before, after] });
            (before, calls, stretch_begun) = (after, 0, Instant::now());
        }
        if over {
            return Ok(Lane { latencies, begun, ended, stretches });
        }
    }
}

/// An empty histogram of nanoseconds.
pub(super) fn histogram() -> Hdr<u64> {
    Hdr::new_with_bounds(1, HISTOGRAM_CEILING_NS, 3).expect("valid bounds")
}

/// As sample lines carry it.
pub(super) fn encoded(latencies: &Hdr<u64>) -> Result<String, Fault> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(latencies, &mut bytes)
        .map_err(|e| Fault::new(FaultKind::Internal, format!("encoding the histogram: {e:?}")))?;
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes))
}
