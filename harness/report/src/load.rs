//! Load beyond the closed loop in words: what page and terminal say alike.

use crate::rows::{Row, Table, noun};
use crate::units::{self, Quantity};
use isobench_core::record::{BoundBy, Policy};
use isobench_stats::load::{Burst, Knee, LoadCurve};

/// Whether any row of the table was put under load.
pub fn measured(table: &Table) -> bool {
    table.rows.iter().any(|row| loaded(row))
}

/// Whether the row was put under load.
pub fn loaded(row: &Row) -> bool {
    !row.cell.load.is_empty() || row.cell.burst.is_some() || row.cell.density.is_some()
}

/// The policies of a table's curves, in one order for all rows.
pub fn policies(table: &Table) -> Vec<Policy> {
    let mut policies: Vec<Policy> = table.rows.iter().flat_map(|row| &row.cell.load).map(|c| c.policy).collect();
    policies.sort_unstable();
    policies.dedup();
    policies
}

/// A row's curve under a policy.
pub fn curve<'a>(row: &Row<'a>, policy: Policy) -> Option<&'a LoadCurve> {
    row.cell.load.iter().find(|curve| curve.policy == policy)
}

/// The highest rate that held: `1.20 k/s`, `over 5.00 k/s` where none did not, `under 50.0/s` where none did.
pub fn knee(curve: &LoadCurve) -> String {
    let rate = |i: usize| curve.points.get(i).map_or_else(|| "–".into(), |p| Quantity::Rate.show(p.rate));
    match curve.knee {
        Knee::At(i) => rate(i),
        Knee::Beyond => format!("over {}", rate(curve.points.len().saturating_sub(1))),
        Knee::Below => format!("under {}", rate(0)),
    }
}

/// `p99`, or the lower quantile that all of the curve's points support.
pub fn tail(curve: &LoadCurve) -> String {
    format!("p{:.0}", curve.tail * 100.0)
}

/// The tail latency at the knee, or at the highest rate where it lies beyond.
pub fn tail_at_knee(curve: &LoadCurve) -> Option<u64> {
    let point = match curve.knee {
        Knee::At(i) => curve.points.get(i),
        Knee::Beyond => curve.points.last(),
        Knee::Below => None,
    };
    point?.latency.at(curve.tail)
}

/// The highest rate at which a curve held; what lies beyond counts as the highest that was offered.
fn held(curve: &LoadCurve) -> Option<f64> {
    match curve.knee {
        Knee::At(i) => curve.points.get(i).map(|point| point.rate),
        Knee::Beyond => curve.points.last().map(|point| point.rate),
        Knee::Below => None,
    }
}

/// What bound it, in a word.
pub fn bound(by: BoundBy) -> &'static str {
    match by {
        BoundBy::Memory => "memory",
        BoundBy::Count => "count",
        BoundBy::StartTime => "slow starts",
        BoundBy::Deadline => "deadline",
        BoundBy::Failure => "failed start",
        BoundBy::Time => "time",
    }
}

/// The largest burst that every real row of the table has, so that their times compare.
pub fn common_burst(table: &Table) -> Option<u32> {
    let real = table.rows.iter().filter(|row| !row.emulated()).filter_map(|row| row.cell.burst.as_ref());
    real.filter_map(|burst| burst.steps.last().map(|step| step.n)).min()
}

/// The time to all answers of a burst of `n`, in nanoseconds.
pub fn all_of(burst: &Burst, n: u32) -> Option<f64> {
    burst.steps.iter().find(|step| step.n == n).map(|step| step.all.value)
}

/// The answer in sentences: the best real row of each model for every question. Names in backticks are code.
pub fn sentences(table: &Table) -> Vec<String> {
    let mut sentences = Vec::new();
    for policy in policies(table) {
        let held = best(table, |row| held(curve(row, policy)?), true);
        let said = |(row, rate): &(Row, f64)| format!("{} {}", named(row), units::calls(*rate));
        if !held.is_empty() {
            sentences.push(format!(
                "Under `{policy}`, the highest rate of `{}` that held, in requests a second: {}.",
                table.workload,
                joined(&held, said)
            ));
        }
    }
    if let Some(n) = common_burst(table) {
        let times = best(table, |row| all_of(row.cell.burst.as_ref()?, n), false);
        let said = |(row, ns): &(Row, f64)| format!("{} {}", named(row), units::time(*ns));
        if !times.is_empty() {
            let requests = if n == 1 { "1 request".into() } else { format!("{n} requests at once") };
            sentences.push(format!(
                "Against nothing running, {requests} had their answers after: {}.",
                joined(&times, said)
            ));
        }
    }
    let live = best(table, |row| Some(f64::from(row.cell.density.as_ref()?.bound.as_ref()?.n)), true);
    let said = |(row, n): &(Row, f64)| {
        let by = row.cell.density.as_ref().and_then(|d| d.bound.as_ref()).map_or("–", |reached| bound(reached.by));
        format!("{} {} ({by})", named(row), units::grouped(*n as u64))
    };
    if !live.is_empty() {
        sentences.push(format!("Live side by side, each still answering, and what ended it: {}.", joined(&live, said)));
    }
    sentences
}

/// The best real row of each model, best first.
fn best<'a>(table: &Table<'a>, value: impl Fn(&Row<'a>) -> Option<f64>, most: bool) -> Vec<(Row<'a>, f64)> {
    let real = table.rows.iter().filter(|row| !row.emulated());
    let mut rows: Vec<(Row, f64)> = real.filter_map(|row| Some((*row, value(row)?))).collect();
    rows.sort_by(|a, b| if most { b.1.total_cmp(&a.1) } else { a.1.total_cmp(&b.1) });
    let mut seen = Vec::new();
    rows.retain(|(row, _)| {
        let new = !seen.contains(&row.cell.model);
        seen.push(row.cell.model);
        new
    });
    rows
}

fn named(row: &Row) -> String {
    format!("{} (`{}`, {} guest)", noun(row.cell.model), row.name(), row.guest())
}

fn joined<T>(parts: &[T], said: impl Fn(&T) -> String) -> String {
    parts.iter().map(said).collect::<Vec<String>>().join("; ")
}
