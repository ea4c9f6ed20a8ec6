//! Criterion in front of a [`Session`]: one `iter_custom` call is one block in a fresh runner process, and every sample
//! of it goes into the run as well.

use crate::plan::HEADLINE_WORKLOAD;
use crate::protocol::{Series, StartCount, Visit};
use crate::session::{Session, SessionError};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use isobench_core::text::one_line;
use isobench_core::{CellEntry, CellId, Experiment, Flag, Record, SampleFlag};
use std::time::Duration;

/// Criterion's warm-up per benchmark: so short that it is exactly one call of the routine, which is one block. Its
/// samples are kept and flagged.
const WARM_UP: Duration = Duration::from_nanos(1);
/// Criterion's measurement per benchmark: spread over ten samples.
const MEASUREMENT: Duration = Duration::from_millis(1_000);

/// Which of Criterion's modes the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Measure: a run is written.
    Bench,
    /// `--test`, or no `--bench` at all (`cargo test --benches`): every benchmark once, no run.
    Test,
    /// `--list`: names alone, nothing is started.
    List,
    /// `--profile-time`: no analysis, no run.
    Profile,
}

impl Action {
    /// Reads it from the command line, by Criterion's own rules.
    pub fn of(args: &[String]) -> Action {
        let has = |flag: &str| args.iter().any(|a| a == flag || a.starts_with(&format!("{flag}=")));
        if has("--list") {
            Action::List
        } else if has("--test") || !has("--bench") {
            Action::Test
        } else if has("--profile-time") {
            Action::Profile
        } else {
            Action::Bench
        }
    }
}

