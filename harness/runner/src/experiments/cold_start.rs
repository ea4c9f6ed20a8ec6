//! `cold_start` with its phases and `destroy`, and the `warm_call` series on the last instance.

use super::{Case, samples, start_answered};
use crate::backend::{Deployment, Instance};
use crate::protocol::{BlockRequest, Series};
use crate::stopwatch::{Deadline, Phases, nanos};
use isobench_core::{Experiment, Fault, Record, SampleFlag, Unit};
use std::time::{Duration, Instant};

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    starts: u32,
    warm: Option<Series>,
    experiment: &mut Experiment,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let first = if request.in_process { Some(SampleFlag::FirstInProcess) } else { deployment.first_start() };
    // Where every block asks for one start only, a first that is told apart would leave nothing to tell it from.
    let starts = starts + u32::from(deployment.first_start().is_some());
    let mut phases = Phases::new();
    for index in 0..starts {
        *experiment = Experiment::ColdStart;
        deployment.make_cold()?;
        let mut instance = start_answered(request, deployment, case, &mut phases)?;
        let mut put = |metric: &str, ns: u64| {
            let mut line = samples(request, Experiment::ColdStart, metric, Unit::Ns, index, vec![ns]);
            if index == 0 {
                line.flags.extend(first);
            }
            emit(Record::Samples(line));
        };
        put("total", phases.total());
        for &(phase, ns) in phases.marks() {
            put(phase, ns);
        }
        if let (Some(series), true) = (warm, index + 1 == starts) {
            *experiment = Experiment::WarmCall;
            let (values, fault) = warm_series(request, instance.as_mut(), case, series);
            emit(Record::Samples(samples(request, Experiment::WarmCall, "call", Unit::Ns, 0, values)));
            fault?;
        }
        let before = Instant::now();
        instance.stop(Deadline::after(request.target.limits.stop_deadline()))?;
        let ns = nanos(before.elapsed());
        emit(Record::Samples(samples(request, Experiment::ColdStart, "destroy", Unit::Ns, index, vec![ns])));
    }
    Ok(())
}

/// Calls until the series is long enough. What was measured before a fault is kept.
fn warm_series(
    request: &BlockRequest,
    instance: &mut dyn Instance,
    case: &Case,
    series: Series,
) -> (Vec<u64>, Result<(), Fault>) {
    let allowed = request.target.limits.call_deadline(request.target.emulated);
    let begun = Instant::now();
    let mut values = Vec::with_capacity(series.max_calls as usize);
    while values.len() < series.max_calls as usize {
        let elapsed = begun.elapsed();
        let enough = values.len() >= series.min_calls as usize && elapsed >= Duration::from_millis(series.min_ms);
        if enough || elapsed >= Duration::from_millis(series.max_ms) {
            break;
        }
        let deadline = Deadline::after(allowed);
        let before = Instant::now();
        let answer = instance.call(&case.input, deadline);
        let ns = nanos(before.elapsed());
        match answer.and_then(|answer| case.verify(answer)) {
            Ok(()) => values.push(ns),
            Err(fault) => return (values, Err(fault)),
        }
    }
    (values, Ok(()))
}
