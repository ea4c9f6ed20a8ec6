//! Starts by a rising number of starters in words: what page and terminal say alike.

use crate::load::{Field, best, joined, named, none};
use crate::rows::{Row, Table, noun};
use crate::units::{self, Quantity};
use isobench_core::record::StartMode;
use isobench_stats::starters::{Starters, StartersPoint};

/// Whether any row of the table was measured so.
pub fn measured(table: &Table) -> bool {
    table.rows.iter().any(|row| row.cell.starters.is_some())
}

/// How many times as many starts a second as one starter makes; `None` where one was not measured.
pub fn speedup(point: &StartersPoint) -> Option<f64> {
    point.efficiency.map(|share| share.value * f64::from(point.n))
}

/// `p99`, or the lower quantile that all points of the row support.
pub fn tail(starters: &Starters) -> String {
    format!("p{:.0}", starters.tail * 100.0)
}

/// The tail of one start beside the most others, and how many of these there are.
pub fn beside_most(starters: &Starters) -> Option<(u32, u64)> {
    let most = starters.of(StartMode::Beside).last().filter(|point| point.n > 1)?;
    Some((most.n - 1, most.start.at(starters.tail)?))
}

/// The field of the table of what held: starts a second at best, and with how many starters.
pub fn field(row: &Row) -> Field {
    let Some(point) = row.cell.starters.as_ref().and_then(Starters::best) else { return none() };
    Field { value: Quantity::Rate.estimate(point.rate), note: format!("{} at once", point.n) }
}

/// The answer in sentences: of each model the real row with the most starts a second.
pub fn sentences(table: &Table) -> Vec<String> {
    let rate = |row: &Row| Some(row.cell.starters.as_ref()?.best()?.rate.value);
    let rows = best(table, rate, true);
    if rows.is_empty() {
        return Vec::new();
    }
    let mut sentences = vec![format!(
        "Instances of `{}` started, answered and stopped a second, over and over: {}.",
        table.workload,
        joined(&rows, |(row, _)| rated(row))
    )];
    let beside: Vec<String> = rows.iter().filter_map(|(row, _)| delayed(row)).collect();
    if !beside.is_empty() {
        sentences.push(format!("One start beside others of its kind: {}.", beside.join("; ")));
    }
    sentences
}

/// What more starters bring.
fn rated(row: &Row) -> String {
    let Some(point) = row.cell.starters.as_ref().and_then(Starters::best) else { return named(row) };
    let rate = units::calls(point.rate.value);
    match (point.n, speedup(point)) {
        (1, _) => format!("{} {rate} with 1 starter, which more do not raise", named(row)),
        (n, None) => format!("{} {rate} with {n} starters", named(row)),
        (n, Some(times)) => {
            format!("{} {rate} with {n} starters, {} times as many as with 1", named(row), units::times(times))
        }
    }
}

/// What others cost a start.
fn delayed(row: &Row) -> Option<String> {
    let starters = row.cell.starters.as_ref()?;
    let alone = starters.at(StartMode::Beside, 1)?.start.at(starters.tail)?;
    let (others, beside) = beside_most(starters)?;
    let (tail, alone, beside) = (tail(starters), units::time(alone as f64), units::time(beside as f64));
    Some(format!("{} (`{}`) {tail} {alone} alone, {beside} beside {others}", noun(row.cell.model), row.name()))
}
