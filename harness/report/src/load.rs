//! Load beyond the closed loop in words: what page and terminal say alike.

use crate::rows::{Row, Table, noun};
use crate::starts;
use crate::units::{self, Quantity};
use isobench_core::record::{BoundBy, Policy};
use isobench_stats::load::{Burst, Knee, LoadCurve, LoadPoint};

/// Whether any row of the table was put under load.
pub fn measured(table: &Table) -> bool {
    table.rows.iter().any(|row| loaded(row))
}

/// Whether the row was put under load.
pub fn loaded(row: &Row) -> bool {
    !row.cell.load.is_empty() || row.cell.burst.is_some() || row.cell.density.is_some() || row.cell.starters.is_some()
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
    held(curve)?.latency.at(curve.tail)
}

/// The point of the highest rate at which a curve held; what lies beyond counts as the highest that was offered.
fn held(curve: &LoadCurve) -> Option<&LoadPoint> {
    match curve.knee {
        Knee::At(i) => curve.points.get(i),
        Knee::Beyond => curve.points.last(),
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
        BoundBy::Harness => "limit of isobench",
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

/// A field of the table of what held: a value, and what is said of it in smaller letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Field {
    /// The value, or a dash.
    pub value: String,
    /// What goes with it; empty for most.
    pub note: String,
}

/// The table of what held, without boundary, guest and verdict: its heads, and the fields of each row.
pub fn grid<'a>(table: &Table<'a>) -> (Vec<String>, Vec<(Row<'a>, Vec<Field>)>) {
    let policies = policies(table);
    let common = common_burst(table);
    let density = table.rows.iter().any(|row| row.cell.density.is_some());
    let mut heads: Vec<String> = policies.iter().map(ToString::to_string).collect();
    heads.extend(common.map(|n| format!("burst {n}")));
    heads.extend(density.then(|| "density".to_string()));
    let starters = starts::measured(table);
    heads.extend(starters.then(|| "starts".to_string()));
    let fields = |row: &Row<'a>| {
        let mut fields: Vec<Field> = policies.iter().map(|policy| held_field(row, *policy)).collect();
        fields.extend(common.map(|n| burst_field(row, n)));
        fields.extend(density.then(|| density_field(row)));
        fields.extend(starters.then(|| starts::field(row)));
        (*row, fields)
    };
    (heads, table.rows.iter().map(fields).collect())
}

/// How to read [`grid`].
pub fn legend(table: &Table) -> String {
    let mut parts = Vec::new();
    if !policies(table).is_empty() {
        parts.push("policies: the highest rate that held, and its tail latency from the intended start");
    }
    if common_burst(table).is_some() {
        parts.push("burst: until all of so many requests at once had answers");
    }
    if table.rows.iter().any(|row| row.cell.density.is_some()) {
        parts.push("density: live instances that still answered, and what bound them");
    }
    if starts::measured(table) {
        parts.push("starts: instances started, answered and stopped a second, with the starters that make the most");
    }
    parts.join("; ")
}

pub(crate) fn none() -> Field {
    Field { value: "–".into(), note: String::new() }
}

fn held_field(row: &Row, policy: Policy) -> Field {
    let Some(curve) = curve(row, policy) else { return none() };
    let note = tail_at_knee(curve).map(|ns| format!("{} {}", tail(curve), units::time(ns as f64)));
    Field { value: knee(curve), note: note.unwrap_or_default() }
}

fn burst_field(row: &Row, n: u32) -> Field {
    let all = row.cell.burst.as_ref().and_then(|burst| all_of(burst, n));
    all.map_or_else(none, |ns| Field { value: units::time(ns), note: String::new() })
}

fn density_field(row: &Row) -> Field {
    let reached = row.cell.density.as_ref().and_then(|density| density.bound.as_ref());
    reached.map_or_else(none, |r| Field { value: units::grouped(r.n.into()), note: bound(r.by).into() })
}

/// The answer in sentences: the best real row of each model for every question. Names in backticks are code.
pub fn sentences(table: &Table) -> Vec<String> {
    let mut sentences = Vec::new();
    for policy in policies(table) {
        let held = best(table, |row| Some(held(curve(row, policy)?)?.rate), true);
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
    sentences.extend(densities(table));
    sentences.extend(starts::sentences(table));
    sentences
}

/// How many instances lived side by side. A row that reached the most that was asked for says nothing of its own limit, so it
/// is in no order with the others.
fn densities(table: &Table) -> Vec<String> {
    let reached = |row: &Row| row.cell.density.as_ref().and_then(|density| density.bound.clone());
    let of = |limited: bool| {
        best(table, |row| reached(row).filter(|b| (b.by != BoundBy::Count) == limited).map(|b| f64::from(b.n)), true)
    };
    let (limited, unlimited) = (of(true), of(false));
    let mut sentences = Vec::new();
    if !limited.is_empty() {
        let said = |(row, n): &(Row, f64)| {
            let by = reached(row).map_or("–", |reached| bound(reached.by));
            format!("{} {} ({by})", named(row), units::grouped(*n as u64))
        };
        sentences
            .push(format!("Live side by side, each still answering, and what ended it: {}.", joined(&limited, said)));
    }
    if !unlimited.is_empty() {
        let said = |(row, n): &(Row, f64)| format!("{} {}", named(row), units::grouped(*n as u64));
        sentences.push(format!(
            "Live side by side up to the most that was asked for, so their own limit was not reached: {}.",
            joined(&unlimited, said)
        ));
    }
    sentences
}

/// The best real row of each model on a usual engine, best first.
pub(crate) fn best<'a>(table: &Table<'a>, value: impl Fn(&Row<'a>) -> Option<f64>, most: bool) -> Vec<(Row<'a>, f64)> {
    let real = table.rows.iter().filter(|row| row.usual && !row.emulated());
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

/// The row with its degree of preparation: rows of different degrees stand in one sentence only under their names.
pub(crate) fn named(row: &Row) -> String {
    let degree = row.preparation.map_or_else(String::new, |degree| format!(", {degree}"));
    format!("{} (`{}`, {} guest{degree})", noun(row.cell.model), row.name(), row.guest())
}

pub(crate) fn joined<T>(parts: &[T], said: impl Fn(&T) -> String) -> String {
    parts.iter().map(said).collect::<Vec<String>>().join("; ")
}
