//! `cold_start` with its phases and `destroy`, and the `warm_call` series on the last instance.

use super::{Case, samples, start_answered};
use crate::backend::{Deployment, Instance};
use crate::probe::probe;
use crate::protocol::{BlockRequest, Series, StartCount};
use crate::same_core::SameCore;
use crate::stopwatch::{Deadline, Phases, nanos};
use isobench_core::{Experiment, Fault, Record, SampleFlag, Unit};
use std::time::{Duration, Instant};

/// Warm calls between two probes take this long together, or one call: a neighbour comes and goes within milliseconds.
const STRETCH: Duration = Duration::from_millis(1);

/// Values that are kept of a stretch: of fast calls one in so many, evenly spaced, because tens of thousands a block say
/// no more and fill the disk.
const KEPT: u128 = 20;

pub(super) fn visit(
    request: &BlockRequest,
    deployment: &dyn Deployment,
    case: &Case,
    starts: StartCount,
    warm: Option<Series>,
    experiment: &mut Experiment,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    let first = if request.in_process { Some(SampleFlag::FirstInProcess) } else { deployment.first_start() };
    // Where every block asks for one start only, a first that is told apart would leave nothing to tell it from.
    let starts = StartCount { min: starts.min + u32::from(deployment.first_start().is_some()), ..starts };
    let mut phases = Phases::new();
    let mut taken = Duration::ZERO;
    let mut index = 0;
    loop {
        *experiment = Experiment::ColdStart;
        deployment.make_cold()?;
        let before = probe();
        let mut instance = start_answered(request, deployment, case, &mut phases)?;
        let after = probe();
        let total = phases.total();
        taken += Duration::from_nanos(total);
        let last = starts.is_enough(index + 1, taken);
        let line = |metric: &str, ns: u64, probe_ns: Option<[u64; 2]>| {
            let mut line = samples(request, Experiment::ColdStart, metric, Unit::Ns, index, vec![ns]);
            line.probe_ns = probe_ns;
            line.flags.extend(first.filter(|_| index == 0));
            Record::Samples(line)
        };
        emit(line("total", total, Some([before, after])));
        for &(phase, ns) in phases.marks() {
            emit(line(phase, ns, None));
        }
        if let (Some(series), true) = (warm, last) {
            *experiment = Experiment::WarmCall;
            warm_calls(request, instance.as_mut(), case, series, emit)?;
        }
        let before = Instant::now();
        instance.stop(Deadline::after(request.target.limits.stop_deadline()))?;
        emit(line("destroy", nanos(before.elapsed()), None));
        if last {
            return Ok(());
        }
        index += 1;
    }
}

/// The series of warm calls, and a shorter one with the instance on the processor of this thread.
fn warm_calls(
    request: &BlockRequest,
    instance: &mut dyn Instance,
    case: &Case,
    series: Series,
    emit: &mut dyn FnMut(Record),
) -> Result<(), Fault> {
    Warm::new(request, "call", instance, case, series).measure(emit)?;
    if request.in_process || request.target.emulated {
        return Ok(());
    }
    let Some(_together) = SameCore::with(&instance.footprint()) else { return Ok(()) };
    let series = Series { min_ms: series.min_ms / 2, max_ms: series.max_ms / 2, ..series };
    Warm::new(request, "call_same_core", instance, case, series).measure(emit)
}

/// Warm calls on one instance.
struct Warm<'a> {
    request: &'a BlockRequest,
    metric: &'static str,
    instance: &'a mut dyn Instance,
    case: &'a Case,
    series: Series,
    latest: Instant,
    /// Calls made, and values of them kept.
    calls: u32,
    kept: u32,
}

/// The calls between two probes.
struct Stretch {
    values: Vec<u64>,
    /// Calls, kept or not.
    calls: u32,
    taken: Duration,
    /// What ended it early.
    fault: Result<(), Fault>,
}

impl<'a> Warm<'a> {
    fn new(
        request: &'a BlockRequest,
        metric: &'static str,
        instance: &'a mut dyn Instance,
        case: &'a Case,
        series: Series,
    ) -> Warm<'a> {
        let latest = Instant::now() + Duration::from_millis(series.max_ms);
        Warm { request, metric, instance, case, series, latest, calls: 0, kept: 0 }
    }

    /// Calls until the series is long enough. What was measured before a fault is kept.
    fn measure(&mut self, emit: &mut dyn FnMut(Record)) -> Result<(), Fault> {
        let Series { min_calls, min_ms, max_calls, .. } = self.series;
        let mut taken = Duration::ZERO;
        let mut before = probe();
        // The first calls are all kept: they show how the engine warms up.
        let (mut most, mut every) = (min_calls, 1);
        loop {
            let index = self.calls;
            let stretch = self.stretch(most, every);
            let after = probe();
            taken += stretch.taken;
            // As many as this one says will fill the next, so that `KEPT` of them are kept.
            let usual = STRETCH.as_nanos() * u128::from(stretch.calls) / stretch.taken.as_nanos().max(1);
            if !stretch.values.is_empty() {
                let mut line =
                    samples(self.request, Experiment::WarmCall, self.metric, Unit::Ns, index, stretch.values);
                (line.probe_ns, line.every) = (Some([before, after]), Some(every).filter(|k| *k > 1));
                emit(Record::Samples(line));
            }
            stretch.fault?;
            let enough = self.calls >= min_calls && taken >= Duration::from_millis(min_ms);
            if enough || self.kept >= max_calls || Instant::now() >= self.latest {
                return Ok(());
            }
            (most, every) = match min_calls.saturating_sub(self.calls) {
                0 => (u32::MAX, u32::try_from(usual / KEPT).unwrap_or(u32::MAX).max(1)),
                missing => (missing, 1),
            };
            before = after;
        }
    }

    /// Calls for [`STRETCH`], at most `most` of them, and keeps one of `every`.
    fn stretch(&mut self, most: u32, every: u32) -> Stretch {
        let allowed = self.request.target.limits.call_deadline(self.request.target.emulated);
        let mut stretch = Stretch { values: Vec::new(), calls: 0, taken: Duration::ZERO, fault: Ok(()) };
        while stretch.taken < STRETCH && stretch.calls < most && self.kept < self.series.max_calls {
            let deadline = Deadline::after(allowed);
            let before = Instant::now();
            if before >= self.latest {
                break;
            }
            let answer = self.instance.call(&self.case.input, deadline);
            let time = before.elapsed();
            if let Err(fault) = answer.and_then(|answer| self.case.verify(answer)) {
                stretch.fault = Err(fault);
                break;
            }
            if stretch.calls.is_multiple_of(every) {
                stretch.values.push(nanos(time));
                self.kept += 1;
            }
            stretch.taken += time;
            stretch.calls += 1;
        }
        self.calls += stretch.calls;
        stretch
    }
}
