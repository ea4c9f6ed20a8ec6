//! `burst`: many requests at once against nothing running. Each has a thread and an instance of its own.

use super::bound::{self, Budget};
use super::gate::{Gate, Stage};
use super::{Case, samples, start_answered};
use crate::backend::{Attribution, Deployment};
use crate::protocol::BlockRequest;
use crate::stopwatch::{Deadline, Phases, nanos};
use isobench_core::record::{BURST, BoundBy};
use isobench_core::{Experiment, Fault, FaultKind, Record, Unit};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    sizes: &[u32],
    longest: Duration,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let begun = Instant::now();
    let mut budget = Budget::measure(request, deployment, case, None)?;
    let (mut went_well, mut took) = (0, Duration::ZERO);
    for &n in sizes {
        let refused = budget.refuses(n).or_else(|| bound::out_of_time(begun.elapsed(), took, longest, n));
        if let Some(reason) = refused.filter(|_| went_well > 0) {
            emit(bound::bound(request, Experiment::Burst, went_well, reason));
            return Ok(());
        }
        let before = Instant::now();
        match burst(request, deployment, case, &mut budget, n) {
            Ok(times) => put(request, n, &times, emit),
            Err(fault) if went_well > 0 => {
                let reason = bound::of_fault(fault)?;
                emit(bound::bound(request, Experiment::Burst, went_well, reason));
                return Ok(());
            }
            Err(fault) => return Err(fault),
        }
        (went_well, took) = (n, before.elapsed());
    }
    let kind = if request.target.emulated { " where the processor is emulated" } else { "" };
    let why = format!("{went_well} at once is the most that was planned{kind}");
    emit(bound::bound(request, Experiment::Burst, went_well, (BoundBy::Count, why)));
    Ok(())
}

/// Times to first, half and all of the answers, which are sorted.
fn put(request: &BlockRequest, n: u32, times: &[u64], emit: &mut dyn FnMut(Record)) {
    let values = [times[0], times[times.len().div_ceil(2) - 1], times[times.len() - 1]];
    for (metric, value) in BURST.into_iter().zip(values) {
        let mut line = samples(request, Experiment::Burst, metric, Unit::Ns, 0, vec![value]);
        line.n = Some(n);
        emit(Record::Samples(line));
    }
}

/// What a thread reports.
enum Report {
    Gathered,
    /// When its answer was there, and what its instance is made of.
    Done(Result<(Instant, Attribution), Fault>),
}

/// `n` requests at once: nanoseconds from letting them go to each answer, sorted. All instances live until the last has
/// answered.
fn burst(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    budget: &mut Budget,
    n: u32,
) -> Result<Vec<u64>, Fault> {
    let gate = Gate::new();
    let (sender, reports) = channel();
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(n as usize);
        for _ in 0..n {
            let (case, gate, sender) = (case.again(), &gate, sender.clone());
            let thread = move || lane(request, deployment, &case, gate, &sender);
            match std::thread::Builder::new().spawn_scoped(scope, thread) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    gate.open(Stage::Abandon);
                    return Err(Fault::new(FaultKind::Internal, format!("a thread for one of {n} requests: {e}")));
                }
            }
        }
        drop(sender);
        let mut incoming = reports.iter();
        incoming.by_ref().take(n as usize).for_each(|_gathered| {});
        let let_go = Instant::now();
        gate.open(Stage::Go);
        let mut times = Vec::with_capacity(n as usize);
        let (mut all, mut fault) = (Attribution::default(), None);
        for report in incoming.take(n as usize) {
            match report {
                Report::Done(Ok((answered, attribution))) => {
                    times.push(nanos(answered.saturating_duration_since(let_go)));
                    all.unite(attribution);
                }
                Report::Done(Err(failed)) => fault = fault.or(Some(failed)),
                Report::Gathered => {}
            }
        }
        let read = if fault.is_none() { budget.read(deployment, all, n).map(drop) } else { Ok(()) };
        gate.open(Stage::Stop);
        for thread in threads {
            let stopped = thread.join();
            let panicked = || Fault::new(FaultKind::Internal, "a thread of the burst panicked");
            if let Err(failed) = stopped.unwrap_or_else(|_| Err(panicked())) {
                fault = fault.or(Some(failed));
            }
        }
        read?;
        times.sort_unstable();
        fault.map_or(Ok(times), Err)
    })
}

/// One request: waits, starts, calls, reports, holds its instance until told to stop.
fn lane(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    gate: &Gate,
    reports: &Sender<Report>,
) -> Result<(), Fault> {
    // Whoever hears these may have given up; the gate then says so.
    let report = |report| drop(reports.send(report));
    report(Report::Gathered);
    if gate.wait_for(Stage::Go) == Stage::Abandon {
        return Ok(());
    }
    let mut phases = Phases::new();
    match start_answered(request, deployment, case, &mut phases) {
        Ok(instance) => {
            report(Report::Done(Ok((phases.ended(), instance.footprint()))));
            gate.wait_for(Stage::Stop);
            instance.stop(Deadline::after(request.target.limits.stop_deadline()))
        }
        Err(fault) => {
            report(Report::Done(Err(fault)));
            Ok(())
        }
    }
}