/// Runs Criterion over the session's cells: `cold_start` and `warm_call` of each, in groups by workload and case, so
/// that Criterion's own pages put the rows of one question side by side. Whether all of them ran: a filter leaves some
/// out, `--load-baseline` every one.
///
/// # Errors
/// The first error of writing, or the interruption; the remaining benchmarks are then skipped.
pub fn bench(criterion: &mut Criterion, session: &mut Session) -> Result<bool, SessionError> {
    let (mut failed, mut whole) = (None, true);
    let mut questions: Vec<(Experiment, String, String)> = Vec::new();
    for entry in &session.run.cells {
        for experiment in [Experiment::ColdStart, Experiment::WarmCall] {
            let question = (experiment, entry.cell.workload.clone(), entry.cell.case.clone());
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
    }
    for (experiment, workload, case) in questions {
        let mut group = criterion.benchmark_group(format!("{experiment}/{workload}/{case}"));
        group.sampling_mode(SamplingMode::Flat).sample_size(10).warm_up_time(WARM_UP).measurement_time(MEASUREMENT);
        let about = |e: &&CellEntry| e.cell.workload == workload && e.cell.case == case;
        let ids: Vec<CellId> = session.run.cells.iter().filter(about).map(|e| e.id).collect();
        for id in ids {
            if asked(session.entry(id), experiment) {
                whole &= one(&mut group, session, id, experiment, &mut failed);
            }
        }
        group.finish();
    }
    failed.map_or(Ok(whole), Err)
}

/// Names every benchmark that [`bench`] would run over `cells`, without starting anything.
pub fn list(criterion: &mut Criterion, cells: &[CellEntry]) {
    for entry in cells {
        for experiment in [Experiment::ColdStart, Experiment::WarmCall] {
            let cell = &entry.cell;
            let mut group = criterion.benchmark_group(format!("{experiment}/{}/{}", cell.workload, cell.case));
            group.bench_function(format!("{}/{}", cell.row(), cell.guest), |_| {});
            group.finish();
        }
    }
}

/// Under emulation a block takes seconds and Criterion wants eleven of each benchmark: warm calls are put to it on the
/// headline workload only, unless every case was asked for. The run has them all.
fn asked(entry: &CellEntry, experiment: Experiment) -> bool {
    let all = std::env::var("ISOBENCH_CASES").is_ok_and(|v| v == "all");
    experiment == Experiment::ColdStart
        || all
        || !entry.flags.contains(&Flag::Emulated)
        || entry.cell.workload == HEADLINE_WORKLOAD
}

/// One benchmark; whether Criterion ran it.
fn one(
    group: &mut BenchmarkGroup<'_, WallTime>,
    session: &mut Session,
    id: CellId,
    experiment: Experiment,
    failed: &mut Option<SessionError>,
) -> bool {
    let entry = session.entry(id);
    let name = format!("{}/{}", entry.cell.row(), entry.cell.guest);
    let in_process = session.in_process(id);
    let planned = session.visits(id).into_iter().find_map(|v| match v {
        Visit::ColdStart { starts, warm } => Some((starts, warm)),
        _ => None,
    });
    let (planned_starts, series) = planned.unwrap_or((1.into(), None));
    let mut warming_up = true;
    let mut fault_shown = false;
    group.bench_function(name, |bencher| {
        // The first call is the warm-up (see WARM_UP), each later one a sample.
        let flag = std::mem::take(&mut warming_up).then_some(SampleFlag::WarmUp);
        bencher.iter_custom(|iters| {
            // Criterion cannot be told to stop: after a failure it gets a second per iteration at once, and the run's
            // error row tells what happened.
            let given_up = Duration::from_secs(iters);
            if failed.is_some() || fault_shown {
                return given_up;
            }
            // A block measures what it would in any run, and at least as many iterations as Criterion asks for.
            let visit = match experiment {
                Experiment::ColdStart => Visit::ColdStart {
                    // In process, the first start of a block is told apart: one more makes `iters` comparable ones.
                    starts: at_least_starts(planned_starts, iters as u32 + u32::from(in_process)),
                    warm: None,
                },
                _ => Visit::ColdStart { starts: 1.into(), warm: series.map(|s| at_least(s, iters)) },
            };
            match session.visit(id, &visit, flag) {
                Ok(records) => {
                    let metric = if experiment == Experiment::ColdStart { "total" } else { "call" };
                    if let Some(fault) = records.iter().find_map(Record::fault) {
                        eprintln!("ERROR {}: {}", session.entry(id).cell, one_line(&fault.to_string()));
                        fault_shown = true;
                        return given_up;
                    }
                    time_of(&records, metric, iters)
                }
                Err(error) => {
                    *failed = Some(error);
                    given_up
                }
            }
        });
    });
    !warming_up
}

fn at_least_starts(starts: StartCount, least: u32) -> StartCount {
    StartCount { min: starts.min.max(least), max: starts.max.max(least), ..starts }
}

fn at_least(series: Series, calls: u64) -> Series {
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    Series { min_calls: series.min_calls.max(calls), max_calls: series.max_calls.max(calls), ..series }
}

/// The time of `iters` iterations: `iters` times the mean of the block's comparable values, of which there are at least
/// as many (fewer only where a series ended at its longest time).
fn time_of(records: &[Record], metric: &str, iters: u64) -> Duration {
    let values: Vec<u64> = records
        .iter()
        .filter_map(|r| match r {
            Record::Samples(s) if s.metric == metric && !s.flags.contains(&SampleFlag::FirstInProcess) => {
                Some(&s.values)
            }
            _ => None,
        })
        .flatten()
        .copied()
        .collect();
    let sum: u64 = values.iter().sum();
    Duration::from_nanos((u128::from(sum) * u128::from(iters) / values.len().max(1) as u128) as u64)
}

/// The visits that Criterion has no place for: footprint and throughput, once per cell, into the run alone.
pub fn beside(session: &mut Session) -> Result<(), SessionError> {
    let ids: Vec<CellId> = session.run.cells.iter().filter(|e| e.faults.is_empty()).map(|e| e.id).collect();
    for id in ids {
        for visit in session.visits(id) {
            if !matches!(visit, Visit::ColdStart { .. }) {
                session.visit(id, &visit, None)?;
            }
        }
    }
    Ok(())
}
