//! The gate of `--fail-on`: whether a row became worse by more than was asked, and how many rows could be judged.

use super::{Compared, plural};
use crate::units;
use isobench_stats::compare::Row;

/// What a gate asks of a comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Most that a row may be worse, in per cent.
    pub percent: f64,
    /// Fewest rows that must be judged.
    pub judged: Judged,
}

/// How many rows a gate needs a verdict on. Without any verdict no gate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Any number but none.
    Some,
    /// At least so many.
    AtLeast(usize),
    /// All that have a number on both sides.
    All,
}

/// What a gate found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Enough rows were judged, and none is over the limit.
    Holds,
    /// A row is over the limit.
    Failed,
    /// No row could be judged, so nothing can be said.
    Unknown,
    /// No row is over the limit, but fewer were judged than was asked.
    TooFewJudged,
}

/// The outcome of a gate, and it in lines: the first says whether the gate holds, the others what fails it and by how
/// much, or why rows were not judged.
pub fn gate(compared: &Compared, limits: Limits) -> (Gate, Vec<String>) {
    let failed = compared.regressions(limits.percent);
    let both = compared.comparison.rows.iter().filter(|row| row.base.is_some() && row.new.is_some());
    let (judged, unknown): (Vec<&Row>, Vec<&Row>) = both.partition(|row| row.word.is_judged());
    let rows = judged.len() + unknown.len();
    let needed = match limits.judged {
        Judged::Some => 1,
        Judged::AtLeast(least) => least,
        Judged::All => rows,
    };
    let gate = match (failed.len(), judged.len()) {
        (1.., _) => Gate::Failed,
        (0, 0) => Gate::Unknown,
        (0, n) if n < needed => Gate::TooFewJudged,
        _ => Gate::Holds,
    };
    let limit = units::percent(limits.percent / 100.0);
    let count = format!("{} of {rows} {} could be judged", judged.len(), plural(rows, "row"));
    let first = match gate {
        Gate::Failed if failed.len() == 1 => format!("Gate failed: 1 row is over {limit} worse; {count}."),
        Gate::Failed => format!("Gate failed: {} rows are over {limit} worse; {count}.", failed.len()),
        Gate::Holds => format!("Gate holds: no row is over {limit} worse; {count}."),
        Gate::Unknown => format!("Gate says nothing: {count}. {REMEDY}"),
        Gate::TooFewJudged => format!("Gate does not hold: {count}, and {needed} must be. {REMEDY}"),
    };
    let details: Vec<String> = match gate {
        Gate::Failed => failed.into_iter().map(regression).collect(),
        Gate::Holds => Vec::new(),
        Gate::Unknown | Gate::TooFewJudged => reasons(&unknown),
    };
    (gate, [first].into_iter().chain(details).collect())
}

const REMEDY: &str =
    "Measure more blocks: give `run` fewer cells (`--only`) or more time (`--budget`), or a quieter machine.";

/// Why rows were not judged, with the number of rows for each word.
fn reasons(unknown: &[&Row]) -> Vec<String> {
    let mut groups: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in unknown {
        match groups.iter_mut().find(|(said, _)| *said == row.said()) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((row.said(), vec![row])),
        }
    }
    let one = |(said, rows): (&str, Vec<&Row>)| {
        let Row { cell, metric, why, .. } = rows[0];
        format!("{said}, {}: for example `{cell}` {metric} ({why})", rows.len())
    };
    groups.into_iter().map(one).collect()
}

fn regression(row: &Row) -> String {
    let by = units::percent(row.worse_by().unwrap_or_default());
    let interval = row.ratio.and_then(|r| r.interval).map_or_else(String::new, units::ratio_interval);
    let p = row.p_corrected.map_or_else(String::new, |p| format!(", corrected p {}", units::probability(p)));
    format!("`{}` {}: {by} {}, ratio in {interval}{p}", row.cell, row.metric, row.said())
}
